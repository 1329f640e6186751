import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from helpers import same_bits

from scratchpg import SoftmaxPolicy, Value, optim, rollout
from scratchpg.algorithms import a2c, a3c
from scratchpg.plumbing import processes
from scratchpg.plumbing.processes import LOST, Shared, watch

ENDLESS = 10**9
SETTINGS = dict(gamma=0.99, gae_lambda=1.0, ent_coef=0.01, learning_rate=1e-3, max_grad_norm=0.5)
BY_HAND = SETTINGS | dict(total_steps=ENDLESS, n_steps=5)  # of workers without a `train`


class Faulty(gym.Wrapper):
    """CartPole that does something at the 100th step that this process takes in it."""

    def __init__(self, fault):
        super().__init__(gym.make("CartPole-v1"))
        self.fault, self.steps = fault, 0

    def step(self, action):
        self.steps += 1
        result = self.env.step(action)
        return result if self.steps < 100 else self.fault(*result)


def raises(*_):
    raise OSError("the plug was pulled")


def raises_much(*_):
    raise OSError("the plug was pulled" + 200_000 * " again")  # more than a pipe holds


def kills_itself(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kills_itself_when_told(file, *_):
    while not file.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(*_):
    os._exit(0)


def nan(observation, *rest):
    return observation * np.nan, *rest


def sleeps(*result):
    time.sleep(60)
    return result


def in_one_worker(fault, once):
    """An environment that has the fault in the first process to take this name, and in no other."""
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return gym.make("CartPole-v1")
    return Faulty(fault)


def make_cartpole():
    return gym.make("CartPole-v1")


def networks(dtype=np.float32, hidden=(16,)):
    env = gym.make("CartPole-v1")
    return SoftmaxPolicy.for_env(env, hidden, rng=0, dtype=dtype), Value.for_env(env, hidden, rng=1, dtype=dtype)


def plain_arrays(policy, value, workers):
    """What workers share, as arrays by name: in memory of one process."""
    return SimpleNamespace(
        theta=policy.theta.copy(),
        phi=value.theta.copy(),
        theta_mean_square=np.zeros_like(policy.theta),
        phi_mean_square=np.zeros_like(value.theta),
        counters=np.zeros((workers, 4)),
    )


def own_network(worker, name):
    """The network of that name, with θ' or φ', that a worker under way has for itself."""
    return worker.gi_frame.f_locals[name]


def assert_nothing_left(seconds=5.0):
    """No child process; the names in /dev/shm are looked at by the caller."""
    deadline = time.monotonic() + seconds
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not multiprocessing.active_children()


def shm():
    return sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else []


def test_eq_5_1_one_worker_is_a2c_with_one_environment():
    """Bit for bit, over 2,000 updates: the same generator, gradients, optimiser; only the memory is shared."""
    policy, value = networks()
    settings = SETTINGS | dict(total_steps=10_000, n_steps=5, learning_rate=(1e-3, 1e-4))
    *_, last = a3c.train("CartPole-v1", policy, value, workers=1, seed=7, **settings)
    expected, expected_value = networks()
    rng = np.random.default_rng(7).spawn(1)[0]
    env = gym.make("CartPole-v1")
    updates = list(a2c.train(env, expected, expected_value, rng=rng, **settings))
    assert len(updates) >= 2_000
    assert same_bits(policy.theta, expected.theta) and same_bits(value.theta, expected_value.theta)
    assert (last.steps, last.episodes) == (updates[-1].steps, updates[-1].episodes)
    assert last.mean_return == pytest.approx(updates[-1].mean_return)


def test_eq_5_1_two_workers_by_hand():
    """A scripted interleaving, in one process on plain arrays: both copy the same θ, then write one after the other.

    RMSProp shares its average: s_1 = 0.01 g_1² after the first, s_2 = 0.99 s_1 + 0.01 g_2² after the second, and
        θ = θ_0 - η g_1 / √(s_1 + ε) - η g_2 / √(s_2 + ε)
    with both gradients taken at θ_0: the second worker's is one step old.
    """
    policy, value = networks(float)
    shared, settings = plain_arrays(policy, value, workers=2), SimpleNamespace(**BY_HAND | {"max_grad_norm": np.inf})
    rngs = [np.random.default_rng(seed) for seed in (1, 2)]
    first, second = (a3c.worker(shared, i, "CartPole-v1", policy, value, rngs[i], settings) for i in range(2))

    next(first), next(second)  # each has copied θ_0 and holds its gradient
    own = [own_network(worker, "policy") for worker in (first, second)]
    g = [gradient_at(policy, value, seed) for seed in (1, 2)]
    assert same_bits(shared.theta, policy.theta) and all(same_bits(one.theta, policy.theta) for one in own)
    next(first)  # writes g_1, then copies and collects anew
    s = 0.01 * g[0] ** 2
    theta = policy.theta - 1e-3 * g[0] / np.sqrt(s + 1e-5)
    np.testing.assert_allclose(shared.theta, theta, rtol=0, atol=1e-15)
    np.testing.assert_allclose(own[0].theta, theta, rtol=0, atol=1e-15)  # the first worker's new θ'
    assert same_bits(own[1].theta, policy.theta)  # the second still has the old one
    next(second)
    s = 0.99 * s + 0.01 * g[1] ** 2
    theta = theta - 1e-3 * g[1] / np.sqrt(s + 1e-5)
    np.testing.assert_allclose(shared.theta, theta, rtol=0, atol=1e-15)
    np.testing.assert_allclose(shared.theta_mean_square, s, rtol=0, atol=1e-15)
    assert shared.counters[:, a3c.STEPS].tolist() == [5, 5]


def gradient_at(policy, value, seed):
    """The gradient (4.4) of the five steps that a worker with this seed takes first, without any of A3C's code."""
    collector = a2c.Collector(gym.make("CartPole-v1"), policy, np.random.default_rng(seed))
    batch = collector.collect(5)
    v = value(batch.states)
    advantages = a2c.gae(batch.rewards, v[:-1], v[1:], batch.terminated, batch.truncated, 0.99, 1.0)
    return a2c.gradient(policy, *batch.samples(advantages), ent_coef=0.01)


def test_each_worker_has_its_own_numbers_and_its_own_copy(monkeypatch):
    """Generators that draw differently, and networks that stay as they are while others write to the shared ones."""
    jobs = []

    def watch(context, work, jobs_of_all, seconds):
        jobs.extend(jobs_of_all)
        yield

    monkeypatch.setattr(a3c, "watch", watch)
    policy, value = networks()
    list(a3c.train("CartPole-v1", policy, value, workers=3, seed=0))
    assert len({deepcopy(rng).random() for *_, rng, _ in jobs}) == 3
    workers = [a3c.worker(*job) for job in jobs]
    for worker in workers:
        next(worker)
    for given, its_name, name_of_all in (policy, "policy", "theta"), (value, "value", "phi"):
        own = [own_network(worker, its_name).theta for worker in workers]
        for i, (theta, (shared, *_)) in enumerate(zip(own, jobs, strict=True)):
            of_all = getattr(shared, name_of_all)
            assert same_bits(theta, of_all)
            assert not any(np.shares_memory(theta, other) for other in (of_all, given.theta, *own[:i]))


class Refusing(SoftmaxPolicy):
    def __call__(self, states):
        raise OSError("not today")


@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
def test_workers_act_by_the_kind_of_policy_they_are_given(start_method):
    policy = Refusing((4, 2), rng=0)
    with pytest.raises(RuntimeError, match="OSError: not today"):
        list(a3c.train("CartPole-v1", policy, Value((4,), rng=0), start_method=start_method))


@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("make_env", ["CartPole-v1", make_cartpole], ids=["id", "callable"])
def test_every_start_method(start_method, make_env):
    policy, value = networks()
    before, names = policy.theta.copy(), shm()
    *_, last = a3c.train(make_env, policy, value, workers=2, total_steps=400, start_method=start_method, seed=0)
    assert last.steps >= 400 and last.episodes > 0 and 5 < last.mean_return < 100
    assert not same_bits(policy.theta, before) and np.isfinite(policy.theta).all()
    assert_nothing_left()
    assert shm() == names


def test_a_lambda_can_not_be_sent():
    policy, value = networks()
    with pytest.raises(TypeError, match=r'start_method="spawn".*top of a module'):
        next(a3c.train(lambda: gym.make("CartPole-v1"), policy, value, start_method="spawn"))


IN_MAIN = """
import gymnasium
from scratchpg import SoftmaxPolicy, Value, a3c

class OwnPolicy(SoftmaxPolicy): pass
class OwnValue(Value): pass
def own_env(): return gymnasium.make("CartPole-v1")
class OwnEnv(gymnasium.Wrapper):
    def __init__(self): super().__init__(own_env())

given = dict(make_env="CartPole-v1", policy=SoftmaxPolicy((4, 2)), value=Value((4,)))
list(a3c.train(**(given | dict({own})), start_method="{start_method}"))
"""


@pytest.mark.parametrize("start_method", sorted({*multiprocessing.get_all_start_methods()} - {"fork"}))
@pytest.mark.parametrize(
    "own", ["policy=OwnPolicy((4, 2))", "value=OwnValue((4,))", "make_env=own_env", "make_env=OwnEnv"]
)
def test_what_a_worker_can_not_import_is_explained(own, start_method):
    """Of `python -c`, as of a notebook, there is no module that a worker could import."""
    code = IN_MAIN.format(own=own, start_method=start_method)
    pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    both = [subprocess.Popen([sys.executable, *how], text=True, **pipes) for how in (["-c", code], ["-"])]
    for process in both:
        _, err = process.communicate(code, timeout=60)
        assert process.returncode == 1 and err.rstrip().endswith(f"exit status 1, see its output above; {LOST}")


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (raises, RuntimeError, r"(?s)worker \d failed.*OSError: the plug was pulled"),
        (raises_much, RuntimeError, r"(?s)worker \d failed.*OSError: the plug was pulled again"),
        (kills_itself, RuntimeError, r"worker \d died: SIGKILL"),
        (leaves, RuntimeError, r"worker \d died: exit status 0"),
        (nan, FloatingPointError, r"(?s)worker \d failed.*observations must be finite"),
    ],
)
def test_one_worker_that_fails_ends_the_run_and_keeps_what_was_learned(fault, error, message, tmp_path):
    policy, value = networks()
    before, names = policy.theta.copy(), shm()
    once = tmp_path / "taken"
    once.touch()  # so that the parent's look at the environment takes a sound one
    loop = a3c.train(functools.partial(in_one_worker, fault, once), policy, value, workers=3, total_steps=ENDLESS)
    once.unlink()
    with pytest.raises(error, match=message):
        list(loop)
    assert not same_bits(policy.theta, before)
    assert np.isfinite(policy.theta).all() and np.isfinite(value.theta).all()
    assert_nothing_left()
    assert shm() == names


