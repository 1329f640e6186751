"""Every numbered equation has a test, a docstring, and an entry in the book, scratchpg/algorithms/README.md.

An entry of the book is a paragraph that begins with the number, its maths, and a line of links:

    **(4.4)** The loss …
    ```math … ```
    [`a2c.gradient`](a2c.py) · [`test_eq_4_4`](../../tests/derivation/test_4_a2c.py) · [`collapse.py`](…)

the functions that compute it, its tests, which are all that begin with this name, and perhaps a study that shows it.
"""

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

import scratchpg

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "scratchpg" / "algorithms"
BOOK = (FOLDER / "README.md").read_text(encoding="utf-8")

LAST = {1: 12, 2: 5, 3: 12, 4: 4, 5: 1, 6: 3, 7: 4}  # of each section of the derivation, part I
LAST |= {8: 9, 9: 8, 10: 7, 11: 16, 12: 15, 13: 8, 14: 8, 15: 5}  # and of the parts after it
EQUATIONS = [f"{section}.{i}" for section, last in LAST.items() for i in range(1, last + 1)]

# number and links of an entry; no empty line comes between them
ENTRIES = re.findall(r"^\*\*\((\d+\.\d+)\)\*\* (?:.+\n)+?```math\n(?:.+\n)+?```\n((?:.+\n)*)", BOOK, re.MULTILINE)
LINK = r"\[`([\w./]+)`\]\(([\w./]+)\)"
ANSWERS = "".join(
    rf"> - \*\*{name}:\*\* .+\n(?:>   .+\n)*" for name in ("Ψ", "Biased", r"Diff(?: to `(\w+\.py)`)?", "Take it")
)


def definitions(folder):
    """Every module, class and function of the Python files in a folder."""
    for file in Path(folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield node


def test_every_equation_has_a_test():
    names = [getattr(node, "name", "") for node in definitions(ROOT / "tests")]
    tested = {f"{m[1]}.{m[2]}" for name in names if (m := re.match(r"test_eq_(\d+)_(\d+)_\w", name))}
    assert [number for number in EQUATIONS if number not in tested] == []


def test_every_equation_stands_in_a_docstring():
    folders = ROOT / "scratchpg", ROOT / "examples"
    docstrings = " ".join(ast.get_docstring(node) or "" for folder in folders for node in definitions(folder))
    assert [number for number in EQUATIONS if f"({number})" not in docstrings] == []


def test_the_book_has_every_equation_once_and_in_order():
    assert [number for number, _ in ENTRIES] == EQUATIONS
    assert len(re.findall(r"^\*\*\(\d", BOOK, re.MULTILINE)) == len(EQUATIONS)


@pytest.mark.parametrize(("number", "links"), ENTRIES, ids=[number for number, _ in ENTRIES])
def test_the_links_of_an_equation(number, links):
    """Functions, then the test, then studies; each is where its link leads, and says the number."""
    assert re.fullmatch(rf"(?:{LINK}(?: · | ·\n|\n))*", links)
    labels = []
    for label, target in re.findall(LINK, links):
        file = (FOLDER / target).resolve()
        if label.endswith(".py"):
            assert label == file.name and f"({number})" in file.read_text(encoding="utf-8")
            labels.append("study")
        elif label.startswith("test_"):
            assert label == f"test_eq_{number.replace('.', '_')}"
            assert f"\ndef {label}_" in file.read_text(encoding="utf-8")
            labels.append("test")
        else:
            stem, *names = label.split(".")
            assert stem == file.stem and f"({number})" in about(file, names)
            labels.append("function")
    kinds = " ".join(labels)
    assert re.fullmatch(r"(function )+test( study)*", kinds)
    assert "study" in labels or not number.startswith("7.")


def about(file, names):
    """What a file says of what these names lead to: its source, and the docstrings of the module and class it is in."""
    text = file.read_text(encoding="utf-8")
    node, said = ast.parse(text), []
    for name in names:
        said.append(ast.get_docstring(node) or "")
        (node,) = (x for x in node.body if isinstance(x, ast.ClassDef | ast.FunctionDef) and x.name == name)
    said.append(ast.get_source_segment(text, node) if names else ast.get_docstring(node))
    return "\n".join(said)


def test_other_links_of_the_book():
    """In its tables a label is a function, too, and leads to its file."""
    for label, target in re.findall(LINK, BOOK):
        file = (FOLDER / target).resolve()
        if label.endswith(".py"):
            assert file.is_file() and target.endswith(label)
        elif not label.startswith("test_"):
            stem, *names = label.split(".")
            assert stem == file.stem and about(file, names)


def test_every_chapter_answers_the_four_questions():
    """In the same form everywhere; one more is of Gaussian policies, which are no chapter."""
    chapters = [file.name for file in FOLDER.glob("*.py") if file.name != "__init__.py"]
    assert [name for name in chapters if f"[`{name}`]({name})" not in BOOK] == []
    answers = re.findall(ANSWERS, BOOK)
    assert len(answers) == len(chapters) + 1 == BOOK.count("**Ψ:**") == BOOK.count("**Leave it:**")
    assert [name for name in answers if name and not any((FOLDER / up / name).is_file() for up in ("", ".."))] == []


def test_the_order_to_read_in_is_that_of_the_diffs():
    (order,) = re.findall(r"^```text\n(.+?)^```", BOOK, re.MULTILINE | re.DOTALL)
    arrows = set()
    for line in order.splitlines():
        for before, after in pairwise(line.split(" → ")):
            arrows |= {(f"{before.strip()}.py", f"{name}.py") for name in after.split(", ")}
    chapters = re.findall(r"\[`(\w+\.py)`\]\(\1\)", " ".join(re.findall("^Chapters? .+$", BOOK, re.MULTILINE)))
    diffs = [name for name in re.findall(ANSWERS, BOOK) if name != "softmax.py"]
    assert arrows == set(zip(diffs, chapters, strict=True)) - {("", "reinforce.py")}


def test_the_notation_is_the_same_in_both_places():
    """In the book's table and in the docstring of the package, each symbol once."""
    docstring = re.findall(r"^ {4}(\S.*?)  +(\S.*)$", scratchpg.__doc__, re.MULTILINE)
    rows = re.findall(r"^\| \$`[^`]+`\$ \| `([^`]+)` \| (.+) \|$", BOOK, re.MULTILINE)
    assert [(symbol.replace("\\|", "|"), meaning.replace("\\|", "|")) for symbol, meaning in rows] == docstring
    symbols = [symbol for row, _ in docstring for symbol in re.split(r"[,;] ", row)]
    assert len(docstring) > 20 and len(set(symbols)) == len(symbols)
