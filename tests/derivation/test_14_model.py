"""§14 Model-based: (14.1) to (14.8), both sides of each."""

import itertools

import numpy as np
import pytest
from envs import Scripted
from exact import MEASURED, agree, random_case
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, Softmax, gradcheck
from scratchpg import planner as planning
from scratchpg.dynamics import Dynamics

SEEDS = st.integers(0, 2**32 - 1)


def random_data(rng, d, B=7, n=3):
    """States, actions (integers for d = 0), and next states."""
    actions = rng.standard_normal((B, d)) if d else rng.integers(2, size=B)
    return rng.standard_normal((B, n)), actions, 3 * rng.standard_normal((B, n))


def random_model(rng, d, dtype=np.float64, **options):
    model = Dynamics((3, d or 2, 4), rng, dtype=dtype, **options)
    model.theta[:] = rng.standard_normal(len(model.theta))
    return model


def random_mdp(rng, S=3, A=2, horizon=3, certain=False):
    """Random tables; the last state is terminal."""
    P = rng.dirichlet(np.full(S, 0.5), (S, A))
    if certain:
        P = np.eye(S)[P.argmax(axis=2)]
    start = np.append(rng.dirichlet(np.ones(S - 1)), 0)
    terminal = np.arange(S) == S - 1
    return FiniteMDP(start, P, rng.standard_normal((S, A, S)), horizon=horizon, terminal=terminal)


def all_policies(mdp):
    """All a_t(s), (H, S)."""
    S, A = mdp.transition.shape[:2]
    for actions in itertools.product(range(A), repeat=mdp.horizon * S):
        yield np.reshape(actions, (mdp.horizon, S))


def by_trajectories(mdp, actions, gamma):
    """J of a_t(s): the sum over all trajectories, each written out."""
    J, S = 0.0, len(mdp.start)
    for states in itertools.product(range(S), repeat=mdp.horizon + 1):
        p, G = mdp.start[states[0]], 0.0
        for t, (s, next_s) in enumerate(itertools.pairwise(states)):
            a = actions[t, s]
            p *= mdp.transition[s, a, next_s]
            G += gamma**t * mdp.reward[s, a, next_s]
        J += p * G
    return J


@pytest.mark.parametrize("d", [0, 2])
@given(SEEDS)
def test_eq_14_1_loss_and_gradient(d, seed):
    """L = mean_t |(Δ_t - μ_Δ)/σ_Δ - f_φ((s_t - μ_s)/σ_s, a_t)|², and its gradient by complex steps and differences."""
    rng = np.random.default_rng(seed)
    states, actions, next_states = data = random_data(rng, d)
    model = random_model(rng, d)
    model.normalize(states, next_states)
    delta, features = next_states - states, actions if d else np.eye(2)[actions]
    scales = states.mean(axis=0), states.std(axis=0), delta.mean(axis=0), delta.std(axis=0)
    agree(model.scales, np.array(scales))
    total = 0.0
    for s, a, change in zip(states, features, delta, strict=True):
        f = model.net(np.concatenate([(s - scales[0]) / scales[1], a])[None])[0]
        total += sum(((change - scales[2]) / scales[3] - f) ** 2)
    agree(model.mse(*data), total / len(states))

    def loss(theta):
        return Dynamics(model.sizes, theta=theta, scales=model.scales).mse(*data)

    gradient = model.mse_gradient(*data)
    steps = 1e-30j * np.eye(len(gradient))
    scale = max(1, abs(gradient).max())
    agree(gradient / scale, np.array([loss(model.theta + step).imag for step in steps]) / 1e-30 / scale)
    numeric = gradcheck.finite_difference(loss, model.theta.astype(np.longdouble))
    agree(gradient / scale, numeric / scale, "finite difference")


@given(SEEDS)
def test_eq_14_1_the_mean_is_all_that_a_squared_error_learns(seed):
    """[exact] Where the dynamics is random, ∇L = 0 at the mean of s' of every (s, a)."""
    rng = np.random.default_rng(seed)
    S, B = 3, 60
    s, next_s = rng.integers(S, size=B), rng.standard_normal((B, S))
    states = np.eye(S)[s]
    model = Dynamics((S, 1), dtype=np.float64)  # linear in one-hot states: a table
    mean = np.array([next_s[s == i].mean(axis=0) for i in range(S)])
    model.theta[: S * S] = (mean - np.eye(S)).ravel()
    model.theta[S * S :] = 0
    agree(model.mse_gradient(states, np.zeros((B, 1)), next_s), np.zeros(len(model.theta)))


