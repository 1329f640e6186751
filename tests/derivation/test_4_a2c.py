"""§4 A2C: (4.1) to (4.4), both sides of each."""

import numpy as np
from exact import MEASURED, agree, cases, derivative, random_case, small
from hypothesis import given
from hypothesis import strategies as st

from scratchpg.algorithms import a2c, reinforce
from scratchpg.returns import discounted, gae, n_step, td_errors

seeds = st.integers(0, 2**32 - 1)


def random_rows(seed):
    """Rows in which episodes terminate, are truncated, or both: all arguments of `gae` but λ."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 8), rng.integers(1, 4)
    rewards, values, next_values = rng.standard_normal((3, *shape))
    terminated, truncated = rng.random((2, *shape)) < 0.2
    next_values[:-1] = np.where((terminated | truncated)[:-1], next_values[:-1], values[1:])
    return rewards, values, next_values, terminated, truncated, rng.choice([0.0, 1.0, rng.random()])


@given(cases())
def test_eq_4_1_one_step(case):
    """A(s_t,a_t) = r_t + γ V(s_{t+1}) - V(s_t): with the true V it has the expectation ∇J; with another V the bias is
    what its Q, r + γ V(s'), says."""
    batch, mdp = case.batch, case.mdp
    A = td_errors(batch.rewards, *case.true_values(), batch.terminated, case.gamma)
    agree(case.expectation(case.discounts * A), case.gradient)

    A = td_errors(batch.rewards, *case.values(), batch.terminated, case.gamma)
    V, pi = case.value(np.eye(mdp.start.size)), case.policy(np.eye(mdp.start.size))
    Q = np.array([mdp.bellman_q(V if t < mdp.horizon - 1 else 0 * V, case.gamma) for t in range(mdp.horizon)])
    visits = case.discounts * np.einsum("k,tks->ts", batch.probability, batch.states[:-1])  # γ^t P(s_t = s)
    weights = pi.probabilities * np.einsum("ts,tsa->sa", visits, Q)
    d_parameters = weights - pi.probabilities * weights.sum(axis=1, keepdims=True)
    agree(case.expectation(case.discounts * A), case.policy.backward(pi, d_parameters))


@given(seeds, st.integers(1, 9))
def test_eq_4_2_n_steps(seed, n):
    """A_t^{(n)} = Σ_{k<n} γ^k r_{t+k} + γ^n V(s_{t+n}) - V(s_t), up to where the episode ends or the rows do; n = 1 is
    (4.1), n to the end is (2.1)."""
    rewards, values, next_values, terminated, truncated, gamma = rows = random_rows(seed)
    literal = -values
    for t, i in np.ndindex(rewards.shape):
        for k in range(n):
            literal[t, i] += gamma**k * rewards[t + k, i]
            if k == n - 1 or t + k == len(rewards) - 1 or truncated[t + k, i] or terminated[t + k, i]:
                literal[t, i] += gamma ** (k + 1) * next_values[t + k, i] * (not terminated[t + k, i])
                break
    agree(n_step(*rows, n), literal)
    agree(n_step(*rows, 1), td_errors(*rows[:4], gamma))
    terminated[:], truncated[:], next_values[:-1] = False, False, values[1:]
    terminated[-1] = True  # one whole episode
    agree(n_step(*rows, len(rewards)), discounted(rewards, gamma) - values)


@given(seeds, st.floats(0, 1, allow_subnormal=False))
def test_eq_4_3_gae(seed, gae_lambda):
    """A_t = Σ_k (γλ)^k δ_{t+k}, within the episode; λ = 0 is (4.1), λ = 1 is (4.2) to the end, so (2.1)."""
    rewards, _, _, terminated, truncated, gamma = rows = random_rows(seed)
    delta = td_errors(*rows[:4], gamma)
    literal = np.zeros_like(delta)
    for t, i in np.ndindex(rewards.shape):
        for k in range(len(rewards) - t):
            literal[t, i] += (gamma * gae_lambda) ** k * delta[t + k, i]
            if terminated[t + k, i] or truncated[t + k, i]:
                break
    agree(gae(*rows, gae_lambda), literal)
    agree(gae(*rows, 0.0), delta)
    agree(gae(*rows, 1.0), n_step(*rows, len(rewards)))


def gae_of(case, values, next_values, gae_lambda):
    """(4.3) of every trajectory."""
    batch = case.batch
    return gae(batch.rewards, values, next_values, batch.terminated, batch.truncated, case.gamma, gae_lambda)


@given(cases(), st.floats(0, 1, allow_subnormal=False))
def test_eq_4_3_unbiased_with_the_true_value(case, gae_lambda):
    """With the true V, which depends on t, every λ has the expectation ∇J; with any other V λ = 1 has."""
    agree(case.expectation(case.discounts * gae_of(case, *case.true_values(), gae_lambda)), case.gradient)
    agree(case.expectation(case.discounts * gae_of(case, *case.values(), 1.0)), case.gradient)


def test_eq_4_3_bias_with_a_wrong_value():
    """With a wrong V λ < 1 is biased, the less the closer λ is to 1."""
    case, bias = random_case(seed=2, horizon=4, gamma=0.9), {}
    for gae_lambda in 0.0, 0.5, 0.95, 1.0:
        advantages = gae_of(case, *case.values(), gae_lambda)
        bias[gae_lambda] = abs(case.expectation(case.discounts * advantages) - case.gradient).max()
    MEASURED["(4.3) bias with a wrong V"] = ", ".join(f"{error:.2g} at λ = {x}" for x, error in bias.items())
    assert bias[0.0] > bias[0.5] > bias[0.95] > 1e-3
    assert bias[1.0] < 1e-12


@given(small, st.sampled_from([0.0, 0.7]))
def test_eq_4_4_loss_and_gradient(case, ent_coef):
    """L(θ) = -mean_t [log π_θ(a_t|s_t) A_t + β H(π_θ(·|s_t))], and its gradient with A_t held constant."""
    rows = case.batch.samples(case.rng.standard_normal(case.batch.valid.shape))
    literal = 0.0
    for state, action, A in zip(*rows, strict=True):
        p = case.policy(state[None]).probabilities[0]
        literal -= (np.log(p[action]) * A - ent_coef * (p * np.log(p)).sum()) / len(rows[0])
    agree(a2c.loss(case.policy, *rows, ent_coef=ent_coef), literal)
    gradient = a2c.gradient(case.policy, *rows, ent_coef=ent_coef)
    agree(gradient, derivative(lambda pi: a2c.loss(pi, *rows, ent_coef=ent_coef), case.policy), "finite difference")


@given(cases())
def test_eq_4_4_mean_over_steps(case):
    """Without the bonus it is REINFORCE's gradient, but as the mean over the B steps instead of the episodes."""
    rows = case.batch.samples(case.rng.standard_normal(case.batch.valid.shape))
    B = len(rows[0])
    agree(a2c.gradient(case.policy, *rows), reinforce.gradient(case.policy, *rows, episodes=B))


@given(cases(), st.floats(0, 1, allow_subnormal=False))
def test_eq_4_4_as_training_weighs(case, gae_lambda):
    """`a2c.train` weighs by the advantages (4.3) of the V from before its step."""
    v = case.values()
    call = case.first_update(a2c, case.value, n_steps=case.mdp.horizon, gae_lambda=gae_lambda)
    agree(call.weights, gae_of(case, *v, gae_lambda) * case.batch.valid)
