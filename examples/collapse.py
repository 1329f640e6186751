"""One large step on a lucky sample: vanilla collapses, its old advantages are wrong, PPO's clip holds: (7.2), (7.4).

    python examples/collapse.py
    python examples/collapse.py --plot collapse.png

Two actions: left pays 1, right pays 10 once in twenty times and else nothing, so Q = (1, ½). π begins at (½, ½), and
the first sample is the lucky one, A = 10 - V = 9.25. Vanilla actor-critic (4.4) and PPO (6.3) take it in one step of
size ¼ or in 50 of 1/200, and go on with updates of 8 fresh episodes each, with the exact V^π for a critic.

What to see: A > 0 raises the probability of the action taken, A < 0 lowers it (7.4). One large step leads to 99/1. The
better action is hardly ever seen again, and as V has changed, its Q - V is twice what it was. PPO stops just past the
ratio 1 + ε. That takes small steps: its very first one is the vanilla one, and as large, and then it collapses, too.
Vanilla in small steps goes to 0.89, yet comes back here, more slowly.
"""

import common
import numpy as np

from scratchpg import FiniteMDP, SoftmaxPolicy, a2c, ppo
from scratchpg.optim import SGD

EPSILON, RIGHT, JACKPOT = 0.2, 1, 10.0
START = np.eye(4)[:1]  # the state in which one decides, (1, 4)
WAYS = {  # name: (chapter, learning rate, steps on each batch)
    "vanilla, 1 large step": (a2c, 0.25, 1),
    "vanilla, 50 small steps": (a2c, 0.005, 50),
    "PPO, 1 large step": (ppo, 0.25, 1),
    "PPO, 50 small steps": (ppo, 0.005, 50),
}


def arms():
    """One decision in state 0; the other states end the episode: 1 is paid in state 1, 10 in state 2, 0 in state 3."""
    transition = np.zeros((4, 2, 4))
    transition[0] = [0, 1, 0, 0], [0, 0, 0.05, 0.95]
    reward = np.broadcast_to([0, 1, JACKPOT, 0], transition.shape)
    return FiniteMDP(START[0], transition, reward, horizon=1, terminal=[False, True, True, True])


def undecided():
    """π = (½, ½)."""
    return SoftmaxPolicy((4, 2), theta=np.zeros(10))


def update(policy, actions, advantages, way):
    """Learn from one batch by the chapter's own gradient, in so many steps."""
    chapter, learning_rate, steps = way
    states, optimizer = START.repeat(len(actions), axis=0), SGD(policy.theta, learning_rate)
    old, clip = ([policy(states).log_prob(actions)], {"clip_range": EPSILON}) if chapter is ppo else ([], {})
    for _ in range(steps):
        optimizer.step(chapter.gradient(policy, states, actions, *old, advantages, **clip))
    return policy(START).probabilities[0, RIGHT]


def after(A, way):
    """π(a|s) after one batch of one sample: a taken from (½, ½), with the advantage A."""
    return update(undecided(), np.array([RIGHT]), np.array([A]), way)


def course(mdp, way, updates, rng):
    """π(right) after the lucky sample and after each of the updates that follow; and the policy after the first."""
    policy = undecided()
    path = [update(policy, np.array([RIGHT]), np.array([JACKPOT - mdp.objective(policy, 1.0)]), way)]
    for _ in range(updates):
        batch = mdp.trajectories(policy)
        drawn = rng.choice(len(batch.probability), 8, p=batch.probability)
        A = batch.rewards[0, drawn] - mdp.objective(policy, 1.0)
        path.append(update(policy, batch.actions[0, drawn], A, way))
    return path


def main():
    args = common.study(__doc__)
    updates, seeds = (3, 2) if args.smoke else (60, 9)
    mdp = arms()
    advantages = np.linspace(-4, 4, 9)
    print("(7.4) π(a|s) after a was taken from (½, ½), with the advantage A\n" + " " * 25 + "A ", end="")
    print("".join(f"{A:8.0f}" for A in advantages))
    for name, way in WAYS.items():
        print(f"{name:27}" + "".join(f"{after(A, way):8.3f}" for A in advantages))

    V, Q = mdp.values(undecided(), 1.0)
    print(f"\n(7.2) the lucky sample: A = {JACKPOT - V[0, 0]:.2f} for right, where Q - V is {Q[0, 0, 1] - V[0, 0]:.2f}")
    print(f"{'after the sample':>45}{f'after {updates} more updates, {seeds} seed(s)':>54}")
    print("                            π(right)  ratio       V   Q - V of left   π(right): median [range]")
    paths = {}
    for name, way in WAYS.items():
        rngs = np.random.default_rng(args.seed).spawn(seeds)
        paths[name] = np.array([course(mdp, way, updates, rng) for rng in rngs])
        p, last = paths[name][0, 0], paths[name][:, -1]
        now = (1 - p) * Q[0, 0, 0] + p * Q[0, 0, 1]
        print(
            f"{name:27} {p:8.3f} {2 * p:6.2f} {now:7.3f}   {Q[0, 0, 0] - V[0, 0]:.3f} → {Q[0, 0, 0] - now:.3f}"
            f"   {np.median(last):.3f} [{last.min():.3f} … {last.max():.3f}]"
        )
    if args.figure:
        draw(args.figure, paths)
        args.figure.savefig(args.plot, dpi=120)


def draw(figure, paths):
    figure.set_size_inches(10, 4)
    left, right = figure.subplots(1, 2, sharey=True)
    A = np.linspace(-10, 10, 41)
    for i, (name, runs) in enumerate(paths.items()):
        style = {"color": f"C{i}", "linewidth": 1.5 if i else 5}  # another line lies on the first
        left.plot(A, [after(x, WAYS[name]) for x in A], **style, label=name)
        right.plot(runs.T, color=f"C{i}", alpha=0.2, linewidth=0.8)
        right.plot(np.median(runs, axis=0), **style)
    left.set(xlabel="advantage A of the action taken", ylabel="its probability afterwards", title="(7.4) one sample")
    right.set(xlabel="further updates", ylabel="π(right)", title="(7.2) after one lucky sample of the worse action")
    left.legend()
    for axes in left, right:
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
