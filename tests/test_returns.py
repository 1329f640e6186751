"""Returns, targets and advantages: ends of episodes by hand, the printed sums evaluated literally, the identities."""

import numpy as np
import pytest
from helpers import LD, SEEDS, same_bits
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import returns
from scratchpg.plumbing.check import NonFiniteError

# Three steps with γ = λ = ½, so γλ = ¼. The true successor of the middle step is worth 10 where its episode ended, and
# is the third state, worth 2, where it went on; the successor of the last step is worth 6.
REWARDS, VALUES = [1.0, 2.0, 4.0], [8.0, 4.0, 2.0]
FLAGS = {"goes on": (0, 0), "terminated": (1, 0), "truncated": (0, 1), "both": (1, 1)}
NO_END = [3, 3, 7], [-4.9375, 0.25, 5], [-5.5, 1.5, 5], [3, 4, 4]
MIDDLE_TERMINATED = [3, 2, 7], [-5.5, -2, 5], [-6, -2, 5], [2, 2, 4]
LAST_TERMINATED = [3, 3, 4], [-5.125, -0.5, 2], [-5.5, 0, 2], [3, 4, 4]
CASES = {  # (row, how it ends): TD targets, GAE, 2-step advantages, G. By hand, from the last row to the first:
    # TD targets r + ½V': 4 + 6/2 = 7, 2 + 2/2 = 3, 1 + 4/2 = 3, so δ = 7 - 2 = 5, 3 - 4 = -1, 3 - 8 = -5
    #   GAE δ + ¼A':  5, -1 + 5/4 = 0.25, -5 + 0.25/4 = -4.9375     2 steps δ + ½δ':  5, -1 + 5/2 = 1.5, -5 - 1/2 = -5.5
    #   G:  4, 2 + 4/2 = 4, 1 + 4/2 = 3
    (1, "goes on"): NO_END,
    # the middle target is 2, δ = 2 - 4 = -2, and the last row is of another episode
    #   GAE:  5, -2, -5 - 2/4 = -5.5      2 steps:  5, -2, -5 - 2/2 = -6      G:  4, 2, 1 + 2/2 = 2
    (1, "terminated"): MIDDLE_TERMINATED,
    (1, "both"): MIDDLE_TERMINATED,
    # the middle target is 2 + 10/2 = 7, δ = 7 - 4 = 3, and the last row is of another episode
    #   GAE:  5, 3, -5 + 3/4 = -4.25      2 steps:  5, 3, -5 + 3/2 = -3.5      G:  4, 2, 1 + 2/2 = 2
    (1, "truncated"): ([3, 7, 7], [-4.25, 3, 5], [-3.5, 3, 5], [2, 2, 4]),
    # the last target is 4, δ = 4 - 2 = 2
    #   GAE:  2, -1 + 2/4 = -0.5, -5 - 0.5/4 = -5.125      2 steps:  2, -1 + 2/2 = 0, -5 - 1/2 = -5.5      G as without
    (2, "terminated"): LAST_TERMINATED,
    (2, "both"): LAST_TERMINATED,
    # cut off after the last row or not: its successor counts
    (2, "truncated"): NO_END,
    (2, "goes on"): NO_END,
}


def inputs(row, end):
    """rewards, values, next_values, terminated and truncated of a case."""
    next_values = [4.0, 10.0 if row == 1 and end != "goes on" else 2.0, 6.0]
    flags = np.zeros((2, 3), bool)
    flags[:, row] = FLAGS[end]
    return REWARDS, VALUES, next_values, *flags


def everything(rewards, values, next_values, terminated, truncated):
    """What this module computes, in the order of the cases."""
    return (
        returns.td_targets(rewards, next_values, terminated, 0.5),
        returns.gae(rewards, values, next_values, terminated, truncated, 0.5, 0.5),
        returns.n_step(rewards, values, next_values, terminated, truncated, 0.5, 2),
        returns.discounted(rewards, 0.5, np.logical_or(terminated, truncated)),
    )


@pytest.mark.parametrize("case", CASES)
def test_ends_of_episodes_by_hand(case):
    for computed, by_hand in zip(everything(*inputs(*case)), CASES[case], strict=True):
        np.testing.assert_array_equal(computed, by_hand)  # all exact in binary


