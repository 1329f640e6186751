"""The value V_φ(s): a network of its own, with one output, and the gradient of its squared error."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .mlp import MLP, Network
from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng


class Value(Network):
    """V_φ(s) = net_φ(s). sizes: (observation, *hidden), without the single output, which is added here.

    >>> value = Value((4, 16), rng=0)
    >>> value(np.zeros((3, 4)))
    array([0., 0., 0.], dtype=float32)
    """

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *, theta: Array | None = None, dtype: Any = np.float32
    ) -> None:
        self.sizes = check.widths(1, sizes=sizes)
        self.net = MLP((*self.sizes, 1), rng, theta=theta, dtype=dtype)

    @classmethod
    def for_env(
        cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, *, dtype: Any = np.float32
    ) -> Self:
        """A value that fits the environment's (flattened) observations."""
        return cls((check.observation_size(env), *check.widths(0, hidden=hidden)), rng, dtype=dtype)

    def __call__(self, states: Array) -> Array:
        """V_φ(s) of every state: (B,) for (B, observation), (T, N) for (T, N, observation)."""
        states = np.asarray(states)
        rows = states if states.ndim < 2 else states.reshape(-1, states.shape[-1])  # the net refuses (obs,)
        return self.net(rows)[:, 0].reshape(states.shape[:-1])

    def mse(self, states: Array, targets: Array) -> float:
        """(2.3)  L_V(φ) = mean_t (G_t - V_φ(s_t))²; targets (B,) stand for G_t, and count as constants.

        states (B, observation). ValueError for rows that do not fit.
        """
        states, targets = check.rows(states, targets=targets)
        return np.mean((targets - self(states)) ** 2)

    def mse_gradient(self, states: Array, targets: Array) -> Array:
        """(2.3)  ∇_φ L_V = -2 mean_t (G_t - V_φ(s_t)) ∇V_φ(s_t), flat (P,).

        Arguments as in `mse`. Where a text has ½ in L_V, its gradient is half of this one.

        >>> Value((1,), theta=np.zeros(2)).mse_gradient(np.ones((1, 1)), np.array([3.0]))  # -2 (3 - 0), for W and b
        array([-6., -6.])
        """
        states, targets = check.rows(states, targets=targets)
        y, cache = self.net.forward(states)
        return self.net.backward(cache, -2 / len(targets) * (targets[:, None] - y))  # (2.3)
