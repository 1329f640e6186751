"""Every weight Ψ_t in one picture: how much ĝ = Σ_t Ψ_t ∇log π_θ(a_t|s_t) scatters, and how far its mean is from ∇J.

    python examples/bias_variance.py --plot bias_variance.png

Exactly, over all trajectories of a corridor, and all groups of them. V is half of the true one, as of a critic on its
way from 0: what bootstraps from it is biased. Var[ĝ] is that of the estimate by one episode, or the mean over a group,
times the size of the group.

What to see: a true return costs variance, a prediction costs bias, and λ goes from one to the other. A baseline costs
no bias, be it V or the rest of the group; but the mean of three others is noisy, and here worse than none. What shortens
or turns the gradient is bias, too: a mean with one's own return in it (10.2), a division by the standard deviation of
the group (10.4), a dropped γ^t.
"""

import cli
import numpy as np
from finite_sums import constant_policy, corridor, estimates, moments, true_values

from scratchpg.returns import discounted, gae, group_advantages

GAMMA, G, LEARNED = 0.9, 4, 0.5  # γ, the size of a group, and the share of the true V that is known
LAMBDAS = np.linspace(0, 1, 21)


def single(mdp, policy):
    """Bias / |∇J| and Var[ĝ] of what one episode is enough for: {name: (bias, variance)}, and the curve of λ."""
    batch = mdp.trajectories(policy)
    R = discounted(batch.rewards, GAMMA, batch.ended)
    v, next_v = (LEARNED * x for x in true_values(mdp, policy, batch, GAMMA))
    discounts = GAMMA**batch.t
    A = [gae(batch.rewards, v, next_v, batch.terminated, batch.truncated, GAMMA, x) for x in LAMBDAS]
    weights = {
        "REINFORCE (1.9)": np.broadcast_to(R[0], R.shape),
        "REINFORCE (1.10)": discounts * R,
        "without γ^t": R,
        "baseline": discounts * (R - v),
    }
    exact, p = mdp.gradient(policy, GAMMA), batch.probability
    dots = {name: place(estimates(batch, policy, psi), p, exact) for name, psi in weights.items()}
    curve = np.array([place(estimates(batch, policy, discounts * x), p, exact) for x in A])
    dots |= {"actor-critic, TD": curve[0], "A2C, A3C, PPO, TRPO: λ = 0.95": curve[-2]}
    return dots, curve


def groups(mdp, policy):
    """The same of GRPO's three weights, over all groups of G episodes: {name: (bias, variance)}."""
    batch = mdp.trajectories(policy)
    R, scores = discounted(batch.rewards, GAMMA, batch.ended)[0], estimates(batch, policy, np.ones(batch.valid.shape))
    members = np.indices([len(R)] * G).reshape(G, -1).T  # (M, G)
    p, exact = batch.probability[members].prod(axis=1), mdp.gradient(policy, GAMMA)
    kinds = {
        "(10.3)": {},
        "(10.2)": {"leave_one_out": False},
        "(10.4)": {"leave_one_out": False, "divide_by_std": True},
    }
    dots = {}
    for name, kind in kinds.items():
        advantages = group_advantages(R[members], G, **kind)
        bias, variance = place((advantages[:, :, None] * scores[members]).mean(axis=1), p, exact)
        dots[f"GRPO {name}"] = bias, G * variance
    return dots


def place(g, p, exact):
    """(bias / |∇J|, Var[ĝ]) of estimates g (K, P) of probability p (K,)."""
    mean, variance = moments(g, p)
    return np.linalg.norm(mean - exact) / np.linalg.norm(exact), variance


def main():
    args = cli.study(__doc__)
    mdp, policy = corridor(4), constant_policy(0.6)
    dots, curve = single(mdp, policy)
    dots |= groups(mdp, policy)
    title = f"corridor, γ = {GAMMA}, V = {LEARNED} V^π, groups of {G}"
    cli.table(title, {"Ψ_t": "", "bias / |∇J|": ".4f", "Var[ĝ]": ".2f"}, ((name, *xy) for name, xy in dots.items()))
    cli.figure(args, draw, dots, curve, panels=1)


def draw(axes, dots, curve):
    axes.plot(*curve.T, "-", color="tab:gray", zorder=0)
    for name, (bias, variance) in dots.items():
        axes.plot(bias, variance, "o", color="tab:red" if "GRPO" in name else "tab:blue")
        offset = (6, -10) if name == "REINFORCE (1.10)" else (6, 3)
        axes.annotate(name, (bias, variance), xytext=offset, textcoords="offset points", fontsize=8)
    axes.annotate("λ from 0 to 1", curve[10], xytext=(6, 6), textcoords="offset points", fontsize=8, color="tab:gray")
    axes.set(xlabel="bias: |E[ĝ] - ∇J| / |∇J|", ylabel="variance of ĝ", xlim=(-0.05, 1))


if __name__ == "__main__":
    main()
