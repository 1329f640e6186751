"""REINFORCE: its gradient against differences, the weights that it gives to the steps, a short run that learns."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted, ScriptedVector, reward
from helpers import ACTIONS, LD, SCALES, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import Progress, SoftmaxPolicy, reinforce

LENGTHS = st.lists(st.integers(1, 3), min_size=1, max_size=3)  # of one and of many episodes


def problem(sizes, lengths, scale, seed, dtype=LD):
    """A policy and the steps of some episodes: policy, states, actions, weights."""
    rng = np.random.default_rng(seed)
    policy, B = random_network(SoftmaxPolicy, sizes, rng, scale), sum(lengths)
    policy = SoftmaxPolicy(sizes, theta=policy.theta.astype(dtype))
    states, weights = rng.standard_normal((B, sizes[0])).astype(dtype), rng.standard_normal(B).astype(dtype)
    return policy, states, rng.integers(0, sizes[-1], B), weights


@given(shapes(ACTIONS), LENGTHS, SCALES, SEEDS)
def test_gradient_against_differences(sizes, lengths, scale, seed):
    policy, *batch = problem(sizes, lengths, scale, seed)
    check(
        # the 1 makes up for what may cancel in a sum of weights of both signs
        lambda theta: reinforce.loss(SoftmaxPolicy(sizes, theta=theta), *batch, episodes=len(lengths)) + 1,
        reinforce.gradient(policy, *batch, episodes=len(lengths)),
        policy.theta,
    )


@given(shapes(ACTIONS), LENGTHS, SCALES, SEEDS)
def test_gradient_against_complex_steps(sizes, lengths, scale, seed):
    policy, *batch = problem(sizes, lengths, scale, seed, float)
    assert_complex_step(
        lambda theta: reinforce.loss(SoftmaxPolicy(sizes, theta=theta), *batch, episodes=len(lengths)),
        reinforce.gradient(policy, *batch, episodes=len(lengths)),
        policy.theta,
    )


def test_loss_and_gradient_by_hand():
    # a policy of biases alone, π = (1/2, 1/2) everywhere; two episodes, of 2 and 1 steps; weights 3, 1 and 2
    # L = -(1/2) (3 + 1 + 2) log ½;   d/db = -(1/2) (3 (½, -½) + 1 (-½, ½) + 2 (½, -½)) = (-1, 1)
    policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))
    batch = np.zeros((3, 1)), np.array([0, 1, 0]), np.array([3.0, 1.0, 2.0])
    assert reinforce.loss(policy, *batch, episodes=2) == pytest.approx(3 * np.log(2))
    np.testing.assert_allclose(reinforce.gradient(policy, *batch, episodes=2), [0, 0, -1, 1])


@given(shapes(ACTIONS), SEEDS)
def test_the_mean_over_episodes_of_the_sum_over_steps(sizes, seed):
    lengths = [1, 3, 2]
    policy, states, actions, weights = problem(sizes, lengths, 1.0, seed)
    together = reinforce.gradient(policy, states, actions, weights, episodes=3)
    cuts = np.cumsum(lengths)[:-1]
    apart = [
        reinforce.gradient(policy, *episode, episodes=1)
        for episode in zip(*(np.split(x, cuts) for x in (states, actions, weights)), strict=True)
    ]
    np.testing.assert_allclose(together, sum(apart) / 3, rtol=0, atol=1e-15 * max(1, abs(together).max()))


def test_arguments_are_not_mutated():
    policy, *batch = problem((3, 4, 2), [2, 2], 1.0, 0, float)
    kept = [x.copy() for x in (policy.theta, *batch)]
    first = reinforce.gradient(policy, *batch, episodes=2)
    assert same_bits(reinforce.gradient(policy, *batch, episodes=2), first)
    assert all(same_bits(a, b) for a, b in zip(kept, (policy.theta, *batch), strict=True))


def test_a_step_makes_good_actions_more_probable_and_bad_ones_less():
    policy, states, actions, _ = problem((3, 4, 3), [1], 1.0, 0, float)
    before = policy(states).log_prob(actions)
    for weight, sign in [(1.0, 1), (-1.0, -1)]:
        gradient = reinforce.gradient(policy, states, actions, np.array([weight]), episodes=1)
        after = SoftmaxPolicy((3, 4, 3), theta=policy.theta - 1e-3 * gradient)(states).log_prob(actions)
        assert np.sign(after - before) == sign


# The weights Ψ_t, as train hands them to the gradient. γ = ½. The steps of episode e pay 8e + 0.5, 8e + 1.5, …

SCRIPT = [(3, "truncated"), (2, "terminated")]
EPISODE_0 = {  # r = 0.5, 1.5, 2.5:  G = 2.5, 1.5 + 2.5/2 = 2.75, 0.5 + 2.75/2 = 1.875, the last of them R(τ)
    "as printed": [1.875, 2.75 / 2, 2.5 / 4],  # γ^t G_t
    "γ^t dropped": [1.875, 2.75, 2.5],  # G_t
    "total return": [1.875, 1.875, 1.875],  # R(τ)
}
EPISODE_1 = {  # r = 8.5, 9.5:  G = 9.5, 8.5 + 9.5/2 = 13.25
    "as printed": [13.25, 9.5 / 2],
    "γ^t dropped": [13.25, 9.5],
    "total return": [13.25, 13.25],
}
SWITCHES = {
    "as printed": {},
    "γ^t dropped": {"keep_gamma_t": False},
    "total return": {"reward_to_go": False},
}


def spy(monkeypatch, module=reinforce):
    """Every call of the module's gradient from now on: [(states, actions, weights, episodes)]."""
    calls, gradient = [], module.gradient

    def record(policy, states, actions, weights, *, episodes):
        calls.append((states, actions, weights, episodes))
        return gradient(policy, states, actions, weights, episodes=episodes)

    monkeypatch.setattr(module, "gradient", record)
    return calls


