"""What environments look like to networks: sizes, flattening, one face for one and for many; what they return, if it is
not what their spaces say, is refused by name."""

import re

import gymnasium as gym
import numpy as np
import pytest
from envs import Sampled, Scripted, ScriptedVector, vector
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatten

from scratchpg import SoftmaxPolicy
from scratchpg.plumbing import check
from scratchpg.plumbing.spaces import Environments, build
from scratchpg.rollout import Collector

OBSERVATIONS = {
    "Box": Box(-5, 5, (4,), np.float32),
    "Box of one number": Box(-5, 5, (), np.float32),
    "Box of a picture": Box(0, 255, (2, 3, 3), np.uint8),
    "Box of integers": Box(-3, 3, (4,), np.int64),
    "Discrete": Discrete(5),
    "Discrete from 3": Discrete(5, start=3),
    "MultiDiscrete": MultiDiscrete([2, 3, 4]),
    "MultiBinary": MultiBinary(6),
    "Tuple": Tuple([Discrete(3), Box(-1, 1, (2, 2), np.float32)]),
    "Dict of integers": Dict(a=Box(0, 3, (2,), np.int64)),
    "Dict": Dict(b=Box(-1, 1, (2,), np.float32), a=MultiDiscrete([2, 2]), c=Dict(d=Discrete(2))),
}


def uniform(env):
    """A policy that takes every action alike."""
    sizes = check.observation_size(env), check.action_size(env, "Discrete")
    return SoftmaxPolicy(sizes, theta=np.zeros((sizes[0] + 1) * sizes[1]))


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_single_observations(name):
    space = OBSERVATIONS[name]
    env = Sampled(space)
    size = check.observation_size(env)
    assert size == len(flatten(space, space.sample()))
    # two episodes of 3 steps, with the reset row between: the 8 observations in the order in which they were made
    states = Collector(env, uniform(env), rng=0).collect(7).states
    assert states.shape == (8, 1, size)
    np.testing.assert_array_equal(states[:, 0], [flatten(space, seen) for seen in env.seen])


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_vector_observations(name):
    space = OBSERVATIONS[name]
    envs = vector(lambda i: Sampled(space, seed=i), 2)
    size = check.observation_size(envs)
    batch = Collector(envs, uniform(envs), rng=0).collect(7)
    assert batch.states.shape == (8, 2, size)
    for n, env in enumerate(envs.envs):
        np.testing.assert_array_equal(batch.states[:, n], [flatten(space, x) for x in env.seen])


def test_discrete_observations_are_one_hot():
    env = Sampled(Discrete(4, start=-1))
    states = Collector(env, uniform(env), rng=0).collect(3).states[:, 0]
    np.testing.assert_array_equal(states, np.eye(4)[np.array(env.seen) + 1])


@pytest.mark.parametrize("space, n", [(Discrete(2), 2), (Discrete(6), 6), (Discrete(3, start=5), 3)])
def test_the_number_of_actions(space, n):
    size = check.action_size(Scripted([(2, "terminated")], action_space=space), "Discrete")
    assert size == n and type(size) is int


@pytest.mark.parametrize("start", [0, 5, -2])
@pytest.mark.parametrize("many", [False, True])
def test_actions_that_do_not_start_at_0(start, many):
    script, space = [(20, "terminated")], Discrete(3, start=start)
    env = ScriptedVector([script] * 2, action_space=space) if many else Scripted(script, action_space=space)
    actions = Collector(env, uniform(env), rng=0).collect(20).actions
    assert set(actions.ravel()) == {0, 1, 2}  # what the policy sees
    for n, one in enumerate(env.envs if many else [env]):
        np.testing.assert_array_equal(one.actions, actions[:, n] + start)  # what the environment does


def test_build():
    assert build("CartPole-v1").spec.id == "CartPole-v1"
    env = gym.make("CartPole-v1")
    assert build(lambda: env) is env


# What an environment returns


