"""§1 REINFORCE: (1.1) to (1.12), both sides of each."""

import itertools

import numpy as np
from exact import MEASURED, agree, cases, derivative, difference, random_case, small
from helpers import count_trajectories
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import SoftmaxPolicy, reinforce
from scratchpg.returns import discounted
from scratchpg.rollout import Batch


def literal_returns(rewards, gamma):
    """G_t = Σ_{k≥t} γ^{k-t} r_k as printed, (T, K); rewards after the end are 0."""
    T = len(rewards)
    return np.array([sum(gamma ** (k - t) * rewards[k] for k in range(t, T)) for t in range(T)])


@given(cases())
def test_eq_1_1_objective(case):
    """J(θ) = E[R(τ)],  R(τ) = Σ_t γ^t r_t."""
    R = (case.discounts * case.batch.rewards).sum(axis=0)
    agree(discounted(case.batch.rewards, case.gamma, case.batch.ended)[0], R)
    agree(case.mdp.objective(case.policy, case.gamma), case.batch.probability @ R)
    agree(case.batch.objective(case.gamma), case.batch.probability @ R)


@given(cases())
def test_eq_1_2_sum_over_trajectories(case):
    """J(θ) = Σ_τ p(τ|θ) R(τ): enumeration and recursion agree, and so do their gradients."""
    agree(case.batch.probability.sum(), 1.0)
    agree(case.batch.objective(case.gamma), case.mdp.objective(case.policy, case.gamma))
    agree(case.batch.gradient(case.policy, case.gamma), case.gradient)


@given(small)
def test_eq_1_3_probability_of_a_trajectory(case):
    """p(τ|θ) = p(s_0) Π_t π_θ(a_t|s_t) p(s_{t+1}|s_t,a_t), factor by factor; and every τ is another."""
    mdp, batch = case.mdp, case.batch
    pi = case.policy(np.eye(len(mdp.start))).probabilities
    s, seen = batch.states.argmax(axis=2), set()
    for n, probability in enumerate(batch.probability):
        p, steps = mdp.start[s[0, n]], [s[0, n]]
        for t in np.flatnonzero(batch.valid[:, n]):
            a = batch.actions[t, n]
            p *= pi[s[t, n], a] * mdp.transition[s[t, n], a, s[t + 1, n]]
            steps += [a, s[t + 1, n]]
        agree(probability, p)
        seen.add(tuple(steps))
    assert len(seen) == len(batch.probability) == count_trajectories(mdp)


@given(small)
def test_eq_1_4_leibniz(case):
    """∇J(θ) = Σ_τ ∇p(τ|θ) R(τ)."""
    d_p = derivative(lambda policy: case.mdp.trajectories(policy).probability, case.policy)
    R = literal_returns(case.batch.rewards, case.gamma)[0]
    d_J = derivative(lambda policy: case.mdp.objective(policy, case.gamma), case.policy)
    agree(d_J, R @ d_p, "finite difference")
    agree(case.batch.gradient(case.policy, case.gamma), R @ d_p, "finite difference")


@given(small)
def test_eq_1_5_log_derivative_trick(case):
    """∇p(τ|θ) = p(τ|θ) ∇log p(τ|θ)."""
    d_p = derivative(lambda policy: case.mdp.trajectories(policy).probability, case.policy)
    scores = case.estimates(np.ones(case.batch.valid.shape))
    agree(d_p, case.batch.probability[:, None] * scores, "finite difference")


@given(small)
def test_eq_1_6_score_times_return(case):
    """∇J(θ) = E[∇log p(τ|θ) R(τ)]."""
    scores = case.estimates(np.ones(case.batch.valid.shape))
    R = literal_returns(case.batch.rewards, case.gamma)[0]
    agree(case.batch.gradient(case.policy, case.gamma), (case.batch.probability * R) @ scores)


@given(cases())
def test_eq_1_7_log_probability(case):
    """log p(τ|θ) = log p(s_0) + Σ_t [log π_θ(a_t|s_t) + log p(s_{t+1}|s_t,a_t)]."""
    mdp, batch, s = case.mdp, case.batch, case.batch.states.argmax(axis=2)
    states, actions = batch.samples()
    log_p = np.zeros(batch.valid.shape)
    log_p[batch.valid] = case.policy(states).log_prob(actions)
    log_p[batch.valid] += np.log(mdp.transition[s[:-1], batch.actions, s[1:]][batch.valid])
    agree(np.log(batch.probability), np.log(mdp.start[s[0]]) + log_p.sum(axis=0))


