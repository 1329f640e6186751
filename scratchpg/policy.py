"""The policy π_θ(a|s): a network that turns states into logits, with a softmax on top."""

from typing import Any, Self

import numpy as np

from .checks import Array, Rng, Sizes, widths
from .mlp import MLP, Approximator
from .softmax import Softmax
from .spaces import AnyEnv, n_actions, observation_size


class SoftmaxPolicy(Approximator):
    """π_θ(·|s) = softmax(net_θ(s)), for a discrete action space.

    sizes: (observation, *hidden, n_actions). The last layer starts 100 times smaller than the others, so that the
    first policy is close to uniform.

    >>> policy = SoftmaxPolicy((4, 16, 2), rng=0)
    >>> policy(np.zeros((1, 4))).probabilities
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, sizes: Sizes, rng: Rng = None, *, theta: Array | None = None, dtype: Any = np.float32) -> None:
        self.net = MLP(sizes, rng, theta=theta, dtype=dtype, output_scale=0.01)

    @classmethod
    def for_env(cls, env: AnyEnv, hidden: Sizes = (64, 64), rng: Rng = None, *, dtype: Any = np.float32) -> Self:
        """A policy that fits the environment's (flattened) observations and its Discrete actions, else ValueError."""
        return cls((observation_size(env), *widths("hidden", hidden, 0), n_actions(env)), rng, dtype=dtype)

    def __call__(self, states: Array) -> Softmax:
        """π_θ(·|s) for each row of states (B, observation)."""
        return Softmax(*self.net.forward(states))

    def backward(self, distribution: Softmax, d_logits: Array) -> Array:
        """∂L/∂θ (P,), given ∂L/∂logits (B, n_actions) at a distribution that this policy returned."""
        return self.net.backward(distribution.cache, d_logits)