def test_a_worker_that_dies_while_nobody_waits_is_noticed(tmp_path):
    policy, value = networks()
    once, told = tmp_path / "taken", tmp_path / "told"
    once.touch()
    make_env = functools.partial(in_one_worker, functools.partial(kills_itself_when_told, told), once)
    loop = a3c.train(make_env, policy, value, workers=3, total_steps=ENDLESS)
    once.unlink()
    next(loop)
    told.touch()
    deadline = time.monotonic() + 30
    while len(multiprocessing.active_children()) == 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match=r"worker \d died: SIGKILL"):
        for _ in range(20):
            next(loop)
    assert_nothing_left()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="patches what the workers run")
def test_a_worker_halted_within_its_write_halts_no_other(tmp_path, monkeypatch):
    policy, value = networks()
    halted, step = tmp_path / "halted", optim.RMSProp.step

    def halting(self, gradient):
        norm = step(self, gradient)
        with suppress(FileExistsError):
            os.close(os.open(halted, os.O_CREAT | os.O_EXCL))  # the first that comes here
            os.kill(os.getpid(), signal.SIGSTOP)
        return norm

    monkeypatch.setattr(optim.RMSProp, "step", halting)
    loop = a3c.train("CartPole-v1", policy, value, workers=3, total_steps=ENDLESS, n_steps=5, start_method="fork")
    deadline = time.monotonic() + 60
    with closing(loop):
        while not halted.exists():
            steps = next(loop).steps
        while next(loop).steps < steps + 1_000:
            assert time.monotonic() < deadline, "the others stand still, too"


