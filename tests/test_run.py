"""The frame of a run: what an update is under, that nothing of it is left between updates or after them, how a run that
nobody iterates says so, and how progress is printed."""

import gc
import importlib
import os
import subprocess
import sys
import warnings
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted
from helpers import same_bits

import scratchpg
from scratchpg import Progress, SoftmaxPolicy, Value, a2c, a3c, actor_critic, baseline, evaluate, ppo, reinforce
from scratchpg.plumbing import make_rng, scheduled

RUN = importlib.import_module("scratchpg.plumbing.run")  # `scratchpg.plumbing.run` is the function of that name
AT_IMPORT = RUN.get_threads()  # also in a worker process, which imports this module to find `Witness`
VARIABLES = ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]
SILENT = dict.fromkeys(["divide", "over", "under", "invalid"], "ignore")
CHAPTERS = {
    "reinforce": lambda env: reinforce.train(env, policy(), total_steps=100, n_episodes=1, seed=0),
    "baseline": lambda env: baseline.train(env, policy(), value(), total_steps=100, n_episodes=1, seed=0),
    "actor_critic": lambda env: actor_critic.train(env, policy(), value(), total_steps=20, seed=0),
    "a2c": lambda env: a2c.train(env, policy(), value(), total_steps=50, seed=0),
    "ppo": lambda env: ppo.train(env, policy(), value(), total_steps=200, n_steps=50, seed=0),
}
every_chapter = pytest.mark.parametrize("train", CHAPTERS.values(), ids=CHAPTERS)


class Witness(gym.Wrapper):
    """CartPole that looks at what it is run under, and then does something else as well."""

    def __init__(self, and_then=lambda: None):
        super().__init__(gym.make("CartPole-v1"))
        self.and_then = and_then

    def reset(self, **kwargs):
        return self.env.reset(**kwargs)  # the first one is at the call of `train`, which is no update

    def step(self, action):
        assert np.geterr() == SILENT
        assert RUN.get_threads() == (AT_IMPORT if RUN.THREADS_CHOSEN else 1)
        self.and_then()
        return self.env.step(action)


