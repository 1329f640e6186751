"""§12 SAC: (12.1) to (12.15), both sides of each.

Expectations over the noise ε are sums by the trapezoid rule, which is exact to rounding here: what is summed is smooth
and has died away at ε = ±9. Gauss–Hermite is not, as tanh has poles at ±iπ/2.
"""

import math

import gymnasium as gym
import numpy as np
import pytest
from exact import agree, cases, derivative
from helpers import SEEDS, assert_complex_step, same_bits
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import FiniteMDP, Softmax, SoftmaxPolicy, SquashedGaussian, SquashedGaussianPolicy, TwinQ, sac
from scratchpg.q import follow
from scratchpg.replay import Sample
from scratchpg.squashed import log_slope

ALPHAS = st.sampled_from([0.0, 0.1, 1.0, 3.0])
POSITIVE = st.sampled_from([0.1, 1.0, 3.0])
EPSILON = np.linspace(-9, 9, 901)[:, None]  # the noise ε of d = 1, in steps of 0.02
WEIGHTS = 0.02 * np.exp(-(EPSILON[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi)  # of E_ε


def random_networks(rng, n=3, d=2, hidden=4):
    """A policy and twins in float64 with θ, φ ~ N(0, 1)/2."""
    policy, q = SquashedGaussianPolicy((n, hidden, d), dtype=float), TwinQ((n + d, hidden), dtype=float)
    for network in policy, q:
        network.theta[:] = rng.normal(0, 0.5, network.theta.shape)
    return policy, q


def steps(f, x):
    """∂f/∂x_i by complex step; f may return an array. The last axis is that of x (n,)."""
    return np.stack([np.imag(f(x + 1e-30j * e)) / 1e-30 for e in np.eye(len(x))], axis=-1)


def complex_twins(q):
    """The same twins, for complex actions: their imaginary part would be lost otherwise."""
    return TwinQ(q.sizes, theta=q.theta.astype(complex))


def repeated(eta):
    """The distribution of these parameters (2,), d = 1, once for each ε of the grid."""
    return SquashedGaussian(np.tile(eta, (len(EPSILON), 1)))


@given(cases(), ALPHAS)
def test_eq_12_1_soft_objective(case, alpha):
    """J_α as a sum over all trajectories, against the recursion (12.2); and with -α log π(a_t|s_t) for α H."""
    batch, p = case.batch, case.batch.probability
    pi = case.policy(batch.states[:-1].reshape(-1, len(case.mdp.start)))
    J = case.mdp.objective(case.policy, case.gamma, alpha)
    for bonus in pi.entropy(), -pi.log_prob(batch.actions.ravel()):
        paid = np.where(batch.valid, batch.rewards + alpha * bonus.reshape(batch.valid.shape), 0)
        agree(sum(p[k] * (case.discounts[:, 0] @ paid[:, k]) for k in range(case.K)), J)


@given(cases(), ALPHAS)
def test_eq_12_2_soft_bellman(case, alpha):
    """Q = E[r + γ V(s')], V = Σ_a π (Q - α log π), entry by entry; V of a terminal state is 0, and so is V_H."""
    mdp = case.mdp
    V, Q = mdp.values(case.policy, case.gamma, alpha)
    pi = case.policy(np.eye(len(mdp.start)))
    log_pi = pi.log_probabilities
    for t in range(mdp.horizon):
        for s in range(len(mdp.start)):
            ways = range(len(mdp.start))
            for a in range(pi.logits.shape[1]):
                p = mdp.transition[s, a]
                agree(Q[t, s, a], sum(p[n] * (mdp.reward[s, a, n] + case.gamma * V[t + 1, n]) for n in ways))
            soft = sum(math.exp(log_pi[s, a]) * (Q[t, s, a] - alpha * log_pi[s, a]) for a in range(len(log_pi[s])))
            agree(V[t, s], 0.0 if mdp.terminal[s] else soft)
    agree(V[-1], np.zeros(len(mdp.start)))


@given(SEEDS, POSITIVE)
def test_eq_12_3_the_best_distribution_is_a_softmax(seed, alpha):
    """V = α log Σ_a e^{Q/α} - α KL(π ‖ softmax(Q/α)): never above the first term, which softmax(Q/α) reaches."""
    rng = np.random.default_rng(seed)
    Q, pi = rng.standard_normal((5, 4)), Softmax(rng.standard_normal((5, 4)))
    best, highest = Softmax(Q / alpha), alpha * np.log(np.exp(Q / alpha).sum(axis=1))
    agree(pi.soft_value(Q, alpha), highest - alpha * pi.kl(best))
    agree(best.soft_value(Q, alpha), highest)


def random_mdp(rng, S=4, A=3):
    """Without a horizon that counts; one state is terminal."""
    P = rng.random((S, A, S))
    terminal = np.arange(S) == S - 1
    tables = ~terminal / (S - 1), P / P.sum(axis=2, keepdims=True), rng.standard_normal((S, A, S))
    return FiniteMDP(*tables, horizon=1, terminal=terminal)


@given(SEEDS, st.sampled_from([0.0, 0.5, 0.95]), POSITIVE)
def test_eq_12_4_soft_policy_iteration(seed, gamma, alpha):
    """π ← softmax(Q^π/α) lowers V^π(s) in no s; its limit is that of V ← α log Σ_a e^{(r + γPV)/α}."""
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng)
    pi = Softmax(rng.standard_normal((4, 3)))
    V = mdp.stationary_values(pi, gamma, alpha)
    Q = mdp.bellman_q(V, gamma)
    agree(V, np.where(mdp.terminal, 0, (pi.probabilities * (Q - alpha * pi.log_probabilities)).sum(axis=1)))  # (12.2)
    for _ in range(30):
        pi = mdp.soft_improvement(V, gamma, alpha)
        before, V = V, mdp.stationary_values(pi, gamma, alpha)
        assert (V - before).min() >= -1e-12
    W = rng.standard_normal(4)
    for _ in range(900):
        z = mdp.bellman_q(W, gamma) / alpha
        literal = [0.0 if mdp.terminal[s] else alpha * math.log(sum(map(math.exp, z[s]))) for s in range(4)]
        W = mdp.soft_bellman(W, gamma, alpha)
        agree(W, np.array(literal))
    agree(V, W)
    agree(pi.probabilities, Softmax(mdp.bellman_q(W, gamma) / alpha).probabilities)


@given(cases(), ALPHAS)
def test_eq_12_5_gradient_of_the_soft_objective(case, alpha):
    """Σ_t γ^t Σ_s d_t(s) Σ_a ∇π (Q_t - α log π) = ∇J_α by complex step; and it is -∇ of (12.8) with the true Q_t, with
    the states weighted by γ^t d_t(s)."""
    mdp, policy = case.mdp, case.policy
    right = derivative(lambda policy: mdp.objective(policy, case.gamma, alpha), policy)
    agree(mdp.gradient(policy, case.gamma, alpha), right)
    _, Q = mdp.values(policy, case.gamma, alpha)
    eye, pi, d = np.eye(len(mdp.start)), policy(np.eye(len(mdp.start))), mdp.start
    by_loss = 0
    for t in range(mdp.horizon):
        acts = np.where(mdp.terminal, 0, d)

        def minus_loss(policy, t=t, acts=acts):
            return case.gamma**t * (acts * policy(eye).soft_value(Q[t], alpha)).sum()

        by_loss = by_loss + derivative(minus_loss, policy)
        d = np.einsum("s,sa,san->n", d, pi.probabilities, mdp.transition)
    agree(by_loss, right)


@given(SEEDS, ALPHAS)
def test_eq_12_6_target(seed, alpha):
    """y = r + γ 1[s' not terminal] (min_i Q̄_i(s',a') - α log π(a'|s')), row by row; of a terminal row r, to the bit."""
    rng = np.random.default_rng(seed)
    policy, target = random_networks(rng)
    rewards, noise, discounts = rng.standard_normal(6), rng.standard_normal((6, 2)), np.array([0.9, 0, 0.9, 0, 0.9, 0])
    states, next_states = rng.standard_normal((2, 6, 3))
    batch = Sample(states, np.zeros((6, 2)), rewards, next_states, discounts, None, np.ones(6))
    y = sac.targets(policy, target, batch, noise, ent_coef=alpha)
    for i in range(6):
        if discounts[i] == 0:
            assert y[i] == rewards[i]
            continue
        parameters = policy(next_states[i][None]).parameters[0]
        u = [parameters[j] + math.exp(parameters[2 + j]) * noise[i, j] for j in range(2)]
        density = [
            math.exp(-(noise[i, j] ** 2) / 2)
            / (math.sqrt(2 * math.pi) * math.exp(parameters[2 + j]) / math.cosh(u[j]) ** 2)
            for j in range(2)
        ]
        x = np.concatenate([next_states[i], np.tanh(u)])[None]
        smaller = min(net(x)[0, 0] for net in target.nets)
        agree(y[i], rewards[i] + 0.9 * (smaller - alpha * math.log(density[0] * density[1])))


@given(SEEDS)
def test_eq_12_6_the_minimum_of_the_twins_is_too_low(seed):
    """With two errors of deviation s, E[min] = mean - s/√π."""
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.1, 2)
    x, w = np.polynomial.legendre.leggauss(60)
    x, w = 6 * (x + 1), 6 * w  # min = (e_1 + e_2 - |e_1 - e_2|)/2, and e_1 - e_2 has the variance 2 s²
    agree(-s * (w @ (x * np.exp(-(x**2) / 4) / math.sqrt(4 * math.pi))), -s / math.sqrt(math.pi))


