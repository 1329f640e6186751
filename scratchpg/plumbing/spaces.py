"""What environments look like to networks: N rows of flat observations, N actions; N = 1 for a single environment.

All run in Gymnasium's NEXT_STEP autoreset: the step that ends an episode returns its last observation; the step after
that ignores its action and returns the first one of the next episode (a *reset row*, with reward 0). A wrong
shape or kind is refused here by name. But a vector of Gymnasium casts what its environments return: try one alone.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple, flatten
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import iterate

from . import check
from .check import Array

ONE = np.broadcast_to(False, 1), np.broadcast_to(True, 1)  # ONE[flag] is the flag as an array (1,), read-only
NUMBERS = object, check.REAL, check.FLAG, check.FLAG, dict  # the types that `step` of a single environment returns
ARRAYS = object, np.ndarray, np.ndarray, np.ndarray, dict  # and of a vector
LONG = 10_000  # the longest episode to wait for, in steps, if an environment has no time limit


def build(make_env: Any) -> Any:
    """An environment, from its id or from a function that makes it."""
    if callable(make_env):
        return make_env()
    if not isinstance(make_env, str):
        raise TypeError(f"make_env must be an environment id or a function that makes one, not {make_env!r}")
    try:
        return gym.make(make_env)
    except gym.error.Error as error:
        raise ValueError(f"unknown environment {make_env!r}: {error}") from None


class Single:
    """One environment that looks like a vector of one, with NEXT_STEP autoreset."""

    num_envs = 1

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self.env, self.ended = env, False

    def reset(self, *, seed: int | None = None) -> tuple[list[Any], Any]:
        self.ended = False
        observation, info = _returned("reset", self.env.reset(seed=seed), (object, dict))
        return [observation], info

    def step(self, actions: Array) -> tuple[Any, ...]:
        if self.ended:
            observations, info = self.reset()
            return observations, np.zeros(1), ONE[False], ONE[False], info
        result = self.env.step(actions.item() if actions.dtype.kind in "iu" else actions[0, ...])  # int or array
        observation, reward, terminated, truncated, info = _returned("step", result, NUMBERS)
        self.ended = bool(terminated or truncated)
        return [observation], check.numbers("reward", [reward]), ONE[bool(terminated)], ONE[bool(truncated)], info


def _returned(method: str, result: Any, kinds: tuple[Any, ...]) -> Any:
    """What a method of an environment returned, if that is a tuple of these kinds."""
    if type(result) is not tuple or len(result) != len(kinds) or not all(map(isinstance, result, kinds)):
        expected = "(observation, info)" if method == "reset" else "(observation, reward, terminated, truncated, info)"
        raise TypeError(f"{method} of the environment must return {expected}, it returned {result!r}")
    return result


class Environments:
    """N environments side by side: `reset` and `step` take and return plain arrays of N rows.

    kind: what the policy's `actions` are; those for a "bounded Box" lie in (-1, 1).
    """

    def __init__(self, env: Any, kind: str | None = None) -> None:
        self.space, self.action_space = check.spaces_of(env)
        self.size, self.vector = check.observation_size(env), isinstance(env, VectorEnv)
        self.env: Any = env if self.vector else Single(env)
        self.n: int = self.env.num_envs
        self.longest = np.inf if getattr(env.spec, "max_episode_steps", None) else LONG
        self.stretched = kind == "bounded Box"
        self.first_action = int(getattr(self.action_space, "start", 0))
        self.action_shape = (int(np.prod(self.action_space.shape)),) if isinstance(self.action_space, Box) else ()

    def reset(self, seed: int | list[int] | None = None) -> Array:
        """The first observations (N, size). Seed once; without a seed the environment's own generator goes on.

        A list has a seed for each environment. ValueError if equal seeds give different starts, or if it takes no list.
        """
        if not isinstance(seed, list):
            return self._rows(_returned("reset", self.env.reset(seed=seed), (object, dict))[0])
        try:
            states = self._rows(self.env.reset(seed=seed)[0])
            first = [seed.index(s) for s in seed]  # the first environment with the seed of each
            if (states == states[first]).all():
                return states
            reason = "equal seeds began differently"
        except gym.error.Error as error:
            reason = str(error)
        line = 'gymnasium.make_vec(id, n, vectorization_mode="sync")'
        raise ValueError(f"the environments must take a seed each, as those of {line} do; here: {reason}")

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array]:
        """Observations (N, size), rewards, terminated, truncated (N,)."""
        result = self.env.step(self._taken(actions))
        if self.vector:
            _returned("step", result, ARRAYS)
            for name, i, kinds in ("rewards", 1, "fiu"), ("terminated", 2, "b"), ("truncated", 3, "b"):
                if result[i].shape != (self.n,) or result[i].dtype.kind not in kinds:
                    kind = "numbers" if name == "rewards" else "True or False"
                    raise ValueError(f"{name} must be {kind}, one for each of {self.n} environments, not {result[i]!r}")
        observations, rewards, terminated, truncated, _ = result
        return self._rows(observations), rewards, terminated, truncated

    def _taken(self, actions: Array) -> Any:
        """Actions as the environment takes them.

        (8.8)  Those of a Box are clipped to its bounds here: the clip is a part of the environment. Those of a
        "bounded Box" policy lie in (-1, 1), and are first stretched to the bounds.
        """
        if isinstance(self.action_space, Box):
            check.finite("actions", actions)  # a policy that diverges may draw an infinity
            low, high = self.action_space.low, self.action_space.high
            if self.stretched:
                actions = (1 - actions) / 2 * low.ravel() + (1 + actions) / 2 * high.ravel()
            return np.clip(actions.reshape(self.n, *low.shape), low, high).astype(low.dtype)
        return np.asarray(actions + self.first_action if self.first_action else actions, self.action_space.dtype)

    def _rows(self, observations: Any) -> Array:
        """Observations as rows of numbers, (N, size)."""
        if isinstance(self.space, Box):
            x, shape = (observations, (self.n,)) if self.vector else (observations[0], ())
            return _box(self.space, x, shape + self.space.shape, "observations").reshape(self.n, -1)
        each = iterate(self.env.observation_space, observations) if self.vector else observations
        return np.array([np.concatenate([*_leaves(self.space, x, "observation")]) for x in each])


def _leaves(space: Space[Any], x: Any, path: str) -> Iterator[Any]:
    """The values of one observation, leaf by leaf, in the order of Gymnasium's `flatten`; `path` names a leaf."""
    if isinstance(space, Dict | Tuple):
        parts = dict(space.spaces) if isinstance(space, Dict) else dict(enumerate(space.spaces))
        found = x if isinstance(x, Mapping) else dict(enumerate(x)) if isinstance(x, tuple | list) else {}
        if found.keys() != parts.keys():
            raise ValueError(f"{path} must have the parts {list(parts)}, not {x!r}")
        for key, part in parts.items():
            yield from _leaves(part, found[key], f"{path}[{key!r}]")
    elif isinstance(space, Box):
        yield _box(space, x, space.shape, path).ravel()
    else:
        x = _array(x) if isinstance(space, Discrete | MultiDiscrete | MultiBinary) else x  # `contains` takes 1.5
        if (isinstance(x, np.ndarray) and x.dtype.kind not in "biu") or not space.contains(x):
            raise ValueError(f"{path} must be in {space}, not {x!r}")
        yield flatten(space, x)


def _array(x: Any) -> Array:
    try:
        return np.asarray(x)
    except ValueError:  # lists of unequal lengths
        return np.asarray(None)


def _box(space: Box, x: Any, shape: tuple[int, ...], name: str) -> Array:
    """Numbers of this shape; in a Box of integers, integers within its bounds."""
    x = _array(x)
    if x.shape != shape or x.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers of shape {shape}, as {space} says, not {check.describe(x)}")
    if space.dtype.kind in "iu" and not ((space.low <= x) & (x <= space.high) & (x == np.floor(x))).all():
        raise ValueError(f"{name} must be integers in {space}, not {x}")
    return x