@given(SEEDS)
def test_eq_14_1_counting_is_maximum_likelihood(seed):
    """P̂ = n(s,a,s')/n(s,a): the likelihood's gradient in the logits is 0 there; never tried: no move, no pay."""
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng)
    s, a, next_s = rng.integers(2, size=40), rng.integers(2, size=40), rng.integers(3, size=40)
    a[s == 1] = 0  # (1, 1) is never tried
    r = rng.standard_normal(40)
    model = mdp.counted(s, a, r, next_s)
    for i, j in [(0, 0), (0, 1), (1, 0)]:
        here = (s == i) & (a == j)
        p = model.transition[i, j][None]
        with np.errstate(divide="ignore"):
            scores = Softmax(np.log(p).repeat(here.sum(), axis=0)).d_log_prob(next_s[here])
        agree(scores.sum(axis=0), np.zeros(3))
        agree(p[0] @ model.reward[i, j], r[here].mean())
    assert model.transition[1, 1].tolist() == [0, 1, 0] and not model.reward[1, 1].any()


@given(SEEDS, st.sampled_from([0.0, 0.7, 1.0]))
def test_eq_14_2_optimal_values(seed, gamma):
    """V* is the best of all A^{S H} policies a_t(s), in every (t, s); Q* is followed by V*."""
    mdp = random_mdp(np.random.default_rng(seed), S=2, horizon=3)
    V, Q = mdp.optimal(gamma)
    agree(V[:-1], Q.max(axis=2))
    values = [mdp.followed(actions, gamma) for actions in all_policies(mdp)]
    assert len(values) == 2 ** (2 * 3)
    agree(V, np.max(values, axis=0))
    agree(V, mdp.followed(Q.argmax(axis=2), gamma))
    actions = Q.argmax(axis=2)
    agree(mdp.start @ V[0], by_trajectories(mdp, actions, gamma))


def imagined_by_hand(planner, state, plan):
    """(14.3) as it stands there, for one plan."""
    total = 0.0
    for model in planner.models:
        s = [np.asarray(state)]
        for k in range(len(plan)):
            s.append(model(s[k][None], plan[k : k + 1])[0])
            alive = not any(planner.terminal(x[None])[0] for x in s[: k + 1])
            total += planner.gamma**k * planner.reward(s[k][None], plan[k : k + 1], s[k + 1][None])[0] * alive
    return total / len(planner.models)


def planner_for(rng, d, **settings):
    """Two random models, a reward of all three arguments, an end that comes sometimes."""
    space = Box(-np.ones(d), 2 * np.ones(d), dtype=np.float64) if d else Discrete(2)
    weights = rng.standard_normal((3, 3))

    def reward(s, a, next_s):
        return s @ weights[0] + next_s @ weights[1] + np.sin(a.reshape(len(a), -1).sum(axis=1))

    settings = {"horizon": 4, "n_plans": 30, "n_elites": 5, "gamma": 0.9} | settings
    env, models = Scripted([(1, "terminated")], action_space=space), [random_model(rng, d) for _ in range(2)]
    return planning.Planner(env=env, models=models, reward=reward, terminal=lambda s: s[:, 0] > 1.5, **settings)


@pytest.mark.parametrize("d", [0, 2])
@given(SEEDS)
def test_eq_14_3_imagined_returns(d, seed):
    """R̂ of all plans at once is the double sum, plan by plan, step by step, model by model."""
    rng = np.random.default_rng(seed)
    planner, state = planner_for(rng, d), rng.standard_normal(3)
    plans = planning.draw(planner, planner.q, rng)
    expected = [imagined_by_hand(planner, state, plan) for plan in plans]
    agree(planning.imagined_returns(planner, state, plans), np.array(expected))


@given(SEEDS)
def test_eq_14_4_the_fit_is_the_zero_of_the_score(seed):
    """Σ_i Ψ_i ∇log q(a^i) = 0 at `fit`: in the logits of each step; in the mean and log σ of each step."""
    rng = np.random.default_rng(seed)
    discrete, box = planner_for(rng, 0), planner_for(rng, 2)
    plans = planning.draw(discrete, discrete.q, rng)
    q = planning.fit(discrete, plans)
    for k in range(discrete.horizon):
        with np.errstate(divide="ignore"):
            logits = np.log(q[k])[None].repeat(len(plans), axis=0)
        agree(Softmax(logits).d_log_prob(plans[:, k]).mean(axis=0), np.zeros(2))
    plans = planning.draw(box, box.q, rng)
    mean, std = planning.fit(box, plans)
    z = (plans - mean) / std
    agree((z / std).mean(axis=0), np.zeros_like(mean))
    agree((z**2 - 1).mean(axis=0), np.zeros_like(std))


