"""One large step on a lucky sample: vanilla collapses, its old advantages are wrong, PPO's clip holds: (7.2), (7.4).

    python examples/collapse.py --plot collapse.png

Two actions: left pays 1, right pays 10 once in twenty times and else nothing, so Q = (1, ½). π begins at (½, ½), and
the first sample is the lucky one, A = 10 - V = 9.25. Vanilla actor-critic (4.4) and PPO (6.3) take it in one step of
size ¼ or in 50 of 1/200, and go on with updates of 8 fresh episodes each, with the exact V^π for a critic.

What to see: A > 0 raises the probability of the action taken, A < 0 lowers it (7.4). One large step leads to 99/1: the
better action is hardly ever seen again, and as V has changed, its Q - V is twice what it was. PPO stops just past the
ratio 1 + ε, but only in small steps: its very first one is the vanilla one, and if that is large it collapses, too.
Vanilla in small steps goes to 0.89, yet comes back here, more slowly.
"""

import cli
import numpy as np
from finite_sums import JACKPOT, LEFT, RIGHT, arms, constant_policy

from scratchpg import a2c, ppo

EPSILON = 0.2
WAYS = {  # name: (chapter, learning rate, steps on each batch)
    "vanilla, 1 large step": (a2c, 0.25, 1),
    "vanilla, 50 small steps": (a2c, 0.005, 50),
    "PPO, 1 large step": (ppo, 0.25, 1),
    "PPO, 50 small steps": (ppo, 0.005, 50),
}


def update(policy, actions, advantages, chapter, learning_rate, steps):
    """Learn from one batch of decisions by the chapter's own gradient, in so many steps; π(right) after it."""
    states = np.eye(4)[[0] * len(actions)]
    old, clip = ([policy(states).log_prob(actions)], {"clip_range": EPSILON}) if chapter is ppo else ([], {})
    for _ in range(steps):
        policy.theta -= learning_rate * chapter.gradient(policy, states, actions, *old, advantages, **clip)
    return policy(states).probabilities[0, RIGHT]


def course(mdp, way, updates, rng):
    """π(right) after the lucky sample and after each of the updates that follow."""
    policy = constant_policy(0.5)
    path = [update(policy, [RIGHT], [JACKPOT - mdp.objective(policy, 1.0)], *way)]
    for _ in range(updates):
        batch = mdp.trajectories(policy)
        drawn = rng.choice(len(batch.probability), 8, p=batch.probability)
        A = batch.rewards[0, drawn] - mdp.objective(policy, 1.0)
        path.append(update(policy, batch.actions[0, drawn], A, *way))
    return path


def main():
    args = cli.study(__doc__)
    updates, seeds = (3, 2) if args.smoke else (60, 9)
    columns, rows = {"A": ".0f"} | dict.fromkeys(WAYS, ".3f"), []
    for A in np.linspace(-4, 4, 9):
        rows.append([A, *(update(constant_policy(0.5), [RIGHT], [A], *way) for way in WAYS.values())])
    cli.table("(7.4) π(a|s) after a was taken from (½, ½), with the advantage A", columns, rows)
    mdp, paths = arms(), {}
    V, Q = (x[0, 0] for x in mdp.values(constant_policy(0.5), 1.0))
    columns = {"": "", "π(right)": ".3f", "ratio": ".2f", "V": ".3f", "left: Q - V": ".3f", "right: Q - V": ".3f"}
    columns |= {"π(right) later": ".3f", "lowest": ".3f", "highest": ".3f"}
    rows = [["before", 0.5, 1, V, *(Q - V), np.nan, np.nan, np.nan]]
    for name, way in WAYS.items():
        rngs = np.random.default_rng(args.seed).spawn(seeds)
        paths[name] = np.array([course(mdp, way, updates, rng) for rng in rngs])
        p, last = paths[name][0, 0], paths[name][:, -1]
        now = (1 - p) * Q[LEFT] + p * Q[RIGHT]
        rows.append([name, p, 2 * p, now, *(Q - now), np.median(last), last.min(), last.max()])
    title = f"(7.2) the lucky sample, A = {JACKPOT - V:.2f}, and {updates} updates later, median of {seeds} seed(s)"
    cli.table(title, columns, rows)
    cli.figure(args, draw, paths, sharey=True)


def draw(panels, paths):
    sample, later = panels
    A = np.linspace(-10, 10, 41)
    for i, (name, runs) in enumerate(paths.items()):
        style = {"color": f"C{i}", "linewidth": 1.5 if i else 5}  # another line lies on the first
        sample.plot(A, [update(constant_policy(0.5), [RIGHT], [x], *WAYS[name]) for x in A], **style, label=name)
        later.plot(runs.T, color=f"C{i}", alpha=0.2, linewidth=0.8)
        later.plot(np.median(runs, axis=0), **style)
    sample.set(xlabel="advantage A of the action taken", ylabel="its probability afterwards", title="(7.4) one sample")
    later.set(xlabel="further updates", ylabel="π(right)", title="(7.2) after one lucky sample of the worse action")
    sample.legend()


if __name__ == "__main__":
    main()
