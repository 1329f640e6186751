"""§10 GRPO: (10.1) to (10.7), both sides of each."""

from itertools import product
from math import comb, sqrt

import numpy as np
import pytest
from exact import Case, agree, at, cases, derivative, difference, small
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, SoftmaxPolicy
from scratchpg.algorithms import grpo, ppo
from scratchpg.returns import discounted, group_advantages

few = cases(max_trajectories=27)  # there are K^G groups of them
group_sizes = st.sampled_from([2, 3])


def scores(policy, batch):
    """∇log π(a_t|s_t) of every row, (T, K, P); 0 after an end."""
    T, K = batch.valid.shape
    result = np.zeros((T, K, len(policy.theta)))
    for t, k in np.argwhere(batch.valid):
        pi = policy(batch.states[t, [k]])
        result[t, k] = policy.backward(pi, pi.d_log_prob(batch.actions[t, [k]]))
    return result


def groups(case, G):
    """For each start s_0: p(s_0), all G-tuples of its trajectories, (n, G), and their probabilities given s_0."""
    s0 = case.batch.states[0].argmax(axis=1)
    for s in np.unique(s0):
        members = np.flatnonzero(s0 == s)
        tuples = np.array(list(product(members, repeat=G)))
        yield case.mdp.start[s], tuples, (case.batch.probability[tuples] / case.mdp.start[s]).prod(axis=1)


def expected_estimate(case, G, episode_weights=1.0, **options):
    """E[ĝ] of (10.1), by all groups of all starts: ĝ = (1/G) Σ_i w_i A_i Σ_t ∇log π(a_t|s_t)."""
    R = discounted(case.batch.rewards, case.gamma, case.batch.ended)[0]
    score = scores(case.policy, case.batch).sum(axis=0) * np.reshape(episode_weights, (-1, 1))
    total = 0
    for start, tuples, p in groups(case, G):
        A = group_advantages(R[tuples].ravel(), G, **options).reshape(tuples.shape)
        total = total + start * (p[:, None, None] * A[:, :, None] * score[tuples]).sum(axis=(0, 1)) / G
    return total


def group_rows(case, members):
    """The rows of a group of trajectories as `train` has them: states, actions, log π, A; and all weights 1."""
    b = case.batch
    A = group_advantages(discounted(b.rewards, case.gamma, b.ended)[0][members], len(members))
    valid = b.valid[:, members]
    states, actions = b.states[:-1, members][valid], b.actions[:, members][valid]
    old_log_prob = case.policy(states).log_prob(actions)
    return states, actions, old_log_prob, np.broadcast_to(A, valid.shape)[valid], np.ones(len(actions))


@given(small, group_sizes)
def test_eq_10_1_estimate_of_a_group(case, G):
    """ĝ = (1/G) Σ_i A_i Σ_t ∇log π(a_t|s_t) is -∇L of (10.5) at θ_old, times the mean length."""
    members = case.rng.integers(case.K, size=G)
    rows = group_rows(case, members)
    g = np.zeros(len(case.policy.theta))
    for i, k in enumerate(members):
        R = [(case.batch.rewards[:, m] * case.discounts[:, 0])[case.batch.valid[:, m]].sum() for m in members]
        A = R[i] - (sum(R) - R[i]) / (G - 1)
        g += A / G * scores(case.policy, case.batch)[:, k].sum(axis=0)
    agree(-grpo.gradient(case.policy, *rows) * len(rows[0]) / G, g)


@given(few, group_sizes)
def test_eq_10_2_the_mean_with_itself_shortens_the_step(case, G):
    """A_i = R_i - mean_j R_j: E[ĝ] = (1 - 1/G) ∇J."""
    agree(expected_estimate(case, G, leave_one_out=False), (1 - 1 / G) * case.gradient)


