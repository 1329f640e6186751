"""Cloning and DAgger: what is learned, who is asked, and what is refused."""

from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, Scripted, ScriptedVector
from gymnasium.spaces import Box
from helpers import same_bits

from scratchpg import FiniteMDP, GaussianPolicy, SoftmaxPolicy, evaluate, imitation
from scratchpg.demonstrations import record

SCRIPT = [(4, "terminated"), (3, "truncated")]
BALANCE = np.array([0.1, 0.3, 3.0, 1.0])
QUICK = {"n_epochs": 2, "batch_size": 8}


def balance(states):
    """It holds CartPole up for ever."""
    return (states @ BALANCE > 0).astype(int)


def by_step(states):
    return states[:, 2].astype(int) % 2


def labels_of(monkeypatch, env, policy, expert, **settings):
    """D as each round learns from it: [(states, actions), …]."""
    sets = []
    monkeypatch.setattr(imitation, "clone", lambda _, states, actions, **__: sets.append((states, actions)) or 0.0)
    progress = list(imitation.train(env, policy, expert, seed=0, **settings))
    return sets, progress


def test_a_clone_agrees_with_the_expert():
    demonstrations = record(balance, gym.make("CartPole-v1", max_episode_steps=100), seed=0)
    policy = SoftmaxPolicy((4, 16, 2), rng=0)
    before = imitation.loss(policy, demonstrations.states, demonstrations.actions)
    after = imitation.clone(policy, demonstrations.states, demonstrations.actions, learning_rate=3e-2, rng=0)
    assert after == pytest.approx(imitation.loss(policy, demonstrations.states, demonstrations.actions))
    assert after < 0.1 < before
    assert (policy(demonstrations.states).mode() == demonstrations.actions).mean() > 0.95


def test_dagger_learns_to_hold_the_pole_up():
    env, policy = gym.make("CartPole-v1"), SoftmaxPolicy((4, 16, 2), rng=0)
    settings = {"total_steps": 200, "n_steps": 20, "learning_rate": (1e-2, 0.0), "seed": 0}
    *_, last = imitation.train(env, policy, balance, dagger=True, **settings)
    assert last.steps == 200
    assert evaluate(policy, env, episodes=5, greedy=True, seed=1).mean() > 300


