"""Saving and loading networks: one small .npz file, never half-written, never pickled.

Its arrays are the θ of each network by its name ("policy", "value", …), those of a run's state, and "about", a JSON
text: the format, the environment, the rest of the state, and how each network is made: class, sizes, options.
"""

import importlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import check
from .check import Array

FORMAT, FORMAT_3, FORMAT_2 = "scratchpg checkpoint 4", "scratchpg checkpoint 3", "scratchpg checkpoint 2"
NO_NETWORKS = "format", "env", "env_args", "state"  # what else `about` holds
OURS = importlib.import_module(__name__.partition(".")[0])
File = str | os.PathLike[str]


def save(
    path: File,
    policy: Any,
    value: Any = None,
    *,
    env: str | None = None,
    env_args: dict[str, Any] | None = None,
    state: dict[str, Any] | None = None,
    **networks: Any,
) -> None:
    """Write networks to `path`.PID.tmp, then rename it: `path` is the old file or the new one, never a part.

    env, env_args: the environment's id and arguments. state: what a run goes on from, arrays and what JSON can hold.
    Your own class is made anew as class(sizes, theta=θ, **options), with its attribute `options` if it has one.
    ValueError if a parameter is not finite, TypeError for what would be another network, or none, when it is loaded.
    """
    arrays = {name: x for name, x in (state or {}).items() if isinstance(x, np.ndarray) and x.dtype.kind != "O"}
    numbers = {name: x for name, x in (state or {}).items() if name not in arrays}
    about: dict[str, Any] = {"format": FORMAT, "env": env, "env_args": env_args or {}, "state": numbers}
    networks = {"policy": policy} | ({} if value is None else {"value": value}) | networks
    for name, network in networks.items():
        kind, is_policy = type(network), getattr(network, "actions", None) is not None
        fits = hasattr(network, "net") and is_policy == (name == "policy") and name not in about
        if not fits or not isinstance(env, str | None):
            raise TypeError(f"save takes a policy, then a value or None, and an id or None, not {network!r}, {env!r}")
        check.finite(f"the parameters of the {name}", network.theta)
        ours = getattr(OURS, kind.__qualname__, None) is kind
        known = kind.__qualname__ if ours else f"{kind.__module__}.{kind.__qualname__}"
        about[name] = {"class": known, "sizes": network.sizes, "options": getattr(network, "options", {})}
        twin = kind(network.sizes, theta=network.theta, **about[name]["options"])  # what `load` makes
        lost = [k for k, x in vars(network).items() if isinstance(x, float | int | str) and x != getattr(twin, k, x)]
        if (lost and not ours) or str(type(twin.net)) != str(type(network.net)):
            raise TypeError(f"{network!r} can't be made anew: its `options` do not tell {', '.join(lost) or 'its net'}")
    write(path, about, arrays | {name: network.theta for name, network in networks.items()})


def load(path: File, *classes: type) -> SimpleNamespace:
    """Read a checkpoint: its networks by their names (`value` is None if none was saved), `env`, `env_args`, `state`.

    classes: your own network classes, if the file holds such networks. ValueError tells why a file can't be used.

    >>> import tempfile
    >>> from scratchpg import SoftmaxPolicy
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save(f"{directory}/cart.npz", SoftmaxPolicy((4, 8, 2), rng=0), env="CartPole-v1")
    ...     checkpoint = load(f"{directory}/cart.npz")
    >>> checkpoint.env, checkpoint.policy, checkpoint.value
    ('CartPole-v1', SoftmaxPolicy((4, 8, 2)), None)
    """
    with opened(path, "checkpoint") as (about, arrays):
        if about["format"] not in (FORMAT, FORMAT_3, FORMAT_2) or not isinstance(about["env"], str | None):
            raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}, or its env no id: {about['env']!r}")
        if about["format"] == FORMAT_2:
            about["policy"]["class"] = "SoftmaxPolicy"
            if "value" in about:
                about["value"] |= {"class": "Value", "sizes": about["value"]["sizes"][:-1]}
        known, networks = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in classes}, {}
        for name in [name for name in about if name not in NO_NETWORKS]:
            made, theta = about[name], arrays.pop(name)
            kind = known.get(made["class"]) or getattr(OURS, made["class"], None)
            if kind is None or (getattr(kind, "actions", None) is None) == (name == "policy"):
                raise ValueError(f"its {name} is a {made['class']}: give load such a class, after the path")
            networks[name] = kind(tuple(made["sizes"]), theta=theta, **made.get("options", {}))
            check.finite(f"the parameters of the {name}", theta)
        found = {"value": None, **networks, "policy": networks["policy"], "env": about["env"]}
        return SimpleNamespace(**found, env_args=dict(about.get("env_args", {})), state=about.get("state", {}) | arrays)


def write(path: File, about: dict[str, Any], arrays: dict[str, Array]) -> None:
    """Write `about` and arrays to an .npz file: all of it or nothing."""
    path = Path(path).resolve()  # follow a link to its file
    if path.exists() and not path.is_file():
        raise OSError(f"{path} must be a file, not a directory or a device")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def opened(path: File, kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Array]]]:
    """`about` and the arrays that `write` wrote. Any error in reading or using them becomes one ValueError."""
    with open(path, "rb") as file:
        content = file.read()
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise ValueError("it is no .npz file, or not the whole of one")
        arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
        yield json.loads(arrays.pop("about").item()), arrays
    except Exception as error:  # with a broken file zipfile and NumPy may raise almost anything
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        reason = "it holds pickled data" if "allow_pickle" in reason else reason
        raise ValueError(f"{os.fspath(path)!r} is not a readable scratchpg {kind}: {reason}") from error
