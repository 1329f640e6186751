"""The command line of the chapters' scripts, and what the studies share.

A chapter's script gives `main` a function `learn`, which does the training, and a table of settings. All else is here:
options, live progress, saving, drawing, watching and the evaluation.
"""

import argparse
import ast
import copy
import csv
import ctypes
import functools
import importlib
import inspect
import io
import itertools
import math
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
import resume
from gymnasium.wrappers.vector import NormalizeObservation, TransformReward

from scratchpg import Progress, evaluate, load, save
from scratchpg.plumbing import Updates, check
from scratchpg.plumbing.spaces import LONG

if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")  # a pipe that can't show γ (on Windows) must not stop the run

DEFAULT_ENV = "CartPole-v1"
EPISODES, SMOKE_EPISODES, SHOWN_EPISODES = 100, 10, 2
SMOKE_STEPS = 1_000
REWRITE_SECONDS = 0.1  # between two states of the line on a terminal
LINE_SECONDS = 5.0  # between two lines when piped; each tenth of the steps prints one, too
SAVE_SECONDS = 10.0
KEEP_SECONDS = 1.0  # between two notes of where the run stands, to which --load may have to go back
DONE, FAILED, WRONG_USE, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143  # exit statuses
WRONG = TypeError, ValueError, OSError, ImportError, gym.error.Error  # what the wrong use of a script raises
NOTHING = SimpleNamespace(policy=None, value=None, env=None, env_args={}, state={})  # what is loaded without --load

Learn = Callable[..., None]
Train = Callable[..., Updates]
Settings = dict[str, dict[str, Any]]
OF_LEARN = {  # settings of `learn` itself, in scripts that have them among their defaults
    "n_envs": "environments side by side; None is a single one, no vector",
    "hidden": "the widths of the hidden layers of each network",
    "log_std": "where log σ of a Gaussian policy starts",
    "normalize_observations": "train under Gymnasium's NormalizeObservation; it is folded into what is saved",
    "reward_scale": "what rewards are multiplied by while training",
}


def main(learn: Learn, train: Train, settings: Settings, doc: str | None) -> NoReturn:
    """Train, save, draw, show and evaluate as the command line asks, then exit with the status.

    learn: `learn(run, **settings)` makes the networks, trains them and lets the run show each progress.
    train: the chapter's function. Its signature says which settings there are, and what they mean.
    settings: {"default": {…}, environment id: {…}, …}, an environment's over the default, "--smoke" over both.
    """
    parser = command_line(train, settings, doc)
    args = parser.parse_intermixed_args()
    run = None
    hear_sigterm()
    try:
        keep_memory()
        run = Run(train, settings, args)
        sys.exit(run.carry_out(learn))
    except Terminated:
        sys.exit(TERMINATED)
    except KeyboardInterrupt:  # before the training, or the second one
        sys.exit(INTERRUPTED)
    except WRONG as fault:
        if run and run.loop:  # not wrong use but a bug: show the traceback
            raise
        parser.error(" ".join(str(fault).split()))


def keep_memory() -> None:
    """From now on glibc keeps freed memory for the next arrays, instead of asking the system for it each time.

    The gain depends on the machine: PPO 64 x 128 of throughput.py is 1.0 to 1.1 times as fast by it, on two of them.
    """
    with suppress(AttributeError, OSError, TypeError):  # other systems have no such function
        ctypes.CDLL(None).mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD of malloc.h
        ctypes.CDLL(None).mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD


class Terminated(KeyboardInterrupt):
    """SIGTERM came: as after Ctrl-C, but without an evaluation."""


def hear_sigterm() -> None:
    """From now on SIGTERM raises `Terminated`, so that files are saved and processes are stopped."""

    def terminate(*_: Any) -> NoReturn:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)


def leave_signals_to_the_parent() -> None:
    """For a process that a script starts: it ignores Ctrl-C, and SIGTERM ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Parser(argparse.ArgumentParser):
    """Answers wrong use with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        error(f"error: {message}")
        sys.exit(WRONG_USE)


