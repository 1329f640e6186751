"""The scripts in examples/, run as a reader runs them: what they print, write and return."""

import importlib
import inspect
import itertools
import os
import pkgutil
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

import scratchpg
from scratchpg import Progress, SoftmaxPolicy, Value, algorithms, load, save
from scratchpg.rollout import Collector

EXAMPLES = Path(__file__).parents[1] / "examples"
HELPERS = {"cli", "experts", "finite_sums", "intervals", "resume", "reversal"}
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem not in HELPERS)
CHAPTERS = [name for name in SCRIPTS if name in {module.name for module in pkgutil.iter_modules(algorithms.__path__)}]
STUDIES = [name for name in SCRIPTS if name not in CHAPTERS]
DRAWN = [name for name in STUDIES if "cli.study(" in (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")]
PAGES = [path.read_text("utf-8") for path in (EXAMPLES.parent / "README.md", EXAMPLES / "README.md")]
README = sorted({command for page in PAGES for command in re.findall(r"`python examples/([^`]+)`", page)})
CLIFF = max(env_id for env_id in gym.registry if env_id.startswith("CliffWalking-v"))  # it has no time limit
EVALUATION = r"evaluation: mean -?\d+\.\d+ ± \d+\.\d+ over (\d+) episodes \(sampled actions\)"
SETTINGS = {
    "default": {"total_steps": 1000, "n_envs": 2, "hidden": (8,), "gamma": 0.9},
    "CartPole-v1": {"gamma": 1.0},
}


@pytest.fixture
def cli(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import cli

    return cli


@pytest.fixture
def run(cli, monkeypatch, capsys):
    """Run a script in this process, as if from the command line: its exit status, stdout and stderr."""

    def run(script, *args):
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, args)])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # to be put back: a study sets its own
        return outcome(lambda: runpy.run_path(str(EXAMPLES / f"{script}.py"), run_name="__main__"), capsys)

    return run


@pytest.fixture
def run_main(cli, monkeypatch, capsys):
    """Call `cli.main` with updates of the test's own: the exit status, stdout and stderr."""

    def run(updates, *args):
        def learn(run, n_envs, hidden, **settings):
            env = run.make_env(n_envs)
            policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
            for progress in run.updates(updates(policy, **settings), policy):
                run.show(progress)

        monkeypatch.setattr(sys, "argv", ["script.py", *map(str, args)])
        return outcome(lambda: cli.main(learn, train, SETTINGS, ""), capsys)

    return run


def train(
    *,
    total_steps: int = 100,  # of all environments together
    gamma: float = 0.99,  # the discount γ
) -> None:
    """Has the settings that `run_main` admits."""


def outcome(call, capsys):
    try:
        call()
        status = 0
    except SystemExit as exit:
        status = exit.code or 0
    return status, *capsys.readouterr()


def last_line(out):
    return out.splitlines()[-1]


@pytest.mark.parametrize("script", CHAPTERS)
def test_a_short_run_ends_with_the_evaluation(script, run):
    status, out, err = run(script, "--smoke")
    assert (status, err) == (0, "")
    assert re.fullmatch(EVALUATION, last_line(out))[1] == "10"
    kinds = [line.split()[0] for line in out.splitlines()]
    assert kinds == sorted(kinds, key=["steps", "evaluating:", "evaluation:"].index) and {*kinds} >= {"evaluating:"}
    assert all(re.match(r"steps +[\d,]+ / 1,000  episodes|evalua", line) for line in out.splitlines())
    assert "\r" not in out


@pytest.mark.parametrize("script", STUDIES)
def test_a_short_run_of_a_study(script, run):
    status, out, err = run(script, "--smoke")
    assert (status, err) == (0, "") and out


def test_async_speedup_in_short_keeps_what_is_asked_and_has_numbers_for_it(run):
    _, out, _ = run("async_speedup", "--smoke", "--workers", 1, "--delay", 0.2)
    assert "0.2 ms a step" in out and "nan" not in out
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["1", "updates"]


@pytest.mark.parametrize("command", README)
def test_command_that_readme_prints(command, run, tmp_path, monkeypatch):
    """With --smoke added, and CartPole-v1 and 0 for the ID and the S of what it prints."""
    script, *arguments = shlex.split(command)
    if "--peers" in arguments:
        pytest.importorskip("stable_baselines3")
    if "--plot" in arguments:
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples" / "figures").mkdir(parents=True)
    save("ppo.npz", SoftmaxPolicy((4, 2), rng=0), env="CartPole-v1")
    arguments = [{"ID": "CartPole-v1", "S": "0"}.get(word, word) for word in arguments]
    status, out, err = run(script.removesuffix(".py"), *arguments, "--smoke")
    assert (status, err) == (0, "") and out


