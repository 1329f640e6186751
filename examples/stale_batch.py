"""An old batch says ever less about a new policy, and what repairs it is the ratio: (7.1).

    python examples/stale_batch.py --plot stale_batch.png

Random policies on two arms and on a corridor; θ goes away from θ_old along ∇J(θ_old). At each θ the estimate of ∇J(θ)
from the old batch, ĝ = Σ_t w_t γ^t ∇log π_θ(a_t|s_t) A_t with A_t = G_t - V_old(s_t), over all trajectories, with
    plain    w_t = 1
    r_t      w_t = r_t(θ), the ratio (6.1) of that one step, as in PPO
    Π r_t    w_t = r_0 r_1 … r_T, which turns p(τ|θ_old) into p(τ|θ)

What to see: plain reuse is biased, in the end by several times the gradient. Π r_t has no bias at any distance; on the
corridor it pays with two to four times the variance of a fresh batch. r_t needs little more than a fresh batch's, and
repairs the choice of a_t only: which states come, and what A_t says, is still as the old policy had it. It is exact for
episodes of one step; on the corridor it takes away some of the bias, far away most of it.
"""

import cli
import numpy as np
from finite_sums import arms, corridor, estimates, moments, true_values

from scratchpg import SoftmaxPolicy
from scratchpg.returns import discounted

GAMMA, WAYS = 0.9, ("plain", "PPO's r_t", "Π r_t")


def ratios(batch, old, policy):
    """(6.1)  r_t(θ) of every step, (T, K); 1 after the end."""
    states, actions = batch.samples()
    r = np.ones(batch.valid.shape)
    r[batch.valid] = np.exp(policy(states).log_prob(actions) - old(states).log_prob(actions))
    return r


def estimate(mdp, old, policy, gamma):
    """E[ĝ] (3, P) and Var[ĝ] (3,) at the θ of `policy` in each of the WAYS, from all trajectories of the old policy."""
    batch = mdp.trajectories(old)
    A = discounted(batch.rewards, gamma, batch.ended) - true_values(mdp, old, batch, gamma)[0]
    r = ratios(batch, old, policy)
    g = [estimates(batch, policy, w * gamma**batch.t * A) for w in (1.0, r, r.prod(axis=0))]
    return moments(np.array(g), batch.probability)


def reuse(mdp, old, size, gamma):
    """|E[ĝ] - ∇J(θ)| / |∇J(θ)| and Var[ĝ] / that of a fresh batch, (2, 3), at the distance `size` along ∇J(θ_old)."""
    direction = mdp.gradient(old, gamma)
    policy = SoftmaxPolicy((4, 2), theta=old.theta + size * direction / np.linalg.norm(direction))
    exact = mdp.gradient(policy, gamma)
    mean, variance = estimate(mdp, old, policy, gamma)
    _, fresh = estimate(mdp, policy, policy, gamma)
    return np.array([np.linalg.norm(mean - exact, axis=1) / np.linalg.norm(exact), variance / fresh])


def random_policy(seed):
    """θ ~ N(0, ½²)."""
    return SoftmaxPolicy((4, 2), theta=np.random.default_rng(seed).normal(0, 0.5, 10))


def main():
    args = cli.study(__doc__)
    sizes = np.linspace(0, 2, 3 if args.smoke else 9)
    policies = [random_policy(args.seed + i) for i in range(1 if args.smoke else 15)]
    columns = {"|θ - θ_old|": ".2f"} | {f"{what}, {way}": ".3f" for what in ("bias", "variance") for way in WAYS}
    for name, mdp in {"two arms, one step": arms(), "corridor, 6 steps": corridor(6)}.items():
        found = np.array([np.median([reuse(mdp, old, size, GAMMA) for old in policies], axis=0) for size in sizes])
        rows = np.column_stack([sizes, found.reshape(len(sizes), -1)])
        title = f"{name}, γ = {GAMMA}, medians of {len(policies)} policies"
        cli.table(f"{title}: bias / |∇J(θ)| and variance / a fresh batch's", columns, rows)
    cli.figure(args, draw, sizes, found, title)  # the corridor's


def draw(panels, sizes, found, title):
    bias, variance = panels
    for k, name in enumerate(WAYS):
        bias.plot(sizes, found[:, 0, k], "o-", label=name.replace("r_t", "$r_t$"))
        variance.semilogy(sizes, found[:, 1, k], "o-")
    bias.set(title=title, ylabel="bias / |∇J(θ)|", xlabel=r"$|θ - θ_{old}|$")
    variance.set(title=title, ylabel="variance / that of a fresh batch", xlabel=r"$|θ - θ_{old}|$")
    bias.legend()


if __name__ == "__main__":
    main()