@given(SEEDS)
def test_eq_12_7_critics(seed):
    """L_Q = Σ_i mean_t (y_t - Q_i)², and ∇ with y held: complex step; each net's own half."""
    rng = np.random.default_rng(seed)
    _, q = random_networks(rng)
    rows = rng.standard_normal((6, 3)), rng.uniform(-1, 1, (6, 2)), rng.standard_normal(6)
    states, actions, y = rows
    outputs = [net(np.concatenate([states, actions], axis=1))[:, 0] for net in q.nets]
    agree(q.mse(*rows), sum(np.mean([(y[t] - Q[t]) ** 2 for t in range(6)]) for Q in outputs))
    g = q.mse_gradient(*rows)
    assert_complex_step(lambda theta: TwinQ(q.sizes, theta=theta).mse(*rows), g, q.theta)
    P = len(q.theta) // 2
    q.theta[P:] += 1
    assert same_bits(q.mse_gradient(*rows)[:P], g[:P])


@given(SEEDS, ALPHAS)
def test_eq_12_8_exactly_for_a_softmax(seed, alpha):
    """mean_t Σ_a π (α log π - Q) and its ∇, by ∂/∂z = -α ∂H/∂z - π ⊙ (Q - Σ_b π_b Q_b): complex step."""
    rng = np.random.default_rng(seed)
    policy = SoftmaxPolicy((3, 4, 3), dtype=float)
    policy.theta[:] = rng.standard_normal(policy.theta.shape)
    states, Q = rng.standard_normal((2, 5, 3))

    def L(policy):
        pi = policy(states)
        return (pi.probabilities * (alpha * pi.log_probabilities - Q)).sum(axis=1).mean()

    pi = policy(states)
    agree(-pi.soft_value(Q, alpha).mean(), L(policy))
    agree(policy.backward(pi, -pi.d_soft_value(Q, alpha) / 5), derivative(L, policy))


