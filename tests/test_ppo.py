import gymnasium as gym
import numpy as np
import pytest
from helpers import ACTIONS, LD, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import assume, given
from hypothesis import strategies as st

from scratchpg import Softmax, SoftmaxPolicy, Value
from scratchpg.algorithms import a2c, ppo
from scratchpg.returns import explained_variance, normalized


def random_batch(sizes, B, seed, drift=0.3):
    """A policy in longdouble with B rows, and the log-probabilities of an older policy that is `drift` away."""
    rng = np.random.default_rng(seed)
    policy = random_network(SoftmaxPolicy, sizes, rng)
    states, actions = rng.standard_normal((B, sizes[0])).astype(LD), rng.integers(sizes[-1], size=B)
    old_log_prob = policy(states).log_prob(actions) + drift * rng.standard_normal(B)
    return policy, states, actions, old_log_prob, rng.standard_normal(B)


@given(shapes(ACTIONS), st.integers(1, 6), SEEDS, st.sampled_from([0.0, 0.3]))
def test_gradient_meets_finite_differences_away_from_the_kinks(sizes, B, seed, ent_coef):
    policy, states, actions, old, advantages = random_batch(sizes, B, seed)
    ratio = np.exp(policy(states).log_prob(actions) - old)
    assume((abs(abs(ratio - 1) - 0.2) > 0.05).all())

    def loss(theta):
        other = SoftmaxPolicy(sizes, theta=theta)
        return ppo.loss(other, states, actions, old, advantages, ent_coef=ent_coef)

    g = ppo.gradient(policy, states, actions, old, advantages, ent_coef=ent_coef)
    check(lambda theta: 1 + loss(theta), g, policy.theta)  # all rows may be clipped: then the loss is a constant


@given(shapes(ACTIONS), st.integers(1, 6), SEEDS, st.sampled_from([0.0, 0.3]))
def test_at_the_old_policy_the_gradient_is_that_of_a2c(sizes, B, seed, ent_coef):
    policy, states, actions, old, advantages = random_batch(sizes, B, seed, drift=0)
    pi = policy(states)
    assert (np.exp(pi.log_prob(actions) - old) == 1).all() and (pi.kl(policy(states)) == 0).all()
    g = ppo.gradient(policy, states, actions, old, advantages, ent_coef=ent_coef)
    expected = a2c.gradient(policy, states, actions, advantages, ent_coef=ent_coef)
    np.testing.assert_allclose(g, expected, rtol=0, atol=1e-12)
    double = SoftmaxPolicy(sizes, theta=policy.theta.astype(float))
    assert_complex_step(
        lambda theta: a2c.loss(SoftmaxPolicy(sizes, theta=theta), states, actions, advantages, ent_coef=ent_coef),
        ppo.gradient(double, states, actions, double(states).log_prob(actions), advantages, ent_coef=ent_coef),
        double.theta,
    )


@given(st.floats(-5, 5, allow_subnormal=False), st.floats(0.01, 3), st.floats(0.05, 0.5))
def test_a_sample_stops_pushing_on_one_side_of_the_clip_only(A, r, epsilon):
    """The gradient of one sample is 0 exactly when A = 0, or A > 0 and r > 1+ε, or A < 0 and r < 1-ε."""
    assume(min(abs(r - 1 - epsilon), abs(r - 1 + epsilon)) > 1e-9 and (A == 0 or abs(A) > 1e-9))
    policy, state, action = SoftmaxPolicy((1, 2), theta=np.array([0.3, -0.2, 0.1, 0.0])), np.ones((1, 1)), np.array([1])
    old_log_prob = policy(state).log_prob(action) - np.log(r)
    g = ppo.gradient(policy, state, action, old_log_prob, np.array([A]), clip_range=epsilon)
    clipped = (A > 0 and r > 1 + epsilon) or (A < 0 and r < 1 - epsilon)
    assert (not g.any()) == (A == 0 or clipped)
    if g.any():  # (6.3): r times the A2C gradient
        np.testing.assert_allclose(g, r * a2c.gradient(policy, state, action, np.array([A])), rtol=1e-12)


