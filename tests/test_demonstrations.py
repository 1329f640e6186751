"""Experts and demonstrations: what is recorded, what a file keeps, and what is refused."""

import json

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, Scripted, ScriptedVector
from gymnasium.spaces import Box

from scratchpg import GaussianPolicy, SoftmaxPolicy, evaluate, save
from scratchpg.demonstrations import Demonstrations, Expert, load, record
from scratchpg.rollout import Collector

SCRIPT = [(2, "terminated"), (3, "truncated")]
BOX = Box(-2, 2, (2,))


def by_step(states):
    """An expert whose action tells the step: its states are (env, episode, step)."""
    return states[:, 2].astype(int) % 2


def both_arms(states):
    return np.column_stack([states[:, 2], -states[:, 2]])


def test_an_expert_can_be_run_and_scored():
    env = Scripted(SCRIPT)
    assert Collector(env, Expert(by_step, env), 0).collect_episodes(2).actions[:, 0].tolist() == [0, 1, 0, 0, 1, 0]
    assert evaluate(Expert(by_step, env), env, episodes=2, seed=0).shape == (2,)


def test_whole_episodes_one_after_the_other():
    """Two environments side by side, three episodes: each row with the return of its own episode."""
    env = ScriptedVector([SCRIPT, SCRIPT[::-1]], NEXT_STEP)
    demonstrations = record(by_step, env, episodes=3, seed=0)
    first, second = [(0, 0, 0), (0, 0, 1)], [(0, 1, 0), (0, 1, 1), (0, 1, 2)]
    other = [(1, 0, 0), (1, 0, 1), (1, 0, 2)]
    assert [tuple(map(int, state)) for state in demonstrations.states] == first + second + other
    assert demonstrations.actions.tolist() == [0, 1, 0, 1, 0, 0, 1, 0]
    assert demonstrations.returns.tolist() == [2.0] * 2 + [8 * 3 + 3 + 1.5] * 3 + [64 * 3 + 3 + 1.5] * 3
    assert demonstrations.env == {"id": None, "inputs": 3, "actions": "Discrete 2"}


def test_a_policy_draws_its_actions_and_a_function_may_take_its_mode():
    env = gym.make("CartPole-v1")
    policy = SoftmaxPolicy((4, 2), rng=0)
    assert set(record(policy, env, seed=0).actions) == {0, 1}
    greedy = record(lambda states: policy(states).mode(), env, seed=0)
    assert (greedy.actions == policy(greedy.states).mode()).all()


@pytest.mark.parametrize(
    ("env", "expert", "actions"),
    [(Scripted(SCRIPT), by_step, (5,)), (Scripted(SCRIPT, action_space=BOX), both_arms, (5, 2))],
    ids=["Discrete", "Box"],
)
def test_a_file_gives_back_what_was_saved(tmp_path, env, expert, actions):
    saved = record(expert, env, episodes=2, seed=0)
    saved.save(tmp_path / "demonstrations.npz")
    loaded = load(tmp_path / "demonstrations.npz")
    assert saved.actions.shape == actions
    for name in "states", "actions", "returns":
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    assert loaded.env == saved.env
    loaded.fit(env)
    assert [path.name for path in tmp_path.iterdir()] == ["demonstrations.npz"]


def test_the_id_of_the_environment_is_kept_also_that_of_a_vector():
    expert = lambda states: np.zeros(len(states), int)  # noqa: E731
    single, vector = gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", 2)
    demonstrations = record(expert, single, seed=0)
    assert demonstrations.env["id"] == record(expert, vector, seed=0).env["id"] == "CartPole-v1"
    demonstrations.fit(vector)
    demonstrations.fit(gym.vector.SyncVectorEnv([lambda: gym.make("CartPole-v1")]))  # has no id of its own


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (gym.make("Acrobot-v1"), "whose id is CartPole-v1, not Acrobot-v1"),
        (Scripted(SCRIPT), "whose inputs is 4, not 3"),
    ],
)
def test_another_environment_is_refused(other, message):
    demonstrations = record(lambda states: np.zeros(len(states), int), gym.make("CartPole-v1"), seed=0)
    with pytest.raises(ValueError, match=message):
        demonstrations.fit(other)


