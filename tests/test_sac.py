"""SAC's training: what reaches its gradients, time limits, seeds, settings. Its equations are in derivation/test_12."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, ScriptedVector, observation, reward
from gymnasium.spaces import Box
from helpers import LD, SEEDS, check, same_bits
from hypothesis import given

from scratchpg import GaussianPolicy, SquashedGaussianPolicy, TwinQ, Value, sac

SCRIPTS = [[(3, "truncated"), (2, "terminated")], [(4, "both"), (1, "truncated")], [(30, "terminated")]]
ACTIONS = Box(-2, 1, (2,))
SHORT = {"total_steps": 60, "learning_starts": 30, "batch_size": 8, "seed": 0}


def networks(env, hidden=(4,), dtype=np.float32):
    return SquashedGaussianPolicy.for_env(env, hidden, 0, dtype=dtype), TwinQ.for_env(env, hidden, 1, dtype=dtype)


class ForEver(gym.Env):
    """Reward 1 for ever, in one state; a time limit cuts after 8 steps."""

    observation_space, action_space = Box(0, 1, (1,)), Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.ones(1, np.float32), 1.0, False, self.t == 8, {}


@pytest.fixture
def targets_made(monkeypatch):
    """The target network of a run, once it is made."""
    made = []
    monkeypatch.setattr(sac, "deepcopy", lambda q: made.append(copy.deepcopy(q)) or made[-1])
    return made


@pytest.mark.parametrize("n_envs", [None, 2])
def test_reward_1_for_ever_is_worth_50_whatever_the_time_limit(n_envs):
    """γ = 0.98, α = 0: 1/(1 - γ) = 50. Truncation stored as termination makes 1 + γ + … + γ^7 = 7.5 of it."""
    make = [ForEver] * (n_envs or 1)
    env = gym.vector.SyncVectorEnv(make, autoreset_mode=NEXT_STEP) if n_envs else ForEver()
    policy, q = networks(env, hidden=())
    settings = dict(total_steps=1000, gamma=0.98, ent_coef=0.0, learn_ent_coef=False, tau=0.3, gradient_steps=2)
    for _ in sac.train(env, policy, q, **settings, learning_rate=(0.5, 0.0), learning_starts=50, batch_size=16, seed=0):
        pass
    np.testing.assert_allclose(q(np.ones((3, 1)), np.array([[-0.9], [0.0], [0.9]])), 50, atol=1)


def test_only_experience_reaches_the_critics_and_a_time_limit_is_bootstrapped(monkeypatch, targets_made):
    """No reset row, no reset observation. y of a terminal row is r, to the bit, without any entropy; another row has
    more. α, φ̄ and θ stand still here, so that each y can be computed anew."""
    env = ScriptedVector(SCRIPTS, NEXT_STEP, action_space=ACTIONS)
    policy, q = networks(env, dtype=float)
    rows, noises, draw = [], [], sac.targets
    monkeypatch.setattr(TwinQ, "mse_gradient", lambda q, *given: rows.append(given) or np.zeros_like(q.theta))
    monkeypatch.setattr(sac, "targets", lambda *given, **c: noises.append((given[2], given[3])) or draw(*given, **c))
    monkeypatch.setattr(sac, "gradient", lambda policy, *_, **__: (np.zeros_like(policy.theta), 0.0))
    for _ in sac.train(env, policy, q, **SHORT | {"total_steps": 300}, gamma=0.9, ent_coef=3.0, learn_ent_coef=False):
        pass
    seen, (target,) = set(), targets_made
    for (states, actions, ys), (batch, noise) in zip(rows, noises, strict=True):
        assert abs(actions).max() <= 1 and same_bits(batch.states, states)
        for state, y, eps in zip(states, ys, noise, strict=True):
            one, episode, t = map(int, state)
            length, end = SCRIPTS[one][episode % len(SCRIPTS[one])]
            assert t < length
            r, following = reward(one, episode, t), observation(one, episode, t + 1)[None]
            seen.add(end if t + 1 == length else "goes on")
            if t + 1 == length and end != "truncated":
                assert y == r
                continue
            pi = policy(following)
            value = target(following, pi.action(eps[None])).min() - 3 * pi.log_prob(eps[None])[0]
            np.testing.assert_allclose(y, r + 0.9 * value, rtol=1e-12)
    assert seen == {"truncated", "terminated", "both", "goes on"}


def test_the_targets_are_of_the_target_net_and_the_actor_sees_the_online_one(monkeypatch, targets_made):
    calls, targets, gradient = [], sac.targets, sac.gradient
    monkeypatch.setattr(sac, "targets", lambda p, q, *r, **c: calls.append((0, q)) or targets(p, q, *r, **c))
    monkeypatch.setattr(sac, "gradient", lambda p, q, *r, **c: calls.append((1, q)) or gradient(p, q, *r, **c))
    env = gym.make("Pendulum-v1")
    policy, q = networks(env)
    for _ in sac.train(env, policy, q, **SHORT):
        pass
    assert len(calls) == 2 * 31 and not np.shares_memory(targets_made[0].theta, q.theta)
    assert all(network is (q if role else targets_made[0]) for role, network in calls)


def test_every_draw_of_noise_is_another(monkeypatch):
    """a' and the actions of (12.8) are drawn apart, and anew at each step."""
    noises, targets, gradient = [], sac.targets, sac.gradient
    monkeypatch.setattr(sac, "targets", lambda *r, **c: noises.append(r[3]) or targets(*r, **c))
    monkeypatch.setattr(sac, "gradient", lambda *r, **c: noises.append(r[3]) or gradient(*r, **c))
    env = gym.make("Pendulum-v1")
    for _ in sac.train(env, *networks(env), **SHORT):
        pass
    drawn = np.concatenate(noises)
    assert noises[0].shape == (8, 1) and noises[0].dtype == np.float32 and len(np.unique(drawn)) == len(drawn)


