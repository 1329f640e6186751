"""The chapters on one environment: return against steps and against seconds, and what it takes to solve it.

    python examples/compare.py --plot curves.svg                     # all that fit, seeds 0 … 4: some minutes
    python examples/compare.py ppo a2c a2c n_envs=None --seeds 10    # settings go to the chapter before them,
    python examples/compare.py gamma=1.0 reinforce baseline          # and to all where they stand before the first
    python examples/compare.py --cluster tcp://10.0.0.1:8786         # on the machines of a Dask cluster

A run in training only copies its policy, about every 5,000 steps. When it is over, each copy plays 100 fresh episodes
with sampled actions. So no clock counts an evaluation, and the workers of A3C, which can't be halted for one, are
measured as all others are. Solved is the first copy whose mean return reaches the environment's own threshold.
The final return is that of the last copy: its median over the runs, its mean and its interquartile mean, these with
95 % intervals, which promise more than so few runs can keep (`bootstrap.py`).

As many runs as there are cores go on at the same time, which slows each of them: `--workers 1` measures undisturbed
seconds. A3C has several processes already: its runs come last, one at a time.
"""

import argparse
import importlib
import multiprocessing
import sys
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import closing

import cli
import gymnasium as gym
import numpy as np
from intervals import interval, iqm, mean

from scratchpg import evaluate

CHAPTERS = ["reinforce", "baseline", "actor_critic", "a2c", "a3c", "ppo", "trpo", "grpo", "dqn", "rainbow", "sac"]
WITH_EXPERT = ["imitation", "rlfd"]  # only if they are named: what the expert shows costs them no step


def variants(words):
    """[(chapter, setting, …), …]: a setting belongs to the chapter before it, or to all if there is none before it."""
    first = next((i for i, word in enumerate(words) if "=" not in word), len(words))
    found = []
    for word in words[first:] or CHAPTERS:
        if "=" in word:
            found[-1] += (word,)
        elif word in CHAPTERS + WITH_EXPERT:
            found.append((word, *words[:first]))
        else:
            raise ValueError(f"no such chapter: {word}; there are {', '.join(CHAPTERS + WITH_EXPERT)}")
    return list(dict.fromkeys(found))


class Rehearsal(cli.Run):
    """A run that ends before its first update."""

    def updates(self, loop, *_, **networks):
        loop.close()
        return ()