@given(cases(), st.sampled_from([-1e3, 1e3]))
def test_eq_1_7_large_logits(case, shift):
    """log π is finite however large the logits, and does not see what is added to all of them; nor does ∇J."""
    mdp, S, A = case.mdp, *case.mdp.transition.shape[:2]
    policy = SoftmaxPolicy((S, A), theta=case.rng.integers(-64, 64, S * A + A) / 32)  # exact when 1e3 is added
    log_pi, gradient = policy(np.eye(S)).log_probabilities, mdp.gradient(policy, case.gamma)
    policy.theta[-A:] += shift
    agree(policy(np.eye(S)).log_probabilities, log_pi)
    agree(mdp.gradient(policy, case.gamma), gradient)
    policy.theta[:] = 0
    policy.theta[-1] = abs(shift)  # one action for certain: log π = 0, and -1e3 for the others
    agree(policy(np.eye(S)).log_probabilities, np.tile([-1e3] * (A - 1) + [0.0], (S, 1)))


@given(small)
def test_eq_1_8_dynamics_drop_out(case):
    """∇log p(τ|θ) = Σ_t ∇log π_θ(a_t|s_t)."""
    d_log_p = derivative(lambda policy: np.log(case.mdp.trajectories(policy).probability), case.policy)
    agree(d_log_p, case.estimates(np.ones(case.batch.valid.shape)), "finite difference")


@given(cases())
def test_eq_1_9_total_return(case):
    """∇J(θ) = E[Σ_t ∇log π_θ(a_t|s_t) R(τ)]."""
    R = literal_returns(case.batch.rewards, case.gamma)[0]
    agree(case.expectation(np.broadcast_to(R, case.batch.valid.shape)), case.gradient)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3), st.floats(0, 1, allow_subnormal=False))
def test_eq_1_9_total_return_at_every_step(seed, T, N, gamma):
    """R(τ) of an episode stands at each of its steps, for many episodes one after another in each column, with a reset
    row after the end of each; what stands in reset rows does not count."""
    rng = np.random.default_rng(seed)
    rewards, ended, valid = rng.standard_normal((T, N)), rng.random((T, N)) < 0.3, np.ones((T, N), bool)
    t, R = np.full((2, T, N), -1.0)  # literally
    for n in range(N):
        begin = 0
        for row in range(T):
            valid[row, n] = begin <= row  # begin is one row further on after an end
            ended[row, n] &= valid[row, n]
            t[row, n] = row - begin
            if ended[row, n] or row == T - 1:
                steps = np.arange(begin, row + 1)
                R[steps, n] = sum(gamma ** (k - begin) * rewards[k, n] for k in steps)
                begin = row + 2
    rewards[~valid] = 0
    states, actions, no = np.zeros((T + 1, N, 1)), np.zeros((T, N), int), np.zeros((T, N), bool)
    batch = Batch(states, actions, rewards, ended, no, valid)
    agree(batch.t, t)
    agree(reinforce.total(discounted(rewards, gamma, ended), batch.t)[valid], R[valid])


@given(cases())
def test_eq_1_10_reward_to_go(case):
    """∇J(θ) = E[Σ_t γ^t ∇log π_θ(a_t|s_t) G_t]: analytic against analytic, and against the derivative of J."""
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    agree(G, literal_returns(case.batch.rewards, case.gamma))
    agree(case.expectation(case.discounts * G), case.gradient)
    d_J = derivative(lambda policy: case.mdp.objective(policy, case.gamma), case.policy)
    agree(case.expectation(case.discounts * G), d_J, "finite difference")


@given(cases())
def test_eq_1_10_rewards_of_the_past_drop_out(case):
    """E[∇log π_θ(a_t|s_t) r_k] = 0 for k < t, which is what (1.10) leaves out of (1.9)."""
    past = case.discounts * case.batch.rewards
    past = past.cumsum(axis=0) - past
    agree(case.expectation(past), np.zeros_like(case.gradient))


@given(cases())
def test_eq_1_10_without_gamma_t(case):
    """The common practice is Σ_t E[∇log π_t G_t], where ∇J is Σ_t γ^t E[∇log π_t G_t]: equal for γ = 1."""
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    steps = np.arange(case.mdp.horizon)[:, None]
    terms = np.array([case.expectation(np.where(steps == t, G, 0)) for t in range(case.mdp.horizon)])
    agree(case.gradient, (case.discounts * terms).sum(axis=0))
    agree(case.expectation(G), terms.sum(axis=0))
    if case.gamma == 1:
        agree(case.expectation(G), case.gradient)