@given(SEEDS)
def test_gradients_meet_finite_differences(seed):
    rng = np.random.default_rng(seed)
    policy, q = SquashedGaussianPolicy((3, 4, 2), rng, dtype=LD), TwinQ((5, 4), rng, dtype=LD)
    states, noise = rng.standard_normal((4, 3)).astype(LD), rng.standard_normal((4, 2)).astype(LD)
    q.nets[1].layers[-1][1][:] += 5 * (-1) ** seed  # far from the kink of the minimum
    g, _ = sac.gradient(policy, q, states, noise, ent_coef=0.3)

    def L(theta):
        return sac.loss(SquashedGaussianPolicy(policy.sizes, theta=theta), q, states, noise, ent_coef=0.3)

    check(L, g, policy.theta)
    rows = states, noise, rng.standard_normal(4)
    check(lambda theta: TwinQ(q.sizes, theta=theta).mse(*rows), q.mse_gradient(*rows), q.theta)


def test_where_the_twins_agree_they_count_as_one():
    """min(Q, Q) = Q: the gradient is as if the second were the larger."""
    rng, (policy, q) = np.random.default_rng(0), networks(gym.make("Pendulum-v1"), dtype=float)
    q.nets[1].theta[:] = q.nets[0].theta
    states, noise = rng.standard_normal((5, 3)), rng.standard_normal((5, 1))
    equal, _ = sac.gradient(policy, q, states, noise, ent_coef=0.0)
    q.nets[1].layers[-1][1][:] += 1
    larger, _ = sac.gradient(policy, q, states, noise, ent_coef=0.0)
    assert equal.any() and same_bits(equal, larger)


def test_the_same_seed_gives_the_same_bits_and_how_many_samples_are_drawn_changes_no_first_action():
    def train(**settings):
        env = gym.make("Pendulum-v1")
        policy, q = networks(env)
        *_, progress = sac.train(env, policy, q, **SHORT | settings)
        return np.concatenate([policy.theta, q.theta]), progress

    (a, first), (b, _), (c, other) = train(), train(), train(seed=1)
    assert same_bits(a, b) and not same_bits(a, c) and first.ent_coef != other.ent_coef
    assert not same_bits(a, train(batch_size=5)[0])


def test_before_learning_starts_nothing_moves():
    env = gym.make("Pendulum-v1")
    policy, q = networks(env)
    before = policy.theta.copy(), q.theta.copy()
    for progress in sac.train(env, policy, q, **SHORT | {"learning_starts": 60}):
        if progress.steps < 60:
            assert same_bits(policy.theta, before[0]) and same_bits(q.theta, before[1])
            assert progress.ent_coef == 1 and np.isnan(progress.entropy)
    assert not same_bits(policy.theta, before[0]) and not same_bits(q.theta, before[1])


def test_train_freq_and_gradient_steps(monkeypatch):
    counted, gradient = [], sac.gradient
    monkeypatch.setattr(sac, "gradient", lambda *r, **c: counted.append(0) or gradient(*r, **c))
    env = gym.make_vec("Pendulum-v1", 2)
    run = sac.train(env, *networks(env), **SHORT, train_freq=5, gradient_steps=3)
    assert [progress.steps for progress in run] == [10, 20, 30, 40, 50, 60] and len(counted) == 4 * 3


SETTINGS = """total_steps train_freq gradient_steps batch_size buffer_size learning_starts gamma tau ent_coef
learn_ent_coef learning_rate"""


@pytest.mark.parametrize("wrong", SETTINGS.split())
def test_every_setting_is_checked_at_the_call(wrong):
    env = gym.make("Pendulum-v1")
    with pytest.raises((ValueError, TypeError), match=wrong):
        sac.train(env, *networks(env), **{wrong: -1})


def test_alpha_0_is_for_a_fixed_one_only():
    env = gym.make("Pendulum-v1")
    with pytest.raises(ValueError, match="ent_coef must be a finite number > 0"):
        sac.train(env, *networks(env), ent_coef=0.0)
    sac.train(env, *networks(env), ent_coef=0.0, learn_ent_coef=False).close()
    with pytest.raises(TypeError, match="target_entropy"):
        sac.train(env, *networks(env), target_entropy="auto")


def test_other_networks_are_refused():
    env = gym.make("Pendulum-v1")
    policy, q = networks(env)
    for wrong in (GaussianPolicy.for_env(env), q), (policy, Value.for_env(env)), (q, policy):
        with pytest.raises(TypeError, match=r"must be a (SquashedGaussianPolicy|TwinQ), not"):
            sac.train(env, *wrong)
    with pytest.raises(ValueError, match=r"the q TwinQ.* has 3 inputs"):
        sac.train(env, policy, TwinQ((3, 4)))