class CopyingRun(cli.Run):
    """A run that shows nothing, but copies its policy about every so many steps."""

    def updates(self, loop, policy, *_, **networks):
        self.networks, self.due, self.begin = {"policy": policy}, self.every, time.perf_counter()
        self.copies = [(0, 0.0, policy.theta.copy())]
        return loop

    def show(self, progress):
        if progress.steps >= min(self.due, self.settings["total_steps"]):
            seconds = time.perf_counter() - self.begin
            self.copies.append((progress.steps, seconds, self.trained()["policy"].theta.copy()))
            self.due = (progress.steps // self.every + 1) * self.every


def prepare(kind, variant, seed, options):
    """The run that the chapter's own script would make of these words; and that script."""
    chapter, *settings = variant
    script = importlib.import_module(chapter)
    train = getattr(script, chapter).train
    words = [*settings, *options, "--seed", str(seed)]
    return kind(train, script.SETTINGS, cli.command_line(train, script.SETTINGS, None).parse_args(words)), script


def learn(variant, seed, options, every):
    """Train. Rows of (steps, seconds, mean return), the first before any training; and what went wrong, or None."""
    cli.keep_memory()  # as cli.main does
    run, script = prepare(CopyingRun, variant, seed, options)
    run.every, fault = every, None
    try:
        script.learn(run, **run.settings)
    except FloatingPointError as error:  # its curve ends where it diverged
        fault = str(error)
    episodes, rows = cli.SMOKE_EPISODES if run.args.smoke else cli.EPISODES, []
    with closing(run.make_env(episodes)) as env:
        policy = run.networks["policy"]
        for steps, seconds, theta in run.copies:
            policy.theta = theta
            rows.append((steps, seconds, evaluate(policy, env, episodes=episodes, seed=run.evaluation_seed).mean()))
    return np.array(rows), fault


def fitting(chosen, named, options):
    """The variants that can learn on this environment. One that can not is left out, with a word; it is an error if the
    user named the chapters, or if none can."""
    fit, faults = [], []
    for variant in chosen:
        try:
            run, script = prepare(Rehearsal, variant, 0, options)
            script.learn(run, **run.settings)
            fit.append(variant)
        except cli.WRONG as fault:
            faults.append((" ".join(variant), fault))
    if faults and (named or not fit):
        raise faults[0][1]
    for name, fault in faults:
        print(f"{name} is left out: {fault}")
    return fit


def finished(executor, jobs):
    """Have any executor `learn` the jobs; yields (job, future) as each is done."""
    groups = [job for job in jobs if job[0][0] != "a3c"], *([job] for job in jobs if job[0][0] == "a3c")
    futures = {}
    with executor:
        try:
            for group in groups:
                futures = {executor.submit(learn, *job): job for job in group}
                for future in as_completed(futures):
                    yield futures[future], future
        except BaseException:  # Ctrl-C, here or in the loop that takes the results
            if processes := multiprocessing.active_children():
                for process in processes:
                    process.terminate()
            else:  # threads, or elsewhere: a run that has begun goes on to its end
                for future in futures:
                    future.cancel()
            raise


def cluster(address):
    """The executor of a Dask cluster. Its workers must be able to import scratchpg and the scripts beside this one,
    and for A3C, which starts processes, run without a nanny (`dask worker --no-nanny`)."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("--cluster needs Dask: pip install distributed") from None
    return Client(address).get_executor(pure=False)


def spread(x, form, statistic=np.median):
    """Median [lowest … highest], or another statistic with its interval; for a single run, what it has."""
    ends = (min(x), max(x)) if statistic is np.median else interval(x, statistic)
    middle, low, high = (f"{number:{form}}".replace("inf", "never") for number in (statistic(x), *ends))
    return low if low == "never" or len(x) == 1 else f"{middle} [{low} … {high}]"


def table(curves, goal, env_id):
    """One line for each variant, with how many of its n finished runs solved the environment."""
    rows = []
    for name, runs in curves.items():
        line, final = ["-"] * 3, [rows[-1, 2] for rows in runs]
        if goal is not None:
            first = [next((row[:2] for row in rows if row[2] >= goal), (np.inf, np.inf)) for rows in runs]
            steps, seconds = np.transpose(first)
            line = [f"{np.isfinite(steps).sum()}", spread(steps, ",.0f"), spread(seconds, ".2f")]
        rows.append(
            (name, len(runs), *line, *(spread(final, ".4g", statistic) for statistic in (np.median, mean, iqm)))
        )
    columns = dict.fromkeys(("chapter", "n", "solved", "steps", "seconds", "final return", "its mean", "its IQM"), "")
    cli.table(f"{env_id}: medians [lowest … highest]; mean and IQM [95 % interval]", columns, rows)


def draw(figure, curves, goal, env_id):
    """Median and interquartile band. Where one run is over before another, it stays at its last return."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    figure.set_size_inches(10, 4.2)
    figure.suptitle(f"{env_id}: median and middle half; runs per curve: {max(map(len, curves.values()))}")
    panels = figure.subplots(1, 2, sharey=True)
    for column, label in enumerate(["environment steps", "seconds of training"]):
        panels[column].set(xscale="log", xlabel=label)
        panels[column].grid(alpha=0.3)
        if goal is not None:
            panels[column].axhline(goal, color="0.5", linestyle=":")
        for number, (name, runs) in enumerate(curves.items(), start=1):
            begin, end = max(rows[1, column] for rows in runs), max(rows[-1, column] for rows in runs)
            x = np.geomspace(begin, end, 40)
            returns = [np.interp(x, rows[:, column], rows[:, 2]) for rows in runs]
            low, median, high = np.quantile(returns, [0.25, 0.5, 0.75], axis=0)
            (line,) = panels[column].plot(x, median)
            panels[column].fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
            height = median.min() + np.ptp(median) * number / (len(curves) + 1)  # of its name, each at one of its own
            place = x[np.argmax(median >= height)], height
            style = {"color": line.get_color(), "fontsize": 9, "fontweight": "bold"}
            panels[column].annotate(name, place, (4, 0), textcoords="offset points", **style)
        axis, (begin, end) = panels[column].xaxis, panels[column].get_xlim()
        if end < 100 * begin:  # powers of ten alone are too few, and what Matplotlib writes between them overlaps
            axis.set_major_locator(MaxNLocator(4) if end < 5 * begin else LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:,.10g}")
        axis.set_minor_formatter("")
    panels[0].set_ylabel("return, mean of fresh episodes")


def main():
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("words", metavar="WORD", nargs="*", help=f"chapters ({', '.join(CHAPTERS)}) and settings NAME=VALUE")
    add("--env", metavar="ID", default=cli.DEFAULT_ENV, help="Gymnasium environment (default: %(default)s)")
    add("--steps", metavar="N", type=cli.natural, help="environment steps of each run (default: the script's)")
    add("--seeds", metavar="N", type=cli.natural, default=5, help="seeds 0 … N-1 (default: %(default)s)")
    add("--every", metavar="N", type=cli.natural, default=5_000, help="steps between copies (default: %(default)s)")
    add("--goal", metavar="R", type=float, help="return that solves it (default: the environment's own threshold)")
    add("--plot", metavar="FILE", help="draw both curves: .png, .svg, .pdf, … (needs matplotlib)")
    add("--workers", metavar="N", type=cli.natural, help="runs at the same time (default: one for each core)")
    add("--cluster", metavar="ADDRESS", help="of a Dask scheduler, whose workers do the runs (needs distributed)")
    add("--smoke", action="store_true", help="the whole path in some seconds")
    args = parser.parse_intermixed_args()
    cli.hear_sigterm()
    options = ["--env", args.env, *(["--steps", str(args.steps)] if args.steps is not None else [])]
    if args.smoke:
        args.seeds, args.every = 1, 500
        options.append("--smoke")
    try:
        cli.check_writable(args.plot)
        figure = None if args.plot is None else cli.new_figure(args.plot)
        if 0 in (args.seeds, args.every, args.steps):
            raise ValueError("--seeds, --every and --steps must be at least 1")
        chosen = variants(args.words)
        goal = gym.spec(args.env.rpartition(":")[2]).reward_threshold if args.goal is None else args.goal
        local = ProcessPoolExecutor(args.workers, initializer=cli.leave_signals_to_the_parent)
        executor = cluster(args.cluster) if args.cluster else local
        chosen = fitting(chosen, any("=" not in word for word in args.words), options)
    except cli.WRONG as error:
        parser.error(" ".join(str(error).split()))

    jobs = [(variant, seed, options, args.every) for seed in range(args.seeds) for variant in chosen]
    curves, status = {" ".join(variant): [] for variant in chosen}, cli.DONE
    try:
        with closing(finished(executor, jobs)) as results:
            for n, ((variant, seed, *_), future) in enumerate(results, 1):
                name, fault = " ".join(variant), future.exception()
                if not fault:
                    rows, fault = future.result()
                    curves[name].append(rows)
                    what = f"{rows[-1, 2]:.4g} after {rows[-1, 1]:.1f} s"
                    print(f"{n}/{len(jobs)}  {name}, seed {seed}: {what}", flush=True)
                if fault:
                    cli.error(f"error: {name}, seed {seed}: {fault}")
                    status = cli.FAILED
    except BrokenExecutor:  # a worker was killed, and the runs were not all handed out yet
        status = cli.FAILED
    except KeyboardInterrupt as end:
        cli.error("interrupted: here is what was finished")
        status = cli.TERMINATED if isinstance(end, cli.Terminated) else cli.INTERRUPTED
    curves = {name: runs for name, runs in curves.items() if runs}
    table(curves, goal, args.env)
    if figure and curves:
        draw(figure, curves, goal, args.env)
        figure.savefig(args.plot)
    sys.exit(status)


if __name__ == "__main__":
    main()