def test_eq_1_10_the_gap_without_gamma_t():
    """The gap is there for γ < 1 and gone at γ = 1. Measured as an angle it could hardly be seen."""
    for gamma in 0.9, 1.0:
        case = random_case(seed=2, horizon=4, gamma=gamma)
        dropped = case.expectation(discounted(case.batch.rewards, gamma, case.batch.ended))
        error = abs(dropped - case.gradient).max()
        cosine = dropped @ case.gradient / np.sqrt(dropped @ dropped * (case.gradient @ case.gradient))
        MEASURED[f"(1.10) the gap without γ^t at γ = {gamma}"] = f"{error:.2g} (cosine {cosine:.6f})"
        assert error > 0.1 if gamma < 1 else error < 1e-12
        assert cosine > 0.99999


@given(cases())
def test_eq_1_10_as_training_weighs(case):
    """The estimate with the very weights that `reinforce.train` computes has the expectation ∇J, in both its forms."""
    for options in {}, {"reward_to_go": False}, {"keep_gamma_t": False}:
        call = case.first_update(reinforce, n_episodes=case.K, **options)
        weights = call.weights
        assert call.kwargs == {"episodes": case.K}
        if options != {"keep_gamma_t": False}:
            agree(case.expectation(weights), case.gradient)
        else:  # the common practice
            agree(weights, literal_returns(case.batch.rewards, case.gamma) * case.batch.valid)


@given(cases(), st.integers(1, 4))
def test_eq_1_11_loss_and_gradient(case, N):
    """L(θ) = -(1/N) Σ_n Σ_t log π_θ(a_t|s_t) Ψ_t, and its gradient with Ψ_t held constant, for N episodes drawn."""
    batch, drawn = case.batch, case.rng.integers(case.K, size=N)
    psi = case.rng.standard_normal(batch.valid.shape)
    literal = 0.0
    for n in drawn:
        for t in np.flatnonzero(batch.valid[:, n]):
            pi = np.exp(case.policy(batch.states[t, n][None]).logits[0])
            literal -= np.log(pi[batch.actions[t, n]] / pi.sum()) * psi[t, n] / N
    valid = batch.valid[:, drawn]
    rows = batch.states[:-1, drawn][valid], batch.actions[:, drawn][valid], psi[:, drawn][valid]
    agree(reinforce.loss(case.policy, *rows, episodes=N), literal)
    gradient = reinforce.gradient(case.policy, *rows, episodes=N)
    agree(gradient, derivative(lambda pi: reinforce.loss(pi, *rows, episodes=N), case.policy), "finite difference")
    agree(gradient, difference(lambda pi: reinforce.loss(pi, *rows, episodes=N), case.policy), "finite difference")


@given(small, st.integers(1, 3))
def test_eq_1_12_unbiased_for_every_n(case, N):
    """E[ĝ_N] = ∇J and Var[ĝ_N] = Var[ĝ_1]/N, over all N-tuples of trajectories, drawn independently."""
    p, weights = case.batch.probability, case.discounts * discounted(case.batch.rewards, case.gamma, case.batch.ended)
    while len(p) ** N > 400:
        N -= 1
    tuples = np.array(list(itertools.product(range(len(p)), repeat=N)))
    p_N, g_N, g_1 = p[tuples].prod(axis=1), case.estimates(weights, tuples), case.estimates(weights)
    agree(p @ g_1, case.gradient)
    agree(p_N @ g_N, case.gradient)

    def covariance(p, g):
        return (p[:, None] * (g - case.gradient)).T @ (g - case.gradient)

    agree(covariance(p_N, g_N), covariance(p, g_1) / N)


def test_eq_1_12_mean_over_steps_is_biased():
    """Where episodes differ in length, the mean over steps is a ratio: its expectation is not even along ∇J."""
    case = random_case(seed=58, horizon=4, gamma=1.0)
    lengths = case.batch.valid.sum(axis=0)
    assert len(set(lengths)) > 1
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    ratio = case.expectation(G / lengths)  # one trajectory, the mean over its steps
    closest = ratio @ case.gradient / (case.gradient @ case.gradient) * case.gradient
    error = abs(ratio - closest).max()
    MEASURED["(1.12) the mean over steps, how far off the line of ∇J"] = f"{error:.2g} of {np.linalg.norm(ratio):.2g}"
    assert error > 0.01
