"""§7, the notes: (7.1) to (7.4), each as exactly as it holds, by the functions whose numbers the studies print."""

import importlib
import os
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from exact import MEASURED, agree, at, cases, random_case, small
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import SoftmaxPolicy
from scratchpg.algorithms import a2c, actor_critic, ppo, reinforce
from scratchpg.returns import discounted

EXAMPLES = Path(__file__).parents[2] / "examples"
with patch.object(sys, "path", [str(EXAMPLES), *sys.path]), patch.dict(os.environ):
    collapse, finite_sums, mc_vs_td, stale_batch, variance = (
        importlib.import_module(name) for name in ("collapse", "finite_sums", "mc_vs_td", "stale_batch", "variance")
    )


def after_a_step(case, size=1.0):
    """The policy after a step of some length along ∇J(θ_old), and ∇J there."""
    policy = at(case.policy, case.policy.theta + size * case.gradient)
    return policy, case.mdp.gradient(policy, case.gamma)


def old_estimate(case, policy, ratio=1.0):
    """E_{τ~θ_old}[ratio Σ_t γ^t ∇log π_θ(a_t|s_t) G_t]: the new score, on trajectories of the old policy."""
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    rows = case.batch.samples(case.batch.probability * ratio * case.discounts * G)
    return -reinforce.gradient(policy, *rows, episodes=1)


def ratios(case, policy):
    """(6.1)  r_t(θ) of every step, (T, K); 1 after the end."""
    return stale_batch.ratios(case.batch, case.policy, policy)


@given(cases())
def test_eq_7_1_ratio_repairs_the_old_batch(case):
    """E_old[Π_t r_t(θ) Σ_t γ^t ∇log π_θ(a_t|s_t) G_t] = ∇J(θ): their product turns p(τ|θ_old) into p(τ|θ)."""
    policy, gradient = after_a_step(case)
    w = ratios(case, policy).prod(axis=0)
    agree(case.batch.probability * w, case.mdp.trajectories(policy).probability)
    agree(old_estimate(case, policy, w), gradient)


@given(cases(max_horizon=1))
def test_eq_7_1_ratio_of_ppo(case):
    """For one step the one ratio in PPO's gradient (6.3) is all it takes: unclipped, on the old batch, it is -∇J(θ)."""
    policy, gradient = after_a_step(case)
    states, actions, A = case.batch.samples(case.batch.probability * case.batch.rewards)
    old_log_prob = case.policy(states).log_prob(actions)
    agree(-len(A) * ppo.gradient(policy, states, actions, old_log_prob, A, clip_range=1e9), gradient)


def test_eq_7_1_plain_reuse_is_biased():
    """Without the ratio the old batch is unbiased at θ_old only; with the step's own ratio it is partly repaired."""
    case = random_case(seed=2, horizon=4, gamma=0.9)
    for size in 0.0, 0.1, 1.0:
        policy, gradient = after_a_step(case, size)
        plain = abs(old_estimate(case, policy) - gradient).max()
        per_step = abs(old_estimate(case, policy, ratios(case, policy)) - gradient).max()
        whole = abs(old_estimate(case, policy, ratios(case, policy).prod(axis=0)) - gradient).max()
        MEASURED[f"(7.1) bias of an old batch, {size} ∇J away"] = (
            f"{plain:.2g} plain, {per_step:.2g} with r_t, {whole:.2g} with the product of all r_t"
        )
        assert whole < 1e-12
        assert plain > 0.01 if size else plain < 1e-12


@pytest.mark.parametrize("horizon", [1, 4])
def test_eq_7_1_as_the_study_draws_it(horizon):
    """The product has no bias at any distance, r_t has none for episodes of one step, plain reuse is soon useless."""
    mdp = finite_sums.arms() if horizon == 1 else finite_sums.corridor(horizon)
    old = stale_batch.random_policy(0)
    for size in 0.0, 0.5, 2.0:
        (plain, per_step, whole), fresh = stale_batch.reuse(mdp, old, size, 0.9)
        assert whole < 1e-11
        if not size:
            assert plain < 1e-11 and per_step < 1e-11
            agree(fresh, np.ones(3))
        else:
            assert plain > 0.1
            assert per_step < 1e-11 if horizon == 1 else per_step > 0.01


LUCKY = 9.25  # A = 10 - V of the one lucky sample


def after(A, way):
    """π(a|s) after one batch of one sample, as the study takes it: a drawn from (½, ½), with the advantage A."""
    return collapse.update(finite_sums.constant_policy(0.5), [collapse.RIGHT], [A], *way)


