"""Every numbered equation has a test that bears its number and stands in a docstring; README has its map."""

import ast
import importlib
import inspect
import operator
import re
from pathlib import Path

import scratchpg

ROOT = Path(__file__).parents[2]

LAST = {1: 12, 2: 5, 3: 12, 4: 4, 5: 1, 6: 3, 7: 4}  # of each section of the derivation, part I
LAST |= {8: 9, 9: 8, 10: 7, 11: 16, 12: 15, 13: 8, 14: 8, 15: 5}  # and of the parts after it
STUDIES = ["td_convergence", "intervals", "bootstrap"]  # in examples/: what they compute is not in the library
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
    nodes = [*definitions(Path(scratchpg.__file__).parent), *definitions(ROOT / "examples")]
    docstrings = " ".join(ast.get_docstring(node) or "" for node in nodes)
    assert [number for number in EQUATIONS if f"({number})" not in docstrings] == []


def documented(name, monkeypatch):
    """What has this name, in the library or in a study."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    found, *inner = name.split(".")
    found = importlib.import_module(found) if found in STUDIES else getattr(scratchpg, found)
    return operator.attrgetter(".".join(inner))(found) if inner else found


def test_every_equation_is_on_the_map(monkeypatch):
    """| (1.1) | … | `function` | `test` | `script` |: a docstring with its number, its tests, a script or none."""
    row = re.compile(r"^\| \((\d+\.\d+)\) \| .+ \| `([\w.]+)` \| `(\w+)` \| (?:`(\w+\.py)`|—) \|$", re.MULTILINE)
    lines = row.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [number for number, *_ in lines] == EQUATIONS
    tests = [getattr(node, "name", "") for node in definitions(ROOT / "tests")]
    for number, function, test, script in lines:
        assert f"({number})" in inspect.getdoc(documented(function, monkeypatch)), (number, function)
        assert test == f"test_eq_{number.replace('.', '_')}" and any(name.startswith(f"{test}_") for name in tests)
        assert not script or (ROOT / "examples" / script).is_file(), (number, script)