@pytest.mark.parametrize("script", DRAWN)
def test_plot_of_a_study(script, run, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "study.png"
    status, out, err = run(script, "--smoke", "--plot", path)
    assert (status, err) == (0, "") and out
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("path", ["{tmp}/missing/x.png", "{tmp}/x.doc"])
def test_plot_that_a_study_cannot_write(path, run, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = run("mc_vs_td", "--smoke", "--plot", path.format(tmp=tmp_path))
    assert (status, out) == (2, "") and re.fullmatch(r"error: can't (write|draw) .*\n", err)


def test_what_stale_baseline_shows(cli):
    """V_φ that was fitted beforehand stays where it is when the returns rise; one that learns along comes from 0."""
    import stale_baseline

    ways = stale_baseline.separate, stale_baseline.joint
    separate, joint = (stale_baseline.run(way, seed=0, looks=2, every=8_000, episodes=32) for way in ways)
    (_, G, v, ratio), (_, G_later, v_later, ratio_later) = separate
    assert abs(v / G - 1) < 0.3 and G_later > 2 * G and abs(v_later / v - 1) < 0.5
    assert ratio < 0.6 and ratio < ratio_later
    (_, _, v, ratio), (_, _, v_later, ratio_later) = joint
    assert abs(v) < 1 < v_later and ratio_later < 0.9 < ratio


def test_in_bias_variance_what_is_unbiased_is_at_zero(cli):
    import bias_variance as study

    mdp, policy = study.corridor(3), study.constant_policy(0.7)
    dots, (without, with_it) = study.single(mdp, policy)
    dots |= study.groups(mdp, policy)
    unbiased = {name for name, (bias, _) in dots.items() if bias < 1e-12}
    assert unbiased == {"REINFORCE (1.9)", "REINFORCE (1.10)", "baseline", "GRPO (10.3)"}
    np.testing.assert_allclose(dots["GRPO (10.2)"][0], 1 / study.G)  # shorter by 1/G, in the same direction
    np.testing.assert_allclose(with_it[-1], dots["baseline"], atol=1e-12)  # λ = 1
    assert (without[-1] > with_it[-1]).all()


def test_in_mc_vs_td_n_goes_from_one_end_of_lambda_to_the_other(cli):
    import mc_vs_td

    mdp, policy = mc_vs_td.corridor(6), SoftmaxPolicy((4, 2), rng=0, dtype=np.float64)
    found = mc_vs_td.trade(mdp, policy, 0.9, 0.5, lambdas=[0, 1], ns=[1, 2, 6])
    np.testing.assert_allclose(found[:, [0, 1]], found[:, [2, 4]], rtol=0, atol=1e-12)
    assert (abs(found[:, [3]] - found[:, [0, 1]]) > 0.1).all()


def test_a_value_that_a_chapter_does_not_use_is_saved_again(run, tmp_path):
    value = Value((4, 3), rng=1)
    save(tmp_path / "a.npz", SoftmaxPolicy((4, 2), rng=0), value, env="CartPole-v1")
    assert run("reinforce", "--smoke", "--load", tmp_path / "a.npz", "--save", tmp_path / "b.npz")[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "b.npz").value.theta, value.theta)


@pytest.mark.parametrize("script", [name for name in CHAPTERS if name != "mpc"])  # which saves nothing
def test_what_is_saved_plays_the_same_when_loaded(script, run, tmp_path):
    path = tmp_path / "networks.npz"
    _, out, _ = run(script, "--smoke", "--seed", 3, "--save", path)
    status, again, err = run(script, "--smoke", "--seed", 3, "--load", path, "--steps", 0)
    assert (status, again.splitlines(), err) == (0, out.splitlines()[-2:], "")
    assert load(path).env == {"rlfd": "FrozenLake8x8-v1", "sac": "Pendulum-v1"}.get(script, "CartPole-v1")
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("script", [name for name in CHAPTERS if name != "a3c"])  # a race has no two equal runs
def test_the_seed_is_the_run(script, run):
    words = script, "--smoke", "--seed"
    first, second, other = (last_line(run(*words, seed)[1]) for seed in (1, 1, 2))
    assert first == second != other


def test_plot(run, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    status, out, err = run("reinforce", "--smoke", "--plot", path)
    assert (status, err) == (0, "") and re.fullmatch(EVALUATION, last_line(out))
    assert path.read_bytes().startswith(b"\x89PNG")


def test_plot_of_a_form_there_is_none_of(run, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, err = run("reinforce", "--smoke", "--plot", tmp_path / "curve.doc")
    assert (status, out) == (2, "") and re.fullmatch(r"error: can't draw .*curve\.doc: .*\bpng\b.*\n", err)


def test_plot_without_matplotlib(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, err = run("reinforce", "--smoke", "--plot", tmp_path / "curve.png")
    assert (status, err) == (0, '--plot needs matplotlib: pip install "scratchpg[plot]"\n')
    assert re.fullmatch(EVALUATION, last_line(out))


@pytest.fixture
def screen(monkeypatch):
    """pygame, with a window that nobody sees and that does not wait for anybody's eyes."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(CartPoleEnv.metadata, "render_fps", 10_000)
    return pytest.importorskip("pygame")


def test_render(run, screen):
    status, out, err = run("reinforce", "--smoke", "--render")
    assert (status, err) == (0, "") and re.fullmatch(EVALUATION, last_line(out))


def test_render_without_pygame(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    status, out, err = run("reinforce", "--smoke", "--render")
    assert status == 0 and re.fullmatch(r'--render: .*pip install "gymnasium\[classic-control\]".*\n', err)
    assert re.fullmatch(EVALUATION, last_line(out))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--env Nonsense-v0", "Environment `Nonsense` doesn't exist"),
        ("--env nothing:Nonsense-v0", "No module named 'nothing'"),
        ("--steps -1", "--steps: must be an integer of at least 0, not '-1'"),
        ("--seed x", "--seed: must be an integer of at least 0, not 'x'"),
        ("--frobnicate", "unrecognized arguments"),
        ("gamma", "must be of the form NAME=VALUE, not 'gamma'"),
        ("gama=0.9", "no such setting: gama; there are gamma"),
        ("gamma=2", "gamma must be a number in [0, 1], not 2"),
        ("gamma=much", "gamma must be a number in [0, 1], not 'much'"),
        ("--env-args is_slippery=false", "must be is_slippery=False, not 'is_slippery=false': Python's True, False or"),
        ("--env-args is_slippery=TRUE", "must be is_slippery=True, not "),
        ("--env-args is_slippery=Off", "must be is_slippery=False, not "),
        ("normalize_advantages=no", "must be normalize_advantages=False, not "),
        ("normalize_advantages=yes", "must be normalize_advantages=True, not "),
        ("max_grad_norm=none", "must be max_grad_norm=None, not "),
        ("hidden=8", "hidden must be 0 or more widths, integers of at least 1, not 8"),
        ("n_envs=0", "n_envs must be an integer of at least 1, not 0"),
        ("--load {tmp}/missing.npz", "missing.npz"),
        ("--load {tmp}/text.npz", "not a readable scratchpg checkpoint"),
        ("--load {tmp}/cartpole.npz --env Acrobot-v1", "4 inputs and 2 outputs"),
        ("--save {tmp}/missing/x.npz", "missing/x.npz: No such file or directory"),
        ("--save {tmp}", "must name a file"),
        ("--save {tmp}/new/", "must name a file"),
        ("--save {tmp}/pipe", "must name a file"),
        ("--save=", "must name a file"),
        (f"--save {{tmp}}/{250 * 'x'}", "File name too long"),
        ("--save {tmp}/x.svg --plot {tmp}/x.svg", "must be two files"),
        ("--save {tmp}/x.csv --log {tmp}/x.csv", "--save and --log must be two files"),
        ("--log {tmp}/missing/x.csv", "missing/x.csv: No such file or directory"),
        ("--load=", "No such file"),
        ("--load {tmp}/cartpole.npz hidden=(8,)", "hidden must be left out with --load"),
        ("--plot {tmp}/missing/x.png", "missing/x.png: No such file or directory"),
    ],
)
def test_wrong_use_is_answered_in_one_line_before_any_training(args, message, run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.npz").write_text("text")
    save(tmp_path / "cartpole.npz", SoftmaxPolicy((4, 2), rng=0))
    files = sorted(tmp_path.iterdir())
    status, out, err = run("reinforce", *args.format(tmp=tmp_path).split())
    assert (status, out) == (2, "")
    err = err.removeprefix('--plot needs matplotlib: pip install "scratchpg[plot]"\n')
    assert re.fullmatch(r"error: .*\n", err) and message in err
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("reward_scale=0", "reward_scale must be a finite number > 0, not 0"),
        ("reward_scale=-1", "reward_scale must be a finite number > 0, not -1"),
        ("reward_scale=inf", "reward_scale must be a finite number > 0, not inf"),
        ("reward_scale=much", "reward_scale must be a finite number > 0, not 'much'"),
        ("reward_scale=True", "reward_scale must be a finite number > 0, not True"),
        ("normalize_observations=1", "normalize_observations must be True or False, not 1"),
        ("normalize_observations=all", "normalize_observations must be True or False, not 'all'"),
        ("normalize_observations=false", "must be normalize_observations=False, not 'normalize_observations=false'"),
        ("--env Pendulum-v1 log_std=much", "log_std must be numbers, not an array <U4 ()"),
        ("--env Pendulum-v1 log_std=inf", "log_std must be finite, but log_std[] is inf"),
    ],
)
@pytest.mark.parametrize("script", ["baseline", "a2c", "ppo"])
def test_settings_of_the_script_itself_have_doors(script, args, message, run):
    status, out, err = run(script, "--smoke", *args.split())
    assert (status, out) == (2, "") and re.fullmatch(r"error: .*\n", err) and message in err


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("throughput", "--seconds 0", "--seconds must be a number > 0, not 0"),
        ("throughput", "--seconds nan", "--seconds must be a number > 0, not nan"),
        ("throughput", "--hidden 0", "--hidden must be at least 1, not 0"),
        ("throughput", "--peers", "--peers needs stable_baselines3 and torch: pip install stable-baselines3"),
        ("async_speedup", "--delay nan", "--delay a number of milliseconds"),
        ("async_speedup", "--workers 0", "--workers and --seeds must be at least 1"),
        ("mpc", "bare=True --env Pendulum-v1", "bare=True is for CartPole-v1, not Pendulum-v1"),
    ],
)
def test_scripts_refuse_what_they_alone_can_tell_is_wrong(script, args, message, run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, out, err = run(script, *args.split())
    assert (status, out) == (2, "") and re.fullmatch(r"error: .*\n", err) and message in err


def test_table(cli, capsys):
    """Text keeps its letters, whatever they are; a number that is none is a dash; nothing is cut."""
    cli.table("title", {"name": "", "x": ".1f"}, [("banana", float("nan")), ("b", -12.34)])
    assert capsys.readouterr().out == "\ntitle\nname        x\nbanana      -\nb       -12.3\n"
    with pytest.raises(ValueError, match="zip"):
        cli.table("title", {"name": "", "x": ".1f"}, [("a", 1.0, 2.0)])


def start(*args, script="reinforce", encoding="utf-8", **kwargs):
    """Start a script as a process of its own, on the package that these tests run on."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / f"{script}.py", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding=encoding,
        env=os.environ | {"PYTHONPATH": str(Path(scratchpg.__file__).parents[1]), "PYTHONIOENCODING": encoding},
        # a shell may have started the tests with SIGINT ignored, and that is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **kwargs,
    )


def wait_until_none_is_left(group):
    """Within seconds: a worker of a worker ends when it sees that its parent has."""
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_keeps_what_was_learned(tmp_path):
    path = tmp_path / "networks.npz"
    with start("--steps", 10**9, "--save", path) as process:
        assert process.stdout.readline().startswith("steps ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(EVALUATION, last_line(out))[1] == "100" and "\r" not in out
    assert err.startswith("interrupted") and err.count("\n") == 1
    assert np.any(load(path).policy.theta)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_second_ctrl_c_quits(tmp_path):
    with start("--steps", 10**9) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith("interrupted")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")


def test_a_pipe_that_knows_no_greek_gets_question_marks():
    with start("--smoke", script="mc_vs_td", encoding="cp1252") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and "? = 0.9" in out


@pytest.mark.skipif(os.name != "posix", reason="closes a pipe")
def test_a_study_ends_quietly_when_nobody_reads_it():
    with start("--smoke", script="mc_vs_td") as process:
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_ends_a_study_quietly():
    with start(script="overestimation") as process:
        assert process.stdout.readline() == "\n"  # its first table comes at once, the second after seconds
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_a_terminal_sees_one_line_rewritten_in_place(run, monkeypatch, cli):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(cli, "REWRITE_SECONDS", 0)
    monkeypatch.setenv("COLUMNS", "50")
    _, out, _ = run("a2c", "--smoke")
    training, evaluating, evaluation = out.split("\n")[:-1]
    assert re.fullmatch(EVALUATION, evaluation)
    assert re.findall("\revaluating: +(\\d+) / 10 episodes", evaluating) == [str(done) for done in range(11)]
    states = training.split("\r")[1:]
    assert len(states) > 2 and {len(state) for state in states} == {49}  # a 50th character would wrap
    assert states[-1].startswith("steps")
    _, out, _ = run("a2c", "--smoke", "--steps", 0)
    assert re.fullmatch(EVALUATION, last_line(out)) and out.startswith("\revaluating:   0 / 10")


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_pipe_gets_a_line_per_tenth(run_main, unit):
    """However many updates there are; the last line is the last progress."""

    def updates(policy, *, total_steps, gamma):
        for steps in range(unit, total_steps + 1, unit):
            yield Progress(steps=steps, episodes=0, mean_return=np.nan)

    _, out, _ = run_main(updates, "--steps", 100_000)
    shown = [int(line.split()[1].replace(",", "")) for line in out.splitlines()[:-2]]
    assert shown == [unit, *range(10_000, 100_001, 10_000)]


def one_update(policy, *, total_steps, gamma):
    yield Progress(steps=total_steps, episodes=2, mean_return=gamma)


@pytest.mark.parametrize(("env", "mean_return"), [("CartPole-v1", 1.0), ("FrozenLake-v1", 0.9)])
def test_an_environment_s_own_settings_go_over_the_default_ones(env, mean_return, run_main):
    status, out, _ = run_main(one_update, "--smoke", "--env", env)
    assert status == 0
    assert re.match(rf"steps 1,000 / 1,000  episodes +2  mean return +{mean_return} ", out)


def test_a_setting_of_the_command_line_goes_over_all_others(run_main, tmp_path):
    path = tmp_path / "networks.npz"
    _, out, _ = run_main(one_update, "--smoke", "gamma=0.25", "hidden=(3, 5)", "--save", path)
    assert " mean return     0.2 " in out
    assert load(path).policy.sizes == (4, 3, 5, 2)


@pytest.mark.parametrize("script", CHAPTERS)
def test_help_tells_every_setting_with_its_default_and_its_meaning(script, run, cli):
    module = importlib.import_module(script)
    chapter = getattr(module, script)
    settings = cli.settings_of(chapter.train, module.SETTINGS)
    parameters = inspect.signature(chapter.train).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in ("seed", "rng")}
    defaults |= module.SETTINGS["default"]
    assert "total_steps" in module.SETTINGS["default"]  # or a run in an environment without settings has no end
    assert {name: eval(default, {"inf": np.inf}) for name, (default, _) in settings.items()} == defaults
    assert all(len(meaning) > 5 for _, meaning in settings.values())
    status, out, err = run(script, "--help")
    assert (status, err) == (0, "")
    for name, (default, meaning) in settings.items():
        assert re.search(rf"^  {re.escape(f'{name}={default}')} +{re.escape(meaning)}$", out, re.MULTILINE)
    for env_id in module.SETTINGS.keys() - {"default"}:
        assert f"  for {env_id}: " in out


def test_infinity_can_be_typed(cli):
    assert cli.setting("max_grad_norm=inf") == ("max_grad_norm", np.inf)
    assert cli.setting("method=mc") == ("method", "mc")


@pytest.mark.parametrize(("script", "training"), [("a2c", 8), ("actor_critic", 1), ("a3c", 2)])  # a3c: in this process
def test_every_environment_is_wrapped(script, training, run, cli, monkeypatch):
    made = []

    def wrap(env):
        made.append(env.spec.id)
        return env

    monkeypatch.setitem(cli.WRAPPERS, "CartPole-v1", wrap)
    status, *_ = run(script, "--smoke")
    assert status == 0 and made == ["CartPole-v1"] * (training + 10)  # and 10 for the evaluation


def test_the_networks_are_saved_meanwhile(run_main, cli, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "SAVE_SECONDS", 0)
    path, there = tmp_path / "networks.npz", []

    def updates(policy, *, total_steps, gamma):
        for steps in (1, 2):
            there.append(path.exists())
            yield Progress(steps=steps, episodes=0, mean_return=np.nan)

    run_main(updates, "--save", path)
    assert there == [False, True]


def test_a_run_that_diverges_saves_what_was_finite(run_main, tmp_path):
    path = tmp_path / "networks.npz"

    def updates(policy, *, total_steps, gamma):
        policy.theta[:] = 7
        yield Progress(steps=1, episodes=0, mean_return=np.nan)
        raise FloatingPointError("the norm of the gradient is nan (after 1 steps)")

    status, out, err = run_main(updates, "--save", path)
    assert (status, err) == (1, "error: the norm of the gradient is nan (after 1 steps)\n")
    assert "evaluation" not in out and (load(path).policy.theta == 7).all()


def test_a_fault_in_the_code_is_no_wrong_use(run_main, tmp_path):
    """Its traceback is shown, from the first update on; what was learned before it is saved."""
    path = tmp_path / "networks.npz"

    def updates(policy, *, total_steps, gamma):
        policy.theta[:] = 7
        yield np.zeros(2) + np.zeros(3)

    with pytest.raises(ValueError, match="broadcast"):
        run_main(updates, "--save", path)
    assert (load(path).policy.theta == 7).all()


def test_a_full_disk_costs_the_file_and_nothing_else(run_main, cli, monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "save", fail)
    status, out, err = run_main(one_update, "--save", tmp_path / "networks.npz")
    assert status == 1 and re.fullmatch(EVALUATION, last_line(out))
    assert re.fullmatch(r"error: can't write .*networks\.npz: .*No space left on device\n", err)


def test_a_policy_saved_without_a_value_gets_a_new_one(run, tmp_path):
    path = tmp_path / "networks.npz"
    run("reinforce", "--smoke", "--env", "FrozenLake-v1", "--save", path)
    status, _, err = run("a2c", "--smoke", "--load", path, "--save", path)  # on the environment that the file names
    new = f"{path}: a new run begins with its networks, as its run is one with chapter='reinforce'\n"
    assert (status, err) == (0, new)
    assert load(path).env == "FrozenLake-v1" and load(path).value.sizes == (16, 64, 64)


def test_evaluation_of_small_returns_keeps_two_digits(run_main):
    _, out, _ = run_main(one_update, "--smoke", "--env", "FrozenLake-v1")
    assert re.fullmatch(r"evaluation: mean \d\.\d\d ± \d\.\d\d over 10 episodes \(sampled actions\)", last_line(out))


def test_greedy_evaluates_the_most_probable_actions(run, tmp_path):
    """A policy that knows where to push and is hardly surer than a coin."""
    theta = np.array([0, 0, 0, 0, 0, 0.01, 0, 0.01, 0, 0], np.float32)  # to the side it leans and falls to
    save(tmp_path / "x.npz", SoftmaxPolicy((4, 2), theta=theta), env="CartPole-v1")
    for options, actions, low, high in [([], "sampled", 10, 40), (["--greedy"], "greedy", 100, 500)]:
        _, out, _ = run("ppo", "--load", tmp_path / "x.npz", "--steps", 0, *options)
        mean = re.fullmatch(rf"evaluation: mean (.+) ± .+ over 100 episodes \({actions} actions\)", last_line(out))[1]
        assert low < float(mean) <= high


def test_every_chapter_has_its_script():
    assert set(CHAPTERS) == {module.name for module in pkgutil.iter_modules(algorithms.__path__)}


@pytest.fixture
def compare(cli):
    import compare

    return compare


CURVES = {  # rows of steps, seconds and return, of a run each
    "ppo": [[(0, 0, 20), (10, 1, 480), (20, 2, 470)], [(0, 0, 20), (12, 3, 300), (18, 3.5, 490), (24, 4, 500)]],
    "a2c n_envs=2": [[(0, 0, 20), (10, 1, 40), (20, 2, 474)]],
}
CURVES = {name: [np.array(rows, float) for rows in runs] for name, runs in CURVES.items()}


FINAL = "485 [470 … 500] 485 [470 … 500] 485 [470 … 500]", "474 474 474"


@pytest.mark.parametrize(
    ("goal", "ppo", "a2c"),
    [
        (475, "2 14 [10 … 18] 2.25 [1.00 … 3.50]", "0 never never"),
        (500, "1 never [24 … never] never [4.00 … never]", "0 never never"),
        (None, "- - -", "- - -"),
    ],
)
def test_compare_table(goal, ppo, a2c, compare, capsys):
    compare.table(CURVES, goal, "CartPole-v1")
    _, title, head, *rest = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert title.startswith("CartPole-v1: ") and head.startswith("chapter n solved steps seconds ")
    assert rest == [f"ppo 2 {ppo} {FINAL[0]}", f"a2c n_envs=2 1 {a2c} {FINAL[1]}"]


def test_compare_says_how_sure_a_mean_is(compare):
    """Of five runs, one of which failed: all 5^5 resamples, with no random number."""
    from intervals import iqm, mean

    x = [500.0, 500.0, 500.0, 480.0, 100.0]
    resamples = np.sort(np.array([*itertools.product(x, repeat=5)]).mean(axis=1))
    low, high = resamples[[78, -79]]  # 2.5 % of 3,125 is 78.1
    assert compare.spread(x, ".4g") == "500 [100 … 500]"
    assert compare.spread(x, ".4g", mean) == f"416 [{low:.4g} … {high:.4g}]" == "416 [256 … 500]"
    assert compare.spread(x, ".4g", iqm).startswith("493.3 [")


@pytest.mark.parametrize(
    ("env", "missing"), [("CartPole-v1", ["sac"]), ("Pendulum-v1", ["dqn", "rainbow"]), ("FrozenLake-v1", ["sac"])]
)
def test_compare_takes_all_chapters_that_fit(env, missing, compare, capsys):
    chosen, options = compare.variants([]), ["--env", env, "--smoke"]
    fit = compare.fitting(chosen, False, options)
    assert [variant for variant in chosen if variant not in fit] == [(name,) for name in missing]
    words = capsys.readouterr().out.splitlines()
    assert [line.split(" is left out: ")[0] for line in words] == missing
    assert all("action space" in line for line in words)
    with pytest.raises(ValueError, match="action space"):
        compare.fitting([("a2c",), (missing[0],)], True, options)


def test_compare_plot(compare, cli):
    pytest.importorskip("matplotlib")
    figure = cli.new_figure("curves.svg")
    compare.draw(figure, CURVES, 475, "")
    for column, axes in enumerate(figure.axes):
        goal, ppo, a2c = axes.lines
        assert [text.get_text() for text in axes.texts] == list(CURVES)
        assert [text.get_color() for text in axes.texts] == [ppo.get_color(), a2c.get_color()]
        assert set(goal.get_ydata()) == {475}
        x, y = ppo.get_data()
        np.testing.assert_allclose((x[0], x[-1]), [(12, 24), (3, 4)][column])
        first, second = (np.interp(x, rows[:, column], rows[:, 2]) for rows in CURVES["ppo"])
        np.testing.assert_allclose(y, (first + second) / 2)
        band = axes.collections[0].get_paths()[0].vertices
        assert np.isclose(band[:, 1].max(), 470 + 0.75 * 30)  # of 470 and 500, at the end
        assert set(a2c.get_ydata()[[-1]]) == {474}


@pytest.mark.parametrize(("begin", "end"), [(12_000, 24_000), (7_000, 85_000), (100, 1_000_000)])
def test_compare_labels_do_not_overlap(compare, cli, begin, end):
    pytest.importorskip("matplotlib")
    figure = cli.new_figure("curves.png")
    rows = np.array([(0, 0, 20), (begin, begin, 50), (end, end, 400)], float)
    compare.draw(figure, {"ppo": [rows]}, 475, "")
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [tick.label1 for tick in [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]]
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        spans = sorted((box.x0, box.x1) for box in boxes if axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1)
        assert len(spans) > 1 and all(end < begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_compare_words(compare):
    words = ["gamma=1.0", "ppo", "a2c", "n_envs=2", "n_steps=5", "a2c", "ppo"]
    assert compare.variants(words) == [
        ("ppo", "gamma=1.0"),
        ("a2c", "gamma=1.0", "n_envs=2", "n_steps=5"),
        ("a2c", "gamma=1.0"),
    ]
    assert {variant[0] for variant in compare.variants([])} | {*compare.WITH_EXPERT} | {"mpc"} == set(CHAPTERS)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("impala", "no such chapter: impala"),
        ("ppo gama=1", "no such setting: gama"),
        ("--seeds 0", "at least 1"),
        ("--plot {tmp}/missing/x.png", "missing/x.png: No such file or directory"),
        ("--cluster tcp://nowhere:1", "--cluster needs Dask: pip install distributed"),
    ],
)
def test_compare_refuses_wrong_use(args, message, run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, out, err = run("compare", *args.format(tmp=tmp_path).split())
    assert (status, out) == (2, "")
    err = err.removeprefix('--plot needs matplotlib: pip install "scratchpg[plot]"\n')
    assert re.fullmatch(r"error: .*\n", err) and message in err


def test_compare_takes_any_executor(run, monkeypatch):
    """Here one of threads, in the place of a cluster's."""
    asked = []

    class Client:
        def __init__(self, address):
            asked.append(address)

        def get_executor(self, **kwargs):
            return ThreadPoolExecutor(2)

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    status, out, err = run("compare", "ppo", "a2c", "--smoke", "--cluster", "tcp://here:8786")
    assert (status, err, asked) == (0, "", ["tcp://here:8786"])
    assert re.findall(r"^(\w+) +1 +0 +never +never", out, re.MULTILINE) == ["ppo", "a2c"]


@pytest.mark.parametrize("settings", [[], ["normalize_observations=True"]])  # of the copies, too
def test_compare_learns_what_the_script_learns(settings, compare, cli, run):
    """The last copy of a run is the policy that the chapter's script ends with."""
    evaluation = last_line(run("ppo", "--smoke", "--seed", 3, *settings)[1])
    rows, fault = compare.learn(("ppo", *settings), 3, ["--smoke"], 400)
    assert fault is None and (rows[0, :2] == 0).all() and (np.diff(rows[:, :2], axis=0) > 0).all()
    assert rows[-2, 0] < 1000 <= rows[-1, 0] and rows[0, 2] != rows[-1, 2]
    assert f"mean {rows[-1, 2]:.1f} " in evaluation


def test_compare_counts_a_run_that_diverges(compare, monkeypatch):
    def train(env, policy, value, *, total_steps, rng, **settings):
        yield Progress(steps=500, episodes=0, mean_return=np.nan)
        raise FloatingPointError("the norm of the gradient is nan (after 500 steps)")

    monkeypatch.setattr("scratchpg.algorithms.a2c.train", train)
    rows, fault = compare.learn(("a2c",), 0, ["--smoke"], 500)
    assert rows[:, 0].tolist() == [0, 500] and fault == "the norm of the gradient is nan (after 500 steps)"


def test_compare_reports_a_run_that_fails_and_goes_on(run, monkeypatch):
    def train(env, policy, value, **settings):
        raise RuntimeError("it broke")
        yield

    monkeypatch.setattr(algorithms.a2c, "train", train)
    status, out, err = run("compare", "a2c", "baseline", "--smoke")
    assert (status, err) == (1, "error: a2c, seed 0: it broke\n")
    assert re.search(r"^baseline +1 +0 ", out, re.MULTILINE) and not re.search(r"^a2c +", out, re.MULTILINE)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])  # a terminal sends it to all of them
def test_ctrl_c_ends_a_comparison(send):
    words = "ppo total_steps=400 actor_critic total_steps=100000000 a3c total_steps=100000000"
    with start(*words.split(), "--seeds", 1, "--workers", 2, script="compare", start_new_session=True) as process:
        first = process.stdout.readline()
        send(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert first.startswith("1/3  ppo total_steps=400, seed 0: ")
    assert (process.returncode, err) == (130, "interrupted: here is what was finished\n")
    assert re.fullmatch(r"\nCartPole-v1: .*\nchapter .*\nppo total_steps=400 +1 +0 .*\n", out)
    wait_until_none_is_left(process.pid)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])