@given(SEEDS, ALPHAS, st.integers(1, 3))
def test_eq_12_8_along_the_path(seed, alpha, d):
    """L_π with one draw per state, literally; its ∇ by complex step through the policy and both nets of the twins."""
    rng = np.random.default_rng(seed)
    policy, q = random_networks(rng, d=d)
    states, noise = rng.standard_normal((6, 3)), rng.standard_normal((6, d))
    q.nets[1].layers[-1][1][:] = q(states, policy(states).action(noise))[
        0
    ].mean()  # so that each is the smaller in turn
    pi = policy(states)
    values = q(states, pi.action(noise))
    assert abs(values[0] - values[1]).min() > 1e-6  # at the kink there is no derivative
    agree(
        sac.loss(policy, q, states, noise, ent_coef=alpha),
        np.mean([alpha * pi.log_prob(noise)[t] - min(values[:, t]) for t in range(6)]),
    )
    g, entropy = sac.gradient(policy, q, states, noise, ent_coef=alpha)
    agree(entropy, -pi.log_prob(noise).mean())
    twins = complex_twins(q)

    def L(theta):
        return sac.loss(SquashedGaussianPolicy(policy.sizes, theta=theta), twins, states, noise, ent_coef=alpha)

    agree(g, steps(L, policy.theta))