@pytest.mark.parametrize("d", [0, 2])
@given(SEEDS)
def test_eq_14_4_rounds(d, seed):
    """Each round draws from the last fit, scores the plans as they are (clipped), and fits to the best of them."""
    planner, state = planner_for(np.random.default_rng(seed), d, n_rounds=3), np.zeros(3)
    found = planning.plan(planner, state, np.random.default_rng(seed))
    rng, q = np.random.default_rng(seed), planner.q
    for _ in range(3):
        plans = planning.draw(planner, q, rng)
        scores = planning.imagined_returns(planner, state, plans)
        elites = plans[sorted(range(len(plans)), key=lambda i: -scores[i])[:5]]
        q = np.stack([elites.mean(axis=0), elites.std(axis=0)]) if d else np.eye(2)[elites].mean(axis=0)
    agree(found, q[0] if d else q.argmax(axis=1))


@given(SEEDS)
def test_eq_14_4_random_shooting_is_one_round_with_one_elite(seed):
    """Of so many plans that all 2^4 are among them, it is the best by brute force."""
    rng = np.random.default_rng(seed)
    planner, state = planner_for(rng, 0, n_plans=1_000, n_elites=1, n_rounds=1), rng.standard_normal(3)
    every = np.indices([2] * 4).reshape(4, -1).T
    scores = planning.imagined_returns(planner, state, every)
    found = planning.plan(planner, state, rng)
    agree(planning.imagined_returns(planner, state, found[None])[0], scores.max())


def first_actions(mdp, gamma, horizon):
    """(14.5) by enumeration: a_t(s), (H, S), the first action of the best plan of at most so many steps."""
    actions = []
    for t in range(mdp.horizon):
        plans, R = mdp.plans(min(horizon, mdp.horizon - t), gamma)
        actions.append(plans[R.argmax(axis=0), 0])
    return np.array(actions)


@given(SEEDS, st.booleans())
def test_eq_14_5_between_the_best_plan_and_the_best_policy(seed, certain):
    """J of the best plan ≤ J(MPC, full horizon, true model) ≤ V*; all equal where nothing is random."""
    mdp = random_mdp(np.random.default_rng(seed), certain=certain)
    if certain:
        mdp = FiniteMDP([1, 0, 0], mdp.transition, mdp.reward, horizon=3, terminal=mdp.terminal)
    plans, R = mdp.plans(3, 0.9)
    sequences = np.array([by_trajectories(mdp, np.tile(plan[:, None], 3), 0.9) for plan in plans])
    agree(R @ mdp.start, sequences)
    best = sequences.max()
    J = mdp.start @ mdp.followed(first_actions(mdp, 0.9, 3), 0.9)[0]
    optimum = mdp.start @ mdp.optimal(0.9)[0][0]
    assert best - 1e-12 <= J <= optimum + 1e-12
    if certain:
        agree(best, J)
        agree(J, optimum)


def test_eq_14_5_a_short_horizon_cannot_tell_plans_apart():
    """Reward 1 per step, a road of 4 states that ends in a pit: nothing falls within 2 steps, all plans are equal."""
    P = np.zeros((5, 2, 5))
    P[0, 0, 0] = P[4, :, 4] = 1  # action 0 stays at the start, but only there
    P[range(1, 4), 0, range(2, 5)] = P[range(4), 1, range(1, 5)] = 1
    reward = np.ones((5, 2))
    mdp = FiniteMDP([1, 0, 0, 0, 0], P, reward, horizon=8, terminal=[0, 0, 0, 0, 1])
    assert np.ptp(mdp.plans(2, 1.0)[1][:, 0]) == 0 < np.ptp(mdp.plans(5, 1.0)[1][:, 0])
    assert mdp.followed(first_actions(mdp, 1.0, 8), 1.0)[0, 0] == mdp.optimal(1.0)[0][0, 0] == 8


def lemma(case, model):
    """Σ_t γ^t E_{d_t of the model}[(r̂ - r) + γ (P̂ - P) V_{t+1}]."""
    mdp, pi = case.mdp, case.policy(np.eye(case.mdp.start.size)).probabilities
    (V, _), d, total = mdp.values(case.policy, case.gamma), model.start, 0.0
    r, r_hat = ((m.transition * m.reward).sum(axis=2) for m in (mdp, model))
    for t in range(mdp.horizon):
        change = (r_hat - r) + case.gamma * (model.transition - mdp.transition) @ V[t + 1]
        total += case.gamma**t * d @ (pi * change).sum(axis=1)
        d = np.einsum("s,sa,san->n", d, pi, model.transition)
    return total