def test_environments_side_by_side():
    arguments = [np.stack(xs, axis=1) for xs in zip(*(inputs(*case) for case in CASES), strict=True)]  # (T, N) each
    by_hand = [np.stack(xs, axis=1) for xs in zip(*CASES.values(), strict=True)]
    for computed, expected in zip(everything(*arguments), by_hand, strict=True):
        np.testing.assert_array_equal(computed, expected)


@pytest.mark.parametrize(
    "terminated, truncated, advantage",
    # T = 1: r + ½ V(s') - V(s) = 1 + ½·6 - 8 = -4, or 1 - 8 = -7 where s' is terminal
    [(False, False, -4), (True, False, -7), (False, True, -4), (True, True, -7)],
)
def test_a_single_step(terminated, truncated, advantage):
    arguments = [1.0], [8.0], [6.0], [terminated], [truncated]
    _, gae, n_step, G = everything(*arguments)
    assert gae == n_step == advantage and G == 1


def test_five_step_episode_by_hand():
    # r = 1, 0, 2, -1, 3 with γ = ½:  G_4 = 3,  G_3 = -1 + 3/2 = 0.5,  G_2 = 2 + 0.5/2 = 2.25,
    # G_1 = 0 + 2.25/2 = 1.125,  G_0 = 1 + 1.125/2 = 1.5625
    np.testing.assert_array_equal(returns.discounted([1, 0, 2, -1, 3], 0.5), [1.5625, 1.125, 2.25, 0.5, 3])
    # all 1 with γ = 0.9:  1,  1 + 0.9 = 1.9,  1 + 1.71 = 2.71,  1 + 2.439 = 3.439,  1 + 3.0951 = 4.0951
    np.testing.assert_allclose(returns.discounted(np.ones(5), 0.9), [4.0951, 3.439, 2.71, 1.9, 1], rtol=1e-15)


def test_the_limits_of_gamma():
    np.testing.assert_array_equal(returns.discounted([1.0, 2.0, 3.0], 0), [1, 2, 3])
    np.testing.assert_array_equal(returns.discounted([1.0, 2.0, 3.0], 1), [6, 5, 3])


def episodes(seed, T, p_end=0.3):
    """Random rows: rewards, values, next_values, terminated, truncated. Where an episode goes on, V(s_{t+1}) is the
    next row's value; where it ended, and past the last row, it is a number of its own."""
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.standard_normal((3, T)).astype(LD)
    terminated, truncated = rng.random((2, T)) < p_end
    on = ~(terminated | truncated)[:-1]
    next_values[:-1][on] = values[1:][on]
    return rewards, values, next_values, terminated, truncated


def last_row(t, ended):
    """The last row of the episode of row t, or of all rows if it does not end within them."""
    ends = np.flatnonzero(ended[t:])
    return t + ends[0] if len(ends) else len(ended) - 1


LENGTHS = st.integers(1, 12)
UNIT = st.sampled_from([0, 0.3, 0.9, 1]).map(LD)  # γ and λ; as longdoubles, so that nothing is rounded to less


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-16)


@given(SEEDS, LENGTHS, UNIT)
def test_discounted_is_the_printed_sum(seed, T, gamma):
    rewards, _, _, terminated, truncated = episodes(seed, T)
    ended = terminated | truncated
    literal = [sum(gamma ** (k - t) * rewards[k] for k in range(t, last_row(t, ended) + 1)) for t in range(T)]
    assert_close(returns.discounted(rewards, gamma, ended), literal)


def literal_delta(rewards, values, next_values, terminated, gamma):
    return [
        r + gamma * (0 if over else w) - v
        for r, v, w, over in zip(rewards, values, next_values, terminated, strict=True)
    ]


@given(SEEDS, LENGTHS, UNIT, UNIT)
def test_gae_is_the_printed_sum(seed, T, gamma, lam):
    rewards, values, next_values, terminated, truncated = rows = episodes(seed, T)
    delta = literal_delta(rewards, values, next_values, terminated, gamma)
    ended = terminated | truncated
    literal = [sum((gamma * lam) ** k * delta[t + k] for k in range(last_row(t, ended) - t + 1)) for t in range(T)]
    assert_close(returns.gae(*rows, gamma, lam), literal)