@given(SEEDS)
def test_eq_12_9_action(seed):
    """a = tanh(μ + σ ε), log σ = 5 tanh(z/5), of the network's outputs (μ, z)."""
    rng = np.random.default_rng(seed)
    policy, _ = random_networks(rng)
    policy.theta *= 4
    states, noise = rng.standard_normal((5, 3)), rng.standard_normal((5, 2))
    pi = policy(states)
    for t, (m0, m1, z0, z1) in enumerate(policy.net(states)):
        for i, (m, z) in enumerate([(m0, z0), (m1, z1)]):
            agree(pi.action(noise)[t, i], math.tanh(m + math.exp(5 * math.tanh(z / 5)) * noise[t, i]))


@given(SEEDS)
def test_eq_12_10_density(seed):
    """∫ π(a|s) da = 1, da/dε by complex step through `action`; several dimensions are the sum of each."""
    rng = np.random.default_rng(seed)
    pi = repeated(rng.normal(0, 0.7, 2))
    slope = np.imag(pi.action(EPSILON + 1e-30j)) / 1e-30
    agree(0.02 * (np.exp(pi.log_prob(EPSILON)) * slope[:, 0]).sum(), 1.0)
    parameters, noise = rng.standard_normal((4, 6)), rng.standard_normal((4, 3))
    each = [SquashedGaussian(parameters[:, [i, 3 + i]]).log_prob(noise[:, [i]]) for i in range(3)]
    agree(SquashedGaussian(parameters).log_prob(noise), sum(each))


def test_eq_12_11_log_of_the_slope_of_tanh():
    """log(1 - tanh² u) = -2 log cosh u, in extended precision, where cosh(800) is a number; |u| up to 800."""
    u = np.concatenate([np.linspace(-800, 800, 2001), np.linspace(-9, 9, 2001), [0.0, 1e-9]])
    exact = -2 * np.log(np.cosh(u.astype(np.longdouble)))
    assert (abs(log_slope(u) - exact) <= 4e-16 * np.maximum(abs(exact), 1)).all()
    agree(log_slope(u), 2 * (math.log(2) - u - (np.maximum(-2 * u, 0) + np.log1p(np.exp(-abs(2 * u))))))  # as printed


def test_eq_12_11_the_common_form_is_another_function():
    """log(1 - a² + 1e-6) is off by 1 % from |u| = 6.5 on, and ends at -13.8."""
    u = np.array([6.0, 6.6, 10.0])
    error = np.log(1 - np.tanh(u) ** 2 + 1e-6) / log_slope(u) - 1
    assert abs(error[0]) < 0.01 < abs(error[1])
    np.testing.assert_allclose([np.log(1 - np.tanh(10.0) ** 2 + 1e-6), log_slope(u)[2]], [-13.8, -18.6], atol=0.05)


@given(SEEDS, st.integers(1, 3))
def test_eq_12_12_along_the_path(seed, d):
    """∂log π/∂η and ∂a/∂η with ε held, and ∂Q/∂a of the twins: complex step."""
    rng = np.random.default_rng(seed)
    _, q = random_networks(rng, d=d)
    eta, noise, v = rng.normal(0, 0.7, 2 * d), rng.standard_normal((1, d)), rng.standard_normal((1, d))
    pi = SquashedGaussian(eta[None])
    agree(pi.d_log_prob(noise)[0], steps(lambda eta: SquashedGaussian(eta[None]).log_prob(noise)[0], eta))
    agree(pi.d_action(noise, v)[0], steps(lambda eta: v[0] @ SquashedGaussian(eta[None]).action(noise)[0], eta))
    states, actions, weights = rng.standard_normal((4, 3)), rng.uniform(-1, 1, (4, d)), rng.standard_normal((2, 4))
    weights[0, :2] = 0
    twins, (_, caches) = complex_twins(q), q.forward(states, actions)
    by_rows = [
        steps(lambda a, t=t: (weights[:, t] * twins(states[[t]], a[None])[:, 0]).sum(), actions[t]) for t in range(4)
    ]
    agree(q.d_action(caches, weights, d), np.array(by_rows))


@given(SEEDS, POSITIVE)
def test_eq_12_12_as_it_is_printed(seed, alpha):
    """∂L_π/∂μ = 2α a - (1 - a²) ∂Q/∂a,   ∂L_π/∂log σ = σ ε ∂L_π/∂μ - α."""
    rng = np.random.default_rng(seed)
    pi = SquashedGaussian(rng.normal(0, 0.7, (5, 4)))
    noise, d_Q = rng.standard_normal((2, 5, 2))
    a = pi.action(noise)
    d_mean = 2 * alpha * a - (1 - a**2) * d_Q
    printed = np.concatenate([d_mean, pi.std * noise * d_mean - alpha], axis=1)
    agree(alpha * pi.d_log_prob(noise) - pi.d_action(noise, d_Q), printed)


