"""Fair evaluation: every environment runs the same number of whole episodes."""

from typing import Any

from .plumbing import check
from .plumbing.check import AnyEnv, Array
from .plumbing.run import undisturbed
from .returns import discounted
from .rollout import Collector


def evaluate(policy: Any, env: AnyEnv, *, episodes: int = 100, greedy: bool = False, seed: int | None = None) -> Array:
    """The undiscounted returns of whole episodes, (episodes,), environment by environment.

    env: an environment of its own; one that a training run is in the middle of would be reset under it.
    greedy: take the most probable action instead of drawing one. seed: of the actions and of the environment.

    >>> import gymnasium as gym
    >>> from scratchpg import SoftmaxPolicy
    >>> evaluate(SoftmaxPolicy((4, 2), rng=0), gym.make("CartPole-v1"), episodes=3, seed=0).shape
    (3,)
    """
    check.count(episodes=episodes)
    check.flag(greedy=greedy)
    check.optional(check.natural, seed=seed)
    with undisturbed():
        batch = Collector(env, policy, seed, greedy=greedy).collect_episodes(episodes)
    G, begins = discounted(batch.rewards, 1.0, batch.ended), (batch.t == 0) & batch.valid
    return G.T[begins.T]