@given(SEEDS, LENGTHS, UNIT, st.integers(1, 14))
def test_n_step_is_the_printed_sum(seed, T, gamma, n):
    rewards, values, next_values, terminated, truncated = rows = episodes(seed, T)
    literal = []
    for t in range(T):
        end = last_row(t, terminated | truncated)
        steps = min(n, end - t + 1)  # an episode that ends sooner has fewer terms
        bootstrap = 0 if terminated[t + steps - 1] else next_values[t + steps - 1]  # V(s_{t+n})
        literal.append(sum(gamma**k * rewards[t + k] for k in range(steps)) + gamma**steps * bootstrap - values[t])
    assert_close(returns.n_step(*rows, gamma, n), literal)


@given(SEEDS, LENGTHS, UNIT)
def test_lambda_0_and_n_1_are_the_td_error(seed, T, gamma):
    rewards, values, next_values, terminated, _ = rows = episodes(seed, T)
    one_step = returns.td_targets(rewards, next_values, terminated, gamma) - values  # (4.1)
    assert_close(one_step, literal_delta(rewards, values, next_values, terminated, gamma))
    for same in (
        returns.td_errors(rewards, values, next_values, terminated, gamma),
        returns.gae(*rows, gamma, 0),
        returns.n_step(*rows, gamma, 1),
    ):
        np.testing.assert_array_equal(same, one_step)


@given(SEEDS, LENGTHS, UNIT)
def test_lambda_1_and_n_to_the_end_are_the_return_minus_the_value(seed, T, gamma):
    rewards, values, next_values, terminated, truncated = episodes(seed, T)
    terminated |= truncated  # no bootstrap anywhere: every episode terminates, the last one with the rows
    terminated[-1] = True
    rows = rewards, values, next_values, terminated, truncated
    advantage = returns.discounted(rewards, gamma, terminated) - values  # (2.1)
    assert_close(returns.gae(*rows, gamma, 1), advantage)
    assert_close(returns.n_step(*rows, gamma, T), advantage)


@given(SEEDS, LENGTHS, UNIT)
def test_lambda_1_is_n_to_the_end_of_the_rows_wherever_they_end(seed, T, gamma):
    rows = episodes(seed, T)
    assert_close(returns.gae(*rows, gamma, 1), returns.n_step(*rows, gamma, T))


@given(SEEDS, LENGTHS, UNIT)
def test_gamma_0_is_the_reward_minus_the_value(seed, T, lam):
    rewards, values, *_ = rows = episodes(seed, T)
    for same in (returns.gae(*rows, 0, lam), returns.n_step(*rows, 0, T)):
        np.testing.assert_array_equal(same, rewards - values)


@given(st.lists(st.tuples(SEEDS, LENGTHS, st.booleans()), min_size=2, max_size=4), UNIT, UNIT)
def test_concatenated_episodes_equal_separate_ones(parts, gamma, lam):
    separate = []
    for seed, T, terminates in parts:
        rows = episodes(seed, T, p_end=0)
        rows[3][-1], rows[4][-1] = terminates, not terminates
        separate.append(rows)
    together = [np.concatenate(xs) for xs in zip(*separate, strict=True)]
    for f in (
        lambda *rows: returns.gae(*rows, gamma, lam),
        lambda *rows: returns.n_step(*rows, gamma, 3),
        lambda r, v, w, terminated, truncated: returns.discounted(r, gamma, terminated | truncated),
        lambda r, v, w, terminated, truncated: returns.td_targets(r, w, terminated, gamma),
    ):
        np.testing.assert_array_equal(f(*together), np.concatenate([f(*rows) for rows in separate]))


@given(SEEDS, LENGTHS, st.integers(1, 4), UNIT, UNIT)
def test_columns_do_not_mix(seed, T, N, gamma, lam):
    columns = [episodes([seed, n], T) for n in range(N)]
    together = [np.stack(xs, axis=1) for xs in zip(*columns, strict=True)]
    for f in (lambda *rows: returns.gae(*rows, gamma, lam), lambda *rows: returns.n_step(*rows, gamma, 3)):
        np.testing.assert_array_equal(f(*together), np.stack([f(*rows) for rows in columns], axis=1))


def test_the_value_of_a_terminal_state_is_never_looked_at():
    arguments = [1.0, 1.0], [0.0, 0.0], [np.nan, np.nan], [True, True], [False, True]
    for result in everything(*arguments):
        np.testing.assert_array_equal(result, 1)


