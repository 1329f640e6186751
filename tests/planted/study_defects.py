"""Mistakes of the studies on TD's convergence and on intervals, in the form of `defects.py`."""

from .defects import Defect

TD = ("tests/derivation/test_3_td_convergence.py",)
INTERVALS = ("tests/derivation/test_15_bootstrap.py",)

STUDY_DEFECTS = (
    Defect(
        "all-states-alike",
        "TD with features: whether it diverges does not depend on the states that are updated",
        "D, how often each state is updated, is left out of A and b: off-policy and on-policy data look the same",
        "examples/td_convergence.py",
        {
            "return (X.T * d) @ (gamma * P - np.eye(len(d))) @ X, (X.T * d) @ r": "return X.T @ (gamma * P - "
            "np.eye(len(d))) @ X, X.T @ r"
        },
        tests=TD,
    ),
    Defect(
        "no-noise",
        "TD in a table: the error of a constant step size goes to 0",
        "ξ, what a sampled target differs by from its mean, is left out of the recursion",
        "examples/td_convergence.py",
        {"- unit[s] + xi * unit[-1])": "- unit[s])"},
        tests=TD,
    ),
    Defect(
        "on-average-only",
        "TD in a table: the computed error is less than that of the runs that one draws",
        "the term of α² is left out: it is E[z] that is followed, not E[z zᵀ]",
        "examples/td_convergence.py",
        {" + alpha**2 * (G[1] @ u)": ""},
        tests=TD,
    ),
    Defect(
        "without-replacement",
        "bootstrap: with ten runs and more every interval of a mean is a single point",
        "the runs are shuffled, so that each resample has all of them",
        "examples/intervals.py",
        {"integers(n, size=(10_000, n))": "permuted(np.tile(np.arange(n), (10_000, 1)), axis=1)"},
        tests=INTERVALS,
    ),
    Defect(
        "distinct-resamples-alike",
        "bootstrap: intervals are too wide",
        "the distinct resamples count alike, although the one that is all x_1 comes up once in n^n",
        "examples/intervals.py",
        {"return rows, np.array(ways) / n**n": "return rows, np.full(len(ways), 1 / len(ways))"},
        tests=INTERVALS,
    ),
    Defect(
        "both-tails-in-one",
        "bootstrap: the interval that is called 95 % is one of 90 %",
        "1 - level is cut off at each end, not in all",
        "examples/intervals.py",
        {"(1 - level) / 2)": "1 - level)"},
        tests=INTERVALS,
    ),
    Defect(
        "iqm-in-the-order-of-seeds",
        "IQM: it changes when the runs are listed in another order",
        "the first and the last quarter are left out, not the lowest and the highest",
        "examples/intervals.py",
        {"np.sort(x)[..., n // 4": "x[..., n // 4"},
        tests=INTERVALS,
    ),
    Defect(
        "interval-of-the-median",
        "compare.py: a mean stands outside its own interval",
        "the interval beside the mean and the IQM is that of the median",
        "examples/compare.py",
        {"else interval(x, statistic)": "else interval(x, lambda x: np.median(x, axis=-1))"},
        tests=("tests/test_examples.py::test_compare_says_how_sure_a_mean_is",),
    ),
)
