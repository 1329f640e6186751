"""The maximum of noisy values is too high, and what an independent judge mends: (11.6).

    python examples/overestimation.py --plot overestimation.png

A actions of equal true value 0, of which an estimate has errors e_b ~ N(0, 1). Exactly, by the distribution of the
largest of A numbers: the expected maximum, judged by
    itself        E max_b e_b                   the target of DQN: 1/√π = 0.564 for A = 2, and more for more actions
    another       E e'_{argmax e}               errors e' that have the correlation ρ with e: ρ times as much
So an independent judge is right, and the target network of double DQN, an older copy, mends a part. Then the same in
a Q that is learned: a ring of states, reward 0 ± 1 whatever the action, so Q* = 0, and tables that learn by (11.2) and
by (11.6) from a replay. Their mean value is all error, carried on by γ.

What to see: the bias grows with the number of actions, and with ρ; learned, it is several times that of one maximum, as
each state bootstraps from the next. With 2 and 4 actions, what double leaves of it is chance; with 16 a third is left,
as its judge, a copy that is at most 50 updates old, has some of the same errors.
"""

import cli
import numpy as np

GAMMA, STATES, RATE, TABLES = 0.95, 5, 0.1, 5


def expected_maximum(A):
    """E max_b e_b of A independent e_b ~ N(0, 1): ∫ x A f(x) F(x)^(A-1) dx, f their density, F = P(e_b ≤ x)."""
    x = np.linspace(-9, 9, 20_001)  # so fine that the sums are as good as integrals
    dx = x[1] - x[0]
    f = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    F = np.cumsum(f) * dx - f * dx / 2  # half of the last term: up to the middle of its interval
    return float((x * A * f * F ** (A - 1)).sum() * dx)


def learned(A, double, updates, rng):
    """The mean of a table Q (S, A) whose true values are 0, as it learns with a step size of 0.1 and a target that is
    copied every 50 updates; double: (11.6), else (11.2)."""
    Q, mean = np.zeros((STATES, A)), []
    for k in range(updates):
        if k % 50 == 0:
            target = Q.copy()
        s, a = rng.integers(STATES, size=32), rng.integers(A, size=32)
        following = (s + 1) % STATES
        best = (Q if double else target)[following].argmax(axis=1)
        y = rng.choice([-1.0, 1.0], size=32) + GAMMA * target[following, best]
        np.add.at(Q, (s, a), RATE * (y - Q[s, a]))
        mean.append(Q.mean())
    return np.array(mean)


def main():
    args = cli.study(__doc__)
    rhos, actions = (0.0, 0.5, 0.9, 1.0), (2, 4, 8, 16)
    columns = {"actions": "d"} | {f"judge with ρ = {rho}": ".3f" for rho in rhos}
    rows = [[A, *(rho * expected_maximum(A) for rho in rhos)] for A in actions]
    cli.table("E of the best-looking action's value; the truth is 0", columns, rows)
    updates, curves, rows = 300 if args.smoke else 6_000, {}, []
    for A in actions:
        for double in False, True:
            runs = [learned(A, double, updates, np.random.default_rng([args.seed, i])) for i in range(TABLES)]
            curves[A, double] = np.mean(runs, axis=0)
        rows.append([A, *(curves[A, double][-updates // 3 :].mean() for double in (False, True))])
    columns = {"actions": "d", "DQN (11.2)": ".3f", "double (11.6)": ".3f"}
    cli.table(f"mean of {TABLES} learned tables, the truth is 0; γ = {GAMMA}, {updates:,} updates", columns, rows)
    cli.figure(args, draw, curves, actions, sharey=True)


def draw(panels, curves, actions):
    for axes, double in zip(panels, (False, True), strict=True):
        for A in actions:
            axes.plot(curves[A, double], label=f"{A} actions")
        axes.set(title="double (11.6)" if double else "DQN (11.2)", xlabel="updates", ylabel="mean Q, true value 0")
    panels[0].legend()


if __name__ == "__main__":
    main()
