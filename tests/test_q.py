"""Q-networks as objects: sizes, copies, pickles, checkpoints, doors. Their maths is in derivation/test_11_dqn.py."""

import copy
import pickle
from itertools import product

import gymnasium as gym
import numpy as np
import pytest
from helpers import same_bits

from scratchpg import load, save
from scratchpg.epsilon_greedy import EpsilonGreedy
from scratchpg.evaluate import evaluate
from scratchpg.q import Behaviour, QNetwork, TwinQ

SWITCHES = [
    dict(dueling=dueling, noisy=noisy, **({"atoms": 3, "v_range": (0.0, 2.0)} if atoms else {}))
    for dueling, noisy, atoms in product((False, True), repeat=3)
]
STATES = np.random.default_rng(0).standard_normal((5, 4))


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shapes_dtypes_and_what_it_prints(switches, dtype):
    q = QNetwork((4, 6, 2), rng=0, dtype=dtype, **switches)
    outputs = (2 + q.dueling) * (3 if q.z is not None else 1)
    assert len(q.theta) == (5 * 6 + 7 * outputs) * (2 if q.noisy else 1) and q.theta.dtype == dtype
    out = q(STATES, q.draw(np.random.default_rng(1)))
    assert out.values.shape == (5, 2) and q.outputs == 2
    g = q.backward(out, np.ones_like(out.outputs))
    assert g.shape == q.theta.shape and g.dtype == dtype
    again = eval(repr(q), {"QNetwork": QNetwork, "np": np})
    assert again.options == q.options and again.theta.shape == q.theta.shape and again.theta.dtype == dtype


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda q: pickle.loads(pickle.dumps(q))])
def test_a_copy_has_a_theta_of_its_own_and_its_net_follows_it(switches, clone):
    q = QNetwork((4, 6, 2), rng=0, **switches)
    other = clone(q)
    assert same_bits(q.theta, other.theta) and not np.shares_memory(q.theta, other.theta)
    assert np.shares_memory(other.theta, other.net.theta)
    before = q(STATES).values.copy()
    other.theta += 0.1
    assert same_bits(q(STATES).values, before) and not same_bits(other(STATES).values, before)


def test_theta_may_be_replaced_and_is_checked():
    q, theta = QNetwork((4, 2), rng=0, noisy=True), np.ones(20)
    q.theta = theta
    assert q.theta is theta and np.shares_memory(q.net.theta, theta)
    for wrong in np.ones(10), np.ones(21), np.ones((20, 1)):
        with pytest.raises(ValueError, match="theta"):
            q.theta = wrong


def test_noise_is_drawn_anew_and_none_without_noisy():
    rng, q = np.random.default_rng(0), QNetwork((4, 6, 2), rng=0, noisy=True)
    a, b = q.draw(rng), q.draw(rng)
    assert a.shape == (len(q.theta) // 2,) and not np.isin(a, b).any()
    assert not same_bits(q(STATES, a).values, q(STATES, b).values)
    state = rng.bit_generator.state
    assert QNetwork((4, 2)).draw(rng) is None and rng.bit_generator.state == state


def test_the_noise_has_the_moments_that_it_should_have():
    """E[ε_W²] = 2/π, E[ε_b²] = √(2/π)."""
    q, rng = QNetwork((50, 40), noisy=True), np.random.default_rng(0)
    square = np.mean([q.draw(rng) ** 2 for _ in range(400)], axis=0)
    np.testing.assert_allclose(square[:2000].mean(), 2 / np.pi, rtol=0.02)
    np.testing.assert_allclose(square[2000:].mean(), np.sqrt(2 / np.pi), rtol=0.02)


def test_sigma_starts_at_a_half_over_the_root_of_the_inputs():
    _, sigma = QNetwork((4, 25, 2), noisy=True).theta.reshape(2, -1)
    np.testing.assert_allclose(sigma, np.repeat([0.5 / 2, 0.5 / 5], [5 * 25, 26 * 2]), rtol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": (4,)},
        {"dueling": 1},
        {"noisy": None},
        {"atoms": 3},
        {"v_range": (0, 1)},
        {"atoms": 1, "v_range": (0, 1)},
        {"atoms": 3, "v_range": (1, 1)},
        {"atoms": 3, "v_range": (0, np.inf)},
        {"atoms": 3, "v_range": (-np.inf, 0)},
        {"atoms": 3, "v_range": (0, 1, 9)},
        {"atoms": 3, "v_range": ()},
        {"atoms": 2.0, "v_range": (0, 1)},
    ],
)
def test_switches_that_make_no_sense_are_refused(wrong):
    with pytest.raises((ValueError, TypeError)):
        QNetwork(**{"sizes": (4, 2)} | wrong)


