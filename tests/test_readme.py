"""What README.md shows is what runs: its Python blocks here, its commands in .ci/run."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


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
    assert len(block.splitlines()) == 10
    assert "".join(lines["-"]) in before and "".join(lines["+"]) in after


def test_every_file_it_names_is_there():
    words = [word for span in re.findall(r"`([^`\n]+)`", README) for word in span.split()]
    names = [word for word in words if re.fullmatch(r"[\w./]+(\.py|/)|\.ci/run", word)]
    names += re.findall(r"\]\((?!#|https:)([^)]+)\)", README)
    places = [ROOT / place for place in ("", "scratchpg", "scratchpg/algorithms", "examples")]
    assert [name for name in names if not any((place / name).exists() for place in places)] == []
    if not (ROOT / "tests" / "planted").is_dir():
        return  # the copy of an exercise is without it
    modules = re.findall(r"python -m (tests\.\w+)", README)
    assert modules and all(importlib.util.find_spec(name) for name in modules)


def test_every_option_and_heading_it_names_is_there():
    files = [*(ROOT / "examples").glob("*.py"), *(ROOT / "tests").rglob("*.py")]
    sources = [file.read_text(encoding="utf-8") for file in files]
    own = {"--help"} if (ROOT / "tests" / "planted").is_dir() else {"--help", "--exercise"}
    for option in set(re.findall(r"--[a-z]+", README)) - own:
        assert any(f'"{option}"' in source for source in sources), option
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_maths_is_fenced_from_markdown():
    """$`…`$ and ```math: between plain dollars Markdown takes `\\,` and `_` for its own."""
    text = re.sub(r"^```(\w+)\n.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"\$`([^`\n]+)`\$", text)
    assert r"\gamma^t G_t" in spans
    assert "$" not in re.sub(r"\$?`[^`\n]+`\$?", "", text)


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
