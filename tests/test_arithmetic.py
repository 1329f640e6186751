"""What holds within a run and not outside: one BLAS thread, no warnings, arguments that are not looked at again."""

import gymnasium as gym
import numpy as np
import pytest

from scratchpg import SoftmaxPolicy, arithmetic, checks, reinforce


@pytest.fixture
def threads(monkeypatch):
    """The number of BLAS threads, of a BLAS that can have eight."""
    state = [8]
    monkeypatch.setattr(arithmetic, "_get_threads", lambda: state[0])
    monkeypatch.setattr(arithmetic, "_set_threads", lambda n: state.__setitem__(0, n))
    return state


def run():
    """A run of several updates."""
    return reinforce.train(gym.make("CartPole-v1"), SoftmaxPolicy((4, 2), rng=0), total_steps=500, n_episodes=1, seed=0)


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_threads_are_restored_when_the_last_of_two_runs_ends(threads, first_to_end):
    runs = [run(), run()]
    for one in runs:
        next(one)
        assert threads == [1]
    runs[first_to_end].close()
    assert threads == [1]
    for _ in runs[1 - first_to_end]:
        assert threads == [1]
    assert threads == [8]


def test_between_updates_an_overflow_is_the_callers_to_hear_of():
    with np.errstate(over="raise", invalid="raise"):
        for _ in run():
            assert np.geterr()["over"] == np.geterr()["invalid"] == "raise"


def test_a_runs_own_arguments_are_taken_as_they_are_and_its_callers_are_not(monkeypatch):
    looked_at = []
    monkeypatch.setattr(checks, "_check_rows", lambda names, arguments, places: looked_at.append(names[places[0]]))
    for _ in run():
        assert looked_at == []
        reinforce.loss(SoftmaxPolicy((4, 2), rng=0), np.zeros((1, 4)), [0], np.ones(1), episodes=1)
        assert looked_at.pop() == "states"
