"""§7, the one note that is an equation: (7.1), on-policy batches cannot be reused, and the ratio (6.1) repairs them."""

import numpy as np
from exact import MEASURED, agree, at, cases, random_case
from hypothesis import given

from scratchpg.algorithms import ppo, reinforce
from scratchpg.returns import discounted


def after_a_step(case, size=1.0):
    """The policy after a step of some length along ∇J(θ_old), and ∇J there."""
    policy = at(case.policy, case.policy.theta + size * case.gradient)
    return policy, case.mdp.gradient(policy, case.gamma)


def old_estimate(case, policy, ratio=1.0):
    """E_{τ~θ_old}[ratio Σ_t γ^t ∇log π_θ(a_t|s_t) G_t]: the new score, on trajectories of the old policy."""
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    rows = case.batch.rows(case.batch.probability * ratio * case.discounts * G)
    return -reinforce.gradient(policy, *rows, episodes=1)


def ratios(case, policy):
    """(6.1)  r_t(θ) of every step, (T, K); 1 after the end."""
    states, actions = case.batch.rows()
    r = np.ones(case.batch.valid.shape)
    r[case.batch.valid] = np.exp(policy(states).log_prob(actions) - case.policy(states).log_prob(actions))
    return r


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
    states, actions, A = case.batch.rows(case.batch.probability * case.batch.rewards)
    old_log_prob = case.policy(states).log_prob(actions)
    agree(-len(A) * ppo.gradient(policy, states, actions, old_log_prob, A, clip_range=1e9), gradient)


def test_eq_7_1_plain_reuse_is_biased():
    """Without the ratio the old batch is unbiased at θ_old only; with the step's own ratio it is nearly repaired."""
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
