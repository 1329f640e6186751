"""Q_φ(s,a): a network with the value of each of A actions, and a policy that acts by it; twins for actions in R^d."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np

from .epsilon_greedy import EpsilonGreedy
from .mlp import MLP, Network
from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng


class QNetwork(Network):
    """Q_φ(s,·). sizes: (observation, *hidden, actions), all of them. The switches:

    dueling          (11.7)   Q_a = V + A_a - mean_b A_b; one net puts out V and A; with atoms, atom by atom
    atoms, v_range   (11.11)  N logits for each action, one for each of N atoms, which go evenly from v_min to v_max
    noisy            (11.14)  w = μ + σ ⊙ ε for every weight; φ is (μ, σ); ε is the noise that `draw` makes, else 0

    >>> q = QNetwork((4, 16, 2), rng=0, dueling=True)
    >>> q(np.zeros((1, 4))).values, q
    (array([[0., 0.]], dtype=float32), QNetwork((4, 16, 2), dueling=True))
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
        v_range: Sequence[float] | None = None,
        noisy: bool = False,
    ) -> None:
        self.sizes = check.widths(2, sizes=sizes)
        check.flag(dueling=dueling, noisy=noisy)
        check.optional(check.count, atoms=atoms)
        fits = v_range is None or (atoms != 1 and len(v_range) == 2 and -np.inf < v_range[0] < v_range[1] < np.inf)
        if (atoms is None) != (v_range is None) or not fits:
            raise ValueError(f"atoms ≥ 2 and v_range = (v_min, v_max) go together, not {atoms!r} and {v_range!r}")
        switches = {"dueling": dueling, "atoms": atoms, "v_range": v_range, "noisy": noisy}
        self.options = {name: x for name, x in switches.items() if x}
        self.dueling, self.noisy = dueling, noisy
        self.z = np.linspace(v_range[0], v_range[1], atoms or 0) if v_range else None  # z_i = v_min + i Δz
        self.net = MLP((*self.sizes[:-1], (self.sizes[-1] + dueling) * (atoms or 1)), rng, dtype=dtype)
        if theta is None and noisy:
            sigma = [np.full((n + 1) * m, 0.5 / np.sqrt(n), dtype) for n, m in pairwise(self.net.sizes)]
            theta = np.concatenate([self.net.theta, *sigma])  # μ as without noise, σ = 0.5/√inputs of the layer
        self.theta = self.net.theta if theta is None else theta

    @classmethod
    def for_env(cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, **options: Any) -> Self:
        """A network that fits the environment's (flattened) observations and its actions, else ValueError."""
        sizes = check.observation_size(env), *check.widths(0, hidden=hidden), check.action_size(env, cls.actions)
        return cls(sizes, rng, **options)

    @property
    def theta(self) -> Array:
        """φ (P,), to be changed in place or replaced; of a noisy network (μ, σ), (2P,)."""
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        P = len(self.net.theta)
        check.numbers("theta", theta, (P * (1 + self.noisy),))
        self.net.theta, self._theta = theta[:P], theta  # in this order: the net refuses what is no array of floats

    @property
    def outputs(self) -> int:
        """The number of actions."""
        return self.sizes[-1]

    def draw(self, rng: np.random.Generator) -> Array | None:
        """(11.14)  ε: of a layer ε_W = f(e_in) f(e_out)ᵀ, ε_b = f(e'_out), f(x) = sign(x) √|x|; None if not noisy."""
        noise = []
        for n, m in pairwise(self.net.sizes if self.noisy else ()):
            e = rng.standard_normal(n + 2 * m, self.theta.dtype)  # e_in (n,), e_out (m,), e'_out (m,)
            f = np.copysign(np.sqrt(abs(e)), e)
            noise += [np.multiply.outer(f[:n], f[n : n + m]).ravel(), f[n + m :]]  # ε_W, ε_b
        return np.concatenate(noise) if noise else None

    def __call__(self, states: Array, noise: Array | None = None, epsilon: float = 0.0) -> EpsilonGreedy:
        """ε-greedy on Q_φ(s,·) of each row of states (B, observation), with this noise in the weights."""
        net = self.net
        if noise is not None:
            mu, sigma = self.theta.reshape(2, -1)
            net = MLP(net.sizes, theta=mu + sigma * check.numbers("noise", noise, mu.shape))  # (11.14)
        y, inputs = net.forward(states)
        outputs = y.reshape(len(y), self.outputs + self.dueling, -1)  # (B, A, N), N = 1 without atoms; A + 1 if dueling
        if self.dueling:
            V, A = outputs[:, :1], outputs[:, 1:]
            outputs = V + A - A.mean(axis=1, keepdims=True)  # (11.7)
        outputs = outputs[:, :, 0] if self.z is None else outputs
        return EpsilonGreedy(outputs, epsilon, z=self.z, cache=(net, inputs, noise))

    def backward(self, output: EpsilonGreedy, d_outputs: Array) -> Array:
        """∂L/∂φ (P,), given ∂L/∂outputs of what this network returned.

        (11.7)   ∂L/∂V = Σ_a ∂L/∂Q_a,   ∂L/∂A_a = ∂L/∂Q_a - mean_b ∂L/∂Q_b
        (11.15)  ∂L/∂μ = g,   ∂L/∂σ = g ⊙ ε,   g = ∂L/∂w
        """
        net, inputs, noise = output.cache
        d = check.numbers("d_outputs", d_outputs, output.outputs.shape).reshape(len(d_outputs), self.outputs, -1)
        if self.dueling:
            d = np.concatenate([d.sum(axis=1, keepdims=True), d - d.mean(axis=1, keepdims=True)], axis=1)  # (11.7)
        g = net.backward(inputs, d.reshape(len(d), -1))
        return np.concatenate([g, 0 * g if noise is None else g * noise]) if self.noisy else g  # (11.15)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}{''.join(f', {name}={x!r}' for name, x in self.options.items())})"


