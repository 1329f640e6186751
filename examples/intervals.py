"""How sure the mean of a few runs is: Efron's bootstrap, as a finite sum.

    (15.2)  n results x are drawn again from themselves, x* ~ F̂_n: n^n resamples, of which C(2n-1, n) are distinct
    (15.3)  percentile interval [q_{α/2}, q_{1-α/2}] of statistic(x*)
    (15.4)  IQM, interquartile mean: the mean without ⌊n/4⌋ results at each end; of five the middle three

Up to n = 9 all resamples are summed up, so that an interval is exact and no random number is drawn. What it is worth
with few runs, `bootstrap.py` shows. Source: Efron 1979; for reinforcement learning Agarwal et al. 2021,
arXiv:2108.13264.
"""

from functools import cache
from itertools import combinations_with_replacement
from math import factorial

import numpy as np


def mean(x):
    """The mean of the last axis."""
    return np.mean(x, axis=-1)


def iqm(x):
    """(15.4)  The interquartile mean of the last axis."""
    n = np.shape(x)[-1]
    return np.sort(x)[..., n // 4 : n - n // 4].mean(axis=-1)


@cache
def resamples(n):
    """(15.2)  Which of n results are in each distinct resample, (K, n), and its probability n!/Π c_i! / n^n, (K,),
    where result i is in it c_i times. For n > 9 they are too many: 10,000 are drawn, always the same."""
    if n > 9:
        return np.random.default_rng(0).integers(n, size=(10_000, n)), np.full(10_000, 1e-4)
    rows = np.array([*combinations_with_replacement(range(n), n)])
    ways = [factorial(n) // np.prod([factorial(c) for c in np.bincount(row)]) for row in rows]
    return rows, np.array(ways) / n**n


def interval(x, statistic, level=0.95):
    """(15.3)  From the least to the greatest statistic(x*), but for a probability of (1 - level)/2 at either end."""
    rows, p = resamples(len(x))
    values = statistic(np.asarray(x)[rows])
    up = np.argsort(values)
    return [values[order][np.searchsorted(p[order].cumsum(), (1 - level) / 2)] for order in (up, up[::-1])]
