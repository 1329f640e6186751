"""The house: who imports whom, what stands at the top of a module, how long things are, how far chapters differ.

The rules are those of the design; what is measured is printed at the end of the run.
"""

import ast
import difflib
import importlib
import sys
from pathlib import Path, PurePosixPath

import gymnasium as gym
import numpy as np
import pytest

import scratchpg
from scratchpg import SoftmaxPolicy, Value, ppo

ROOT = Path(scratchpg.__file__).parent
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}
TREES = {file: ast.parse(text) for file, text in TEXTS.items()}

# Each role: its files, and how many lines they may have in all. The design asks for less of three of them: 1,100
# lines of words, 420 of world, 500 of plumbing. Who adds to these should take away as much.
CHAPTERS = [file for file in TEXTS if file.startswith("algorithms/") and file != "algorithms/__init__.py"]
PLUMBING = [file for file in TEXTS if file.startswith("plumbing/")]
DISTRIBUTIONS, NETWORKS = (
    ["softmax.py", "gaussian.py", "squashed.py", "epsilon_greedy.py"],
    ["policy.py", "value.py", "q.py", "dynamics.py"],
)
ROLES = {
    "words": (["mlp.py", *DISTRIBUTIONS, *NETWORKS, "returns.py", "optim.py"], 1510),
    "world": (["rollout.py", "evaluate.py", "replay.py", "demonstrations.py", "planner.py"], 626),
    "proofs": (["mdp.py", "gradcheck.py"], 360),
    "plumbing": (PLUMBING, 710),
}
WORDS, WORLD = ROLES["words"][0], ROLES["world"][0]
CHAPTER_LINES = {file: 150 if file == "algorithms/rainbow.py" else 130 for file in CHAPTERS}
NAMES = ["__init__.py", "algorithms/__init__.py"]  # what they hold are names only

# What the files of a role may import beside the standard library: packages, and files of ours
MAY_IMPORT = {
    "words": ["numpy", *WORDS, "plumbing/check.py"],
    "world": ["numpy", *WORDS, *WORLD, *PLUMBING],
    "proofs": ["numpy", "gymnasium", *WORDS, *WORLD, *PLUMBING],
    "plumbing": ["numpy", "gymnasium", *PLUMBING],
}
MORE_PLUMBING = {"algorithms/a3c.py": ["plumbing.processes", "plumbing.spaces"]}  # beside the one line
SAME = {  # the chapters that import another, as the derivation says that they are the same
    ("algorithms/baseline.py", "algorithms/reinforce.py"): "(2.1) is (1.11) with Ψ_t = γ^t A_t",
    ("algorithms/a3c.py", "algorithms/a2c.py"): "(5.1) takes the gradient of (4.4)",
    ("algorithms/grpo.py", "algorithms/ppo.py"): "(10.5) is (6.2) of w A",
    ("algorithms/rlfd.py", "algorithms/a2c.py"): "(13.7) is (4.4) and one more term",
    ("algorithms/rlfd.py", "algorithms/imitation.py"): "(13.7), the term that is (13.1)",
}
BY_NAME = ["plumbing/checkpoint.py"]  # may import by a name: it makes networks of the class that its file says

# How much of a chapter's `train` may be new to who knows the one before: the share of its lines
NEIGHBOURS = {("baseline", "actor_critic"): 0.45, ("actor_critic", "a2c"): 0.35, ("a2c", "ppo"): 0.50}
PATH_LINES = 900  # from `ppo.train` to the last line of NumPy


