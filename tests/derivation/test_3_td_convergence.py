"""§3, continued: does TD converge? (3.9) to (3.12), both sides of each, by the functions of the study."""

import importlib
import itertools
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from exact import agree, cases
from helpers import SEEDS
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, Softmax, Value
from scratchpg.returns import discounted, td_errors, td_targets

EXAMPLES = Path(__file__).parents[2] / "examples"
with patch.object(sys, "path", [str(EXAMPLES), *sys.path]), patch.dict(os.environ):
    study = importlib.import_module("td_convergence")


def chain(seed, S=3, gamma=0.7):
    """A chain with two successors of each state, its rewards r(s, s'), V_π, and how often each state comes up."""
    rng = np.random.default_rng(seed)
    P, successors = np.zeros((S, S)), np.argsort(rng.random((S, S)))[:, :2]
    P[np.arange(S)[:, None], successors] = rng.dirichlet(np.ones(2), S)
    r, d = rng.standard_normal((S, S)), rng.dirichlet(np.ones(S))
    mdp = FiniteMDP(np.eye(S)[0], P[:, None], r[:, None], horizon=1)
    V = mdp.stationary_values(Softmax(np.zeros((S, 1))), gamma)
    return SimpleNamespace(P=P, r=r, d=d, V=V, gamma=gamma, rng=rng, mean_r=(P * r).sum(axis=1))


def after_step(x, V, s, next_s, alpha):
    """(3.9) of one transition, by the library's TD error."""
    V = V.copy()
    V[s] += alpha * td_errors(x.r[[s], next_s], V[[s]], V[[next_s]], [False], x.gamma)[0]
    return V


def transitions(x):
    """(s, s', the probability d(s) p(s'|s)) of all that are possible."""
    return [(s, next_s, x.d[s] * x.P[s, next_s]) for s, next_s in np.argwhere(x.P > 0)]


def errors(x, e, alphas):
    """√E|e_k|², k = 0 … len(alphas), by the study's recursion."""
    G = study.generators(x.P, x.r, x.V, x.d, x.gamma)
    return study.root_mean_square(G, e, np.append(alphas, 0.0)[:, None])[:, 0]


def stationary(P):
    """d = d P, as the null vector of Pᵀ - I."""
    S = len(P)
    return np.linalg.lstsq(np.vstack([P.T - np.eye(S), np.ones(S)]), np.append(np.zeros(S), 1), rcond=None)[0]


@given(cases())
def test_eq_3_9_is_the_step_of_3_8_on_average(case):
    """E[V_{k+1}] = V + α d (B V - V), state by state: a step on samples goes where the step in expectation goes."""
    mdp, gamma, S = case.mdp, case.gamma, case.mdp.start.size
    V, d, alpha, mean = case.rng.standard_normal(S), case.rng.dirichlet(np.ones(S)), 0.3, np.zeros(S)
    d[mdp.terminal] = 0  # where no step is taken
    pi = case.policy(np.eye(S)).probabilities
    for s, a, next_s in np.ndindex(*mdp.transition.shape):
        delta = td_errors([mdp.reward[s, a, next_s]], [V[s]], [V[next_s]], [mdp.terminal[next_s]], gamma)
        mean += d[s] * pi[s, a] * mdp.transition[s, a, next_s] * alpha * delta * np.eye(S)[s]
    agree(mean, alpha * d * (mdp.bellman(case.policy, V, gamma) - V))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_eq_3_9_with_steps_of_1_over_k_is_the_mean(rewards):
    """γ = 0 and α_k = 1/(k + 1): V_k is the mean of the rewards so far, and E|e_k|² = Var[r]/k."""
    V = np.zeros(1)
    for k, r in enumerate(rewards):
        V += td_errors([r], V, [0.0], [False], 0.0) / (k + 1)
        agree(V[0], np.mean(rewards[: k + 1]))
    x = SimpleNamespace(P=np.full((2, 2), 0.5), r=np.array([[0.0, 2.0]] * 2), d=[1.0, 0.0], V=np.ones(2), gamma=0.0)
    found = errors(x, np.array([-1.0, 0.0]), 1 / np.arange(1, 9))
    agree(found[1:] ** 2, 1 / np.arange(1, 9))  # rewards 0 and 2 are equally likely: Var = 1


