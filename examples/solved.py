"""After how many steps, and seconds of training, each chapter solves CartPole-v1.

    python examples/solved.py                          every chapter at its script's settings, seeds 0 … 4
    python examples/solved.py ppo --seeds 10 --on      to the end of the training, also when it is solved before
    python examples/solved.py a2c n_envs=1             with a setting changed

Solved is a mean return of at least 475 over 100 fresh episodes with sampled actions, looked at about every 5,000 steps;
what that takes is not counted. A3C is left out: its workers go on learning while the others would wait for a look.
"""

import argparse
import importlib
import time
from contextlib import closing

import common
import numpy as np

from scratchpg import evaluate

CHAPTERS = ["reinforce", "baseline", "actor_critic", "a2c", "ppo"]
GOAL, EVERY = 475, 5_000


def solve(chapter, seed, settings, steps, on):
    """Steps and seconds until it is solved (infinite if it never was), and the mean return in the end."""
    script = importlib.import_module(chapter)
    arguments = [*settings, "--env", "CartPole-v1", "--seed", str(seed), *(["--steps", str(steps)] if steps else [])]
    train = getattr(importlib.import_module("scratchpg"), chapter).train
    job = common.Job(train, script.SETTINGS, common.command_line(script.SETTINGS, None).parse_args(arguments))
    solved, seconds, due, mean = None, 0.0, EVERY, np.nan
    with closing(job.make(25)) as fresh, closing(job.env), closing(job.updates):
        begin = time.perf_counter()
        for progress in job.updates:
            if progress.steps >= min(due, job.total_steps):
                seconds += time.perf_counter() - begin
                mean = evaluate(job.networks["policy"], fresh, seed=10_000 + seed).mean()
                if mean >= GOAL and not solved:
                    solved = progress.steps, seconds
                    if not on:
                        break
                due += EVERY
                begin = time.perf_counter()
    return *(solved or (np.inf, np.inf)), mean


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"chapters ({', '.join(CHAPTERS)}) and settings NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds 0 … N-1 (default: %(default)s)")
    parser.add_argument("--steps", type=int, metavar="N", help="give up after so many steps")
    parser.add_argument("--on", action="store_true", help="go on to the end when it is solved")
    parser.add_argument("--smoke", action="store_true", help="the whole path in a second or two")
    args = parser.parse_intermixed_args()
    if args.smoke:
        args.seeds, args.steps = 1, 500
    settings = [word for word in args.what if "=" in word]
    chapters = [word for word in args.what if "=" not in word] or CHAPTERS
    if unknown := set(chapters) - set(CHAPTERS):
        parser.error(f"unknown chapters {', '.join(sorted(unknown))}; there are {', '.join(CHAPTERS)}")
    print("chapter       steps: median [range]          seconds: median [range]   mean return at last: median [range]")
    for chapter in chapters:
        rows = np.array([solve(chapter, seed, settings, args.steps, args.on) for seed in range(args.seeds)])
        (steps, seconds, mean), low, high = np.median(rows, axis=0), rows.min(axis=0), rows.max(axis=0)
        print(
            f"{chapter:12}  {steps:7.0f} [{low[0]:.0f} … {high[0]:.0f}]".ljust(45)
            + f"{seconds:6.2f} [{low[1]:.2f} … {high[1]:.2f}]".ljust(26)
            + f"{mean:6.1f} [{low[2]:.1f} … {high[2]:.1f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