def test_eq_7_2_one_large_step_collapses():
    """From (½, ½) to 99/1: a sample of advantage A and a step η move the two logits, each by its weight and its bias,
    2ηA apart."""
    agree(finite_sums.JACKPOT - finite_sums.arms().objective(finite_sums.constant_policy(0.5), 1.0), LUCKY)
    for name in "vanilla, 1 large step", "PPO, 1 large step":  # at θ_old PPO's gradient is the vanilla one
        p = after(LUCKY, collapse.WAYS[name])
        agree(p, 1 / (1 + np.exp(-2 * 0.25 * LUCKY)))
        assert p > 0.99
    MEASURED["(7.2) π from ½ by one step on a lucky sample"] = f"{p:.4f} vanilla"


@pytest.mark.parametrize("A", [LUCKY, -LUCKY])
def test_eq_7_2_the_clip_stops(A):
    """Many small steps of PPO on the same sample end at the first one past 1 ± ε, however many follow; vanilla ones go
    on to 0 or 1."""
    size = 0.005
    p, further, vanilla = (after(A, (chapter, size, steps)) for chapter, steps in ((ppo, 50), (ppo, 500), (a2c, 500)))
    assert p == further
    side = np.sign(A)
    beyond = side * (p / 0.5 - 1) - collapse.EPSILON
    # a step moves the logits 4 η r |A| (1-π) apart, and π by at most a quarter of that
    assert 0 < beyond <= 2 * size * 1.2 * abs(A) * 0.6
    assert side * (vanilla - 0.5) > 0.48
    MEASURED[f"(7.2) ratio where PPO stops, A = {A}"] = f"{p / 0.5:.3f}; vanilla, 500 small steps: {vanilla / 0.5:.3f}"


def test_eq_7_2_the_old_advantages_are_wrong():
    """After the collapse Q - V of the old policy is off by the change of V, Σ_a (π_new - π_old) Q: nearly as large as
    the advantage itself."""
    mdp, policy = finite_sums.arms(), finite_sums.constant_policy(0.5)
    agree(policy(np.eye(4)).probabilities, np.full((4, 2), 0.5))
    V, Q = mdp.values(policy, 1.0)
    for name, low, high in ("vanilla, 1 large step", 0.9, 1.0), ("PPO, 50 small steps", 0.2, 0.3):
        policy = finite_sums.constant_policy(0.5)
        p = collapse.update(policy, [collapse.RIGHT], [LUCKY], *collapse.WAYS[name])
        error = mdp.objective(policy, 1.0) - V[0, 0]
        agree(error, (p - 0.5) * (Q[0, 0, 1] - Q[0, 0, 0]))
        share = abs(error) / abs(Q[0, 0, 0] - V[0, 0])
        MEASURED[f"(7.2) error of the old advantages, {name}"] = f"{share:.0%} of their size"
        assert low < share < high


def test_eq_7_2_what_becomes_of_it():
    """Collapsed, it stays with the worse action; clipped, it turns to the better one."""
    mdp = finite_sums.arms()
    for seed in range(3):
        vanilla, clipped = (
            collapse.course(mdp, collapse.WAYS[name], 20, np.random.default_rng(seed))[-1]
            for name in ("vanilla, 1 large step", "PPO, 50 small steps")
        )
        assert vanilla > 0.98 and clipped < 0.3


@given(small)
def test_eq_7_3_the_study_measures_the_variance(case):
    """Mean and variance as the studies take them are those of the enumeration, and their V is the true one."""
    weights = case.rng.standard_normal(case.batch.valid.shape)
    g, p = finite_sums.estimates(case.batch, case.policy, weights), case.batch.probability
    for mean, var in finite_sums.moments(g, p), finite_sums.moments(g, 7 * p):
        agree(mean, case.expectation(weights))
        agree(var, case.variance(weights))
    agree(finite_sums.true_values(case.mdp, case.policy, case.batch, case.gamma), case.true_values())


def test_eq_7_3_each_lowers_the_variance():
    """On the corridor with π = (½, ½) and the true V: N divides it by N, and reward-to-go, baseline and bootstrapping
    each lower it; all of them are unbiased."""
    one, many, bias, cosine = variance.on_the_corridor(0.5)
    agree(many, one / variance.N)
    assert (bias < 1e-12).all() and (cosine > 1 - 1e-12).all()
    assert (np.diff(one) < 0).all()
    for name, factor in zip(variance.METHODS[1:], one[1:] / one[:-1], strict=True):
        MEASURED[f"(7.3) variance on the corridor over the row before, {name}"] = f"{factor:.3f}"


def test_eq_7_3_is_no_theorem():
    """With π(right) = 0.9 on the same corridor V^π raises the variance, and δ_t has more than λ = ½."""
    one, many, bias, cosine = variance.on_the_corridor(0.9)
    agree(many, one / variance.N)
    assert (bias < 1e-12).all() and (cosine > 1 - 1e-12).all()
    assert one[2] > 4 * one[1] and one[-1] > one[-2]


