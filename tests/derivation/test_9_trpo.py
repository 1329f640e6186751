"""§9 TRPO: (9.1) to (9.8), both sides of each."""

import numpy as np
import pytest
from exact import agree, at, cases, derivative, random_case, small
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, GaussianPolicy, SoftmaxPolicy, gradcheck
from scratchpg.algorithms import trpo
from scratchpg.optim import conjugate_gradient, line_search

KINDS = [SoftmaxPolicy, GaussianPolicy]
both_kinds = pytest.mark.parametrize("kind", KINDS)


def elsewhere(policy, rng, distance=1.0):
    """The same policy at another θ."""
    return at(policy, policy.theta + distance * rng.standard_normal(len(policy.theta)))


def true_advantages(case, batch):
    """A_π(s_t, a_t) of the case's policy along any trajectories, (T, K): indexed by t, as there is a horizon."""
    V, Q = case.mdp.values(case.policy, case.gamma)
    t, s = np.arange(len(batch.actions))[:, None], batch.states[:-1].argmax(axis=2)
    return (Q[t, s, batch.actions] - V[t, s]) * batch.valid


@given(cases())
def test_eq_9_1_performance_difference(case):
    """J(θ') - J(θ) = E_{τ~π_θ'}[ Σ_t γ^t A_π(s_t,a_t) ], for any two policies."""
    other = elsewhere(case.policy, case.rng, 3.0)
    batch = case.mdp.trajectories(other)
    difference = case.mdp.objective(other, case.gamma) - case.mdp.objective(case.policy, case.gamma)
    agree(difference, batch.probability @ (case.discounts * true_advantages(case, batch)).sum(axis=0))


def weighted_rows(case):
    """Rows whose mean is E[ Σ_t γ^t … ] under the old policy, with its true advantages."""
    A = case.batch.probability * case.discounts * true_advantages(case, case.batch)
    states, actions, A = case.batch.samples(A)
    return states, actions, case.policy(states).log_prob(actions), len(A) * A


@given(small)
def test_eq_9_2_surrogate(case):
    """L(θ') = -mean_t r_t(θ') A_t: literally, its gradient everywhere, and at θ' = θ the gradient of -J."""
    rows, other = weighted_rows(case), elsewhere(case.policy, case.rng)
    states, actions, old_log_prob, A = rows
    taken = other(states).probabilities[np.arange(len(A)), actions]
    agree(trpo.loss(other, *rows), -np.mean(taken / np.exp(old_log_prob) * A))
    agree(trpo.gradient(other, *rows), derivative(lambda policy: trpo.loss(policy, *rows), other))
    agree(trpo.gradient(case.policy, *rows), -case.gradient)


def test_eq_9_2_is_right_to_first_order_and_no_further():
    """L(θ + h d) + J(θ + h d) - J(θ) falls by 4 when h is halved."""
    case = random_case(1, S=3, A=2, horizon=3)
    rows, d = weighted_rows(case), case.rng.standard_normal(len(case.policy.theta))

    def gap(h):
        other = at(case.policy, case.policy.theta + h * d)
        risen = case.mdp.objective(other, case.gamma) - case.mdp.objective(case.policy, case.gamma)
        return trpo.loss(other, *rows) + risen

    assert abs(gap(0.1)) > 1e-5
    assert gap(1e-3) / gap(5e-4) == pytest.approx(4, rel=1e-2)


def random_policy(kind, seed, hidden=(3,), dtype=float):
    """A policy at a random θ, and states for it."""
    rng = np.random.default_rng(seed)
    policy = kind((2, *hidden, 3), dtype=dtype)
    policy.theta[:] = 0.5 * rng.standard_normal(len(policy.theta))
    return policy, rng.standard_normal((5, 2)), rng


def moved(policy, theta):
    """The same kind of policy at another θ."""
    return type(policy)(policy.sizes, theta=theta)


def columns(policy, states):
    """F (P, P), column by column."""
    pi = policy(states)
    return np.array([trpo.fisher_product(policy, pi, e) for e in np.eye(len(policy.theta))]).T


def d_kl_new(old, new):
    """∂KL(old ‖ new)/∂η of the new one: -E_{a~old}[score of new at a]."""
    if hasattr(new, "logits"):
        return new.probabilities - old.probabilities
    apart = (new.mean - old.mean) / new.std**2
    return np.concatenate([apart, 1 - (old.std**2 + (new.mean - old.mean) ** 2) / new.std**2], axis=1)