@given(st.floats(0, 0.9), st.sampled_from([1.0, 1.5, 2.0]))
def test_eq_3_9_steps_must_not_end_too_early(gamma, omega):
    """One state, no noise: |e_k| = Π(1 - α_k (1 - γ)), which goes to 0 only if Σ α_k = ∞."""
    x = SimpleNamespace(P=np.ones((1, 1)), r=np.ones((1, 1)), d=[1.0], V=np.array([1 / (1 - gamma)]), gamma=gamma)
    alphas = 0.5 * np.arange(1, 501) ** -omega
    e = errors(x, -x.V, alphas) / x.V
    agree(e[-1], np.prod(1 - alphas * (1 - gamma)))
    if omega == 1:
        assert e[-1] < 2 * 500 ** (-0.5 * (1 - gamma))  # Σ 1/k ~ log k
    else:
        assert e[-1] > 0.5 * np.exp(-0.5 * 2.7 * (1 - gamma))  # Σ k^-1.5 < 2.7: less of it goes


@given(SEEDS)
def test_eq_3_10_one_step(seed):
    """e_{k+1} = (I + α M) e_k + α ξ 1_s is (3.9), less V_π on both sides; and E[ξ] is 0 in each state."""
    x, alpha = chain(seed), 0.4
    V, mean = x.rng.standard_normal(3), np.zeros(3)
    for s, next_s, p in transitions(x):
        unit = np.eye(3)
        M, xi = np.outer(unit[s], x.gamma * unit[next_s] - unit[s]), x.r[s, next_s] + x.gamma * x.V[next_s] - x.V[s]
        e = (unit + alpha * M) @ (V - x.V) + alpha * xi * unit[s]
        agree(after_step(x, V, s, next_s, alpha), x.V + e)
        mean[s] += p * xi
    agree(mean, np.zeros(3))


@given(SEEDS)
def test_eq_3_10_all_sequences(seed):
    """E|e_k|² over all 6^k sequences of k transitions, k = 1 … 4, by the TD errors of the library."""
    x, alphas = chain(seed), [0.9, 0.5, 0.4, 0.1]
    V = x.rng.standard_normal(3)
    reached = [(V, 1.0)]
    expected = [abs(V - x.V) @ abs(V - x.V)]
    for alpha in alphas:
        steps = itertools.product(reached, transitions(x))
        reached = [(after_step(x, W, s, next_s, alpha), p * q) for (W, p), (s, next_s, q) in steps]
        expected.append(sum(p * ((W - x.V) ** 2).sum() for W, p in reached))
    agree(len(reached), 6**4)
    agree(errors(x, V - x.V, alphas) ** 2, np.array(expected))


@given(SEEDS, st.floats(0.2, 0.6))
def test_eq_3_10_floor_of_a_constant_step(seed, alpha):
    """The recursion stays where (α G_1 + α² G_2) u = 0, and for one state without bootstrapping that is α/(2-α) Var."""
    x = chain(seed)
    x.d = np.full(3, 1 / 3)
    G = study.generators(x.P, x.r, x.V, x.d, x.gamma)
    A = alpha * G[0] + alpha**2 * G[1]
    u = np.linalg.lstsq(np.vstack([A, np.eye(16)[15]]), np.eye(17)[16], rcond=None)[0]
    agree(errors(x, -x.V, np.full(1_500, alpha))[-1] ** 2, u[[0, 5, 10]].sum())
    x = SimpleNamespace(P=np.full((2, 2), 0.5), r=np.array([[0.0, 2.0]] * 2), d=[1.0, 0.0], V=np.ones(2), gamma=0.0)
    agree(errors(x, np.zeros(2), np.full(200, alpha))[-1] ** 2, alpha / (2 - alpha))


@pytest.mark.parametrize(
    ("omega", "tau", "exponent"),
    [(0.0, 50, 0.0), (0.3, 50, -0.15), (0.7, 50, -0.35), (1.0, 100, -0.5), (1.0, 5, None), (2.0, 5, 0.0)],
)
def test_eq_3_10_rates(omega, tau, exponent):
    """√E|e_k|² ~ k^(-ω/2) for 0 ≤ ω < 1; k^(-1/2) for ω = 1, or, if that is slower, k^(-ατ min -Re λ(A))."""
    x = chain(0)
    x.d = np.full(3, 1 / 3)
    found = errors(x, -x.V, 0.5 * (1 + np.arange(20_000) / tau) ** -omega)
    if exponent is None:
        exponent = 0.5 * tau * np.linalg.eigvals(study.linear(x.P, x.mean_r, x.gamma, x.d, np.eye(3))[0]).real.max()
        assert exponent > -0.4
    assert np.log10(found[-1] / found[-1 - 18_000]) == pytest.approx(exponent, abs=0.02)


def features(x):
    """X (3, 3): two random columns and one of 1, what a linear Value has for its W and b."""
    return np.column_stack([x.rng.standard_normal((3, 2)), np.ones(3)])


