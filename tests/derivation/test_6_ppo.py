"""§6 PPO: (6.1) to (6.3), both sides of each."""

import numpy as np
import pytest
from exact import agree, at, cases, difference, small
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import SoftmaxPolicy
from scratchpg.algorithms import a2c, ppo
from scratchpg.returns import discounted
from scratchpg.rollout import minibatches

epsilons = st.sampled_from([0.1, 0.2, 0.5])
everything = 1e9  # a clip range that never clips


def old_batch(case, epsilon):
    """Rows (states, actions, log π_θold, A) and the ratio of each, away from the kinks: |r - (1 ± ε)| > 0.02."""
    states, actions, A = case.batch.samples(case.rng.standard_normal(case.batch.valid.shape))
    ratio = case.rng.uniform(0.2, 2.0, len(A))
    for kink in 1 - epsilon, 1 + epsilon:
        ratio += np.where(abs(ratio - kink) < 0.05, 0.1, 0)
    return (states, actions, case.policy(states).log_prob(actions) - np.log(ratio), A), ratio


@given(small)
def test_eq_6_1_ratio(case):
    """r_t(θ) = π_θ(a_t|s_t) / π_θold(a_t|s_t): what the loss is, row by row, for A = 1 and without the clip."""
    old = at(case.policy, case.policy.theta + case.rng.normal(0, 0.3, len(case.policy.theta)))
    states, actions = case.batch.samples()
    row = np.arange(len(actions))
    ratio = case.policy(states).probabilities[row, actions] / old(states).probabilities[row, actions]
    for i in row:
        arguments = states[[i]], actions[[i]], old(states[[i]]).log_prob(actions[[i]]), np.ones(1)
        agree(-ppo.loss(case.policy, *arguments, clip_range=everything), ratio[i])


@given(cases(), epsilons, st.sampled_from([0.0, 0.7]))
def test_eq_6_2_clipped_loss(case, epsilon, ent_coef):
    """L(θ) = -mean_t min(r_t A_t, clip(r_t, 1-ε, 1+ε) A_t), and the entropy bonus of (4.4)."""
    rows, ratio = old_batch(case, epsilon)
    literal = 0.0
    for r, A in zip(ratio, rows[3], strict=True):
        literal -= min(r * A, min(max(r, 1 - epsilon), 1 + epsilon) * A) / len(ratio)
    literal -= ent_coef * case.policy(rows[0]).entropy().mean()
    agree(ppo.loss(case.policy, *rows, clip_range=epsilon, ent_coef=ent_coef), literal)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_eq_6_2_minibatches_are_a_partition(B, batch_size, seed):
    """[exact] A pass takes every row once, in minibatches of batch_size rows, of which the last may be short; another
    pass takes them in another order."""
    rng = np.random.default_rng(seed)
    first, second = (list(minibatches(B, batch_size, rng)) for _ in range(2))
    for minis in first, second:
        assert [len(i) for i in minis[:-1]] == [batch_size] * (len(minis) - 1)
        assert 1 <= len(minis[-1]) <= batch_size
        assert sorted(np.concatenate(minis).tolist()) == list(range(B))
    if B >= 20:  # one chance in 20! that they are alike
        assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    again = list(minibatches(B, batch_size, np.random.default_rng(seed)))
    assert all(np.array_equal(i, j) for i, j in zip(again, first, strict=True))


@given(small, epsilons, st.integers(1, 9))
def test_eq_6_2_minibatches_add_up(case, epsilon, batch_size):
    """At one θ the means over the minibatches, each weighted by its rows, are the mean over the batch."""
    rows, _ = old_batch(case, epsilon)
    loss, gradient = 0.0, np.zeros(len(case.policy.theta))
    for i in minibatches(len(rows[0]), batch_size, case.rng):
        part, share = [x[i] for x in rows], len(i) / len(rows[0])
        loss += share * ppo.loss(case.policy, *part, clip_range=epsilon)
        gradient += share * ppo.gradient(case.policy, *part, clip_range=epsilon)
    agree(loss, ppo.loss(case.policy, *rows, clip_range=epsilon))
    agree(gradient, ppo.gradient(case.policy, *rows, clip_range=epsilon))


@given(small, epsilons, st.sampled_from([0.0, 0.7]))
def test_eq_6_3_gradient(case, epsilon, ent_coef):
    """∇L = -mean_t 1[not clipped] r_t A_t ∇log π_θ(a_t|s_t);
    clipped: A_t > 0 and r_t > 1+ε, or A_t < 0 and r_t < 1-ε."""
    rows, ratio = old_batch(case, epsilon)
    states, actions, _, A = rows
    clipped = ((A > 0) & (ratio > 1 + epsilon)) | ((A < 0) & (ratio < 1 - epsilon))
    gradient = ppo.gradient(case.policy, *rows, clip_range=epsilon, ent_coef=ent_coef)
    agree(gradient, a2c.gradient(case.policy, states, actions, np.where(clipped, 0, ratio * A), ent_coef=ent_coef))

    def loss(policy):
        return ppo.loss(policy, *rows, clip_range=epsilon, ent_coef=ent_coef)

    agree(gradient, difference(loss, case.policy), "finite difference")


@pytest.mark.parametrize("A", [1.0, -1.0])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("beyond", [-1e-9, 1e-9])
def test_eq_6_3_edges_of_the_clip(A, side, beyond):
    """A row stops pushing just beyond the edge it is pushed towards, and never at the other edge."""
    policy = SoftmaxPolicy((1, 2), theta=np.array([0.3, -0.2, 0.1, 0.4]))
    states, actions, ratio = np.ones((1, 1)), np.array([1]), 1 + side * (0.2 + beyond)
    old_log_prob = policy(states).log_prob(actions) - np.log(ratio)
    gradient = ppo.gradient(policy, states, actions, old_log_prob, np.array([A]), clip_range=0.2)
    clipped = A * side > 0 and beyond > 0
    agree(gradient, a2c.gradient(policy, states, actions, np.array([0 if clipped else ratio * A])))
    assert gradient.any() != clipped


@given(cases(), epsilons)
def test_eq_6_3_at_theta_old_it_is_the_a2c_gradient(case, epsilon):
    """At θ = θ_old every ratio is 1, nothing is clipped, and ∇L is A2C's; weighted by γ^t and p(τ|θ) it is -∇J."""
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    weights = case.batch.probability * case.discounts * (G - case.values()[0])
    states, actions, A = case.batch.samples(weights)
    rows = states, actions, case.policy(states).log_prob(actions), A
    gradient = ppo.gradient(case.policy, *rows, clip_range=epsilon)
    agree(gradient, a2c.gradient(case.policy, states, actions, A))
    agree(-len(A) * gradient, case.gradient)
