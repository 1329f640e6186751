"""What the chapters need and no derivation speaks of: doors, runs, environments, processes, files. Skip it at first."""

from . import check as check
from .check import AnyEnv as AnyEnv, Array as Array, Rng as Rng, Schedule as Schedule
from .run import Progress as Progress, Updates as Updates, make_rng as make_rng, run as run, scheduled as scheduled