@given(SEEDS)
def test_eq_3_11_literal(seed):
    """A = Σ_{s,s'} d(s) p(s'|s) x(s) (γ x(s') - x(s))ᵀ and b = Σ_{s,s'} d(s) p(s'|s) r(s, s') x(s)."""
    x = chain(seed)
    X = features(x)
    A, b = study.linear(x.P, x.mean_r, x.gamma, x.d, X)
    agree(A, sum(p * np.outer(X[s], x.gamma * X[n] - X[s]) for s, n, p in transitions(x)))
    agree(b, sum(p * x.r[s, n] * X[s] for s, n, p in transitions(x)))


@given(SEEDS)
def test_eq_3_11_is_the_step_of_a_linear_value(seed):
    """E[Δw] = α (b + A w): the semi-gradient of the library, which is -2 δ ∇V, over all transitions."""
    x = chain(seed)
    X = features(x)
    value, step = Value((2,), theta=x.rng.standard_normal(3)), np.zeros(3)
    A, b = study.linear(x.P, x.mean_r, x.gamma, x.d, X)
    for s, n, p in transitions(x):
        target = td_targets(x.r[[s], n], value(X[[n], :2]), [False], x.gamma)
        step -= p * value.mse_gradient(X[[s], :2], target)
    agree(step, 2 * (b + A @ value.theta))


@given(SEEDS)
def test_eq_3_11_a_table_comes_to_the_value(seed):
    """-A⁻¹ b of a table is V_π, whatever d is."""
    x = chain(seed)
    x.d = 0.1 + 0.7 * x.d
    A, b = study.linear(x.P, x.mean_r, x.gamma, x.d, np.eye(3))
    agree(-np.linalg.solve(A, b), x.V)


@given(SEEDS, st.floats(0, 0.99))
def test_eq_3_11_on_policy_it_converges(seed, gamma):
    """d = d P: wᵀ A w < 0 for all X w ≠ 0, so that every Re λ(A) < 0."""
    rng = np.random.default_rng(seed)
    P, X = rng.dirichlet(np.ones(4), 4), rng.standard_normal((4, 2))
    d = stationary(P)
    agree(d @ P, d)
    A, _ = study.linear(P, np.zeros(4), gamma, d, X)
    assert np.linalg.eigvalsh(A + A.T).max() < 0 and np.linalg.eigvals(A).real.max() < 0


@given(SEEDS)
def test_eq_3_11_the_sign_decides(seed):
    """w_k - w* = (I + αA)^k (w_0 - w*): for small α it goes to 0 or not as the largest Re λ(A) says."""
    rng = np.random.default_rng(seed)
    P, X, d, r = rng.dirichlet(np.ones(4), 4), rng.standard_normal((4, 2)), rng.dirichlet(0.3 * np.ones(4)), np.ones(4)
    A, b = study.linear(P, r, 0.99, d, X)
    decisive = np.linalg.eigvals(A).real.max()
    w, fixed = rng.standard_normal(2), -np.linalg.solve(A, b)
    alpha = 0.1 * abs(decisive) / abs(np.linalg.eigvals(A)).max() ** 2  # so that |1 + αλ| < 1 where Re λ < 0
    left = np.linalg.matrix_power(np.eye(2) + alpha * A, 4)
    expected = w
    for _ in range(4):
        expected = expected + alpha * (b + A @ expected)
    scale = max(1, abs(fixed).max())
    agree((expected - fixed) / scale, left @ (w - fixed) / scale)
    assert (abs(np.linalg.eigvals(np.eye(2) + alpha * A)).max() < 1) == (decisive < 0)


@given(st.floats(0, 1))
def test_eq_3_12_the_four_signs(gamma):
    """A = (6γ - 5)/2 with all three; -5/2, (γ - 1)/2 and 4 (γ - 1) where one is taken away."""
    agree(study.triad(gamma), [(6 * gamma - 5) / 2, -5 / 2, (gamma - 1) / 2, 4 * (gamma - 1)])


@given(st.floats(0, 1), st.floats(0.01, 0.2))
def test_eq_3_12_w_grows(gamma, alpha):
    """Ten expected updates of V = (w, 2w), by the library's TD errors: each multiplies w by 1 + α (6γ - 5)/2."""
    w = 1.0
    for _ in range(10):
        delta = td_errors([0.0, 0.0], [w, 2 * w], [2 * w, 2 * w], [False, False], gamma)
        w += alpha * np.mean(delta * [1.0, 2.0])
    agree(w, (1 + alpha * (6 * gamma - 5) / 2) ** 10)
    assert (w > 1) == (gamma > 5 / 6) or abs(gamma - 5 / 6) < 1e-12


def test_eq_3_12_without_bootstrapping():
    """The target G_t = 0, of any number of steps: w ← w - 5α/2 w."""
    w, alpha = 1.0, 0.1
    G = discounted(np.zeros((5, 2)), 0.99)[0]
    w += alpha * np.mean((G - [w, 2 * w]) * [1.0, 2.0])
    agree(w, 1 + alpha * study.triad(0.99)[1])
