"""§13 Imitation, and reinforcement from demonstrations: (13.1) to (13.8), both sides of each."""

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from exact import agree, cases, derivative
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, GaussianPolicy, SoftmaxPolicy, imitation, rlfd
from scratchpg.algorithms import a2c, actor_critic, reinforce


def expert_of(case):
    """Another random policy on the same MDP."""
    return SoftmaxPolicy(case.policy.sizes, theta=case.rng.standard_normal(len(case.policy.theta)))


def certain(case):
    """A policy without noise: its logits are so far apart that all probabilities are 0 or 1."""
    S, A = case.mdp.start.size, case.policy.outputs
    best = case.rng.integers(A, size=S)
    return SoftmaxPolicy((S, A), theta=np.append(1e4 * np.eye(A)[best], np.zeros(A)))


def tables(case, policy):
    """π(a|s), (S, A)."""
    return policy(np.eye(case.mdp.start.size)).probabilities


def all_steps(case, policy):
    """The states and actions of all trajectories of a policy, and for each step p(τ) of its trajectory."""
    batch = case.mdp.trajectories(policy)
    return batch.samples(np.broadcast_to(batch.probability, batch.valid.shape))


def gaussian_rows(seed):
    rng = np.random.default_rng(seed)
    policy = GaussianPolicy((3, 4, 2), dtype=np.float64)
    policy.theta[:] = rng.standard_normal(len(policy.theta))
    return policy, *(rng.standard_normal(shape) for shape in ((5, 3), (5, 2), (5,)))


def softmax_rows(seed):
    rng = np.random.default_rng(seed)
    policy = SoftmaxPolicy((3, 4, 2), theta=rng.standard_normal(26))
    return policy, rng.standard_normal((5, 3)), rng.integers(2, size=5), rng.standard_normal(5)


rows = pytest.mark.parametrize("rows", [softmax_rows, gaussian_rows])
seeds = pytest.mark.parametrize("seed", range(5))


def at(policy, theta):
    """The same policy at another θ, which may be complex."""
    return type(policy)(policy.sizes, theta=theta, dtype=theta.dtype)


def slope(f, policy):
    """∂f(policy)/∂θ by complex step."""
    steps = 1e-30j * np.eye(len(policy.theta))
    return np.array([np.imag(f(at(policy, policy.theta + step))) / 1e-30 for step in steps])


@rows
@seeds
def test_eq_13_1_loss_and_gradient(rows, seed):
    """L_BC(θ) = -mean_t w_t log π_θ(a*_t|s_t), and its gradient; without weights w_t = 1."""
    policy, states, actions, weights = rows(seed)
    each = [policy(states[i : i + 1]).log_prob(actions[i : i + 1])[0] for i in range(5)]
    agree(imitation.loss(policy, states, actions, weights), -sum(w * x for w, x in zip(weights, each, strict=True)) / 5)
    agree(imitation.loss(policy, states, actions), -sum(each) / 5)
    for w in weights, None:
        gradient = imitation.gradient(policy, states, actions, w)
        agree(gradient, slope(lambda pi, w=w: imitation.loss(pi, states, actions, w), policy))


@rows
def test_eq_13_1_is_the_score_function_with_another_weight(rows):
    """Ψ_t = w_t: the gradient is that of the actor-critic with w for the advantages."""
    policy, states, actions, weights = rows(0)
    agree(imitation.gradient(policy, states, actions, weights), actor_critic.gradient(policy, states, actions, weights))


@given(cases())
def test_eq_13_2_kl_of_trajectories(case):
    """KL(p(τ|π*) ‖ p(τ|θ)) = Σ_t E_{s_t~π*}[ KL(π*(·|s_t) ‖ π_θ(·|s_t)) ]; and in
    expectation L_BC is that KL, up to the entropy of the expert."""
    expert, mdp, S = expert_of(case), case.mdp, np.eye(case.mdp.start.size)
    p, q = mdp.trajectories(expert).probability, mdp.trajectories(case.policy).probability
    d = mdp.visits(expert) * ~mdp.terminal
    of_steps = (d * expert(S).kl(case.policy(S))).sum()
    agree((p * np.log(p / q)).sum(), of_steps)

    states, actions, probability = all_steps(case, expert)
    cloning = imitation.loss(case.policy, states, actions, len(states) * probability)  # Σ_t E[-log π_θ(a*|s_t)]
    agree(cloning, of_steps + (d * expert(S).entropy()).sum())


