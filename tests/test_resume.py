"""Going on where a run stopped: the rest of a run that was saved and loaded is, bit for bit, that of one in one go."""

import copy
import json
import os
import pickle
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted, ScriptedVector
from gymnasium.wrappers.vector import NormalizeObservation
from helpers import same_bits

import scratchpg
from scratchpg import Policy, Value, a2c, actor_critic, baseline, load, ppo, reinforce, save

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = [(2, "terminated"), (5, "truncated"), (3, "both")]
CHAPTERS = {
    "reinforce": (reinforce.train, dict(total_steps=500, n_episodes=4)),
    "reinforce, lr (first, last)": (reinforce.train, dict(total_steps=400, learning_rate=(1e-2, 0.0))),
    "baseline": (baseline.train, dict(total_steps=400, learning_rate=(1e-2, 0.0))),
    "actor-critic, td": (actor_critic.train, dict(total_steps=300)),
    "actor-critic, mc": (actor_critic.train, dict(total_steps=300, method="mc")),
    "a2c": (a2c.train, dict(total_steps=400, learning_rate=(1e-2, 0.0), ent_coef=0.01)),
    "a2c, episodes": (a2c.train, dict(total_steps=400, n_steps=None)),
    "ppo": (ppo.train, dict(total_steps=600, n_steps=16, batch_size=10, clip_range=(0.2, 0.0))),
}
ENVIRONMENTS = {
    "a vector": lambda: gym.make_vec("CartPole-v1", 3),
    "a single one": lambda: gym.make("CartPole-v1"),
    "floats for actions": lambda: gym.make_vec("Pendulum-v1", 2, max_episode_steps=20),
    "normalised": lambda: NormalizeObservation(gym.make_vec("CartPole-v1", 3, vectorization_mode="sync")),
    "actions from 3": lambda: ScriptedVector([SCRIPTS, SCRIPTS[1:]], action_space=gym.spaces.Discrete(2, start=3)),
    "a single one of three lengths": lambda: Scripted(SCRIPTS),
    "300 actions from -7": lambda: Echo(),
}


class Echo(gym.Env):
    """Shows the sum of all actions since it was seeded."""

    observation_space, action_space = gym.spaces.Box(-np.inf, np.inf, (2,)), gym.spaces.Discrete(300, start=-7)

    def reset(self, *, seed=None, options=None):
        self.t, self.sum = 0, 0 if seed is not None else self.sum
        return np.array([self.sum, 0], np.float32), {}

    def step(self, action):
        self.t, self.sum = self.t + 1, self.sum + action
        return np.array([self.sum, self.t], np.float32), 1.0, self.t == 7, False, {}


