"""Saving and loading networks: one small .npz file, written in one piece, never pickled."""

import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
    networks: dict[str, Any] = {"policy": policy} | ({} if value is None else {"value": value})
    about = {"format": FORMAT, "env": env, "sizes": {name: network.net.sizes for name, network in networks.items()}}
    arrays = {name: network.theta for name, network in networks.items()}
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, about=np.array(json.dumps(about)), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; ValueError says what is wrong with a file that is corrupt or not one of ours."""
    try:
        with np.load(path, allow_pickle=False) as file:
            about: dict[str, Any] = json.loads(file["about"].item())
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}, this version reads {FORMAT!r}")
            sizes = about["sizes"]
            policy = SoftmaxPolicy(sizes["policy"], theta=_finite(file, "policy"))
            value = Value(sizes["value"][:-1], theta=_finite(file, "value")) if "value" in sizes else None
            return Checkpoint(policy, value, about["env"])
    except FileNotFoundError:
        raise
    except (OSError, EOFError, KeyError, TypeError, AttributeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{os.fspath(path)!r} is not a readable scratchpg checkpoint: {error}") from error


def _finite(file: Any, name: str) -> Any:
    theta = file[name]
    if not np.isfinite(theta).all():
        raise ValueError(f"the parameters of the {name} are not finite")
    return theta
