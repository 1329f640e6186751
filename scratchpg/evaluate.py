"""Fair evaluation: every environment runs the same number of whole episodes."""

from typing import Any

import numpy as np

from .arithmetic import plain_arithmetic
from .checks import Array, checked
from .rollout import Collector
from .spaces import AnyEnv


@checked
def evaluate(policy: Any, env: AnyEnv, *, episodes: int = 100, greedy: bool = False, seed: int | None = None) -> Array:
    """The undiscounted returns of whole episodes, (episodes,), environment by environment."""
    with plain_arithmetic():
        batch = Collector(env, policy, seed, greedy=greedy).collect_episodes(episodes)
    total = batch.rewards.cumsum(axis=0).T
    return np.concatenate([np.diff(total[n][batch.ended[:, n]], prepend=0.0) for n in range(len(total))])
