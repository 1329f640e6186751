"""Saving and loading networks: one small .npz file, written in one piece, never pickled."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import check_finite
from .policy import SoftmaxPolicy
from .value import Value

FORMAT = "scratchpg checkpoint 1"


@dataclass
class Checkpoint:
    """What a file holds: the policy, the value if one was saved, and the environment's id if it was given."""

    policy: SoftmaxPolicy
    value: Value | None = None
    env: str | None = None


def save(
    path: str | os.PathLike[str], policy: SoftmaxPolicy, value: Value | None = None, *, env: str | None = None
) -> None:
    """Write a checkpoint. Whatever happens meanwhile, the file is the old one or the new one, never half of it."""
    if not isinstance(policy, SoftmaxPolicy) or not isinstance(value, Value | None):
        raise TypeError(f"save takes a SoftmaxPolicy and, if any, a Value, not {policy!r} and {value!r}")
    networks: dict[str, Any] = {"policy": policy} | ({} if value is None else {"value": value})
    about = {"format": FORMAT, "env": env, "sizes": {name: network.net.sizes for name, network in networks.items()}}
    arrays = {name: network.theta for name, network in networks.items()}
    for name, theta in arrays.items():
        check_finite(f"the parameters of the {name}", theta)
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; ValueError says what is wrong with a file that is corrupt or not one of ours."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(file["about"].item())
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}, this version reads {FORMAT!r}")
            sizes = about["sizes"]
            policy = SoftmaxPolicy(sizes["policy"], theta=_finite(file, "policy"))
            value = Value(sizes["value"][:-1], theta=_finite(file, "value")) if "value" in sizes else None
            return Checkpoint(policy, value, about["env"])
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken file can make zipfile and NumPy raise almost anything
        reason = "it holds pickled data" if "pickle" in str(error) else error
        raise ValueError(f"{os.fspath(path)!r} is not a readable scratchpg checkpoint: {reason}") from error


def _finite(file: Any, name: str) -> Any:
    theta = file[name]
    if not np.isfinite(theta).all():
        raise ValueError(f"the parameters of the {name} are not finite")
    return theta
