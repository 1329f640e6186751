"""Monte Carlo against TD: what λ and n trade, exactly.

    (4.3) with λ from 0, the TD error (4.1), to 1, G_t - V (2.1);  (4.2) with n from 1, the TD error, to 6, G_t - V

    python examples/mc_vs_td.py --plot mc_vs_td.png

The estimate ĝ = Σ_t γ^t ∇log π_θ(a_t|s_t) A_t of one episode, over all trajectories of a corridor, when the critic has
learned none, half or all of V^π; and the root mean square error √(bias² + Var/N) of N episodes, all over |∇J|.

What to see: with the true V (which depends on t) no λ is biased, with a wrong one every λ but 1 is. Of all λ, 1 has the
most variance. So with few episodes a wrong critic is worth its bias; with many, which average the noise away and leave
the bias, it is not. n trades the same things, less evenly: with V = 0 there is more variance at n = 3 than at n = 6.
And a wrong critic does not stay wrong: one TD update in expectation, V ← B V, brings any two V closer, by γ or better
(3.8), so all of them come to the same V_π.
"""

import cli
import numpy as np
from finite_sums import corridor, estimates, moments, true_values

from scratchpg import SoftmaxPolicy
from scratchpg.returns import gae, n_step

GAMMA, EPISODES = 0.9, (1, 16, 256)
LEARNED = {"V = 0": 0.0, "V = V^π / 2": 0.5, "V = V^π": 1.0}


def trade(mdp, policy, gamma, learned, lambdas, ns=()):
    """|bias| and the standard deviation of ĝ, in units of |∇J|, for every λ and every n, in two rows."""
    batch, exact = mdp.trajectories(policy), mdp.gradient(policy, gamma)
    values, next_values = (learned * v for v in true_values(mdp, policy, batch, gamma))
    steps = batch.rewards, values, next_values, batch.terminated, batch.truncated, gamma
    found = []
    for A in [*(gae(*steps, x) for x in lambdas), *(n_step(*steps, n) for n in ns)]:
        mean, variance = moments(estimates(batch, policy, gamma**batch.t * A), batch.probability)
        found.append([np.linalg.norm(mean - exact), np.sqrt(variance)])
    return np.transpose(found) / np.linalg.norm(exact)


def main():
    args = cli.study(__doc__)
    mdp, policy = corridor(6), SoftmaxPolicy((4, 2), args.seed, dtype=np.float64)
    lambdas, ns = np.linspace(0, 1, 3 if args.smoke else 11), range(1, mdp.horizon + 1)
    ways = [*(f"λ = {x:.1f}" for x in lambdas), *(f"n = {n}" for n in ns)]
    columns = {"": "", "bias": ".3f", "deviation": ".3f"} | {f"error, N = {N}": ".3f" for N in EPISODES}
    curves = {}
    for name, learned in LEARNED.items():
        bias, deviation = trade(mdp, policy, GAMMA, learned, lambdas, ns)
        errors = [np.sqrt(bias**2 + deviation**2 / N) for N in EPISODES]
        best = ", ".join(f"{ways[np.argmin(x)]} for N = {N}" for N, x in zip(EPISODES, errors, strict=True))
        title = f"{name}, corridor of horizon {mdp.horizon}, γ = {GAMMA}: every number over |∇J|"
        cli.table(f"{title}\nthe least error has {best}", columns, zip(ways, bias, deviation, *errors, strict=True))
        curves[name] = [x[: len(lambdas)] for x in (bias, deviation, *errors)]
    V, W, rows = np.zeros(4), np.full(4, 10.0), []
    for k in range(41):
        rows.append([k, abs(V - W).max(), GAMMA**k * 10, V[0], W[0]])
        V, W = (mdp.bellman(policy, x, GAMMA) for x in (V, W))
    columns = {"updates k": "d", "‖BᵏV - BᵏW‖": ".4f", "γᵏ ‖V - W‖": ".4f", "BᵏV(s_0)": ".3f", "BᵏW(s_0)": ".3f"}
    cli.table("(3.8) V = 0 and W = 10 after k updates by TD in expectation, without the horizon", columns, rows[::5])
    cli.figure(args, draw, lambdas, curves, panels=3, sharey=True)


def draw(panels, lambdas, curves):
    for axes, (name, (bias, deviation, *errors)) in zip(panels, curves.items(), strict=True):
        axes.plot(lambdas, bias, "k-", label="bias")
        axes.plot(lambdas, deviation, "k:", label="standard deviation")
        for N, error in zip(EPISODES, errors, strict=True):
            axes.plot(lambdas, error, label=f"error of {N} episode(s)")
        axes.set(title=name, xlabel="λ")
    panels[0].set_ylabel("in units of |∇J|")
    panels[-1].legend()


if __name__ == "__main__":
    main()
