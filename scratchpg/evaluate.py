"""Fair evaluation: every environment runs the same number of whole episodes."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .plumbing import check
from .plumbing.check import AnyEnv, Array
from .plumbing.run import undisturbed
from .plumbing.spaces import LONG, Environments


def evaluate(
    policy: Any,
    env: AnyEnv,
    *,
    episodes: int = 100,
    greedy: bool = False,
    seed: int | None = None,
    max_steps: int | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> Array:
    """The undiscounted returns of whole episodes, (episodes,), environment by environment.

    env: not the one that is being trained in: evaluation would reset it in the middle of an episode.
    greedy: take the most probable action instead of drawing one. seed: of the actions and of the environment.
    max_steps: where an episode is cut off. None is the environment's own time limit; if it has none, 10,000 steps, and
        a warning. report: is called with the number of finished episodes, whenever it grows.

    >>> import gymnasium as gym
    >>> from scratchpg import SoftmaxPolicy
    >>> evaluate(SoftmaxPolicy((4, 2), rng=0), gym.make("CartPole-v1"), episodes=3, seed=0).shape
    (3,)
    """
    check.count(episodes=episodes)
    check.flag(greedy=greedy)
    check.optional(check.natural, seed=seed)
    check.optional(check.count, max_steps=max_steps)
    check.fit(env, policy=policy)
    envs, rng = Environments(env, policy.actions), np.random.default_rng(seed)
    limit = max_steps or envs.longest
    cut = 0  # episodes that were cut off
    returns: list[list[float]] = [[] for _ in range(envs.n)]
    wanted = [episodes // envs.n + (n < episodes % envs.n) for n in range(envs.n)]
    first_seed: int | None = int(rng.integers(2**31))
    while (missing := np.array([len(x) < asked for x, asked in zip(returns, wanted, strict=True)])).any():
        with undisturbed():
            states, first_seed = envs.reset(first_seed), None  # once more, if an environment was cut off
        G, t, ended = np.zeros(envs.n), np.zeros(envs.n, int), np.zeros(envs.n, bool)
        while missing.any():
            check.finite("observations", states)
            with undisturbed():
                pi = policy(states.astype(policy.theta.dtype))
                states, rewards, terminated, truncated = envs.step(pi.mode() if greedy else pi.sample(rng))
            check.finite("rewards", rewards)
            G, t = np.where(ended, 0, G + rewards), np.where(ended, 0, t + 1)  # a reset row is no step
            ended = terminated | truncated
            too_long = (t >= limit) & ~ended & missing
            for n in np.flatnonzero((ended & missing) | too_long):
                returns[n].append(float(G[n]))
                report(sum(map(len, returns)))
                missing[n] = len(returns[n]) < wanted[n] and not too_long[n]
            cut += int(too_long.sum())
    if cut and not max_steps:
        message = f"{cut} of {episodes} episodes were cut off after {LONG} steps, as {env} has no time limit"
        warnings.warn(f"{message}; max_steps sets another", RuntimeWarning, stacklevel=2)
    return np.array([x for of_one in returns for x in of_one])
