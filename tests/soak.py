"""A long run of every chapter: does its memory grow, does it slow down, does it leave anything behind?

    python tests/soak.py                       every chapter, 2,000,000 steps or ten minutes, whichever is first
    python tests/soak.py ppo a3c --minutes 2

Steps per second are those of the first and of the last tenth; MB is the memory of the process and its workers after a
tenth and at the end; files and children are what is open before and after. Findings, which end the script with status
1: parameters that are not finite, anything left open, 10 MB more at the end than after a tenth. Reads Linux' /proc.

Cloning and MPC are not among them: they keep all that they have met, and so must grow.
"""

import argparse
import functools
import multiprocessing
import os
import sys
import time
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np
from helpers import rlfd_on_cartpole

from scratchpg import QNetwork, SoftmaxPolicy, SquashedGaussianPolicy, TwinQ, Value
from scratchpg.algorithms import a2c, a3c, actor_critic, baseline, dqn, grpo, ppo, rainbow, reinforce, sac, trpo

N_ENVS, BUFFER = 8, {"buffer_size": 10_000}  # which is full within the first tenth


switches = functools.partial(QNetwork.for_env, dueling=True, atoms=51, v_range=(0.0, 100.0), noisy=True)
softmax, actor_and_critic = (SoftmaxPolicy.for_env,), (SoftmaxPolicy.for_env, Value.for_env)
CHAPTERS = {  # train, what makes its networks, the environment
    "reinforce": (reinforce.train, softmax, "CartPole-v1"),
    "baseline": (baseline.train, actor_and_critic, "CartPole-v1"),
    "actor_critic": (actor_critic.train, actor_and_critic, "CartPole-v1"),
    "actor_critic_mc": (functools.partial(actor_critic.train, method="mc"), actor_and_critic, "CartPole-v1"),
    "a2c": (a2c.train, actor_and_critic, "CartPole-v1"),
    "a3c": (a3c.train, actor_and_critic, "CartPole-v1"),
    "ppo": (ppo.train, actor_and_critic, "CartPole-v1"),
    "trpo": (trpo.train, actor_and_critic, "CartPole-v1"),
    "grpo": (grpo.train, softmax, "CartPole-v1"),
    "dqn": (functools.partial(dqn.train, **BUFFER), (QNetwork.for_env,), "CartPole-v1"),
    "rainbow": (functools.partial(rainbow.train, **BUFFER), (switches,), "CartPole-v1"),
    "sac": (functools.partial(sac.train, **BUFFER), (SquashedGaussianPolicy.for_env, TwinQ.for_env), "Pendulum-v1"),
    "rlfd": (rlfd_on_cartpole, actor_and_critic, "CartPole-v1"),
}
LINE = "{:16} {:>9} {:>5} {:>17} {:>15} {:>8} {:>8}  {}"


def megabytes():
    """The resident memory of this process and its children."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def left_open():
    """The numbers of open files and of child processes."""
    return len(os.listdir("/proc/self/fd")), len(multiprocessing.active_children())


def soak(chapter, total_steps, seconds):
    """Run a chapter to whichever limit comes first; print one line, and return what is wrong, if anything."""
    train, makers, env_id = CHAPTERS[chapter]
    env = gym.make_vec(env_id, N_ENVS, vectorization_mode="sync")  # as GRPO needs them
    networks = [make(env, rng=i) for i, make in enumerate(makers)]
    where = env_id if chapter == "a3c" else env
    for _ in train(where, *networks, total_steps=1, seed=0):
        pass  # what the first run opens for all that follow, such as multiprocessing's pool of memory, is no leak
    before, begin, marks = left_open(), time.perf_counter(), []
    with closing(env), closing(train(where, *networks, total_steps=2 * total_steps, seed=0)) as loop:
        for progress in loop:
            now = time.perf_counter() - begin
            if max(progress.steps / total_steps, now / seconds) >= (0.1, 0.9, 1)[len(marks)]:
                marks.append((progress.steps, now, megabytes()))
            if len(marks) == 3:
                break
    (steps, tenth, memory), (steps_9, ninth, _), (all_steps, end, memory_end) = marks
    after = left_open()
    findings = {
        "not finite": not all(np.isfinite(network.theta).all() for network in networks),
        "left open": after != before,
        "memory grew": memory_end > memory + 10,
    }
    wrong = ", ".join(name for name, found in findings.items() if found)
    rates = f"{steps / tenth:,.0f} → {(all_steps - steps_9) / (end - ninth):,.0f}"
    files, children = (f"{x} → {y}" for x, y in zip(before, after, strict=True))
    memories = f"{memory:.1f} → {memory_end:.1f}"
    print(LINE.format(chapter, f"{all_steps:,}", f"{end:.0f}", rates, memories, files, children, wrong or "none"))
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", metavar="chapter", help=f"of {', '.join(CHAPTERS)}; default: all")
    parser.add_argument("--steps", type=int, default=2_000_000, help="of each chapter, default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10, help="for each chapter, default: %(default)s")
    parser.add_argument("--smoke", action="store_true", help="10,000 steps of each")
    args = parser.parse_args()
    if args.steps < 1 or args.minutes <= 0:
        parser.error("--steps must be at least 1 and --minutes more than 0")
    if unknown := set(args.chapters) - CHAPTERS.keys():
        parser.error(f"no such chapter: {', '.join(unknown)}")
    sys.stdout.reconfigure(line_buffering=True)  # a line as soon as it is known, in a pipe too
    print(LINE.format("chapter", "steps", "s", "steps/s", "MB", "files", "children", "findings"))
    steps = 10_000 if args.smoke else args.steps
    wrong = [soak(chapter, steps, 60 * args.minutes) for chapter in args.chapters or CHAPTERS]
    sys.exit(any(wrong))


if __name__ == "__main__":
    main()