@pytest.mark.parametrize("name", SWITCHES)
def test_weights_of_one_episode_after_another(monkeypatch, name):
    calls = spy(monkeypatch)
    training = reinforce.train(Scripted(SCRIPT), SoftmaxPolicy((3, 2), rng=0), gamma=0.5, seed=0, **SWITCHES[name])
    first, second = next(training), next(training)
    assert (first.steps, first.episodes, second.steps, second.episodes) == (3, 1, 5, 2)
    (states, _, weights, episodes), (_, _, weights2, _) = calls
    assert states[:, 1:].tolist() == [[0, 0], [0, 1], [0, 2]] and episodes == 1
    assert weights.tolist() == EPISODE_0[name] and weights2.tolist() == EPISODE_1[name]


@pytest.mark.parametrize("name", SWITCHES)
def test_weights_of_several_episodes_in_one_update(monkeypatch, name):
    calls = spy(monkeypatch)
    policy = SoftmaxPolicy((3, 2), rng=0)
    progress = next(reinforce.train(Scripted(SCRIPT), policy, n_episodes=2, gamma=0.5, seed=0, **SWITCHES[name]))
    ((_, _, weights, episodes),) = calls
    assert weights.tolist() == EPISODE_0[name] + EPISODE_1[name] and episodes == 2
    assert (progress.steps, progress.episodes, progress.mean_return) == (5, 2, (4.5 + 18) / 2)


@pytest.mark.parametrize("name", SWITCHES)
def test_weights_from_a_vector_environment(monkeypatch, name):
    # environment 1 pays 64 more a step, and its first episode is of 2 steps; reset rows would pay a million
    calls = spy(monkeypatch)
    envs = ScriptedVector([SCRIPT, SCRIPT[::-1]])
    policy = SoftmaxPolicy((3, 2), rng=0)
    next(reinforce.train(envs, policy, n_episodes=3, gamma=0.5, seed=0, **SWITCHES[name]))
    ((states, _, weights, episodes),) = calls
    # r = 64.5, 65.5:  G = 65.5, 64.5 + 65.5/2 = 97.25
    other = {"as printed": [97.25, 65.5 / 2], "γ^t dropped": [97.25, 65.5], "total return": [97.25] * 2}
    assert weights[states[:, 0] == 0].tolist() == EPISODE_0[name] + EPISODE_1[name]
    assert weights[states[:, 0] == 1].tolist() == other[name]
    assert len(states) == 7 and episodes == 3