@given(cases(max_horizon=1))
def test_eq_7_3_least_variance_of_one_step(case):
    """Where there is one score g per episode the baseline of least variance is b*(s) = E[|g|² G | s] / E[|g|² | s], and
    no other b(s) does better: Var[g (G - b)] = Var[g (G - b*)] + E[|g|² (b - b*)²]."""
    batch, p = case.batch, case.batch.probability
    square = (case.estimates(np.ones((1, case.K))) ** 2).sum(axis=1)
    here = batch.states[0]  # (K, S), one-hot
    b_star = (p * square * batch.rewards[0]) @ here / np.maximum((p * square) @ here, 1e-300) @ here.T
    least = case.variance(batch.rewards - b_star)
    for b in np.zeros(case.K), case.true_values()[0][0], case.rng.standard_normal(here.shape[1]) @ here.T:
        agree(case.variance(batch.rewards - b), least + p @ (square * (b - b_star) ** 2))


def test_eq_7_3_bias_for_variance():
    """Along λ, on the corridor: no bias with the true V, and with a wrong one none at λ = 1, where the variance is
    largest. So one episode is best used with λ < 1, and many with λ = 1."""
    mdp, policy, lambdas = finite_sums.corridor(6), finite_sums.constant_policy(0.5), np.linspace(0, 1, 6)
    for learned in 0.0, 0.5, 1.0:
        bias, deviation = mc_vs_td.trade(mdp, policy, 0.9, learned, lambdas)
        assert deviation.argmax() == 5 and bias[-1] < 1e-12
        if learned == 1:
            assert (bias < 1e-12).all()
        else:
            assert (np.diff(bias) < 0).all() and bias[-2] > 0.01
            best = [(bias**2 + deviation**2 / N).argmin() for N in (1, 1_000)]
            assert best[0] < 3 and best[1] == 5


def gradients_of_one_sample(policy, state, action, A):
    """∇L of each chapter's loss for one sample, at the θ that drew it."""
    rows, A = (state[None], np.array([action])), np.array([A])
    return {
        "reinforce": reinforce.gradient(policy, *rows, A, episodes=1),
        "actor_critic": actor_critic.gradient(policy, *rows, A),
        "a2c": a2c.gradient(policy, *rows, A),
        "ppo": ppo.gradient(policy, *rows, policy(state[None]).log_prob(rows[1]), A),
    }


@given(cases(), st.sampled_from([-2.0, -0.1, 0.0, 0.1, 2.0]))
def test_eq_7_4_direction(case, A):
    """For one sample and any network, d log π_{θ - η∇L}(a|s) / dη at η = 0 is A |∇log π(a|s)|²: of the sign of A."""
    states, actions = case.batch.samples()
    state, action = states[0], actions[0]
    score = -gradients_of_one_sample(case.policy, state, action, 1.0)["a2c"]
    for gradient in gradients_of_one_sample(case.policy, state, action, A).values():
        stepped = at(case.policy, case.policy.theta - 1e-30j * gradient)
        slope = stepped(state[None]).log_prob(actions[:1]).imag[0] / 1e-30
        agree(slope, A * score @ score, "finite difference")
        assert np.sign(slope) == np.sign(A)


@given(cases(), st.sampled_from([-2.0, -0.1, 0.0, 0.1, 2.0]), st.sampled_from([1e-3, 0.1, 1.0]))
def test_eq_7_4_probability_after_a_step(case, A, size):
    """With a table for a policy, a step on one sample of A > 0 raises π(a|s), and of A < 0 lowers it, however large:
    A > 0 lifts the logit of a, and lowers all the others."""
    policy = SoftmaxPolicy((case.mdp.start.size, case.mdp.transition.shape[1]), dtype=np.float64)
    policy.theta[:] = case.rng.standard_normal(len(policy.theta))
    states, actions = case.batch.samples()
    before = policy(states[:1]).log_prob(actions[:1])
    for gradient in gradients_of_one_sample(policy, states[0], actions[0], A).values():
        after = at(policy, policy.theta - size * gradient)(states[:1]).log_prob(actions[:1])
        assert np.sign(after - before) == np.sign(A)


def test_eq_7_4_is_about_one_sample():
    """In a batch the others have a say: beside A = 1 of the one action, A = 0.1 of the other does not keep it up."""
    policy, states = SoftmaxPolicy((1, 2), theta=np.zeros(4)), np.ones((2, 1))
    stepped = at(policy, policy.theta - 0.1 * a2c.gradient(policy, states, np.array([0, 1]), np.array([1.0, 0.1])))
    assert stepped(states).probabilities[0, 1] < 0.5


@pytest.mark.parametrize("name", collapse.WAYS)
def test_eq_7_4_as_the_study_draws_it(name):
    """π(a|s) after one batch crosses ½ at A = 0."""
    p = np.array([after(A, collapse.WAYS[name]) for A in (-4, -1, -0.1, 0, 0.1, 1, 4)])
    assert (np.sign(p - 0.5) == [-1, -1, -1, 0, 1, 1, 1]).all()