@given(few, group_sizes)
def test_eq_10_3_leave_one_out(case, G):
    """A_i = R_i - mean_{j≠i} R_j = G/(G-1) (10.2): E[ĝ] = ∇J."""
    R = case.rng.standard_normal(3 * G)
    others = [np.delete(R.reshape(3, G)[i // G], i % G).mean() for i in range(3 * G)]
    agree(group_advantages(R, G), R - others)
    agree(group_advantages(R, G), G / (G - 1) * group_advantages(R, G, leave_one_out=False))
    agree(expected_estimate(case, G), case.gradient)


@pytest.mark.parametrize("seed", range(3))
def test_eq_10_3_with_equal_noise_in_the_dynamics(seed):
    """Equal seeds give equal noise ω_t to all of a group, s_{t+1} = f(s_t, a_t, ω_t): E[ĝ] = ∇J all the same."""
    rng, S, A, H, noises, G = np.random.default_rng(seed), 3, 2, 3, 2, 2
    f, r = rng.integers(S, size=(S, A, noises)), rng.standard_normal((S, A, S))
    transition = np.stack([(f == s).mean(axis=2) for s in range(S)], axis=2)
    mdp = FiniteMDP(np.eye(S)[0], transition, r, horizon=H)
    policy = SoftmaxPolicy((S, A), dtype=float)
    policy.theta[:] = rng.standard_normal(len(policy.theta))
    pi = policy(np.eye(S))
    score = np.zeros((S, A, len(policy.theta)))
    for s, a in product(range(S), range(A)):
        score[s, a] = policy.backward(pi, np.eye(S)[:, [s]] * (np.eye(A)[a] - pi.probabilities))
    total = 0
    for omega in product(range(noises), repeat=H):
        R, p, s_score = [], [], []
        for actions in product(range(A), repeat=H):
            s, R_i, p_i, score_i = 0, 0.0, 1.0, 0.0
            for t, a in enumerate(actions):
                next_s = f[s, a, omega[t]]
                R_i, p_i, score_i = R_i + 0.9**t * r[s, a, next_s], p_i * pi.probabilities[s, a], score_i + score[s, a]
                s = next_s
            R.append(R_i)
            p.append(p_i)
            s_score.append(score_i)
        R, p, s_score = np.array(R), np.array(p), np.array(s_score)
        tuples = np.array(list(product(range(len(R)), repeat=G)))
        A_i = group_advantages(R[tuples].ravel(), G).reshape(tuples.shape)
        weights = p[tuples].prod(axis=1)[:, None, None] * A_i[:, :, None] / G
        total = total + (weights * s_score[tuples]).sum(axis=(0, 1)) / noises**H
    agree(total, mdp.gradient(policy, 0.9))


def c(G, p):
    """c_G(p) of (10.4), the closed form."""
    terms = (comb(G, k) * p**k * (1 - p) ** (G - k) * sqrt(k * (G - k)) for k in range(G + 1))
    return sum(terms) / (G * p * (1 - p))


def bandit(rewards, theta):
    """One state, one step; the exact E[ĝ] of divided groups, and ∇J."""
    mdp = FiniteMDP([1.0], np.ones((1, len(rewards), 1)), [rewards], horizon=1)
    policy = SoftmaxPolicy((1, len(rewards)), theta=np.array(theta, float))
    batch = mdp.trajectories(policy)
    score = scores(policy, batch)[0]

    def estimate(G):
        total = 0
        for members in product(range(len(rewards)), repeat=G):
            k = list(members)
            A = group_advantages(batch.rewards[0, k], G, leave_one_out=False, divide_by_std=True)
            total = total + batch.probability[k].prod() * A @ score[k] / G
        return total

    return estimate, mdp.gradient(policy, 1.0), policy


@pytest.mark.parametrize("G", [2, 3, 5, 8])
@pytest.mark.parametrize("logit", [-2.0, -0.3, 0.0, 1.5])
def test_eq_10_4_difficulty_bias(G, logit):
    """Divided by the deviation, rewards 0 and 1: E[ĝ|s_0] = c_G(p) ∇p."""
    estimate, gradient, policy = bandit([0.0, 1.0], [0.0, logit, 0.0, 0.0])
    agree(estimate(G), c(G, policy(np.ones((1, 1))).probabilities[0, 1]) * gradient)


def test_eq_10_4_what_it_climbs_instead():
    """c_G(p) → 1/√(p(1-p)), the derivative of 2 arcsin √p; with other rewards the direction is another one, too."""
    for p in 0.05, 0.5, 0.8:
        h = 1e-6
        slope = (2 * np.arcsin(np.sqrt(p + h)) - 2 * np.arcsin(np.sqrt(p - h))) / (2 * h)
        assert c(900, p) == pytest.approx(slope, rel=1e-2) == 1 / np.sqrt(p * (1 - p))
    estimate, gradient, _ = bandit([0.0, 1.0, 5.0], [0.0, 0.5, -2.0, 0.0, 0.0, 0.0])
    g = estimate(3)
    assert g @ gradient < 0.99 * np.linalg.norm(g) * np.linalg.norm(gradient)


def old_rows(case, epsilon):
    """Rows with old log-probabilities, advantages and weights; the ratios stay away from the kinks."""
    states, actions, A = case.batch.samples(case.rng.standard_normal(case.batch.valid.shape))
    ratio = case.rng.uniform(0.2, 2.0, len(A))
    for kink in 1 - epsilon, 1 + epsilon:
        ratio += np.where(abs(ratio - kink) < 0.05, 0.1, 0)
    weights = case.rng.uniform(0.1, 3.0, len(A))
    return (states, actions, case.policy(states).log_prob(actions) - np.log(ratio), A, weights), ratio


def another(case):
    return at(case.policy, case.rng.standard_normal(len(case.policy.theta)))


@given(cases(), st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([0.0, 0.7]))
def test_eq_10_5_loss(case, epsilon, beta):
    """L = -mean_t w_t [ min(r A, clip(r) A) - β KL(π_θ ‖ π_ref) ], row by row."""
    rows, ratio = old_rows(case, epsilon)
    reference, literal = another(case), 0.0
    for s, r, A, w in zip(rows[0], ratio, rows[3], rows[4], strict=True):
        p, q = (policy(s[None]).probabilities[0] for policy in (case.policy, reference))
        kl = sum(p[a] * np.log(p[a] / q[a]) for a in range(len(p)))
        literal -= w * (min(r * A, min(max(r, 1 - epsilon), 1 + epsilon) * A) - beta * kl) / len(ratio)
    agree(grpo.loss(case.policy, *rows, clip_range=epsilon, reference=reference, kl_coef=beta), literal)


@given(small, st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([0.0, 0.7]))
def test_eq_10_5_gradient(case, epsilon, beta):
    """∇L by differences; without the KL it is PPO's of w A."""
    rows, _ = old_rows(case, epsilon)
    settings = {"clip_range": epsilon, "reference": another(case), "kl_coef": beta}
    gradient = grpo.gradient(case.policy, *rows, **settings)
    agree(gradient, difference(lambda policy: grpo.loss(policy, *rows, **settings), case.policy), "finite difference")
    states, actions, old_log_prob, A, weights = rows
    if not beta:
        agree(gradient, ppo.gradient(case.policy, states, actions, old_log_prob, weights * A, clip_range=epsilon))


@given(few)
def test_eq_10_5_a_weight_of_1_over_length_keeps_the_direction_of_equal_lengths(case):
    """w_i = 1/|τ_i|: E[ĝ] = ∇J/H where all have the length H."""
    lengths = case.batch.valid.sum(axis=0)
    if len(set(lengths)) == 1:
        agree(expected_estimate(case, 2, 1 / lengths), case.gradient / lengths[0])


def test_eq_10_5_a_weight_of_1_over_length_is_biased():
    """Where lengths differ, E[ĝ] is not along ∇J: of two ways to fail, the slow one is punished too little."""
    transition = np.zeros((3, 2, 3))
    transition[0, 0, 2] = transition[0, 1, 1] = transition[1, :, 2] = 1  # at once, or by one step more
    rewards = [[-1.0, 0.0], [-2.0, -1.0], [0.0, 0.0]]
    mdp = FiniteMDP([1.0, 0, 0], transition, rewards, horizon=3, terminal=[0, 0, 1])
    policy = SoftmaxPolicy((3, 2), theta=np.zeros(8))

    case = Case(mdp, policy, None, 1.0, None, "")
    agree(expected_estimate(case, 2), case.gradient)
    g = expected_estimate(case, 2, 1 / case.batch.valid.sum(axis=0))
    assert g @ case.gradient < 0.95 * np.linalg.norm(g) * np.linalg.norm(case.gradient)


@given(small)
def test_eq_10_6_gradient_of_the_kl(case):
    """β mean_t w_t ∇KL(π_θ ‖ π_ref), the sum over all actions, by a complex step."""
    (states, actions, old_log_prob, A, weights), _ = old_rows(case, 0.2)
    reference = another(case)

    def penalty(policy):
        ratio = policy(states).log_probabilities - reference(states).log_probabilities
        return 0.7 * (weights * (policy(states).probabilities * ratio).sum(axis=1)).mean()

    rows = states, actions, old_log_prob, np.zeros(len(A)), weights
    agree(grpo.gradient(case.policy, *rows, reference=reference, kl_coef=0.7), derivative(penalty, case.policy))


@given(small)
def test_eq_10_6_k3_has_another_gradient(case):
    """k3 = r' - 1 - log r', r' = π_ref/π_θ: E_{a~π_θ}[k3] = KL(π_θ ‖ π_ref), but E[∇k3] = ∇KL(π_ref ‖ π_θ)."""
    (states, *_), reference = old_rows(case, 0.2)[0], another(case)
    pi, ref, n = case.policy(states), reference(states), len(states)
    every = [np.full(n, a) for a in range(pi.logits.shape[1])]
    p = [np.exp(pi.log_prob(a)) for a in every]
    log_r = [ref.log_prob(a) - pi.log_prob(a) for a in every]
    agree(sum(p[a] * (np.exp(log_r[a]) - 1 - log_r[a]) for a in range(len(every))), pi.kl(ref))

    def k3(policy, a):
        x = ref.log_prob(every[a]) - policy(states).log_prob(every[a])
        return np.exp(x) - 1 - x

    expected = sum(
        (p[a][:, None] * derivative(lambda q, a=a: k3(q, a), case.policy)).sum(axis=0) for a in range(len(every))
    )
    agree(expected, derivative(lambda q: (-ref.probabilities * q(states).log_probabilities).sum(), case.policy))


@given(small)
def test_eq_10_6_lacks_the_score_of_the_states_visited(case):
    """∇ of E_τ[ Σ_t KL_t ] is E[ Σ_t ∇KL_t ] and E[ Σ_t ∇log π(a_t|s_t) Σ_{k≥t} KL_k ] more."""
    b, reference = case.batch, another(case)
    states = b.states[:-1].reshape(-1, b.states.shape[2])

    def kls(policy):
        ratio = policy(states).log_probabilities - reference(states).log_probabilities
        return (policy(states).probabilities * ratio).sum(axis=1).reshape(b.valid.shape) * b.valid

    whole = derivative(lambda policy: case.mdp.trajectories(policy).probability @ kls(policy).sum(axis=0), case.policy)
    weights = (b.probability * b.valid).ravel()
    pi = case.policy(states)
    direct = case.policy.backward(pi, weights[:, None] * pi.d_kl(reference(states)))
    to_come = kls(case.policy)[::-1].cumsum(axis=0)[::-1]
    visits = np.einsum("k,tk,tkp->p", b.probability, to_come, scores(case.policy, b))
    agree(whole, direct + visits)


@given(few, group_sizes)
def test_eq_10_7_per_step(case, G):
    """A_{i,t} = G_t^{(i)} - mean_{j≠i} G_t^{(j)}, G = 0 after an end: E[ (1/G) Σ_i Σ_t γ^t A_{i,t} ∇log π ] = ∇J."""
    returns = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    score = scores(case.policy, case.batch) * case.discounts[:, :, None]
    total = 0
    for start, tuples, p in groups(case, G):
        A = group_advantages(returns[:, tuples.ravel()], G).reshape(-1, *tuples.shape)
        total = total + start * np.einsum("n,tng,tngp->p", p, A, score[:, tuples]) / G
    agree(total, case.gradient)