def test_busy_workers_are_all_stopped_together():
    """Six workers within a step of a minute: they are given half a second in all, not one after the other."""
    policy, value = networks()
    loop = a3c.train(functools.partial(Faulty, sleeps), policy, value, workers=6, total_steps=ENDLESS, n_steps=5)
    while next(loop).steps < 6 * 95:
        pass
    begin = time.monotonic()
    loop.close()
    assert time.monotonic() - begin < 30  # one after the other they would take three seconds, or for ever
    assert_nothing_left(0)


ABANDONED = """
import sys, os
from scratchpg import SoftmaxPolicy, Value, a3c

if __name__ == "__main__":
    policy, value = SoftmaxPolicy((4, 16, 2), rng=0), Value((4, 16), rng=0)
    loop = a3c.train("CartPole-v1", policy, value, workers=2, total_steps=10**9, seed=0, start_method=sys.argv[1])
    import multiprocessing
    while next(loop).steps < 100:
        pass
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    while True:
        next(loop)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for the workers in /proc")
@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
def test_workers_end_when_their_parent_is_gone(start_method, tmp_path):
    script = tmp_path / "abandoned.py"
    script.write_text(ABANDONED)
    with subprocess.Popen([sys.executable, script, start_method], stdout=subprocess.PIPE, text=True) as parent:
        children = parent.stdout.readline().split()
        parent.kill()
    assert len(children) == 2
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") and state(pid) != "Z" for pid in children):
        assert time.monotonic() < deadline, "a worker goes on for nobody"
        time.sleep(0.05)


def state(pid):
    """R, S, Z (a zombie), …"""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_worker_may_be_stopped_at_any_instant():
    """No worker waits for another: with one of three stopped by SIGSTOP the others go on, at 20 random instants."""
    policy, value = networks()
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    shared, rng = Shared(context, **vars(plain_arrays(policy, value, workers=3))), np.random.default_rng(0)
    settings = SimpleNamespace(**BY_HAND)
    jobs = [(shared, i, "CartPole-v1", policy, value, own, settings) for i, own in enumerate(rng.spawn(3))]

    def wait_for(workers, steps):
        """Until each of these workers has taken so many further steps; a stall fails."""
        target = shared.counters[workers, a3c.STEPS] + steps
        deadline = time.monotonic() + 30
        while (shared.counters[workers, a3c.STEPS] < target).any():
            assert time.monotonic() < deadline, f"stalled at {shared.counters[:, a3c.STEPS]}"
            next(ticks)

    with closing(watch(context, a3c.worker, jobs, seconds=0.001)) as ticks:
        wait_for([0, 1, 2], 1)
        pids = {child.name: child.pid for child in multiprocessing.active_children()}
        for stopped in rng.integers(3, size=20):
            time.sleep(rng.uniform(0, 0.01))
            os.kill(pids[f"worker {stopped}"], signal.SIGSTOP)
            wait_for([i for i in range(3) if i != stopped], 250)  # 500 between the two
            os.kill(pids[f"worker {stopped}"], signal.SIGCONT)
        os.kill(pids["worker 0"], signal.SIGSTOP)  # and one that never wakes is no obstacle to the end
    assert_nothing_left()


def test_closing_the_generator_stops_the_workers():
    policy, value = networks()
    loop = a3c.train("CartPole-v1", policy, value, workers=2, total_steps=ENDLESS, seed=0)
    while next(loop).steps < 100:
        pass
    loop.close()
    assert_nothing_left(0)
    assert np.isfinite(policy.theta).all()


INTERRUPTED = """
import multiprocessing, time
import numpy as np
from scratchpg import SoftmaxPolicy, Value
from scratchpg.algorithms import a3c

