"""What reaches DQN's gradient, row by row, against what the scripts say; where its values go; its target network."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, ScriptedVector, observation, reward
from gymnasium.spaces import Box, Discrete
from helpers import LD, SEEDS, check, same_bits
from hypothesis import given

from scratchpg.algorithms import dqn
from scratchpg.q import QNetwork

SCRIPTS = [[(3, "truncated"), (2, "terminated")], [(4, "both"), (1, "truncated")], [(30, "terminated")]]
SHORT = {"total_steps": 120, "train_freq": 3, "learning_starts": 30, "batch_size": 8, "seed": 0}


class ForEver(gym.Env):
    """Reward 1 for ever, in one state; a time limit cuts after 8 steps."""

    observation_space, action_space = Box(0, 1, (1,)), Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.ones(1, np.float32), 1.0, False, self.t == 8, {}


def recorded(monkeypatch, **settings):
    """The (states, actions, targets) of every gradient, and the target network, which never moves here."""
    calls, targets = [], []
    monkeypatch.setattr(dqn, "gradient", lambda q, *rows: calls.append(rows) or np.zeros_like(q.theta))
    monkeypatch.setattr(dqn, "deepcopy", lambda q: targets.append(copy.deepcopy(q)) or targets[0])
    q = QNetwork((3, 4, 2), rng=0, dtype=float)
    for _ in dqn.train(ScriptedVector(SCRIPTS, NEXT_STEP), q, **settings):
        pass
    return calls, targets[0]


def test_only_experience_reaches_the_gradient_and_a_time_limit_is_bootstrapped(monkeypatch):
    """No reset row, no reset observation; y = r + γ max Q̄(s') after a truncation, r alone after a termination."""
    calls, target = recorded(monkeypatch, **SHORT | {"total_steps": 300}, gamma=0.9)
    seen = set()
    for states, _, ys in calls:
        for state, y in zip(states, ys, strict=True):
            env, episode, t = map(int, state)
            length, end = SCRIPTS[env][episode % len(SCRIPTS[env])]
            assert t < length
            terminal = t + 1 == length and end != "truncated"
            following = target(observation(env, episode, t + 1)[None]).values.max()
            np.testing.assert_allclose(y, reward(env, episode, t) + (0 if terminal else 0.9 * following), rtol=1e-12)
            seen.add(end if t + 1 == length else "goes on")
    assert seen == {"truncated", "terminated", "both", "goes on"}


@pytest.mark.parametrize("n_envs", [None, 2])
def test_reward_1_for_ever_is_worth_50_whatever_the_time_limit(n_envs):
    """γ = 0.98: 1/(1 - γ) = 50. Truncation stored as termination makes 1 + γ + … + γ^7 = 7.5 of it."""
    make = [ForEver] * (n_envs or 1)
    env = gym.vector.SyncVectorEnv(make, autoreset_mode=NEXT_STEP) if n_envs else ForEver()
    q = QNetwork((1, 2), rng=0)
    settings = {"train_freq": 1, "learning_starts": 50, "target_update_interval": 4, "batch_size": 16, "seed": 0}
    for _ in dqn.train(env, q, total_steps=1000, gamma=0.98, learning_rate=(0.5, 0.0), gradient_steps=2, **settings):
        pass
    np.testing.assert_allclose(q(np.ones((1, 1))).values, 50, atol=1)


def test_the_target_has_memory_of_its_own_and_moves_every_c_steps_only(monkeypatch):
    targets = []
    monkeypatch.setattr(dqn, "deepcopy", lambda q: targets.append(copy.deepcopy(q)) or targets[0])
    q = QNetwork((4, 8, 2), rng=0)
    run = dqn.train(gym.make("CartPole-v1"), q, **SHORT, target_update_interval=4)
    target, steps, before = targets[0], 0, q.theta.copy()
    assert not np.shares_memory(q.theta, target.theta)
    for progress in run:
        if progress.steps >= 30:
            steps += 1
            before = q.theta.copy() if steps % 4 == 0 else before
            assert same_bits(target.theta, before) and same_bits(target.theta, q.theta) == (steps % 4 == 0)
    assert steps >= 25


def test_with_tau_below_1_the_target_only_comes_nearer(monkeypatch):
    targets = []
    monkeypatch.setattr(dqn, "deepcopy", lambda q: targets.append(copy.deepcopy(q)) or targets[0])
    q = QNetwork((4, 8, 2), rng=0, dtype=float)
    before = q.theta.copy()
    for progress in dqn.train(gym.make("CartPole-v1"), q, **SHORT, target_update_interval=1, tau=0.1):
        if progress.steps >= 30:
            before += 0.1 * (q.theta - before)
            np.testing.assert_allclose(targets[0].theta, before, rtol=1e-12)


@given(SEEDS)
def test_gradient_meets_finite_differences(seed):
    rng = np.random.default_rng(seed)
    q = QNetwork((3, 4, 2), rng=rng, dtype=LD, dueling=bool(seed % 2))
    rows = rng.standard_normal((5, 3)).astype(LD), rng.integers(2, size=5), rng.standard_normal(5)
    options = q.options
    check(lambda theta: dqn.loss(QNetwork(q.sizes, theta=theta, **options), *rows), dqn.gradient(q, *rows), q.theta)


def test_shapes_that_would_broadcast_are_refused():
    q, states, actions = QNetwork((3, 2), rng=0), np.ones((2, 3)), np.array([0, 1])
    for f in dqn.loss, dqn.gradient:
        with pytest.raises(ValueError, match="targets must have shape"):
            f(q, states, actions, np.ones((2, 1)))
        with pytest.raises(ValueError, match="actions must be"):
            f(q, states, actions[:, None], np.ones(2))
    atoms = QNetwork((3, 2), rng=0, atoms=2, v_range=(0, 1))
    with pytest.raises(ValueError, match="d_outputs must have shape"):
        dqn.gradient(atoms, states, actions, np.ones(2))


def test_the_same_seed_gives_the_same_bits_and_how_many_samples_are_drawn_changes_no_action():
    def train(**settings):
        q = QNetwork((4, 8, 2), rng=0)
        *_, progress = dqn.train(gym.make("CartPole-v1"), q, **SHORT | settings)
        return q.theta, progress

    (a, first), (b, _), (c, other) = train(), train(), train(seed=1)
    assert same_bits(a, b) and not same_bits(a, c) and first.mean_return != other.mean_return
    settings = {"exploration_final_eps": 1.0}
    (a, first), (b, second) = train(**settings), train(**settings, batch_size=5)
    assert not same_bits(a, b) and first.episodes == second.episodes and first.mean_return == second.mean_return


def test_a_noisy_network_explores_by_epsilon_where_no_noise_is_drawn():
    q = QNetwork((4, 8, 2), rng=0, noisy=True)
    epsilons = [progress.epsilon for progress in dqn.train(gym.make("CartPole-v1"), q, **SHORT)]
    assert epsilons[0] == 1 and np.isclose(epsilons[-1], 0.05)


def test_before_learning_starts_nothing_moves_and_epsilon_falls():
    q = QNetwork((4, 8, 2), rng=0)
    theta = q.theta.copy()
    run = dqn.train(gym.make("CartPole-v1"), q, **SHORT | {"learning_starts": 200}, exploration_fraction=0.5)
    epsilons = [progress.epsilon for progress in run]
    assert same_bits(q.theta, theta) and epsilons[0] == 1 and np.isclose(epsilons[-1], 0.05)
    assert np.isclose(epsilons[10], 1 - 0.95 * 30 / 120 / 0.5, atol=0.05)


SETTINGS = """total_steps train_freq gradient_steps batch_size buffer_size learning_starts gamma tau
target_update_interval exploration_fraction exploration_final_eps learning_rate max_grad_norm"""


@pytest.mark.parametrize("wrong", SETTINGS.split())
def test_every_setting_is_checked_at_the_call(wrong):
    with pytest.raises(ValueError, match=wrong):
        dqn.train(gym.make("CartPole-v1"), QNetwork((4, 2), rng=0), **{wrong: -1})
