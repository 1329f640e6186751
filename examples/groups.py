"""What a group does for a baseline, and what its normalisations bias, as exact sums: (10.2), (10.3), (10.4), (10.5).

    python examples/groups.py --plot groups.png

The corridor of finite_sums.py and a choice of two failures, a quick one that costs 1 and a slow one that costs 1 or 2,
by all pairs and triples of their trajectories; and one decision with rewards 0 and 1.

What to see: leave-one-out is unbiased. It saves variance where returns lie far from 0 (two failures), and costs some
where they do not (the corridor), as one or two returns are a noisy baseline; less so in larger groups. The plain mean
makes the step 1 - 1/G as long, no more. 1/|τ| turns the direction where lengths differ between good and bad: the slow
failure is punished too little. Divided by the deviation, a start of success p counts c_G(p) times: those that nearly
always fail or succeed weigh most, the more so in large groups; with G = 2 all weigh 1.
"""

from itertools import product
from math import comb, sqrt

import cli
import numpy as np
from finite_sums import corridor, estimates, moments

from scratchpg import FiniteMDP, SoftmaxPolicy
from scratchpg.returns import discounted, group_advantages


def group_estimates(scores, R, p, G, weights=1.0, **options):
    """ĝ of every G-tuple of trajectories, (n, P), and its probability (n,)."""
    tuples = np.array(list(product(range(len(p)), repeat=G)))
    A = group_advantages(R[tuples].ravel(), G, **options).reshape(tuples.shape)
    weighted = scores * np.reshape(weights * np.ones(len(p)), (-1, 1))
    return np.einsum("ng,ngp->np", A, weighted[tuples]) / G, p[tuples].prod(axis=1)


def c(G, p):
    """(10.4)  c_G(p): by how much a start of success p counts, where advantages are divided by the deviation."""
    terms = (comb(G, k) * p**k * (1 - p) ** (G - k) * sqrt(k * (G - k)) for k in range(G + 1))
    return sum(terms) / (G * p * (1 - p))


def two_failures():
    """At once, for 1; or a step later, for 2 or 1."""
    transition = np.zeros((4, 2, 4))
    transition[0, 0, 3] = transition[0, 1, 1] = transition[1, :, 3] = transition[2, :, 3] = 1
    return FiniteMDP(np.eye(4)[0], transition, [[-1, 0], [-2, -1], [0, 0], [0, 0]], horizon=2, terminal=[0, 0, 0, 1])


def measured(mdp, policy, Gs):
    """Each A: how far E[ĝ] goes along ∇J, the cosine between the two, and the variance of an episode."""
    batch, exact = mdp.trajectories(policy), mdp.gradient(policy, 1.0)
    p, R = batch.probability, discounted(batch.rewards, 1.0, batch.ended)[0]
    scores, lengths = estimates(batch, policy, np.ones(batch.valid.shape)), batch.valid.sum(axis=0)
    ways = {
        "leave one out (10.3)": {},
        "mean of all (10.2)": {"leave_one_out": False},
        "divided by the deviation (10.4)": {"leave_one_out": False, "divide_by_std": True},
        "each episode by 1/|τ| (10.5)": {"weights": (p @ lengths) / lengths},
    }
    _, variance = moments(scores * R[:, None], p)
    yield "R, no baseline", 1, 1.0, 1.0, variance / (exact @ exact)
    for G, (name, options) in product(Gs, ways.items()):
        mean, variance = moments(*group_estimates(scores, R, p, G, **options))
        cosine = mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact)
        yield name, G, mean @ exact / (exact @ exact), cosine, G * variance / (exact @ exact)


def main():
    args = cli.study(__doc__)
    policy = SoftmaxPolicy((4, 2), np.random.default_rng(args.seed), dtype=np.float64)
    columns = {"A": "", "G": ".0f", "E[ĝ] along ∇J": ".3f", "cosine": ".4f", "G Var[ĝ] / |∇J|²": ".2f"}
    for name, mdp in {"the corridor": corridor(3 if args.smoke else 6), "two failures": two_failures()}.items():
        cli.table(name, columns, measured(mdp, policy, (2, 3)))
    Gs, ps = (2, 4, 8, 64), np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
    columns = {"p": ".2f"} | {f"G = {G}": ".2f" for G in Gs} | {"1/√(p(1-p))": ".2f"}
    table = [[p, *(c(G, p) for G in Gs), 1 / sqrt(p * (1 - p))] for p in ps]
    cli.table("(10.4) c_G(p): the weight of a start whose success has the probability p", columns, table)
    cli.figure(args, draw, Gs, panels=1)


def draw(axes, Gs):
    ps = np.linspace(0.005, 0.995, 199)
    for G in Gs:
        axes.plot(ps, [c(G, p) for p in ps], label=f"G = {G}")
    axes.plot(ps, 1 / np.sqrt(ps * (1 - ps)), "k:", label="1/√(p(1-p))")
    axes.set(xlabel="p: success from this start", ylabel="c_G(p)", ylim=(0, 8), title="(10.4) the difficulty bias")
    axes.legend()


if __name__ == "__main__":
    main()
