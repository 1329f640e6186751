"""§11 DQN and Rainbow: (11.1) to (11.16), both sides of each."""

from itertools import product
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, ScriptedVector, observation, reward
from exact import agree
from helpers import SEEDS, assert_complex_step, same_bits
from hypothesis import given
from hypothesis import strategies as st

from scratchpg.algorithms import dqn, rainbow
from scratchpg.epsilon_greedy import EpsilonGreedy
from scratchpg.mdp import FiniteMDP
from scratchpg.mlp import MLP
from scratchpg.q import Behaviour, QNetwork, follow
from scratchpg.replay import PrioritizedReplay, Replay, Sample
from scratchpg.rollout import Batch, Collector

ATOMS = {"atoms": 5, "v_range": (-2.0, 3.0)}
COMBINATIONS = [
    dict(dueling=dueling, noisy=noisy, **(ATOMS if atoms else {}))
    for dueling, noisy, atoms in product((False, True), repeat=3)
]
all_eight = pytest.mark.parametrize("switches", COMBINATIONS, ids=lambda x: "-".join(k for k in x if x[k]) or "plain")


def random_q(rng, sizes=(3, 4, 3), **switches):
    """A Q-network in float64 with θ ~ N(0, 1), and a noise for it."""
    q = QNetwork(sizes, dtype=float, **switches)
    q.theta[:] = rng.standard_normal(q.theta.shape)
    return q, q.draw(rng)


def random_sample(rng, B=6, n=3, gamma=0.9):
    """Transitions of which some are terminal."""
    discounts = np.where(rng.random(B) < 0.3, 0, gamma)
    states, next_states = rng.standard_normal((2, B, n))
    return Sample(states, rng.integers(3, size=B), rng.standard_normal(B), next_states, discounts, None, np.ones(B))


class Scripted:
    """A generator whose every number is given."""

    def __init__(self, random=None, integers=None):
        self.random, self.integers = lambda size: random, lambda high, size: integers


def batch_of(rewards, ended="terminated"):
    """One environment, rows of one episode that ends with the last: states 0, 1, 2, …"""
    T = len(rewards)
    last, none = np.arange(T)[:, None] == T - 1, np.zeros((T, 1), bool)
    flags = (last, none) if ended == "terminated" else (none, last)
    states = np.arange(T + 1.0)[:, None, None]
    return Batch(states, np.zeros((T, 1), int), np.array(rewards, float)[:, None], *flags, ~none)


@given(SEEDS, st.sampled_from([0.0, 0.5, 0.9]))
def test_eq_11_1_the_best_of_all_policies(seed, gamma):
    """Q*(s,a) = E[r + γ max_b Q*(s',b)]: value iteration, against each of the A^S policies by a linear solve; the
    operator contracts by γ; greedy on Q* is best in every state."""
    rng, S, A = np.random.default_rng(seed), 3, 2
    transition = rng.random((S, A, S))
    transition /= transition.sum(axis=2, keepdims=True)
    mdp = FiniteMDP(np.ones(S) / S, transition, rng.standard_normal((S, A, S)), horizon=1)
    V, W = np.zeros(S), rng.standard_normal(S)
    for _ in range(400):
        next_V, next_W = (mdp.bellman_q(x, gamma).max(axis=1) for x in (V, W))
        assert abs(next_V - next_W).max() <= gamma * abs(V - W).max() + 1e-14
        V, W = next_V, next_W
    best = np.full(S, -np.inf)
    for policy in product(range(A), repeat=S):
        P = transition[range(S), policy]
        r = (P * mdp.reward[range(S), policy]).sum(axis=1)
        best = np.maximum(best, V_pi := np.linalg.solve(np.eye(S) - gamma * P, r))
        if policy == tuple(mdp.bellman_q(V, gamma).argmax(axis=1)):
            agree(V_pi, V)
    agree(V, best)


@given(SEEDS)
def test_eq_11_2_target(seed):
    """y = r + γ 1[s' not terminal] max_b Q̄(s',b), row by row."""
    rng = np.random.default_rng(seed)
    (q, _), (target, _), batch = random_q(rng), random_q(rng), random_sample(rng)
    literal = [
        r + (gamma * max(target(s[None]).values[0]) if gamma else 0)
        for r, s, gamma in zip(batch.rewards, batch.next_states, batch.discounts, strict=True)
    ]
    agree(rainbow.targets(q, target, batch, False, (None, None)), np.array(literal))


