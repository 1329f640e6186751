"""What the chapters need beside the maths: checks, runs, environments, processes, files. Skip it at first."""

from . import check
from .check import AnyEnv, Array, Rng, Schedule
from .run import Loop, Progress, Updates, make_rng, run, scheduled, undisturbed

__all__ = [
    "AnyEnv",
    "Array",
    "Loop",
    "Progress",
    "Rng",
    "Schedule",
    "Updates",
    "check",
    "make_rng",
    "run",
    "scheduled",
    "undisturbed",
]
