"""Every numbered equation has a test that bears its number, and stands in a docstring of the library."""

import ast
import re
from pathlib import Path

import scratchpg

LAST = {1: 12, 2: 5, 3: 8, 4: 4, 5: 1, 6: 3, 7: 4}  # of each section of the derivation
EQUATIONS = [f"{section}.{i}" for section, last in LAST.items() for i in range(1, last + 1)]


def definitions(folder):
    """Every module, class and function of the Python files in a folder."""
    for file in Path(folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield node


def test_every_equation_has_a_test():
    names = [getattr(node, "name", "") for node in definitions(Path(__file__).parents[1])]
    tested = {f"{m[1]}.{m[2]}" for name in names if (m := re.match(r"test_eq_(\d+)_(\d+)_\w", name))}
    assert [number for number in EQUATIONS if number not in tested] == []


def test_every_equation_stands_in_a_docstring():
    docstrings = " ".join(ast.get_docstring(node) or "" for node in definitions(Path(scratchpg.__file__).parent))
    assert [number for number in EQUATIONS if f"({number})" not in docstrings] == []
