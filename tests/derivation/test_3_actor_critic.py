"""§3 Actor-critic: (3.1) to (3.8), both sides of each."""

import numpy as np
import pytest
from exact import agree, cases, derivative
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import Value
from scratchpg.algorithms import actor_critic
from scratchpg.optim import SGD
from scratchpg.returns import discounted, td_errors, td_targets


def given_state(case, x):
    """E[x_t | s_t = s] by enumeration, for every (t, s) that is reached with a step left: (t, s, the expectation)."""
    batch = case.batch
    for t, s in np.ndindex(case.mdp.horizon, case.mdp.start.size):
        here = batch.valid[t] & (batch.states[t, :, s] == 1)
        if here.any():
            p = batch.probability[here]
            yield t, s, p @ x[t, here] / p.sum()


@given(cases())
def test_eq_3_1_value_of_the_start(case):
    """J(θ) = E[v_π(s_0)],   v_π(s_0) = E[G_0 | S_0 = s_0]."""
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    v = {s: x for t, s, x in given_state(case, G) if t == 0}
    agree(case.mdp.objective(case.policy, case.gamma), sum(case.mdp.start[s] * v[s] for s in v))


@given(cases())
def test_eq_3_2_value_is_the_mean_return(case):
    """V_t(s) = E[G_t | s_t = s] and Q_t(s,a) = E[G_t | s_t = s, a_t = a]; both are 0 where the episode is over."""
    V, Q = case.mdp.values(case.policy, case.gamma)
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    for t, s, x in given_state(case, G):
        agree(V[t, s], x)
    for a in range(Q.shape[2]):
        taken = case.batch.actions == a
        pi = case.policy(np.eye(len(case.mdp.start))).probabilities[:, a]
        for t, s, x in given_state(case, G * taken):
            agree(pi[s] * Q[t, s, a], x)
    agree(V[-1], np.zeros_like(V[-1]))
    agree(V[:, case.mdp.terminal], np.zeros_like(V[:, case.mdp.terminal]))


@given(cases())
def test_eq_3_3_bellman(case):
    """V_t(s_t) = E[r_t + γ V_{t+1}(s_{t+1})], with the library's own TD targets."""
    V, _ = case.mdp.values(case.policy, case.gamma)
    targets = td_targets(case.batch.rewards, case.true_values()[1], case.batch.terminated, case.gamma)
    for t, s, x in given_state(case, targets):
        agree(V[t, s], x)


@given(cases())
def test_eq_3_4_return_recursion(case):
    """G_t = r_t + γ G_{t+1}, where G after the end of an episode is 0."""
    rewards, ended = case.batch.rewards, case.rng.random(case.batch.rewards.shape) < 0.3
    G = discounted(rewards, case.gamma, ended)
    agree(G[-1], rewards[-1])
    agree(G[:-1], rewards[:-1] + case.gamma * np.where(ended[:-1], 0, G[1:]))


def moved(value, states, targets):
    """V before and after one step on φ of the size that makes it V ← V + α (target - V) with α = ½: the step is
    2η (target - V) ∇V, it moves V by |∇V|² times that, and a linear V of a one-hot state has |∇V|² = 2 (W_s and b)."""
    before = value(states)
    SGD(value.theta, 0.5 / 4).step(value.mse_gradient(states, targets))
    return before, value(states)


@given(cases())
def test_eq_3_5_monte_carlo(case):
    """V(s_t) ← V(s_t) + α (G_t - V(s_t)): a step of the value's gradient on one sample. At V_π it stays, on average."""
    states, _, G = case.batch.samples(discounted(case.batch.rewards, case.gamma, case.batch.ended))
    before, after = moved(Value((states.shape[1],), case.rng, dtype=np.float64), states[:1], G[:1])
    agree(after, before + 0.5 * (G[:1] - before))
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    for _, _, x in given_state(case, G - case.true_values()[0]):
        agree(x, 0.0)


@given(cases())
def test_eq_3_5_in_a_batch(case):
    """A step of rate η on B rows moves a table, here W of a linear V of one-hot states, with α = 2η/B."""
    B = case.mdp.start.size
    states, G, eta = np.eye(B), case.rng.normal(size=B), 0.1
    value = Value((B,), case.rng, dtype=np.float64)
    agree(-eta * value.mse_gradient(states, G)[:B], 2 * eta / B * (G - value(states)))


@given(cases())
def test_eq_3_5_as_training_weighs(case):
    """`actor_critic.train(method="mc")` weighs by G_t - V(s_t), predicted before the step on φ."""
    v, _ = case.values()
    G = discounted(case.batch.rewards, case.gamma, case.batch.ended)
    agree(case.first_update(actor_critic, case.value, method="mc").weights, (G - v) * case.batch.valid)


@given(cases())
def test_eq_3_6_temporal_difference(case):
    """TD target r_t + γ V(s_{t+1});   V(s_t) ← V(s_t) + α (r_t + γ V(s_{t+1}) - V(s_t)), the target held constant."""
    batch, value = case.batch, Value((case.mdp.start.size,), case.rng, dtype=np.float64)
    next_v = value(batch.states)[1:]
    targets = td_targets(batch.rewards, next_v, batch.terminated, case.gamma)
    alive = ~batch.terminated
    agree(targets, batch.rewards + case.gamma * alive * next_v)
    states, _, flat = batch.samples(targets)
    before, after = moved(value, states[:1], flat[:1])
    agree(after, before + 0.5 * (flat[:1] - before))


