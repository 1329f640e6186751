"""How far N, reward-to-go, a baseline and bootstrapping each lower the variance of the gradient: (7.3).

    python examples/variance.py
    python examples/variance.py --plot variance.png

Every row is ĝ = Σ_t Ψ_t ∇log π_θ(a_t|s_t) of one episode with another weight Ψ_t; Var[ĝ] is the trace of its
covariance, and ĝ_4 the mean over 4 episodes. Exactly, over all trajectories of a corridor, with the true V; and
measured on CartPole-v1, with the V_φ that was learned beside the policy.

What to see: N divides the variance by N (1.12), and on CartPole each row has less of it than the one above. That is no
theorem (2.5): on the corridor with a policy that is nearly sure of itself, V^π raises it. Bootstrapping from a V_φ that
is not the true one pays with bias, on CartPole with 0.6 of |∇J| at λ = 0.95, and about all of it below (mc_vs_td.py).
There ∇J is unknown, and the row of (2.1), which is unbiased, stands for it; the rows above it are unbiased as well.
"""

import itertools

import common
import gymnasium as gym
import numpy as np
from unbiased import corridor

from scratchpg import SoftmaxPolicy, Value, baseline, reinforce
from scratchpg.returns import discounted, gae
from scratchpg.rollout import Collector

GAMMA, N = 0.99, 4


def weightings(batch, values, next_values):
    """{name: Ψ (T, K)} of every method, for K episodes that all begin in row 0."""
    kept, G = GAMMA ** batch.timesteps(), discounted(batch.rewards, GAMMA, batch.ended)
    psi = {
        "(1.9)  R(τ)": np.broadcast_to(G[0], G.shape),
        "(1.10) γ^t G_t": kept * G,
        "(2.1)  γ^t (G_t - V)": kept * (G - values),
    }
    for x in 0.95, 0.5, 0.0:
        A = gae(batch.rewards, values, next_values, batch.terminated, batch.truncated, GAMMA, x)
        psi[f"(4.3)  γ^t A_t, λ = {x}"] = kept * A
    return psi


def estimates(batch, policy, weights):
    """ĝ of each of the K episodes, (K, P): minus the gradient of the loss that training descends."""
    rows = []
    for n, valid in enumerate(batch.valid.T):
        episode = batch.states[:-1, n][valid], batch.actions[valid, n], weights[valid, n]
        rows.append(-reinforce.gradient(policy, *episode, episodes=1))
    return np.array(rows)


def moments(g, p):
    """E[ĝ] and Var[ĝ] = E|ĝ - E[ĝ]|² of estimates ĝ (K, P) that have the probabilities p (K,)."""
    mean = p @ g
    return mean, p @ ((g - mean) ** 2).sum(axis=1)


def true_values(mdp, policy, batch, gamma):
    """V_t(s_t) and V_{t+1}(s_{t+1}), (T, K) each: with a horizon the true value depends on t."""
    V, _ = mdp.values(policy, gamma)
    v = V[np.arange(mdp.horizon + 1)[:, None], batch.states.argmax(axis=2)]
    return v[:-1], v[1:]


def compare(batch, policy, values, p, groups, gradient=None):
    """{method: (Var[ĝ_1], Var[ĝ_N], bias / |∇J|)} of episodes with the probabilities p (K,) and groups (M, N)."""
    p_groups, found = p[groups].prod(axis=1), {}
    for name, psi in weightings(batch, *values).items():
        g = estimates(batch, policy, psi)
        found[name] = *moments(g, p), moments(g[groups].mean(axis=1), p_groups / p_groups.sum())[1]
    exact = found["(2.1)  γ^t (G_t - V)"][0] if gradient is None else gradient
    size = np.linalg.norm(exact)
    bias = {name: np.linalg.norm(mean - exact) / size for name, (mean, *_) in found.items()}
    if gradient is None:
        bias |= dict.fromkeys(list(found)[:2], np.nan)  # unbiased: what they are away from (2.1) is noise
    return {name: (one, many, bias[name]) for name, (_, one, many) in found.items()}


def on_the_corridor(right):
    """Exactly, for the policy with this π(right): all trajectories, and every N of them."""
    mdp, policy = corridor(4), SoftmaxPolicy((4, 2), theta=np.append(np.zeros(8), np.log([1 - right, right])))
    batch = mdp.trajectories(policy)
    groups = np.array(list(itertools.product(range(len(batch.probability)), repeat=N)))
    values = true_values(mdp, policy, batch, GAMMA)
    return compare(batch, policy, values, batch.probability, groups, mdp.gradient(policy, GAMMA))


def on_cartpole(seed, episodes, steps):
    """Measured in fresh episodes, after so many steps of training."""
    env, fresh = (gym.make_vec("CartPole-v1", n) for n in (8, episodes))
    policy, value = (network.for_env(env, (32,), seed) for network in (SoftmaxPolicy, Value))
    for _ in baseline.train(env, policy, value, total_steps=steps, gamma=GAMMA, seed=seed):
        pass
    batch = Collector(fresh, policy, 10_000 + seed).collect_episodes(episodes)  # one in each
    groups = np.arange(episodes).reshape(-1, N)
    return compare(batch, policy, batch.values(value), np.full(episodes, 1 / episodes), groups)


def main():
    args = common.study(__doc__)
    episodes, steps, seeds = (64, 500, 1) if args.smoke else (512, 8_000, 5)
    tasks = {f"corridor, π(right) = {x}": on_the_corridor(x) for x in (0.5, 0.9)}
    runs = [on_cartpole(args.seed + i, episodes, steps) for i in range(seeds)]
    tasks["CartPole-v1"] = {name: np.median([run[name] for run in runs], axis=0) for name in runs[0]}
    for task, rows in tasks.items():
        how = f"{episodes} episodes, median of {seeds} seed(s)" if task == "CartPole-v1" else "exactly"
        print(f"\n{task}, γ = {GAMMA}: {how}")
        print(f"       Ψ_t                      Var[ĝ_1]  over R(τ)'s  over the row above    Var[ĝ_{N}]  bias / |∇J|")
        first = above = next(iter(rows.values()))[0]
        for name, (one, many, bias) in rows.items():
            print(
                f"{name:25} {one:14.4g} {one / first:12.4f} {one / above:19.3f} {many:11.4g} {bias:12.2f}".replace(
                    "nan", "  -"
                )
            )
            above = one
    if args.figure:
        draw(args.figure, tasks)
        args.figure.savefig(args.plot, dpi=120)


def draw(figure, tasks):
    figure.set_size_inches(8, 4)
    axes = figure.add_subplot(xscale="log", xlabel="variance, in units of that of R(τ) with one episode")
    for i, (task, rows) in enumerate(tasks.items()):
        one, many, _ = np.transpose(list(rows.values()))
        axes.plot(one / one[0], list(rows), "o^s"[i], color=f"C{i}", label=task)
        axes.plot(many / one[0], list(rows), "o^s"[i], color=f"C{i}", markerfacecolor="white")
    axes.plot([], [], "o", color="0.4", markerfacecolor="white", label=f"the same, N = {N} episodes")
    axes.invert_yaxis()
    axes.grid(alpha=0.3)
    axes.legend()


if __name__ == "__main__":
    main()
