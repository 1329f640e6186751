"""Evaluation: whole episodes, undiscounted, the same number from every environment; what never ends is cut off."""

import importlib
import warnings

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted, ScriptedVector, reward
from helpers import same_bits

from scratchpg import SoftmaxPolicy, evaluate
from scratchpg.plumbing import spaces


def policy():
    return SoftmaxPolicy((3, 2), rng=0)


def scripted_return(index, episode, length):
    return sum(reward(index, episode, t) for t in range(length))


def test_short_episodes_are_not_favoured():
    # environment 0 needs 9 steps for an episode, environment 1 a single one: whoever takes the first 6 episodes to
    # finish takes 5 or 6 of the short ones
    envs = ScriptedVector([[(9, "terminated")], [(1, "truncated")]])
    returns = evaluate(policy(), envs, episodes=6, seed=0)
    expected = [scripted_return(0, episode, 9) for episode in range(3)]
    expected += [scripted_return(1, episode, 1) for episode in range(3)]
    assert returns.shape == (6,) and returns.tolist() == expected


@pytest.mark.parametrize("episodes", [1, 2, 3, 7])
def test_any_number_of_episodes(episodes):
    envs = ScriptedVector([[(2, "terminated"), (3, "truncated")]] * 3)
    returns = evaluate(policy(), envs, episodes=episodes, seed=0)
    wanted = [episodes // 3 + (n < episodes % 3) for n in range(3)]
    assert returns.tolist() == [scripted_return(n, k, 2 + k % 2) for n in range(3) for k in range(wanted[n])]


def test_a_single_environment():
    env = Scripted([(2, "terminated"), (4, "both")])
    returns = evaluate(policy(), env, episodes=4, seed=0)
    assert returns.tolist() == [scripted_return(0, episode, 2 + 2 * (episode % 2)) for episode in range(4)]


def test_greedy_or_sampled():
    class Bandit(gym.Env):
        """One step that pays the number of the action."""

        observation_space, action_space = gym.spaces.Box(0, 1, (1,)), gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.ones(1, np.float32), {}

        def step(self, action):
            return np.ones(1, np.float32), float(action), True, False, {}

    # π(1) = σ(1) = 0.731 is the more probable
    player = SoftmaxPolicy((1, 2), theta=np.array([0.0, 1.0, 0.0, 0.0]))
    np.testing.assert_array_equal(evaluate(player, Bandit(), episodes=50, greedy=True, seed=0), 1)
    sampled = evaluate(player, Bandit(), episodes=2000, seed=0)
    assert set(sampled) == {0, 1}
    # the standard error of a mean of 2000: √(0.731 · 0.269 / 2000) = 0.01
    assert sampled.mean() == pytest.approx(1 / (1 + np.exp(-1)), abs=0.04)


@pytest.mark.parametrize("n_envs", [None, 3])
def test_the_seed_decides(n_envs):
    def run(seed):
        env = gym.make("CartPole-v1") if n_envs is None else gym.make_vec("CartPole-v1", n_envs)
        return evaluate(SoftmaxPolicy.for_env(env, rng=0), env, episodes=5, seed=seed)

    assert same_bits(run(1), run(1)) and not same_bits(run(1), run(2))
    assert run(1).shape == (5,) and run(None).shape == (5,)


def test_100_episodes_and_sampled_actions_by_default():
    env = gym.make_vec("CartPole-v1", 20)
    player = SoftmaxPolicy.for_env(env, rng=0)
    returns = evaluate(player, env, seed=0)
    assert returns.shape == (100,)
    assert same_bits(returns, evaluate(player, env, episodes=100, greedy=False, seed=0))


def test_the_policy_is_left_as_it_is():
    player = policy()
    before = player.theta.copy()
    evaluate(player, Scripted([(2, "terminated")]), episodes=3, seed=0)
    assert same_bits(player.theta, before)


# Episodes that are long, or have no end


def test_episodes_are_cut_off_after_max_steps():
    """An episode cut off counts, with what it paid; all environments then begin anew."""
    env = Scripted([(9, "terminated"), (2, "terminated")])
    returns = evaluate(policy(), env, episodes=3, seed=0, max_steps=4)
    assert returns.tolist() == [scripted_return(0, 0, 4), scripted_return(0, 1, 2), scripted_return(0, 2, 4)]
    envs = ScriptedVector([[(9, "terminated")], [(3, "truncated")], [(4, "both")]])
    returns = evaluate(policy(), envs, episodes=3, seed=0, max_steps=4)
    assert returns.tolist() == [scripted_return(n, 0, length) for n, length in enumerate([4, 3, 4])]


def test_many_episodes_of_environments_that_are_all_cut_off():
    envs = ScriptedVector([[(9, "terminated")]] * 2)
    returns = evaluate(policy(), envs, episodes=6, seed=0, max_steps=5)
    assert returns.tolist() == [scripted_return(n, k, 5) for n in range(2) for k in range(3)]


def test_without_a_time_limit_a_very_long_episode_is_cut_off_with_a_warning(monkeypatch):
    monkeypatch.setattr(spaces, "LONG", 50)
    monkeypatch.setattr(importlib.import_module("scratchpg.evaluate"), "LONG", 50)
    endless, limited = [(10**9, "terminated")], [(20, "truncated")]
    message = "1 of 2 episodes were cut off after 50 steps, as .* has no time limit; max_steps sets another"
    with pytest.warns(RuntimeWarning, match=message):
        returns = evaluate(policy(), ScriptedVector([endless, limited]), episodes=2, seed=0)
    assert returns.tolist() == [scripted_return(0, 0, 50), scripted_return(1, 0, 20)]
    with warnings.catch_warnings():  # none of these is a reason to warn
        warnings.simplefilter("error")
        evaluate(policy(), Scripted(limited), episodes=2, seed=0)
        assert len(evaluate(policy(), Scripted(endless), episodes=2, seed=0, max_steps=7)) == 2
        pole = gym.make("CartPole-v1", max_episode_steps=80)
        keeper = SoftmaxPolicy((4, 2), theta=np.array([0, 0, -1.0, 1, -9, 9, -9, 9, 0, 0]))  # pushes where it leans
        assert evaluate(keeper, pole, episodes=3, greedy=True, seed=0).tolist() == [80] * 3


@pytest.mark.parametrize("episodes", [1, 5])
def test_the_number_of_finished_episodes_is_reported(episodes):
    for env in Scripted([(2, "terminated")]), ScriptedVector([[(4, "truncated")], [(1, "terminated")]]):
        reported = []
        evaluate(policy(), env, episodes=episodes, seed=0, report=reported.append)
        assert reported == [*range(1, episodes + 1)]
