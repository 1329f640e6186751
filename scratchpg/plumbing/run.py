"""The frame of a training run: threads, reports, errors, random numbers and schedules."""

import ctypes
import os
import warnings
from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .check import Rng, Schedule, natural


class Progress(SimpleNamespace):
    """What an update reports: steps, episodes, mean_return (undiscounted, of the last 100 finished episodes; NaN before
    the first), and the chapter's diagnostics by name. Prints as one aligned line.

    >>> print(Progress(steps=2048, episodes=97, mean_return=21.5, entropy=0.68))
    steps     2048  episodes       97  mean_return     21.5  entropy     0.68
    """

    steps: int
    episodes: int
    mean_return: float

    def __str__(self) -> str:
        numbers = {k: f"{x:.4g}" if isinstance(x, float | np.floating) else str(x) for k, x in vars(self).items()}
        return "  ".join(f"{name} {number:>8}" for name, number in numbers.items())


class Updates(Generator[Progress, None, None]):
    """What a chapter's `train` returns: its loop. Each `next` runs one update.

    An update runs `undisturbed`, the code between two updates does not. A FloatingPointError gets the number of steps
    added to its message. A run that is dropped before its first update warns: a loop over it was probably forgotten.
    parts: the objects to save, for a run that is resumed later; the `kept` of each names the attributes that matter.
    """

    def __init__(self, loop: Any, **parts: Any) -> None:  # a generator of Progress
        self.loop, self.parts, self.steps, self.begun = loop, parts, 0, False

    def send(self, value: None) -> Progress:  # `next` comes here
        self.begun = True
        try:
            with undisturbed():
                progress = next(self.loop)
        except FloatingPointError as error:
            raise type(error)(f"{error} (after {self.steps} steps)") from error
        self.steps = progress.steps
        return progress

    def throw(self, *error: Any) -> Progress:  # `close` comes here
        self.begun = True
        return self.loop.throw(*error)

    def __del__(self) -> None:
        if not self.begun:
            message = "train(…) was not iterated, so nothing was trained; write: for progress in train(…)"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


Loop = Iterator[Progress]  # what a chapter writes: a generator, one Progress per update
run = Updates  # a chapter's `train` ends with: return run(updates(), …)


def make_rng(seed: int | None, rng: Rng) -> np.random.Generator:
    """The one source of randomness of a run: `rng`, or a new generator from `seed`."""
    if seed is not None and rng is not None:
        raise ValueError(f"give seed or rng, not both: seed={seed!r}, rng={rng!r}")
    if isinstance(rng, np.random.RandomState):
        raise TypeError(f"rng must be a np.random.Generator or a seed for one, not the older {rng!r}")
    if seed is not None:
        natural(seed=seed)
    return np.random.default_rng(seed if rng is None else rng)


def scheduled(schedule: Schedule, done: float) -> float:
    """A scheduled number after the share `done` of the run: (first, last) goes linearly, a plain number stays.

    >>> scheduled(0.2, 0.5), scheduled((0.2, 0.0), 0.5)
    (0.2, 0.1)
    """
    first, last = schedule if isinstance(schedule, tuple) else (schedule, schedule)
    return float(first + (last - first) * done)  # not np.float64, which would make float32 steps float64


# OpenBLAS' functions to get and set its number of threads; with another BLAS, none
_library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # finds functions of the libraries that it uses, too
_names = "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"
_name = next((name for name in _names if hasattr(_library, name.format("set"))), None)
get_threads: Any = getattr(_library, _name.format("get")) if _name else lambda: 1
set_threads: Any = getattr(_library, _name.format("set")) if _name else lambda n: None
THREADS_CHOSEN = any(f"{blas}_NUM_THREADS" in os.environ for blas in ("OPENBLAS", "OMP", "MKL"))


class undisturbed:
    """Within it, matrix products use one thread and NumPy warns of nothing; after it, all is as before.

    On a busy machine threads that wait for each other make the same training many times slower. On two idle cores two
    threads make an update of PPO with hidden layers of 256 1.15 to 1.6 times as fast, from 64 to 2,048 rows; layers of
    64 gain nothing below 256 rows (examples/throughput.py). If OPENBLAS_NUM_THREADS, OMP_NUM_THREADS or MKL_NUM_THREADS
    is set, that number is kept. NumPy need not warn: the optimiser and the collector refuse a NaN or an infinity.
    """

    def __enter__(self) -> None:
        self.threads = 1 if THREADS_CHOSEN else get_threads()
        if self.threads > 1:
            set_threads(1)
        self.silence = np.errstate(all="ignore")
        self.silence.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.silence.__exit__(*error)
        if self.threads > 1:
            set_threads(self.threads)
