"""The model f_φ: a network that predicts how the state will change, and the gradient of its squared error."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .mlp import MLP, Cache, Network
from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng


class Dynamics(Network):
    """s_{t+1} = s_t + μ_Δ + σ_Δ f_φ((s_t - μ_s)/σ_s, a_t). sizes: (observation, actions, *hidden).

    Actions are integers (B,), which go in one-hot, or rows (B, d) of a Box. scales (4, observation) are μ_s, σ_s, μ_Δ,
    σ_Δ; `normalize` sets them. An ensemble is a list of these, each fitted to its own data.

    >>> Dynamics((4, 2, 16), rng=0)(np.zeros((5, 4)), np.zeros(5, int)).shape
    (5, 4)
    """

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *, theta: Any = None, scales: Any = None, dtype: Any = np.float32
    ) -> None:
        self.sizes = n, d, *hidden = check.widths(2, sizes=sizes)
        self.net = MLP((n + d, *hidden, n), rng, theta=theta, dtype=dtype)
        scales = check.numbers("scales", [[0] * n, [1] * n] * 2 if scales is None else scales, (4, n))
        self.scales = scales.astype(np.float64)

    @classmethod
    def for_env(cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, **options: Any) -> Self:
        """A model that fits the environment's (flattened) observations and its actions, Discrete or of a Box."""
        kind = "Box" if check.has_box(env) else "Discrete"
        sizes = check.observation_size(env), check.action_size(env, kind), *check.widths(0, hidden=hidden)
        return cls(sizes, rng, **options)

    @property
    def options(self) -> dict[str, Any]:
        """What a checkpoint needs to make this model, beside its sizes and θ."""
        return {"scales": self.scales.tolist()}

    def normalize(self, states: Array, next_states: Array) -> None:
        """Set the scales to means and deviations of these rows (B, observation); σ = 1 where a column is constant."""
        columns, shape = [], (len(states), self.sizes[0])
        states, next_states = check.numbers("states", states, shape), check.numbers("next_states", next_states, shape)
        for x in np.float64(states), np.subtract(next_states, states, dtype=np.float64):
            columns += [x.mean(axis=0), np.where(np.ptp(x, axis=0) > 0, x.std(axis=0), 1)]
        self.scales[:] = columns

    def __call__(self, states: Array, actions: Array) -> Array:
        """s_{t+1} as predicted, (B, observation)."""
        mu, sigma = self.scales[2:].astype(self.theta.dtype)
        return states + (mu + sigma * self._forward(states, actions)[0])

    def mse(self, states: Array, actions: Array, next_states: Array) -> float:
        """(14.1)  L(φ) = mean_t |(Δ_t - μ_Δ)/σ_Δ - f_φ((s_t - μ_s)/σ_s, a_t)|²,   Δ_t = s_{t+1} - s_t."""
        return (self._errors(states, actions, next_states)[0] ** 2).sum(axis=1).mean()

    def mse_gradient(self, states: Array, actions: Array, next_states: Array) -> Array:
        """(14.1)  ∇L = -2 mean_t ((Δ_t - μ_Δ)/σ_Δ - f_φ) ∇f_φ, flat in φ (P,). Arguments as in `mse`.

        >>> Dynamics((1, 1), theta=np.zeros(3)).mse_gradient([[1.0]], [[2.0]], [[4.0]])  # -2 (3 - 0) (s, a, 1)
        array([ -6., -12.,  -6.])
        """
        errors, cache = self._errors(states, actions, next_states)
        return self.net.backward(cache, -2 / len(errors) * errors)

    def _errors(self, states: Array, actions: Array, next_states: Array) -> tuple[Array, Cache]:
        """(Δ - μ_Δ)/σ_Δ - f_φ, and the cache of the pass."""
        (states,) = check.rows(states)
        next_states = check.numbers("next_states", next_states, states.shape)
        (mu, sigma), (f, cache) = self.scales[2:], self._forward(states, actions)
        return (next_states - states - mu) / sigma - f, cache

    def _forward(self, states: Array, actions: Array) -> tuple[Array, Cache]:
        """f_φ((s - μ_s)/σ_s, a) and its cache; integer actions become one-hot."""
        (states,) = check.rows(states)
        B, a = len(states), np.asarray(actions)
        n, d, *_ = self.sizes
        check.numbers("states", states, (B, n))
        if a.dtype.kind in "iu" and a.ndim == 1:
            a = a[..., None] == np.arange(d)
        if a.shape != (B, d) or (a.dtype.kind == "b" and np.count_nonzero(a) != B):
            expected = f"{B} integers in 0 … {d - 1}, or rows of {d} numbers, one per state"
            raise ValueError(f"actions must be {expected}, not {check.describe(actions)}")
        mu, sigma = self.scales[:2].astype(self.theta.dtype)
        return self.net.forward(np.concatenate([(states - mu) / sigma, a], axis=1))