class Returning(gym.Env):
    """Returns what it is told: from `reset` in the first place, from `step` ever after."""

    def __init__(self, from_reset, from_step=None, space=OBSERVATIONS["Box"]):
        self.from_reset, self.from_step = from_reset, from_step
        self.observation_space, self.action_space = space, Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.from_reset

    def step(self, action):
        return self.from_step


class ReturningVector(ScriptedVector):
    """Two scripted environments whose step returns these in the places of its own."""

    def __init__(self, changes):
        super().__init__([[(9, "terminated")]] * 2)
        self.changes = changes

    def step(self, actions):
        result = super().step(actions)
        return tuple(self.changes.get(i, x) for i, x in enumerate(result))


SEEN = np.zeros(4, np.float32)
RESULTS = "step of the environment must return (observation, reward, terminated, truncated, info), it returned "
STEPS = {
    "of old, without truncated": ((SEEN, 1.0, False, {}), RESULTS),
    "a list": ([SEEN, 1.0, False, False, {}], RESULTS),
    "no reward": ((SEEN, None, False, False, {}), RESULTS),
    "an array of a reward": ((SEEN, np.ones(1), False, False, {}), RESULTS),
    "text for a reward": ((SEEN, "1", False, False, {}), RESULTS),
    "a reward of 400 digits": ((SEEN, 10**400, False, False, {}), "reward must be numbers, not an array object (1,)"),
    "a negative one": ((SEEN, -(10**309), False, False, {}), "reward must be numbers, not an array object (1,)"),
    "text for a flag": ((SEEN, 1.0, "False", False, {}), RESULTS),
    "an array of a flag": ((SEEN, 1.0, np.zeros(1, bool), False, {}), RESULTS),
    "info first": (({}, SEEN, 1.0, False, False), RESULTS),
    "a number for a flag": ((SEEN, 1.0, 0, False, {}), RESULTS),
    "no flag": ((SEEN, 1.0, False, None, {}), RESULTS),
    "no info": ((SEEN, 1.0, False, False, None), RESULTS),
    "an observation too short": ((SEEN[:3], 1.0, False, False, {}), "observations must be numbers of shape (4,)"),
    "an observation of one number": ((0.5, 1.0, False, False, {}), "observations must be numbers of shape (4,)"),
    "text for an observation": ((np.full(4, "x"), 1.0, False, False, {}), "not an array <U1 (4,)"),
    "objects": ((np.full(4, None), 1.0, False, False, {}), "not an array object (4,)"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_returns_something_else(name):
    result, message = STEPS[name]
    environments = Environments(Returning((SEEN, {}), result))
    environments.reset()
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        environments.step(np.array([0]))


@pytest.mark.parametrize("result", [SEEN, (SEEN,), [SEEN, {}], (SEEN, None), (SEEN, {}, {})])
def test_a_reset_that_returns_something_else(result):
    with pytest.raises(TypeError, match=r"reset of the environment must return \(observation, info\), it returned "):
        Environments(Returning(result)).reset()


VECTOR_STEPS = {
    "a single reward": ({1: np.ones(1)}, "rewards must be numbers, one for each of 2 environments, not array([1.])"),
    "a column of rewards": ({1: np.ones((2, 1))}, "rewards must be numbers, one for each of 2 environments, not "),
    "flags for rewards": ({1: np.ones(2, bool)}, "rewards must be numbers, one for each of 2 environments, not "),
    "a list of rewards": ({1: [1.0, 1.0]}, RESULTS),
    "numbers for flags": ({2: np.zeros(2)}, "terminated must be True or False, one for each of 2 environments, not "),
    "a tuple of flags": ({2: (False, False)}, RESULTS),
    "text for flags": ({2: np.array(["False", "False"])}, "terminated must be True or False, one for each of 2 "),
    "info among the flags": ({3: {}, 4: np.zeros(2, bool)}, RESULTS),
    "one flag": ({3: np.zeros(1, bool)}, "truncated must be True or False, one for each of 2 environments, not "),
    "no info": ({4: None}, RESULTS),
    "observations of one": ({0: np.zeros((1, 3))}, "observations must be numbers of shape (2, 3)"),
    "transposed": ({0: np.zeros((3, 2))}, "observations must be numbers of shape (2, 3)"),
}


@pytest.mark.parametrize("name", VECTOR_STEPS)
def test_a_step_of_a_vector_that_returns_something_else(name):
    changes, message = VECTOR_STEPS[name]
    environments = Environments(ReturningVector(changes))
    environments.reset()
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        environments.step(np.array([0, 0]))


SHOWN = [  # what it shows, by the name of its space, and what the message says
    ("Box of a picture", np.full((2, 3, 3), 256), "must be integers in Box(0, 255"),
    ("Box of a picture", np.full((2, 3, 3), 0.5), "must be integers in Box(0, 255"),
    ("Box of a picture", np.full((2, 3, 3), np.nan), "must be integers in Box(0, 255"),
    ("Box of a picture", np.zeros((3, 3, 2), np.uint8), "must be numbers of shape (2, 3, 3)"),
    ("Box", [[1.0], [1.0, 2.0]], "observations must be numbers of shape (4,)"),
    ("Box", np.full(4, 1j), "not an array complex128 (4,)"),
    ("Box of a picture", np.full((2, 3, 3), -1), "must be integers in Box(0, 255"),
    ("Box of integers", np.full(4, -4), "must be integers in Box(-3, 3"),
    ("Discrete", np.array([0, 0, 1, 0, 0]), "observation must be in Discrete(5), not array([0, 0, 1, 0, 0])"),
    ("Discrete", True, "observation must be in Discrete(5), not array(True)"),
    ("Discrete", None, "observation must be in Discrete(5), not array(None, dtype=object)"),
    ("Discrete", "1", "observation must be in Discrete(5), not array('1'"),
    ("MultiDiscrete", [-1, 0, 0], "observation must be in MultiDiscrete([2 3 4]), not array([-1,  0,  0])"),
    ("MultiDiscrete", [[1], [1, 2]], "observation must be in MultiDiscrete([2 3 4]), not array(None"),
    ("Tuple", [1, [[0], [0, 0]]], "observation[1] must be numbers of shape (2, 2)"),
    ("Dict of integers", {"a": np.array([0.5, 0])}, "observation['a'] must be integers in Box(0, 3"),
    ("Dict of integers", {"a": np.array([np.nan, 0])}, "observation['a'] must be integers in Box(0, 3"),
    ("Discrete", 5, "observation must be in Discrete(5), not array(5)"),
    ("Discrete", -1, "observation must be in Discrete(5), not array(-1)"),
    ("Discrete", 1.0, "observation must be in Discrete(5), not array(1.)"),
    ("Discrete", np.array([1]), "observation must be in Discrete(5), not array([1])"),
    ("Discrete from 3", 0, "observation must be in Discrete(5, start=3), not array(0)"),
    ("MultiDiscrete", np.array([1, 2, 4]), "observation must be in MultiDiscrete([2 3 4]), not array([1, 2, 4])"),
    ("MultiDiscrete", np.array([1, 2, 1.5]), "observation must be in MultiDiscrete([2 3 4]), not "),
    ("MultiBinary", np.full(6, 2), "observation must be in MultiBinary(6), not "),
    ("Tuple", (1,), "observation must have the parts [0, 1], not (1,)"),
    ("Tuple", (3, np.zeros((2, 2))), "observation[0] must be in Discrete(3), not array(3)"),
    ("Tuple", (1, np.zeros(4)), "observation[1] must be numbers of shape (2, 2)"),
    ("Dict", {"a": [0, 0], "b": [0, 0]}, "observation must have the parts ['b', 'a', 'c'], not "),
    ("Dict", {"a": [0, 0], "b": [0, 0], "c": {"d": 2}}, "observation['c']['d'] must be in Discrete(2), not array(2)"),
    ("Dict", np.zeros(8), "observation must have the parts ['b', 'a', 'c'], not "),
]


@pytest.mark.parametrize(("name", "shown", "message"), SHOWN)
def test_an_observation_that_is_not_in_its_space(name, shown, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Environments(Returning((shown, {}), space=OBSERVATIONS[name])).reset()
