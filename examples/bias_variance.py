"""Bias and variance of ĝ = Σ_t Ψ_t ∇log π_θ(a_t|s_t) for the weights Ψ_t of the chapters, in one picture.

    python examples/bias_variance.py --plot bias_variance.png

All numbers are exact, over all trajectories of a corridor and all groups of them. V is half of the true one, like a
critic on its way from 0, so what bootstraps from it is biased. Each dot has the Ψ of its chapter; red dots are GRPO.
The grey lines join the dots of all λ from 0 to 1: the full line without γ^t, as in all chapters from the actor-critic
on, the broken line with it. Var[ĝ] is that of an estimate from one episode; of GRPO it is that of the mean over a
group, times the size of the group.

What to see: a true return costs variance, a prediction costs bias, and λ goes from one to the other. A baseline costs
no bias, be it V or the rest of the group; but the mean of three others is noisy, and here worse than none. A mean with
one's own return in it (10.2) makes ĝ shorter by 1/G, and nothing else; a division by the standard deviation of the
group (10.4) makes it much shorter, and turns it.
"""

import cli
import numpy as np
from finite_sums import constant_policy, corridor, estimates, moments, true_values

from scratchpg.returns import discounted, gae, group_advantages

GAMMA, G, LEARNED = 0.9, 4, 0.5  # γ, the size of a group, and the share of the true V that is known
LAMBDAS = np.linspace(0, 1, 21)


def single(mdp, policy):
    """(bias / |∇J|, Var[ĝ]) by name, where one episode is enough; and along λ, without γ^t and with it."""
    batch = mdp.trajectories(policy)
    R = discounted(batch.rewards, GAMMA, batch.ended)
    v, next_v = (LEARNED * x for x in true_values(mdp, policy, batch, GAMMA))
    discounts = GAMMA**batch.t
    A = [gae(batch.rewards, v, next_v, batch.terminated, batch.truncated, GAMMA, x) for x in LAMBDAS]
    weights = {
        "REINFORCE (1.9)": np.broadcast_to(R[0], R.shape),
        "REINFORCE (1.10)": discounts * R,
        "REINFORCE without γ^t": R,
        "baseline": discounts * (R - v),
    }
    exact, p = mdp.gradient(policy, GAMMA), batch.probability
    dots = {name: place(estimates(batch, policy, psi), p, exact) for name, psi in weights.items()}
    lines = np.array([[place(estimates(batch, policy, f * x), p, exact) for x in A] for f in (1, discounts)])
    dots |= {"actor-critic, TD": lines[0, 0], "A2C, A3C, PPO, TRPO: λ = 0.95": lines[0, -2]}
    return dots, lines


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
    dots, lines = single(mdp, policy)
    dots |= groups(mdp, policy)
    title = f"corridor, γ = {GAMMA}, V = {LEARNED} V^π, groups of {G}"
    cli.table(title, {"Ψ_t": "", "bias / |∇J|": ".4f", "Var[ĝ]": ".2f"}, ((name, *xy) for name, xy in dots.items()))
    cli.figure(args, draw, dots, lines, panels=1)


def draw(axes, dots, lines):
    for line, style, name, offset in zip(lines, ("-", "--"), ("without γ^t", "with γ^t"), (9, -50), strict=True):
        axes.plot(*line.T, style, color="tab:gray", zorder=0)
        axes.annotate(name, line[14], (offset, -4), textcoords="offset points", fontsize=8, color="tab:gray")
    for name, (bias, variance) in dots.items():
        axes.plot(bias, variance, "o", color="tab:red" if "GRPO" in name else "tab:blue")
        offset = (6, -10) if name == "REINFORCE (1.10)" else (6, 3)
        axes.annotate(name, (bias, variance), offset, textcoords="offset points", fontsize=8)
    lines_are = "grey lines join all λ from 0 to 1, without γ^t or with it"
    axes.set_title(f"V is half of the true one; {lines_are}; red is GRPO", fontsize=9)
    axes.set(xlabel="bias: |E[ĝ] - ∇J| / |∇J|", ylabel="variance of ĝ", xlim=(-0.05, 1))


if __name__ == "__main__":
    main()
