"""How far a learned model can be trusted: (14.2), (14.5), (14.6), (14.7), in a corridor where all is a finite sum.

    python examples/model_error.py --plot model_error.png

A corridor of 6 slippery cells, models counted from n tries of every action in every cell. (14.6) is an equality. The
error of V̂ of a fixed policy falls as n^-½, and grows with the horizon. V̂*, a maximum of noisy values, promises more
than V̂ of the best policy π*; what the model's best policy π̂ loses falls faster than the error.
"""

import cli
import numpy as np

from scratchpg import FiniteMDP, SoftmaxPolicy

CELLS, SLIP = 6, 0.2


def corridor(horizon):
    """Begin in cell 2. Action 0 goes left, 1 right; the left end pays 1 a step, the right end 3 and is terminal."""
    P, r = np.zeros((2, CELLS, 2, CELLS))
    for s, a, slips in np.ndindex(CELLS, 2, 2):  # a slip turns the action round
        P[s, a, np.clip(s + (1 if a != slips else -1), 0, CELLS - 1)] += SLIP if slips else 1 - SLIP
    r[:, :, 0], r[:, :, -1] = 1, 3
    return FiniteMDP(np.eye(CELLS)[2], P, r, horizon=horizon, terminal=np.eye(CELLS)[-1])


def counted(mdp, n, rng):
    """The model from n tries of every action in every cell."""
    s, a, _ = (x.ravel() for x in np.indices((CELLS, 2, n)))
    next_s = (rng.random(len(s))[:, None] > mdp.transition[s, a].cumsum(axis=1)).sum(axis=1)
    return mdp.counted(s, a, mdp.reward[s, a, next_s], next_s)


def lemma(mdp, model, policy):
    """(14.6)  Σ_t E_{d_t of the model}[(r̂ - r) + (P̂ - P) V_{t+1}], for γ = 1."""
    V, pi = mdp.values(policy, 1.0)[0], policy(np.eye(CELLS)).probabilities
    d, total = model.start, 0.0  # d_t(s): P(s_t = s) in the model
    for v in V[1:]:
        Q_hat, Q = ((m.transition * (m.reward + v)).sum(axis=2) for m in (model, mdp))
        total += d @ (pi * (Q_hat - Q)).sum(axis=1)
        d = np.einsum("s,sa,san->n", d, pi, model.transition)
    return total


def errors(horizon, n, runs, rng):
    """Over models: the worst of |V̂ - V - (14.6)|, rms of V̂ - V, mean of V̂* - V̂ of π*, mean of V* - V of π̂."""
    mdp, policy, rows = corridor(horizon), SoftmaxPolicy((CELLS, 2), theta=np.zeros(2 * CELLS + 2)), []
    V_best, Q_best = mdp.optimal(1.0)
    for model in (counted(mdp, n, rng) for _ in range(runs)):
        gap = model.objective(policy, 1.0) - mdp.objective(policy, 1.0)
        V_hat, Q_hat = model.optimal(1.0)
        optimism = V_hat - model.followed(Q_best.argmax(axis=2), 1.0)
        loss = V_best - mdp.followed(Q_hat.argmax(axis=2), 1.0)
        rows.append([abs(gap - lemma(mdp, model, policy)), gap**2, optimism[0, 2], loss[0, 2]])
    off, square, optimism, loss = np.transpose(rows)
    return off.max(), np.sqrt(square.mean()), optimism.mean(), loss.mean()


def mpc(mdp, steps):
    """(14.5) by enumeration: J of acting by the best plan of so many steps. Best plan ≤ MPC with H = T ≤ V*."""
    found = [mdp.plans(min(steps, left), 1.0) for left in range(mdp.horizon, 0, -1)]
    return mdp.followed(np.array([plans[R.argmax(axis=0), 0] for plans, R in found]), 1.0)[0, 2]


def main():
    args = cli.study(__doc__)
    runs, rng = 20 if args.smoke else 400, np.random.default_rng(args.seed)
    columns = {"": "", "n": ",", "(14.6) is off by": ".0e", "rms V̂ - V": ".4f", "V̂* - V̂ π*": ".4f", "V* - V π̂": ".4f"}
    tasks = (12, 4), (12, 16), (12, 64), (12, 256), (12, 1024), (3, 64), (6, 64), (24, 64), (48, 64)
    rows = [(f"T = {T}", n, *errors(T, n, runs, rng)) for T, n in tasks]
    cli.table(f"Models counted from n tries, {runs} of each", columns, rows)
    _, n, _, rms, *_ = zip(*rows[:5], strict=True)
    print(f"rms of V̂ - V ~ n^{np.polyfit(np.log(n), np.log(rms), 1)[0]:.2f}")
    mdp = corridor(8)
    best, V = ("best plan", mdp.plans(8, 1.0)[1][:, 2].max()), ("V*", mdp.optimal(1.0)[0][0, 2])
    values = best, *((f"MPC, H = {H}", mpc(mdp, H)) for H in (1, 2, 3, 4, 8)), V
    cli.table("The true model, T = 8", {"": "", "J": ".4f"}, values)
    cli.figure(args, draw, rows[:5], panels=1)


def draw(axes, rows):
    n, _, rms, optimism, loss = np.array([row[1:] for row in rows]).T
    axes.loglog(n, rms[0] * (n / n[0]) ** -0.5, "k--", label="n^-½")
    for errors, label in (rms, "rms of V̂ - V"), (optimism, "V̂* - V̂ of π*"), (loss, "V* - V of π̂"):
        axes.loglog(n, errors, "o-", label=label)
    axes.legend(title="n tries of each action in each cell")


if __name__ == "__main__":
    main()