class Behaviour:
    """The policy that collects: ε-greedy, where ε falls from 1 to `last` over a fraction of the run; or a noisy q."""

    actions = "Discrete"

    def __init__(self, q: QNetwork, fraction: float, last: float) -> None:
        check.of_class(QNetwork, q=q)
        check.unit(exploration_final_eps=last)
        check.positive(exploration_fraction=fraction)
        self.q, self.net, self.outputs, self.theta = q, q.net, q.outputs, q.theta  # what a Collector looks at
        self.fraction, self.last = fraction, last
        self.explore(0.0)

    def explore(self, done: float, noise: Array | None = None) -> None:
        """From now on act with the ε for this share `done` of the run; or, given a noise, with that and ε = 0."""
        epsilon = 1 + (self.last - 1) * min(1.0, done / self.fraction)
        self.epsilon, self.noise = epsilon if noise is None else 0.0, noise

    def __call__(self, states: Array) -> EpsilonGreedy:
        return self.q(states, self.noise, self.epsilon)


class TwinQ(Network):
    """Q_1(s,a) and Q_2(s,a) for actions of d numbers: two nets of the same sizes, on one φ = (φ_1, φ_2).

    sizes: (observation + d, *hidden), without the single output. (12.6) and (12.8) take the smaller of the two, so
    an error that makes an action look better counts only if both make it.

    >>> q = TwinQ((3 + 1, 16), rng=0)
    >>> q(np.zeros((5, 3)), np.zeros((5, 1))).shape, q
    ((2, 5), TwinQ((4, 16)))
    """

    of_actions = True  # its inputs are states and actions, which `check.fit` must know

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *, theta: Array | None = None, dtype: Any = np.float32
    ) -> None:
        self.sizes = check.widths(1, sizes=sizes)
        rng = np.random.default_rng(rng)
        self.nets = [MLP((*self.sizes, 1), rng, dtype=dtype) for _ in range(2)]
        self.net = self.nets[0]
        self.theta = np.concatenate([net.theta for net in self.nets]) if theta is None else theta

    @classmethod
    def for_env(
        cls, env: AnyEnv, hidden: Sequence[int] = (64, 64), rng: Rng = None, *, dtype: Any = np.float32
    ) -> Self:
        """Twins that fit the environment's (flattened) observations and its actions, a Box."""
        inputs = check.observation_size(env) + check.action_size(env, "Box")
        return cls((inputs, *check.widths(0, hidden=hidden)), rng, dtype=dtype)

    @property
    def theta(self) -> Array:
        """φ (2P,), to be changed in place or replaced."""
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        P = len(self.net.theta)
        check.numbers("theta", theta, (2 * P,))
        self.nets[0].theta, self.nets[1].theta, self._theta = theta[:P], theta[P:], theta

    def __call__(self, states: Array, actions: Array) -> Array:
        """Q_i(s,a) of each row, (2, B), for states (B, observation) and actions (B, d)."""
        return self.forward(states, actions)[0]

    def forward(self, states: Array, actions: Array) -> tuple[Array, list[Any]]:
        """Q_i(s,a), (2, B), and the caches of this pass."""
        (states,) = check.rows(states)
        actions = check.numbers("actions", actions, (len(states), max(1, self.sizes[0] - states.shape[1])))
        inputs = np.concatenate([states, actions], axis=1)
        passes = [net.forward(inputs) for net in self.nets]
        return np.stack([y[:, 0] for y, _ in passes]), [cache for _, cache in passes]

    def mse(self, states: Array, actions: Array, targets: Array) -> float:
        """(12.7)  L_Q(φ) = Σ_i mean_t (y_t - Q_i(s_t,a_t))²; targets (B,) stand for y_t, and count as constants."""
        states, targets = check.rows(states, targets=targets)
        return ((targets - self(states, actions)) ** 2).mean(axis=1).sum()

    def mse_gradient(self, states: Array, actions: Array, targets: Array) -> Array:
        """(12.7)  ∇L_Q = -2 mean_t (y_t - Q_i(s_t,a_t)) ∇Q_i(s_t,a_t), each net's own, flat in φ."""
        states, targets = check.rows(states, targets=targets)
        values, caches = self.forward(states, actions)
        d_values = -2 / len(targets) * (targets - values)
        of_both = zip(self.nets, caches, d_values, strict=True)
        return np.concatenate([net.backward(cache, d[:, None]) for net, cache, d in of_both])

    def d_action(self, caches: list[Any], d_values: Array, d: int) -> Array:
        """∂L/∂a (B, d), given ∂L/∂Q_i (2, B) of a pass. Only rows with ∂L/∂Q_i ≠ 0 go back through net i: with a
        minimum over the twins each row goes through one net."""
        d_values = check.numbers("d_values", d_values, (2, len(caches[0][1][0])))  # a cache ends with h_0, h_1, …
        d_inputs = np.zeros((len(d_values[0]), self.sizes[0]), self.theta.dtype)
        for net, (sizes, inputs), d_Q in zip(self.nets, caches, d_values, strict=True):
            rows = d_Q.nonzero()[0]
            d_inputs[rows] += net.d_input((sizes, [h[rows] for h in inputs]), d_Q[rows, None])
        return d_inputs[:, -d:]


def follow(target: Network, network: Network, tau: float) -> None:
    """(11.5), (12.15)  φ̄ ← φ̄ + τ (φ - φ̄) = (1 - τ) φ̄ + τ φ; the second form is an exact copy for τ = 1."""
    check.unit(tau=tau)
    target.theta[:] = (1 - tau) * target.theta + tau * network.theta
