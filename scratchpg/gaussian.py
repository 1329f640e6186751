"""The diagonal Gaussian N(μ, σ²) over actions in R^d, and the derivatives of everything it offers.

    (8.1)  π(a|s) = Π_i N(a_i; μ_i, σ_i²)        one row of parameters η = (μ_1 … μ_d, log σ_1 … log σ_d) per state

Each `d_…` is a gradient with respect to η, of shape (B, 2d): row i is the gradient of the i-th result. A density may
exceed 1, so log π may be positive. All sums go over the d dimensions of an action; none is a mean.

    (8.7)  r = π_θ(a)/π_old(a) = exp(log π_θ - log π_old) is a ratio of densities:  E_{a~π_old}[ r f ] = E_{a~π_θ}[ f ]

as for probabilities, but Var[r] is infinite where σ_i² ≥ 2σ_old,i² in any dimension.
"""

import math
from functools import cached_property
from typing import Any

import numpy as np

from .plumbing import check
from .plumbing.check import Array, describe


class Gaussian:
    """B distributions over actions of d dimensions. parameters (B, 2d) = (μ, log σ), side by side.

    `cache` is what the network that made μ needs to differentiate it (see `GaussianPolicy.backward`).
    Actions are numbers (B, d), else ValueError.

    >>> pi = Gaussian(np.array([[1.0, 2.0, 0.0, 0.0]]))  # d = 2: μ = (1, 2), σ = (1, 1)
    >>> pi.log_prob(np.array([[1.0, 2.0]])), pi.entropy()  # -log 2π, and log 2πe
    (array([-1.83787707]), array([2.83787707]))
    >>> pi.d_log_prob(np.array([[1.5, 2.0]]))
    array([[ 0.5 ,  0.  , -0.75, -1.  ]])
    """

    def __init__(self, parameters: Array, cache: Any = None) -> None:
        parameters = np.asarray(parameters)
        if parameters.ndim != 2 or parameters.shape[1] % 2 or parameters.dtype.kind not in "fc":
            raise ValueError(f"parameters must be floats of shape (B, 2d), μ and log σ, not {describe(parameters)}")
        d = parameters.shape[1] // 2
        self.parameters, self.cache = parameters, cache
        self.mean, self.log_std = parameters[:, :d], parameters[:, d:]  # μ and log σ, (B, d)

    @cached_property
    def std(self) -> Array:
        """σ, (B, d)."""
        return np.exp(self.log_std)

    def log_prob(self, actions: Array) -> Array:
        """(8.1)  log π(a|s) = -Σ_i [ z_i²/2 + log σ_i + log(2π)/2 ],  z = (a - μ)/σ, (B,)."""
        z = self._z(actions)
        return -(z * z / 2 + self.log_std + math.log(2 * math.pi) / 2).sum(axis=1)

    def d_log_prob(self, actions: Array) -> Array:
        """(8.2)  The score in η: ∂log π/∂μ_i = z_i/σ_i,  ∂log π/∂log σ_i = z_i² - 1, (B, 2d)."""
        z = self._z(actions)
        return np.concatenate([z / self.std, z * z - 1], axis=1)

    def entropy(self) -> Array:
        """(8.3)  H = Σ_i [ log σ_i + log(2πe)/2 ], (B,), in nats: a differential entropy, which may be negative."""
        return (self.log_std + math.log(2 * math.pi * math.e) / 2).sum(axis=1)

    def d_entropy(self) -> Array:
        """(8.3)  ∂H/∂μ = 0,  ∂H/∂log σ_i = 1, (B, 2d): a bonus on H widens σ at the same rate, without end."""
        return np.concatenate([np.zeros_like(self.mean), np.ones_like(self.log_std)], axis=1)

    def kl(self, other: "Gaussian") -> Array:
        """(8.4)  KL(π ‖ q) = Σ_i [ (exp(2Δ_i) - 1 - 2Δ_i)/2 + (μ_i - μ'_i)²/2σ'_i² ],  Δ = log σ - log σ', (B,)."""
        delta, m = self._apart(other)
        return ((np.expm1(2 * delta) - 2 * delta + m * m) / 2).sum(axis=1)  # expm1: never negative by rounding

    def d_kl(self, other: "Gaussian") -> Array:
        """(8.4)  ∂KL/∂μ_i = (μ_i - μ'_i)/σ'_i²,  ∂KL/∂log σ_i = exp(2Δ_i) - 1, (B, 2d)."""
        delta, m = self._apart(other)
        return np.concatenate([m / other.std, np.expm1(2 * delta)], axis=1)

    def fisher(self, v: Array) -> Array:
        """(8.5)  M v for a row v of each state, (B, 2d):  M = E[∇_η log π ∇_η log πᵀ] = diag(1/σ², 2)."""
        v = check.numbers("v", v, self.parameters.shape)
        d = self.mean.shape[1]
        return np.concatenate([v[:, :d] / self.std**2, 2 * v[:, d:]], axis=1)

    def sample(self, rng: np.random.Generator) -> Array:
        """One action per row, (B, d):  a = μ + σ z,  z ~ N(0, 1)."""
        z = rng.standard_normal(self.mean.shape).astype(self.mean.dtype)
        return self.mean + self.std * z

    def mode(self) -> Array:
        """(8.9)  The action of the largest density in each row, (B, d): μ."""
        return self.mean

    def _z(self, actions: Array) -> Array:
        """z = (a - μ)/σ, (B, d)."""
        return (check.numbers("actions", actions, self.mean.shape) - self.mean) / self.std

    def _apart(self, other: "Gaussian") -> tuple[Array, Array]:
        """Δ = log σ - log σ', and (μ - μ')/σ'."""
        check.of_class(Gaussian, other=other)
        check.numbers("the other's parameters", other.parameters, self.parameters.shape)
        return self.log_std - other.log_std, (self.mean - other.mean) / other.std
