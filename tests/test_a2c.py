import gymnasium as gym
import numpy as np
import pytest
from helpers import ACTIONS, LD, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import SoftmaxPolicy, Value
from scratchpg.algorithms import a2c, actor_critic, baseline, reinforce


def random_rows(sizes, B, seed):
    """A policy in longdouble with B rows of states, actions and weights."""
    rng = np.random.default_rng(seed)
    policy = random_network(SoftmaxPolicy, sizes, rng)
    return (
        policy,
        rng.standard_normal((B, sizes[0])).astype(LD),
        rng.integers(sizes[-1], size=B),
        rng.standard_normal(B),
    )


@given(shapes(ACTIONS), st.integers(1, 6), SEEDS, st.sampled_from([0.0, 0.3]))
def test_gradient_meets_finite_differences(sizes, B, seed, ent_coef):
    policy, *rows = random_rows(sizes, B, seed)

    def loss(theta):
        return a2c.loss(SoftmaxPolicy(sizes, theta=theta), *rows, ent_coef=ent_coef)

    check(loss, a2c.gradient(policy, *rows, ent_coef=ent_coef), policy.theta)
    double = SoftmaxPolicy(sizes, theta=policy.theta.astype(float))
    assert_complex_step(loss, a2c.gradient(double, *rows, ent_coef=ent_coef), double.theta)


@given(shapes(ACTIONS), st.integers(1, 6), SEEDS)
def test_reductions(sizes, B, seed):
    """Without entropy A2C's gradient is actor-critic's, the mean over steps; REINFORCE's is the sum over episodes."""
    policy, *rows = random_rows(sizes, B, seed)
    mean_over_steps = a2c.gradient(policy, *rows)
    np.testing.assert_allclose(actor_critic.gradient(policy, *rows), mean_over_steps, rtol=1e-15)
    np.testing.assert_allclose(reinforce.gradient(policy, *rows, episodes=B), mean_over_steps, rtol=1e-15)
    np.testing.assert_allclose(actor_critic.loss(policy, *rows), a2c.loss(policy, *rows), rtol=1e-15)
    assert baseline.gradient is reinforce.gradient


@given(shapes(ACTIONS), st.integers(1, 6), SEEDS)
def test_a_step_on_the_entropy_term_alone_raises_the_entropy(sizes, B, seed):
    policy, states, actions, _ = random_rows(sizes, B, seed)
    before = policy(states).entropy().mean()
    g = a2c.gradient(policy, states, actions, np.zeros(B), ent_coef=1.0)
    policy.theta[:] -= 1e-6 * g
    after = policy(states).entropy().mean()
    np.testing.assert_allclose(after - before, 1e-6 * g @ g, rtol=1e-2, atol=1e-25)  # first order: + η |∇H|²


@given(shapes(ACTIONS), st.integers(1, 6), SEEDS)
def test_a_good_action_becomes_more_probable_a_bad_one_less(sizes, B, seed):
    policy, states, actions, _ = random_rows(sizes, 1, seed)
    before = policy(states).log_prob(actions)
    for sign in 1, -1:
        moved = SoftmaxPolicy(
            sizes, theta=policy.theta - 1e-9 * a2c.gradient(policy, states, actions, np.array([sign]))
        )
        assert sign * (moved(states).log_prob(actions) - before) > 0


def learned(train, *, value=True, n_envs=None, **settings):
    """θ and φ in float64 after a short seeded run on CartPole."""
    env = gym.make("CartPole-v1") if n_envs is None else gym.make_vec("CartPole-v1", n_envs)
    policy, critic = (kind.for_env(env, (8,), rng=0, dtype=float) for kind in (SoftmaxPolicy, Value))
    networks = (policy, critic) if value else (policy,)
    progress = list(train(env, *networks, seed=1, **settings))
    assert progress[-1].steps >= settings["total_steps"] > (progress[-2].steps if len(progress) > 1 else 0)
    return policy.theta, critic.theta


RUNS = [
    (baseline.train, dict(total_steps=300)),
    (baseline.train, dict(total_steps=300, n_envs=4)),
    (actor_critic.train, dict(total_steps=100, method="td")),
    (actor_critic.train, dict(total_steps=100, method="td", n_envs=3)),
    (actor_critic.train, dict(total_steps=300, method="mc")),
    (a2c.train, dict(total_steps=300)),
    (a2c.train, dict(total_steps=300, n_envs=4, ent_coef=0.01)),
    (a2c.train, dict(total_steps=300, n_steps=1)),
    (a2c.train, dict(total_steps=300, n_steps=None, n_envs=2)),
]