class OneStep(gym.Env):
    """Episodes of one step."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(4), {}

    def step(self, action):
        return np.zeros(4), 1.0, True, False, {}


class At:
    """Does something at the n-th call."""

    def __init__(self, n, what):
        self.left, self.what = n, what

    def __call__(self):
        self.left -= 1
        if not self.left:
            self.what()


def fail(error):
    raise error


def policy():
    return SoftmaxPolicy((4, 2), rng=0)


def value():
    return Value((4,), rng=0)


@pytest.fixture
def threads(monkeypatch):
    """The number of BLAS threads, of a BLAS that can have eight."""
    state = [8]
    monkeypatch.setattr(RUN, "get_threads", lambda: state[0])
    monkeypatch.setattr(RUN, "set_threads", lambda n: state.__setitem__(0, n))
    monkeypatch.setattr(RUN, "THREADS_CHOSEN", False)
    return state


@pytest.fixture
def nothing_left(threads):
    """A function that looks whether all is as it was at the beginning of the test."""
    before = np.geterr()

    def look():
        assert threads == [8] and np.geterr() == before

    yield look
    look()


# What an update is under, and the code around it is not


@every_chapter
def test_what_an_update_is_under(nothing_left, train):
    updates = 0
    for _ in train(Witness()):
        nothing_left()
        updates += 1
    assert updates > 1


def test_what_an_evaluation_is_under(nothing_left):
    evaluate(policy(), Witness(), episodes=2)


@pytest.mark.parametrize("variable", [None, *VARIABLES])
def test_what_a_worker_process_is_under(nothing_left, monkeypatch, variable):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "2")  # of a process begun anew
    for _ in a3c.train(Witness, policy(), value(), total_steps=50, workers=1, start_method="spawn", seed=0):
        nothing_left()


@pytest.mark.parametrize("error", [OSError("pulled"), FloatingPointError("not finite"), KeyboardInterrupt()])
@pytest.mark.parametrize("work", [*CHAPTERS.values(), lambda env: [evaluate(policy(), env)]])
def test_an_error_within_an_update_leaves_nothing(nothing_left, work, error):
    with pytest.raises(type(error)):
        for _ in work(Witness(At(15, lambda: fail(error)))):
            pass


@every_chapter
def test_a_run_that_is_dropped_or_closed_leaves_nothing(nothing_left, train):
    loop = train(Witness())
    next(loop)
    del loop
    gc.collect()
    nothing_left()
    with closing(train(Witness())) as loop:
        next(loop)
    nothing_left()
    with pytest.raises(StopIteration):
        next(loop)


def test_two_runs_by_turns_do_not_see_each_other(nothing_left):
    def runs():
        networks = [(policy(), value()) for _ in range(2)]
        loops = [a2c.train(Witness(), *pair, total_steps=100, seed=i) for i, pair in enumerate(networks)]
        return networks, loops

    apart, loops = runs()
    for loop in loops:
        for _ in loop:
            nothing_left()
    by_turns, loops = runs()
    for _ in zip(*loops, strict=False):
        nothing_left()
    for loop in loops:
        for _ in loop:
            nothing_left()
    for a, b in zip(apart, by_turns, strict=True):
        assert all(same_bits(x.theta, y.theta) for x, y in zip(a, b, strict=True))


def test_a_run_within_a_run(nothing_left):
    """An environment may itself ask a policy: what is within goes back to what is around it."""
    for _ in CHAPTERS["a2c"](Witness(lambda: evaluate(policy(), OneStep(), episodes=1))):
        nothing_left()


@every_chapter
def test_an_overflow_is_the_callers_to_hear_of_and_not_the_runs(train, monkeypatch):
    """All that NumPy can complain of comes in such a run, and between two updates the caller hears of it, as before."""
    sharp = SoftmaxPolicy((4, 2), theta=np.float32([900, -900, 0, 0, 900, -900, 0, 0, 0, 0]))
    monkeypatch.setitem(globals(), "policy", lambda: sharp)
    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError, match="underflow"):
            evaluate_unframed(sharp)
        for _ in train(gym.make("CartPole-v1")):
            assert {*np.geterr().values()} == {"raise"}


def evaluate_unframed(policy):
    """What a policy this sharp does outside of a run."""
    return policy(np.ones((1, 4))).probabilities


# The number of threads


def test_a_number_of_threads_that_the_user_chose_is_kept(threads, monkeypatch):
    monkeypatch.setattr(RUN, "THREADS_CHOSEN", True)
    monkeypatch.setitem(globals(), "AT_IMPORT", 8)  # for the witness
    for _ in CHAPTERS["a2c"](Witness()):
        assert threads == [8]


PROCESS = """
import gymnasium as gym
import scratchpg, sys
from scratchpg import SoftmaxPolicy, reinforce

run = sys.modules["scratchpg.plumbing.run"]

class Env(gym.Wrapper):
    def step(self, action):
        within.add(run.get_threads())
        return self.env.step(action)

before, within, after = run.get_threads(), set(), set()
for _ in reinforce.train(Env(gym.make("CartPole-v1")), SoftmaxPolicy((4, 2), rng=0), total_steps=50, seed=0):
    after.add(run.get_threads())
print(run.THREADS_CHOSEN, before, *within, *after)
"""


def process(script, **variables):
    """What a new process prints that has these environment variables, and none that sets threads otherwise."""
    environment = {name: x for name, x in os.environ.items() if name not in VARIABLES} | variables
    environment["PYTHONPATH"] = str(Path(scratchpg.__file__).parents[1])
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_number_of_threads_in_the_environment_is_honoured(variable):
    chosen, before, within, after = process(PROCESS, **{variable: "2"})
    assert chosen == "True" and before == within == after


def test_one_thread_unless_it_is_chosen():
    chosen, before, within, after = process(PROCESS)
    assert (chosen, within) == ("False", "1") and before == after


IMPORTING = """
import ctypes, os, signal, sys, threading, warnings
import gymnasium
import numpy as np

called = []

class Recorded(ctypes.CDLL):
    def __getitem__(self, name):
        function = super().__getitem__(name)
        return lambda *args: called.append(name) or function(*args)