@pytest.mark.parametrize("side", [1, -1])
def test_on_the_edge_of_the_clip_a_sample_still_pushes(side):
    """(6.3) says > and <: at r = 1 ± ε exactly, to the last bit, nothing is clipped."""
    policy, state, action = SoftmaxPolicy((1, 2), theta=np.array([0.3, -0.2, 0.1, 0.0])), np.ones((1, 1)), np.array([1])
    log_prob = policy(state).log_prob(action)
    old_log_prob = log_prob - side * 0.1
    epsilon = abs(np.exp(log_prob - old_log_prob)[0] - 1)  # of two numbers this near the difference is exact
    assert ppo.gradient(policy, state, action, old_log_prob, np.array([side]), clip_range=epsilon).any()


def test_an_overflowing_ratio_is_clipped_for_a_good_action_and_counts_nothing_without_advantage():
    policy, state = SoftmaxPolicy((1, 2), theta=np.zeros(4)), np.ones((1, 1))
    with np.errstate(over="ignore", invalid="ignore"):
        for A in 0.0, 1.0:
            assert not ppo.gradient(policy, state, np.array([0]), np.array([-1e4]), np.array([A])).any()


def networks(env, dtype=float):
    return SoftmaxPolicy.for_env(env, (8,), rng=0, dtype=dtype), Value.for_env(env, (8,), rng=0, dtype=dtype)


