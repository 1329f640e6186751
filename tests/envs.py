"""Scripted environments: what they do is known beforehand, down to the reward of each step.

A script is a list of episodes, each a pair (length, how it ends): "terminated", "truncated" or "both". Past its last
episode a script begins anew, with the episode number going on; an episode without a step does not count. The
observation (env, episode, step) says where it was made, and so does the reward.
"""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
POISON = 1e6  # the reward of a reset row, where a real environment has 0: whatever counts it, shows


def observation(env, episode, step):
    return np.array([env, episode, step], np.float32)


def reward(env, episode, step):
    """The reward of the action at `step`: a different one for each, exact in binary, sums of them too."""
    return 64.0 * env + 8.0 * episode + step + 0.5


class Scripted(gym.Env):
    """One environment that follows a script. `seeds` and `actions` hold what reset and step were given."""

    def __init__(self, script, index=0, action_space=None, replace=None):
        self.script, self.index, self.replace = script, index, replace or {}
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = action_space or Discrete(2)
        self.episode, self.t = 0, 0
        self.seeds, self.actions = [], []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode, self.t = self.episode + (self.t > 0), 0
        return self._observation(), {}

    def step(self, action):
        length, end = self.script[self.episode % len(self.script)]
        assert self.t < length, "stepped beyond the end of an episode"
        assert self.action_space.contains(action)
        self.actions.append(action)
        r = self.replace.get(("reward", self.episode, self.t), reward(self.index, self.episode, self.t))
        self.t += 1
        over = self.t == length
        terminated, truncated = over and end in ("terminated", "both"), over and end in ("truncated", "both")
        return self._observation(), r, terminated, truncated, {}

    def _observation(self):
        at = self.replace.get(("observation", self.episode, self.t))
        return observation(self.index, self.episode, self.t) if at is None else np.full(3, at, np.float32)


class ScriptedVector(VectorEnv):
    """Scripted environments side by side, with NEXT_STEP autoreset written out after Gymnasium's description of it.

    It says of itself that its autoreset is `mode`, whatever that is.
    """

    def __init__(self, scripts, mode=NEXT_STEP, **kwargs):
        self.envs = [Scripted(script, index, **kwargs) for index, script in enumerate(scripts)]
        self.num_envs, self.metadata = len(scripts), {"autoreset_mode": mode}
        self.single_observation_space = self.envs[0].observation_space
        self.single_action_space = self.envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.seeds = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.over = np.zeros(self.num_envs, bool)
        return np.stack([env.reset(seed=None if seed is None else seed + env.index)[0] for env in self.envs]), {}

    def step(self, actions):
        assert self.action_space.contains(actions)
        rows = []
        for i, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            if self.over[i]:
                state, r, terminated, truncated = env.reset()[0], POISON, False, False
            else:
                state, r, terminated, truncated, _ = env.step(action)
            self.over[i] = terminated or truncated
            rows.append((state, r, terminated, truncated))
        return *(np.array(column) for column in zip(*rows, strict=True)), {}


class Sampled(gym.Env):
    """Episodes of 3 steps whose observations are drawn from any observation space."""

    def __init__(self, observation_space, seed=0):
        self.observation_space, self.action_space = observation_space, Discrete(2)
        self.observation_space.seed(seed)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.seen = 0, [*getattr(self, "seen", []), self.observation_space.sample()]
        return self.seen[-1], {}

    def step(self, action):
        self.t += 1
        self.seen.append(self.observation_space.sample())
        return self.seen[-1], 1.0, self.t == 3, False, {}


def vector(make, n, **settings):
    """Gymnasium's own vector of n environments made by make(index)."""
    return SyncVectorEnv([lambda i=i: make(i) for i in range(n)], **settings)