def error(message: str) -> None:
    """One line on stderr."""
    print(message, file=sys.stderr, flush=True)


def settings_of(train: Train, settings: Settings) -> dict[str, tuple[str, str]]:
    """{name: (default, meaning)} of all settings. Those of `train` are read from its source, a line each."""
    signature, default = inspect.getsource(train).partition(") -> ")[0], settings["default"]
    found = re.findall(r"^ +(\w+): .+? = (.+),  # (.+)$", signature, re.MULTILINE)  # name, default, meaning
    found += [(name, "", meaning) for name, meaning in OF_LEARN.items() if name in default]
    values = {name: repr(default[name]) if name in default else value for name, value, _ in found}
    return {name: (values[name], meaning) for name, _, meaning in found if name not in ("seed", "rng")}


HELP = """

The last line tells the mean return ± the standard deviation over the episodes, in fresh environments.
Ctrl-C keeps what was learned: it still saves, draws and evaluates. A second one quits at once. SIGTERM only saves.

--load goes on, bit for bit, where the run stopped that is saved in FILE, with its seed, environment and settings. Only
--steps may be another number; schedules then go by it. If anything else is asked for, or that run is complete, or of
another chapter or of one that can't go on (all but reinforce, baseline, actor_critic, a2c and ppo), a new run begins
with the networks of FILE, and a line says why.
"""