def test_a_gaussian_clone_finds_the_mean_and_the_spread():
    """a* = (s, -s) + noise of σ = ½: μ becomes (s, -s), σ the noise."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (2_000, 1))
    actions = np.hstack([states, -states]) + rng.normal(0, 0.5, (2_000, 2))
    policy = GaussianPolicy((1, 2), rng=0, dtype=np.float64)
    imitation.clone(policy, states, actions, n_epochs=60, learning_rate=(3e-2, 0.0), rng=0)
    pi = policy(np.array([[-1.0], [1.0]]))
    np.testing.assert_allclose(pi.mean, [[-1, 1], [1, -1]], atol=0.1)
    np.testing.assert_allclose(pi.std, 0.5, atol=0.03)


def test_weights_choose_the_better_part():
    """Half of the rows say 0, half say 1; the weights count only the latter."""
    states, actions = np.ones((10, 1)), np.arange(10) % 2
    policy = SoftmaxPolicy((1, 2), rng=0)
    imitation.clone(policy, states, actions, weights=actions == 1, learning_rate=0.1, rng=0)
    assert policy(states[:1]).probabilities[0, 1] > 0.95


@pytest.mark.parametrize("dagger", [False, True])
def test_every_state_met_is_learned_once_with_the_label_of_its_own_state(monkeypatch, dagger):
    """Each state of these environments is new, so none may stand in D twice; reset rows are in none."""
    env = ScriptedVector([SCRIPT, SCRIPT[::-1]], NEXT_STEP)
    sets, progress = labels_of(
        monkeypatch, env, SoftmaxPolicy((3, 2), rng=0), by_step, dagger=dagger, total_steps=30, n_steps=5
    )
    for states, actions in sets:
        assert len(np.unique(states, axis=0)) == len(states)
        assert (actions == by_step(states)).all()
    assert [len(states) for states, _ in sets] == [p.steps for p in progress]
    assert all((later[: len(states)] == states).all() for (states, _), (later, _) in pairwise(sets))


@pytest.mark.parametrize("dagger", [False, True])
def test_the_learner_drives_after_the_first_round_only_in_dagger(monkeypatch, dagger):
    env = Scripted([(10, "terminated")])
    policy = SoftmaxPolicy((3, 2), theta=np.array([0, 0, 0, 0, 0, 0, 0, 1e4]))  # always 1
    labels_of(monkeypatch, env, policy, lambda states: np.zeros(len(states), int), dagger=dagger, total_steps=20)
    assert env.actions == [0] * 10 + [int(dagger)] * 10


def test_the_expert_is_asked_before_the_learner_learns(monkeypatch):
    """An expert that sees what the learner would do: in each round it labels before θ moves."""
    policy, seen = SoftmaxPolicy((3, 2), rng=0), []
    asked = lambda states: seen.append(policy.theta.copy()) or by_step(states)  # noqa: E731
    loop = imitation.train(Scripted(SCRIPT), policy, asked, total_steps=8, seed=0, **QUICK)
    before = policy.theta.copy()
    next(loop)
    assert seen and all((theta == before).all() for theta in seen)
    assert (policy.theta != before).any()
    loop.close()


def test_a_round_is_whole_episodes_or_so_many_rows(monkeypatch):
    env = lambda: ScriptedVector([SCRIPT, SCRIPT[::-1]], NEXT_STEP)  # noqa: E731
    policy = SoftmaxPolicy((3, 2), rng=0)
    _, progress = labels_of(monkeypatch, env(), policy, by_step, total_steps=14)
    assert [p.steps for p in progress] == [7, 14]
    _, progress = labels_of(monkeypatch, env(), policy, by_step, total_steps=6, n_steps=3)
    assert [p.steps for p in progress] == [6]


@pytest.mark.parametrize("dagger", [False, True])
@pytest.mark.parametrize("kind", [SoftmaxPolicy, GaussianPolicy])
def test_the_same_seed_the_same_bits(kind, dagger):
    def learned(seed):
        env = Scripted(SCRIPT) if kind is SoftmaxPolicy else Scripted(SCRIPT, action_space=Box(-1, 1, (2,)))
        expert = by_step if kind is SoftmaxPolicy else lambda states: np.sin(states[:, 1:])
        policy = kind((3, 4, 2), rng=0)
        for progress in imitation.train(env, policy, expert, dagger=dagger, total_steps=14, seed=seed, **QUICK):
            assert np.isfinite(progress.loss)
        return policy.theta

    assert same_bits(learned(1), learned(1))
    assert not same_bits(learned(1), learned(2))


def test_the_expert_of_a_finite_mdp_sees_its_states_one_hot():
    mdp = FiniteMDP([0.5, 0.5], np.full((2, 2, 2), 0.5), [[1.0, 0.0], [0.0, 1.0]], horizon=10)
    policy = SoftmaxPolicy((2, 2), rng=0)
    for _ in imitation.train(
        mdp, policy, lambda states: states.argmax(axis=1), total_steps=40, learning_rate=0.1, seed=0
    ):
        pass
    assert mdp.objective(policy, 1.0) > 9


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"dagger": 1}, TypeError, "dagger must be True or False"),
        ({"total_steps": -1}, ValueError, "total_steps must be"),
        ({"n_steps": 0}, ValueError, "n_steps must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"n_epochs": 1.5}, TypeError, "n_epochs must be"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be"),
        ({"max_grad_norm": 0.0}, ValueError, "max_grad_norm must be"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"expert": None}, TypeError, "expert must be a function of states"),
        ({"policy": SoftmaxPolicy((3, 5))}, ValueError, "3 inputs and 5 outputs"),
        ({"policy": GaussianPolicy((3, 2))}, ValueError, "Box"),
    ],
)
def test_bad_settings_are_refused_at_the_call(settings, error, message):
    arguments = {"env": Scripted(SCRIPT), "policy": SoftmaxPolicy((3, 2)), "expert": by_step} | settings
    with pytest.raises(error, match=message):
        imitation.train(**arguments)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((np.zeros((2, 3)), np.array([0, 2])), "actions must lie in 0 … 1"),
        ((np.zeros((2, 3)), np.array([0, 1, 1])), "actions must be 2 integers"),
        ((np.zeros((2, 3)), np.array([0.0, 1.0])), "actions must be 2 integers"),
        ((np.zeros((0, 3)), np.zeros(0, int)), "at least one row"),
        ((np.zeros((2, 3)), np.array([0, 1]), np.ones((2, 1))), "weights must have shape"),
    ],
)
@pytest.mark.parametrize("function", [imitation.loss, imitation.gradient, imitation.clone])
def test_bad_rows_are_refused(function, rows, message):
    with pytest.raises(ValueError, match=message):
        function(SoftmaxPolicy((3, 2)), *rows)


def test_an_expert_that_fails_on_the_way_is_named():
    """It is well until the learner leads it elsewhere."""
    expert = lambda states: np.where(states[:, 1] > 0, 7, 0)  # noqa: E731
    with pytest.raises(ValueError, match=r"actions of the expert must be integers in 0 … 1 of shape \(1,\)"):
        list(imitation.train(Scripted(SCRIPT), SoftmaxPolicy((3, 2)), expert, total_steps=20, seed=0, **QUICK))
