"""Saving and loading networks: one small .npz file, written in one piece, never pickled.

Its arrays are the parameters, "policy" (θ) and "value" (φ), and "about", a JSON text: the format, the environment's id,
and the kind, sizes and dtype of each network.
"""

import io
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checks import check_finite
from .policy import SoftmaxPolicy
from .value import Value

FORMAT = "scratchpg checkpoint 2"
File = str | os.PathLike[str]


@dataclass
class Checkpoint:
    """What a file holds: the policy, the value if one was saved, and the environment's id if it was given."""

    policy: SoftmaxPolicy
    value: Value | None = None
    env: str | None = None

    def about(self) -> dict[str, Any]:
        """What a file says of it; TypeError or ValueError for what can't be saved."""
        got = self.policy, self.value, self.env
        if not all(map(isinstance, got, (SoftmaxPolicy, Value | None, str | None))):
            raise TypeError(f"policy, value, env must be a SoftmaxPolicy, a Value or None, an id or None, not {got}")
        about: dict[str, Any] = {"format": FORMAT, "env": self.env}
        for name, kind, network in ("policy", "softmax", self.policy), ("value", "state value", self.value):
            if network is not None:
                check_finite(f"the parameters of the {name}", network.theta)
                about[name] = {"kind": kind, "sizes": list(network.net.sizes), "dtype": network.theta.dtype.name}
        return about


def save(path: File, policy: SoftmaxPolicy, value: Value | None = None, *, env: str | None = None) -> None:
    """Write a checkpoint. Whatever happens meanwhile, the file is the old one or the new one, never half of it.

    It is written as `path`.PID.tmp, then renamed; a writer that is killed meanwhile leaves that file behind.
    ValueError if a parameter is not finite, TypeError for what is none of these, OSError where it can't be written.
    """
    arrays: Any = {"about": np.array(json.dumps(Checkpoint(policy, value, env).about())), "policy": policy.theta}
    if value is not None:
        arrays["value"] = value.theta
    path = Path(path).resolve()  # of a link the file that it stands for
    if path.exists() and not path.is_file():
        raise OSError(f"{path} must be a file, not a directory or a device")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: File) -> Checkpoint:
    """Read a checkpoint; ValueError says what is wrong with a file that is corrupt, of another kind, or not ours.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save(f"{directory}/cart.npz", SoftmaxPolicy((4, 8, 2), rng=0), env="CartPole-v1")
    ...     checkpoint = load(f"{directory}/cart.npz")
    >>> checkpoint.env, checkpoint.policy.net.sizes, checkpoint.value
    ('CartPole-v1', (4, 8, 2), None)
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        if not zipfile.is_zipfile(io.BytesIO(content)):
            raise ValueError("it is no .npz file, or not the whole of one")
        arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
        said = json.loads(arrays["about"].item())
        if said["format"] != FORMAT:
            raise ValueError(f"its format is {said['format']!r}, not {FORMAT!r}")
        policy = SoftmaxPolicy(said["policy"]["sizes"], theta=arrays["policy"])
        value = Value(said["value"]["sizes"][:-1], theta=arrays["value"]) if "value" in said else None
        checkpoint = Checkpoint(policy, value, said["env"])
        if (found := checkpoint.about()) != {name: said[name] for name in found}:
            raise ValueError(f"it says it is {said}, but it reads as {found}")
        return checkpoint
    except Exception as error:  # a broken file can make zipfile and NumPy raise almost anything
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        reason = "it holds pickled data" if "allow_pickle" in reason else reason
        raise ValueError(f"{os.fspath(path)!r} is not a readable scratchpg checkpoint: {reason}") from error
