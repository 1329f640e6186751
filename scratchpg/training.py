"""The frame around every chapter's loop: arguments checked at the door, progress reported, divergence named."""

import functools
import inspect
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .arithmetic import one_thread, run_context
from .checks import P, Rng, Schedule, checked
from .spaces import build, check_fit


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
        items = vars(self).items()
        return "  ".join(f"{name} {x:8.4g}" if isinstance(x, float) else f"{name} {x:8d}" for name, x in items)


Updates = Generator[Progress, None, None]  # what a chapter's `train` returns: a run, update by update


def generator(seed: int | None, rng: Rng) -> np.random.Generator:
    """The one source of randomness of a run: `rng`, or a new generator from `seed`."""
    if seed is not None and rng is not None:
        raise ValueError(f"give seed or rng, not both: seed={seed!r}, rng={rng!r}")
    return np.random.default_rng(seed if rng is None else rng)


def linear(schedule: Schedule, done: float) -> float:
    """A scheduled number after the share `done` of the run: (first, last) goes linearly, a plain number stays.

    >>> linear(0.2, 0.5), linear((0.2, 0.0), 0.5)
    (0.2, 0.1)
    """
    first, last = schedule if isinstance(schedule, tuple) else (schedule, schedule)
    return first + (last - first) * done


def training(train: Callable[P, Updates]) -> Callable[P, Updates]:
    """Decorates a chapter's `train`: bad arguments are refused at the call, not at the first update, and a run that
    diverges ends in a FloatingPointError that says at which step."""

    @functools.wraps(train)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Updates:
        given: dict[str, Any] = dict(zip(inspect.signature(train).parameters, args, strict=False)) | kwargs
        env = build(given["make_env"]) if "make_env" in given else given["env"]
        check_fit(env, **{name: given[name] for name in ("policy", "value") if name in given})
        if "make_env" in given:
            env.close()
        generator(given.get("seed"), given.get("rng"))
        return updates(train(*args, **kwargs))

    def updates(loop: Updates) -> Updates:
        context, steps = run_context(), 0
        with one_thread():
            while True:
                try:
                    progress = context.run(next, loop)
                except StopIteration:
                    return
                except FloatingPointError as error:
                    raise type(error)(f"{error} (after {steps} steps)") from error
                steps = progress.steps
                yield progress

    return checked(begin)