@pytest.mark.parametrize(("train", "settings"), RUNS)
def test_the_same_seed_gives_the_same_bits(train, settings):
    first, second = learned(train, **settings), learned(train, **settings)
    assert all(same_bits(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.isfinite(x).all() for x in first)


def test_td_is_a2c_of_one_step(monkeypatch):
    """The same batches, targets and advantages: with one optimiser and step size the two chapters do the same."""
    monkeypatch.setattr(actor_critic, "Adam", a2c.RMSProp)
    same = dict(total_steps=200, learning_rate=1e-3, value_learning_rate=1e-3, max_grad_norm=0.5)
    td = learned(actor_critic.train, **same)
    one_step = learned(a2c.train, n_steps=1, gae_lambda=0.0, **same)
    for a, b in zip(td, one_step, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_mc_is_reinforce_with_a_baseline_as_a_mean_over_steps(monkeypatch):
    """One episode at a time, γ^t dropped: the gradients differ by the length of the episode, which SGD would show."""
    seen = {}
    for chapter in baseline, actor_critic:
        original = chapter.gradient

        def record(policy, states, actions, weights, original=original, chapter=chapter, **kwargs):
            g = original(policy, states, actions, weights, **kwargs)
            seen[chapter] = g * (1 if chapter is baseline else len(actions))
            return g

        monkeypatch.setattr(chapter, "gradient", record)
    learned(baseline.train, total_steps=1, keep_gamma_t=False)
    learned(actor_critic.train, total_steps=1, method="mc")
    np.testing.assert_allclose(seen[baseline], seen[actor_critic], rtol=1e-12)


def test_the_baseline_is_predicted_before_it_is_fitted(monkeypatch):
    """(2.4): the advantages are those of the V that had not yet seen these returns."""
    env = gym.make("CartPole-v1")
    policy, value = SoftmaxPolicy.for_env(env, (8,), rng=0), Value.for_env(env, (8,), rng=0)
    before, seen = Value(value.net.sizes[:-1], theta=value.theta.copy()), {}

    def record(policy, states, actions, weights, *, episodes):
        seen.update(states=states, weights=weights)
        return np.zeros_like(policy.theta)

    monkeypatch.setattr(baseline, "gradient", record)
    next(baseline.train(env, policy, value, gamma=1.0, seed=0))
    T = len(seen["weights"])
    np.testing.assert_allclose(seen["weights"], np.arange(T, 0, -1) - before(seen["states"]))
    assert not same_bits(before.theta, value.theta)


@pytest.mark.parametrize(
    ("train", "settings"),
    [
        (actor_critic.train, dict(method="td", total_steps=2_000, learning_rate=1e-6, value_learning_rate=3e-2)),
        (a2c.train, dict(total_steps=5_000, learning_rate=1e-6, value_learning_rate=3e-2)),
    ],
    ids=["td", "a2c"],
)
def test_a_time_limit_is_not_an_ending(train, settings):
    """Reward 1 for ever, cut every 8 steps, γ = 0.98: V = Σ γ^k = 1 / (1 - 0.98) = 50, and not the 8 of the cut."""

    class Endless(gym.Env):
        observation_space, action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.ones(2, np.float32), {}

        def step(self, action):
            return np.ones(2, np.float32), 1.0, False, False, {}

    env = gym.wrappers.TimeLimit(Endless(), 8)
    policy, value = SoftmaxPolicy.for_env(env, (), rng=0), Value.for_env(env, (), rng=0)
    for _ in train(env, policy, value, gamma=0.98, max_grad_norm=np.inf, seed=0, **settings):
        pass
    assert value(np.ones((1, 2)))[0] == pytest.approx(50, rel=0.05)


def test_learning_cartpole():
    env = gym.make_vec("CartPole-v1", 8)
    policy, value = SoftmaxPolicy.for_env(env, rng=0), Value.for_env(env, rng=0)
    *_, last = a2c.train(env, policy, value, total_steps=20_000, gae_lambda=1.0, learning_rate=2e-3, seed=0)
    assert last.mean_return > 60  # a uniform policy has 22