@pytest.mark.parametrize(
    ("script", "args", "seen"),
    [
        ("reinforce", "--steps 1000000000 --save {tmp}/x.npz", "steps "),
        ("a3c", "--steps 1000000000 --save {tmp}/x.npz", "steps "),
        ("a2c", f"--steps 100 --env {CLIFF} --save {{tmp}}/x.npz", "evaluating: "),
        ("compare", "ppo total_steps=400 a3c total_steps=100000000 --seeds 1", "1/2  "),
    ],
)
def test_sigterm_ends_a_script_at_once_and_keeps_what_was_learned(script, args, seen, send, tmp_path):
    with start(*args.format(tmp=tmp_path).split(), script=script, start_new_session=True) as process:
        assert any(line.startswith(seen) for line in process.stdout)
        begin = time.monotonic()
        send(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143 and time.monotonic() - begin < 10  # a tenth of a second where nobody else computes
    wait_until_none_is_left(process.pid)
    if "--save" in args:
        assert np.any(load(tmp_path / "x.npz").policy.theta)


@pytest.mark.parametrize("error", [None, OSError, TypeError, AttributeError])
def test_memory_is_kept_where_it_is_possible(error, cli, monkeypatch):
    called = []

    def library(name):
        if error:
            raise error
        return SimpleNamespace(mallopt=lambda *setting: called.append(setting))

    monkeypatch.setattr(cli.ctypes, "CDLL", library)
    cli.keep_memory()
    assert called == ([] if error else [(-1, 1 << 28), (-3, 1 << 25)])


# Environments of one's own


MODULE = """
import gymnasium, numpy
from gymnasium.spaces import Box, Discrete

class Steady(gymnasium.Env):
    observation_space, action_space = Box(-1, 1, (2,)), Discrete(2)

    def __init__(self, length=3):
        self.length = length

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return numpy.zeros(2, numpy.float32), {}

    def step(self, action):
        self.t += 1
        return numpy.zeros(2, numpy.float32), 1.0, self.t == self.length, False, {}

gymnasium.register("Steady-v0", Steady, max_episode_steps=8)
gymnasium.register("Unlimited-v0", Steady)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    sys.modules.pop("mine", None)
    for env_id in "Steady-v0", "Unlimited-v0":
        gym.registry.pop(env_id, None)


@pytest.mark.parametrize(
    ("args", "mean"),
    [("", 3), ("--env-args length=5", 5), ("--env-args length=9", 8), ("--env-args length=9 max_episode_steps=2", 2)],
)
@pytest.mark.parametrize("script", ["reinforce", "a2c", "a3c"])
def test_an_environment_of_a_module_in_the_current_directory(script, args, mean, run, module):
    status, out, err = run(script, "--smoke", "--env", "mine:Steady-v0", *args.split())
    assert (status, err) == (0, "") and last_line(out).startswith(f"evaluation: mean {mean}.00 ± 0.00 ")


def test_watch_an_environment_that_takes_no_render_mode(run, module):
    status, out, err = run("watch", "--smoke", "--env", "mine:Steady-v0", "--env-args", "length=4")
    assert (status, out, err) == (0, "episode 1: return 4\n", "")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--env nowhere:Steady-v0", "No module named 'nowhere'"),
        ("--env mine:Other-v0", "`Other` doesn't exist"),
        ("--env mine:Steady-v0 --env-args size=3", "unexpected keyword argument 'size'"),
        ("--env-args length", "must be of the form NAME=VALUE, not 'length'"),
    ],
)
@pytest.mark.parametrize("script", ["a2c", "watch"])
def test_an_environment_that_can_not_be_made(script, args, message, run, module):
    status, out, err = run(script, "--smoke", *args.split())
    assert (status, out) == (2, "") and re.fullmatch(r"error: .*\n", err) and message in err


@pytest.mark.parametrize("script", ["reinforce", "a2c", "a3c", "watch"])
def test_an_environment_without_a_time_limit_gets_one(script, run, module, cli, monkeypatch):
    monkeypatch.setattr(cli, "LONG", 6)
    status, out, err = run(script, "--smoke", "--env", "mine:Unlimited-v0", "--env-args", "length=1000000000")
    assert status == 0 and re.search(r"(mean 6\.00 ± 0|return 6\n)", out.splitlines(keepends=True)[-1])
    assert (
        err == "mine:Unlimited-v0 has no time limit: episodes end after 6 steps (or --env-args max_episode_steps=N)\n"
    )
    options = "length=1000000000", "max_episode_steps=4"
    status, out, err = run(script, "--smoke", "--env", "mine:Unlimited-v0", "--env-args", *options)
    assert (status, err) == (0, "") and re.search(r"(mean 4\.00 ± 0|return 4\n)", out.splitlines(keepends=True)[-1])


def test_log(run_main, run, tmp_path):
    """A line per update, below the names that the updates have. A new run begins anew."""

    def updates(policy, *, total_steps, gamma):
        for steps in 400, 800, 1000:
            yield Progress(steps=steps, episodes=steps // 100, mean_return=steps / 8, entropy=gamma)

    path = tmp_path / "log.csv"
    assert run_main(updates, "--smoke", "--log", path)[0] == 0
    assert path.read_text() == (
        "steps,episodes,mean_return,entropy\n400,4,50.0,1.0\n800,8,100.0,1.0\n1000,10,125.0,1.0\n"
    )
    assert run("ppo", "--smoke", "--log", path)[0] == 0
    names, *rows = path.read_text().splitlines()
    assert names.startswith("steps,episodes,mean_return,") and 1 < len(rows) < 9
    assert all(len(row.split(",")) == len(names.split(",")) for row in rows)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "cartpole.npz"
    save(path, SoftmaxPolicy((4, 8, 2), rng=0), env="CartPole-v1")
    return path


def test_watch_renders_a_gif_with_every_step(run, saved, tmp_path):
    pytest.importorskip("pygame")
    image = pytest.importorskip("PIL.Image")
    status, out, _ = run("watch", saved, "--episodes", 2, "--out", tmp_path / "play.gif")
    assert status == 0
    returns = [int(n) for n in re.findall(r"^episode \d: return (\d+)$", out, re.MULTILINE)]
    with image.open(tmp_path / "play.gif") as gif:
        assert gif.size == (600, 400)
        milliseconds = 0
        for n in range(gif.n_frames):  # frames that don't differ are one that lasts longer
            gif.seek(n)
            milliseconds += gif.info["duration"]
    assert len(returns) == 2 and milliseconds == 20 * (1 + sum(returns))


def test_watch_interrupted_as_it_renders_leaves_the_old_file(run, saved, tmp_path, monkeypatch):
    pytest.importorskip("pygame")
    pytest.importorskip("PIL.Image")
    gif = tmp_path / "play.gif"
    gif.write_text("the one before")

    def interrupted(self, n_steps):
        raise KeyboardInterrupt

    monkeypatch.setattr(Collector, "collect", interrupted)
    status, *_ = run("watch", saved, "--out", gif)
    assert status == 130 and gif.read_text() == "the one before"
    assert sorted(os.listdir(tmp_path)) == [saved.name, gif.name]


def test_watch_renders_on_the_screen(run, saved, screen):
    status, out, _ = run("watch", saved, "--episodes", 1)
    assert status == 0 and re.fullmatch(r"episode 1: return \d+\n", out)


def test_watch_ends_when_its_window_is_closed(run, saved, screen, monkeypatch):
    collect, steps = Collector.collect, []

    def closing(self, n_steps):
        steps.append(1)
        if len(steps) == 3:
            screen.event.post(screen.event.Event(screen.QUIT))
        return collect(self, n_steps)

    monkeypatch.setattr(Collector, "collect", closing)
    assert run("watch", saved) == (0, "", "") and len(steps) == 3


def test_watch_repeats_a_seed_and_can_be_greedy(run, saved):
    args = [[], [], ["--seed", 1], ["--greedy"]]
    first, again, other, greedy = (run("watch", saved, "--smoke", *more)[1] for more in args)
    assert first == again and len({first, other, greedy}) == 3


def test_watch_wraps_the_environment(run, saved, cli, monkeypatch):
    monkeypatch.setitem(cli.WRAPPERS, "CartPole-v1", lambda env: pytest.fail("wrapped"))
    with pytest.raises(pytest.fail.Exception, match="wrapped"):
        run("watch", saved, "--smoke")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--out {tmp}/x.avi", "must be .gif or .mp4"),
        ("--out {tmp}/missing/x.gif", "missing/x.gif: No such file or directory"),
        ("{tmp}/missing.npz", "missing.npz"),
        ("{tmp}/cartpole.npz --env Acrobot-v1 --smoke", "4 inputs and 2 outputs"),
        ("--out {tmp}/x.gif", 'a .gif needs Pillow: pip install "scratchpg[plot]"'),
        ("--out {tmp}/x.mp4", 'an .mp4 needs imageio: pip install "imageio[ffmpeg]"'),
        ("", 'pip install "gymnasium[classic-control]"'),
    ],
)
def test_watch_refuses_wrong_use(args, message, run, saved, tmp_path, monkeypatch):
    for missing in ("PIL", "imageio_ffmpeg", "pygame"):
        monkeypatch.setitem(sys.modules, missing, None)
    status, out, err = run("watch", *args.format(tmp=tmp_path).split())
    assert (status, out) == (2, "") and re.fullmatch(r"error: .*\n", err) and message in err
    assert os.listdir(tmp_path) == [saved.name]