def divergence_gradients(policy, states):
    """∇D(θ') where the old policy comes first, as in (9.3), and where the new one does."""
    old = policy(states)

    def old_first(new):
        return new.backward(new(states), d_kl_new(old, new(states)) / len(states))

    def new_first(new):
        return new.backward(new(states), new(states).d_kl(old) / len(states))

    return old_first, new_first


@both_kinds
@pytest.mark.parametrize("seed", range(3))
def test_eq_9_3_divergence(kind, seed):
    """D(θ) = 0, ∇D(θ) = 0, ∇²D(θ) = F, by a complex step in ∇D, in either argument."""
    policy, states, _ = random_policy(kind, seed)
    F = columns(policy, states)
    assert (policy(states).kl(policy(states)) == 0).all()
    for gradient in divergence_gradients(policy, states):
        agree(gradient(policy), np.zeros(len(policy.theta)))
        steps = np.eye(len(policy.theta)) * 1e-30j
        agree(np.array([gradient(moved(policy, policy.theta + h)).imag / 1e-30 for h in steps]).T, F)


@both_kinds
def test_eq_9_3_old_first_is_another_constraint(kind):
    """∇D away from θ, by differences of the value in extended precision: the old policy comes first, and it matters."""
    policy, states, rng = random_policy(kind, 0, dtype=np.longdouble)
    other = moved(policy, policy.theta + 0.3 * rng.standard_normal(len(policy.theta)))
    old = policy(states)
    differences = [
        gradcheck.finite_difference(lambda theta: trpo.mean(old.kl(moved(policy, theta)(states))), other.theta),
        gradcheck.finite_difference(lambda theta: trpo.mean(moved(policy, theta)(states).kl(old)), other.theta),
    ]
    for gradient, difference in zip(divergence_gradients(policy, states), differences, strict=True):
        agree(gradient(other), difference, "finite difference")
    assert abs(differences[0] - differences[1]).max() > 1e-3


def outer_products(policy, states):
    """F literally: mean_t E_{a~π}[ ∇log π ∇log πᵀ ], by a sum over actions, or by Gauss-Hermite, exact for these."""
    pi, F = policy(states), 0
    for i, state in enumerate(states):
        if hasattr(pi, "logits"):
            actions, weights = np.arange(3), pi.probabilities[i]
        else:
            nodes, w = np.polynomial.hermite_e.hermegauss(6)
            grid = np.stack(np.meshgrid(nodes, nodes, nodes), axis=-1).reshape(-1, 3)
            weights = np.prod(np.stack(np.meshgrid(w, w, w), axis=-1).reshape(-1, 3), axis=1) / (2 * np.pi) ** 1.5
            actions = pi.mean[i] + pi.std[i] * grid
        for a, weight in zip(actions, weights, strict=True):
            here = policy(state[None])
            score = policy.backward(here, here.d_log_prob(np.array([a])))
            F = F + weight * np.outer(score, score) / len(states)
    return F


@both_kinds
@pytest.mark.parametrize("rows", [1, 5])
def test_eq_9_4_fisher_product(kind, rows):
    """F v = mean_t J_tᵀ(M_t(J_t v)) is F = mean_t E[∇log π ∇log πᵀ] times v, symmetric, and has no negative eigenvalue.
    With one row, too: no score of a sampled action could make more than one direction of it."""
    policy, states, rng = random_policy(kind, rows)
    F = columns(policy, states[:rows])
    agree(F, outer_products(policy, states[:rows]))
    agree(F, F.T)
    eigenvalues = np.linalg.eigvalsh(F)
    assert eigenvalues[0] >= -1e-12 * eigenvalues[-1] and np.linalg.matrix_rank(F) > 1
    v = rng.standard_normal(len(policy.theta))
    agree(trpo.fisher_product(policy, policy(states[:rows]), v), F @ v)


@both_kinds
def test_eq_9_4_jvp_is_the_transpose_of_backward(kind):
    """⟨d, J v⟩ = ⟨Jᵀ d, v⟩."""
    policy, states, rng = random_policy(kind, 2)
    pi, v = policy(states), rng.standard_normal(len(policy.theta))
    d = rng.standard_normal(pi.parameters.shape)
    agree((d * policy.jvp(pi, v)).sum(), policy.backward(pi, d) @ v)


def system(kind, damping, seed=0):
    """F + λI, dense and as a product, and a g in the range of F."""
    policy, states, rng = random_policy(kind, seed, hidden=())
    F = columns(policy, states) + damping * np.eye(len(policy.theta))
    return F, lambda v: trpo.fisher_product(policy, policy(states), v) + damping * v, F @ rng.standard_normal(len(F))


