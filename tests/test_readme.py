"""What README.md shows is what runs: its Python blocks here, its commands in .ci/run.

Names, links and maths are also checked in the derivation, scratchpg/algorithms/README.md. Its equations are checked in
derivation/test_all_equations.py.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "scratchpg/algorithms/README.md")}
pages = pytest.mark.parametrize("page", PAGES)
# What GitHub's MathJax refuses, and numbers and references within maths, for which there is the text around it
REFUSED = r"\\(operatorname|mbox|phantom|newcommand|def|let|href|require|DeclareMathOperator|tag|label|ref)\b"


def blocks(language):
    """The fenced blocks of a language, each with the number of its first line."""
    return [
        (README.count("\n", 0, match.start(1)) + 1, match[1])
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    ]


def test_python_blocks_run_one_after_the_other_and_print_what_stands_below(capsys):
    namespace, printed = {"__name__": "__main__"}, []
    for line, block in blocks("python"):
        exec(compile("\n" * (line - 1) + block, ROOT / "README.md", "exec"), namespace)
        printed.append(capsys.readouterr().out)
    told, said = (text.split() for text in (blocks("text")[0][1], printed[0]))
    assert told[:-1] == said[:-1]
    assert float(said[-1]) < 10 * float(told[-1]) < 1e-11  # the largest difference is rounding


def test_the_diff_it_shows_is_one_of_the_chapters():
    before, after = ((ROOT / f"scratchpg/algorithms/{name}.py").read_text() for name in ("actor_critic", "a2c"))
    ((_, block),) = blocks("diff")
    lines = {sign: [line[1:] + "\n" for line in block.splitlines() if line[0] != other] for sign, other in ("-+", "+-")}
    assert len(block.splitlines()) >= 10
    assert "".join(lines["-"]) in before and "".join(lines["+"]) in after


@pages
def test_every_file_it_names_is_there(page):
    folder, text = (ROOT / page).parent, PAGES[page]
    words = [word for span in re.findall(r"`([^`\n]+)`", text) for word in span.split()]
    names = [word for word in words if re.fullmatch(r"[\w./]+(\.py|/)|\.ci/run", word)]
    places = [ROOT / place for place in ("", "scratchpg", "scratchpg/algorithms", "examples")]
    assert [name for name in names if not any((place / name).exists() for place in places)] == []
    targets = re.findall(r"\]\((?!#|https:)([^)]+)\)", text)
    assert targets and [target for target in targets if not (folder / target.split("#")[0]).exists()] == []


@pages
def test_every_heading_it_links_to_is_there(page):
    for file, heading in re.findall(r"\]\((?!https:)([^)#]*)#([^)]+)\)", PAGES[page]):
        text = (ROOT / page).parent.joinpath(file).read_text(encoding="utf-8") if file else PAGES[page]
        assert heading in {x.lower().replace(" ", "-") for x in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_every_module_it_runs_is_there():
    if not (ROOT / "tests" / "planted").is_dir():
        return  # the copy of an exercise is without it
    modules = re.findall(r"python -m (tests\.\w+)", README)
    assert modules and all(importlib.util.find_spec(name) for name in modules)


def test_every_option_it_names_is_there():
    files = [*(ROOT / "examples").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    sources = [file.read_text(encoding="utf-8") for file in files]
    own = {"--help"} if (ROOT / "tests" / "planted").is_dir() else {"--help", "--exercise"}
    for option in set(re.findall(r"--[a-z]+", README)) - own:
        assert any(f'"{option}"' in source for source in sources), option


def without_blocks(page):
    """The text of a page outside of its fenced blocks."""
    return re.sub(r"^```(\w+)\n.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)


@pages
def test_maths_is_fenced_from_markdown(page):
    """$`…`$ and ```math: between plain dollars Markdown takes `\\,` and `_` for its own."""
    text = without_blocks(page)
    spans = re.findall(r"\$`([^`\n]+)`\$", text)
    assert r"\gamma^t G_t" in spans
    assert "$" not in re.sub(r"\$?`[^`\n]+`\$?", "", text)


@pages
def test_maths_can_be_rendered(page):
    """Braces, \\left and \\right, \\begin and \\end are in pairs, and GitHub refuses none of the commands."""
    maths = re.findall(r"^```math\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    maths += re.findall(r"\$`([^`\n]+)`\$", without_blocks(page))
    for formula in maths:
        depths = [0]
        for brace in re.findall(r"(?<!\\)[{}]", formula):
            depths.append(depths[-1] + (1 if brace == "{" else -1))
        assert min(depths) == depths[-1] == 0, formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
        assert re.findall(r"\\begin({\w+})", formula) == re.findall(r"\\end({\w+})", formula)[::-1], formula
        assert not re.search(REFUSED, formula) and formula.isascii(), formula


@pages
def test_rows_of_a_table_have_one_length(page):
    """A bar within a cell, also within maths, would begin another cell."""
    for table in re.findall(r"(?:^\|.*\n)+", without_blocks(page), re.MULTILINE):
        bars = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert len(set(bars)) == 1, table.splitlines()[0]


def test_ci_runs_the_two_commands_as_printed():
    commands = [line for _, block in blocks("sh") for line in block.splitlines()]
    assert commands == [
        'python -m pip install -e ".[plot]" && python examples/reinforce.py --plot curve.png',
        'python -m pip install -e ".[test]" && python -m pytest',
    ]
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    printed = subprocess.run([ROOT / ".ci" / "run", "--commands"], check=True, capture_output=True, text=True).stdout
    assert printed.splitlines() == commands