def test_a2c_is_the_special_case(monkeypatch):
    """One epoch of the whole batch, λ = 1, no normalisation, A2C's optimiser: the same parameters after 100 updates."""
    monkeypatch.setattr(ppo, "Adam", a2c.RMSProp)
    after = []
    for train, settings in [
        (a2c.train, {}),
        (ppo.train, dict(n_epochs=1, batch_size=10**6, normalize_advantage=False, clip_range=0.2)),
    ]:
        env = gym.make_vec("CartPole-v1", 4)
        policy, value = networks(env)
        loop = train(env, policy, value, n_steps=5, gae_lambda=1.0, gamma=0.99, learning_rate=1e-3, seed=1, **settings)
        for _ in range(100):
            next(loop)
        after.append((policy.theta, value.theta))
    for a, b in zip(*after, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_epochs_partition_the_batch_and_leave_its_numbers_frozen(monkeypatch):
    """Every row once per epoch, a remainder allowed; its advantages, old log-probabilities, targets stay the same."""
    seen = []
    original, original_value = ppo.gradient, Value.mse_gradient

    def record(policy, states, actions, old_log_prob, advantages, **kwargs):
        seen[-1] = np.column_stack([states, actions, old_log_prob, advantages, seen[-1]])
        return original(policy, states, actions, old_log_prob, advantages, **kwargs)

    def record_value(value, states, targets):
        seen.append(targets)
        return original_value(value, states, targets)

    monkeypatch.setattr(ppo, "gradient", record)
    monkeypatch.setattr(Value, "mse_gradient", record_value)
    env = gym.make_vec("CartPole-v1", 4)
    policy, value = networks(env)
    settings = dict(n_steps=50, batch_size=64, n_epochs=3, normalize_advantage=False, learning_rate=1e-2)
    progress = next(ppo.train(env, policy, value, seed=0, **settings))
    B = progress.steps
    assert 150 < B < 200  # 4 × 50 less the reset rows
    assert [len(rows) for rows in seen] == ([64] * (B // 64) + [B % 64]) * 3
    epochs = [np.concatenate(rows) for rows in np.array_split(np.array(seen, object), 3)]
    first, *others = (rows[np.lexsort(rows.T)] for rows in epochs)
    assert all(same_bits(first, rows) for rows in others)
    assert not same_bits(epochs[0], epochs[1])  # drawn anew for each epoch


def test_diagnostics_are_measured_after_the_update(monkeypatch):
    env = gym.make_vec("CartPole-v1", 4)
    policy, value = networks(env)
    old = SoftmaxPolicy(policy.net.sizes, theta=policy.theta.copy())
    batches = []
    original = ppo.Collector.collect
    monkeypatch.setattr(ppo.Collector, "collect", lambda self, n: batches.append(original(self, n)) or batches[-1])
    progress = next(ppo.train(env, policy, value, n_steps=64, clip_range=0.01, seed=0))
    states, actions = batches[0].samples()
    ratio = np.exp(policy(states).log_prob(actions) - old(states).log_prob(actions))
    assert progress.kl == pytest.approx(old(states).kl(policy(states)).mean()) and progress.kl > 0
    assert progress.clip_fraction == pytest.approx((abs(ratio - 1) > 0.01).mean()) and progress.clip_fraction > 0
    assert progress.entropy == pytest.approx(policy(states).entropy().mean())
    assert progress.explained_variance < 1 and progress.gradient_norm > 0


def test_the_stop_on_kl_saves_epochs(monkeypatch):
    steps = []
    original = ppo.gradient
    monkeypatch.setattr(ppo, "gradient", lambda *args, **kwargs: steps.append(1) or original(*args, **kwargs))
    counts = []
    for target_kl in None, 0.01:
        steps.clear()
        env = gym.make_vec("CartPole-v1", 4)
        policy, value = networks(env)
        settings = {"n_steps": 64, "n_epochs": 20, "batch_size": 1000, "learning_rate": 1e-2, "target_kl": target_kl}
        next(ppo.train(env, policy, value, seed=0, **settings))
        counts.append(len(steps))  # one minibatch an epoch
    assert counts[0] == 20 and 1 < counts[1] < 20


def test_normalised_advantages():
    np.testing.assert_allclose(normalized(np.array([1.0, 3.0])), [-1, 1], rtol=1e-7)  # mean 2, deviation 1
    np.testing.assert_array_equal(normalized(np.array([7.0])), [7.0])
    np.testing.assert_allclose(normalized(np.full(5, 0.1)), np.zeros(5), atol=1e-8)


def test_explained_variance():
    targets = np.array([0.0, 2.0, 4.0])
    assert explained_variance(targets, targets) == 1
    assert explained_variance(targets, targets + 5) == 1  # a constant offset is no variance
    assert explained_variance(targets, np.full(3, 9.0)) == 0
    assert np.isnan(explained_variance(np.ones(3), targets))


def test_the_same_seed_gives_the_same_bits():
    runs = []
    for _ in range(2):
        env = gym.make_vec("CartPole-v1", 2)
        policy, value = networks(env, np.float32)
        lines = [str(p) for p in ppo.train(env, policy, value, total_steps=500, seed=3)]
        runs.append((lines, policy.theta, value.theta))
    assert runs[0][0] == runs[1][0] and all(same_bits(a, b) for a, b in zip(runs[0][1:], runs[1][1:], strict=True))


def test_schedules_go_linearly_to_their_last_value(monkeypatch):
    rates = []
    original = ppo.Adam.step
    monkeypatch.setattr(ppo.Adam, "step", lambda self, g: rates.append(self.learning_rate) or original(self, g))
    env = gym.make("CartPole-v1")
    policy, value = networks(env)
    settings = dict(n_steps=50, n_epochs=1, total_steps=200, learning_rate=(1e-2, 0.0), seed=0)
    done = [0, *(p.steps / 200 for p in ppo.train(env, policy, value, **settings))][:-1]
    np.testing.assert_allclose(rates[::2], 1e-2 * (1 - np.array(done)))


def test_learning_cartpole():
    env = gym.make_vec("CartPole-v1", 8)
    policy, value = SoftmaxPolicy.for_env(env, rng=0), Value.for_env(env, rng=0)
    settings = dict(n_steps=64, batch_size=192, gamma=0.98, clip_range=(0.2, 0.0), learning_rate=(3e-3, 0.0))
    *_, last = ppo.train(env, policy, value, total_steps=12_000, seed=0, **settings)
    assert last.mean_return > 75  # a uniform policy has 22
    assert Softmax(np.zeros((1, 2))).entropy()[0] > last.entropy > 0.1


def test_a_nan_among_the_advantages_is_not_lost_where_the_ratio_is_clipped():
    policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))
    g = ppo.gradient(policy, np.ones((2, 1)), [1, 1], [np.log(0.5), -2.0], [1.0, np.nan])
    assert np.isnan(g).any()
