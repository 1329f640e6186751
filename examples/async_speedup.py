"""How much faster A3C is with more workers, when the environment is slow, and what being lock-free costs.

    python examples/async_speedup.py                                 # one seed, about three minutes
    python examples/async_speedup.py --seeds 3 --plot speedup.png
    python examples/async_speedup.py --delay 0 --workers 1 2         # the plain CartPole, on two cores

CartPole-v1 waits so many milliseconds in each step, as a simulator or a robot would. Every run goes on until the mean
return of the last 100 episodes reaches the goal. Beside it the speed-ups of Mnih et al. 2016 (arXiv:1602.01783,
table 2: time to a reference score on seven Atari games, by threads).
"""

import functools
import multiprocessing
import sys
import time

import cli
import gymnasium as gym
import numpy as np

from scratchpg import SoftmaxPolicy, Value, a3c
from scratchpg.plumbing.processes import Shared, watch

PAPER = {1: 1.0, 2: 2.1, 4: 3.7, 8: 6.9, 16: 12.5}
USUAL, SMOKE = dict(workers=list(PAPER), delay=2.0, goal=200.0), dict(workers=[1, 2], delay=0.1, goal=20.0)
SETTINGS = dict(n_steps=20, gae_lambda=1.0, learning_rate=2e-3)  # those of a3c.py


class Slow(gym.Wrapper):
    """An environment whose step takes `delay` seconds longer, which it spends waiting."""

    def __init__(self, delay):
        super().__init__(gym.make("CartPole-v1"))
        self.delay = delay

    def step(self, action):
        if self.delay:
            time.sleep(self.delay)
        return self.env.step(action)


def run(workers, delay, goal, seed, limit):
    """Environment steps per second, and the seconds until the goal (None if it took more than `limit` steps)."""
    policy, value = SoftmaxPolicy((4, 64, 64, 2), rng=seed), Value((4, 64, 64), rng=seed)
    make_env = functools.partial(Slow, delay)
    begin = time.perf_counter()
    rate, first = np.nan, None  # from the first look with steps on: processes are slow to start
    for progress in a3c.train(make_env, policy, value, workers=workers, total_steps=limit, seed=seed, **SETTINGS):
        now = time.perf_counter()
        if first:
            rate = (progress.steps - first[1]) / (now - first[0])
            if progress.mean_return >= goal:
                return rate, now - begin
        elif progress.steps:
            first = now, progress.steps
    return rate, None


def hammer(shared, index, updates):
    """Add 1 to every element, so many times, without a lock."""
    shared.ready[index] = 1
    while not shared.ready.all():
        pass
    for _ in range(updates):
        shared.theta += 1
    yield  # once: `watch` iterates what its workers do


def lost_updates(size=4610, updates=20_000):
    """The share of the updates of a vector that got lost when two processes did nothing but write into it."""
    context = multiprocessing.get_context()
    shared = Shared(context, theta=np.zeros(size), ready=np.zeros(2))
    for _ in watch(context, hammer, [(shared, index, updates) for index in range(2)], seconds=0.1):
        pass
    lost = 1 - shared.theta / (2 * updates)
    return lost.mean(), lost.max()


def draw(figure, workers, rates, seconds):
    """Speed-up against the number of workers, on logarithmic axes."""
    axes = figure.add_subplot(xlabel="workers", ylabel="speed-up", xscale="log", yscale="log")
    axes.plot(workers, workers, color="0.7", linestyle="--", label="ideal")
    axes.plot(workers, rates / rates[0], marker="o", label="steps per second")
    axes.plot(workers, seconds[0] / seconds, marker="s", label="time to the goal")
    axes.plot(*zip(*PAPER.items(), strict=True), marker="^", linestyle=":", label="Mnih et al. 2016, time to score")
    for axis in axes.xaxis, axes.yaxis:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set_xticks(workers, [str(n) for n in workers])
    axes.legend()


def main():
    args = cli.study(
        __doc__,
        workers=dict(type=int, nargs="+", help=f"numbers of workers to try (default: {USUAL['workers']})"),
        delay=dict(type=float, help=f"ms that a step waits (default: {USUAL['delay']})"),
        goal=dict(type=float, help=f"mean return to reach (default: {USUAL['goal']})"),
        seeds=dict(type=int, default=1, help="runs of each, of which the median counts"),
    )
    for name, value in (SMOKE if args.smoke else USUAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if min(args.workers) < 1 or args.seeds < 1 or not 0 <= args.delay < 1e6:
        cli.error("error: --workers and --seeds must be at least 1, --delay a number of milliseconds")
        sys.exit(cli.WRONG_USE)

    print(f"CartPole-v1, {args.delay:g} ms a step, mean return {args.goal:g}, median of {args.seeds} seed(s)")
    print("workers   steps/s  speed-up   seconds to goal  speed-up   paper (threads)")
    rates, seconds = np.empty((2, len(args.workers)))
    for i, n in enumerate(args.workers):
        runs = [
            run(n, args.delay / 1000, args.goal, seed, limit=400_000)
            for seed in range(args.seed, args.seed + args.seeds)
        ]
        rates[i] = np.median([rate for rate, _ in runs])
        seconds[i] = np.median([np.inf if time is None else time for _, time in runs])
        spread = "/".join("-" if time is None else f"{time:.1f}" for _, time in runs)
        faster = seconds[0] / seconds[i] if np.isfinite(seconds[i]) else 0.0  # by one that never came there
        print(
            f"{n:7}  {rates[i]:8,.0f}  {rates[i] / rates[0]:8.1f}  {seconds[i]:16.1f}  {faster:8.1f}"
            f"  {PAPER.get(n, ''):>6}            ({spread})",
            flush=True,
        )
    mean, worst = lost_updates(updates=1_000 if args.smoke else 20_000)
    print(
        f"updates lost when two processes do nothing but write: {mean:.1%} on average, {worst:.1%} in the worst element"
    )
    if args.figure:
        draw(args.figure, args.workers, rates, seconds)
        args.figure.savefig(args.plot)


if __name__ == "__main__":
    main()
