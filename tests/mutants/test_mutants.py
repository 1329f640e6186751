"""The mutants are what they should be, and the table of survivors keeps step with the library."""

from pathlib import Path

import pytest

from .mutate import mutants
from .survivors import SURVIVORS

ROOT = Path(__file__).parents[2]

EXAMPLE = '''
def f(x: int = 1, flag=True) -> int:
    """1 + 1"""
    if x < 0 and not flag:
        raise ValueError(f"{x + 1}")
    x -= x[1:] ** 2.5
    return x
'''
CHANGES = {
    "def f(x: int=0, flag=True) -> int:",
    "def f(x: int=2, flag=True) -> int:",
    "def f(x: int=1, flag=False) -> int:",
    "if not (x < 0 and (not flag)):",
    "if x < 0 or not flag:",
    "if x <= 0 and (not flag):",
    "if x >= 0 and (not flag):",
    "if x < 1 and (not flag):",
    "if x < 0 and flag:",
    "x += x[1:] ** 2.5",
    "x -= x[1:] * 2.5",
    "x -= x[0:] ** 2.5",
    "x -= x[2:] ** 2.5",
    "x -= x[:] ** 2.5",
    "x -= x[1:] ** 5.0",
}


def test_every_operator_constant_comparison_and_sign_is_changed_once():
    assert {mutant.after for mutant in mutants(EXAMPLE)} == CHANGES
    assert len(list(mutants(EXAMPLE))) == len(CHANGES)
    assert list(mutants(EXAMPLE, functions=("g",))) == []


def test_a_mutant_does_what_it_says():
    names = {}
    (mutant,) = (mutant for mutant in mutants("def f(x):\n    return x + 2 * x") if "-" in mutant.after)
    assert (mutant.line, mutant.function, mutant.before) == (2, "f", "return x + 2 * x")
    exec(mutant.code, names)
    assert names["f"](5) == -5


@pytest.mark.parametrize("module", SURVIVORS)
def test_every_survivor_that_is_explained_exists(module):
    source = (ROOT / "scratchpg" / f"{module}.py").read_text(encoding="utf-8")
    assert set(SURVIVORS[module]) <= {(mutant.function, mutant.after) for mutant in mutants(source)}
