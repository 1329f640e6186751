"""RLfD: A2C and the demonstrations' term, whose weight decays; and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted
from gymnasium.spaces import Box
from helpers import same_bits

from scratchpg import FiniteMDP, GaussianPolicy, SoftmaxPolicy, Value, a2c, imitation, rlfd
from scratchpg.demonstrations import Demonstrations, record

SCRIPT = [(4, "terminated"), (3, "truncated")]
BOX = Box(-1, 1, (2,))


def by_step(states):
    return states[:, 2].astype(int) % 2


def networks(kind=SoftmaxPolicy):
    return kind((3, 4, 2), rng=0), Value((3, 4), rng=1)


def trained(demonstrations, kind=SoftmaxPolicy, chapter=rlfd, **settings):
    """Policy, value and every progress of a short run."""
    env = Scripted(SCRIPT) if kind is SoftmaxPolicy else Scripted(SCRIPT, action_space=BOX)
    policy, value = networks(kind)
    rest = [demonstrations] if chapter is rlfd else []
    settings = {"total_steps": 100, "learning_rate": 1e-2, "seed": 0, "normalize_advantage": True} | settings
    return policy, value, list(chapter.train(env, policy, value, *rest, **settings))


@pytest.fixture
def demonstrations():
    return record(by_step, Scripted(SCRIPT), episodes=2, seed=0)


def spied(monkeypatch, demonstrations, **settings):
    """What `train` hands to `gradient`, update by update."""
    calls, gradient = [], rlfd.gradient
    monkeypatch.setattr(rlfd, "gradient", lambda *args, **kw: calls.append((args, kw)) or gradient(*args, **kw))
    trained(demonstrations, **settings)
    return calls


def test_the_weight_of_the_demonstrations_decays_to_0(monkeypatch, demonstrations):
    """Linear over the steps: λ = 1 at first, 0 after the last."""
    weights = [kw["demo_coef"] for _, kw in spied(monkeypatch, demonstrations, n_steps=10)]
    progress = trained(demonstrations, n_steps=10)[2]
    steps_before = [0] + [p.steps for p in progress[:-1]]
    np.testing.assert_allclose(weights, 1 - np.array(steps_before) / 100)
    assert [p.demo_coef for p in progress] == weights
    assert weights[0] == 1 and weights[-1] < 0.1


def test_a_plain_number_stays(monkeypatch, demonstrations):
    calls = spied(monkeypatch, demonstrations, demo_coef=0.3)
    assert {kw["demo_coef"] for _, kw in calls} == {0.3}


def test_all_demonstrations_take_part_in_every_update(monkeypatch, demonstrations):
    for args, _ in spied(monkeypatch, demonstrations):
        assert args[4] is demonstrations.states and args[5] is demonstrations.actions


@pytest.mark.parametrize("n_steps", [5, None])
def test_with_a_weight_of_nearly_0_it_is_a2c(demonstrations, n_steps):
    with_term = trained(demonstrations, demo_coef=1e-30, n_steps=n_steps)
    without = trained(demonstrations, chapter=a2c, n_steps=n_steps)
    for a, b in zip(with_term[:2], without[:2], strict=True):
        assert same_bits(a.theta, b.theta)


def test_it_does_not_matter_how_often_the_demonstrations_are_given(demonstrations):
    """A mean over them, not a sum: doubled, they weigh the same."""
    parts = demonstrations.states, demonstrations.actions, demonstrations.returns
    twice = Demonstrations(*(np.concatenate([x, x]) for x in parts), demonstrations.env)
    np.testing.assert_allclose(trained(twice)[0].theta, trained(demonstrations)[0].theta, atol=1e-5)


@pytest.mark.parametrize("function", [rlfd.loss, rlfd.gradient])
def test_unless_said_otherwise_there_is_no_entropy_and_the_demonstrations_count_once(function):
    policy = SoftmaxPolicy((3, 2), rng=1, dtype=float)
    rows = np.eye(3), np.array([0, 1, 1]), np.array([1.0, -1.0, 2.0]), np.ones((2, 3)), np.array([0, 1])
    plain = function(policy, *rows)
    np.testing.assert_array_equal(plain, function(policy, *rows, ent_coef=0.0, demo_coef=1.0))
    for other in {"ent_coef": 1.0}, {"demo_coef": 2.0}:
        assert np.any(plain != function(policy, *rows, **other))


def test_the_weights_of_the_demonstrations_count():
    policy, _ = networks()
    rng = np.random.default_rng(0)
    states, actions, advantages, weights = rng.normal(size=(4, 3)), np.array([0, 1, 1, 0]), *rng.normal(size=(2, 4))
    batch, demos = (states, actions, advantages), (states, actions, weights)
    g = rlfd.gradient(policy, *batch, *demos, demo_coef=2.0)
    expected = a2c.gradient(policy, *batch) + 2 * imitation.gradient(policy, *demos)
    np.testing.assert_allclose(g, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [SoftmaxPolicy, GaussianPolicy])
def test_the_same_seed_the_same_bits(kind):
    expert = by_step if kind is SoftmaxPolicy else lambda states: np.sin(states[:, 1:])
    env = Scripted(SCRIPT) if kind is SoftmaxPolicy else Scripted(SCRIPT, action_space=BOX)
    demonstrations = record(expert, env, episodes=2, seed=0)
    first, again, other = (trained(demonstrations, kind, seed=seed)[0].theta for seed in (0, 0, 1))
    assert same_bits(first, again) and not same_bits(first, other)


def test_it_finds_a_reward_that_a2c_does_not_find():
    """A corridor of 12 states: 20 steps, reward at the end only; a wrong step leads back to the start."""
    S = 12
    transition = np.zeros((S, 2, S))
    transition[:, 0, 0] = 1
    transition[np.arange(S), 1, np.minimum(np.arange(S) + 1, S - 1)] = 1
    reward = np.zeros((S, 2, S))
    reward[S - 2, 1, S - 1] = 1
    mdp = FiniteMDP(np.eye(S)[0], transition, reward, horizon=20, terminal=np.arange(S) == S - 1)
    demonstrations = record(lambda states: np.ones(len(states), int), mdp, seed=0)
    settings = {"total_steps": 4_000, "learning_rate": 1e-2, "normalize_advantage": True, "seed": 0}
    found = []
    for chapter, rest in (a2c, []), (rlfd, [demonstrations]):
        policy, value = SoftmaxPolicy((S, 2), rng=0), Value((S,), rng=1)
        for _ in chapter.train(mdp, policy, value, *rest, **settings):
            pass
        found.append(mdp.objective(policy, 1.0))
    assert found[0] < 0.05 and found[1] > 0.9


def test_demonstrations_of_another_environment_are_refused():
    demonstrations = record(lambda states: np.zeros(len(states), int), gym.make("CartPole-v1"), seed=0)
    env = gym.make("Acrobot-v1")
    policy, value = SoftmaxPolicy.for_env(env, rng=0), Value((6, 4), rng=0)
    with pytest.raises(ValueError, match="the demonstrations are of an environment whose id is CartPole-v1, not Acro"):
        rlfd.train(env, policy, value, demonstrations)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": np.zeros((0, 3)), "actions": np.zeros(0, int), "returns": np.zeros(0)}, "at least one row"),
        ({"states": np.zeros((7, 2))}, "2"),
        ({"actions": np.full(7, 2)}, "actions must lie in 0 … 1"),
        ({"actions": np.full(7, -1)}, "actions must lie in 0 … 1"),
        ({"actions": np.zeros(6, int)}, "actions must be 7 integers"),
        ({"actions": np.zeros(7)}, "actions must be 7 integers"),
        ({"returns": np.zeros((7, 1))}, "returns must have shape"),
    ],
)
def test_bad_demonstrations_are_refused_at_the_call(demonstrations, changes, message):
    bad = Demonstrations(**(vars(demonstrations) | changes))
    with pytest.raises(ValueError, match=message):
        rlfd.train(Scripted(SCRIPT), *networks(), bad)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"demonstrations": by_step}, TypeError, "demonstrations must be Demonstrations"),
        ({"demo_coef": -1.0}, ValueError, "demo_coef must be"),
        ({"demo_coef": (1.0, -0.5)}, ValueError, "demo_coef must be"),
        ({"gae_lambda": 95}, ValueError, "gae_lambda must be"),
        ({"n_steps": 0}, ValueError, "n_steps must be"),
        ({"max_grad_norm": 0.0}, ValueError, "max_grad_norm must be"),
    ],
)
def test_bad_settings_are_refused_at_the_call(demonstrations, settings, error, message):
    policy, value = networks()
    with pytest.raises(error, match=message):
        rlfd.train(Scripted(SCRIPT), policy, value, **({"demonstrations": demonstrations} | settings))


@pytest.mark.parametrize("function", [rlfd.loss, rlfd.gradient])
def test_bad_rows_are_refused(function):
    policy, _ = networks()
    batch = np.zeros((2, 3)), np.zeros(2, int), np.ones(2)
    with pytest.raises(ValueError, match="demo_coef must be"):
        function(policy, *batch, *batch, demo_coef=-1.0)
    with pytest.raises(ValueError, match="advantages must have shape"):
        function(policy, *batch[:2], np.ones((2, 1)), *batch)
    with pytest.raises(ValueError, match="weights must have shape"):
        function(policy, *batch, *batch[:2], np.ones((2, 1)))
