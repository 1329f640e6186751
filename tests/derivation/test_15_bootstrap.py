"""§15 The two meanings of bootstrapping: (15.1) to (15.5), both sides of each, by the functions of the study."""

import importlib
import itertools
import math
import os
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from exact import MEASURED, agree
from helpers import SEEDS
from hypothesis import given
from hypothesis import strategies as st

from scratchpg.returns import discounted, td_targets

EXAMPLES = Path(__file__).parents[2] / "examples"
with patch.object(sys, "path", [str(EXAMPLES), *sys.path]), patch.dict(os.environ):
    bootstrap, intervals = (importlib.import_module(name) for name in ("bootstrap", "intervals"))

N = st.integers(1, 5)
STATISTICS = pytest.mark.parametrize("statistic", [intervals.mean, intervals.iqm], ids=["mean", "IQM"])


def results(seed, n):
    return np.random.default_rng(seed).normal(size=n)


def all_resamples(x):
    """All n^n of them, with repetitions, (n^n, n)."""
    return x[np.indices([len(x)] * len(x)).reshape(len(x), -1).T]


@given(SEEDS, st.floats(0, 1), st.booleans())
def test_eq_15_1_a_prediction_is_updated_by_a_prediction(seed, gamma, terminated):
    """The target r + γ V(s') moves by γ when V(s') moves by 1, but for a terminal s'; G_t does not know V."""
    (r, V) = results(seed, 2)
    target, moved = (td_targets([r], [x], [terminated], gamma) for x in (V, V + 1))
    agree(moved - target, [0.0 if terminated else gamma])


def test_eq_15_1_the_two_answers_of_example_6_4():
    """Eight episodes, (A, B) with rewards 0 and 0, six times B with 1, once B with 0; γ = 1. TD, again and again on the
    same data, comes to V(A) = V(B) = ¾, Monte Carlo to V(A) = 0."""
    A, B, end = 0, 1, 2
    steps = [(A, 0, B), (B, 0, end), *[(B, 1, end)] * 6, (B, 0, end)]
    V = np.zeros(3)
    for _ in range(200):
        for state in A, B:
            mine = [(r, V[n], n == end) for s, r, n in steps if s == state]
            V[state] += 0.5 * (td_targets(*map(np.array, zip(*mine, strict=True)), 1.0).mean() - V[state])
    agree(V[:2], [0.75, 0.75])
    agree(discounted([0.0, 0.0], 1.0)[0], 0.0)


@pytest.mark.parametrize("n", range(1, 10))
def test_eq_15_2_number_and_probability(n):
    """C(2n-1, n) distinct resamples, whose probabilities n!/Π c_i! / n^n add up to 1."""
    rows, p = intervals.resamples(n)
    assert len({tuple(sorted(row)) for row in rows.tolist()}) == len(rows) == math.comb(2 * n - 1, n)
    agree(p.sum(), 1.0)
    c = (rows[-1][:, None] == np.arange(n)).sum(axis=0)
    agree(p[-1], math.factorial(n) / math.prod(map(math.factorial, c)) / n**n)


@given(SEEDS, N)
def test_eq_15_2_the_distribution_is_that_of_all_resamples(seed, n):
    """P(mean* ≤ c) of the weighted distinct resamples, and of all n^n, for c between any two values of mean*."""
    x = results(seed, n)
    rows, p = intervals.resamples(n)
    distinct, literal = intervals.mean(x[rows]), all_resamples(x).mean(axis=1)
    c = np.sort(distinct)
    c = np.append((c[1:] + c[:-1]) / 2, c[-1] + 1)
    agree((distinct <= c[:, None]) @ p, (literal <= c[:, None]).mean(axis=1))


@given(SEEDS, st.integers(2, 7))
def test_eq_15_2_moments(seed, n):
    """E*[mean*] = x̄,  Var*[mean*] = (n-1)/n · s²/n."""
    x = results(seed, n)
    rows, p = intervals.resamples(n)
    means = intervals.mean(x[rows])
    agree(p @ means, x.mean())
    agree(p @ (means - x.mean()) ** 2, (n - 1) / n * x.var(ddof=1) / n)