def test_integer_rewards_are_not_truncated():
    flags = [False, False, True], [False, False, False]
    np.testing.assert_array_equal(returns.discounted(np.array([1, 1, 1]), 0.5), [1.75, 1.5, 1])
    np.testing.assert_array_equal(returns.gae([1, 1, 1], [0, 0, 0], [0, 0, 0], *flags, 0.5, 1), [1.75, 1.5, 1])
    np.testing.assert_array_equal(returns.n_step([1, 1, 1], [0, 0, 0], [0, 0, 0], *flags, 0.5, 2), [1.5, 1.5, 1])
    np.testing.assert_array_equal(returns.td_targets([1, 1], [1, 1], [False, True], 0.5), [1.5, 1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, bool])
def test_integers_count_like_floats(dtype):
    """Among unsigned ones 1 - 2 is 255, and among truth values there is no difference."""
    rewards, values, next_values = np.array([[0, 1, 1], [1, 1, 0], [1, 0, 1]], dtype)
    flags = [False, True, False], [False, False, True]
    expected = everything(*(x.astype(float) for x in (rewards, values, next_values)), *flags)
    for computed, by_floats in zip(everything(rewards, values, next_values, *flags), expected, strict=True):
        assert computed.dtype == float
        np.testing.assert_array_equal(computed, by_floats)


@pytest.mark.parametrize("dtype", [int, np.uint8, float])
@pytest.mark.parametrize("case", CASES)
def test_flags_may_be_0_and_1(case, dtype):
    *rows, terminated, truncated = inputs(*case)
    for computed, by_hand in zip(
        everything(*rows, terminated.astype(dtype), truncated.astype(dtype)), CASES[case], strict=True
    ):
        np.testing.assert_array_equal(computed, by_hand)


