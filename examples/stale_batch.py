"""An old batch says ever less about a new policy, and what repairs it is the ratio: (7.1).

    python examples/stale_batch.py
    python examples/stale_batch.py --plot stale_batch.png

Random policies on two arms and on a corridor; θ goes away from θ_old along ∇J(θ_old). At each θ the estimate of ∇J(θ)
from the old batch, ĝ = Σ_t w_t γ^t ∇log π_θ(a_t|s_t) A_t with A_t = G_t - V_old(s_t), over all trajectories, with
    plain    w_t = 1
    r_t      w_t = r_t(θ), the ratio (6.1) of that one step, as in PPO
    Π r_t    w_t = r_0 r_1 … r_T, which turns p(τ|θ_old) into p(τ|θ)

What to see: plain reuse is biased, in the end by several times the gradient. Π r_t has no bias at any distance, at the
price of variance. r_t has little variance, and repairs the choice of a_t only: which states come, and what A_t says,
is still as the old policy had it. It is exact for episodes of one step; on the corridor it takes away a quarter of the
bias at a distance of 0.25 and half of it at 0.75.
"""

import common
import numpy as np
from collapse import arms
from unbiased import corridor
from variance import estimates, moments, true_values

from scratchpg import SoftmaxPolicy
from scratchpg.returns import discounted

GAMMA = 0.9
WAYS = {  # name: from r_t, (T, K), to w_t
    "plain": np.ones_like,
    "$r_t$, as in PPO": lambda r: r,
    "$Π\\,r_t$": lambda r: np.broadcast_to(r.prod(axis=0), r.shape),
}


def ratios(batch, old, policy):
    """(6.1)  r_t(θ) of every step, (T, K); 1 after the end."""
    states, actions = batch.rows()
    r = np.ones(batch.valid.shape)
    r[batch.valid] = np.exp(policy(states).log_prob(actions) - old(states).log_prob(actions))
    return r


def estimate(mdp, old, policy, gamma, way):
    """E[ĝ] and Var[ĝ] at the θ of `policy`, from all trajectories of the old policy."""
    batch = mdp.trajectories(old)
    A = discounted(batch.rewards, gamma, batch.ended) - true_values(mdp, old, batch, gamma)[0]
    weights = way(ratios(batch, old, policy)) * gamma ** batch.timesteps() * A
    return moments(estimates(batch, policy, weights), batch.probability)


def reuse(mdp, old, policy, gamma):
    """|E[ĝ] - ∇J(θ)| over |∇J(θ)|, and Var[ĝ] over that of a fresh batch: (2, 3), for each of the WAYS."""
    exact = mdp.gradient(policy, gamma)
    _, fresh = estimate(mdp, policy, policy, gamma, np.ones_like)
    found = [estimate(mdp, old, policy, gamma, way) for way in WAYS.values()]
    return np.transpose([(np.linalg.norm(mean - exact) / np.linalg.norm(exact), var / fresh) for mean, var in found])


def random_policy(seed):
    """θ ~ N(0, ½²)."""
    return SoftmaxPolicy((4, 2), theta=np.random.default_rng(seed).normal(0, 0.5, 10))


def main():
    args = common.study(__doc__)
    sizes = np.linspace(0, 2, 3 if args.smoke else 9)
    policies = [random_policy(args.seed + i) for i in range(1 if args.smoke else 15)]
    tasks = {"two arms, one step": arms(), "corridor, 6 steps": corridor(6)}
    table = {name: [] for name in tasks}
    for name, mdp in tasks.items():
        print(f"\n{name}, γ = {GAMMA}: medians over {len(policies)} random policies")
        print(f"{'bias / |∇J(θ)|':>37}{'Var / that of a fresh batch':>36}")
        print(" |θ - θ_old|    plain      r_t    Π r_t         plain      r_t    Π r_t")
        for size in sizes:
            found = []
            for old in policies:
                direction = mdp.gradient(old, GAMMA)
                theta = old.theta + size * direction / np.linalg.norm(direction)
                found.append(reuse(mdp, old, SoftmaxPolicy((4, 2), theta=theta), GAMMA))
            table[name].append(np.median(found, axis=0))
            print(f"{size:12.2f}" + "     ".join("".join(f"{x:9.3f}" for x in row) for row in table[name][-1]))
    if args.figure:
        draw(args.figure, sizes, np.array(table["corridor, 6 steps"]))
        args.figure.savefig(args.plot, dpi=120)


def draw(figure, sizes, rows):
    figure.set_size_inches(10, 4)
    titles = "bias, in units of |∇J(θ)|", "variance, in units of that of a fresh batch"
    for i, (axes, title) in enumerate(zip(figure.subplots(1, 2), titles, strict=True)):
        for k, name in enumerate(WAYS):
            axes.plot(sizes, rows[:, i, k], "o-", label=name)
        axes.set(title=title, xlabel=r"$|θ - θ_{old}|$", yscale="log" if i else "linear")
        axes.grid(alpha=0.3)
        if not i:
            axes.legend()


if __name__ == "__main__":
    main()