@both_kinds
def test_eq_9_5_conjugate_gradients_solve_it(kind):
    """(F + λI) x = g after P iterations; for λ = 0, too, though F is singular: the residual is 0."""
    F, product, g = system(kind, damping=0.1)
    x = np.linalg.solve(F, g)
    agree(conjugate_gradient(product, g, len(g), tolerance=0) / abs(x).max(), x / abs(x).max())
    F, product, g = system(kind, damping=0.0)
    assert np.linalg.matrix_rank(F) < len(g) or kind is GaussianPolicy
    agree(product(conjugate_gradient(product, g, len(g), tolerance=1e-26)), g)


@both_kinds
def test_eq_9_5_each_iterate_is_the_best_of_its_krylov_space(kind):
    """x_k minimises ½xᵀ(F+λI)x - gᵀx over span{g, Fg, …, F^{k-1}g}."""
    F, product, g = system(kind, damping=0.1)
    for k in range(1, 6):
        basis, _ = np.linalg.qr(np.stack([np.linalg.matrix_power(F, i) @ g for i in range(k)], axis=1))
        best = basis @ np.linalg.solve(basis.T @ F @ basis, basis.T @ g)
        agree(conjugate_gradient(product, g, k, tolerance=0), best)


@both_kinds
def test_eq_9_6_length_of_the_step(kind):
    """D(θ + √(2δ/xᵀFx) x) = δ + O(δ^{3/2}): the relative error falls like √δ, whatever the damping."""
    policy, states, rng = random_policy(kind, 3)
    old, g = policy(states), columns(policy, states) @ rng.standard_normal(len(policy.theta))
    for damping in 1e-3, 1.0:
        errors = []
        for delta in 1e-4, 1e-6:
            step = trpo.natural_step(policy, old, g, delta, 10, damping)
            errors.append(old.kl(moved(policy, policy.theta + step)(states)).mean() / delta - 1)
        assert 0 < abs(errors[0]) < 0.1
        assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)


@both_kinds
def test_eq_9_6_no_step_without_a_gradient(kind):
    """xᵀFx ≤ 0: no step."""
    policy, states, _ = random_policy(kind, 3)
    step = trpo.natural_step(policy, policy(states), np.zeros(len(policy.theta)), 0.01, 10, 0.1)
    assert not step.any()


@given(cases(max_trajectories=60), st.floats(-2, 2), st.floats(0.001, 0.5), st.integers(1, 6))
def test_eq_9_7_line_search(case, length, delta, tries):
    """θ_j = θ + αʲ step for the first j with L(θ_j) < L(θ) and D(θ_j) ≤ δ; if none, θ stays, bit for bit."""
    rows, policy = weighted_rows(case), at(case.policy, case.policy.theta.copy())
    old, before = policy(rows[0]), trpo.loss(policy, *rows)
    step = length * (0.2 * case.rng.standard_normal(len(policy.theta)) - trpo.gradient(policy, *rows))
    expected = tries, case.policy.theta
    for j in reversed(range(tries)):
        theta = case.policy.theta + 0.7**j * step
        new = at(policy, theta)
        if trpo.loss(new, *rows) < before and np.mean(old.kl(new(rows[0]))) <= delta:
            expected = j, theta
    j = line_search(policy.theta, step, lambda: trpo.accepts(policy, old, before, delta, *rows), 0.7, tries)
    assert j == expected[0] and (policy.theta == expected[1]).all()


def test_eq_9_8_the_natural_gradient_of_a_table_is_the_advantage():
    """F⁺∇J moves the logits of each state by A_π(s,·), up to a shift, whatever the state distribution."""
    rng = np.random.default_rng(0)
    Q = rng.standard_normal((3, 4))
    for visits in [1, 1, 1], [6, 1, 3]:
        states = np.repeat(np.eye(3), visits, axis=0)
        mdp = FiniteMDP(states.mean(axis=0), np.tile(np.eye(3)[:, None], (1, 4, 1)), Q, horizon=1)
        policy = SoftmaxPolicy((3, 4), rng, dtype=float)
        policy.theta[:] = rng.standard_normal(len(policy.theta))
        pi = policy(states)

        def product(v, policy=policy, pi=pi):
            return trpo.fisher_product(policy, pi, v)

        x = conjugate_gradient(product, mdp.gradient(policy, 1.0), len(policy.theta), tolerance=1e-28)
        every = policy(np.eye(3))
        moves = policy.jvp(every, x)
        A = Q - (every.probabilities * Q).sum(axis=1, keepdims=True)
        agree(moves - moves.mean(axis=1, keepdims=True), A - A.mean(axis=1, keepdims=True))
