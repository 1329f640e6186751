"""Rainbow on CartPole-v1 without one of its six switches each: which of them matter, here?

    python examples/ablation.py
    python examples/ablation.py --seeds 5 --plot ablation.png

Every run has the settings of rainbow.py. About every 5,000 steps 100 fresh episodes are played by the best action;
`solved` is the first look with a mean return of 475 or more, `last` the mean return after the training. The first alone
flatters: what is learned by values may be lost again.

What to see: one task says little of a switch's worth. Differences as small as those between seeds are none. With seeds
0 and 1 (--seeds 2) only n_steps matters: without it, and without all six, neither run is solved, and the worse one ends
at 223 and 186; all others are solved, and end at 494 or more.
"""

import cli
import gymnasium as gym
import numpy as np
from rainbow import SETTINGS

from scratchpg import QNetwork, evaluate, rainbow

EVERY, GOAL = 5_000, 475
SMOKE = {"total_steps": 120, "learning_starts": 100}
OFF = {  # switch: settings that turn it off
    "double": {"double": False},
    "prioritized": {"prioritized": False},
    "n_steps": {"n_steps": 1},
    "dueling": {"dueling": False},
    "atoms": {"atoms": None, "v_range": None},
    "noisy": {"noisy": False},
}
OF_NETWORK = "hidden", "dueling", "atoms", "v_range", "noisy"
VARIANTS = {"all six": {}} | {f"without {name}": off for name, off in OFF.items()}
VARIANTS["none: DQN"] = {key: x for off in OFF.values() for key, x in off.items()}


def curve(settings, seed, episodes):
    """The mean return of the best action, about every 5,000 steps."""
    settings, total_steps = settings.copy(), settings["total_steps"]
    del settings["n_envs"]
    network = {name: settings.pop(name) for name in OF_NETWORK}
    rng = np.random.default_rng(seed)
    env, fresh = gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", min(20, episodes))
    q, means, due = QNetwork.for_env(env, rng=rng, **network), [], min(EVERY, total_steps)
    for progress in rainbow.train(env, q, rng=rng, **settings):
        if progress.steps >= due:
            means.append(evaluate(q, fresh, episodes=episodes, greedy=True, seed=seed).mean())
            due = min(due + EVERY, total_steps) if due < total_steps else np.inf
    return means


def main():
    args = cli.study(__doc__, seeds={"type": cli.natural, "default": 3, "metavar": "N", "help": "runs of each"})
    settings = SETTINGS["default"] | SETTINGS["CartPole-v1"] | (SMOKE if args.smoke else {})
    seeds, episodes = (1, 5) if args.smoke else (args.seeds, 100)
    rows, curves = [], {}
    for name, changes in VARIANTS.items():
        runs = [curve(settings | changes, args.seed + i, episodes) for i in range(seeds)]
        solved = [next((EVERY * (k + 1) for k, x in enumerate(run) if x >= GOAL), np.inf) for run in runs]
        last = [run[-1] for run in runs]
        rows.append([name, f"{np.isfinite(solved).sum()}/{len(runs)}", np.median(solved), np.median(last), min(last)])
        curves[name] = np.median(runs, axis=0)
        print(name, *(f"{x:.0f}" for run in runs for x in (*run, np.nan)), flush=True)  # nan ends a run
    columns = {"switches": "", "solved": "", "steps: median": ",.0f", "last: median": ".0f", "last: worst": ".0f"}
    cli.table(f"Rainbow on CartPole-v1, {settings['total_steps']:,} steps, {seeds} run(s) of each", columns, rows)
    cli.figure(args, draw, curves, panels=1)


def draw(axes, curves):
    for name, means in curves.items():
        axes.plot(EVERY * np.arange(1, len(means) + 1), means, label=name)
    axes.set(xlabel="environment steps", ylabel="mean return of the best action, median of runs")
    axes.legend()


if __name__ == "__main__":
    main()