@given(SEEDS)
def test_eq_11_3_semi_gradient(seed):
    """L(φ) = mean_t (y_t - Q_φ(s_t,a_t))², ∇L with y held: complex step."""
    rng = np.random.default_rng(seed)
    q, _ = random_q(rng)
    batch, y = random_sample(rng), rng.standard_normal(6)
    rows = batch.states, batch.actions, y
    agree(dqn.loss(q, *rows), np.mean([(y[i] - q(batch.states).values[i, batch.actions[i]]) ** 2 for i in range(6)]))
    assert_complex_step(lambda theta: dqn.loss(QNetwork(q.sizes, theta=theta), *rows), dqn.gradient(q, *rows), q.theta)


@pytest.mark.parametrize("epsilon", [0.0, 0.05, 0.3, 1.0])
def test_eq_11_4_epsilon_greedy(epsilon):
    """P(greedy) = 1 - ε + ε/A, P(another) = ε/A: all draws, on a grid of the first number, which may be 0 but not 1."""
    A, K = 4, 100
    u, any_action = np.meshgrid(np.arange(K) / K, np.arange(A))
    values = np.tile([0.0, 2.0, 1.0, -1.0], (u.size, 1))
    drawn = EpsilonGreedy(values, epsilon).sample(Scripted(u.ravel(), any_action.ravel()))
    agree(np.bincount(drawn, minlength=A) / drawn.size, epsilon / A + (1 - epsilon) * np.array([0, 1, 0, 0]))


@pytest.mark.parametrize("tau", [0.005, 0.3, 1.0])
def test_eq_11_5_and_12_15_target_network(tau):
    """φ̄ ← φ̄ + τ (φ - φ̄), k times with φ held: the distance to φ falls by (1-τ)^k; τ = 1 is a copy to the bit."""
    rng = np.random.default_rng(0)
    (q, _), (target, _) = random_q(rng, noisy=True), random_q(rng, noisy=True)
    theta, begin = target.theta, target.theta.copy()
    for _ in range(5):
        follow(target, q, tau)
    agree(target.theta, q.theta + (1 - tau) ** 5 * (begin - q.theta))
    assert target.theta is theta and not np.shares_memory(target.theta, q.theta)
    assert same_bits(target.theta, q.theta) == (tau == 1)


@given(SEEDS)
def test_eq_11_6_double(seed):
    """y = r + γ Q̄(s', argmax_b Q_φ(s',b)): the online network chooses, the target judges."""
    rng = np.random.default_rng(seed)
    (q, _), (target, _), batch = random_q(rng), random_q(rng), random_sample(rng)
    literal = []
    for r, s, gamma in zip(batch.rewards, batch.next_states, batch.discounts, strict=True):
        choice = int(np.argmax(q(s[None]).values[0]))
        literal.append(r + gamma * target(s[None]).values[0, choice])
    agree(rainbow.targets(q, target, batch, True, (None, None)), np.array(literal))


@given(SEEDS, st.integers(2, 3))
def test_eq_11_6_the_maximum_of_noisy_values_is_too_high(seed, A):
    """E max_b (Q* + e_b) ≥ max_b Q*: over all outcomes of noises with three values and mean 0, judged by the choosing
    network itself; an independent judge with equal Q* is right. For A = 2 and e ~ N(0, s²) it is + s/√π."""
    rng = np.random.default_rng(seed)
    noise, p = np.array([-1.0, 0.5, 1.0]), np.array([0.3, 0.2, 0.2]) / 0.7
    noise = noise - p @ noise
    outcomes = [(noise[list(i)], p[list(i)].prod()) for i in product(range(3), repeat=A)]
    Q = rng.standard_normal(A)
    assert sum(w * (Q + e).max() for e, w in outcomes) > Q.max() - 1e-12
    assert sum(w * e.max() for e, w in outcomes) > 0.1
    agree(sum(w * v * judge[e.argmax()] for e, w in outcomes for judge, v in outcomes), 0.0)
    x, weights = np.polynomial.legendre.leggauss(60)
    x, weights = 6 * (x + 1), 6 * weights  # E max(e_1, e_2) = E|e_1 - e_2| / 2, for s = 1 of a normal of variance 2
    agree(weights @ (x * np.exp(-(x**2) / 4) / np.sqrt(4 * np.pi)), 1 / np.sqrt(np.pi))


