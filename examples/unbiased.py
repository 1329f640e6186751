"""Is REINFORCE's estimate right? The mean of one-trajectory estimates against the exact ∇J: (1.10), (1.12).

    python examples/unbiased.py --plot unbiased.png

J and ∇J of a corridor are sums over all its trajectories, (1.2) and (1.9); those of FrozenLake-v1, which has too many,
come by recursion, (3.1) and (1.10).

What to see: an unbiased estimate has an error that falls like 1/√N, for ever. With the common practice of dropping γ^t
it falls as fast at first, and then stops: at the bias, which on the corridor is reached within these N.
"""

import cli
import gymnasium as gym
import numpy as np
from finite_sums import corridor, estimates

from scratchpg import FiniteMDP, SoftmaxPolicy
from scratchpg.returns import discounted
from scratchpg.rollout import Collector


def one_trajectory_estimates(env, policy, gamma, episodes, rng):
    """ĝ of one episode after another, (2, episodes, P): with γ^t and without."""
    collector, g = Collector(env, policy, rng), np.empty((2, episodes, len(policy.theta)))
    for n in range(episodes):
        batch = collector.collect_episodes(1)
        G = discounted(batch.rewards, gamma, batch.ended)
        for i, weights in enumerate([gamma**batch.t * G, G]):
            g[i, n] = estimates(batch, policy, weights)[0]
    return g


def errors(g, exact, N):
    """The error of the mean of N estimates, relative to |∇J|: root mean square over the groups of N that there are."""
    groups = g[: len(g) // N * N].reshape(-1, N, len(exact)).mean(axis=1)
    return np.sqrt(((groups - exact) ** 2).sum(axis=1).mean()) / np.linalg.norm(exact)


def main():
    args = cli.study(
        __doc__,
        episodes=dict(type=cli.natural, default=4096, help="of each task, cut to a power of 4 (default: %(default)s)"),
    )
    Ns, curves = [1], {}
    while 4 * Ns[-1] <= (256 if args.smoke else args.episodes):
        Ns.append(4 * Ns[-1])
    row, lake = corridor(6), gym.make("FrozenLake-v1", max_episode_steps=20)
    tasks = {"corridor": (row, row, 0.8), "FrozenLake-v1": (lake, FiniteMDP.from_env(lake, 20), 0.9)}
    for name, (env, mdp, gamma) in tasks.items():
        rng = np.random.default_rng(args.seed)
        policy = SoftmaxPolicy.for_env(env, (), rng, dtype=np.float64)
        J, exact = mdp.objective(policy, gamma), mdp.gradient(policy, gamma)
        if name == "corridor":
            tau = mdp.trajectories(policy)
            J, exact = tau.objective(gamma), tau.gradient(policy, gamma)
        kept, dropped = one_trajectory_estimates(env, policy, gamma, Ns[-1], rng)
        largest = np.argsort(-abs(exact))[:6]
        components = zip(*(x[largest] for x in (exact, kept.mean(axis=0), dropped.mean(axis=0))), strict=True)
        title = f"{name}, horizon {mdp.horizon}, γ = {gamma}, J = {J:.4g}: the largest components of ∇J"
        cli.table(title, {"exactly": ".2e", "with γ^t": ".2e", "without γ^t": ".2e"}, components)
        curves[name] = with_it, without = [[errors(g, exact, N) for N in Ns] for g in (kept, dropped)]
        rows = zip(Ns, with_it, with_it[0] / np.sqrt(Ns), without, strict=True)
        title = f"{name}: error of the mean of N estimates, in units of |∇J|"
        cli.table(title, {"N": ",", "with γ^t": ".4f", "1/√N line": ".4f", "without γ^t": ".4f"}, rows)
    cli.figure(args, draw, Ns, curves)


def draw(panels, Ns, curves):
    for axes, (name, (with_it, without)) in zip(panels, curves.items(), strict=True):
        axes.loglog(Ns, without, "s-", color="tab:orange", label="without γ^t")
        axes.loglog(Ns, with_it, "o-", color="tab:blue", label="with γ^t (1.10)")
        axes.loglog(Ns, with_it[0] / np.sqrt(Ns), "k--", label="1/√N")
        axes.set(title=name, xlabel="episodes N", ylabel="|mean of N estimates - ∇J| / |∇J|")
        axes.legend()


if __name__ == "__main__":
    main()