@given(cases())
def test_eq_13_3_gradient_per_state(case):
    """E_{s~π*}[∇_z L_BC] = Σ_t d_t(s) (π_θ(·|s) - π*(·|s)), from the trajectories, from d and by complex step; and 0
    where the expert never is."""
    expert, mdp, S = expert_of(case), case.mdp, np.eye(case.mdp.start.size)
    d = mdp.visits(expert).sum(axis=0) * ~mdp.terminal
    pi = case.policy(S)
    in_logits = d[:, None] * (pi.probabilities - tables(case, expert))
    left = reinforce.gradient(case.policy, *all_steps(case, expert), episodes=1)
    agree(left, case.policy.backward(pi, in_logits))
    agree(
        left, derivative(lambda pi: -(d[:, None] * tables(case, expert) * pi(S).log_probabilities).sum(), case.policy)
    )
    assert not in_logits[d == 0].any()


def test_eq_13_3_a_table_stays_what_it_was_where_the_expert_never_is():
    """Two states, the expert stays in the first: the weights of the second do not move."""
    states, actions = np.eye(2)[[0, 0, 0]], np.zeros(3, int)
    g = imitation.gradient(SoftmaxPolicy((2, 2), rng=0), states, actions)
    assert g[:2].all() and not g[2:4].any()


def road(steps, mendable):
    """Action 0 stays on the road, which pays 1 a step; action 1 leaves it. Beside it action 0 leads back, if it can."""
    back = [[1.0, 0.0], [0.0, 1.0]] if mendable else [[0.0, 1.0], [0.0, 1.0]]
    transition = [[[1.0, 0.0], [0.0, 1.0]], back]
    return FiniteMDP([1.0, 0.0], transition, [[1.0, 0.0], [0.0, 0.0]], horizon=steps)


def driver(on_the_road, beside_it):
    """A table with these probabilities of action 1."""
    p = np.clip([on_the_road, beside_it], 1e-300, 1)
    return SoftmaxPolicy((2, 2), theta=np.append(np.log([np.maximum(1 - p, 1e-300), p]).T, np.zeros(2)))


def losses(mdp, expert, policy):
    """J(π*) - J(θ); Σ_t (T-t) ε_t, as the expert meets the states; u T ε', as the learner does. γ = 1."""
    S, T = np.eye(mdp.start.size), mdp.horizon
    V, Q = mdp.values(expert, 1.0)
    wrong = ((1 - expert(S).probabilities) * policy(S).probabilities).sum(axis=1) * ~mdp.terminal
    epsilon, epsilon_met = mdp.visits(expert) @ wrong, mdp.visits(policy) @ wrong
    u = (V[:-1, :, None] - Q).max()
    loss = mdp.objective(expert, 1.0) - mdp.objective(policy, 1.0)
    return SimpleNamespace(
        loss=loss, cloning=(T - np.arange(T)) @ epsilon, quadratic=epsilon.mean() * T**2, dagger=u * epsilon_met.sum()
    )


@given(cases())
def test_eq_13_4_bound_of_cloning(case):
    """J(π*) - J(θ) ≤ Σ_t (T-t) ε_t ≤ ε T² for rewards in [0, 1] and an expert without noise."""
    mdp = case.mdp
    reward = (mdp.reward - mdp.reward.min()) / max(np.ptp(mdp.reward), 1e-9)
    mdp = FiniteMDP(mdp.start, mdp.transition, reward, horizon=mdp.horizon, terminal=mdp.terminal)
    found = losses(mdp, certain(case), case.policy)
    assert found.loss <= found.cloning + 1e-12
    assert found.cloning <= found.quadratic + 1e-12


@pytest.mark.parametrize("steps", [1, 5, 160])
def test_eq_13_4_reached_where_a_mistake_cannot_be_mended(steps):
    """With equal ε_t the bound is ε T (T+1)/2; the loss, Σ_t 1 - (1-ε)^{t+1}, is that to first order in ε, and not half
    of ε T²."""
    epsilon = 0.01
    found = losses(road(steps, mendable=False), driver(0, 0), driver(epsilon, 0.5))
    agree(found.cloning, epsilon * steps * (steps + 1) / 2)
    agree(found.loss, sum(1 - (1 - epsilon) ** (t + 1) for t in range(steps)))
    small = losses(road(steps, mendable=False), driver(0, 0), driver(1e-7, 0.5))
    assert 1 - 1e-7 * steps <= small.loss / small.cloning <= 1 + 1e-6


@given(cases())
def test_eq_13_5_performance_difference(case):
    """J(π*) - J(θ) = Σ_t γ^t E_{s_t,a_t~π_θ}[ V*_t(s_t) - Q*_t(s_t,a_t) ] for any two policies and any γ."""
    expert, mdp, gamma = expert_of(case), case.mdp, case.gamma
    V, Q = mdp.values(expert, gamma)
    lost = ((V[:-1, :, None] - Q) * tables(case, case.policy)).sum(axis=2)
    right = (case.discounts * mdp.visits(case.policy) * lost).sum()
    agree(mdp.objective(expert, gamma) - mdp.objective(case.policy, gamma), right)