def state():
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    random = [x.tolist() if hasattr(x, "tolist") else x for x in np.random.get_state()]
    hooks = sys.excepthook, sys.stdout, sys.stderr, sys.getrecursionlimit(), threading.active_count()
    return [np.geterr(), np.get_printoptions(), random, handlers, {**os.environ}, [*warnings.filters], hooks]

ctypes.CDLL = Recorded
before = state()
import scratchpg
assert state() == before
assert called == [], called
"""


def test_importing_changes_nothing_in_the_process():
    """No mallopt and no number of threads either: no C function is called."""
    assert process(IMPORTING) == []


# Runs that nobody iterates


def untouched(**settings):
    return reinforce.train(Scripted([(2, "terminated")]), SoftmaxPolicy((3, 2), rng=0), **settings)


def test_a_run_that_is_dropped_unstarted_warns():
    with pytest.warns(RuntimeWarning, match=r"was not iterated.*for progress in train\(…\)"):
        untouched()
        gc.collect()


@pytest.mark.parametrize("use", [lambda loop: loop.close(), next, list])
def test_a_run_that_was_used_or_closed_does_not_warn(use):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        use(untouched(total_steps=10))
        gc.collect()
    assert said == []


def test_arguments_that_are_refused_do_not_warn_as_well():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(ValueError, match="gamma must be"):
            untouched(gamma=2)
        gc.collect()
    assert said == []


def test_a_run_is_a_generator():
    loop = untouched(total_steps=6)
    assert isinstance(loop, Generator) and iter(loop) is loop
    assert [progress.steps for progress in loop] == [2, 4, 6]
    assert [*loop] == []
    loop = untouched(total_steps=6)
    with pytest.raises(KeyError, match="thrown"):
        loop.throw(KeyError("thrown"))
    assert [*loop] == []  # it ended there


def test_an_error_names_the_steps_before_it():
    env = Scripted([(2, "terminated")], replace={("reward", 2, 0): np.nan})  # in the third episode
    with pytest.raises(FloatingPointError, match=r"rewards must be finite.*\(after 4 steps\)$") as error:
        [*reinforce.train(env, SoftmaxPolicy((3, 2), rng=0), n_episodes=1, seed=0)]
    assert isinstance(error.value.__cause__, type(error.value))


# Progress, schedules, randomness


@pytest.mark.parametrize(
    ("number", "printed"),
    [
        (np.float32(0.1), "kl      0.1"),
        (np.float64(0.1), "kl      0.1"),
        (np.float32(0.123456), "kl   0.1235"),
        (np.longdouble(0.25), "kl     0.25"),
        (0.123456, "kl   0.1235"),
        (np.nan, "kl      nan"),
        (7, "kl        7"),
        (np.int64(7), "kl        7"),
        (np.int32(-7), "kl       -7"),
        (True, "kl     True"),
    ],
)
def test_progress_prints_any_number(number, printed):
    assert str(Progress(kl=number)) == printed
    assert str(Progress(steps=1, kl=number)) == f"steps        1  {printed}"


@pytest.mark.parametrize("number", [float, np.float32, np.float64])
def test_schedules_are_plain_floats(number):
    """A float64 of NumPy would turn the steps of float32 parameters into float64."""
    assert scheduled(number(0.5), number(0.25)) == 0.5
    assert scheduled((number(0.5), number(0.0)), number(0.25)) == 0.375
    assert scheduled((0.5, 0.0), 1) == 0.0
    assert type(scheduled(number(0.5), number(0.25))) is float
    assert type(scheduled((number(0.5), 0), number(0.25))) is float


def test_the_source_of_randomness():
    rng = np.random.default_rng(0)
    assert make_rng(None, rng) is rng
    numbers = [make_rng(*pair).random() for pair in ((5, None), (None, 5), (np.int64(5), None))]
    assert {*numbers} == {np.random.default_rng(5).random()}
    assert make_rng(None, None).random() != make_rng(None, None).random()
    for wrong, error in ((5, 5), ValueError), ((-1, None), ValueError), ((1.5, None), TypeError):
        with pytest.raises(error, match="seed"):
            make_rng(*wrong)
    with pytest.raises(TypeError, match=r"rng must be a np\.random\.Generator"):
        make_rng(None, np.random.RandomState(0))
