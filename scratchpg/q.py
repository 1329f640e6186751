"""Q_φ(s,a), the value of each action, as one network; and ε-greedy, the policy that it implies."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np

from .mlp import MLP, Network
from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng
from .softmax import Softmax


class EpsilonGreedy:
    """(11.4)  argmax_a Q(s,a), with probability ε any of all A actions: P(greedy) = 1 - ε + ε/A.

    outputs: what the network says of each action, Q (B, A); or with atoms z (N,) the logits of their probabilities,
    (B, A, N). `cache` is what `QNetwork.backward` needs.

    >>> EpsilonGreedy(np.array([[1.0, 3.0, 2.0]])).mode()
    array([1])
    """

    def __init__(self, outputs: Array, epsilon: float = 0.0, *, z: Array | None = None, cache: Any = None) -> None:
        self.outputs, self.epsilon, self.z, self.cache = outputs, epsilon, z, cache

    @cached_property
    def values(self) -> Array:
        """Q(s,a), (B, A); with atoms (11.11)  Q(s,a) = Σ_i z_i p_i(s,a),  p = softmax of N logits."""
        if self.z is None:
            return self.outputs
        B, A, N = self.outputs.shape
        return (Softmax(self.outputs.reshape(-1, N)).probabilities @ self.z).reshape(B, A)

    def mode(self) -> Array:
        """The action that looks best, (B,)."""
        return self.values.argmax(axis=1)

    def sample(self, rng: np.random.Generator) -> Array:
        """An action per row, (B,)."""
        B, A = self.values.shape
        return np.where(rng.random(B) < self.epsilon, rng.integers(A, size=B), self.mode())

    def taken(self, actions: Array) -> tuple[Array, Array]:
        """Where `outputs` are of the actions taken: `outputs[taken]` is (B,), or (B, N)."""
        actions = np.asarray(actions)
        B, A = self.outputs.shape[:2]
        if actions.shape != (B,) or actions.dtype.kind not in "iu" or not 0 <= actions.min() <= actions.max() < A:
            raise ValueError(f"actions must be {B} integers in 0 … {A - 1}, not {check.describe(actions)}")
        return np.arange(B), actions


class QNetwork(Network):
    """Q_φ(s,·). sizes: (observation, *hidden, actions), all of them.

    dueling  (11.7)   Q_a = V + A_a - mean_b A_b, where V and A are outputs of one net
    atoms    (11.11)  N logits for each action instead of Q: a distribution over N values, evenly from v_min to v_max
                      of v_range; with dueling each logit is made as in (11.7)
    noisy    (11.14)  w = μ + σ ⊙ ε for every weight; φ is (μ, σ), ε a noise that `draw` makes. Without it ε = 0

    >>> q = QNetwork((4, 16, 2), rng=0, dueling=True)
    >>> q(np.zeros((1, 4))).values.shape, q
    ((1, 2), QNetwork((4, 16, 2), dueling=True))
    """

    actions = "Discrete"

    def __init__(
        self,
        sizes: Sequence[int],
        rng: Rng = None,
        *,
        theta: Array | None = None,
        dtype: Any = np.float32,
        dueling: bool = False,
        atoms: int | None = None,
        v_range: tuple[float, float] | None = None,
        noisy: bool = False,
    ) -> None:
        self.sizes = check.widths(2, sizes=sizes)
        check.flag(dueling=dueling, noisy=noisy)
        check.optional(check.count, atoms=atoms)
        if (atoms is None) != (v_range is None) or (v_range and not (atoms > 1 and v_range[0] < v_range[1])):
            raise ValueError(f"atoms ≥ 2 and v_range = (v_min, v_max) go together, not {atoms!r} and {v_range!r}")
        self.dueling, self.atoms, self.noisy = dueling, atoms, noisy
        switches = {"dueling": dueling, "atoms": atoms, "v_range": v_range, "noisy": noisy}
        self.options = {name: x for name, x in switches.items() if x}
        self.z = np.linspace(*v_range, atoms) if v_range else None  # (11.11)
        self.net = MLP((*self.sizes[:-1], (self.sizes[-1] + dueling) * (atoms or 1)), rng, dtype=dtype)
        if noisy and theta is None:
            sigma = [np.full((n + 1) * m, 0.5 / np.sqrt(n)) for n, m in pairwise(self.net.sizes)]
            theta = np.concatenate([self.net.theta, *sigma]).astype(dtype)  # σ_0 = 0.5 / √inputs
        self.theta = self.net.theta if theta is None else theta

    @classmethod
    def for_env(cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, **options: Any) -> Self:
        """A network that fits the environment's (flattened) observations and its actions, else ValueError."""
        sizes = check.observation_size(env), *check.widths(0, hidden=hidden), check.action_size(env, cls.actions)
        return cls(sizes, rng, **options)

    @property
    def theta(self) -> Array:
        """φ (P,), to be changed in place or replaced; of a noisy network (μ, σ)."""
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        P = len(self.net.theta)
        if np.shape(theta) != (P * (1 + self.noisy),):
            raise ValueError(f"theta must have shape {(P * (1 + self.noisy),)}, not {check.describe(theta)}")
        self._theta, self.net.theta = theta, theta[:P]

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.theta = self._theta  # in a deep copy, or from a pickle, the net's are a view of the new φ

    @property
    def outputs(self) -> int:
        """The number of actions."""
        return self.sizes[-1]

    def draw(self, rng: np.random.Generator) -> Array | None:
        """(11.14)  ε: for each layer ε_W = f(e_in) f(e_out)ᵀ, ε_b = f(e'_out), f(x) = sign(x) √|x|; None if not noisy."""
        if not self.noisy:
            return None
        noise = []
        for n, m in pairwise(self.net.sizes):
            x = rng.standard_normal(n + 2 * m, self.theta.dtype)
            e = np.copysign(np.sqrt(abs(x)), x)
            noise += [np.multiply.outer(e[:n], e[n : n + m]).ravel(), e[n + m :]]
        return np.concatenate(noise)

    def __call__(self, states: Array, noise: Array | None = None, epsilon: float = 0.0) -> EpsilonGreedy:
        """What the network says of each row of states (B, observation), with this noise."""
        net = self.net if noise is None else self._noisy(noise)
        y, inputs = net.forward(states)
        outputs = y.reshape(len(y), -1, self.atoms or 1)
        if self.dueling:
            V, A = outputs[:, :1], outputs[:, 1:]
            outputs = V + A - A.mean(axis=1, keepdims=True)  # (11.7)
        outputs = outputs if self.atoms else outputs[:, :, 0]
        return EpsilonGreedy(outputs, epsilon, z=self.z, cache=(net, inputs, noise))

    def _noisy(self, noise: Array) -> MLP:
        mu, sigma = self.theta.reshape(2, -1)
        return MLP(self.net.sizes, theta=mu + sigma * noise)  # (11.14)

    def backward(self, output: EpsilonGreedy, d_outputs: Array) -> Array:
        """∂L/∂φ (P,), given ∂L/∂outputs at what this network returned.

        (11.7)   ∂L/∂V = Σ_a ∂L/∂Q_a,   ∂L/∂A_a = ∂L/∂Q_a - mean_b ∂L/∂Q_b
        (11.15)  ∂L/∂μ = g,   ∂L/∂σ = g ⊙ ε,   g = ∂L/∂w
        """
        net, inputs, noise = output.cache
        d = d_outputs.reshape(len(d_outputs), self.sizes[-1], -1)
        if self.dueling:
            total = d.sum(axis=1, keepdims=True)
            d = np.concatenate([total, d - total / self.sizes[-1]], axis=1)  # (11.7)
        g = net.backward(inputs, d.reshape(len(d), -1))
        if self.noisy:
            g = np.concatenate([g, np.zeros_like(g) if noise is None else g * noise])  # (11.15)
        return g

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}{''.join(f', {name}={x!r}' for name, x in self.options.items())})"


class Behaviour:
    """What acts while q learns: ε-greedy, with a noise of the last draw. Both may be set at any time."""

    actions = "Discrete"

    def __init__(self, q: QNetwork, epsilon: float = 0.0, noise: Array | None = None) -> None:
        self.q, self.epsilon, self.noise = q, epsilon, noise
        self.net, self.outputs, self.theta = q.net, q.outputs, q.theta

    def __call__(self, states: Array) -> EpsilonGreedy:
        return self.q(states, self.noise, self.epsilon)


def follow(target: Network, network: Network, tau: float) -> None:
    """(11.5), (12.15)  φ̄ ← φ̄ + τ (φ - φ̄); with τ = 1 a copy, to the bit."""
    target.theta[:] = (1 - tau) * target.theta + tau * network.theta
