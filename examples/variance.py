"""How far N, reward-to-go, a baseline and bootstrapping each lower the variance of the gradient: (7.3).

    python examples/variance.py --plot variance.png

Every row is ĝ = Σ_t Ψ_t ∇log π_θ(a_t|s_t) of one episode with another weight Ψ_t; Var[ĝ] is the trace of its
covariance, and ĝ_4 the mean over 4 episodes. Exactly, over all trajectories of a corridor, with the true V; and
measured on CartPole-v1, with the V_φ that was learned beside the policy.

What to see: N divides the variance by N (1.12), and on CartPole each row down to λ = ½ has less of it than the one
above. That is no theorem (2.5): on the corridor with a policy that is nearly sure of itself, V^π raises it.
Bootstrapping from a V_φ that is not the true one pays with bias (mc_vs_td.py): on CartPole at λ = 0.95 ĝ is too short,
in a direction that is still nearly right, and below that the direction is far off. There ∇J is unknown; the mean of
(2.1), which is unbiased, if noisy, stands for it; the rows above it are unbiased as well.
"""

import cli
import gymnasium as gym
import numpy as np
from finite_sums import constant_policy, corridor, estimates, moments, true_values

from scratchpg import SoftmaxPolicy, Value, baseline
from scratchpg.returns import discounted, gae
from scratchpg.rollout import Collector

GAMMA, N, LAMBDAS = 0.99, 4, (0.95, 0.5, 0.0)
METHODS = ["(1.9)  R(τ)", "(1.10) γ^t G_t", "(2.1)  γ^t (G_t - V)", *(f"(4.3)  γ^t A_t, λ = {x}" for x in LAMBDAS)]


def measure(batch, policy, values, p, groups, exact=None):
    """Var[ĝ_1], Var[ĝ_N], bias / |∇J| and the cosine of E[ĝ] and ∇J by each of the METHODS, (4, 6), from K episodes
    that begin in row 0, have the probabilities p (K,) and form the groups (M, N)."""
    G = discounted(batch.rewards, GAMMA, batch.ended)
    A = [gae(batch.rewards, *values, batch.terminated, batch.truncated, GAMMA, x) for x in LAMBDAS]
    weights = [np.broadcast_to(G[0], G.shape), *(GAMMA**batch.t * x for x in (G, G - values[0], *A))]
    g = np.array([estimates(batch, policy, psi) for psi in weights])
    mean, one = moments(g, p)
    many = [moments(x[groups].mean(axis=1), p[groups].prod(axis=1))[1] for x in g]
    if exact is None:
        exact = mean[2].copy()
        mean[:3] = np.nan  # what the rows above are away from it is noise
    size, sizes = np.linalg.norm(exact), np.linalg.norm(mean, axis=1)
    return np.array([one, many, np.linalg.norm(mean - exact, axis=1) / size, mean @ exact / (sizes * size)])


def on_the_corridor(right):
    """Exactly, for the policy with this π(right): all trajectories, and every N of them."""
    mdp, policy = corridor(4), constant_policy(right)
    batch = mdp.trajectories(policy)
    values, p = true_values(mdp, policy, batch, GAMMA), batch.probability
    groups = np.indices([len(p)] * N).reshape(N, -1).T
    return measure(batch, policy, values, p, groups, mdp.gradient(policy, GAMMA))


def on_cartpole(seed, episodes, steps):
    """Measured in fresh episodes, after so many steps of training."""
    env, fresh = (gym.make_vec("CartPole-v1", n) for n in (8, episodes))
    policy, value = (network.for_env(env, (32,), seed) for network in (SoftmaxPolicy, Value))
    rates = dict(learning_rate=1e-2, value_learning_rate=3e-2)
    for _ in baseline.train(env, policy, value, total_steps=steps, gamma=GAMMA, **rates, seed=seed):
        pass
    batch = Collector(fresh, policy, 10_000 + seed).collect_episodes(episodes)  # one in each
    values = value(batch.states)
    return measure(batch, policy, (values[:-1], values[1:]), np.ones(episodes), np.arange(episodes).reshape(-1, N))


def main():
    args = cli.study(__doc__)
    episodes, steps, seeds = (64, 500, 1) if args.smoke else (512, 14_000, 5)
    tasks = {f"corridor, π(right) = {x}, exactly": on_the_corridor(x) for x in (0.5, 0.9)}
    runs = [on_cartpole(args.seed + i, episodes, steps) for i in range(seeds)]
    tasks[f"CartPole-v1, {episodes} episodes, median of {seeds} seed(s)"] = np.median(runs, axis=0)
    columns = {"Ψ_t": "", "Var[ĝ_1]": ".4g", "/ first row": ".4f", "/ row above": ".3f", f"Var[ĝ_{N}]": ".4g"}
    columns |= {"bias / |∇J|": ".2f", "cosine": ".2f"}
    for task, (one, many, bias, cosine) in tasks.items():
        rows = zip(METHODS, one, one / one[0], one / np.append(one[0], one[:-1]), many, bias, cosine, strict=True)
        cli.table(f"{task}, γ = {GAMMA}", columns, rows)
    cli.figure(args, draw, tasks, panels=1)


def draw(axes, tasks):
    for style, (task, (one, many, *_)) in zip(("C0o", "C1^", "C2s"), tasks.items(), strict=True):
        axes.plot(one / one[0], METHODS, style, label=task)
        axes.plot(many / one[0], METHODS, style, markerfacecolor="white")
    axes.set(xscale="log", xlabel=f"Var[ĝ_1] (filled) and Var[ĝ_{N}] (hollow), over Var[ĝ_1] with R(τ)")
    axes.invert_yaxis()
    axes.legend()


if __name__ == "__main__":
    main()
