"""The command line: see `python -m tests.planted --help`."""

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from .defects import ROOT, Defect
from .table import DEFECTS

CHECKOUT = ("scratchpg", "tests", "examples", ".ci", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
TIMEOUT = 300  # seconds for the tests of one defect, which take a few


def main() -> int:
    """The exit status: 0 if every defect was caught."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.planted",
        description="Plant classic mistakes in copies of the library, one at a time; the tests must catch each.",
    )
    parser.add_argument("defect", nargs="*", type=find, help="numbers or names; without any, all of them")
    parser.add_argument("--list", action="store_true", help="print the symptom of each, and run nothing")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at a time")
    parser.add_argument("--exercise", type=find, metavar="N", help="write a copy with the Nth mistake to exercise-N")
    parser.add_argument("--solution", type=find, metavar="N", help="what is wrong in exercise N")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    if args.list:
        for defect in args.defect or DEFECTS:
            print(f"{number(defect):3}  {defect.symptom}")
    elif args.exercise:
        exercise(args.exercise)
    elif args.solution:
        solution(args.solution)
    else:
        return run(args.defect or DEFECTS, args.jobs)
    return 0


def find(text: str) -> Defect:
    """A defect by its number, counted from 1, or by its name."""
    for defect in DEFECTS:
        if text in (defect.name, str(number(defect))):
            return defect
    raise argparse.ArgumentTypeError(f"there is no defect {text}: 1 … {len(DEFECTS)}, or a name")


def number(defect: Defect) -> int:
    """Its place in the table, counted from 1."""
    return DEFECTS.index(defect) + 1


def copy(target: Path) -> None:
    """The library, its tests and its examples, without what would give the answer away."""
    target.mkdir()
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "planted", "mutants")
            )
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, target)


def run(defects: tuple[Defect, ...], jobs: int) -> int:
    """Print a line per defect; 0 if all were caught."""
    begin, tests = time.monotonic(), sorted({test for defect in defects for test in defect.tests})
    with TemporaryDirectory() as name, ThreadPoolExecutor(jobs) as pool:
        folder = Path(name).resolve()
        try:
            if (verdict := judge(folder / "sound", None, tests)) != SURVIVED:
                print(f"With nothing planted the tests must pass, but: {verdict}")
                return 1
            verdicts = pool.map(lambda defect: judge(folder / defect.name, defect, defect.tests), defects)
            caught = 0
            for defect, verdict in zip(defects, verdicts, strict=True):
                caught += verdict.startswith(CAUGHT)
                print(f"{number(defect):3}  {defect.name:27}  {verdict}", flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    print(f"{caught} of {len(defects)} caught, in {time.monotonic() - begin:.0f} s")
    return int(caught < len(defects))


CAUGHT, SURVIVED = "caught by", "SURVIVED"


def judge(checkout: Path, defect: Defect | None, tests: tuple[str, ...] | list[str]) -> str:
    """Copy the library, plant the defect, run these tests up to the first failure; what came of it."""
    copy(checkout)
    try:
        if defect:
            defect.plant(checkout)
    except LookupError as error:
        return f"BROKEN: {error}"
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}

    def python(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args], cwd=checkout, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )

    where = python("-c", "import scratchpg; print(scratchpg.__file__)").stdout.strip()
    if not Path(where).is_relative_to(checkout):
        return f"BROKEN: what is imported is not the copy but {where}"
    try:
        result = python("-m", "pytest", "-x", "-q", "--tb=no", "-rfE", *tests)
    except subprocess.TimeoutExpired:
        return f"HUNG for {TIMEOUT} s"
    finally:
        shutil.rmtree(checkout)
    if result.returncode == 0:
        return SURVIVED
    first = re.search(r"^FAILED (.*?)(?: - .*)?$", result.stdout, re.MULTILINE)
    return f"{CAUGHT} {first[1]}" if first else f"BROKEN: {result.stdout.strip() or result.stderr.strip()}"


def exercise(defect: Defect) -> None:
    """A copy of everything, with the mistake in it, for a reader to find."""
    folder = Path(f"exercise-{number(defect)}")
    if folder.exists():
        raise SystemExit(f"{folder} is already there")
    copy(folder)
    defect.plant(folder)
    print(f"{folder}{os.sep} is a copy of the library with one mistake in it. Its symptom:\n\n    {defect.symptom}\n")
    print("Find it by reading; or let the tests of the copy say where to read:\n")
    print(f"    cd {folder} && python -m pytest\n")
    print(f"What it was: python -m tests.planted --solution {number(defect)}")


def solution(defect: Defect) -> None:
    """Say what is wrong, and show it."""
    source = (ROOT / defect.file).read_text(encoding="utf-8")
    before, after = (text.splitlines() for text in (source, defect.planted(source)))
    print(f"{defect.name}: {defect.mistake}.\n")
    print(*difflib.unified_diff(before, after, defect.file, f"{defect.file} with it", lineterm="", n=1), sep="\n")


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