def test_other_actions_are_refused():
    demonstrations = record(by_step, Scripted(SCRIPT), seed=0)
    with pytest.raises(ValueError, match="whose actions is Discrete 2, not Box 2"):
        demonstrations.fit(Scripted(SCRIPT, action_space=BOX))


def test_an_empty_set_is_refused():
    env = Scripted(SCRIPT)
    empty = Demonstrations(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0), record(by_step, env).env)
    with pytest.raises(ValueError, match="at least one row"):
        empty.fit(env)


ILLEGAL = {
    "a column": (lambda states: np.zeros((len(states), 1), int), "integers in 0 … 1 of shape"),
    "one for all": (lambda states: 0, "integers in 0 … 1 of shape"),
    "fractions": (lambda states: np.full(len(states), 0.5), "integers in 0 … 1 of shape"),
    "flags": (lambda states: states[:, 0] > 0, "integers in 0 … 1 of shape"),
    "too large": (lambda states: np.full(len(states), 2), "integers in 0 … 1 of shape"),
    "negative": (lambda states: np.full(len(states), -1), "integers in 0 … 1 of shape"),
    "a distribution": (SoftmaxPolicy((3, 2), rng=0).__call__, "integers in 0 … 1 of shape"),
}
ILLEGAL_IN_A_BOX = {
    "flat": (lambda states: np.zeros(len(states)), "finite numbers of shape"),
    "one column": (lambda states: np.zeros((len(states), 1)), "finite numbers of shape"),
    "NaN": (lambda states: np.full((len(states), 2), np.nan), "finite numbers of shape"),
    "infinite": (lambda states: np.full((len(states), 2), np.inf), "finite numbers of shape"),
}


@pytest.mark.parametrize(("expert", "message"), ILLEGAL.values(), ids=ILLEGAL)
def test_illegal_actions_are_refused(expert, message):
    with pytest.raises(ValueError, match=f"actions of the expert must be {message}"):
        record(expert, Scripted(SCRIPT), seed=0)


@pytest.mark.parametrize(("expert", "message"), ILLEGAL_IN_A_BOX.values(), ids=ILLEGAL_IN_A_BOX)
def test_illegal_actions_in_a_box_are_refused(expert, message):
    with pytest.raises(ValueError, match=f"actions of the expert must be {message}"):
        record(expert, Scripted(SCRIPT, action_space=BOX), seed=0)


def test_what_is_no_expert_is_refused():
    with pytest.raises(TypeError, match="expert must be a function of states"):
        record(3, Scripted(SCRIPT))
    with pytest.raises(ValueError, match="the policy GaussianPolicy"):
        record(GaussianPolicy((4, 2)), Scripted(SCRIPT, action_space=BOX))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no .npz file"),
        ("half", "no .npz file"),
        ("checkpoint", "unexpected keyword argument 'policy'"),
        ("pickled", "pickled data"),
        ("no about", "it has no 'about'"),
    ],
)
def test_what_is_no_file_of_demonstrations_is_refused(tmp_path, content, message):
    path = tmp_path / "demonstrations.npz"
    if content == "half":
        record(by_step, Scripted(SCRIPT)).save(path)
        path.write_bytes(path.read_bytes()[:-50])
    elif content == "checkpoint":
        save(path, SoftmaxPolicy((4, 2)))
    elif content == "pickled":
        np.savez(path, about=np.array(json.dumps({})), states=np.array([None], object))
    elif content == "no about":
        np.savez(path, states=np.zeros((1, 3)))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load(path)
    assert "is not a readable scratchpg file of demonstrations" in str(error.value)