def imported(file, tree=None):
    """What a file imports: packages by their top name, files of ours by their paths."""
    for node in ast.walk(tree or TREES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            base = PurePosixPath(file).parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                candidates = f"{base / alias.name}.py", f"{base}.py", f"{base / '__init__.py'}"
                yield next(path for path in candidates if path in TREES)


def foreign(file):
    """The same without the standard library, of which only importing by a name is a matter of rules."""
    names = set(imported(file))
    return names - (sys.stdlib_module_names - ({"importlib"} if file not in BY_NAME else set()))


def test_every_file_has_one_role():
    roles = [*CHAPTERS, *NAMES, *(file for files, _ in ROLES.values() for file in files)]
    assert sorted(roles) == sorted(TEXTS)


@pytest.mark.parametrize(("role", "file"), [(role, file) for role, (files, _) in ROLES.items() for file in files])
def test_imports_run_one_way(role, file):
    """Chapters → world → words → NumPy, and plumbing beside them, of which the words know the doors only."""
    assert foreign(file) <= {*MAY_IMPORT[role]}


@pytest.mark.parametrize("file", CHAPTERS)
def test_a_chapter_imports_words_and_world_and_the_plumbing_in_one_line(file):
    others = {path for path in imported(file) if path.startswith("algorithms/")}
    assert {(file, other) for other in others} <= SAME.keys()
    assert foreign(file) - others <= {"numpy", *WORDS, *WORLD, *PLUMBING}
    lines = [x for x in ast.walk(TREES[file]) if isinstance(x, ast.ImportFrom) and "plumbing" in (x.module or "")]
    assert sorted(x.module for x in lines) == ["plumbing", *MORE_PLUMBING.get(file, [])]
    assert all(x.lineno == x.end_lineno for x in lines)


def test_the_exceptions_are_in_use():
    for file, other in SAME:
        assert other in imported(file)
    for file in BY_NAME:
        assert "importlib" in imported(file)


def test_the_rules_above_can_see():
    seen = {
        "import scipy.signal": ["scipy"],
        "from random import choice": ["random"],
        "from .. import mlp": ["mlp.py"],
        "from ..plumbing import check, Rng": ["plumbing/check.py", "plumbing/__init__.py"],
        "from ..plumbing.spaces import build": ["plumbing/spaces.py"],
        "from . import ppo": ["algorithms/ppo.py"],
        "from .a2c import *": ["algorithms/a2c.py"],
    }
    for line, files in seen.items():
        assert [*imported("algorithms/new.py", ast.parse(line))] == files


def is_constant(x):
    """Can nothing be written into it?"""
    if isinstance(x, tuple):
        return all(map(is_constant, x))
    return not x.flags.writeable if isinstance(x, np.ndarray) else type(x).__hash__ is not None


@pytest.mark.parametrize("file", TEXTS)
def test_only_constants_at_the_top_of_a_module(file):
    kinds = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign
    docstring, *rest = TREES[file].body
    assert isinstance(docstring.value, ast.Constant) and all(isinstance(node, kinds) for node in rest)
    parts = PurePosixPath("scratchpg", file).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    stored = [x for node in rest for x in ast.walk(node) if isinstance(node, ast.Assign | ast.AnnAssign)]
    names = {x.id for x in stored if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    changeable = [name for name in names & vars(module).keys() if not is_constant(getattr(module, name))]
    assert changeable in ([], ["__all__"])
    assert not any(isinstance(node, ast.Global) for node in ast.walk(TREES[file]))


@pytest.mark.parametrize("words", ["ContextVar", "signature(", "functools.wraps", "# fmt: skip"])
def test_no_hidden_mode_no_reflection_no_packed_lines(words):
    assert [file for file, text in TEXTS.items() if words in text] == []


# Lengths


def lines(*files):
    return sum(len(TEXTS[file].splitlines()) for file in files)


@pytest.mark.parametrize("role", ROLES)
def test_lines_of_a_role(role, measured):
    files, most = ROLES[role]
    measured[f"lines, {role} (at most {most})"] = lines(*files)
    assert lines(*files) <= most


@pytest.mark.parametrize("file", CHAPTERS)
def test_lines_of_a_chapter(file, measured):
    names = {PurePosixPath(file).stem: lines(file) for file in CHAPTERS}
    measured["lines, chapters (at most 130 each)"] = ", ".join(f"{name} {n}" for name, n in names.items())
    assert lines(file) <= CHAPTER_LINES[file]


def train_of(chapter):
    """The lines of a chapter's `train`, without indentation and empty lines."""
    text = TEXTS[f"algorithms/{chapter}.py"]
    (train,) = (node for node in ast.parse(text).body if getattr(node, "name", "") == "train")
    return [line.strip() for line in text.splitlines()[train.lineno - 1 : train.end_lineno] if line.strip()]


@pytest.mark.parametrize(("before", "after"), NEIGHBOURS)
def test_neighbouring_chapters_differ_by_little(before, after, measured):
    known, lines = train_of(before), train_of(after)
    blocks = difflib.SequenceMatcher(None, known, lines, autojunk=False).get_matching_blocks()
    share, most = 1 - sum(block.size for block in blocks) / len(lines), NEIGHBOURS[before, after]
    measured[f"new in train, {before} → {after} (at most {most:.0%})"] = f"{share:.1%}"
    assert share <= most


def test_what_one_reads_from_ppo_to_numpy(measured):
    """The functions that a run calls, with the heads of their classes and the docstrings of their modules."""
    env = gym.make_vec("CartPole-v1", 2)
    policy, value, called = SoftmaxPolicy.for_env(env, rng=0), Value.for_env(env, rng=1), set()

    def note(frame, event, _):
        if event == "call":
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    profile = sys.getprofile()
    sys.setprofile(note)
    try:
        for _ in ppo.train(env, policy, value, n_steps=64, batch_size=32, total_steps=256, seed=0):
            pass
    finally:
        sys.setprofile(profile)
    begins = {file: {line for path, line in called if path == str(ROOT / file)} for file in TEXTS}
    read = {file: lines_read(file, numbers) for file, numbers in begins.items() if numbers}
    assert {"algorithms/ppo.py", "mlp.py", "optim.py", "rollout.py", "plumbing/spaces.py"} <= read.keys()
    total = sum(map(len, read.values()))
    measured[f"lines from ppo.train to NumPy (at most {PATH_LINES})"] = f"{total}, in {len(read)} files"
    assert total <= PATH_LINES


def lines_read(file, begins):
    """The numbers of the lines that one reads of a file, of whose functions those are called that begin there."""
    tree, functions, read = TREES[file], {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            first = min([node.lineno, *(x.lineno for x in getattr(node, "decorator_list", []))])
            functions[first] = {*range(first, node.end_lineno + 1)}
    for first in begins & functions.keys():
        read |= functions[first]
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and read & {*range(node.lineno, node.end_lineno + 1)}:
            methods = [x for x in node.body if isinstance(x, ast.FunctionDef)]
            first = min(method.lineno - len(method.decorator_list) for method in methods)
            read |= {*range(node.lineno, first)}  # its head, with docstring and fields
    return read | {*range(1, tree.body[0].end_lineno + 1)}
