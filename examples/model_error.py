"""How far a learned model can be trusted: (14.2), (14.5), (14.6), (14.7), in a corridor where all is a finite sum.

    python examples/model_error.py --plot model_error.png

A corridor of 6 slippery cells, and models counted from n tries of every action in every cell. What to see: (14.6) is an
equality, whatever the model; the error of V̂ of a fixed policy falls as n^-½, and grows with the horizon; V̂*, a maximum
of noisy values, promises more than V̂ of the best policy π*; what the model's best policy π̂ loses falls faster than the
error. Below, for the true model: the best plan ≤ MPC with H = T ≤ V*.
"""

import cli
import numpy as np

from scratchpg import FiniteMDP, SoftmaxPolicy

CELLS, SLIP = 6, 0.2


def corridor(horizon):
    """Begin in cell 2. Action 0 goes left, 1 right, or the other way with probability SLIP; the left end pays 1 a step,
    the right end 3 and is terminal."""
    P, r = np.zeros((2, CELLS, 2, CELLS))
    for s in range(CELLS):
        for a, step in enumerate((-1, 1)):
            P[s, a, np.clip(s + step, 0, CELLS - 1)] += 1 - SLIP
            P[s, a, np.clip(s - step, 0, CELLS - 1)] += SLIP
    r[:, :, 0], r[:, :, -1] = 1, 3
    return FiniteMDP(np.eye(CELLS)[2], P, r, horizon=horizon, terminal=np.eye(CELLS)[-1])


def counted(mdp, n, rng):
    """The model from n tries of every action in every cell."""
    s, a, _ = (x.ravel() for x in np.indices((CELLS, 2, n)))
    next_s = (rng.random(len(s))[:, None] > mdp.transition[s, a].cumsum(axis=1)).sum(axis=1)
    return mdp.counted(s, a, mdp.reward[s, a, next_s], next_s)


def lemma(mdp, model, policy):
    """(14.6)  Σ_t E_{d_t of the model}[(r̂ - r) + (P̂ - P) V_{t+1}], for γ = 1."""
    V, _ = mdp.values(policy, 1.0)
    pi = policy(np.eye(CELLS)).probabilities
    d, total = model.start, 0.0  # d_t: P(s_t = s) in the model
    for v in V[1:]:
        Q_hat, Q = ((m.transition * (m.reward + v)).sum(axis=2) for m in (model, mdp))
        total += d @ (pi * (Q_hat - Q)).sum(axis=1)
        d = np.einsum("s,sa,san->n", d, pi, model.transition)
    return total


def errors(horizon, n, runs, rng):
    """Over models: the worst of |V̂ - V - (14.6)|, rms of V̂ - V, mean of V̂* - V̂ of π*, mean of V* - V of π̂."""
    mdp, policy, rows = corridor(horizon), SoftmaxPolicy((CELLS, 2), theta=np.zeros(2 * CELLS + 2)), []
    V_best, Q_best = mdp.optimal(1.0)
    for _ in range(runs):
        model = counted(mdp, n, rng)
        gap = model.objective(policy, 1.0) - mdp.objective(policy, 1.0)
        V_hat, Q_hat = model.optimal(1.0)
        optimism = V_hat - model.followed(Q_best.argmax(axis=2), 1.0)
        loss = V_best - mdp.followed(Q_hat.argmax(axis=2), 1.0)
        rows.append([abs(gap - lemma(mdp, model, policy)), gap**2, optimism[0, 2], loss[0, 2]])
    _, square, *means = np.mean(rows, axis=0)
    return np.max(rows, axis=0)[0], np.sqrt(square), *means


def mpc(mdp, steps):
    """(14.5) by enumeration: J of the policy that acts by the best plan of at most so many steps."""
    found = [mdp.plans(min(steps, left), 1.0) for left in range(mdp.horizon, 0, -1)]
    return mdp.followed(np.array([plans[R.argmax(axis=0), 0] for plans, R in found]), 1.0)[0, 2]


def main():
    args = cli.study(__doc__)
    runs, rng = 20 if args.smoke else 400, np.random.default_rng(args.seed)
    columns = {"": "", "n": ",", "(14.6) is off by": ".0e", "rms V̂ - V": ".4f", "V̂* - V̂ π*": ".4f", "V* - V π̂": ".4f"}
    tasks = [*((12, n) for n in (4, 16, 64, 256, 1024)), *((T, 64) for T in (3, 6, 24, 48))]
    rows = [(f"T = {T}", n, *errors(T, n, runs, rng)) for T, n in tasks]
    cli.table(f"Models counted from n tries, {runs} of each", columns, rows)
    _, n, _, rms, *_ = zip(*rows[:5], strict=True)
    print(f"rms of V̂ - V ~ n^{np.polyfit(np.log(n), np.log(rms), 1)[0]:.2f}")
    mdp = corridor(8)
    best, V = mdp.plans(8, 1.0)[1][:, 2].max(), mdp.optimal(1.0)[0][0, 2]
    values = ("best plan", best), *((f"MPC, H = {H}", mpc(mdp, H)) for H in (1, 2, 3, 4, 8)), ("V*", V)
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
