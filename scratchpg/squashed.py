"""The Gaussian squashed by tanh, for actions in (-1, 1)^d: its density, and its derivatives with the noise held.

    (12.9)   a = tanh(u),   u = μ_θ(s) + σ_θ(s) ⊙ ε,   ε ~ N(0, I)

All are functions of the noise ε that made an action, not of the action: in float32 tanh(9.1) is 1, so the action does
not tell u. Each `d_…` holds ε fixed, and is a gradient with respect to η = (μ_1 … μ_d, log σ_1 … log σ_d), (B, 2d).

    (12.13)  E_ε[ ∂(α log π - Q)/∂η with ε held ] = E_{a~π}[ ∇log π(a|s) (α log π(a|s) - Q(a)) ] = ∇E[ α log π - Q ]
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from .mlp import MLP
from .plumbing import check
from .plumbing.check import Array, Rng, describe
from .policy import Policy


def log_slope(u: Array) -> Array:
    """(12.11)  log(1 - tanh² u) = 2 (log 2 - u - softplus(-2u)), softplus(x) = max(x, 0) + log(1 + exp(-|x|)).

    It is an even function, so it is computed at |u|, where softplus(-2u) = log(1 + exp(-2u)): exact for any u.

    >>> log_slope(np.array([-800.0, 0.0, 800.0])).round(3)
    array([-1598.614,     0.   , -1598.614])
    """
    u = np.where(u.real < 0, -u, u)  # |u|, and for complex u, by which tests take derivatives
    return 2 * (math.log(2) - u - np.log1p(np.exp(-2 * u)))


class SquashedGaussian:
    """B distributions over actions in (-1, 1)^d. parameters (B, 2d) = (μ, log σ), side by side.

    `cache` is what the network that made them needs to differentiate them. noise: ε (B, d), as `draw` makes it.

    >>> pi = SquashedGaussian(np.array([[0.0, 0.0]]))  # d = 1: μ = 0, σ = 1
    >>> pi.action(np.array([[1.0]])), pi.log_prob(np.array([[1.0]]))  # tanh 1; log N(1; 0, 1) - log(1 - tanh² 1)
    (array([[0.76159416]]), array([-0.55137687]))
    """

    def __init__(self, parameters: Array, cache: Any = None) -> None:
        parameters = np.asarray(parameters)
        if parameters.ndim != 2 or parameters.shape[1] % 2 or parameters.dtype.kind not in "fc":
            raise ValueError(f"parameters must be floats of shape (B, 2d), μ and log σ, not {describe(parameters)}")
        d = parameters.shape[1] // 2
        self.parameters, self.cache = parameters, cache
        self.mean, self.log_std = parameters[:, :d], parameters[:, d:]  # of u, not of a

    @cached_property
    def std(self) -> Array:
        """σ, (B, d)."""
        return np.exp(self.log_std)

    def draw(self, rng: np.random.Generator) -> Array:
        """ε ~ N(0, I), one row for each, (B, d)."""
        return rng.standard_normal(self.mean.shape).astype(self.mean.dtype)

    def action(self, noise: Array) -> Array:
        """(12.9)  a = tanh(μ + σ ε), (B, d)."""
        return np.tanh(self._u(noise))

    def log_prob(self, noise: Array) -> Array:
        """(12.10)  log π(a|s) = Σ_i [ -ε_i²/2 - log σ_i - log(2π)/2 - log(1 - tanh² u_i) ], (B,), a = `action(noise)`.

        The density of a in (-1, 1)^d. In the units of the environment it is smaller by Σ_i log((high_i - low_i)/2).
        """
        noise = check.numbers("noise", noise, self.mean.shape)
        each = noise * noise / 2 + self.log_std + math.log(2 * math.pi) / 2 + log_slope(self._u(noise))
        return -each.sum(axis=1)

    def d_log_prob(self, noise: Array) -> Array:
        """(12.12)  ∂log π/∂μ = 2a,   ∂log π/∂log σ = 2a σ ε - 1, (B, 2d)."""
        d_mean = 2 * self.action(noise)
        return np.concatenate([d_mean, d_mean * (self.std * noise) - 1], axis=1)

    def d_action(self, noise: Array, d_actions: Array) -> Array:
        """(12.12)  ∂L/∂η (B, 2d), given ∂L/∂a (B, d):   ∂a/∂μ = 1 - a²,   ∂a/∂log σ = (1 - a²) σ ε."""
        d_mean = check.numbers("d_actions", d_actions, self.mean.shape) * (1 - self.action(noise) ** 2)
        return np.concatenate([d_mean, d_mean * (self.std * noise)], axis=1)

    def sample(self, rng: np.random.Generator) -> Array:
        """One action per row, (B, d)."""
        return self.action(self.draw(rng))

    def mode(self) -> Array:
        """tanh μ (B, d), the action to be greedy with: the median of a, neither its mean nor its mode."""
        return np.tanh(self.mean)

    def _u(self, noise: Array) -> Array:
        return self.mean + self.std * check.numbers("noise", noise, self.mean.shape)


class SquashedGaussianPolicy(Policy):
    """(12.9)  For a bounded Box of actions: a in (-1, 1)^d, which Collector and `evaluate` stretch to the bounds.

    sizes: (observation, *hidden, d), all of them. The net has 2d outputs, μ and z. log σ = 5 tanh(z/5) stays within
    ±5, is nearly z where z is small, and, unlike a clip, has a gradient everywhere. σ starts near 1, a about uniform.

    >>> policy = SquashedGaussianPolicy((3, 16, 2), rng=0)
    >>> policy(np.zeros((1, 3))).parameters
    array([[0., 0., 0., 0.]], dtype=float32)
    """

    actions = "bounded Box"

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *, theta: Array | None = None, dtype: Any = np.float32
    ) -> None:
        self.sizes = check.widths(2, sizes=sizes)
        outputs = 2 * self.sizes[-1]
        self.net = MLP((*self.sizes[:-1], outputs), rng, theta=theta, dtype=dtype, output_scale=0.01)

    @property
    def outputs(self) -> int:
        """d, the dimensions of an action."""
        return self.sizes[-1]

    def __call__(self, states: Array) -> SquashedGaussian:
        y, cache = self.net.forward(states)
        y[:, self.outputs :] = 5 * np.tanh(y[:, self.outputs :] / 5)
        return SquashedGaussian(y, cache)

    def backward(self, distribution: SquashedGaussian, d_parameters: Array) -> Array:
        """∂L/∂θ (P,), given ∂L/∂η (B, 2d)."""
        d = check.numbers("d_parameters", d_parameters, distribution.parameters.shape)
        return self.net.backward(distribution.cache, self._slopes(distribution) * d)

    def jvp(self, distribution: SquashedGaussian, v: Array) -> Array:
        """(9.4)  J v (B, 2d), for a direction v (P,)."""
        return self._slopes(distribution) * self.net.jvp(distribution.cache, v)

    def _slopes(self, distribution: SquashedGaussian) -> Array:
        """∂η/∂(μ, z), (B, 2d): 1, and 1 - tanh²(z/5), from log σ."""
        slopes = np.ones_like(distribution.parameters)
        slopes[:, self.outputs :] -= (distribution.log_std / 5) ** 2
        return slopes
