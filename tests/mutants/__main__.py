"""The command line: see `python -m tests.mutants --help`.

One process imports NumPy, Gymnasium, Hypothesis and pytest, and forks a child per mutant, which takes the mutated
module for the real one and runs the tests up to the first that fails. So it needs a platform that can fork.
"""

import argparse
import importlib
import importlib.util
import math
import multiprocessing
import os
import resource
import shutil
import sys
import time
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType

import gymnasium  # noqa: F401  (imported before the fork, for all children)
import hypothesis
import pytest

from .mutate import Mutant, mutants
from .survivors import SURVIVORS

ROOT = Path(__file__).parents[2]
CHAPTER = ("loss", "gradient")
# module: (the functions to mutate, all if none are named; the tests, those first that kill most)
MODULES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "softmax": (
        (),
        (
            "test_softmax.py",
            "test_policy.py",
            "test_bad_input.py",
            "derivation/test_9_trpo.py",
            "derivation/test_12_sac.py",
        ),
    ),
    "mlp": ((), ("test_mlp.py", "test_policy.py", "test_bad_input.py", "test_gaussian.py")),
    "policy": ((), ("test_policy.py", "test_gaussian.py", "test_ppo.py", "test_continuous.py")),
    "value": ((), ("test_value.py", "test_check.py", "test_bad_input.py")),
    "returns": (
        (),
        (
            "test_returns.py",
            "test_grpo.py",
            "test_bad_input.py",
            "derivation/test_4_a2c.py",
            "derivation/test_10_grpo.py",
        ),
    ),
    "optim": ((), ("test_optim.py", "test_bad_input.py", "test_trpo.py", "derivation/test_9_trpo.py")),
    "rollout": (
        ("Batch.t", "Batch.samples", "minibatches"),
        ("derivation/test_6_ppo.py", "derivation/test_1_reinforce.py", "test_rollout.py"),
    ),
    "plumbing/check": ((), ("test_check.py", "test_bad_input.py", "test_gaussian.py", "test_sac.py")),
    "mdp": (
        (),
        (
            "test_mdp.py",
            "derivation/test_3_actor_critic.py",
            "derivation/test_1_reinforce.py",
            "derivation/test_14_model.py",
            "derivation/test_12_sac.py",
        ),
    ),
    "algorithms/reinforce": (
        (*CHAPTER, "total"),
        ("test_reinforce.py", "test_bad_input.py", "derivation/test_1_reinforce.py"),
    ),
    "algorithms/actor_critic": (CHAPTER, ("test_a2c.py", "test_bad_input.py", "derivation/test_3_actor_critic.py")),
    "algorithms/a2c": (CHAPTER, ("test_a2c.py", "test_bad_input.py", "derivation/test_4_a2c.py")),
    "algorithms/ppo": (CHAPTER, ("test_ppo.py", "test_bad_input.py", "derivation/test_6_ppo.py")),
    "gaussian": ((), ("test_gaussian.py", "derivation/test_8_continuous.py")),
    "algorithms/trpo": (
        (*CHAPTER, "fisher_product", "natural_step", "accepts", "mean"),
        ("test_trpo.py", "derivation/test_9_trpo.py"),
    ),
    "algorithms/grpo": (CHAPTER, ("test_grpo.py", "derivation/test_10_grpo.py")),
    "epsilon_greedy": ((), ("test_q.py", "test_dqn.py", "derivation/test_11_dqn.py")),
    "q": ((), ("test_q.py", "derivation/test_11_dqn.py", "test_sac.py")),
    "replay": ((), ("test_replay.py", "derivation/test_11_dqn.py")),
    "algorithms/dqn": (CHAPTER, ("test_dqn.py", "derivation/test_11_dqn.py")),
    "algorithms/rainbow": (
        (*CHAPTER, "project", "targets", "errors"),
        ("derivation/test_11_dqn.py", "test_rainbow.py"),
    ),
    "squashed": ((), ("test_squashed.py", "derivation/test_12_sac.py")),
    "algorithms/sac": ((*CHAPTER, "targets"), ("derivation/test_12_sac.py", "test_sac.py")),
    "algorithms/imitation": (CHAPTER, ("derivation/test_13_imitation.py", "test_imitation.py")),
    "algorithms/rlfd": (CHAPTER, ("derivation/test_13_imitation.py", "test_rlfd.py")),
    "dynamics": ((), ("test_dynamics.py", "derivation/test_14_model.py")),
    "planner": ((), ("test_dynamics.py", "test_mpc.py", "derivation/test_14_model.py")),
}
ENOUGH = 0.95
SLOWER = 5  # a mutant that takes so many times as much processor time as everything before it may never end: killed
MEMORY = 4 * 2**30  # bytes: a mutant that asks for more and more gets a MemoryError