@given(cases())
def test_eq_13_5_bound(case):
    """≤ u T ε', where π* is without noise."""
    found = losses(case.mdp, certain(case), case.policy)
    assert found.loss <= found.dagger + 1e-12


def test_eq_13_5_on_a_road_of_160_steps():
    """A clone that stays beside the road loses T², one that DAgger taught to come back T; if nobody can, u = T and
    both lose the same."""
    clone = losses(road(160, mendable=True), driver(0, 0), driver(0.01, 1))
    dagger = losses(road(160, mendable=True), driver(0, 0), driver(0.01, 0.01))
    assert (round(clone.loss, 2), round(clone.cloning, 2), clone.quadratic) == (80.83, 128.8, pytest.approx(256))
    assert (round(dagger.loss, 2), round(dagger.dagger, 2)) == (3.17, 3.2)
    cliff = losses(road(160, mendable=False), driver(0, 0), driver(0.01, 0.01))
    agree(cliff.loss, losses(road(160, mendable=False), driver(0, 0), driver(0.01, 1)).loss)
    assert cliff.dagger == pytest.approx(160 * 160 * 0.01)


@pytest.mark.parametrize("dagger", [False, True])
def test_eq_13_6_who_drives_and_what_is_learned(dagger):
    """D ← D ∪ {(s, π*(s)) : s met by the driver}; the driver is π* in the first round, then π_θ in DAgger."""
    mdp, sets = road(4, mendable=True), []
    policy = driver(1, 1)  # it leaves the road, and stays beside it

    def spy(_, states, actions, **settings):
        sets.append((states.argmax(axis=1).tolist(), actions.tolist()))
        return 0.0

    with patch.object(imitation, "clone", spy):
        list(imitation.train(mdp, policy, lambda s: s.argmax(axis=1), dagger=dagger, total_steps=12, seed=0))
    by_expert, by_learner = [0, 0, 0, 0], [0, 1, 1, 1]
    later = by_learner if dagger else by_expert
    assert [states for states, _ in sets] == [by_expert, by_expert + later, by_expert + later + later]
    assert all(actions == states for states, actions in sets)  # the label is the expert's, whoever drove


@rows
@seeds
def test_eq_13_7_gradient(rows, seed):
    """∇L(θ) = -mean_batch [A_t ∇log π + β ∇H] - λ mean_demo w_t ∇log π_θ(a*_t|s_t), a mean over each set."""
    policy, states, actions, advantages = rows(seed)
    _, demo_states, demo_actions, weights = (x[:4] if i else x for i, x in enumerate(rows(seed + 50)))
    demos = demo_states, demo_actions, weights
    coefs = {"ent_coef": 0.3, "demo_coef": 0.7}
    gradient = rlfd.gradient(policy, states, actions, advantages, *demos, **coefs)
    agree(gradient, slope(lambda pi: rlfd.loss(pi, states, actions, advantages, *demos, **coefs), policy))
    pi, pi_demo = policy(states), policy(demo_states)
    literal = -sum(advantages * pi.log_prob(actions) + 0.3 * pi.entropy()) / 5
    literal -= 0.7 * sum(weights * pi_demo.log_prob(demo_actions)) / 4
    agree(rlfd.loss(policy, states, actions, advantages, *demos, **coefs), literal)
    twice = [np.concatenate([x, x]) for x in demos]
    agree(rlfd.gradient(policy, states, actions, advantages, *twice, **coefs), gradient)


@given(cases(), st.floats(0, 2, allow_subnormal=False))
def test_eq_13_8_bias(case, demo_coef):
    """E[-∇L] = ∇J_A2C - λ ∇E_{π*}[L_BC]: with the true advantages and γ = 1, over all trajectories of both."""
    mdp, expert = case.mdp, expert_of(case)
    batch, (V, Q) = case.batch, mdp.values(case.policy, 1.0)
    s, t = batch.states[:-1].argmax(axis=2), np.arange(mdp.horizon)[:, None]
    A = Q[t, s, batch.actions] - V[t, s]
    states, actions, weights = batch.samples(batch.probability * A)
    demo_states, demo_actions, p = all_steps(case, expert)
    g = rlfd.gradient(
        case.policy, states, actions, len(states) * weights, demo_states, demo_actions, len(p) * p, demo_coef=demo_coef
    )
    d = mdp.visits(expert).sum(axis=0) * ~mdp.terminal
    pi = case.policy(np.eye(mdp.start.size))
    bias = case.policy.backward(pi, d[:, None] * (pi.probabilities - tables(case, expert)))
    agree(-g, mdp.gradient(case.policy, 1.0) - demo_coef * bias)


def test_eq_13_8_without_demonstrations_it_is_a2c():
    policy, *batch = softmax_rows(0)
    _, *demos = softmax_rows(1)
    agree(rlfd.gradient(policy, *batch, *demos, demo_coef=0.0), a2c.gradient(policy, *batch))
