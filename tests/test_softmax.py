"""The softmax distribution and its derivatives in the logits."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import ACTIONS, LD, ROWS, SCALES, SEEDS, assert_complex_step, check
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import Softmax, SoftmaxPolicy, reinforce

EXTREME = np.array([[1e3, -1e3, 0.0], [-1e3, 1e3, 1e3], [1e3, 1e3, 1e3], [0.0, -1e3, -1e3]])


def random_logits(rng, B, A, scale, dtype=LD):
    return rng.uniform(-scale, scale, (B, A)).astype(dtype)


def scalar_functions(rng, B, A, scale, dtype=LD):
    """Each derivative that Softmax offers, beside the function of the logits it is the derivative of."""
    actions, other = rng.integers(0, A, B), Softmax(random_logits(rng, B, A, scale, dtype))
    return {
        "log π": (lambda pi: pi.log_prob(actions), lambda pi: pi.d_log_prob(actions)),
        "H": (lambda pi: pi.entropy(), lambda pi: pi.d_entropy()),
        "KL": (lambda pi: pi.kl(other), lambda pi: pi.d_kl(other)),
        "KL in the other's logits": (other.kl, lambda pi: pi.probabilities - other.probabilities),
    }


@pytest.mark.parametrize("name", ["log π", "H", "KL", "KL in the other's logits"])
@given(ROWS, ACTIONS, SCALES, SEEDS)
def test_derivative_against_differences(name, B, A, scale, seed):
    rng = np.random.default_rng(seed)
    logits, weights = random_logits(rng, B, A, scale), rng.standard_normal((B, 1)).astype(LD)
    f, d_f = scalar_functions(rng, B, A, scale)[name]
    # the 1: near certainty H and KL are tiny numbers left over from larger ones, whose rounding they carry
    check(
        lambda z: (weights[:, 0] * f(Softmax(z.reshape(B, A)))).sum() + 1,
        (weights * d_f(Softmax(logits))).ravel(),
        logits.ravel(),
    )


@pytest.mark.parametrize("name", ["log π", "H", "KL", "KL in the other's logits"])
@given(ROWS, ACTIONS, SCALES, SEEDS)
def test_derivative_against_complex_steps(name, B, A, scale, seed):
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, B, A, scale, float)
    f, d_f = scalar_functions(rng, B, A, scale, float)[name]
    assert_complex_step(lambda z: f(Softmax(z.reshape(B, A))).sum(), d_f(Softmax(logits)).ravel(), logits.ravel())


@pytest.mark.parametrize("name", ["log π", "H", "KL", "KL in the other's logits"])
@given(ACTIONS, st.sampled_from([10.0, 30.0]), SEEDS)
def test_a_small_component_is_right_to_its_own_size(name, A, scale, seed):
    """Down to π_a = e^-60, where no difference reaches: complex steps cancel nothing, so each error is held against
    π_a (1 + |log π_a|), the size of what the component is made of, and not against the largest component."""
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, 1, A, scale, float)
    state = rng.bit_generator.state
    f, d_f = scalar_functions(rng, 1, A, scale, float)[name]
    rng.bit_generator.state = state
    action, other = rng.integers(0, A, 1), Softmax(random_logits(rng, 1, A, scale, float))
    h = 1e-30
    expected = np.array([f(Softmax(logits + h * 1j * e))[0].imag / h for e in np.eye(A)])
    pi = Softmax(logits)
    size = pi.probabilities[0] * (1 + abs(pi.log_probabilities - other.log_probabilities)[0])
    size = size + other.probabilities[0] if "other" in name else size * (1 + abs(pi.log_probabilities[0]))
    if name == "log π":
        size[action] = 1
    assert (abs(d_f(pi)[0] - expected) <= 1e-12 * size).all()


def test_by_hand():
    # z = (log 2, log 1, log 1): π = (1/2, 1/4, 1/4),  H = ½ log 2 + ½ log 4 = 1.5 log 2
    # ∂log π_0/∂z = (1 - 1/2, -1/4, -1/4);  ∂H/∂z_a = -π_a (log π_a + H):  -½ (-1 + 1.5) log 2, -¼ (-2 + 1.5) log 2
    # KL(π ‖ uniform) = log 3 - H
    pi, log2 = Softmax(np.log([[2.0, 1.0, 1.0]])), np.log(2)
    np.testing.assert_allclose(pi.probabilities, [[0.5, 0.25, 0.25]])
    np.testing.assert_allclose(pi.log_prob(np.array([1])), [-2 * log2])
    np.testing.assert_allclose(pi.d_log_prob(np.array([0])), [[0.5, -0.25, -0.25]])
    np.testing.assert_allclose(pi.entropy(), [1.5 * log2])
    np.testing.assert_allclose(pi.d_entropy(), [[-0.25 * log2, 0.125 * log2, 0.125 * log2]])
    np.testing.assert_allclose(pi.kl(Softmax(np.zeros((1, 3)))), [np.log(3) - 1.5 * log2])
    assert pi.mode() == [0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_at_extreme_logits(dtype):
    pi, other = Softmax(EXTREME.astype(dtype)), Softmax(-EXTREME.astype(dtype))
    for a in range(3):
        actions = np.full(4, a)
        assert np.isfinite(pi.log_prob(actions)).all() and np.isfinite(pi.d_log_prob(actions)).all()
    for x in (pi.probabilities, pi.entropy(), pi.d_entropy(), pi.kl(other), pi.d_kl(other)):
        assert np.isfinite(x).all()
    np.testing.assert_array_equal(pi.log_prob(np.array([1, 0, 0, 0]))[:2], [-2000, dtype(-2000) - np.log(dtype(2))])
    np.testing.assert_array_equal(pi.entropy()[[0, 3]], 0)  # certain: 0, where 0 · log 0 would be NaN
    np.testing.assert_allclose(pi.entropy()[[1, 2]], np.log([2, 3]), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_a_logit_of_minus_infinity_masks_its_action(dtype, scale):
    """Without it the others are distributed as if it were not there; its own π is 0, and so is every derivative."""
    rng, masked = np.random.default_rng(0), 2
    logits, others = random_logits(rng, 5, 4, scale, dtype), random_logits(rng, 5, 4, scale, dtype)
    few, other = Softmax(np.delete(logits, masked, axis=1)), Softmax(np.delete(others, masked, axis=1))
    logits[:, masked] = others[:, masked] = -np.inf
    pi, masked_other = Softmax(logits), Softmax(others)
    actions, left = np.array([0, 1, 3, 1, 0]), np.array([0, 1, 2, 1, 0])  # the same ones, without number 2
    for one, two in (
        (pi.log_prob(actions), few.log_prob(left)),
        (pi.entropy(), few.entropy()),
        (pi.kl(masked_other), few.kl(other)),
    ):
        np.testing.assert_allclose(one, two, rtol=4 * np.finfo(dtype).eps, atol=0)
    for one, two in (
        (pi.probabilities, few.probabilities),
        (pi.d_log_prob(actions), few.d_log_prob(left)),
        (pi.d_entropy(), few.d_entropy()),
        (pi.d_kl(masked_other), few.d_kl(other)),
    ):
        assert (one[:, masked] == 0).all()
        np.testing.assert_allclose(np.delete(one, masked, axis=1), two, rtol=0, atol=8 * np.finfo(dtype).eps)
    assert (pi.log_prob(np.full(5, masked)) <= -9e29).all()  # as good as -∞
    assert all((pi.sample(rng) != masked).all() for _ in range(50)) and (pi.mode() != masked).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD])
@pytest.mark.parametrize("two", [(1, 0), (1, 0.9), (1, -1), (-0.3, -0.9), (1, -np.inf), (-1, -np.inf)])
def test_logits_near_the_largest_float_are_told_apart(dtype, two):
    """LOWEST is lost in a sum with such a logit: the smaller one must not be lifted to the larger, nor one masked."""
    logits = np.array([two, two[::-1]], dtype) * np.finfo(dtype).max
    with np.errstate(over="ignore"):  # of the difference
        pi = Softmax(logits)
        np.testing.assert_array_equal(pi.probabilities, np.eye(2))
        assert np.isfinite(pi.log_probabilities).all() and (pi.log_prob(np.array([1, 0])) <= -9e29).all()


@given(ROWS, ACTIONS, SCALES, SEEDS, st.integers(-1000, 1000))
def test_a_shift_of_all_logits_changes_nothing(B, A, scale, seed, shift):
    rng = np.random.default_rng(seed)
    # integers over 64 are shifted without rounding, so nothing means nothing: not one bit
    logits = np.round(64 * random_logits(rng, B, A, scale, float)) / 64
    for f in ("log_probabilities", "probabilities"):
        np.testing.assert_array_equal(getattr(Softmax(logits + shift), f), getattr(Softmax(logits), f))
    for f in ("entropy", "d_entropy", "mode"):
        np.testing.assert_array_equal(getattr(Softmax(logits + shift), f)(), getattr(Softmax(logits), f)())


@given(ROWS, ACTIONS, SCALES, SEEDS)
def test_identities(B, A, scale, seed):
    rng = np.random.default_rng(seed)
    pi, other = (Softmax(random_logits(rng, B, A, scale)) for _ in range(2))
    p, eps = pi.probabilities, 1e-17 * max(1, scale)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=eps)
    scores = np.stack([pi.d_log_prob(np.full(B, a)) for a in range(A)], axis=1)  # (B, action, logit)
    # Σ_a π_a ∇log π_a = 0: the score has mean 0
    np.testing.assert_allclose((p[:, :, None] * scores).sum(axis=1), 0, rtol=0, atol=eps)
    # a common shift of the logits changes nothing, so every gradient sums to 0 over them
    for d in (*scores.swapaxes(0, 1), pi.d_entropy(), pi.d_kl(other)):
        np.testing.assert_allclose(d.sum(axis=1), 0, rtol=0, atol=10 * eps)
    assert (pi.entropy() >= 0).all() and (pi.entropy() <= np.log(LD(A)) + eps).all()
    np.testing.assert_allclose(pi.entropy(), -(p * np.log(p)).sum(axis=1), rtol=0, atol=10 * eps)
    np.testing.assert_allclose(pi.kl(other), (p * np.log(p / other.probabilities)).sum(axis=1), rtol=0, atol=10 * eps)


def test_a_row_without_any_action_is_nan_and_the_other_rows_are_not():
    """A mask that leaves no action is a fault that shows: in a run the optimiser refuses it."""
    logits = np.array([[-np.inf, -np.inf], [0.0, 0.0]])
    pi, uniform = Softmax(logits), Softmax(np.zeros((2, 2)))
    actions = np.array([0, 0])
    with np.errstate(invalid="ignore"):
        numbers = [pi.probabilities, pi.log_probabilities, pi.log_prob(actions), pi.d_log_prob(actions), pi.entropy()]
        numbers += [pi.d_entropy(), pi.kl(uniform), uniform.kl(pi), pi.d_kl(uniform), pi.fisher(np.ones((2, 2)))]
    for x in numbers:
        assert np.isnan(x[0]).all() and np.isfinite(x[1]).all()
    assert pi.sample(np.random.default_rng(0))[0] == pi.mode()[0] == 0


@pytest.mark.parametrize("row", [[np.inf, 0.0], [0.0, np.inf], [np.inf, np.inf], [-np.inf, np.inf]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_a_logit_of_plus_infinity_is_refused(row, dtype):
    pi = Softmax(np.array([[0.0, 0.0], row], dtype))
    for call in pi.entropy, pi.d_entropy, lambda: pi.log_prob(np.zeros(2, int)), lambda: pi.probabilities:
        with pytest.raises(FloatingPointError, match="logits must be finite, or -inf where an action is masked"):
            call()
    assert Softmax(np.zeros((0, 2))).probabilities.shape == (0, 2)


def test_a_run_of_a_mask_that_leaves_no_action_is_refused():
    class Masked(SoftmaxPolicy):
        def __call__(self, states):
            pi = super().__call__(states)
            return Softmax(np.full_like(pi.logits, -np.inf), pi.cache)

    with pytest.raises(FloatingPointError, match="the norm of the gradient is nan"):
        next(reinforce.train(gym.make("CartPole-v1"), Masked((4, 2), rng=0), seed=0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@given(ROWS, ACTIONS, SCALES, SEEDS)
def test_kl_is_never_negative_and_0_at_itself(dtype, B, A, scale, seed):
    rng = np.random.default_rng(seed)
    logits = random_logits(rng, B, A, scale, dtype)
    pi = Softmax(logits)
    near = Softmax(logits + np.finfo(dtype).eps * rng.standard_normal((B, A)).astype(dtype))
    assert (pi.kl(near) >= 0).all()  # where a sum of rounding errors could be on either side
    assert (pi.kl(Softmax(random_logits(rng, B, A, scale, dtype))) >= 0).all()
    np.testing.assert_array_equal(pi.kl(Softmax(logits.copy())), 0)
    np.testing.assert_array_equal(pi.d_kl(Softmax(logits.copy())), 0)


@pytest.mark.parametrize("A", [2, 6])
def test_entropy_from_certain_to_uniform(A):
    certain, uniform = np.eye(A)[:1] * 1e3, np.zeros((1, A))
    np.testing.assert_array_equal(Softmax(certain).entropy(), 0)
    np.testing.assert_allclose(Softmax(uniform).entropy(), np.log(A))
    np.testing.assert_allclose(Softmax(uniform).d_entropy(), 0, atol=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("logits", [[0, 0], [0, 1, -1, 2], [700, 700, 699, 690], [-40, 0, -1]])
def test_samples_follow_the_probabilities(dtype, logits):
    n = 200_000
    pi = Softmax(np.tile(np.array(logits, dtype), (n, 1)))
    counts = np.bincount(pi.sample(np.random.default_rng(0)), minlength=len(logits))
    expected = n * pi.probabilities[0]
    common = expected > 5
    assert counts[~common].sum() <= 50
    chi_square = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert chi_square < 16.3  # 99.9 % of χ² with 3 degrees of freedom, more than any of these has


def test_each_row_is_sampled_from_its_own_distribution():
    logits = np.eye(4)[[2, 0, 3, 1]] * 1e3
    rng = np.random.default_rng(0)
    for _ in range(20):
        np.testing.assert_array_equal(Softmax(logits).sample(rng), [2, 0, 3, 1])
    np.testing.assert_array_equal(Softmax(logits).mode(), [2, 0, 3, 1])


def test_samples_are_decided_by_the_generator():
    pi = Softmax(np.zeros((50, 3)))
    first, again, other = (pi.sample(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and first.dtype.kind == "i"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_logits_decide_the_dtype(dtype):
    pi = Softmax(np.zeros((2, 3), dtype))
    actions = np.array([0, 2])
    for x in (
        pi.probabilities,
        pi.log_prob(actions),
        pi.d_log_prob(actions),
        pi.entropy(),
        pi.d_entropy(),
        pi.kl(pi),
        pi.d_kl(pi),
    ):
        assert x.dtype == dtype


def test_nothing_given_or_returned_is_changed_later():
    logits, actions = np.array([[1.0, 2.0, 3.0]]), np.array([1])
    pi, other, kept = Softmax(logits), Softmax(logits[:, ::-1]), logits.copy()
    probabilities = pi.probabilities.copy()
    for _ in range(2):
        pi.log_prob(actions), pi.d_log_prob(actions), pi.entropy(), pi.d_entropy(), pi.kl(other), pi.d_kl(other)
        pi.sample(np.random.default_rng(0)), pi.mode()
        assert actions == [1]
        np.testing.assert_array_equal(logits, kept)
        np.testing.assert_array_equal(pi.probabilities, probabilities)
