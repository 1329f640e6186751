"""The doors: a wrong argument raises an error that says its name, what was expected and what came.

A public function begins with the checks it needs, such as `check.unit(gamma=gamma)`; they are always on, and take a few
microseconds. Rows are not searched for NaN here: the collector and the optimiser refuse it.
"""

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, Space, flatdim
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

Array = NDArray[Any]
Schedule = float | tuple[float, float]  # a number, or (first, last): linear from one to the other over the run
Rng = np.random.Generator | int | None  # what np.random.default_rng takes
AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
INTEGER, REAL, FLAG = (int, np.integer), (int, float, np.integer, np.floating), (bool, np.bool_)


class NonFiniteError(FloatingPointError, ValueError):
    """A NaN or an infinity where a finite number is needed: a run that diverges, or an environment that returns one."""


def door(kind: Any, expected: str, admits: Callable[[Any], bool]) -> Callable[..., None]:
    """A check of values given by name: it raises unless each is of this kind and `admits(value)` is true."""

    def check(**values: Any) -> None:
        for name, x in values.items():
            fits = isinstance(x, kind) and (kind is FLAG or not isinstance(x, bool))  # True is an int
            if not fits or not admits(x):
                raise (ValueError if fits else TypeError)(f"{name} must be {expected}, not {x!r}")

    return check


natural = door(INTEGER, "an integer of at least 0", lambda x: x >= 0)
count = door(INTEGER, "an integer of at least 1", lambda x: x >= 1)
unit = door(REAL, "a number in [0, 1]", lambda x: 0 <= x <= 1)
decay = door(REAL, "a number in [0, 1)", lambda x: 0 <= x < 1)
positive = door(REAL, "a finite number > 0", lambda x: 0 < x < math.inf)
bound = door(REAL, "a number > 0 (inf: no bound)", lambda x: x > 0)
real = door(REAL, "a finite number", math.isfinite)
weight = door(REAL, "a finite number ≥ 0", lambda x: 0 <= x < math.inf)
flag = door(FLAG, "True or False", lambda x: True)
_rate = door(REAL, "a finite number > 0, or a tuple (first, last) whose last may be 0", lambda x: 0 < x < math.inf)


def schedule(**values: Any) -> None:
    """Numbers > 0, or pairs (first, last) whose last may be 0."""
    for name, x in values.items():
        first, last = x if isinstance(x, tuple) and len(x) == 2 else (x, 0)  # 0 passes below
        _rate(**{name: first})
        weight(**{name: last})


def optional(check: Callable[..., None], **values: Any) -> None:
    """Each value is None or passes this check."""
    check(**{name: x for name, x in values.items() if x is not None})


def widths(least: int, **sizes: Any) -> tuple[int, ...]:
    """The widths of layers, as a tuple of positive integers; `least` is how many there must be."""
    ((name, given),) = sizes.items()  # one keyword: widths(2, sizes=…)
    ns = tuple(given) if np.iterable(given) else (0,)  # 0 is refused below
    if len(ns) < least or not all(isinstance(n, INTEGER) and n >= 1 and n is not True for n in ns):
        raise ValueError(f"{name} must be {least} or more widths, integers of at least 1, not {given!r}")
    return tuple(int(n) for n in ns)


def rows(states: Any, **weights: Any) -> list[Array]:
    """States (B, n), B ≥ 1, and weights (B,), as arrays of floats: a (B, 1) beside a (B,) would broadcast to (B, B)."""
    arrays = [numbers("states", states)]
    shape = arrays[0].shape
    if len(shape) != 2 or not shape[0]:
        raise ValueError(f"states must have shape (B, observation) with at least one row, not {shape}")
    for name, x in weights.items():
        arrays.append(numbers(name, x))
        if (came := arrays[-1].shape) != shape[:1]:
            raise ValueError(f"{name} must have shape {shape[:1]}, one per row of states {shape}, not {came}")
    return arrays


