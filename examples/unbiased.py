"""Is REINFORCE's estimate right? The mean of one-trajectory estimates against the exact ∇J: (1.10), (1.12).

    python examples/unbiased.py
    python examples/unbiased.py --plot unbiased.png

J and ∇J of a corridor are sums over all its trajectories, (1.2) and (1.9); those of FrozenLake-v1, which has too many,
come by recursion, (3.1) and (1.10).

What to see: an unbiased estimate has an error that falls like 1/√N, for ever; a biased one stops at its bias. The
common practice of dropping γ^t follows the line at first, and then leaves it.
"""

import common
import gymnasium as gym
import numpy as np

from scratchpg import FiniteMDP, SoftmaxPolicy, reinforce
from scratchpg.returns import discounted
from scratchpg.rollout import Collector


def corridor(horizon):
    """Three states in a row, left or right; each step costs 1, leaving the row on the right pays 10 and ends it."""
    transition, reward = np.zeros((4, 2, 4)), -np.ones((4, 2, 4))
    for s in range(3):
        transition[s, 0, max(s - 1, 0)] = transition[s, 1, s + 1] = 1
    reward[2, 1, 3] = 10
    return FiniteMDP([1, 0, 0, 0], transition, reward, horizon=horizon, terminal=[False, False, False, True])


def one_trajectory_estimates(env, policy, gamma, episodes, rng):
    """ĝ of one episode after another, (2, episodes, P): with γ^t and without."""
    collector, estimates = Collector(env, policy, rng), np.empty((2, episodes, len(policy.theta)))
    for n in range(episodes):
        batch = collector.collect_episodes(1)
        G = discounted(batch.rewards, gamma, batch.ended)
        for i, weights in enumerate([gamma ** batch.timesteps() * G, G]):
            # the function that training calls is the gradient of a loss to descend: minus the estimate of ∇J
            estimates[i, n] = -reinforce.gradient(policy, *batch.rows(weights), episodes=1)
    return estimates


def errors(estimates, exact, N):
    """The error of the mean of N estimates, relative to |∇J|: root mean square over the groups of N that there are."""
    groups = estimates[: len(estimates) // N * N].reshape(-1, N, len(exact)).mean(axis=1)
    return np.sqrt(((groups - exact) ** 2).sum(axis=1).mean()) / np.linalg.norm(exact)


def main():
    args = common.study(
        __doc__, episodes=dict(type=common.natural, default=4096, help="episodes of each task (default: %(default)s)")
    )
    Ns, curves = [1], {}
    while 4 * Ns[-1] <= (256 if args.smoke else args.episodes):
        Ns.append(4 * Ns[-1])
    lake = gym.make("FrozenLake-v1", max_episode_steps=20)
    for name, mdp, env, gamma in (
        ("corridor", corridor(6), corridor(6), 0.8),
        ("FrozenLake-v1", FiniteMDP.from_env(lake, 20), lake, 0.9),
    ):
        rng = np.random.default_rng(args.seed)
        policy = SoftmaxPolicy.for_env(env, (), rng, dtype=np.float64)
        J, exact = mdp.objective(policy, gamma), mdp.gradient(policy, gamma)
        if name == "corridor":
            tau = mdp.trajectories(policy)
            J, exact = tau.objective(gamma), tau.gradient(policy, gamma)
        kept, dropped = one_trajectory_estimates(env, policy, gamma, Ns[-1], rng)
        print(f"\n{name}: horizon {mdp.horizon}, γ = {gamma}, J = {J:.4g}")
        top = np.argsort(-abs(exact))[:6]  # the largest components
        for label, g in ("∇J exactly", exact), ("with γ^t", kept.mean(axis=0)), ("without γ^t", dropped.mean(axis=0)):
            print(f"{label:>13}  " + "".join(f"{x:11.2e}" for x in g[top]))
        curves[name] = [[errors(x, exact, N) for N in Ns] for x in (kept, dropped)]
        print("error of the mean of N estimates, in units of |∇J|\n       N   with γ^t  1/√N line  without γ^t")
        for N, error, other in zip(Ns, *curves[name], strict=True):
            print(f"{N:8d} {error:10.4f} {curves[name][0][0] / N**0.5:10.4f} {other:12.4f}")
    if args.figure:
        draw(args.figure, Ns, curves)
        args.figure.savefig(args.plot, dpi=120)


def draw(figure, Ns, curves):
    figure.set_size_inches(10, 4)
    for ax, (name, (kept, dropped)) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        ax.loglog(Ns, dropped, "s-", color="tab:orange", label="without γ^t")
        ax.loglog(Ns, kept, "o-", color="tab:blue", label="with γ^t (1.10)")
        ax.loglog(Ns, kept[0] / np.sqrt(Ns), "k--", label="1/√N")
        ax.set(title=name, xlabel="episodes N", ylabel="|mean of N estimates - ∇J| / |∇J|")
        ax.grid(alpha=0.3)
        ax.legend()


if __name__ == "__main__":
    main()
