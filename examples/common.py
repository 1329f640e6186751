"""What the chapters' scripts share: command line, live progress, saving, drawing, watching and the evaluation.

A script holds its settings as data and hands them to `main` together with its chapter's `train`. It imports this
module before anything that imports NumPy.
"""

import argparse
import ast
import functools
import inspect
import io
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

# Threads gain nothing on matrices this small and make the times erratic. NumPy reads these when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")  # a pipe that knows no γ, as on Windows, is no reason to die

import gymnasium as gym
import numpy as np

from scratchpg import Progress, SoftmaxPolicy, Value, evaluate, load, save
from scratchpg.spaces import check_fit, make

DEFAULT_ENV = "CartPole-v1"
EPISODES, SMOKE_EPISODES, SHOWN_EPISODES = 100, 10, 2
SMOKE_STEPS = 1_000
REWRITE_SECONDS = 0.1  # between two states of the line on a terminal
LINE_SECONDS = 5.0  # between two lines when piped; each tenth of the steps prints one, too
SAVE_SECONDS = 10.0
DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130  # exit statuses

Train = Callable[..., Generator[Progress, None, None]]
Settings = dict[str, dict[str, Any]]


def main(train: Train, settings: Settings, description: str | None, argv: Sequence[str] | None = None) -> NoReturn:
    """Train, save, draw, show and evaluate as the command line asks, then exit with the status.

    train: a chapter's, of the form train(env, policy, …), train(env, policy, value, …) or train(make_env, policy,
        value, …); it gets what it has a name for.
    settings: {"default": {…}, environment id: {…}, …}, an environment's own over the default ones. `hidden` are the
        widths of the networks' hidden layers and `n_envs` is the size of the vector environment (without it, a single
        one); all the rest, `total_steps` among them, are arguments of `train`.
    """
    parser = command_line(train, settings, description)
    args = parser.parse_intermixed_args(argv)
    try:
        try:
            job = Job(train, settings, args)
        except (TypeError, ValueError, OSError, ImportError, gym.error.Error) as error:
            parser.error(" ".join(str(error).split()))
        sys.exit(job.run())
    except KeyboardInterrupt:  # before the training, or the second one
        sys.exit(INTERRUPTED)
    except FloatingPointError as error:
        complain(f"error: {error}")
        sys.exit(FAILED)