def test_eq_15_2_more_than_nine_are_drawn():
    """With replacement, all of the n results, and the same resamples each time."""
    rows, p = intervals.resamples(10)
    assert rows.min() == 0 and rows.max() == 9 and any(len({*row}) < 10 for row in rows.tolist())
    agree(p.sum(), 1.0)
    low, high = intervals.interval(np.arange(10.0), intervals.mean)
    assert low == pytest.approx(4.5 - 1.96 * 0.908, abs=0.1) and high == pytest.approx(4.5 + 1.96 * 0.908, abs=0.1)


@STATISTICS
@given(seed=SEEDS, n=N, level=st.sampled_from([0.95, 0.8]))
def test_eq_15_3_percentiles_of_all_resamples(statistic, seed, n, level):
    """q_p: the least value that at least a share p of all n^n resamples does not exceed; from above as from below."""
    x = results(seed, n)
    values = np.sort(statistic(all_resamples(x)))
    cut = math.ceil((1 - level) / 2 * n**n - 1e-9) - 1  # so many lie outside, at either end
    agree(intervals.interval(x, statistic, level), [values[cut], values[-1 - cut]])


@STATISTICS
@given(seed=SEEDS, n=st.integers(1, 7))
def test_eq_15_3_the_statistic_lies_between_the_ends(statistic, seed, n):
    """And an interval moves and stretches with the results."""
    x = results(seed, n)
    low, high = intervals.interval(x, statistic)
    assert low <= statistic(x) <= high
    agree(intervals.interval(3 - 2 * x, statistic), [3 - 2 * high, 3 - 2 * low])


@given(SEEDS, st.integers(1, 12))
def test_eq_15_4_without_a_quarter_at_each_end(seed, n):
    """The mean without the ⌊n/4⌋ least and the ⌊n/4⌋ greatest; of five runs, of the middle three."""
    x = results(seed, n)
    kept = sorted(x)[n // 4 : len(x) - n // 4]
    agree(intervals.iqm(x), sum(kept) / len(kept))
    agree(intervals.iqm(np.array([9.0, 1, 2, 6, -100])), 3.0)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_eq_15_5_two_kinds(n):
    """P(the interval holds the truth), over all 2^n samples of runs that end with 100 or 500, one by one."""
    truth, total = 0.2 * 100 + 0.8 * 500, 0.0
    for x in itertools.product([100.0, 500.0], repeat=n):
        low, high = intervals.interval(x, intervals.mean)
        total += 0.2 ** x.count(100.0) * 0.8 ** x.count(500.0) * (low <= truth <= high)
    agree(bootstrap.coverage(bootstrap.WAYS["mean"], *bootstrap.two_kinds(n, 0.2), truth), total)


def test_eq_15_5_two_runs_hold_the_truth_half_the_time():
    """The interval of two runs goes from one to the other: of x = (±a, ±b), half hold 0."""
    samples = [np.array([a, b]) for a in (-1.0, 1.0) for b in (-3.0, 3.0)]
    agree(bootstrap.coverage(bootstrap.WAYS["mean"], samples, np.full(4, 0.25), 0.0), 0.5)


@pytest.mark.parametrize("n", bootstrap.T)
def test_eq_15_5_student_s_quantile(n):
    """∫ of the density of t_{n-1} from -∞ to the quantile is 0.975, to the three digits that are given."""
    nu = n - 1
    x, width = np.linspace(0, bootstrap.T[n], 200_001, retstep=True)
    density = (1 + x**2 / nu) ** (-(nu + 1) / 2)
    density *= math.gamma((nu + 1) / 2) / math.sqrt(nu * math.pi) / math.gamma(nu / 2)
    area = 0.5 + (density.sum() - (density[0] + density[-1]) / 2) * width
    assert abs(area - 0.975) < 0.0005 * density[-1] + 1e-9
    agree(bootstrap.student(np.arange(n)) - (n - 1) / 2, np.array([-1, 1]) * bootstrap.T[n] * math.sqrt((n + 1) / 12))


@pytest.mark.parametrize(("way", "expected"), [("mean", 0.84), ("Student's", 0.95)])
def test_eq_15_5_normal_runs(way, expected):
    """Of five normal runs: not 95 % for the percentile interval of the mean."""
    samples = np.random.default_rng(0).normal(size=(10_000, 5))
    found = bootstrap.coverage(bootstrap.WAYS[way], samples, np.full(10_000, 1e-4), 0.0)
    MEASURED[f"(15.5) coverage of five normal runs, {way}"] = f"{found:.1%}"
    assert abs(found - expected) < 0.01