if __name__ == "__main__":
    policy, value = SoftmaxPolicy((4, 16, 2), rng=0), Value((4, 16), rng=0)
    before = policy.theta.copy()
    try:
        for progress in a3c.train("CartPole-v1", policy, value, workers=2, total_steps=10**9, seed=0):
            if progress.steps > 100:
                print("running", flush=True)
    except KeyboardInterrupt:
        assert not multiprocessing.active_children()
        assert np.isfinite(policy.theta).all() and (policy.theta != before).any()
        print("interrupted")
"""


def test_ctrl_c_stops_the_workers(tmp_path):
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "running\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the parent and to the workers
    output, errors = process.communicate(timeout=60)
    assert output.endswith("interrupted\n") and process.returncode == 0 and not errors


def test_no_lock_stands_on_a_worker_s_path():
    """What a worker is given holds no lock, semaphore, queue or other thing to wait for."""
    shared = Shared(multiprocessing.get_context("spawn"), theta=np.zeros(3))
    raw, _, _ = shared.__getstate__()["theta"]
    assert not hasattr(raw, "get_lock") and not hasattr(raw, "acquire")
    waiting = ("Lock(", "Semaphore(", "Queue(", "Condition(", "Event(", "Barrier(", "acquire(")
    for module in a3c, processes, rollout, optim:
        source = Path(module.__file__).read_text(encoding="utf-8")
        assert not any(word in source for word in waiting), module.__name__
