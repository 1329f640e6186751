"""What an environment looks like to a network: sizes, flattening, one face for single and vector environments."""

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, SAME_STEP, Sampled, Scripted, ScriptedVector, vector
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatten

from scratchpg import SoftmaxPolicy, spaces
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
    "Dict": Dict(b=Box(-1, 1, (2,), np.float32), a=MultiDiscrete([2, 2]), c=Dict(d=Discrete(2))),
}


def uniform(env):
    """A policy that takes every action alike."""
    sizes = spaces.observation_size(env), spaces.n_actions(env)
    return SoftmaxPolicy(sizes, theta=np.zeros((sizes[0] + 1) * sizes[1]))


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_single_observations(name):
    space = OBSERVATIONS[name]
    env = Sampled(space)
    size = spaces.observation_size(env)
    assert size == len(flatten(space, space.sample()))
    # two episodes of 3 steps, with the reset row between: the 8 observations in the order in which they were made
    states = Collector(env, uniform(env), rng=0).collect(7).states
    assert states.shape == (8, 1, size)
    np.testing.assert_array_equal(states[:, 0], [flatten(space, seen) for seen in env.seen])


@pytest.mark.parametrize("name", OBSERVATIONS)
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_vector_observations(name, mode):
    space = OBSERVATIONS[name]
    envs = vector(lambda i: Sampled(space, seed=i), 2, mode)
    size = spaces.observation_size(envs)
    batch = Collector(envs, uniform(envs), rng=0).collect(7)
    assert batch.states.shape == (8, 2, size)
    for n, env in enumerate(envs.envs):
        seen = np.array([flatten(space, x) for x in env.seen], float)
        if mode == SAME_STEP:  # every fourth is the last of its episode, which comes beside the others
            last = [state for _, row, state in batch.last_states if row == n]
            np.testing.assert_array_equal(last, seen[3::4][: len(last)])
            seen = np.delete(seen, np.s_[3::4], axis=0)
        np.testing.assert_array_equal(batch.states[:, n], seen[:8])
    assert len(batch.last_states) == (4 if mode == SAME_STEP else 0)


def test_discrete_observations_are_one_hot():
    env = Sampled(Discrete(4, start=-1))
    states = Collector(env, uniform(env), rng=0).collect(3).states[:, 0]
    np.testing.assert_array_equal(states, np.eye(4)[np.array(env.seen) + 1])


@pytest.mark.parametrize("space, n", [(Discrete(2), 2), (Discrete(6), 6), (Discrete(3, start=5), 3)])
def test_n_actions(space, n):
    env = Scripted([(2, "terminated")], action_space=space)
    assert spaces.n_actions(env) == n and type(spaces.n_actions(env)) is int


@pytest.mark.parametrize("start", [0, 5, -2])
@pytest.mark.parametrize("many", [False, True])
def test_actions_that_do_not_start_at_0(start, many):
    script, space = [(20, "terminated")], Discrete(3, start=start)
    env = ScriptedVector([script] * 2, NEXT_STEP, action_space=space) if many else Scripted(script, action_space=space)
    actions = Collector(env, uniform(env), rng=0).collect(20).actions
    assert set(actions.ravel()) == {0, 1, 2}  # what the policy sees
    for n, one in enumerate(env.envs if many else [env]):
        np.testing.assert_array_equal(one.actions, actions[:, n] + start)  # what the environment does


def test_make():
    assert isinstance(spaces.make("CartPole-v1"), gym.Env)
    assert spaces.make("CartPole-v1", 3).num_envs == 3
    envs = spaces.make("CartPole-v1", 2, vectorization_mode="sync", vector_kwargs={"autoreset_mode": SAME_STEP})
    assert envs.metadata["autoreset_mode"] is SAME_STEP
    assert spaces.make("FrozenLake-v1", is_slippery=False).spec.kwargs["is_slippery"] is False
