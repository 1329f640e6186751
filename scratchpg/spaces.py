"""What an environment looks like to a network: N rows of flat observations, one of n actions for each.

A single Gymnasium environment and a vector of them get the same face here: time steps of N rows, N = 1 for a single
one, in the layout of Gymnasium's NEXT_STEP autoreset. After the step that ends an episode the true last observation
stands; the step after that ignores its action and returns the first observation of the next episode (a *reset row*,
with reward 0). In SAME_STEP mode there are no reset rows and the true last observation comes beside the others.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, Space, flatdim, flatten
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from .checks import Array, check_hyperparameters

AnyEnv = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


def make(env_id: str, n_envs: int | None = None, **kwargs: Any) -> Any:
    """`gymnasium.make`, or `make_vec` of n environments, or a ValueError for an unknown one."""
    if n_envs is not None:
        check_hyperparameters(n_envs=n_envs)
    try:
        return gym.make(env_id, **kwargs) if n_envs is None else gym.make_vec(env_id, n_envs, **kwargs)
    except gym.error.DependencyNotInstalled:
        raise
    except gym.error.Error as error:
        raise ValueError(f"unknown environment {env_id!r}: {error}") from None


def build(make_env: Any) -> Any:
    """An environment, from its id or from a function that makes it."""
    if not isinstance(make_env, str) and not callable(make_env):
        raise TypeError(f"make_env must be an environment id or a function that makes one, not {make_env!r}")
    return make(make_env) if isinstance(make_env, str) else make_env()


def spaces_of(env: AnyEnv) -> tuple[Space[Any], Space[Any]]:
    """The observation and the action space of one environment."""
    if isinstance(env, VectorEnv):
        return env.single_observation_space, env.single_action_space
    if isinstance(env, gym.Env):
        return env.observation_space, env.action_space
    raise TypeError(f"env must be a Gymnasium environment or vector environment, not {env!r}")


def observation_size(env: AnyEnv) -> int:
    """The length of a flattened observation: Box of any shape, Discrete (one-hot), MultiDiscrete, Tuple, Dict, …"""
    space = spaces_of(env)[0]
    try:
        return flatdim(space)
    except (NotImplementedError, ValueError):
        raise ValueError(f"observations must be flattenable to a fixed number of values, not {space}") from None


def n_actions(env: AnyEnv) -> int:
    """The number of actions of a Discrete action space."""
    space = spaces_of(env)[1]
    if not isinstance(space, Discrete):
        raise ValueError(f"a softmax policy needs a Discrete action space, not {space}")
    return int(space.n)


def check_fit(env: AnyEnv, **networks: Any) -> None:
    """Raise unless each network (a policy or a value) has the sizes that the environment asks for."""
    for name, network in networks.items():
        if not hasattr(network, "net"):
            raise TypeError(f"the {name} must be a network such as SoftmaxPolicy or Value, not {network!r}")
        sizes, inputs = network.net.sizes, observation_size(env)
        outputs = n_actions(env) if name == "policy" else 1
        if (sizes[0], sizes[-1]) != (inputs, outputs):
            has = f"{sizes[0]} inputs and {sizes[-1]} outputs (sizes {sizes})"
            raise ValueError(f"the {name} has {has}, but the environment needs {inputs} and {outputs}")
    Face(env)  # refuses an autoreset mode that it can't make sense of


class Face:
    """The common face of a single environment and a vector of n (see above). `same_step`: there are no reset rows."""

    def __init__(self, env: AnyEnv) -> None:
        self.env: Any = env
        self.vector, self.size = isinstance(env, VectorEnv), observation_size(env)
        self.n = env.num_envs if isinstance(env, VectorEnv) else 1
        mode = env.metadata.get("autoreset_mode") if self.vector else AutoresetMode.NEXT_STEP
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            raise ValueError(f"a vector environment must have autoreset mode NEXT_STEP or SAME_STEP, not {mode}")
        self.same_step = mode is AutoresetMode.SAME_STEP
        self.space, actions = spaces_of(env)
        one = self.space.shape if isinstance(self.space, Box) else (self.size,)
        self.shape = (self.n, *one) if self.vector else one
        self.first_action, self.dtype = int(getattr(actions, "start", 0)), env.action_space.dtype

    def reset(self, seed: int | None = None) -> Array:
        """The first observations (n, size). Seed once; without a seed the environment's own generator goes on."""
        self.ended = False
        return self._rows(self.env.reset(seed=seed)[0])

    def step(self, actions: Array) -> tuple[Any, Any, Any, Any, list[tuple[int, Any]]]:
        """Observations, rewards, terminated, truncated, each of n rows (or one value for all of one row), and the
        true last observation of each row that SAME_STEP has already reset: (row, observation)."""
        if self.ended:
            return self.reset(), 0.0, False, False, []
        if self.first_action:
            actions = actions + self.first_action
        action = actions.astype(self.dtype) if self.vector else int(actions[0])
        observations, rewards, terminated, truncated, info = self.env.step(action)
        last = []
        if not self.vector:
            self.ended = terminated or truncated
        elif not np.shape(rewards) == np.shape(terminated) == np.shape(truncated) == (self.n,):
            shapes = f"{np.shape(rewards)}, {np.shape(terminated)}, {np.shape(truncated)}"
            raise ValueError(f"rewards, terminated, truncated must be of {self.n} environments, not of shapes {shapes}")
        elif self.same_step and (ended := terminated | truncated).any():
            if not (info.get("_final_obs", False) & ended == ended).all():
                raise ValueError('a SAME_STEP environment must give info["final_obs"] where an episode ended')
            last = [(row, self._flat(info["final_obs"][row])) for row in np.flatnonzero(ended).tolist()]
        return self._rows(observations), rewards, terminated, truncated, last

    def _flat(self, observation: Any) -> Any:
        """One observation, flat, in memory of its own. `flatten` would cast a Box to the dtype of its space."""
        return np.array(observation).ravel() if isinstance(self.space, Box) else flatten(self.space, observation)

    def _rows(self, observations: Any) -> Array:
        """What the environment returned, (n, size)."""
        if not isinstance(self.space, Box):
            rows = iterate(self.env.observation_space, observations) if self.vector else [observations]
            observations = np.reshape([self._flat(row) for row in rows], self.shape)
        observations = np.asarray(observations)
        if observations.shape != self.shape:  # NumPy would spread one that is too small over the row in silence
            raise ValueError(f"observations of {self.space} must have shape {self.shape}, not {observations.shape}")
        return observations.reshape(self.n, self.size)
