"""What runs leave alone: NumPy's global randomness, the networks that they pass through; and the public names."""

import ast
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import scratchpg
from scratchpg import MLP, SoftmaxPolicy, Value, evaluate, ppo, reinforce

ROOT = Path(scratchpg.__file__).parent
FILES = {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}


@pytest.mark.parametrize("file", FILES)
def test_no_random_number_from_the_global_state(file):
    used = {
        node.attr
        for node in ast.walk(FILES[file])
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random")
    }
    assert used <= {"default_rng", "Generator", "SeedSequence", "RandomState"}  # the last one to be refused
    imports = [node for node in ast.walk(FILES[file]) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) for node in imports} | {x.name for node in imports for x in node.names}
    assert "random" not in names  # nor from the standard library's


def test_running_leaves_the_global_state_alone():
    before = np.random.get_state()  # noqa: NPY002
    env = gym.make("CartPole-v1")
    policy = SoftmaxPolicy.for_env(env, (8,), rng=0)
    next(reinforce.train(env, policy, seed=0))
    next(ppo.train(env, policy, Value.for_env(env, (8,), rng=0), seed=0))
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
