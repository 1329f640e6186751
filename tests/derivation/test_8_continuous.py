"""§8 Continuous actions: (8.1) to (8.9), both sides of each; and (1.9), (1.10), (2.2), (6.3) for a Gaussian policy.

Expectations over actions are sums over the nodes z of Gauss–Hermite, a = μ + σ z. They are exact for polynomials, and
exact to rounding for the entire functions of the MDP here. Where the clip of (8.8) makes a kink, Gauss–Legendre on the
pieces takes their place.
"""

import math
from itertools import pairwise, product

import gymnasium as gym
import numpy as np
import pytest
from exact import agree
from gymnasium.spaces import Box

from scratchpg import Gaussian, GaussianPolicy, Softmax, Value, evaluate, reinforce
from scratchpg.algorithms import a2c, ppo
from scratchpg.rollout import Collector

seeds = pytest.mark.parametrize("seed", range(8))


def derivative(f, x):
    """∂f/∂x_i by complex step, which cancels nothing; f may return an array. The last axis is that of x."""
    steps = 1e-30j * np.eye(x.size).reshape(x.size, *x.shape)
    return np.stack([np.imag(f(x + step)) / 1e-30 for step in steps], axis=-1)


def hermite(n, d=1):
    """The nodes z (n^d, d) and weights (n^d,) of E[f(z)], z ~ N(0, 1) in d dimensions."""
    z, w = np.polynomial.hermite_e.hermegauss(n)
    weights = [math.prod(ws) for ws in product(w / w.sum(), repeat=d)]
    return np.array([*product(z, repeat=d)]), np.array(weights)