def numbers(name: str, x: Any, shape: tuple[int, ...] | None = None) -> Array:
    """An array of floats, of this very shape if it is given. Integers become floats, as -x of an unsigned one wraps."""
    x = np.asarray(x)
    if x.dtype.kind not in "fcbiu":
        raise TypeError(f"{name} must be numbers, not {describe(x)}")
    if shape is not None and x.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {x.shape}")
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


def finite(name: str, x: Array) -> None:
    """Raise NonFiniteError if x holds a NaN or an infinity."""
    if not math.isfinite(abs(np.vdot(x, x))) and not np.isfinite(x).all():  # one product is fast, but it may overflow
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise NonFiniteError(f"{name} must be finite, but {name}{list(where)} is {x[where]}")


def describe(x: Any) -> str:
    """A value as an error message shows it: arrays by dtype and shape."""
    return f"an array {x.dtype} {x.shape}" if isinstance(x, np.ndarray) else repr(x)


def spaces_of(env: Any) -> tuple[Space[Any], Space[Any]]:
    """The observation and the action space of one environment. A vector must run in NEXT_STEP autoreset."""
    if isinstance(env, VectorEnv):
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.NEXT_STEP:
            line = "gymnasium.make_vec(id, n) or SyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP)"
            raise ValueError(f"a vector environment must have autoreset mode NEXT_STEP, as by {line}, not {mode}")
        return env.single_observation_space, env.single_action_space
    if not isinstance(env, gym.Env):
        raise TypeError(f"env must be a Gymnasium environment or vector environment, not {env!r}")
    return env.observation_space, env.action_space


def observation_size(env: AnyEnv) -> int:
    """The length of a flattened observation: Box of any shape, Discrete (one-hot), MultiDiscrete, Tuple, Dict, …"""
    space = spaces_of(env)[0]
    try:
        return flatdim(space)
    except (NotImplementedError, ValueError):
        raise ValueError(f"observations must be flattenable to a fixed number of values, not {space}") from None


def has_box(env: AnyEnv) -> bool:
    """Are its actions those of a Box: arrays of numbers?"""
    return isinstance(spaces_of(env)[1], Box)


def action_size(env: AnyEnv, kind: str) -> int:
    """The number of actions of a "Discrete" space, or of the dimensions of a "Box" of floats, or of a "bounded Box"."""
    space = spaces_of(env)[1]
    if isinstance(space, Discrete) and kind == "Discrete":
        return int(space.n)
    kinds = ("Box", "bounded Box") if isinstance(space, Box) and space.is_bounded() else ("Box",)
    if isinstance(space, Box) and kind in kinds and space.dtype.kind == "f" and np.all(space.low <= space.high):
        return math.prod(space.shape)
    needs = {
        "Discrete": "a Discrete action space",
        "Box": "an action space that is a Box of floats, low ≤ high",
        "bounded Box": "an action space that is a Box of floats with finite bounds, low ≤ high",
    }
    raise ValueError(f"this policy needs {needs[kind]}, not {space}")


def of_class(expected: type, **values: Any) -> None:
    """Raise TypeError unless all are of this class."""
    door(expected, f"a {expected.__name__}", lambda x: True)(**values)


def fit(env: AnyEnv, **networks: Any) -> None:
    """Raise unless the networks' sizes, and the policy's kind of actions, are those of the environment."""
    inputs = observation_size(env)
    for name, network in networks.items():
        kind, acts = getattr(network, "actions", None), name in ("policy", "reference")
        if not hasattr(network, "outputs") or (kind is None) == acts:  # a policy has one, a value none
            role = "policy such as SoftmaxPolicy" if acts else "network such as Value"
            raise TypeError(f"the {name} must be a {role}, not {network!r}")
        taken = action_size(env, "Box") if getattr(network, "of_actions", False) else 0  # Q(s,a) takes both
        has, needs = (network.net.sizes[0], network.outputs), (inputs + taken, action_size(env, kind) if kind else 1)
        if has != needs:
            sizes = f"has {has[0]} inputs and {has[1]} outputs, but the environment needs {needs[0]} and {needs[1]}"
            raise ValueError(f"the {name} {network!r} {sizes}")
