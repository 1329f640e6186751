"""The two meanings of bootstrapping; and how sure the mean of five runs is.

    python examples/bootstrap.py --plot bootstrap.png

    (15.1) TD's: a prediction is updated by a prediction, V(s) ← r + γ V(s'). The question is what V is.
    (15.2) Efron's: n results x are drawn again from themselves, x* ~ F̂_n. The question is how sure a number is.

The intervals (15.3) of mean and IQM (15.4) are those of `intervals.py`: sums over all resamples. What they are worth is

    (15.5) coverage = P(the interval holds the truth)

over random samples of normal runs, and exactly over all samples of runs that are of two kinds.

What to see: in Example 6.4 of Sutton and Barto the one episode that saw A went by way of B and ended with 0, but B paid
1 in six of eight. So V(A) is 0 by Monte Carlo and ¾ by TD; and eight episodes leave it anywhere from 0.375 to 1. Of
five normal runs the interval that is called 95 % holds the true mean in 84 % of all cases, Student's in 95 %. Where one
run in five fails, both hold it in 67 %: if all runs at hand went well, they say that there is no doubt.
"""

from math import comb

import cli
import numpy as np
from intervals import interval, iqm, mean, resamples

from scratchpg.returns import discounted, td_targets

RUNS = np.array([87.0, 430.0, 497.0, 500.0, 500.0])
T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447}  # n: the 97.5 % quantile of Student's t_{n-1}


def student(x):
    """Student's interval of the mean: 95 % where the runs are normal."""
    return x.mean() + np.array([-1, 1]) * T[len(x)] * x.std(ddof=1) / np.sqrt(len(x))


WAYS = {"mean": lambda x: interval(x, mean), "IQM": lambda x: interval(x, iqm), "Student's": student}


def coverage(way, samples, p, truth):
    """(15.5)  The probability that way(x) holds the truth, over samples x with probabilities p."""
    low, high = np.transpose([way(x) for x in samples])
    return p @ ((low <= truth) & (truth <= high))


def two_kinds(n, bad):
    """All samples of n runs that end with 100, with probability `bad`, or with 500; and the probabilities."""
    k = range(n + 1)  # runs that end with 100
    return [np.repeat([100.0, 500.0], [i, n - i]) for i in k], [comb(n, i) * bad**i * (1 - bad) ** (n - i) for i in k]


def main():
    args = cli.study(__doc__)
    B = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]  # what B paid; A paid nothing, came up once, in the first episode
    V, G = np.mean(B), discounted([0.0, B[0]], gamma=1.0)
    rows = ("B", V, V, *interval(B, mean)), ("A", G[0], *td_targets([0.0], [V], [False], 1.0), *interval(B, mean))
    columns = {"V of": "", "Monte Carlo": ".3f", "TD": ".3f", "from": ".3f", "to": ".3f"}
    cli.table("(15.1) what V is; and (15.2) from where to where TD's V may lie", columns, rows)

    rows = [(name, *WAYS[name](RUNS)) for name in WAYS]
    title = f"five runs, {', '.join(f'{x:g}' for x in RUNS)}: their mean is {mean(RUNS):.1f}, their IQM {iqm(RUNS):.1f}"
    cli.table(title, {"interval of": "", "from": ".1f", "to": ".1f"}, rows)

    rng, many, rows = np.random.default_rng(args.seed), 100 if args.smoke else 10_000, []
    for n in T:
        normal, kinds = (rng.normal(size=(many, n)), np.full(many, 1 / many), 0.0), (*two_kinds(n, 0.2), 420.0)
        row = [coverage(way, *normal) for way in WAYS.values()]
        rows.append([n, *row, *(coverage(WAYS[name], *kinds) for name in ("mean", "Student's"))])
    names = "mean, normal", "IQM, normal", "Student's, normal", "mean, two kinds", "Student's, two kinds"
    columns = {"runs": "d"} | dict.fromkeys(names, ".1%")
    cli.table(f"(15.5) coverage; of normal runs in {many:,} samples", columns, rows)
    cli.figure(args, draw, np.array(rows), names)


def draw(panels, covered, names):
    rows, p = resamples(len(RUNS))
    for name, statistic in ("mean", mean), ("IQM", iqm):
        panels[0].hist(statistic(RUNS[rows]), bins=np.arange(80, 511, 10), weights=p, alpha=0.6, label=name)
    panels[0].set(title="five runs: distribution of their resamples", xlabel="return", ylabel="probability")
    panels[1].plot(covered[:, 0], covered[:, 1:], label=names)
    panels[1].axhline(0.95, color="k", linewidth=0.8)
    panels[1].set(title="coverage of 95 % intervals", xlabel="runs")
    for axes in panels:
        axes.legend()


if __name__ == "__main__":
    main()
