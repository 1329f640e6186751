"""The policy π_θ(a|s): a network that turns states into the parameters η of a distribution over actions."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .gaussian import Gaussian
from .mlp import MLP, Network
from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng
from .softmax import Softmax

Distribution = Any  # a Softmax or a Gaussian: they have the same methods


class Policy(Network):
    """What the chapters ask of a policy, whatever its distribution: see SoftmaxPolicy and GaussianPolicy.

    The last layer starts with weights 100 times smaller, so the first policy is nearly the same in all states.
    """

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *, theta: Array | None = None, dtype: Any = np.float32
    ) -> None:
        self.net = MLP(sizes, rng, theta=theta, dtype=dtype, output_scale=0.01)
        self.sizes = self.net.sizes

    @classmethod
    def for_env(cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, **start: Any) -> Self:
        """A policy that fits the environment's (flattened) observations and its actions, else ValueError.

        `Policy.for_env` chooses the class: GaussianPolicy for a Box of actions, else SoftmaxPolicy.
        start: more arguments of that class, such as `dtype`.
        """
        kind: Any = cls
        if cls.actions is None:
            kind = GaussianPolicy if check.has_box(env) else SoftmaxPolicy
        sizes = check.observation_size(env), *check.widths(0, hidden=hidden), check.action_size(env, kind.actions)
        return kind(sizes, rng, **start)

    def __call__(self, states: Array) -> Distribution:
        """π_θ(·|s) for each row of states (B, observation)."""
        raise NotImplementedError

    def backward(self, distribution: Distribution, d_parameters: Array) -> Array:
        """∂L/∂θ (P,), given ∂L/∂η (B, K) at a distribution that this policy returned at this θ: Jᵀ d, J = ∂η/∂θ."""
        return self.net.backward(distribution.cache, d_parameters)

    def jvp(self, distribution: Distribution, v: Array) -> Array:
        """(9.4)  J v (B, K), for a direction v (P,): how fast η changes as θ moves along v."""
        return self.net.jvp(distribution.cache, v)


class SoftmaxPolicy(Policy):
    """π_θ(·|s) = softmax(net_θ(s)), for a Discrete action space. sizes: (observation, *hidden, actions), all of them.

    >>> policy = SoftmaxPolicy((4, 16, 2), rng=0)
    >>> policy(np.zeros((1, 4))).probabilities
    array([[0.5, 0.5]], dtype=float32)

    Where an observation says which actions are allowed, a logit of -inf masks each of the others:

    >>> class Masked(SoftmaxPolicy):  # the last two numbers of an observation are 1 where an action is allowed
    ...     def __call__(self, states):
    ...         pi = super().__call__(states)
    ...         return Softmax(np.where(states[:, -2:] == 1, pi.logits, -np.inf), pi.cache)
    >>> Masked((4, 16, 2), rng=0)(np.array([[0.3, -0.2, 1, 0], [0.3, -0.2, 1, 1]])).probabilities.round(1)
    array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """

    actions = "Discrete"

    def __call__(self, states: Array) -> Softmax:
        return Softmax(*self.net.forward(states))


class GaussianPolicy(Policy):
    """(8.6)  π_θ(·|s) = N(net_θ(s), σ²), log σ ∈ θ, for a Box of floats, d numbers per action.

    sizes: (observation, *hidden, d), all of them. θ is the net's, then log σ (d,), the same in every state; `net.theta`
    and `log_std` are views of it. log_std: where log σ starts, a number, or one for each dimension.

    >>> policy = GaussianPolicy((3, 16, 2), rng=0, log_std=-0.5)
    >>> policy(np.zeros((1, 3))).parameters
    array([[ 0. ,  0. , -0.5, -0.5]], dtype=float32)
    """

    actions = "Box"

    def __init__(
        self,
        sizes: Sequence[int],
        rng: Rng = None,
        *,
        theta: Array | None = None,
        dtype: Any = np.float32,
        log_std: float | Array = 0.0,
    ) -> None:
        log_std = check.numbers("log_std", log_std)
        check.finite("log_std", log_std)
        super().__init__(sizes, rng, dtype=dtype)
        start = np.full(self.outputs, log_std, dtype)
        self.theta = np.append(self.net.theta, start) if theta is None else theta

    @property
    def theta(self) -> Array:
        """θ (P,): the net's, then log σ; to be changed in place or replaced."""
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        P, d = len(self.net.theta), self.outputs
        if np.shape(theta) != (P + d,):
            raise ValueError(f"theta must have shape ({P} + {d},), log σ at the end, not {check.describe(theta)}")
        self.net.theta, self.log_std, self._theta = theta[:P], theta[P:], theta

    def __call__(self, states: Array) -> Gaussian:
        mean, cache = self.net.forward(states)
        log_std = self.log_std[None].repeat(len(mean), axis=0)  # the same in every row
        return Gaussian(np.concatenate([mean, log_std], axis=1), cache)

    def backward(self, distribution: Gaussian, d_parameters: Array) -> Array:
        """(8.6)  ∂L/∂θ (P,) = (the net's part, by ∂L/∂μ;  Σ_rows ∂L/∂log σ), given ∂L/∂η (B, 2d)."""
        check.numbers("d_parameters", d_parameters, distribution.parameters.shape)
        d, n = np.asarray(d_parameters, self.theta.dtype), self.outputs  # n columns by μ, then n by log σ
        return np.concatenate([self.net.backward(distribution.cache, d[:, :n]), d[:, n:].sum(axis=0)])

    def jvp(self, distribution: Gaussian, v: Array) -> Array:
        """(9.4)  J v (B, 2d) = (the net's J v of its part, v's part for log σ in every row)."""
        mean = self.net.jvp(distribution.cache, v[: -self.outputs])
        log_std = v[None, -self.outputs :].repeat(len(mean), axis=0)
        return np.concatenate([mean, log_std], axis=1, dtype=mean.dtype)


def drift(old: Distribution, new: Distribution, actions: Array, clip_range: float) -> dict[str, float]:
    """How far an update has moved the policy, over all rows of its batch. This shows whether training is healthy:

    kl                   mean_t KL(π_old ‖ π), in nats: up to about 0.01; above 0.05 the steps are too large
    clip_fraction        the share of rows with |r_t - 1| > ε, for any A_t: up to about 0.2; always 0: ε does nothing
    entropy              mean_t H(π), in nats: falls slowly; near 0 (far below it for a Gaussian) exploration has ended

    PPO adds explained_variance, of V after its fit: 1 at best; ≤ 0 if a constant would do as well, or if the targets
    hardly differ; and gradient_norm, of its last step on the policy: above max_grad_norm it was scaled down.
    """
    check.weight(clip_range=clip_range)
    outside = abs(np.exp(new.log_prob(actions) - old.log_prob(actions)) - 1) > clip_range
    means = {"kl": old.kl(new), "clip_fraction": outside, "entropy": new.entropy()}
    return {name: float(x.mean()) for name, x in means.items()}
