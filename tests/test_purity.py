"""House rules that hold for every file: who imports what, and where randomness comes from."""

import ast
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import scratchpg
from scratchpg import MLP, SoftmaxPolicy, evaluate, reinforce

ROOT = Path(scratchpg.__file__).parent
FILES = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}
GYMNASIUM = {"spaces.py", "rollout.py", "evaluate.py", "mdp.py"}  # the files that may import it


def imported(tree):
    """The modules a file imports: packages by their top name, files of our own as ".name" or "..name"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from ("." * node.level + name.split(".")[0] for name in names)


@pytest.mark.parametrize("file", FILES)
def test_imports_numpy_gymnasium_and_the_standard_library_only(file):
    allowed = {"numpy", *sys.stdlib_module_names} | ({"gymnasium"} if file in GYMNASIUM else set())
    assert {name for name in imported(FILES[file]) if not name.startswith(".")} <= allowed


@pytest.mark.parametrize("file", [f for f in FILES if not f.startswith("algorithms") and f != "__init__.py"])
def test_the_vocabulary_does_not_know_the_chapters(file):
    assert ".algorithms" not in imported(FILES[file])


@pytest.mark.parametrize("file", FILES)
def test_no_random_number_from_the_global_state(file):
    used = {
        node.attr
        for node in ast.walk(FILES[file])
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random")
    }
    assert used <= {"default_rng", "Generator", "SeedSequence"}
    assert "random" not in imported(FILES[file])  # nor from the standard library's


def test_the_rules_above_can_see():
    tree = ast.parse("import scipy.signal\nfrom random import choice\nfrom .algorithms import ppo\nfrom .. import mlp")
    assert list(imported(tree)) == ["scipy", "random", ".algorithms", "..mlp"]
    assert FILES.keys() > GYMNASIUM and str(Path("algorithms", "reinforce.py")) in FILES


def test_running_leaves_the_global_state_alone():
    before = np.random.get_state()  # noqa: NPY002
    env = gym.make("CartPole-v1")
    policy = SoftmaxPolicy.for_env(env, (8,), rng=0)
    next(reinforce.train(env, policy, seed=0))
    evaluate(policy, env, episodes=2, seed=0)
    after = np.random.get_state()  # noqa: NPY002
    assert before[2] == after[2] and (before[1] == after[1]).all()


def test_a_pass_leaves_nothing_on_the_network():
    policy = SoftmaxPolicy((3, 4, 2), rng=0)
    before = {name: id(value) for thing in (policy, policy.net) for name, value in vars(thing).items()}
    pi = policy(np.ones((2, 3)))
    policy.backward(pi, pi.d_entropy())
    assert {name: id(value) for thing in (policy, policy.net) for name, value in vars(thing).items()} == before


def test_public_names_exist():
    for name in scratchpg.__all__:
        assert getattr(scratchpg, name) is not None
    assert scratchpg.MLP is MLP