@pytest.mark.parametrize("where", range(5))
@pytest.mark.parametrize("wrong", [np.ones(2), np.ones((3, 1)), np.ones((1, 3)), np.ones((3, 1, 1)), 1.0])
def test_arrays_of_different_shapes_are_refused(where, wrong):
    """A (3, 1) beside a (3,) would broadcast to (3, 3)."""
    names = "rewards", "values", "next_values", "terminated", "truncated"
    rows = [np.ones(3)] * 5
    rows[where] = wrong
    with pytest.raises(ValueError, match=r"must be \(T,\) or \(T, N\), all of one shape; got"):
        returns.gae(*rows, 0.5, 0.5)
    if where:
        with pytest.raises(ValueError, match=f"^{names[where]} must be"):
            returns.n_step(*rows, 0.5, 2)
    rows = [np.ones(3)] * 5
    rows[where] = np.array(["1", "2", "3"])
    with pytest.raises(TypeError, match=f"^{names[where]} must be numbers, not an array <U1"):
        returns.gae(*rows, 0.5, 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_dtype_is_kept_and_the_arguments_are_too(dtype):
    rewards, values, next_values, terminated, truncated = episodes(0, 9)
    rows = [x.astype(dtype) for x in (rewards, values, next_values)] + [terminated, truncated]
    kept = [x.copy() for x in rows]
    first = everything(*rows)
    assert all(result.dtype == dtype for result in first)
    for again, result in zip(everything(*rows), first, strict=True):
        np.testing.assert_array_equal(again, result)
    for x, copy in zip(rows, kept, strict=True):
        np.testing.assert_array_equal(x, copy)


def test_longdouble_is_kept_through_the_arithmetic():
    # 1/3 in longdouble, carried two steps: a detour over float64 would show at 1e-17
    third = LD(1) / 3
    G = returns.discounted(np.full(3, third), LD(1))
    assert same_bits((G - third * np.array([3, 2, 1])).astype(float), np.zeros(3))


@pytest.mark.parametrize("where", ["rewards", "values", "next_values"])
def test_a_nan_is_in_every_result_that_it_counts_for(where):
    """It is refused where it comes in, by the collector, and where it would do harm, by the optimiser. None is lost."""
    rows = {"rewards": REWARDS, "values": VALUES, "next_values": VALUES}
    rows[where] = [1.0, np.nan, 1.0]
    targets, gae, n_step, G = everything(**rows, terminated=[False] * 3, truncated=[False] * 3)
    for result, of in (targets, ("rewards", "next_values")), (G, ("rewards",)):
        assert np.isnan(result[1]) == (where in of)
    assert np.isnan(G[:2]).all() == (where == "rewards")
    for result in gae, n_step:
        assert np.isnan(result[:2]).all() and np.isfinite(result[2])


def test_normalized_by_hand():
    # 1, 2, 3, 6: mean 3, deviations -2, -1, 0, 3, their mean square (4 + 1 + 0 + 9) / 4 = 3.5
    np.testing.assert_allclose(returns.normalized(np.array([1.0, 2, 3, 6])), np.array([-2, -1, 0, 3]) / np.sqrt(3.5))
    np.testing.assert_allclose(returns.normalized(np.array([1.0, 3.0])), [-1, 1])
    # mean 1e-8, deviation 1e-8: as large as what is added to it
    np.testing.assert_allclose(returns.normalized(np.array([0.0, 2e-8])), [-0.5, 0.5])


def test_normalized_where_there_is_no_deviation():
    np.testing.assert_array_equal(returns.normalized(np.full(4, 7.0)), 0)
    large = np.full(7, 123456789.1)
    assert (large - large.mean()).any()  # what is left by rounding is no deviation
    np.testing.assert_array_equal(returns.normalized(large), 0)
    np.testing.assert_array_equal(returns.normalized(np.array([7.0])), 7)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_normalized_names_what_is_not_finite(bad):
    """It would make every advantage NaN, and nobody could tell which it was."""
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=rf"advantages\[1\] is {bad}"):
        returns.normalized(np.array([1.0, bad, 2.0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD])
@pytest.mark.parametrize("share", [1.0, 0.5, 1e-3])
def test_normalized_numbers_too_large_to_be_squared_or_subtracted(dtype, share):
    large = np.finfo(dtype).max * dtype(share)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(returns.normalized(np.array([large, -large])), [1, -1], rtol=1e-6)
        three = returns.normalized(np.array([large, 0, -large]))
        np.testing.assert_allclose(three, np.sqrt(1.5) * np.array([1, 0, -1]), rtol=1e-6)
        np.testing.assert_array_equal(returns.normalized(np.array([large, large])), [0, 0])


@pytest.mark.parametrize("wrong", [np.ones((4, 1)), np.ones((1, 4)), np.ones(0), 1.0])
def test_normalized_takes_one_advantage_per_row(wrong):
    with pytest.raises(ValueError, match=r"advantages must be \(B,\), at least one, not \("):
        returns.normalized(wrong)


def test_normalized_integers_count_like_floats():
    np.testing.assert_array_equal(returns.normalized(np.array([1, 3], np.uint8)), returns.normalized([1.0, 3.0]))
    with pytest.raises(TypeError, match="advantages must be numbers, not an array <U1"):
        returns.normalized(["1", "3"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD])
def test_normalized_keeps_the_dtype_and_its_argument(dtype):
    advantages = np.array([1, 2, 6], dtype)
    assert returns.normalized(advantages).dtype == returns.normalized(advantages[:1]).dtype == dtype
    assert (advantages == [1, 2, 6]).all()


@pytest.mark.parametrize("targets, values", [(np.ones(4), np.ones((4, 1))), (np.ones(4), 1.0), ([], [])])
def test_explained_variance_of_what_does_not_fit(targets, values):
    with pytest.raises(ValueError, match=r"values must have shape \(4,\), not|targets must not be empty"):
        returns.explained_variance(targets, values)


def test_lists_are_taken_like_arrays():
    assert returns.normalized([1.0, 3.0]) == pytest.approx([-1, 1])
    assert returns.explained_variance([1.0, 2.0], [1.0, 2.0]) == 1


def test_explained_variance_by_hand():
    targets = np.array([1.0, 2.0, 3.0, 6.0])
    assert returns.explained_variance(targets, targets - 5) == 1  # right but for a constant
    assert returns.explained_variance(targets, np.full(4, 9.0)) == 0
    # errors 0, 0, 0, 4: mean 1, variance (1 + 1 + 1 + 9) / 4 = 3 beside the 3.5 of the targets
    assert returns.explained_variance(targets, np.array([1.0, 2.0, 3.0, 2.0])) == pytest.approx(1 - 3 / 3.5)
    assert returns.explained_variance(targets / 8, targets / 8) == 1  # however small the variance
    assert np.isnan(returns.explained_variance(np.full(4, 7.0), targets))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_explained_variance_of_what_is_not_finite_is_nan(number):
    good, bad = np.array([1.0, 2.0, 4.0]), np.array([1.0, number, 4.0])
    with np.errstate(invalid="ignore"):
        for pair in (good, bad), (bad, good), (bad, bad):
            assert np.isnan(returns.explained_variance(*pair))