@given(SEEDS)
def test_eq_11_7_dueling(seed):
    """Q_a = V + A_a - mean_b A_b within a row: no row knows of the others, and a shift of all A_a changes nothing."""
    rng = np.random.default_rng(seed)
    q, _ = random_q(rng, dueling=True)
    states = rng.standard_normal((5, 3))
    literal = [[V + a - sum(A) / 3 for a in A] for V, *A in q.net(states)]
    agree(q(states).values, np.array(literal))
    agree(q(states[[2]]).values[0], q(states).values[2])
    output, d = q(states), rng.standard_normal((5, 3))
    d_V, d_A = d.sum(axis=1), [[d[i, a] - sum(d[i]) / 3 for a in range(3)] for i in range(5)]
    agree(q.backward(output, d), q.net.backward(q.net.forward(states)[1], np.column_stack([d_V, d_A])))


@given(SEEDS, st.sampled_from([1, 5, 63, 64, 65, 200, 5000]))
def test_eq_11_8_sum_tree_against_a_linear_scan(seed, N):
    """The place of every mass is that of cumsum and searchsorted; no p_i = 0 is drawn, at whatever mass."""
    rng = np.random.default_rng(seed)
    replay = PrioritizedReplay(N, priority_exponent=1.0)
    stored = np.unique(rng.integers(N, size=max(1, N // 2)))  # the others have p_i = 0
    p = np.zeros(N)
    for _ in range(3):  # errors change, in any order and company
        for i in np.array_split(rng.permutation(stored), min(3, len(stored))):
            p[i] = 0.01 + rng.random(len(i))
            replay.update(i, p[i] - 1e-6)
    for level in replay.levels:
        agree(level.sum() / N, p.sum() / N)
    mass = rng.random(300) * p.sum()
    assert np.array_equal(replay.find(mass), np.searchsorted(p.cumsum(), mass, side="right"))
    ends = p.cumsum()
    hard = np.concatenate([ends, np.nextafter(ends, 0), np.nextafter(ends, np.inf), [0.0, 2 * p.sum()]])
    found = replay.find(hard)
    assert ((found >= 0) & (found < N)).all() and (p[found] > 0).all()


def test_eq_11_8_stratified_draws_keep_the_expected_counts():
    """E[count_i] = B P(i), one draw from each of B equal parts: the mean over a grid of the random number."""
    p, B = np.array([1.0, 5, 0, 2, 4]), 3  # Σ p = 12: a grid of 16 cuts each part of 4 at all ends
    replay = PrioritizedReplay(5, priority_exponent=1.0)
    replay.add(batch_of(range(5)))
    replay.levels[0][0, :5] = p
    grid = [Scripted(np.full(B, u)) for u in (np.arange(16) + 0.5) / 16]
    counts = [np.bincount(replay.sample(B, rng).places, minlength=5) for rng in grid]
    agree(np.mean(counts, axis=0), B * p / p.sum())


def test_eq_11_8_priorities():
    """p_i = |error| + small to the power ω; a new transition has the largest error so far."""
    replay = PrioritizedReplay(8, priority_exponent=0.5)
    replay.add(batch_of([1.0] * 3))
    replay.update(np.array([0, 1]), np.array([-4.0, 0.25]))
    replay.update(np.array([0]), np.array([0.0]))
    replay.add(batch_of([1.0] * 2))
    agree(replay.levels[0][0, :6], np.array([1e-6, 0.25 + 1e-6, 1 + 1e-6, 4 + 1e-6, 4 + 1e-6, 0]) ** 0.5)


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_eq_11_9_importance_weights(beta):
    """w_i = (N P(i))^{-β} / max_j (…) of the batch; for β = 1, Σ_i P(i) w_i f_i is the mean of f but for the max."""
    replay, p = PrioritizedReplay(9, priority_exponent=0.7, beta=beta), np.array([0.5, 2.0, 1.0, 4.0])
    replay.add(batch_of(range(4)))
    replay.update(np.arange(4), p - 1e-6)
    P = p**0.7 / (p**0.7).sum()
    sample = replay.sample(40, np.random.default_rng(0))
    w = (4 * P[sample.places]) ** -beta
    agree(sample.weights, w / w.max())
    assert set(sample.places) == {0, 1, 2, 3} and sample.weights.shape == (40,)
    if beta == 1:
        f, w = np.array([3.0, -1, 2, 7]), np.array([sample.weights[sample.places == i][0] for i in range(4)])
        agree((P * w * f).sum() / (P * w).sum(), f.mean())


SCRIPTS = [[(3, "truncated"), (2, "terminated")], [(4, "both"), (1, "truncated")], [(30, "terminated")]]


@given(st.integers(1, 6), st.integers(3, 60), st.lists(st.integers(1, 9), min_size=1, max_size=12), SEEDS)
def test_eq_11_10_walks_along_episodes(n, capacity, lengths, seed):
    """y = Σ_{k<m} γ^k r_{t+k} + γ^m 1[s_{t+m} not terminal] V(s_{t+m}): from every place of the ring, overwritten or
    not, by the script. m ends at n, at a flag of either kind, or at what was collected last."""
    q, gamma = QNetwork((3, 2), rng=0), 0.9
    collector, replay = (
        Collector(ScriptedVector(SCRIPTS, NEXT_STEP), Behaviour(q, 1.0, 0.1), 0),
        Replay(capacity, gamma=gamma, n_steps=n),
    )
    collected = []
    for T in lengths:
        batch = collector.collect(T)
        replay.add(batch)
        collected += [tuple(map(int, row)) for row in batch.samples()[0]]
    sample = replay.at(np.arange(len(replay)), np.ones(len(replay)))
    stored = [tuple(map(int, row)) for row in sample.states]
    assert sorted(stored) == sorted(collected[-capacity:])
    for i, (env, episode, t) in enumerate(stored):
        length, end = SCRIPTS[env][episode % len(SCRIPTS[env])]
        m = next(k for k in range(1, n + 1) if k == n or t + k == length or (env, episode, t + k) not in collected)
        agree(sample.rewards[i], sum(gamma**k * reward(env, episode, t + k) for k in range(m)))
        agree(sample.discounts[i], 0.0 if t + m == length and end != "truncated" else gamma**m)
        assert np.array_equal(sample.next_states[i], observation(env, episode, t + m))


@given(SEEDS)
def test_eq_11_11_atoms(seed):
    """Q(s,a) = Σ_i z_i p_i(s,a), p_i = exp(logit_i) / Σ_j exp(logit_j), z_i = v_min + i Δz."""
    rng = np.random.default_rng(seed)
    q, _ = random_q(rng, **ATOMS)
    states = rng.standard_normal((4, 3))
    agree(q.z, np.array([-2.0 + i * 5 / 4 for i in range(5)]))
    weights = np.exp(q.net(states).reshape(4, 3, 5))
    agree(q(states).values, (weights / weights.sum(axis=2, keepdims=True) * q.z).sum(axis=2))


@given(SEEDS, st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.integers(2, 11))
def test_eq_11_12_projection_against_the_printed_sum(seed, gamma, N):
    """m_i = Σ_j p_j max(0, 1 - |clip(r + γ_m z_j) - z_i|/Δz); Σ m = 1; m·z = r + γ_m p·z if nothing is clipped. Some
    returns fall on an atom exactly: the best state of reward 1 for ever maps its top atom to itself."""
    rng = np.random.default_rng(seed)
    z = np.linspace(-1, 1 / (1 - 0.9), N)
    p = rng.dirichlet(np.ones(N), size=7)
    rewards, discounts = np.concatenate([[1.0, 0.0, z[0], z[-1]], rng.normal(0, 3, 3)]), np.full(7, gamma)
    m = rainbow.project(rewards, discounts, p, z)
    moved = np.clip(rewards[:, None] + discounts[:, None] * z, z[0], z[-1])
    shares = np.maximum(0, 1 - abs(moved[:, :, None] - z) / (z[1] - z[0]))
    agree(m, np.einsum("bj,bji->bi", p, shares))
    agree(m.sum(axis=1), np.ones(7))
    free = (moved == rewards[:, None] + discounts[:, None] * z).all(axis=1)
    assert free[1]  # r = 0
    agree((m @ z)[free], (rewards + discounts * (p @ z))[free])


@all_eight
@given(seed=SEEDS)
def test_eq_11_13_and_11_15_gradient_of_all_combinations(switches, seed):
    """∇ of -mean_t w_t Σ_i m_i log p_i(s_t,a_t), or of mean_t w_t (y_t - Q)², by complex step through the heads, the
    net, μ and σ. The loss against its printed sum; the error of a fit is 0, and |y - Q| without atoms."""
    rng = np.random.default_rng(seed)
    q, noise = random_q(rng, (3, 2, 3), **switches)
    w = rng.random(6)
    batch = random_sample(rng)._replace(weights=w)
    y = rng.dirichlet(np.ones(5), size=6) if q.z is not None else rng.standard_normal(6)
    g, errors = rainbow.gradient(q, batch, y, noise)
    assert_complex_step(
        lambda theta: rainbow.loss(QNetwork(q.sizes, theta=theta, **switches), batch, y, noise), g, q.theta
    )
    outputs = q(batch.states, noise).outputs[np.arange(6), batch.actions]
    if q.z is None:
        literal = (y - outputs) ** 2
        agree(errors, abs(y - outputs))
    else:
        p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        literal = -(y * np.log(p)).sum(axis=1)
        agree(errors, (y * np.log(y / p)).sum(axis=1))
        agree(rainbow.gradient(q, batch, p, noise)[1], np.zeros(6))
    agree(rainbow.loss(q, batch, y, noise), np.mean(w * literal))


def test_eq_11_14_noise():
    """ε_W = f(e_in) f(e_out)ᵀ, ε_b = f(e'_out), f(x) = sign(x) √|x|, of each layer apart; w = μ + σ ⊙ ε."""
    q, x = QNetwork((3, 2, 4), rng=0, dtype=float, noisy=True), np.random.default_rng(5).standard_normal(17)
    sizes, numbers = [], iter(x)
    rng = SimpleNamespace(standard_normal=lambda n, _: sizes.append(n) or np.array([next(numbers) for _ in range(n)]))
    noise, f = q.draw(rng), np.sign(x) * np.sqrt(abs(x))
    assert sizes == [3 + 2 + 2, 2 + 4 + 4]
    literal = [f[i] * f[3 + j] for i in range(3) for j in range(2)] + [*f[5:7]]
    literal += [f[7 + i] * f[9 + j] for i in range(2) for j in range(4)] + [*f[13:17]]
    agree(noise, np.array(literal))
    P, states = len(noise), np.ones((1, 3))
    mu, sigma = q.theta[:P], q.theta[P:]
    agree(q(states, noise).values, MLP((3, 2, 4), theta=mu + sigma * noise)(states))
    agree(q(states).values, MLP((3, 2, 4), theta=mu)(states))  # ε = 0
    agree(sigma, np.repeat([0.5 / np.sqrt(3), 0.5 / np.sqrt(2)], [4 * 2, 3 * 4]))


def test_eq_11_15_mean_and_deviation():
    """∂L/∂μ = g, ∂L/∂σ = g ⊙ ε; without a noise σ has no part in it."""
    rng = np.random.default_rng(1)
    q, noise = random_q(rng, noisy=True)
    states, d = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    net = MLP(q.sizes, theta=q.theta[: len(noise)] + q.theta[len(noise) :] * noise)
    g = net.backward(net.forward(states)[1], d)
    agree(q.backward(q(states, noise), d), np.concatenate([g, g * noise]))
    g = q.net.backward(q.net.forward(states)[1], d)
    agree(q.backward(q(states), d), np.concatenate([g, 0 * g]))


def test_eq_11_16_all_six_off_is_dqn_bit_for_bit():
    """The same θ, to the last bit, after training that has copied its target several times."""
    settings = {"total_steps": 600, "learning_starts": 50, "target_update_interval": 20, "batch_size": 16, "seed": 3}
    first, thetas = QNetwork((4, 8, 2), rng=0).theta, []
    for train, off in (dqn.train, {}), (rainbow.train, {"double": False, "prioritized": False, "n_steps": 1}):
        q = QNetwork((4, 8, 2), rng=0)
        for _ in train(gym.make("CartPole-v1"), q, **settings, **off):
            pass
        thetas.append(q.theta)
    assert same_bits(*thetas) and not same_bits(q.theta, first)
