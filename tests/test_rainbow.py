"""The six switches: each changes the update, and each in the way that it should."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from helpers import same_bits
from test_dqn import ForEver

from scratchpg.algorithms import rainbow
from scratchpg.q import QNetwork
from scratchpg.replay import PrioritizedReplay, Sample

OF_TRAIN = {"double": {"double": True}, "prioritized": {"prioritized": True}, "n_steps": {"n_steps": 3}}
OF_NETWORK = {
    "dueling": {"dueling": True},
    "atoms": {"atoms": 11, "v_range": (0.0, 60.0)},
    "noisy": {"noisy": True},
}
OFF = {"double": False, "prioritized": False, "n_steps": 1}
ALL_OF_TRAIN = {"double": True, "prioritized": True, "n_steps": 3}
ALL_OF_NETWORK = {key: x for switch in OF_NETWORK.values() for key, x in switch.items()}
SHORT = {"total_steps": 200, "train_freq": 2, "learning_starts": 40, "batch_size": 8, "target_update_interval": 10}


def trained(network=None, monkeypatch=None, **settings):
    """The network after a short run, and what each call of `rainbow.gradient` got: (q, batch, targets, noise)."""
    q, calls, gradient = QNetwork((4, 8, 2), rng=0, dtype=float, **network or {}), [], rainbow.gradient

    def spy(*arguments):
        calls.append((copy.deepcopy(arguments[0]), *arguments[1:]))
        return gradient(*arguments)

    if monkeypatch:
        monkeypatch.setattr(rainbow, "gradient", spy)
    for _ in rainbow.train(gym.make("CartPole-v1"), q, seed=0, **SHORT | OFF | settings):
        pass
    return q, calls


@pytest.mark.parametrize("switch", OF_TRAIN)
def test_each_switch_of_train_changes_the_update(switch):
    assert not same_bits(trained()[0].theta, trained(**OF_TRAIN[switch])[0].theta)


@pytest.mark.parametrize("switch", OF_NETWORK)
def test_each_switch_of_the_network_changes_the_values_that_are_learned(switch):
    states = np.random.default_rng(0).standard_normal((4, 4))
    plain, other = trained()[0](states).values, trained(OF_NETWORK[switch])[0](states).values
    assert (abs(plain - other) > 1e-6).all()


@pytest.mark.parametrize("double", [False, True])
def test_each_network_has_the_noise_that_was_drawn_for_it(double):
    rng = np.random.default_rng(0)
    q, target = (QNetwork((4, 8, 3), rng, dtype=float, noisy=True) for _ in range(2))
    noises, states = (q.draw(rng), target.draw(rng)), rng.standard_normal((50, 4))
    batch = Sample(states, None, np.zeros(50), states, np.ones(50), None, None)
    judged = target(states, noises[1]).values
    best = (q(states, noises[0]) if double else target(states, noises[1])).mode()
    y = rainbow.targets(q, target, batch, double, noises)
    np.testing.assert_array_equal(y, judged[np.arange(50), best])


def test_prioritised_draws_follow_the_errors_of_the_last_time(monkeypatch):
    replays = []

    class Spied(PrioritizedReplay):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            replays.append(self)

    monkeypatch.setattr(rainbow, "PrioritizedReplay", Spied)
    _, calls = trained(prioritized=True, beta=(0.4, 1.0), priority_exponent=1.0, monkeypatch=monkeypatch)
    q, batch, targets, noise = calls[-1]
    errors = rainbow.gradient(q, batch, targets, noise)[1]
    leaves = replays[0].levels[0].ravel()
    last = {int(place): error for place, error in zip(batch.places, errors, strict=True)}
    np.testing.assert_allclose(leaves[list(last)], [error + 1e-6 for error in last.values()], rtol=1e-9)
    assert 0.98 < replays[0].beta <= 1.0 and replays[0].buffer_size == 100_000
    assert all(batch.weights.max() == 1 for _, batch, _, _ in calls) and batch.weights.min() < 0.9


def test_importance_weights_weigh_the_rows_of_the_gradient(monkeypatch):
    """mean_t w_t g_t of single rows: (B,) and not (B, 1), which would weigh all rows by the mean weight."""
    q, (*_, (_, batch, targets, noise)) = trained(ALL_OF_NETWORK, prioritized=True, monkeypatch=monkeypatch)
    g = np.zeros_like(q.theta)
    for i in range(8):
        row = batch._replace(**{name: getattr(batch, name)[[i]] for name in ("states", "actions")})
        row = row._replace(weights=np.ones(1))
        g += batch.weights[i] * rainbow.gradient(q, row, targets[[i]], noise)[0] / 8
    np.testing.assert_allclose(rainbow.gradient(q, batch, targets, noise)[0], g, rtol=1e-9, atol=1e-15)
    assert np.ptp(batch.weights) > 0.01


def test_n_steps_reach_the_samples(monkeypatch):
    _, calls = trained(n_steps=3, gamma=0.5, monkeypatch=monkeypatch)
    discounts = np.concatenate([batch.discounts for _, batch, _, _ in calls])
    assert set(discounts) == {0.125, 0.25, 0.5, 0.0}
    assert set(np.concatenate([batch.rewards for _, batch, _, _ in calls])) == {1.0, 1.5, 1.75}


def test_noise_is_drawn_anew_for_every_step_and_every_update_and_apart_for_the_target(monkeypatch):
    drawn, acted, draw, explore = [], [], QNetwork.draw, rainbow.Behaviour.explore

    def spied_draw(self, rng):
        drawn.append((self, draw(self, rng)))
        return drawn[-1][1]

    monkeypatch.setattr(QNetwork, "draw", spied_draw)
    monkeypatch.setattr(
        rainbow.Behaviour, "explore", lambda self, done, noise=None: acted.append(noise) or explore(self, done, noise)
    )
    q, calls = trained({"noisy": True}, monkeypatch=monkeypatch, gradient_steps=2)
    noises = [noise for _, noise in drawn]
    assert len({noise[0] for noise in noises}) == len(noises)  # no number comes twice
    assert all(any(noise is x for x in noises) for noise in [*acted[1:], *(call[3] for call in calls)])
    of_target = [network for network, _ in drawn if network is not q]
    assert len(of_target) == len(calls) and len(noises) == len(acted[1:]) + 2 * len(calls)


@pytest.mark.parametrize("network", [{}, ALL_OF_NETWORK], ids=["plain", "full"])
def test_reward_1_for_ever_is_worth_50_whatever_the_time_limit(network):
    """γ = 0.98; also with n-step returns that a truncation cuts, and as a distribution over 0 … 60."""
    q = QNetwork((1, 2), rng=0, **network)
    settings = {"train_freq": 1, "learning_starts": 50, "target_update_interval": 4, "batch_size": 16, "seed": 0}
    for _ in rainbow.train(ForEver(), q, total_steps=1000, gamma=0.98, learning_rate=(0.3, 0.0), **settings):
        pass
    np.testing.assert_allclose(q(np.ones((1, 1))).values, 50, atol=1)


def test_the_distribution_comes_to_the_returns_themselves():
    """Reward 0 or 1 at the end, at even odds: the mass comes to the atoms 0 and 1, half and half, not to the mean."""

    class Coin(ForEver):
        def step(self, action):
            return np.ones(1, np.float32), float(self.np_random.integers(2)), True, False, {}

    q = QNetwork((1, 2), rng=0, atoms=5, v_range=(-1.0, 3.0))
    for _ in rainbow.train(Coin(), q, total_steps=2000, learning_starts=500, learning_rate=(0.1, 0.0), seed=0):
        pass
    logits = q(np.ones((1, 1))).outputs[0, 0]
    p = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(p, [0, 0.5, 0.5, 0, 0], atol=0.06)


def test_targets_of_another_shape_are_refused(monkeypatch):
    q, (*_, (_, batch, targets, _)) = trained(monkeypatch=monkeypatch)
    for f in rainbow.loss, rainbow.gradient:
        with pytest.raises(ValueError, match="targets must have shape"):
            f(q, batch, targets[:, None])
        with pytest.raises(ValueError, match="weights must have shape"):
            f(q, batch._replace(weights=np.ones((8, 1))), targets)


@pytest.mark.parametrize("wrong", ["double", "prioritized", "n_steps", "priority_exponent", "beta"])
def test_every_setting_of_its_own_is_checked_at_the_call(wrong):
    with pytest.raises((ValueError, TypeError), match=wrong):
        rainbow.train(gym.make("CartPole-v1"), QNetwork((4, 2), rng=0), **{wrong: -1})


@pytest.mark.parametrize("name", ["rewards", "discounts"])
def test_columns_that_would_broadcast_are_refused(name):
    columns = {"rewards": np.ones(4), "discounts": np.ones(4), name: np.ones((4, 1))}
    with pytest.raises(ValueError, match=rf"{name} must have shape \(4,\), not \(4, 1\)"):
        rainbow.project(**columns, probabilities=np.full((4, 3), 1 / 3), z=np.arange(3.0))