@given(SEEDS, ALPHAS)
def test_eq_12_13_path_and_score(seed, alpha):
    """E_ε[path gradient] = E_a[ score (α log π - Q) ] = ∇E[ α log π - Q ] in η = (μ, log σ), and E[score] = 0."""
    rng = np.random.default_rng(seed)
    q, s = TwinQ((2, 4), rng, dtype=float), np.full((len(EPSILON), 1), rng.standard_normal())
    eta = rng.normal(0, 0.5, 2)
    pi, twins = repeated(eta), complex_twins(q)
    values, caches = q.forward(s, pi.action(EPSILON))
    first = np.stack([np.ones(len(EPSILON)), np.zeros(len(EPSILON))])  # Q = Q_1: the minimum has a kink
    path = WEIGHTS @ (alpha * pi.d_log_prob(EPSILON) - pi.d_action(EPSILON, q.d_action(caches, first, 1)))
    score = np.concatenate([EPSILON / pi.std, EPSILON**2 - 1], axis=1)
    agree(path, WEIGHTS @ (score * (alpha * pi.log_prob(EPSILON) - values[0])[:, None]))
    agree(WEIGHTS @ score, np.zeros(2))

    def expectation(eta):
        pi = repeated(eta)
        return WEIGHTS @ (alpha * pi.log_prob(EPSILON) - twins(s, pi.action(EPSILON))[0])

    agree(path, steps(expectation, eta))


def test_eq_12_14_temperature(monkeypatch):
    """log α ← log α - η (H - H̄), one step after the other; H < H̄ raises α, H > H̄ lowers it. A fixed α stays."""
    env = gym.make("Pendulum-v1")
    settings = dict(total_steps=6, learning_starts=2, batch_size=4, ent_coef=0.5, learning_rate=0.1, seed=0)
    for H, learn in (-3.0, True), (-1.0, True), (0.5, True), (-3.0, False):
        monkeypatch.setattr(sac, "gradient", lambda policy, *_, H=H, **__: (np.zeros_like(policy.theta), H))
        networks = SquashedGaussianPolicy((3, 1), rng=0), TwinQ((4,), rng=0)
        alphas = [p.ent_coef for p in sac.train(env, *networks, **settings, learn_ent_coef=learn)]
        rate = 0.1 * (H + 1) if learn else 0  # H̄ = -d = -1
        np.testing.assert_allclose(alphas, [0.5, *(0.5 * math.exp(-rate * k) for k in range(1, 6))], rtol=1e-12)
        assert np.sign(alphas[-1] - 0.5) == (np.sign(-1 - H) if learn else 0)


@pytest.mark.parametrize("tau", [0.005, 0.3, 1.0])
def test_eq_12_15_polyak(tau):
    """Q̄ ← Q̄ + τ (Q - Q̄), k times with Q held: the distance falls by (1 - τ)^k, of both twins."""
    rng = np.random.default_rng(0)
    (_, q), (_, target) = random_networks(rng), random_networks(rng)
    begin = target.theta.copy()
    for _ in range(5):
        follow(target, q, tau)
    agree(target.theta, q.theta + (1 - tau) ** 5 * (begin - q.theta))
    states, actions = rng.standard_normal((2, 3)), np.zeros((2, 2))
    agree(target(states, actions), TwinQ(q.sizes, theta=target.theta.copy())(states, actions))  # the nets are its views


def test_eq_12_15_after_the_step_on_q(monkeypatch):
    """Within `train`: at each step, once, and with the φ of after it."""
    seen = []
    monkeypatch.setattr(sac, "follow", lambda target, q, tau: seen.append((q.theta.copy(), tau)))
    q = TwinQ((4,), rng=0)
    run = sac.train(
        gym.make("Pendulum-v1"),
        SquashedGaussianPolicy((3, 1), rng=0),
        q,
        total_steps=4,
        learning_starts=3,
        tau=0.1,
        seed=0,
    )
    before = q.theta.copy()
    for progress in run:
        expected = [] if progress.steps < 3 else [(q.theta, 0.1)]
        assert len(seen) == len(expected)
        for (theta, tau), (now, its) in zip(seen, expected, strict=True):
            assert same_bits(theta, now) and tau == its and not same_bits(theta, before)
        seen.clear()
        before = q.theta.copy()
    assert progress.steps == 4
