"""The policy π_θ(a|s): a network that turns states into the parameters of a distribution over actions."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .mlp import MLP, Network
from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng
from .softmax import Softmax


class SoftmaxPolicy(Network):
    """π_θ(·|s) = softmax(net_θ(s)), for a Discrete action space. sizes: (observation, *hidden, actions), all of them.

    The last layer starts 100 times smaller than the others, so that the first policy is close to uniform.

    >>> policy = SoftmaxPolicy((4, 16, 2), rng=0)
    >>> policy(np.zeros((1, 4))).probabilities
    array([[0.5, 0.5]], dtype=float32)
    """

    actions = "Discrete"

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *, theta: Array | None = None, dtype: Any = np.float32
    ) -> None:
        self.net = MLP(sizes, rng, theta=theta, dtype=dtype, output_scale=0.01)
        self.sizes = self.net.sizes

    @classmethod
    def for_env(
        cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, *, dtype: Any = np.float32
    ) -> Self:
        """A policy that fits the environment's (flattened) observations and its actions, else ValueError."""
        sizes = check.observation_size(env), *check.widths(0, hidden=hidden), check.action_size(env, cls.actions)
        return cls(sizes, rng, dtype=dtype)

    def __call__(self, states: Array) -> Softmax:
        """π_θ(·|s) for each row of states (B, observation)."""
        return Softmax(*self.net.forward(states))

    def backward(self, distribution: Softmax, d_parameters: Array) -> Array:
        """∂L/∂θ (P,), given ∂L/∂parameters (B, K) at a distribution that this policy returned: Jᵀ d, J = ∂η/∂θ."""
        return self.net.backward(distribution.cache, d_parameters)


def drift(old: Softmax, new: Softmax, actions: Array, clip_range: float) -> dict[str, float]:
    """What an update has done to the policy, over all rows of its batch: how the health of PPO and its kin is read.

    kl                   mean_t KL(π_old ‖ π), in nats: up to some 0.01; above 0.05 the steps are too large
    clip_fraction        the share of rows with |r_t - 1| > ε: up to some 0.2; always 0 means ε does nothing
    entropy              mean_t H(π), in nats: falls slowly from log A; near 0 exploration has ended

    Beside them the chapters report explained_variance, of V after its fit: towards 1; ≤ 0: a constant would do as well;
    and gradient_norm, of the policy in the last minibatch, before clipping: mostly below max_grad_norm.
    """
    clipped = abs(np.exp(new.log_prob(actions) - old.log_prob(actions)) - 1) > clip_range
    means = {"kl": old.kl(new), "clip_fraction": clipped, "entropy": new.entropy()}
    return {name: float(x.mean()) for name, x in means.items()}