@given(cases())
def test_eq_3_6_as_training_weighs(case):
    """`actor_critic.train(method="td")` weighs by target minus prediction, both from before the step on φ."""
    v, next_v = case.values()
    targets = td_targets(case.batch.rewards, next_v, case.batch.terminated, case.gamma)
    agree(case.first_update(actor_critic, case.value, method="td").weights, (targets - v) * case.batch.valid)


@given(cases())
def test_eq_3_6_semi_gradient(case):
    """The target is a constant in the gradient: it is -2 mean δ ∇V(s_t), without the γ ∇V(s_{t+1}) of the target."""
    batch, (v, next_v) = case.batch, case.values()
    delta = td_errors(batch.rewards, v, next_v, batch.terminated, case.gamma)
    states, _, delta, targets = batch.samples(delta, v + delta)
    literal = -2 * (delta[:, None] * derivative(lambda value: value(states), case.value)).mean(axis=0)
    agree(case.value.mse_gradient(states, targets), literal, "finite difference")


@pytest.mark.parametrize(
    ("terminated", "truncated", "bootstraps"),
    [(False, False, True), (False, True, True), (True, False, False), (True, True, False)],
)
def test_eq_3_7_td_error_at_the_end(terminated, truncated, bootstraps):
    """[exact] V(s_{t+1}) counts as 0 only where the episode terminated; a time limit does not make it 0."""
    delta = td_errors([1.0], [5.0], [10.0], [terminated], 0.5)
    agree(delta, [1.0 + 0.5 * 10.0 - 5.0 if bootstraps else 1.0 - 5.0])


@given(cases())
def test_eq_3_7_td_error(case):
    """δ_t = r_t + γ V(s_{t+1}) - V(s_t); with the true V its mean is 0 in every state, and Q - V of every action."""
    batch = case.batch
    v, next_v = case.values()
    literal = batch.rewards + case.gamma * np.where(batch.terminated, 0, next_v) - v
    agree(td_errors(batch.rewards, v, next_v, batch.terminated, case.gamma), literal)
    V, Q = case.mdp.values(case.policy, case.gamma)
    delta = td_errors(batch.rewards, *case.true_values(), batch.terminated, case.gamma)
    for _, _, x in given_state(case, delta):
        agree(x, 0.0)
    pi = case.policy(np.eye(V.shape[1])).probabilities
    for a in range(Q.shape[2]):
        for t, s, x in given_state(case, delta * (batch.actions == a)):
            agree(x, pi[s, a] * (Q[t, s, a] - V[t, s]))


@given(cases(), st.sampled_from([1.0, 100.0]))
def test_eq_3_8_contraction(case, scale):
    """‖B V - B W‖_∞ ≤ γ ‖V - W‖_∞ for any V and W, where (B V)(s) is the expectation of the library's TD target."""
    mdp, S = case.mdp, case.mdp.start.size
    V, W = scale * case.rng.standard_normal((2, S))
    B = lambda V: mdp.bellman(case.policy, V, case.gamma)  # noqa: E731
    assert abs(B(V) - B(W)).max() <= case.gamma * abs(V - W).max() + 1e-12
    s, a, next_s = np.nonzero((mdp.transition > 0) & ~mdp.terminal[:, None, None])
    p = case.policy(np.eye(S)).probabilities[s, a] * mdp.transition[s, a, next_s]
    targets = td_targets(mdp.reward[s, a, next_s], V[next_s], mdp.terminal[next_s], case.gamma)
    agree(B(V), np.bincount(s, p * targets, minlength=S))


@given(cases(max_gamma=0.9), st.sampled_from([1.0, 0.5]))
def test_eq_3_8_repeated_td_reaches_the_value(case, alpha):
    """V ← V + α (B V - V), again and again, arrives at the V_π = r_π + γ P_π V_π of a linear solve; and from V = 0,
    B applied once for every step of the horizon is V_0."""
    mdp, S = case.mdp, case.mdp.start.size
    pi = case.policy(np.eye(S)).probabilities
    P = np.einsum("sa,san->sn", pi, mdp.transition)
    r = np.einsum("sa,san,san->s", pi, mdp.transition, mdp.reward)
    V, W = case.rng.standard_normal(S), np.zeros(S)
    V_pi = np.linalg.solve(np.eye(S) - case.gamma * P, r)
    factor = 1 - alpha + alpha * case.gamma  # what a step leaves of the error, at most
    for _ in range(int(np.ceil(np.log(1e-15) / np.log(max(factor, 1e-15))))):
        V += alpha * (mdp.bellman(case.policy, V, case.gamma) - V)
    agree(V, V_pi)
    for _ in range(mdp.horizon):
        W = mdp.bellman(case.policy, W, case.gamma)
    agree(W, mdp.values(case.policy, case.gamma)[0][0])