class Parser(argparse.ArgumentParser):
    """Answers wrong use with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        complain(f"error: {message}")
        sys.exit(WRONG_USE)


def settings_of(train: Train) -> list[str]:
    """The names of all that may be set on the command line."""
    parameters = inspect.signature(train).parameters
    names = {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY} - {"seed", "rng"}
    return sorted(names | ({"hidden"} if "make_env" in parameters else {"hidden", "n_envs"}))


def command_line(train: Train, settings: Settings, description: str | None) -> Parser:
    """The options that every chapter's script has."""
    width = max(map(len, settings)) + 2
    entries = [
        f"  {env_id + ':':<{width}}" + ", ".join(f"{name}={x}" for name, x in entry.items())
        for env_id, entry in settings.items()
    ]
    parser = Parser(
        description=description,
        epilog="settings (an environment's own go over the default ones):\n" + "\n".join(entries) + "\n"
        f"all there are: {', '.join(settings_of(train))}\n\n"
        "The last line tells the mean return ± the standard deviation over the episodes, in fresh environments.\n"
        "Ctrl-C keeps what was learned: it still saves, draws and evaluates. A second one quits at once.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("settings", metavar="NAME=VALUE", nargs="*", type=setting, help="settings to change, such as gamma=0.9")
    add("--env", metavar="ID", help=f"Gymnasium environment (default: that of the --load file, or {DEFAULT_ENV})")
    add("--steps", metavar="N", type=natural, help="environment steps to train for (default: see the settings)")
    add("--seed", metavar="S", type=natural, default=0, help="of all random numbers (default: %(default)s)")
    add("--save", metavar="FILE", help=f"save the networks, every {SAVE_SECONDS:.0f} s and at the end")
    add("--load", metavar="FILE", help="begin with the networks saved there; with --steps 0, only evaluate them")
    add("--plot", metavar="FILE", help="draw return against steps: .png, .svg, .pdf, … (needs matplotlib)")
    add("--render", action="store_true", help=f"show {SHOWN_EPISODES} episodes after the training (needs pygame)")
    add("--smoke", action="store_true", help=f"the whole path in short: {SMOKE_STEPS} steps, {SMOKE_EPISODES} episodes")
    return parser


def setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, where the value is Python's notation of a number, a tuple, …, or else a word, for argparse."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"must be of the form NAME=VALUE, not {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def natural(text: str) -> int:
    """An integer of at least 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, not {text!r}")
    return int(text)


def rescaled(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Every observation in [-1, 1]."""
    return gym.wrappers.RescaleObservation(env, np.float32(-1), np.float32(1))


# The observations of MountainCar-v0 differ in size by a factor of 17. A saved policy names its environment and no
# wrapper, so wrappers go by the environment, whatever the chapter: to train, to evaluate, to compare and to watch.
WRAPPERS = {"MountainCar-v0": rescaled}


def make_env(env_id: str, n_envs: int | None = None, **kwargs: Any) -> Any:
    """The environment, or a vector of n of them, with its wrapper if it has one."""
    if env_id not in WRAPPERS:
        return make(env_id, n_envs, **kwargs)
    wrap = WRAPPERS[env_id]
    if n_envs is None:
        return wrap(make(env_id, **kwargs))
    return make(env_id, n_envs, vectorization_mode="sync", wrappers=[wrap], **kwargs)


def complain(message: str) -> None:
    """One line on stderr."""
    print(message, file=sys.stderr, flush=True)


class Job:
    """One run of a chapter. What the user may have got wrong shows when it is made, before any training."""

    def __init__(self, train: Train, settings: Settings, args: argparse.Namespace) -> None:
        self.args = args
        self.figure = new_figure(args.plot) if args.plot else None
        written = [path for path in (args.save, args.plot) if path is not None]
        for path in written:
            check_writable(path)
        if len({os.path.realpath(path) for path in written}) < len(written):
            raise ValueError(f"--save and --plot must be two files, not both {args.save}")
        checkpoint = load(args.load) if args.load is not None else None
        if checkpoint and "hidden" in dict(args.settings):
            raise ValueError("hidden must be left out with --load: the networks are as they were saved")
        self.kept = {"value": checkpoint.value} if checkpoint else {}  # saved again, also by a chapter without a value
        self.env_id = args.env or (checkpoint and checkpoint.env) or DEFAULT_ENV
        arguments = settings["default"] | settings.get(self.env_id, {}) | dict(args.settings)
        hidden, n_envs = (arguments.pop(name, None) for name in ("hidden", "n_envs"))
        if args.steps is not None or args.smoke:
            arguments["total_steps"] = SMOKE_STEPS if args.steps is None else args.steps

        parameters = inspect.signature(train).parameters
        if unknown := {name for name, _ in args.settings}.difference(settings_of(train)):
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(settings_of(train))}")
        if not isinstance(hidden, tuple):
            raise ValueError(f"hidden must be the widths of the hidden layers, such as (64,), not {hidden!r}")

        rng = np.random.default_rng(args.seed)
        self.evaluation_seed = int(rng.spawn(1)[0].integers(2**31))  # a stream apart from that of the training
        self.make = functools.partial(make_env, self.env_id)
        self.env = self.make(n_envs)
        self.networks = {"policy": checkpoint.policy if checkpoint else SoftmaxPolicy.for_env(self.env, hidden, rng)}
        if "value" in parameters:
            self.networks["value"] = (checkpoint and checkpoint.value) or Value.for_env(self.env, hidden, rng)
        check_fit(self.env, **self.networks)
        place = {"make_env": self.make} if "make_env" in parameters else {"env": self.env}
        self.updates = train(**place, **self.networks, **arguments, rng=rng)
        self.total_steps = arguments["total_steps"]
        self.title = f"{train.__module__.rpartition('.')[2]} on {self.env_id}, seed {args.seed}"
        self.curve: list[tuple[int, float]] = []  # (steps, mean return)
        self.unwritten: set[str] = set()  # files that could not be written

    def run(self) -> int:
        """Train and all that comes after; returns the exit status."""
        interrupted = diverged = False
        try:
            try:
                if self.total_steps:
                    self.train()
            finally:
                self.save()
        except KeyboardInterrupt:
            complain("interrupted: finishing with what was learned (Ctrl-C again quits at once)")
            interrupted = True
            self.save()  # once more: it may be the saving that was interrupted
        except FloatingPointError as error:
            complain(f"error: {error}")
            diverged = True
        self.draw()
        if self.args.render and not (interrupted or diverged):
            interrupted = self.show()
        if not diverged:
            print(self.evaluation(), flush=True)
        return INTERRUPTED if interrupted else FAILED if diverged or self.unwritten else DONE

    def train(self) -> None:
        """Train to the end: show how far it is, note the curve, save now and then."""
        saved = time.perf_counter()
        with closing(self.env), closing(self.updates), closing(Meter(self.total_steps)) as meter:
            for progress in self.updates:
                now = time.perf_counter()
                meter.update(progress, now)
                if not self.curve or progress.steps >= self.curve[-1][0] + self.total_steps / 1000:
                    self.curve.append((progress.steps, progress.mean_return))
                if now >= saved + SAVE_SECONDS:
                    self.save()
                    saved = now

    def save(self) -> None:
        """The file of --save."""
        if self.args.save:
            self.write(self.args.save, lambda path: save(path, **self.kept | self.networks, env=self.env_id))

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
        except OSError as error:
            complain(f"error: can't write {path}: {error}")
            self.unwritten.add(path)

    def show(self) -> bool:
        """Play before the user's eyes; was it interrupted?"""
        try:
            with closing(self.make(render_mode="human")) as env:
                evaluate(self.networks["policy"], env, episodes=SHOWN_EPISODES, seed=self.evaluation_seed)
        except KeyboardInterrupt:
            return True
        except (ImportError, RuntimeError, gym.error.Error) as error:  # no pygame, or no display
            complain(f"--render: {error}")
        return False

    def evaluation(self) -> str:
        """The closing line: mean ± standard deviation over episodes in fresh environments."""
        episodes = SMOKE_EPISODES if self.args.smoke else EPISODES
        with closing(self.make(min(episodes, 25))) as env:
            returns = evaluate(self.networks["policy"], env, episodes=episodes, seed=self.evaluation_seed)
        mean, std = returns.mean(), returns.std()
        digits = 1 if abs(mean) >= 10 else 2
        return f"evaluation: mean {mean:.{digits}f} ± {std:.{digits}f} over {episodes} episodes (sampled actions)"