def expectation(f, parameters, n=6):
    """E_{a~π}[ f(π, a) ] of one distribution with these parameters (2d,); f takes and returns one row per action."""
    z, w = hermite(n, len(parameters) // 2)
    pi = Gaussian(np.tile(parameters, (len(z), 1)))
    return w @ f(pi, pi.mean + pi.std * z)


def random_parameters(seed, d=3):
    """(μ, log σ) of two distributions, (2d,) each."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.7, (2, 2 * d))


@seeds
def test_eq_8_1_log_density_is_a_sum_over_dimensions(seed):
    parameters, actions = random_parameters(seed)[0], np.random.default_rng(seed).standard_normal((5, 3))
    densities = []
    for a in actions:
        each = []
        for i in range(3):
            mu, sigma = parameters[i], math.exp(parameters[3 + i])
            each.append(math.exp(-((a[i] - mu) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi)))
        densities.append(math.prod(each))
    agree(Gaussian(np.tile(parameters, (5, 1))).log_prob(actions), np.log(densities))


def test_eq_8_1_a_log_density_may_be_positive():
    narrow = Gaussian(np.array([[0.0, -3.0]]))
    assert narrow.log_prob(np.zeros((1, 1)))[0] > 0


@seeds
def test_eq_8_2_scores(seed):
    parameters, actions = random_parameters(seed)[0], np.random.default_rng(seed).standard_normal((1, 3))
    score = Gaussian(parameters[None]).d_log_prob(actions)[0]
    agree(score, derivative(lambda eta: Gaussian(eta[None]).log_prob(actions)[0], parameters))
    agree(expectation(Gaussian.d_log_prob, parameters), np.zeros(6))


@seeds
def test_eq_8_3_entropy(seed):
    parameters = random_parameters(seed)[0]
    pi = Gaussian(parameters[None])
    agree(pi.entropy()[0], -expectation(Gaussian.log_prob, parameters))
    agree(pi.d_entropy()[0], derivative(lambda eta: Gaussian(eta[None]).entropy()[0], parameters))
    agree(pi.d_entropy()[0], np.repeat([0.0, 1.0], 3))


def test_eq_8_3_an_entropy_bonus_raises_log_std_for_ever():
    """Where no action is better than another, each step of rate η adds ηβ to log σ, and nothing else moves."""
    policy, states, actions = GaussianPolicy((2, 3), rng=0, dtype=float), np.ones((4, 2)), np.zeros((4, 3))
    for log_std in -5.0, 0.0, 5.0:
        policy.log_std[:] = log_std
        gradient = a2c.gradient(policy, states, actions, np.zeros(4), ent_coef=0.1)
        agree(gradient, np.repeat([0.0, -0.1], [9, 3]))


@seeds
def test_eq_8_4_kl(seed):
    eta, other = random_parameters(seed)
    pi, q = Gaussian(eta[None]), Gaussian(other[None])

    def log_ratio(pi, a):
        return pi.log_prob(a) - Gaussian(np.tile(other, (len(a), 1))).log_prob(a)

    agree(pi.kl(q)[0], expectation(log_ratio, eta))
    agree(pi.d_kl(q)[0], derivative(lambda eta: Gaussian(eta[None]).kl(q)[0], eta))
    assert pi.kl(q)[0] > 0 and pi.kl(pi)[0] == 0


@seeds
def test_eq_8_5_fisher_of_a_gaussian(seed):
    """M = E[score scoreᵀ] = ∇²KL(π ‖ q) in either argument at π = q."""
    eta = random_parameters(seed)[0]
    pi = Gaussian(eta[None])
    M = np.stack([pi.fisher(e[None])[0] for e in np.eye(6)], axis=1)

    def outer(pi, a):
        score = pi.d_log_prob(a)
        return np.einsum("bi,bj->bij", score, score).reshape(len(a), -1)

    agree(M, expectation(outer, eta).reshape(6, 6))
    agree(M, derivative(lambda first: Gaussian(first[None]).d_kl(pi)[0], eta))
    z, w = hermite(6, 3)
    actions = pi.mean + pi.std * z

    def d_kl_second(second):  # of KL(π ‖ q) in q: -E_{a~π}[ ∇log q(a) ]
        return -w @ Gaussian(np.tile(second, (len(z), 1))).d_log_prob(actions)

    agree(M, derivative(d_kl_second, eta))


@seeds
def test_eq_8_5_fisher_of_a_softmax(seed):
    """M = diag(π) - ππᵀ, and the same three things hold for it."""
    z = np.random.default_rng(seed).normal(0, 2, 4)
    pi = Softmax(z[None])
    p = pi.probabilities[0]
    M = np.stack([pi.fisher(e[None])[0] for e in np.eye(4)], axis=1)
    score = Softmax(np.tile(z, (4, 1))).d_log_prob(np.arange(4))
    agree(M, np.einsum("a,ai,aj->ij", p, score, score))
    agree(M, derivative(lambda first: Softmax(first[None]).d_kl(pi)[0], z))
    agree(M, derivative(lambda second: Softmax(second[None]).probabilities[0] - p, z))


@seeds
def test_eq_8_6_log_std_sums_over_the_rows(seed):
    """∇_θ L by the backward pass against the complex step through the whole policy."""
    rng = np.random.default_rng(seed)
    policy = GaussianPolicy((2, 3, 2), theta=rng.normal(0, 0.5, 19))
    states, actions, weights = rng.standard_normal((5, 2)), rng.standard_normal((5, 2)), rng.standard_normal(5)
    pi = policy(states)
    gradient = policy.backward(pi, weights[:, None] * pi.d_log_prob(actions))

    def L(theta):
        return (weights * GaussianPolicy((2, 3, 2), theta=theta)(states).log_prob(actions)).sum()

    agree(gradient, derivative(L, policy.theta))
    agree(gradient[-2:], (weights[:, None] * ((actions - pi.mean) ** 2 / pi.std**2 - 1)).sum(axis=0))


class SmoothMDP:
    """Two states, two steps, actions in R: r(s,a) and p(s'|s,a) are entire in a, so few nodes are exact to rounding.

    All trajectories (s_0, z_0, s_1, z_1) are listed: a_t = μ_θ(s_t) + σ_θ z_t at the nodes z_t.
    """

    gamma = 0.6

    def __init__(self, seed, nodes=20):
        rng = np.random.default_rng(seed)
        self.c, self.k = rng.standard_normal((4, 2)), rng.uniform(0.3, 1, (2, 2))
        self.policy = GaussianPolicy((2, 2, 1), theta=rng.uniform(-0.6, 0.6, 10))
        self.value = Value((2, 2), rng, dtype=float)
        z, w = hermite(nodes)
        s0, i, s1, j = (x.ravel() for x in np.meshgrid([0, 1], range(nodes), [0, 1], range(nodes), indexing="ij"))
        self.s, self.z, self.w = np.stack([s0, s1]), np.stack([z[i], z[j]])[..., 0], w[i] * w[j]

    def reward(self, s, a):
        c = self.c[:, s]
        return c[0] + c[1] * a - 0.3 * (a - c[2]) ** 2 + c[3] * np.cos(a)

    def moves(self, a):
        """p(s_1|s_0,a_0), (K,)."""
        k = self.k[:, self.s[0]]
        return (1 + np.where(self.s[1] == 0, 1, -1) * np.sin(k[0] * a + k[1]) / 2) / 2

    def episodes(self, policy):
        """Rows: states (2K, 2), actions (2K, 1); p(τ) (K,) and the rewards (2, K)."""
        states = np.eye(2)[self.s]
        pi = policy(states.reshape(-1, 2))
        a = (pi.mean + pi.std * self.z.reshape(-1, 1)).reshape(2, -1)
        probability = self.w * self.moves(a[0]) / 2  # s_0 is 0 or 1, with ½ each
        return (states.reshape(-1, 2), a.reshape(-1, 1)), probability, self.reward(self.s, a)

    def objective(self, policy):
        """J(θ) = Σ_τ p(τ) (r_0 + γ r_1), as a function of θ through the *actions*: no score is in it."""
        _, p, r = self.episodes(policy)
        return p @ (r[0] + self.gamma * r[1])

    def gradient(self):
        """∇J by complex step along the path a = μ_θ + σ_θ z, with the nodes z held fixed."""
        return derivative(lambda theta: self.objective(GaussianPolicy((2, 2, 1), theta=theta)), self.policy.theta)

    def estimate(self, weights, method):
        """Σ_τ p(τ) Σ_t Ψ_t ∇log π(a_t|s_t), Ψ (2, K), through the library's own gradients."""
        (states, actions), p, _ = self.episodes(self.policy)
        psi = (p * weights).ravel()
        if method is reinforce:
            return -reinforce.gradient(self.policy, states, actions, psi, episodes=1)
        old_log_prob = self.policy(states).log_prob(actions)
        return -len(psi) * ppo.gradient(self.policy, states, actions, old_log_prob, psi)


def psi(mdp, name):
    """The weights Ψ_t (2, K) of an equation."""
    (states, _), _, r = mdp.episodes(mdp.policy)
    discounts = np.array([[1.0], [mdp.gamma]])
    G = np.stack([r[0] + mdp.gamma * r[1], r[1]])
    baseline = mdp.value(states).reshape(2, -1)
    return {"R": np.stack([G[0], G[0]]), "γ^t G": discounts * G, "G": G, "γ^t (G - V)": discounts * (G - baseline)}[
        name
    ]


@seeds
def test_eq_1_9_for_a_gaussian(seed):
    mdp = SmoothMDP(seed)
    agree(mdp.estimate(psi(mdp, "R"), reinforce), mdp.gradient())


@seeds
def test_eq_1_10_for_a_gaussian(seed):
    mdp = SmoothMDP(seed)
    agree(mdp.estimate(psi(mdp, "γ^t G"), reinforce), mdp.gradient())
    assert abs(mdp.estimate(psi(mdp, "G"), reinforce) - mdp.gradient()).max() > 1e-3  # without γ^t


@seeds
def test_eq_2_2_for_a_gaussian(seed):
    mdp = SmoothMDP(seed)
    agree(mdp.estimate(psi(mdp, "γ^t (G - V)"), reinforce), mdp.gradient())


@seeds
def test_eq_6_3_for_a_gaussian_at_theta_old(seed):
    mdp = SmoothMDP(seed)
    agree(mdp.estimate(psi(mdp, "γ^t (G - V)"), ppo), mdp.gradient())


@seeds
def test_eq_6_3_for_a_gaussian_away_from_theta_old(seed):
    """The clipped gradient against the complex step of the clipped loss, with ratios on both sides of the clip."""
    rng = np.random.default_rng(seed)
    sizes, theta = (2, 3, 2), rng.normal(0, 0.5, 19)
    states, actions, A = rng.standard_normal((20, 2)), rng.standard_normal((20, 2)), rng.standard_normal(20)
    old_log_prob = GaussianPolicy(sizes, theta=theta + rng.normal(0, 0.1, 19))(states).log_prob(actions)
    rows = states, actions, old_log_prob, A

    def L(theta):
        return ppo.loss(GaussianPolicy(sizes, theta=theta), *rows, ent_coef=0.3)

    agree(ppo.gradient(GaussianPolicy(sizes, theta=theta), *rows, ent_coef=0.3), derivative(L, theta))


@seeds
def test_the_nodes_are_enough(seed):
    agree(SmoothMDP(seed, nodes=20).gradient(), SmoothMDP(seed, nodes=26).gradient())


@seeds
def test_eq_8_7_ratio_of_densities(seed):
    """E_{a~π_old}[ r f ] = E_{a~π_θ}[ f ], for π_θ near π_old."""
    old, _ = random_parameters(seed, d=1)
    new = old + np.array([0.1, -0.05])

    def f(a):
        return np.cos(a[:, 0]) + a[:, 0] ** 2

    def weighted(pi, a):
        ratio = np.exp(Gaussian(np.tile(new, (len(a), 1))).log_prob(a) - pi.log_prob(a))
        return ratio * f(a)

    agree(expectation(weighted, old, n=40), expectation(lambda pi, a: f(a), new, n=40))


@pytest.mark.parametrize("width", [0.9, 1.0, 1.1])
def test_eq_8_7_variance_of_the_ratio(width):
    """E_old[r²] = σ_old² / (σ √(2σ_old² - σ²)) at equal means: infinite once σ² = 2σ_old²."""
    old, new = np.array([0.3, 0.0]), np.array([0.3, math.log(width)])

    def square(pi, a):
        return np.exp(2 * (Gaussian(np.tile(new, (len(a), 1))).log_prob(a) - pi.log_prob(a)))

    agree(expectation(square, old, n=60), 1 / (width * math.sqrt(2 - width**2)))


LOW, HIGH = -1.0, 0.5


def pieces(parameters):
    """Nodes a and weights of ∫ da from μ - 12σ to μ + 12σ, on the pieces between which `clip` has its kinks."""
    mu, sigma = parameters[0], math.exp(parameters[1])
    x, w = np.polynomial.legendre.leggauss(80)
    ends = sorted([mu - 12 * sigma, LOW, HIGH, mu + 12 * sigma])
    spans = [(b - a, a + b) for a, b in pairwise(ends)]
    return np.concatenate([(b * x + m) / 2 for b, m in spans])[:, None], np.concatenate([b * w / 2 for b, _ in spans])


@seeds
def test_eq_8_8_the_clip_belongs_to_the_environment(seed):
    """∇J of a bandit that clips = E[score at a · r(clip a)]; the score at clip(a) is biased."""
    parameters = random_parameters(seed, d=1)[0]
    a, w = pieces(parameters)
    pi = Gaussian(np.tile(parameters, (len(a), 1)))
    density, clipped = w * np.exp(pi.log_prob(a)), np.clip(a, LOW, HIGH)
    agree(density.sum(), 1.0)

    def reward(a):
        return np.sin(2 * a[:, 0]) + a[:, 0]

    inside = (clipped == a)[:, 0]
    slope = np.where(inside, np.imag(reward(clipped + 1e-30j)) / 1e-30, 0)  # of r(clip(a)), along the path of a
    path = np.array([density @ slope, density @ (slope * (a - pi.mean)[:, 0])])  # ∂a/∂μ = 1, ∂a/∂log σ = σz
    agree((density * reward(clipped)) @ pi.d_log_prob(a), path)
    assert abs((density * reward(clipped)) @ pi.d_log_prob(clipped) - path).max() > 0.01
    assert abs(density @ pi.d_log_prob(clipped)).max() > 0.01  # a score whose mean is not 0


class Bandit(gym.Env):
    """Episodes of one step, r(a) = a; `seen` are the actions it was given."""

    def __init__(self):
        self.observation_space, self.action_space = Box(-1, 1, (1,)), Box(LOW, HIGH, (1,), np.float64)
        self.seen = []

    def reset(self, *, seed=None, options=None):
        return np.ones(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.seen.append(action[0])
        return np.ones(1, np.float32), float(action[0]), True, False, {}


def test_eq_8_8_what_is_stored_is_what_was_drawn():
    env = Bandit()
    batch = Collector(env, GaussianPolicy((1, 1), rng=0, dtype=float), rng=0).collect_episodes(50)
    _, actions = batch.samples()
    assert actions.min() < LOW and actions.max() > HIGH
    assert np.array_equal(np.clip(actions[:, 0], LOW, HIGH), env.seen)


def test_eq_8_9_greedy_is_the_mode():
    policy = GaussianPolicy((1, 1), theta=np.array([0.1, 0.2, 0.0]))  # μ = 0.3, σ = 1
    pi = policy(np.ones((1, 1)))
    assert pi.mode() == pi.mean == pytest.approx(0.3)
    assert derivative(lambda a: pi.log_prob(a), pi.mode()) == 0  # where the density is largest
    env = Bandit()
    assert (evaluate(policy, env, episodes=3, greedy=True) == pi.mean[0, 0]).all()
    a, w = pieces(np.array([0.3, 0.0]))
    density = w * np.exp(Gaussian(np.tile(pi.parameters, (len(a), 1))).log_prob(a))
    assert abs(density @ np.clip(a[:, 0], LOW, HIGH) - 0.3) > 0.2  # the mean of clip(a) is another number