def main() -> int:
    """The exit status: 0 if enough were killed and each survivor is explained."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants",
        description="Change the maths in one place at a time; the tests must notice nearly every change.",
    )
    parser.add_argument("--module", action="append", choices=list(MODULES), help="only this one; may be repeated")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many mutants at a time")
    args = parser.parse_args()
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1, not {args.jobs}")
    begin, killed, total, wrong = time.monotonic(), 0, 0, 0
    with TemporaryDirectory() as folder:
        checkout = Path(folder).resolve()  # nobody else writes there meanwhile
        for name in "scratchpg", "tests":
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "setup.cfg", checkout)
        os.chdir(checkout)
        sys.path.insert(0, str(checkout))
        for module in args.module or MODULES:
            survived, of = run(module, args.jobs)
            print(f"{module:24}{score(of - len(survived), of)}", flush=True)
            killed, total, wrong = killed + of - len(survived), total + of, wrong + report(module, survived)
    print(f"{'all':24}{score(killed, total)}, in {(time.monotonic() - begin) / 60:.0f} min")
    return int(killed < ENOUGH * total or wrong > 0)


def score(killed: int, total: int) -> str:
    """How many of how many."""
    return f"{killed} of {total} killed ({killed / total:.1%})"


def run(module: str, jobs: int) -> tuple[list[Mutant], int]:
    """The mutants of a module that survive, and how many there are."""
    functions, tests = MODULES[module]
    path = Path("scratchpg", module).with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    name = ".".join(path.with_suffix("").parts)
    files = [str(path), *(str(Path("tests", file)) for file in tests)]  # its doctests first
    sound = start(name, compile(source, path, "exec"), files, resource.RLIM_INFINITY)
    sound.join()
    if sound.exitcode:
        raise SystemExit(f"the tests of {module} fail without any mutation: python -m pytest {' '.join(files)}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # by this child at most
    seconds = math.ceil(SLOWER * (used.ru_utime + used.ru_stime))

    waiting, total, survived = list(mutants(source, functions, str(path)))[::-1], 0, []
    running: dict[BaseProcess, Mutant] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                mutant = waiting.pop()
                running[start(name, mutant.code, files, seconds)] = mutant
            wait([process.sentinel for process in running])
            for process, mutant in list(running.items()):
                if not process.is_alive():
                    del running[process]
                    total += 1
                    if process.exitcode == pytest.ExitCode.OK:
                        survived.append(mutant)
            show(f"{module}: {total} of {total + len(waiting) + len(running)}, {len(survived)} survived")
    finally:
        for process in running:
            process.kill()
            process.join()
        show("")
    return sorted(survived, key=lambda mutant: mutant.line), total


def start(name: str, code: CodeType, files: list[str], seconds: int) -> BaseProcess:
    """A child in which the module of this name is this code, running the tests; its exit code is pytest's."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(name, code, files, seconds))
    process.start()
    return process


def child(name: str, code: CodeType, files: list[str], seconds: int) -> None:
    """Take the code for the module and run the tests, in silence, up to the first that fails."""

    class Loader(SourceFileLoader):
        def get_code(self, fullname: str) -> CodeType:
            return code

    class Finder:
        @staticmethod
        def find_spec(fullname: str, path: list[str] | None, target: object = None) -> ModuleSpec | None:
            spec = PathFinder.find_spec(fullname, path) if fullname == name else None
            return spec and importlib.util.spec_from_file_location(name, spec.origin, loader=Loader(name, spec.origin))

    class FirstFailure:
        @staticmethod
        def pytest_configure() -> None:
            """No shrinking: that a test fails is enough."""
            phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
            usual = hypothesis.settings.get_profile("scratchpg")
            hypothesis.settings.register_profile("mutants", usual, phases=phases)
            hypothesis.settings.load_profile("mutants")

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    sys.meta_path.insert(0, Finder)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1), os.dup2(silence, 2)
    assert name not in sys.modules
    importlib.import_module(name)  # before pytest puts a finder of its own in front
    imported_before = "-Wignore::pytest.PytestAssertRewriteWarning"
    os._exit(pytest.main(["-x", "-q", "--tb=no", imported_before, *files], plugins=[FirstFailure]))


def report(module: str, survived: list[Mutant]) -> int:
    """Print the survivors of a module, each with its reason; how many have none, or have one and were killed."""
    reasons, wrong = dict(SURVIVORS.get(module, {})), 0
    for mutant in survived:
        reason = reasons.pop((mutant.function, mutant.after), "")
        wrong += not reason
        print(f"  scratchpg/{module}.py:{mutant.line}  {mutant.before}\n    →  {mutant.after}")
        print(f"    {reason or 'UNEXPLAINED'}", flush=True)
    for function, after in reasons:
        print(f"  explained, but killed, in {function}:  {after}")
    return wrong + len(reasons)


def show(line: str) -> None:
    """Progress, on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