@pytest.fixture
def resume(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import resume

    return resume


def new(make, dtype=np.float32):
    """An environment and networks."""
    env = make()
    return env, Policy.for_env(env, (8,), rng=1, dtype=dtype), Value.for_env(env, (8,), rng=2)


def training(train, env, policy, value, **settings):
    """The loop of any chapter."""
    networks = (policy,) if train is reinforce.train else (policy, value)
    return train(env, *networks, **{"seed": 0} | settings)


def saved_after(updates, path, resume, train, make, **settings):
    """Save a run after so many updates; returns what they reported."""
    env, policy, value = new(make)
    loop = training(train, env, policy, value, **settings)
    resume.record(loop)
    reported = [str(vars(next(loop))) for _ in range(updates)]
    save(path, policy, value, state=resume.state(loop))
    loop.close()
    return reported


def both_ways(path, resume, chapter, make, stops):
    """What a run reported in one go, what it reported if it was saved and loaded after so many updates, and θ."""
    train, settings = chapter
    env, policy, value = new(make)
    whole = [str(vars(progress)) for progress in training(train, env, policy, value, **settings)]
    parts = saved_after(stops[0], path, resume, train, make, **settings)
    for stop in [*stops[1:], None]:
        loaded = load(path)
        loop = training(train, make(), loaded.policy, loaded.value, **settings)
        resume.go_on(loop, loaded.state)
        for progress in loop:
            parts.append(str(vars(progress)))
            if len(parts) == stop:
                save(path, loaded.policy, loaded.value, state=resume.state(loop))
                loop.close()
    return whole, parts, [(policy.theta, loaded.policy.theta), (value.theta, loaded.value.theta)]


def assert_the_same(whole, parts, thetas):
    assert parts == whole
    assert all(same_bits(one, other) for one, other in thetas)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_chapter_goes_on_bit_for_bit(chapter, resume, tmp_path):
    make = ENVIRONMENTS["a vector"]
    whole, *_ = result = both_ways(tmp_path / "x.npz", resume, CHAPTERS[chapter], make, stops=[2])
    assert len(whole) > 3
    assert_the_same(*result)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("chapter", ["reinforce", "a2c", "ppo"])
def test_in_every_environment_and_after_two_stops(chapter, environment, resume, tmp_path):
    result = both_ways(tmp_path / "x.npz", resume, CHAPTERS[chapter], ENVIRONMENTS[environment], stops=[1, 3])
    assert_the_same(*result)


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_any_generator(generator, resume, tmp_path):
    def rng():
        return np.random.Generator(generator(3))

    def train(*args, seed, **settings):
        return ppo.train(*args, rng=rng(), **settings)

    settings = CHAPTERS["ppo"][1]
    assert_the_same(*both_ways(tmp_path / "x.npz", resume, (train, settings), ENVIRONMENTS["a vector"], stops=[2]))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_all_that_changes_is_kept(chapter):
    """But what is set anew in every update."""
    train, settings = CHAPTERS[chapter]
    loop = training(train, *new(ENVIRONMENTS["a vector"]), **settings)
    for _ in range(2):
        before = copy.deepcopy({name: vars(part) for name, part in loop.parts.items()})
        next(loop)
    for name, part in loop.parts.items():
        changed = {x for x in vars(part) if pickle.dumps(getattr(part, x)) != pickle.dumps(before[name][x])}
        assert changed - {"learning_rate", "envs", "policy"} <= {*part.kept} and changed
    loop.close()


def test_nothing_changes_in_a_run_of_which_note_is_taken(resume):
    train, settings = CHAPTERS["a2c"]
    thetas = []
    for record in lambda loop: None, resume.record:
        env, policy, value = new(ENVIRONMENTS["a vector"])
        loop = training(train, env, policy, value, **settings)
        record(loop)
        for _ in loop:
            pass
        thetas.append(policy.theta)
    assert same_bits(*thetas)


def test_a_state_stays_as_it_was_taken(resume):
    env, policy, value = new(ENVIRONMENTS["a vector"])
    with_note = training(*CHAPTERS["ppo"][:1], env, policy, value, total_steps=600, n_steps=16)
    resume.record(with_note)
    next(with_note)
    state = resume.state(with_note)
    before = {name: str(x) for name, x in state.items()}
    next(with_note)
    assert {name: str(x) for name, x in state.items()} == before
    assert resume.state(with_note).keys() == before.keys()
    with_note.close()


def test_a_file_holds_a_byte_for_each_discrete_action(resume, tmp_path):
    saved_after(10, tmp_path / "x.npz", resume, a2c.train, ENVIRONMENTS["a vector"], n_steps=500)
    state = load(tmp_path / "x.npz").state
    assert state["told.actions"].shape == (5000, 3) and state["told.actions"].nbytes == 15_000
    assert all(isinstance(x, np.ndarray) or json.dumps(x) for x in state.values())


def cut(name):
    return lambda state: {key: x for key, x in state.items() if key != name}


def changed(name, change):
    return lambda state: state | {name: change(state[name])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut("critic.mean_square"), r"of such a run, but .*critic\.mean_square"),
        (cut("told.actions"), r"of such a run, but .*told\.actions"),
        (lambda state: state | {"other.m": 1}, r"of such a run, but .*other\.m"),
        (changed("actor.mean_square", lambda x: x[1:]), r"actor\.mean_square must be an array float32 \(58,\), not"),
        (changed("actor.theta", lambda x: x.astype(float)), r"actor\.theta must be .*, not an array float64 \(58,\)"),
        (changed("actor.theta", lambda x: x * np.nan), r"actor\.theta must be finite"),
        (changed("actor.theta", lambda x: 3), r"actor\.theta must be an array float32 \(58,\), not 3"),
        (changed("collector.steps", lambda x: "many"), r"collector\.steps must be of <class 'int'>, not 'many'"),
        (changed("told.actions", lambda x: x[:, :2]), r"told\.actions must be"),
        (changed("told.actions", lambda x: x[:-1]), "did not come to where they stood"),
        (changed("told.actions", lambda x: 1 - x), "did not come to where they stood"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_name(change, message, resume, tmp_path):
    make = ENVIRONMENTS["a vector"]
    saved_after(4, tmp_path / "x.npz", resume, a2c.train, make)
    loaded = load(tmp_path / "x.npz")
    loop = training(a2c.train, make(), loaded.policy, loaded.value)
    with pytest.raises(ValueError, match=message):
        resume.go_on(loop, change(loaded.state))
    loop.close()


def test_another_seed_another_chapter_or_a_begun_run_is_refused(resume, tmp_path):
    make = ENVIRONMENTS["a vector"]
    saved_after(2, tmp_path / "x.npz", resume, a2c.train, make)
    loaded = load(tmp_path / "x.npz")
    env = make()
    for train, settings, message in [
        (a2c.train, {"seed": 1}, "must be made with the seed of the run that goes on"),
        (ppo.train, {}, "of such a run, but"),
    ]:
        loop = training(train, env, loaded.policy, loaded.value, **settings)
        with pytest.raises(ValueError, match=message):
            resume.go_on(loop, loaded.state)
        loop.close()
    begun = training(a2c.train, env, loaded.policy, loaded.value)
    next(begun)
    for call in lambda: resume.go_on(begun, loaded.state), lambda: resume.record(begun):
        with pytest.raises(ValueError, match="before its first update"):
            call()
    begun.close()


def test_an_environment_that_no_seed_decides_is_refused(resume, tmp_path):
    class Restless(gym.Wrapper):
        def step(self, action):
            observation, *rest = super().step(action)
            return observation + np.random.default_rng().normal(size=4).astype(np.float32), *rest

    def make():
        return Restless(gym.make("CartPole-v1"))

    saved_after(2, tmp_path / "x.npz", resume, a2c.train, make)
    loaded = load(tmp_path / "x.npz")
    loop = training(a2c.train, make(), loaded.policy, loaded.value)
    with pytest.raises(ValueError, match="did not come to where they stood: its seed does not decide all"):
        resume.go_on(loop, loaded.state)
    loop.close()


# The scripts


@pytest.fixture
def run(resume, monkeypatch, capsys):
    """Run a script in this process: its status, stdout and stderr. after: so many updates comes Ctrl-C."""
    import cli

    def run(script, *args, after=None):
        updates = 0

        def show(self, progress):
            nonlocal updates
            shown(self, progress)
            updates += 1
            if updates == after:
                raise KeyboardInterrupt

        shown = cli.Run.show
        with monkeypatch.context() as patch:
            patch.setattr(cli, "KEEP_SECONDS", 0)
            patch.setattr(cli, "EPISODES", 10)
            patch.setattr(cli.Run, "show", show)
            patch.setattr(sys, "argv", [f"{script}.py", *map(str, args)])
            try:
                runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__")
                status = 0
            except SystemExit as end:
                status = end.code or 0
        return status, *capsys.readouterr()

    return run


def networks(path):
    loaded = load(path)
    return [network.theta for network in (loaded.policy, loaded.value) if network]


def lines(log, first=0):
    return [line for line in log.read_text().splitlines()[1:] if int(line.split(",")[0]) > first]


@pytest.mark.parametrize(
    ("script", "args"),
    [
        ("reinforce", "n_envs=4 hidden=(8,)"),
        ("baseline", "n_envs=4 hidden=(8,)"),
        ("actor_critic", ""),
        ("a2c", "gamma=0.9 learning_rate=(1e-2,0)"),
        ("ppo", "n_steps=10 n_envs=4"),
        ("ppo", "--env MountainCarContinuous-v0 n_envs=2 n_steps=50"),  # under NormalizeObservation
        ("ppo", "--env Pendulum-v1 n_envs=2 n_steps=50"),  # with scaled rewards
        ("a2c", "--env FrozenLake-v1 n_envs=3 --env-args is_slippery=False"),
    ],
)
def test_a_script_goes_on_bit_for_bit(script, args, run, tmp_path):
    a, b, log, log_b = (tmp_path / name for name in ("a.npz", "b.npz", "a.csv", "b.csv"))
    args = [*args.split(), "--steps", 1000, "--seed", 3]
    status, out, err = run(script, *args, "--save", a, "--log", log)
    assert status == 0
    assert run(script, *args, "--save", b, "--log", log_b, after=3)[0] == 130
    steps = int(lines(log_b)[-1].split(",")[0])
    status, out_b, err = run(script, "--load", b, "--save", b, "--log", log_b)  # all else is as it was
    assert (status, err) == (0, f"{b}: going on at step {steps:,} of 1,000\n")
    assert all(same_bits(one, other) for one, other in zip(networks(a), networks(b), strict=True))
    assert log_b.read_text() == log.read_text()
    assert out_b.splitlines()[-1] == out.splitlines()[-1]
    assert run(script, "--load", b, "--steps", 0, "--seed", 3)[1].splitlines()[-1] == out.splitlines()[-1]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_process_that_is_stopped_anywhere_goes_on_bit_for_bit(run, tmp_path):
    """Within an update most likely: it goes on from the end of the one before it."""
    words = ["--env", "Acrobot-v1", "n_envs=4", "n_steps=32", "--steps", "6000", "--smoke"]
    whole = tmp_path / "whole.npz"
    assert run("ppo", *words, "--save", whole)[0] == 0
    for send in signal.SIGINT, signal.SIGTERM:
        stopped = tmp_path / f"{send}.npz"
        assert stop_after(1_500, send, *words, "--save", stopped) not in (0, 1, 2)
        status, _, err = run("ppo", *words, "--save", stopped, "--load", stopped)
        assert status == 0 and re.fullmatch(r".*\.npz: going on at step [1-5],\d\d\d of 6,000\n", err)
        assert all(same_bits(one, other) for one, other in zip(networks(whole), networks(stopped), strict=True))


NOTES_AT_ONCE = """
import cli, runpy, sys

cli.KEEP_SECONDS = 0
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def stop_after(steps, send, *words):
    """Start PPO's script as a process, send it a signal after so many steps; returns its status."""
    script = [sys.executable, "-c", NOTES_AT_ONCE, EXAMPLES / "ppo.py", *words]
    environment = os.environ | {"PYTHONPATH": f"{Path(scratchpg.__file__).parents[1]}{os.pathsep}{EXAMPLES}"}
    ignored = signal.signal(signal.SIGINT, signal.SIG_DFL)  # that it is ignored would be inherited
    with subprocess.Popen(
        script, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        signal.signal(signal.SIGINT, ignored)
        for line in process.stdout:
            if int(re.match(r"steps +([\d,]+)", line)[1].replace(",", "")) >= steps:
                break
        process.send_signal(send)
        process.communicate(timeout=60)
    return process.returncode


@pytest.fixture
def stopped(run, tmp_path):
    """A run of A2C in a FrozenLake that does not slip, stopped after three updates."""
    path = tmp_path / "x.npz"
    words = ["--env", "FrozenLake-v1", "--env-args", "is_slippery=False", "--seed", 3, "n_envs=2", "--steps", 1000]
    assert run("a2c", *words, "--save", path, after=3)[0] == 130
    return path


@pytest.mark.parametrize(
    ("script", "words", "reason"),
    [
        ("ppo", "", "its run is one with chapter='a2c'"),
        ("a2c", "--seed 4", "its run is one with seed=3"),
        ("a2c", "n_envs=4", "its run is one with n_envs=2"),
        ("a2c", "gamma=0.5 n_steps=7 --seed 3", "its run is one with gamma=0.99, n_steps=5"),
        ("a2c", "--env-args is_slippery=True", "its run is one with env_args={'is_slippery': False}"),
        ("a2c", "--env FrozenLake8x8-v1", None),
        ("a2c", "--steps 9", "its run has made 25 steps already (--steps for more)"),
        ("mpc", "", None),
    ],
)
def test_another_run_begins_anew_and_says_why(script, words, reason, run, stopped):
    """With the networks that are saved, as far as they fit."""
    status, _, err = run(script, "--load", stopped, *words.split(), *([] if "--steps" in words else ["--steps", 40]))
    if reason is None:
        assert status == 2
    else:
        assert (status, err) == (0, f"{stopped}: a new run begins with its networks, as {reason}\n")


def test_a_file_without_a_run_begins_anew_and_says_so(run, stopped):
    saved = load(stopped)
    save(stopped, saved.policy, saved.value, env="FrozenLake-v1")
    status, _, err = run("a2c", "--load", stopped, "--steps", 40)
    expected = f"{stopped}: a new run begins with its networks, as it holds no run that can go on\n"
    assert (status, err) == (0, expected)


def test_an_evaluation_says_nothing_of_runs_and_keeps_what_is_saved(run, stopped, tmp_path):
    assert run("a2c", "--load", stopped, "--steps", 0, "--save", tmp_path / "y.npz")[2] == ""
    assert load(tmp_path / "y.npz").state.keys() == load(stopped).state.keys() != set()


def test_a_run_can_be_made_longer(run, stopped):
    assert run("a2c", "--load", stopped, "--save", stopped)[2] == f"{stopped}: going on at step 25 of 1,000\n"
    made = f"{load(stopped).state['collector.steps']:,}"
    status, out, err = run("a2c", "--load", stopped, "--steps", 1500)
    assert (status, err) == (0, f"{stopped}: going on at step {made} of 1,500\n") and " / 1,500" in out
    status, _, err = run("a2c", "--load", stopped, "--steps", 900)
    reason = f"as its run has made {made} steps already (--steps for more)"
    assert (status, err) == (0, f"{stopped}: a new run begins with its networks, {reason}\n")


CUT = ("", "4", "40", "45,", "45,3,0.5", "45,3,0.5,0.6")  # how much of a later line may stand at its end


@pytest.mark.parametrize("end", [*CUT, "\n", "all"])
def test_a_log_goes_on_after_a_last_line_that_was_cut(end, run, stopped, tmp_path):
    """Or after one whose end was, or after lines that the run had not saved: none is lost, none stands there twice."""
    log, whole = tmp_path / "log.csv", tmp_path / "whole.csv"
    words = ["--env", "FrozenLake-v1", "--env-args", "is_slippery=False", "--seed", 3, "n_envs=2", "--steps", 1000]
    assert run("a2c", *words, "--log", whole)[0] == 0
    head = "".join(whole.read_text().splitlines(keepends=True)[:4])  # three updates
    log.write_text({"\n": head[:-1], "all": whole.read_text()}.get(end, head + end))
    assert run("a2c", "--load", stopped, "--log", log)[0] == 0
    assert log.read_text() == whole.read_text()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("junk\n", "line 1 is 'junk'"),
        ("notes of mine", "line 1 is 'notes of mine'"),
        ("\n", "line 1 is ''"),
        ("steps,episodes,mean_return\njunk\n1,2,3\n", "line 2 is 'junk'"),
        ("steps,episodes,mean_return\n1,2,3\n1,2\n5,6,7\n", "line 3 is '1,2'"),
        ("steps,episodes,mean_return\n1,2,3,4\n", "line 2 is '1,2,3,4'"),
        ("steps,episodes,mean_return\n1,2,much\n", "line 2 is '1,2,much'"),
        ("steps,episodes,mean_return\n1.5,2,3\n", "line 2 is '1.5,2,3'"),
        ("steps,episodes,mean_return\n1,2,3\nhello", "line 3 is 'hello'"),
        ("steps,episodes,mean_return\n1,2,3\n\n", "line 3 is ''"),
        (b"steps,episodes,mean_return\n\xff\xfe\n", "line 2 is "),
    ],
)
def test_what_is_no_log_is_refused_before_the_run_goes_on(text, line, run, stopped, tmp_path):
    log = tmp_path / "log.csv"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = log.read_bytes()
    status, out, err = run("a2c", "--load", stopped, "--log", log)
    assert (status, out) == (2, "") and line in err
    assert re.fullmatch(r"error: .*log\.csv is no --log to go on with, .*\n", err)
    assert log.read_bytes() == before


def test_a_log_of_other_columns_is_left_as_it_is(run, stopped, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("steps,episodes,mean_return,loss\n10,0,nan,1.0\n")
    status, _, err = run("a2c", "--load", stopped, "--log", log)
    assert status == 1 and "log.csv: its columns are steps,episodes,mean_return,loss, not steps," in err
    assert log.read_text() == "steps,episodes,mean_return,loss\n10,0,nan,1.0\n"


def test_a_run_whose_environment_is_another_now_is_refused(run, stopped, monkeypatch):
    import cli

    monkeypatch.setitem(cli.WRAPPERS, "FrozenLake-v1", lambda env: gym.wrappers.TimeLimit(env, 2))
    status, out, err = run("a2c", "--load", stopped)
    going_on, wrong = err.splitlines()
    assert (status, out, going_on) == (2, "", f"{stopped}: going on at step 25 of 1,000")
    assert re.fullmatch("error: .*did not come to where they stood: .*; with another --seed, a new run begins.*", wrong)
    assert run("a2c", "--load", stopped, "--seed", 4, "--steps", 20)[0] == 0


def test_the_arguments_of_the_environment_are_saved_with_the_networks(run, stopped, monkeypatch):
    """What makes the environment anew: in a script, in watch.py, and with --env-args on the command line instead."""
    assert load(stopped).env_args == {"is_slippery": False}
    import cli

    make_env, made = cli.make_env, []

    def noted(*args, **kwargs):
        made.append(kwargs)
        return make_env(*args, **kwargs)

    monkeypatch.setattr(cli, "make_env", noted)
    for args, slippery in [
        (["a2c", "--load", stopped, "--steps", 0], False),
        (["watch", stopped, "--smoke"], False),
        (["watch", stopped, "--smoke", "--env", "FrozenLake-v1"], False),
        (["watch", stopped, "--smoke", "--env-args", "is_slippery=True"], True),
        (["watch", "--smoke", "--env", "FrozenLake-v1"], None),
        (["watch", stopped, "--smoke", "--env", "FrozenLake-v1", "--env-args", "map_name=4x4"], None),
    ]:
        made.clear()
        assert run(*args)[0] == 0
        assert {kwargs.get("is_slippery") for kwargs in made} == {slippery}


def test_env_args_that_no_file_can_hold_are_refused_at_once(run, tmp_path):
    status, out, err = run("a2c", "--env-args", "map_name={1}", "--save", tmp_path / "x.npz")
    assert (status, out) == (2, "") and re.fullmatch(r"error: .*set is not JSON.*\n", err)