def command_line(train: Train, settings: Settings, doc: str | None) -> Parser:
    """The options that every chapter's script has."""
    known = {f"{name}={value}": meaning for name, (value, meaning) in settings_of(train, settings).items()}
    width = max(map(len, known))
    lines = [f"  {text:<{width}}  {meaning}" for text, meaning in known.items()]
    for env_id, own in settings.items():
        if env_id != "default":
            lines.append(f"  for {env_id}: {', '.join(f'{name}={value!r}' for name, value in own.items())}")
    parser = Parser(
        description=doc,
        epilog="settings:\n" + "\n".join(lines) + HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("settings", metavar="NAME=VALUE", nargs="*", type=setting, help="settings to change, such as gamma=0.9")
    add_environment(parser, f"that of the --load file, or {first_env(settings)}")
    add("--steps", metavar="N", type=natural, help="environment steps to train for (default: see the settings)")
    add("--seed", metavar="S", type=natural, help="of all random numbers (default: 0)")
    add("--save", metavar="FILE", help=f"save networks and run, every {SAVE_SECONDS:.0f} s and at the end")
    add("--load", metavar="FILE", help="go on with what is saved there (see below); with --steps 0, only evaluate it")
    add("--log", metavar="FILE", help="write steps, episodes, mean return and diagnostics as CSV, a line per update")
    add("--plot", metavar="FILE", help="draw return against steps: .png, .svg, .pdf, … (needs matplotlib)")
    add("--render", action="store_true", help=f"show {SHOWN_EPISODES} episodes after the training (needs pygame)")
    add("--greedy", action="store_true", help="evaluate with the most probable actions instead of drawn ones")
    add("--smoke", action="store_true", help=f"the whole path in short: {SMOKE_STEPS} steps, {SMOKE_EPISODES} episodes")
    return parser


def first_env(settings: Settings) -> str:
    """The environment that a script takes without --env: the first that has settings of its own."""
    return next((env_id for env_id in settings if env_id not in ("default", "--smoke")), DEFAULT_ENV)


def add_environment(parser: Parser, default: str) -> None:
    """--env and --env-args."""
    text = f"Gymnasium environment; module:ID if a module, here or installed, registers it (default: {default})"
    parser.add_argument("--env", metavar="ID", help=text)
    text = "arguments of the environment, such as is_slippery=False, or max_episode_steps=500"
    parser.add_argument("--env-args", metavar="NAME=VALUE", nargs="+", type=setting, default=[], help=text)


MEANT = {"true": "True", "yes": "True", "on": "True", "false": "False", "no": "False", "off": "False"}
MEANT |= {"none": "None", "null": "None"}


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, where the value is Python's notation of a number, a tuple, …, or else a word, for argparse."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"must be of the form NAME=VALUE, not {text!r}")
    meant = MEANT.get(value.strip().lower(), value)
    if meant != value:  # a word, which would count as true
        raise argparse.ArgumentTypeError(f"must be {name}={meant}, not {text!r}: Python's True, False or None")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, math.inf if value == "inf" else value


def natural(text: str) -> int:
    """An integer of at least 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, not {text!r}")
    return int(text)


# The observations of MountainCar-v0 differ in size by a factor of 17. A saved policy names its environment and no
# wrapper, so wrappers go by the environment, whatever the chapter: to train, to evaluate, to compare and to watch.
WRAPPERS = {"MountainCar-v0": lambda env: gym.wrappers.RescaleObservation(env, np.float32(-1), np.float32(1))}


def make_env(env_id: str, n_envs: int | None = None, **kwargs: Any) -> Any:
    """The environment, or a vector of n of them, with its wrapper if it has one."""
    check.optional(check.count, n_envs=n_envs)
    wrap = WRAPPERS.get(env_id)
    if n_envs is None:
        env = gym.make(env_id, **kwargs)
        return wrap(env) if wrap else env
    if wrap:
        kwargs |= {"vectorization_mode": "sync", "wrappers": [wrap]}
    return gym.make_vec(env_id, n_envs, **kwargs)


def chosen(args: argparse.Namespace, loaded: Any, default: str) -> tuple[str, dict[str, Any]]:
    """The environment's id and its arguments: those of the command line, else of the file that was loaded."""
    env_id = args.env or loaded.env or default
    return env_id, dict(args.env_args) or (loaded.env_args if env_id == loaded.env else {})


def arguments(env_id: str, given: dict[str, Any]) -> dict[str, Any]:
    """What `make_env` takes: the arguments of the environment and, where it has none, a limit of steps."""
    module, _, name = env_id.rpartition(":")
    if module:
        sys.path.append(os.getcwd())  # a script's path begins where it lies, not where it was called
        importlib.import_module(module)
    spec = gym.registry.get(name)
    if spec is None or spec.max_episode_steps or "max_episode_steps" in given:
        return given
    error(f"{env_id} has no time limit: episodes end after {LONG:,} steps (or --env-args max_episode_steps=N)")
    return {"max_episode_steps": LONG, **given}


class Run:
    """One run of a chapter, as the command line asks for it."""

    def __init__(self, train: Train, settings: Settings, args: argparse.Namespace) -> None:
        """Wrong use is refused here, or when `learn` calls `train`: before any training."""
        self.args = args
        self.figure = new_figure(args.plot) if args.plot else None
        for path in args.save, args.plot, args.log:
            check_writable(path)
        options = {"--save": args.save, "--plot": args.plot, "--log": args.log}
        for (one, path), (other, same) in itertools.combinations(options.items(), 2):
            if path and same and os.path.realpath(path) == os.path.realpath(same):
                raise ValueError(f"{one} and {other} must be two files, not both {path}")
        given, known = dict(args.settings), settings_of(train, settings)
        if unknown := given.keys() - known:
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        if args.load is not None and "hidden" in given:
            raise ValueError("hidden must be left out with --load: the networks are as they were saved")
        if args.steps is not None or args.smoke:
            given["total_steps"] = SMOKE_STEPS if args.steps is None else args.steps
        self.loaded = NOTHING if args.load is None else load(args.load)  # networks by their names, and more
        self.env_id, env_args = chosen(args, self.loaded, first_env(settings))
        if args.smoke:
            settings = settings | {self.env_id: settings.get(self.env_id, {}) | settings.get("--smoke", {})}
        self.make_env = functools.partial(make_env, self.env_id, **arguments(self.env_id, env_args))
        chapter = train.__module__.rpartition(".")[2]
        asked = {"chapter": chapter, "env": self.env_id, "env_args": env_args, **given}
        asked |= {} if args.seed is None else {"seed": args.seed}
        before, self.anew = resume.run_that_goes_on(self.loaded.state, asked)  # anew: why it does not, or None
        seed = args.seed or before.get("seed", 0)
        before_settings = {name: x for name, x in before.items() if name in known}
        self.settings = settings["default"] | settings.get(self.env_id, {}) | before_settings | given
        log_std = check.numbers("log_std", self.settings.get("log_std", 0.0))
        check.finite("log_std", log_std)
        defaults = {name: setting(f"{name}={value}")[1] for name, (value, _) in known.items()}
        self.about = {"chapter": chapter, "env": self.env_id, "env_args": env_args, "seed": seed}
        self.about |= defaults | self.settings  # all that a later --load compares
        self.rng = np.random.default_rng(seed)
        self.evaluation_seed = int(self.rng.spawn(1)[0].integers(2**31))  # not the random stream of the training
        if before:
            self.rng.bit_generator.state = self.loaded.state["collector.origin"]  # as after the networks were drawn
        self.title = f"{chapter} on {self.env_id}, seed {seed}"
        self.state = self.loaded.state  # where the run stands between two updates, for --save
        self.normalizer: Any = None  # the wrapper that normalises observations in training
        self.reward_scale = 1.0
        self.loop: Updates | None = None  # what `train` returned; not None once training has begun
        self.curve: list[tuple[int, float]] = []  # (steps, mean return)
        self.unwritten: set[str] = set()  # files that could not be written
        self.log_file: Any = None  # of --log, from the first line on
        going_on = args.log and not self.anew
        self.log_lines = lines_up_to(self.loaded.state["collector.steps"], args.log) if going_on else []

    def scaled(self, env: Any, normalize_observations: bool, reward_scale: float) -> Any:
        """The environment to train in, under Gymnasium's wrappers."""
        check.flag(normalize_observations=normalize_observations)
        check.positive(reward_scale=reward_scale)
        if normalize_observations and (self.loaded.policy is None or not self.anew):  # a loaded policy holds its own
            env = self.normalizer = NormalizeObservation(env)
        self.reward_scale = reward_scale
        return env if reward_scale == 1 else TransformReward(env, lambda rewards: reward_scale * rewards)

    def trained(self) -> dict[str, Any]:
        """The networks, by name, for raw observations: the normalisation is folded in."""
        if self.normalizer is None:
            return self.networks
        networks = copy.deepcopy({name: x for name, x in self.networks.items() if x is not None})
        rms = self.normalizer.obs_rms
        for network in networks.values():
            network.net.absorb(rms.mean, np.sqrt(rms.var + self.normalizer.epsilon))
        return networks

    def updates(self, loop: Updates, policy: Any, value: Any = None, **networks: Any) -> Iterable[Progress]:
        """The updates of a chapter's `train`, for these networks; none with --steps 0."""
        value = value or self.loaded.value  # a loaded one that this chapter does not use is saved, too
        self.networks = {"policy": policy, "value": value, **networks}
        total_steps, steps = self.settings["total_steps"], 0
        if total_steps and not self.anew:
            steps = self.loaded.state["collector.steps"]
            error(f"{self.args.load}: going on at step {steps:,} of {total_steps:,}")
            self.go_on(loop)
        elif total_steps:
            if self.args.load:
                error(f"{self.args.load}: a new run begins with its networks, as {self.anew}")
            if self.args.save:
                resume.record(loop)
        self.loop, self.bar, self.saved = loop, ProgressBar(total_steps, steps), time.perf_counter()
        self.keep()
        return loop if total_steps else ()

    def go_on(self, loop: Updates) -> None:
        """Bring a new run to the point where the loaded one was saved."""
        try:
            resume.go_on(loop, {name: x for name, x in self.loaded.state.items() if name != "run"})
        except ValueError as fault:
            raise ValueError(f"{fault}; with another --seed, a new run begins with its networks") from None
        finally:
            loop.begun = True  # so that it does not warn that it was forgotten

    def keep(self) -> None:
        """Note the state of the run between two updates: in the middle of one it can't be resumed."""
        if self.args.save and self.settings["total_steps"]:
            state, self.kept = resume.state(self.loop), time.perf_counter()
            self.state = state and state | {"run": self.about}

    def show(self, progress: Progress) -> None:
        """Show progress, add to the curve, save now and then."""
        now = time.perf_counter()
        progress.mean_return /= self.reward_scale
        self.bar.update(progress, now)
        if self.args.log and self.args.log not in self.unwritten:
            self.write(self.args.log, lambda path: self.log(path, progress))
        if not self.curve or progress.steps >= self.curve[-1][0] + self.bar.total_steps / 1000:
            self.curve.append((progress.steps, progress.mean_return))
        if self.args.save and now >= self.kept + KEEP_SECONDS:
            self.keep()
        if now >= self.saved + SAVE_SECONDS:
            self.save()
            self.saved = now

    def log(self, path: str, progress: Progress) -> None:
        """A line of --log; before the first one, the names. A run that goes on adds to its lines."""
        if self.log_file is None:
            lines, names = self.log_lines, ",".join(vars(progress))
            if lines and lines[0].strip() != names:
                raise OSError(f"its columns are {lines[0].strip()}, not {names}")
            mode = "r+" if lines else "w"  # what is kept of a file is not written anew
            self.log_file = open(path, mode, newline="", encoding="utf-8", buffering=1)  # noqa: SIM115 - line by line
            self.log_file.truncate(self.log_file.seek(len("".join(lines).encode())))
            if not lines:
                self.log_file.write(names + "\n")
            elif not lines[-1].endswith("\n"):
                self.log_file.write("\n")
        csv.writer(self.log_file, lineterminator="\n").writerow(vars(progress).values())

    def carry_out(self, learn: Learn) -> int:
        """Train, then save, draw, show and evaluate; returns the exit status."""
        status = DONE
        try:
            try:
                learn(self, **self.settings)
                self.keep()
            finally:
                if self.loop:
                    self.loop.close()
                    self.bar.close()
                    self.save()
                    if self.log_file:
                        self.log_file.close()
        except KeyboardInterrupt as end:
            if not self.loop:
                raise
            if isinstance(end, Terminated):
                self.save()  # once more: it may be the saving that was interrupted
                raise
            error("interrupted: finishing with what was learned (Ctrl-C again quits at once)")
            status = INTERRUPTED
            self.save()  # once more: it may be the saving that was interrupted
        except FloatingPointError as fault:
            error(f"error: {fault}")
            status = FAILED
        self.draw()
        if self.args.render and status == DONE:
            status = self.play()
        if status != FAILED:
            print(self.evaluation(), flush=True)
        return status or (FAILED if self.unwritten else DONE)

    def save(self) -> None:
        """The file of --save."""
        if self.args.save:
            about = {"env": self.env_id, "env_args": self.about["env_args"], "state": self.state}
            self.write(self.args.save, lambda path: save(path, **self.trained(), **about))

    def draw(self) -> None:
        """The picture of --plot."""
        if self.figure:
            axes = self.figure.add_subplot(xlabel="environment steps", ylabel="return, mean of the last 100 episodes")
            axes.plot([steps for steps, _ in self.curve], [mean_return for _, mean_return in self.curve])
            axes.set_title(self.title)
            self.write(self.args.plot, self.figure.savefig)

    def write(self, path: str, how: Callable[[str], None]) -> None:
        """Write a file. If that fails (the disk is full, say), the run goes on and ends with a status that says so."""
        try:
            how(path)
            self.unwritten.discard(path)
        except OSError as fault:
            error(f"error: can't write {path}: {fault}")
            self.unwritten.add(path)

    def play(self) -> int:
        """Play before the user's eyes; returns the exit status."""
        try:
            with closing(self.make_env(render_mode="human")) as env:
                evaluate(self.trained()["policy"], env, episodes=SHOWN_EPISODES, seed=self.evaluation_seed)
        except KeyboardInterrupt:
            return INTERRUPTED
        except (ImportError, RuntimeError, gym.error.Error) as fault:  # no pygame, or no display
            error(f"--render: {fault}")
        return DONE

    def evaluation(self) -> str:
        """The closing line: mean ± standard deviation over episodes in fresh environments."""
        episodes = SMOKE_EPISODES if self.args.smoke else EPISODES
        show = evaluating(episodes)
        show(0)
        with closing(self.make_env(min(episodes, 25))) as env:
            settings = {"episodes": episodes, "greedy": self.args.greedy, "seed": self.evaluation_seed}
            returns = evaluate(self.trained()["policy"], env, **settings, report=show)
        mean, std = returns.mean(), returns.std()
        digits, actions = 1 if abs(mean) >= 10 else 2, "greedy" if self.args.greedy else "sampled"
        return f"evaluation: mean {mean:.{digits}f} ± {std:.{digits}f} over {episodes} episodes ({actions} actions)"


class ProgressBar:
    """Progress: on a terminal one line, rewritten in place; otherwise a line now and then."""

    def __init__(self, total_steps: int, steps: int = 0) -> None:
        self.total_steps, self.first_steps = total_steps, steps
        self.terminal = sys.stdout.isatty()
        self.start = time.perf_counter()
        self.due_time, self.due_steps = 0.0, 0.0
        self.unseen: Progress | None = None  # the latest, unless it has been shown

    def update(self, progress: Progress, now: float) -> None:
        """Show this progress if it is time to. There may be 20,000 updates a second, so most calls must be cheap."""
        self.unseen = progress
        if now >= self.due_time or progress.steps >= self.due_steps:
            self.show(progress, now)

    def show(self, progress: Progress, now: float) -> None:
        steps, total = progress.steps, self.total_steps
        rate = max(steps - self.first_steps, 1) / (now - self.start)
        left = timedelta(seconds=min(round(max(total - steps, 0) / rate), 10**9))  # a timedelta can't be larger
        mean_return = "-" if math.isnan(progress.mean_return) else f"{progress.mean_return:.1f}"
        line = (
            f"steps {steps:>{len(f'{total:,}')},} / {total:,}  episodes {progress.episodes:>6,}"
            f"  mean return {mean_return:>7}  {rate:>7,.0f} steps/s  {left} left"
        )
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1  # a full line would wrap, and could not be rewritten
            print(f"\r{line[:width]:<{width}}", end="", flush=True)
            self.due_time, self.due_steps = now + REWRITE_SECONDS, math.inf
        else:
            print(line, flush=True)
            self.due_time, self.due_steps = now + LINE_SECONDS, (10 * steps // total + 1) * total / 10
        self.unseen = None

    def close(self) -> None:
        """Show the last progress, and end the line."""
        if self.unseen:
            self.show(self.unseen, time.perf_counter())
        if self.terminal and self.due_steps:  # something stands there
            print()


def lines_up_to(steps: int, path: str) -> list[str]:
    """The lines of a file of --log up to so many steps, if there is one: those after it are written again.

    A last line that was cut is of a later step. ValueError for any other line that such a file does not have.
    """
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    begin, kept = "steps,episodes,mean_return", []
    for number, line in enumerate(lines, 1):
        cells, cut = line.strip().split(","), number == len(lines) and not line.endswith("\n")
        if number == 1 and (line.startswith(begin) or (cut and begin.startswith(line))):
            kept += [] if cut else [line]
        elif number > 1 and is_row(cells, lines[0].count(",") + 1):
            kept += [line] if int(cells[0]) <= steps and len(kept) == number - 1 else []
        elif number == 1 or not cut or not re.fullmatch(r"[-+.,\deafin]*", line):
            raise ValueError(f"{path} is no --log to go on with, as its line {number} is {line.strip()!r}")
    return kept


def is_row(cells: list[str], columns: int) -> bool:
    """Are these an integer and numbers, one for each column?"""
    with suppress(ValueError):
        return int(cells[0]) >= 0 and len([float(cell) for cell in cells]) == columns
    return False


def evaluating(episodes: int) -> Callable[[int], None]:
    """A function that shows how many episodes of the evaluation are done, as a ProgressBar shows steps."""
    terminal, due = sys.stdout.isatty(), 0.0

    def show(done: int) -> None:
        nonlocal due
        now = time.perf_counter()
        if now >= due or (terminal and done == episodes):
            begin, end = ("\r" if terminal else ""), ("" if terminal and done < episodes else "\n")
            print(f"{begin}evaluating: {done:>3} / {episodes} episodes", end=end, flush=True)
            due = now + (REWRITE_SECONDS if terminal else LINE_SECONDS)

    return show


def check_writable(path: str | None) -> None:
    """Raise OSError unless a file can be made in the place of this path, or stands there and can be replaced."""
    if path is None:  # the option was not given
        return
    if not path or path.endswith("/") or (os.path.lexists(path) and not os.path.isfile(path)):
        raise OSError(f"can't write {path!r}: it must name a file, not a directory or a device")
    beside = f"{path}.{os.getpid()}.tmp"  # as long as the names that saving needs
    try:
        open(beside, "xb").close()
        os.unlink(beside)
    except OSError as fault:
        raise OSError(f"can't write {path}: {fault.strerror}") from fault


def end_quietly(kind: type[BaseException], *fault: Any) -> None:
    """On Ctrl-C, or when whoever reads the output has seen enough (`head`, say), a study just ends."""
    if kind is BrokenPipeError:
        sys.stdout = None  # what is left in it can't be written
    elif kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, *fault)


def study(description: str | None, **options: dict[str, Any]) -> argparse.Namespace:
    """The arguments of a study: --seed, --smoke, --plot FILE, and further options with what `add_argument` takes for
    them. `figure` is what to draw on: an empty one, or None without --plot or without matplotlib."""
    sys.excepthook = end_quietly
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    for name, option in options.items():
        add(f"--{name}", **option)
    add("--seed", metavar="S", type=natural, default=0, help="of all random numbers (default: %(default)s)")
    add("--plot", metavar="FILE", help="write the figure to FILE: .png, .svg, .pdf, … (needs matplotlib)")
    add("--smoke", action="store_true", help="the whole path in a second or two")
    args = parser.parse_args()
    try:
        check_writable(args.plot)
        args.figure = None if args.plot is None else new_figure(args.plot)
    except (OSError, ValueError) as fault:
        parser.error(str(fault))
    return args


def table(title: str, columns: dict[str, str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows below their headings. columns: {heading: format of its numbers}, empty for text; nan is a dash."""
    forms, lines = list(columns.values()), [list(columns)]
    for row in rows:
        lines.append(["-" if x != x else f"{x:{form}}" for x, form in zip(row, forms, strict=True)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for line in lines:
        cells = zip(line, widths, forms, strict=True)
        print("  ".join(cell.rjust(width) if form else cell.ljust(width) for cell, width, form in cells), flush=True)


def figure(args: argparse.Namespace, draw: Callable[..., None], *data: Any, panels: int = 2, **layout: Any) -> None:
    """What --plot asks of a study: have draw(panels, *data) fill so many of them, side by side, and write the file."""
    if args.figure:
        args.figure.set_size_inches(10, 4)
        draw(args.figure.subplots(1, panels, **layout), *data)
        for axes in args.figure.axes:
            axes.grid(alpha=0.3)
        args.figure.savefig(args.plot, dpi=120)


def new_figure(path: str) -> Any:
    """An empty picture of its own, apart from pyplot's global state; None, and a hint, without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        error('--plot needs matplotlib: pip install "scratchpg[plot]"')
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    endings = sorted(figure.canvas.get_supported_filetypes())
    if Path(path).suffix[1:].lower() not in endings:
        raise ValueError(f"can't draw {path}: its ending must be one of {', '.join(endings)}")
    return figure
