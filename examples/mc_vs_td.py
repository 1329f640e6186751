"""Monte Carlo against TD: what λ trades, exactly. (4.3), from λ = 0, the TD error (4.1), to λ = 1, G_t - V (2.1).

    python examples/mc_vs_td.py
    python examples/mc_vs_td.py --plot mc_vs_td.png

The estimate ĝ = Σ_t γ^t ∇log π_θ(a_t|s_t) A_t of one episode, over all trajectories of a corridor, when the critic has
learned none, half or all of V^π; and the root mean square error √(bias² + Var/N) of N episodes, all over |∇J|.

What to see: with the true V (which depends on t) no λ is biased, with a wrong one every λ but 1 is. The variance is
largest at λ = 1. So with few episodes a wrong critic is worth its bias; with many, which average the noise away and
leave the bias, it is not.
"""

import common
import numpy as np
from unbiased import corridor
from variance import estimates, moments, true_values

from scratchpg import SoftmaxPolicy
from scratchpg.returns import gae

GAMMA, EPISODES = 0.9, (1, 16, 256)
LEARNED = {"V = 0": 0.0, "V = V^π / 2": 0.5, "V = V^π": 1.0}


def trade(mdp, policy, gamma, learned, lambdas):
    """|bias| and the standard deviation of ĝ, in units of |∇J|, for every λ: (2, len(lambdas))."""
    batch, exact = mdp.trajectories(policy), mdp.gradient(policy, gamma)
    values, next_values = (learned * v for v in true_values(mdp, policy, batch, gamma))
    found = []
    for x in lambdas:
        A = gae(batch.rewards, values, next_values, batch.terminated, batch.truncated, gamma, x)
        mean, variance = moments(estimates(batch, policy, gamma ** batch.timesteps() * A), batch.probability)
        found.append([np.linalg.norm(mean - exact), np.sqrt(variance)])
    return np.transpose(found) / np.linalg.norm(exact)


def main():
    args = common.study(__doc__)
    lambdas = np.linspace(0, 1, 3 if args.smoke else 11)
    mdp, policy = corridor(6), SoftmaxPolicy((4, 2), args.seed, dtype=np.float64)
    print(f"corridor, horizon {mdp.horizon}, γ = {GAMMA}: every number over |∇J|")
    curves = {}
    for name, learned in LEARNED.items():
        bias, deviation = curves[name] = trade(mdp, policy, GAMMA, learned, lambdas)
        errors = np.array([np.sqrt(bias**2 + deviation**2 / N) for N in EPISODES])
        best = ", ".join(
            f"λ = {lambdas[k]:.1f} for N = {N}" for N, k in zip(EPISODES, errors.argmin(axis=1), strict=True)
        )
        print(
            f"\n{name}; the least error has {best}\n   λ    bias  deviation"
            + "".join(f"   error, N = {N:<3}" for N in EPISODES)
        )
        for row in zip(lambdas, bias, deviation, *errors, strict=True):
            print(f"{row[0]:4.1f} {row[1]:7.3f} {row[2]:10.3f}" + "".join(f"{x:17.3f}" for x in row[3:]))
    if args.figure:
        draw(args.figure, lambdas, curves)
        args.figure.savefig(args.plot, dpi=120)


def draw(figure, lambdas, curves):
    figure.set_size_inches(10, 4)
    for axes, (name, (bias, deviation)) in zip(figure.subplots(1, 3, sharey=True), curves.items(), strict=True):
        axes.plot(lambdas, bias, "k-", label="bias")
        axes.plot(lambdas, deviation, "k:", label="standard deviation")
        for N in EPISODES:
            axes.plot(lambdas, np.sqrt(bias**2 + deviation**2 / N), label=f"error of {N} episode(s)")
        axes.set(title=name, xlabel="λ")
        axes.grid(alpha=0.3)
    axes.legend()
    figure.supylabel("in units of |∇J|")


if __name__ == "__main__":
    main()