def test_one_episode_of_each_environment_by_default(monkeypatch):
    calls = spy(monkeypatch)
    progress = next(reinforce.train(ScriptedVector([SCRIPT] * 3), SoftmaxPolicy((3, 2), rng=0), seed=0))
    assert calls[0][3] == progress.episodes == 3 and progress.steps == 9
    assert progress.mean_return == np.mean([sum(reward(n, 0, t) for t in range(3)) for n in range(3)])


def test_at_gamma_1_there_is_nothing_to_keep():
    runs = []
    for keep in (True, False):
        policy = SoftmaxPolicy((3, 2), rng=0)
        list(reinforce.train(Scripted(SCRIPT), policy, gamma=1.0, keep_gamma_t=keep, total_steps=20, seed=0))
        runs.append(policy.theta)
    assert same_bits(*runs)


# Runs


def cartpole(seed, steps, **kwargs):
    env = gym.make_vec("CartPole-v1", 8)
    policy = SoftmaxPolicy.for_env(env, (32,), rng=seed)
    return policy, list(reinforce.train(env, policy, total_steps=steps, learning_rate=1e-2, seed=seed, **kwargs))


def test_cartpole_improves():
    _, progress = cartpole(0, 45_000)
    assert progress[0].mean_return < 40  # a random policy: about 20
    assert max(p.mean_return for p in progress) > 120
    assert all(a.steps < b.steps and b.episodes == a.episodes + 8 for a, b in pairwise(progress))
    assert progress[-2].steps < 45_000 <= progress[-1].steps


def test_same_seed_same_bits():
    (one, progress), (again, same), (other, _) = (cartpole(seed, 5_000) for seed in (1, 1, 2))
    assert same_bits(one.theta, again.theta) and progress == same and len(progress) > 5
    assert not np.array_equal(one.theta, other.theta)


def test_rng_in_place_of_seed():
    thetas = []
    for source in ({"seed": 5}, {"rng": np.random.default_rng(5)}, {"rng": 5}):
        policy = SoftmaxPolicy((3, 2), rng=0)
        list(reinforce.train(Scripted(SCRIPT), policy, total_steps=20, **source))
        thetas.append(policy.theta)
    assert same_bits(thetas[0], thetas[1]) and same_bits(thetas[0], thetas[2])


def test_the_policy_is_trained_in_place():
    policy = SoftmaxPolicy((3, 2), rng=0)
    theta, before = policy.theta, policy.theta.copy()
    next(reinforce.train(Scripted(SCRIPT), policy, seed=0))
    assert policy.theta is theta and not np.array_equal(theta, before)


def test_no_steps_no_updates():
    policy = SoftmaxPolicy((3, 2), rng=0)
    before = policy.theta.copy()
    assert list(reinforce.train(Scripted(SCRIPT), policy, total_steps=0, seed=0)) == []
    assert same_bits(policy.theta, before)


def test_progress_says_what_happened():
    progress = next(reinforce.train(Scripted(SCRIPT), SoftmaxPolicy((3, 2), rng=0), seed=0))
    assert isinstance(progress, Progress) and "\n" not in str(progress)
    for name in ("steps", "episodes", "mean_return", "gradient_norm"):
        assert f"{name} " in str(progress)
    assert progress.gradient_norm > 0


@pytest.mark.parametrize("what", [("reward", 2, 1), ("observation", 2, 1)])
def test_a_run_that_diverges_says_where_and_keeps_the_last_finite_parameters(what):
    policy = SoftmaxPolicy((3, 2), rng=0)
    training = reinforce.train(Scripted(SCRIPT, replace={what: np.inf}), policy, seed=0)  # the third episode fails
    next(training), next(training)
    last = policy.theta.copy()
    with pytest.raises(FloatingPointError, match=rf"{what[0]}s must be finite.*\(after 5 steps\)"):
        next(training)
    assert same_bits(policy.theta, last)


def test_a_step_size_that_explodes_says_so():
    # float32 holds no 1e300: the step is not finite, and is not taken
    policy = SoftmaxPolicy((3, 4, 2), rng=0)
    before = policy.theta.copy()
    with pytest.raises(FloatingPointError, match=r"step of the parameters is not finite.*\(after 0 steps\)"):
        next(reinforce.train(Scripted(SCRIPT), policy, learning_rate=1e300, seed=0))
    assert same_bits(policy.theta, before)
