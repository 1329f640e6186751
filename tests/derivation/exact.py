"""What the tests of the derivation share: random finite MDPs, exact expectations, and one comparison.

Every expectation is a sum over all trajectories, so no test here needs luck, and none allows for it: the two sides of
an equation are compared absolutely.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
from helpers import count_trajectories
from hypothesis import strategies as st

from scratchpg import FiniteMDP, SoftmaxPolicy, Value, gradcheck, reinforce

TOLERANCE = {"both analytic": 1e-12, "finite difference": 1e-10}
WORST = {}  # kind: (the worst disagreement so far, in which test)
MEASURED = {}  # what a test found out and a reader may like to know, for the end of the run


def agree(left, right, kind="both analytic"):
    """The two sides of an equation are equal, absolutely: same shape, no element further apart than TOLERANCE."""
    assert np.shape(left) == np.shape(right), f"{np.shape(left)} against {np.shape(right)}"
    error = float(abs(np.subtract(left, right)).max(initial=0))
    if not error <= WORST.get(kind, (0.0, ""))[0]:
        WORST[kind] = error, os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].removesuffix(" (call)")
    assert error <= TOLERANCE[kind], f"the two sides differ by {error:.3g}:\n{left}\n{right}"


def derivative(f, network):
    """∂f(network)/∂θ_i = Im f(θ + ih e_i) / h for h = 1e-30, exact to rounding: no difference is taken, none cancels.

    f may return an array; the last axis of the result is that of θ.
    """
    columns = []
    for i in range(len(network.theta)):
        theta = network.theta.astype(complex)
        theta[i] += 1e-30j
        columns.append(np.imag(f(at(network, theta))) / 1e-30)
    return np.stack(columns, axis=-1)


def difference(f, network):
    """The same by finite differences in extended precision, for what has kinks (a step off the real line would not
    see them)."""
    return gradcheck.finite_difference(lambda theta: f(at(network, theta)), network.theta.astype(np.longdouble))


def at(network, theta):
    """The same network with other parameters (not a copy of them)."""
    return type(network)(network.sizes, theta=theta)


@dataclass
class Case:
    """A finite MDP and a policy, with everything that the derivation speaks of."""

    mdp: FiniteMDP
    policy: SoftmaxPolicy
    value: Value  # any V_φ, as wrong as can be
    gamma: float
    rng: np.random.Generator
    recipe: str  # the call that makes this case

    @cached_property
    def batch(self):
        """All trajectories τ; `batch.probability` is p(τ|θ)."""
        return self.mdp.trajectories(self.policy)

    @property
    def K(self):
        """The number of trajectories."""
        return len(self.batch.probability)

    @cached_property
    def discounts(self):
        """γ^t, (T, 1)."""
        return self.gamma ** np.arange(self.mdp.horizon)[:, None]

    @cached_property
    def gradient(self):
        """∇J(θ), by recursion."""
        return self.mdp.gradient(self.policy, self.gamma)

    def expectation(self, weights):
        """E[ Σ_t Ψ_t ∇log π_θ(a_t|s_t) ] for weights Ψ (T, K): minus what `reinforce.gradient` makes of each
        trajectory, weighted by p(τ|θ). It is linear in its weights, so one call does it for all."""
        rows = self.batch.samples(self.batch.probability * weights)
        return -reinforce.gradient(self.policy, *rows, episodes=1)

    def estimates(self, weights, tuples=None):
        """ĝ = (1/N) Σ_n Σ_t Ψ_t ∇log π_θ(a_t|s_t), one row for each tuple of N trajectories, (…, P). The default is
        N = 1 and every trajectory. weights: Ψ (T, K), or one (T, N) per tuple."""
        tuples = np.arange(self.K)[:, None] if tuples is None else tuples
        rows = []
        for i, n in enumerate(tuples):
            valid, psi = self.batch.valid[:, n], weights[i] if isinstance(weights, list) else weights[:, n]
            states, actions = self.batch.states[:-1, n][valid], self.batch.actions[:, n][valid]
            rows.append(-reinforce.gradient(self.policy, states, actions, psi[valid], episodes=len(n)))
        return np.array(rows)

    def variance(self, weights):
        """Var[ĝ] of the one-trajectory estimate, summed over the components of θ."""
        g, p = self.estimates(weights), self.batch.probability
        return p @ (g**2).sum(axis=1) - ((p @ g) ** 2).sum()

    def values(self):
        """V_φ(s_t) and V_φ(s_{t+1}), (T, K) each."""
        v = self.value(self.batch.states)
        return v[:-1], v[1:]

    def true_values(self):
        """V_t(s_t) and V_{t+1}(s_{t+1}), (T, K) each: with a horizon the true value depends on t."""
        V, _ = self.mdp.values(self.policy, self.gamma)
        v = V[np.arange(self.mdp.horizon + 1)[:, None], self.batch.states.argmax(axis=2)]
        return v[:-1], v[1:]

    def first_update(self, chapter, value=None, **options):
        """What `chapter.train` makes of all the trajectories, once each, as the episodes it collects: the arguments of
        its first call of `chapter.gradient`, the weights as Ψ (T, K), and φ as it was at that moment."""
        calls = []

        class Enumeration:
            steps, episodes, n_envs = 0, 0, self.K
            collect = collect_episodes = staticmethod(lambda _: self.batch)
            progress = staticmethod(lambda **_: SimpleNamespace(steps=0))

        def spy(policy, states, actions, *weights, **kwargs):
            psi = np.zeros(self.batch.valid.shape)
            psi[self.batch.valid] = weights[-1]
            phi = None if value is None else value.theta.copy()
            calls.append(SimpleNamespace(rows=(states, actions), weights=psi, phi=phi, kwargs=kwargs))
            return gradient(policy, states, actions, *weights, **kwargs)

        gradient, policy = chapter.gradient, at(self.policy, self.policy.theta.copy())
        networks = [policy] if value is None else [policy, value]
        with patch.object(chapter, "Collector", lambda *_: Enumeration()), patch.object(chapter, "gradient", spy):
            next(chapter.train(self.mdp, *networks, gamma=self.gamma, **options))
        for taken, row in zip(calls[0].rows, self.batch.samples(), strict=True):
            assert np.array_equal(taken, row)
        return calls[0]


def random_case(seed, S=3, A=2, horizon=3, gamma=0.7, hidden=(), max_trajectories=20_000):
    """An MDP with random tables, some of its transitions impossible and some of its states terminal; a random policy
    and a random value on it. The horizon shrinks until there are at most max_trajectories."""
    recipe = f"random_case({seed=}, {S=}, {A=}, {horizon=}, {gamma=}, {hidden=}, {max_trajectories=})"
    rng = np.random.default_rng(seed)
    transition = rng.random((S, A, S)) * (rng.random((S, A, S)) < 0.7)
    transition[np.arange(S), :, rng.integers(S, size=S)] += 0.1
    terminal = rng.random(S) < 0.3
    terminal[rng.integers(S)] = False
    start = (rng.random(S) + 0.1) * ~terminal
    reward = rng.standard_normal((S, A, S) if rng.random() < 0.5 else (S, A))
    tables = start / start.sum(), transition / transition.sum(axis=2, keepdims=True), reward
    while count_trajectories(mdp := FiniteMDP(*tables, horizon=horizon, terminal=terminal)) > max_trajectories:
        horizon -= 1
    policy = SoftmaxPolicy((S, *hidden, A), dtype=np.float64)
    policy.theta[:] = rng.standard_normal(len(policy.theta))
    return Case(mdp, policy, Value((S, *hidden), rng, dtype=np.float64), gamma, rng, recipe)


@st.composite
def cases(draw, max_trajectories=2_000, max_gamma=1.0, max_horizon=4):
    """Random cases: S 1-3, A 2-3, horizon 1-4, γ in [0, 1], with and without a hidden layer."""
    return random_case(
        seed=draw(st.integers(0, 2**32 - 1)),
        S=draw(st.integers(1, 3)),
        A=draw(st.integers(2, 3)),
        horizon=draw(st.integers(1, max_horizon)),
        gamma=draw(st.sampled_from([0.0, max_gamma]) | st.floats(0, max_gamma, allow_subnormal=False)),
        hidden=draw(st.sampled_from([(), (3,)])),
        max_trajectories=max_trajectories,
    )


small = cases(max_trajectories=60)