class Meter:
    """How far a run is: one line rewritten in place on a terminal, otherwise a line now and then."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.terminal = sys.stdout.isatty()
        self.start = time.perf_counter()
        self.due_time, self.due_steps = 0.0, 0.0
        self.unseen: Progress | None = None  # the latest, unless it has been shown

    def update(self, progress: Progress, now: float) -> None:
        """Show this progress if it is time to. There may be 20,000 a second, so most of them must cost nothing."""
        self.unseen = progress
        if now >= self.due_time or progress.steps >= self.due_steps:
            self.show(progress, now)

    def show(self, progress: Progress, now: float) -> None:
        steps, total = progress.steps, self.total_steps
        rate = max(steps, 1) / (now - self.start)
        left = timedelta(seconds=min(round(max(total - steps, 0) / rate), 10**9))  # a timedelta has its limits
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
        """Show the end, and leave it standing."""
        if self.unseen:
            self.show(self.unseen, time.perf_counter())
        if self.terminal:
            print()


def check_writable(path: str) -> None:
    """Raise OSError unless a file can be made in the place of this path, or stands there and can be replaced."""
    if not path or path.endswith("/") or (os.path.lexists(path) and not os.path.isfile(path)):
        raise OSError(f"can't write {path!r}: it must name a file, not a directory or a device")
    beside = f"{path}.{os.getpid()}.tmp"  # as long as the names that saving needs
    try:
        open(beside, "xb").close()
        os.unlink(beside)
    except OSError as error:
        raise OSError(f"can't write {path}: {error.strerror}") from error


def end_quietly(kind: type[BaseException], *error: Any) -> None:
    """On Ctrl-C, or when whoever reads the output has seen enough (`head`, say), a study just ends."""
    if kind is BrokenPipeError:
        sys.stdout = None  # what is left in it can't be written
    elif kind is not KeyboardInterrupt:
        sys.__excepthook__(kind, *error)


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
        if args.plot is not None:
            check_writable(args.plot)
        args.figure = None if args.plot is None else new_figure(args.plot)
    except (OSError, ValueError) as error:
        parser.error(str(error))
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


def picture(args: argparse.Namespace, draw: Callable[..., None], *data: Any, panels: int = 2, **layout: Any) -> None:
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
        complain('--plot needs matplotlib: pip install "scratchpg[plot]"')
        return None
    figure = Figure(figsize=(7, 4), layout="constrained")
    endings = sorted(figure.canvas.get_supported_filetypes())
    if Path(path).suffix[1:].lower() not in endings:
        raise ValueError(f"can't draw {path}: its ending must be one of {', '.join(endings)}")
    return figure