@given(SEEDS)
def test_eq_14_6_simulation_lemma(seed):
    """V̂_0 - V_0 by the values of both MDPs; with rewards in [0, 1] it is at most Σ_t (T - t) ε_t."""
    case, rng = random_case(seed, hidden=(3,)), np.random.default_rng(seed)
    mdp = case.mdp
    P = rng.dirichlet(np.ones(mdp.start.size), mdp.transition.shape[:2])
    arguments = {"horizon": mdp.horizon, "terminal": mdp.terminal}
    model = FiniteMDP(mdp.start, P, rng.standard_normal(P.shape), **arguments)
    gap = model.objective(case.policy, case.gamma) - mdp.objective(case.policy, case.gamma)
    agree(gap, lemma(case, model))

    r, pi, d = rng.random(P.shape), case.policy(np.eye(mdp.start.size)).probabilities, mdp.start
    mdp, model = (FiniteMDP(mdp.start, m.transition, r, **arguments) for m in (mdp, model))
    variation, bound = abs(model.transition - mdp.transition).sum(axis=2) / 2, 0.0
    for t in range(mdp.horizon):
        bound += (mdp.horizon - t) * d @ (pi * variation).sum(axis=1)
        d = np.einsum("s,sa,san->n", d, pi, model.transition)
    assert abs(model.objective(case.policy, 1.0) - mdp.objective(case.policy, 1.0)) <= bound + 1e-12


def every_sample(p, n):
    """All S^n samples of n draws from p (S,), and their probabilities."""
    draws = np.indices([len(p)] * n).reshape(n, -1).T
    return draws, p[draws].prod(axis=1)


@given(SEEDS, st.integers(1, 4))
def test_eq_14_7_error_of_a_count(seed, n):
    """E[(P̂ - P)²] = P(1 - P)/n, and so E[(V̂ - V)²] of one step is Var[r]/n: sums over all S^n samples."""
    mdp = random_mdp(np.random.default_rng(seed), A=1, horizon=1)
    P, r = mdp.transition[0, 0], mdp.reward[0, 0]
    squares, errors = np.zeros(3), 0.0
    for draws, p in zip(*every_sample(P, n), strict=True):
        model = mdp.counted(np.zeros(n, int), np.zeros(n, int), r[draws], draws)
        squares += p * (model.transition[0, 0] - P) ** 2
        errors += p * (model.optimal(1.0)[0][0, 0] - P @ r) ** 2
    agree(squares, P * (1 - P) / n)
    agree(errors, (P @ r**2 - (P @ r) ** 2) / n)


@given(SEEDS)
def test_eq_14_7_the_best_of_noisy_values_is_too_good(seed):
    """E[V̂*] ≥ V* ≥ E[V of π̂], over all samples of two draws of each of two actions."""
    mdp = random_mdp(np.random.default_rng(seed), horizon=1)
    P, r = mdp.transition[0], mdp.reward[0]
    V, estimate, followed = mdp.optimal(1.0)[0][0, 0], 0.0, 0.0
    for (x, p), (y, q) in itertools.product(*(zip(*every_sample(row, 2), strict=True) for row in P[:2])):
        actions, next_states = np.array([0, 0, 1, 1]), np.concatenate([x, y])
        model = mdp.counted(np.zeros(4, int), actions, r[actions, next_states], next_states)
        V_hat, Q_hat = model.optimal(1.0)
        estimate += p * q * V_hat[0, 0]
        followed += p * q * mdp.followed(Q_hat.argmax(axis=2), 1.0)[0, 0]
    assert estimate >= V - 1e-12 and followed <= V + 1e-12
    MEASURED["(14.7) E[V̂*] - V*, the largest"] = max(MEASURED.get("(14.7) E[V̂*] - V*, the largest", 0), estimate - V)


@given(SEEDS)
def test_eq_14_8_bootstrap(seed):
    """The mean of ∇L over all n^n bootstraps is ∇L of the data: on average a member learns from the data."""
    rng, n = np.random.default_rng(seed), 3
    data, model = random_data(rng, 2, B=n), random_model(rng, 2)
    own = np.indices([n] * n).reshape(n, -1).T
    gradients = [model.mse_gradient(*(x[rows] for x in data)) for rows in own]
    whole = model.mse_gradient(*data)
    scale = max(1, abs(whole).max())
    agree(np.mean(gradients, axis=0) / scale, whole / scale)


@given(SEEDS)
def test_eq_14_8_members_agree_where_there_are_data(seed):
    """Linear members, each at the optimum of its own bootstrap: their spread is larger far away than at the data."""
    rng, B = np.random.default_rng(seed), 40
    s, a = rng.standard_normal((B, 1)), rng.standard_normal((B, 1))
    x, y = np.hstack([s, a, np.ones((B, 1))]), s + rng.standard_normal((B, 1))
    members = []
    for rows in rng.integers(B, size=(20, B)):
        w = np.linalg.lstsq(x[rows], (y - s)[rows], rcond=None)[0]
        members.append(Dynamics((1, 1), theta=w.ravel()))
        agree(members[-1].mse_gradient(s[rows], a[rows], y[rows]), np.zeros(3))
    near, far = (np.std([m(c * np.ones((1, 1)), np.zeros((1, 1))) for m in members]) for c in (0, 10))
    assert near < far