@pytest.mark.parametrize("actions", [[0], [0, 2], [0, -1], [0.0, 1.0], [[0], [1]], [True, False]])
def test_actions_that_are_none_are_refused(actions):
    with pytest.raises(ValueError, match="actions must be 2 integers"):
        EpsilonGreedy(np.zeros((2, 2))).taken(actions)


def test_the_behaviour_explores_less_and_less_and_a_noisy_one_not_by_epsilon():
    policy = Behaviour(QNetwork((4, 2), rng=0), fraction=0.5, last=0.1)
    epsilons = [policy.epsilon]
    for done in 0.25, 0.5, 1.0:
        policy.explore(done)
        epsilons.append(policy(STATES).epsilon)
    np.testing.assert_allclose(epsilons, [1.0, 0.55, 0.1, 0.1])
    q = QNetwork((4, 2), rng=0, noisy=True)
    policy, noise = Behaviour(q, fraction=0.5, last=0.1), q.draw(np.random.default_rng(0))
    policy.explore(0.0, noise)
    assert policy(STATES).epsilon == 0 and same_bits(policy(STATES).values, q(STATES, noise).values)


def test_hidden_layers_are_two_of_64_unless_said_otherwise():
    env, box = gym.make("CartPole-v1"), gym.make("Pendulum-v1")
    assert QNetwork.for_env(env).sizes == (4, 64, 64, 2) and QNetwork.for_env(env, ()).sizes == (4, 2)
    assert TwinQ.for_env(box).sizes == (4, 64, 64) and TwinQ.for_env(box, ()).sizes == (4,)
    with pytest.raises(ValueError, match="sizes must be 1 or more widths"):
        TwinQ(())


def test_a_noisy_network_without_noise_leaves_sigma_alone():
    q = QNetwork((STATES.shape[1], 2), rng=0, noisy=True)
    assert not q.backward(q(STATES), np.zeros((len(STATES), 2))).any()


def test_without_epsilon_the_best_action_is_taken():
    pi = EpsilonGreedy(np.tile(np.eye(3), (20, 1)))
    np.testing.assert_array_equal(pi.sample(np.random.default_rng(0)), pi.mode())


def test_a_network_is_its_own_greedy_policy():
    env = gym.make("CartPole-v1")
    q = QNetwork.for_env(env, (8,), rng=0, dueling=True)
    sampled, greedy = (evaluate(q, env, episodes=4, seed=0, greedy=greedy) for greedy in (False, True))
    assert same_bits(sampled, greedy)
    with pytest.raises(ValueError, match="Discrete"):
        QNetwork.for_env(gym.make("Pendulum-v1"))


@pytest.mark.parametrize("switches", SWITCHES)
def test_a_checkpoint_brings_the_switches_back(switches, tmp_path):
    q = QNetwork((4, 6, 2), rng=0, **switches)
    save(tmp_path / "q.npz", q, env="CartPole-v1")
    again = load(tmp_path / "q.npz").policy
    assert again.options.keys() == q.options.keys() and same_bits(again(STATES).values, q(STATES).values)


@pytest.mark.parametrize("q", [QNetwork((3, 2), rng=0), QNetwork((3, 2), rng=0, noisy=True), TwinQ((3, 4), rng=0)])
def test_a_theta_that_is_refused_changes_nothing(q):
    theta = q.theta
    with pytest.raises(ValueError, match="theta must be"):
        q.theta = np.zeros(len(theta), int)
    assert q.theta is theta and np.shares_memory(q.net.theta, theta)
