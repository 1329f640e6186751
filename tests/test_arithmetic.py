"""What holds within a run and not outside: one BLAS thread, no warnings, arguments that are not looked at again."""

import gymnasium as gym
import numpy as np
import pytest

from scratchpg import SoftmaxPolicy, Value, a3c, arithmetic, checks, evaluate, reinforce


class Witness(gym.Wrapper):
    """CartPole that looks at what it is run under."""

    def __init__(self):
        super().__init__(gym.make("CartPole-v1"))

    def reset(self, **kwargs):
        self.look()
        return self.env.reset(**kwargs)

    def step(self, action):
        self.look()
        return self.env.step(action)

    def look(self):
        assert np.geterr()["over"] == np.geterr()["invalid"] == "ignore"
        assert arithmetic._get_threads() == 1
        assert checks.within_run.get()
        with pytest.raises(ValueError, match="episodes"):  # settings are looked at wherever they come from
            evaluate(None, None, episodes=0)


@pytest.fixture
def threads(monkeypatch):
    """The number of BLAS threads, of a BLAS that can have eight."""
    state = [8]
    monkeypatch.setattr(arithmetic, "_get_threads", lambda: state[0])
    monkeypatch.setattr(arithmetic, "set_threads", lambda n: state.__setitem__(0, n))
    return state


def policy():
    return SoftmaxPolicy((4, 2), rng=0)


def run(env="CartPole-v1"):
    """A run of several updates."""
    env = gym.make(env) if isinstance(env, str) else env
    return reinforce.train(env, policy(), total_steps=500, n_episodes=1, seed=0)


def in_other_processes():
    return a3c.train(Witness, policy(), Value((4,), rng=0), total_steps=50, workers=1, start_method="spawn", seed=0)


@pytest.mark.parametrize("work", [lambda: run(Witness()), lambda: evaluate(policy(), Witness()), in_other_processes])
def test_what_a_run_is_under(threads, monkeypatch, work):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # of a process begun anew
    before = np.geterr()
    for _ in work():
        assert np.geterr() == before
        assert not checks.within_run.get()
    assert np.geterr() == before
    assert threads == [8]


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
        reinforce.loss(policy(), np.zeros((1, 4)), [0], np.ones(1), episodes=1)
        assert looked_at.pop() == "states"
