"""Saving and loading networks: one small .npz file, written in one piece, never pickled.

Its arrays are the parameters, "policy" (θ) and "value" (φ), and "about", a JSON text: the format, the version of
scratchpg, the environment's id, and the kind, sizes and dtype of each network.
"""

import json
import os
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checks import check_finite
from .policy import SoftmaxPolicy
from .value import Value

FORMAT = "scratchpg checkpoint 2"
KINDS = {"policy": "softmax", "value": "state value"}
File = str | os.PathLike[str]


@dataclass
class Checkpoint:
    """What a file holds: the policy, the value if one was saved, and the environment's id if it was given."""

    policy: SoftmaxPolicy
    value: Value | None = None
    env: str | None = None


def save(path: File, policy: SoftmaxPolicy, value: Value | None = None, *, env: str | None = None) -> None:
    """Write a checkpoint. Whatever happens meanwhile, the file is the old one or the new one, never half of it.

    It is written as `path`.PID.tmp, then renamed. What a killed writer leaves of that, a save a minute later removes.
    ValueError if a parameter is not finite.
    """
    from . import __version__  # not at the top: the package imports this module before it has a version

    if not isinstance(policy, SoftmaxPolicy) or not isinstance(value, Value | None) or not isinstance(env, str | None):
        got = f"{policy!r}, {value!r}, {env!r}"
        raise TypeError(f"policy, value, env must be a SoftmaxPolicy, a Value or None, an id or None, not {got}")
    networks: dict[str, Any] = {"policy": policy} | ({} if value is None else {"value": value})
    about = {"format": FORMAT, "version": __version__, "env": env} | {x: _about(x, y) for x, y in networks.items()}
    path = Path(os.path.realpath(os.fsdecode(path)))
    if path.exists() and not path.is_file():
        raise OSError(f"{path} must be a file, not a directory or a device")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **{x: y.theta for x, y in networks.items()})
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        with suppress(OSError):
            for left in path.parent.iterdir():
                pid = left.name[len(path.name) + 1 : -len(".tmp")]
                if (
                    left.name == f"{path.name}.{pid}.tmp"
                    and pid.isdecimal()
                    and left.stat().st_mtime < time.time() - 60
                ):
                    left.unlink()


def load(path: File) -> Checkpoint:
    """Read a checkpoint; ValueError says what is wrong with a file that is corrupt, of another kind, or not ours.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save(f"{directory}/cart.npz", SoftmaxPolicy((4, 8, 2), rng=0), env="CartPole-v1")
    ...     checkpoint = load(f"{directory}/cart.npz")
    >>> checkpoint.env, checkpoint.policy.net.sizes, checkpoint.value
    ('CartPole-v1', (4, 8, 2), None)
    """
    try:
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise ValueError("it is no .npz file, or not the whole of one")
            stream.seek(0)
            arrays = dict(np.load(stream, allow_pickle=False))
        about = json.loads(arrays["about"].item())
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}, of version {about.get('version')}, not {FORMAT!r}")
        if not isinstance(about["env"], str | None):
            raise ValueError(f"its env must be an id or None, not {about['env']!r}")
        policy = SoftmaxPolicy(about["policy"]["sizes"], theta=arrays["policy"])
        value = Value(about["value"]["sizes"][:-1], theta=arrays["value"]) if "value" in about else None
        for name, network in ("policy", policy), ("value", value):
            if network is not None and about[name] != (found := _about(name, network)):
                raise ValueError(f"its {name} says it is {about[name]}, but it reads as {found}")
        return Checkpoint(policy, value, about["env"])
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken file can make zipfile and NumPy raise almost anything
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        reason = "it holds pickled data" if "allow_pickle" in reason else reason
        raise ValueError(f"{os.fspath(path)!r} is not a readable scratchpg checkpoint: {reason}") from error


def _about(name: str, network: Any) -> dict[str, Any]:
    """The kind, sizes and dtype of a network, whose parameters must be finite."""
    check_finite(f"the parameters of the {name}", network.theta)
    return {"kind": KINDS[name], "sizes": list(network.net.sizes), "dtype": network.theta.dtype.name}
