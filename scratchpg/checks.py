"""The checks at the door: bad input is refused with its name, what came and what was expected."""

import functools
import inspect
import math
import multiprocessing
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import NoneType
from typing import Any, ParamSpec, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Scalar = Any  # a NumPy number of whatever dtype the maths is done in
Schedule = float | tuple[float, float]  # a number, or (first, last): linear from one to the other over the run
Rng = np.random.Generator | int | None  # what np.random.default_rng takes
Sizes = Sequence[int]  # the widths of layers
P = ParamSpec("P")
T = TypeVar("T")
within_run: ContextVar[bool] = ContextVar("within_run", default=False)  # is this a training run at work?


class NonFiniteError(FloatingPointError, ValueError):
    """A NaN or an infinity where a finite number is needed: a run that diverges, or an environment that returns one."""


REAL, INTEGER = (int, float, np.integer, np.floating), (int, np.integer)
# The values there are: a type, how a message calls them, the test of one.
NATURAL = INTEGER, "an integer of at least 0", lambda x: x >= 0
COUNT = INTEGER, "an integer of at least 1", lambda x: x >= 1
SHARE = REAL, "a number in [0, 1]", lambda x: 0 <= x <= 1
DECAY = REAL, "a number in [0, 1)", lambda x: 0 <= x < 1
POSITIVE = REAL, "a finite number > 0", lambda x: 0 < x < math.inf
METHODS = multiprocessing.get_all_start_methods()

HYPERPARAMETERS: dict[str, tuple[str, Any, str, Callable[[Any], bool]]] = {
    "seed": ("of all randomness", *NATURAL),
    "total_steps": ("environment steps to train for", *NATURAL),
    "n_envs": ("environments side by side", *COUNT),
    "n_episodes": ("episodes per update", *COUNT),
    "n_steps": ("steps of each environment per batch", *COUNT),
    "n": ("steps that an advantage looks ahead", *COUNT),
    "batch_size": ("rows per minibatch", *COUNT),
    "n_epochs": ("passes over each batch", *COUNT),
    "episodes": ("the number of episodes", *COUNT),
    "pretrain": ("episodes to fit the baseline on beforehand", *NATURAL),
    "workers": ("worker processes", *COUNT),
    "gamma": ("the discount γ", *SHARE),
    "gae_lambda": ("λ of GAE", *SHARE),
    "learning_rate": ("the step size, of the policy alone where the value has its own", *POSITIVE),
    "value_learning_rate": ("the step size of the value", *POSITIVE),
    "clip_range": ("ε of the clip", *POSITIVE),
    "ent_coef": ("the weight β of the entropy bonus", REAL, "a finite number ≥ 0", lambda x: 0 <= x < math.inf),
    "alpha": ("the decay of RMSProp's average", *DECAY),
    "beta": ("a decay of Adam's averages", *DECAY),
    "eps": ("the ε of an optimiser", *POSITIVE),
    "max_grad_norm": ("the longest gradient left unclipped", REAL, "a number > 0 (inf: never clip)", lambda x: x > 0),
    "method": ("how the critic learns", str, '"td" or "mc"', lambda x: x in ("td", "mc")),
    "start_method": ("how worker processes begin", str, f"one of {', '.join(METHODS)}", lambda x: x in METHODS),
    "target_kl": ("the KL at which the epochs stop", *POSITIVE),
}


def check_hyperparameters(**values: Any) -> None:
    """Raise TypeError or ValueError unless the table above admits each value. Within a run they have been looked at."""
    if not within_run.get():
        for name, value in values.items():
            _check_hyperparameter(name, value)


def _check_hyperparameter(name: str, value: Any) -> None:
    meaning, kind, expected, admits = HYPERPARAMETERS[name]
    fits = isinstance(value, kind) and value is not True and value is not False  # a truth value is no number
    if not fits or not admits(value):
        error = ValueError if fits else TypeError
        raise error(f"{name} ({meaning}) must be {expected}, not {value!r}")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Hold the arguments of a function against what they must be, by their names, before it begins.

    Hyperparameters are held against the table; one annotated `… | None` may be None, one annotated as a Schedule may be
    a pair whose last may be 0. What is annotated bool must be one. Beside `states` all arrays are rows: states (B, n),
    B ≥ 1, the others (B,), all finite. A (B, 1) that met a (B,) would broadcast to (B, B) in silence.

    Within a run, functions of rows take what they are given: settings were looked at as it began, data as it came in.
    """
    signature = inspect.signature(function)
    annotations = {name: x.annotation for name, x in signature.parameters.items()}
    positional = [name for name, x in signature.parameters.items() if x.kind is not x.KEYWORD_ONLY]
    rows = [i for i, name in enumerate(positional) if "states" in positional and annotations[name] == Array]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> T:
        if rows and within_run.get():
            return function(*args, **kwargs)
        if len(args) != len(positional) or not kwargs.keys() <= annotations.keys():
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__module__}: {error}; it takes {', '.join(annotations)}") from None
            args, kwargs = bound.args, bound.kwargs
        for name, value in kwargs.items():
            _check_setting(name, value, annotations[name])
        arguments = list(args)
        if rows:
            _check_rows(positional, arguments, rows)
        return function(*arguments, **kwargs)

    return call


def _check_setting(name: str, value: Any, annotation: Any) -> None:
    if annotation is bool and not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    if name not in HYPERPARAMETERS or (value is None and NoneType in get_args(annotation)):
        return
    if isinstance(value, tuple) and len(value) == 2 and annotation == Schedule:
        value, last = value
        if not isinstance(last, REAL) or isinstance(last, bool) or last != 0:  # 0 is where a schedule may end
            _check_hyperparameter(name, last)
    _check_hyperparameter(name, value)


def _check_rows(names: Sequence[str], arguments: list[Any], places: Sequence[int]) -> None:
    """Make arrays of the arguments in these places, of which `states` is the first, and check them."""
    shape = np.shape(arguments[places[0]])
    if len(shape) != 2 or not shape[0]:
        raise ValueError(f"states must have shape (B, observation) with at least one row, not {shape}")
    for i in places:
        name, x = names[i], np.asarray(arguments[i])
        if x.dtype.kind not in "fc" and name != "actions":
            if x.dtype.kind not in "biu":
                raise TypeError(f"{name} must be numbers, not {describe(x)}")
            x = x.astype(np.float64)  # there is no -1 among unsigned integers
        if x.shape != shape[:1] and i != places[0]:
            raise ValueError(f"{name} must have shape ({shape[0]},), one per row of states {shape}, not {x.shape}")
        check_finite(name, x)
        arguments[i] = x


def widths(name: str, sizes: Sizes, least: int) -> tuple[int, ...]:
    """The widths of layers, as a tuple of positive integers, at least so many of them."""
    ns = tuple(sizes) if np.iterable(sizes) else (0,)
    if len(ns) < least or not all(isinstance(n, INTEGER) and n >= 1 and n is not True for n in ns):
        raise ValueError(f"{name} must be {least} or more widths, integers of at least 1, not {sizes!r}")
    return tuple(int(n) for n in ns)


def check_finite(name: str, x: Array) -> None:
    """Raise NonFiniteError if x holds a NaN or an infinity."""
    if x.dtype.kind not in "fc" or math.isfinite(abs(np.vdot(x, x))):  # a product is quick, but it may overflow
        return
    if not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise NonFiniteError(f"{name} must be finite, but {name}{list(where)} is {x[where]}")


def describe(value: Any) -> str:
    """A value as an error message shows it: arrays by dtype and shape."""
    return f"an array {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
