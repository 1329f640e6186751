"""The checker itself: what it must catch, what it must let pass, what it refuses."""

from functools import partial

import numpy as np
import pytest
from helpers import LD

from scratchpg import SoftmaxPolicy, Value
from scratchpg.gradcheck import check_gradient, finite_difference


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-11), (np.longdouble, 1e-14)])
def test_finite_difference_of_known_functions(dtype, tolerance):
    theta = np.array([0.5, -1.0, 2.0], dtype)
    for f, gradient in [
        (lambda t: (t**3).sum(), 3 * theta**2),
        (lambda t: np.exp(t).sum(), np.exp(theta)),
        (lambda t: t[0] * t[1] * t[2], theta.prod() / theta),
        (lambda t: dtype(7), np.zeros(3)),
    ]:
        numeric = finite_difference(f, theta)
        assert numeric.dtype == dtype
        np.testing.assert_allclose(numeric, gradient, rtol=0, atol=tolerance * max(1, abs(gradient).max()))
        assert check_gradient(f, gradient, theta, rtol=1e-9) <= 1e-9


def test_exact_to_the_fourth_power():
    # the error of the formula is h⁴ f⁽⁵⁾ / 30: none for a polynomial of degree 4, so only rounding is left
    theta = np.array([1.0, -0.5])
    np.testing.assert_allclose(finite_difference(lambda t: (t**4).sum(), theta), 4 * theta**3, rtol=1e-12)


def linear(*coefficients):
    """f(θ) = Σ c θ at θ = 0, where f is 0 and its rounding too: nothing hides a wrong component."""
    c = np.array(coefficients)
    return lambda t: (c * t).sum(), c.copy(), np.zeros(len(c))


@pytest.mark.parametrize(
    "right, wrong",
    [
        ([3e-7], [-5e-7]),  # passes where the criterion is |a - b| < 1e-6
        ([1e-12], [-1e-12]),
        ([1.0, 1.0], [1.0, -1.0]),
        ([1.0, 1e-9], [1.0, -1e-9]),  # a tiny component beside a large one
        ([1.0, 1e-9], [1.0, 0.0]),
        ([1.0, 0.0], [1.0, 1e-9]),
        ([1.0, 2.0], [1.0, 2.00001]),
        ([1.0, 2.0], [2.0, 1.0]),
    ],
)
def test_catches(right, wrong):
    f, _, theta = linear(*right)
    check_gradient(f, np.array(right), theta)
    with pytest.raises(AssertionError, match="finite differences say"):
        check_gradient(f, np.array(wrong), theta)


def test_catches_a_small_wrong_component_of_a_large_function():
    # f is 1e3, known to about 1e-13 of itself; over the step that is some 1e-9, so 1e-6 is seen, if no less
    theta = np.zeros(2)
    for dtype, small in [(float, 1e-6), (LD, 1e-9)]:  # and a thousand times less in extended precision
        f = partial(lambda small, t: 1e3 + t[0] + small * t[1], small)
        check_gradient(f, np.array([1, small], dtype), theta.astype(dtype))
        with pytest.raises(AssertionError, match=r"gradient\[1\]"):
            check_gradient(f, np.array([1, -small], dtype), theta.astype(dtype))


def test_grants_the_rounding_of_the_function():
    # where f is large beside its gradient, the last digits of f decide the difference: that is no error of the gradient
    theta = np.linspace(-1, 1, 7)
    check_gradient(lambda t: 1e6 + np.sin(t).sum(), np.cos(theta), theta)


def at_a_minimum():
    """{name: (f, ∇f, θ)} where f and ∇f are 0, but f is computed from numbers that are not, and rounds as they do."""
    rng = np.random.default_rng(0)
    X, theta = rng.normal(size=(20, 3)), rng.normal(size=3)
    states, policy, value = (
        rng.normal(size=(10, 4)),
        SoftmaxPolicy((4, 8, 2), rng=0, dtype=float),
        Value((4, 8), rng=0, dtype=float),
    )
    old, targets = policy(states), value(states)
    return {
        "least squares": (lambda w: ((X @ w - X @ theta) ** 2).mean(), np.zeros(3), theta),
        "the KL to itself": (
            lambda x: old.kl(SoftmaxPolicy((4, 8, 2), theta=x)(states)).mean(),
            0 * policy.theta,
            policy.theta,
        ),
        "a value at its targets": (lambda x: Value((4, 8), theta=x).mse(states, targets), 0 * value.theta, value.theta),
        "a power": (lambda x: (x**3).sum(), np.full(2, 3e-18), np.full(2, 1e-9)),
    }


@pytest.mark.parametrize("name", at_a_minimum())
def test_a_right_gradient_is_not_refused_where_all_is_0(name):
    f, gradient, theta = at_a_minimum()[name]
    check_gradient(f, gradient, theta)
    wrong = gradient.copy()
    wrong[-1] += 1e-3
    with pytest.raises(AssertionError, match="finite differences say"):
        check_gradient(f, wrong, theta)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_fails(bad):
    f, gradient, theta = linear(1.0, 2.0, 3.0)
    gradient[1] = bad
    with pytest.raises(AssertionError, match=rf"gradient\[1\] is {bad}, finite differences say 2\..* error nan"):
        check_gradient(f, gradient, theta)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, np.float32(np.nan), "1", None, 1j, np.ones(1), np.ones(2)])
def test_a_function_that_gives_no_finite_number_is_refused(bad):
    with pytest.raises(ValueError, match=r"f\(theta\) must be a finite number, not "):
        check_gradient(lambda t: bad, np.ones(2), np.ones(2))


TOO_STEEP = r"differences along theta\[0\] never agree: f bends too much, or has a kink or jump"
ROUGH = {  # f, a gradient, θ, where no finite difference says what the derivative is, and if there is one
    "not finite nearby": (lambda t: 1.0 if (t == 1).all() else np.inf, [1.0, 1.0], [1.0, 1.0]),
    "a kink at θ": (lambda t: np.maximum(t, 0).sum(), [0.0], [0.0]),
    "a kink next to θ": (lambda t: 0.1 + np.maximum(t, 0).sum(), [1.0], [1e-16]),
    "a jump": (lambda t: 1.1 + (t > 0).sum() + t.sum(), [1.0], [0.0]),
    "a cusp": (lambda t: np.sqrt(abs(t)).sum(), [5.0], [0.0]),
    "endless waves": (lambda t: np.sin(1e20 * t).sum(), [1e20], [0.0]),
}


@pytest.mark.parametrize("name", ROUGH)
def test_where_differences_say_nothing_the_gradient_is_not_blamed(name):
    f, gradient, theta = ROUGH[name]
    with pytest.raises(ValueError, match=TOO_STEEP):
        check_gradient(f, np.array(gradient), np.array(theta))


STEEP = {  # f, ∇f, θ: f bends within the first step, or θ is so large that this step vanishes in it
    "log": (lambda t: np.log(t).sum(), lambda t: 1 / t, [2e-3, 1.0, 3e-3]),
    "log, nearer": (lambda t: np.log(t).sum(), lambda t: 1 / t, [1e-9, 1.0]),
    "1/x": (lambda t: (1 / t).sum(), lambda t: -1 / t**2, [0.01, 0.013]),
    "1/x, nearer": (lambda t: (1 / t).sum(), lambda t: -1 / t**2, [1e-6, 2e-6]),
    "a square": (lambda t: (t**2).sum(), lambda t: 2 * t, [1e20, -3e20]),
    "a product": (lambda t: t[0] * t[1], lambda t: t[::-1], [1e15, 1e15]),
    "exp": (lambda t: np.exp(1e5 * t).sum(), lambda t: 1e5 * np.exp(1e5 * t), [0.0, 1e-6]),
    "exp(1/x)": (lambda t: np.exp(1 / t).sum(), lambda t: -np.exp(1 / t) / t**2, [2e-3]),
    "near overflow": (lambda t: np.exp(t).sum(), np.exp, [709.0]),
    "tan": (lambda t: np.tan(t).sum(), lambda t: 1 / np.cos(t) ** 2, [np.pi / 2 - 1e-4]),
    "waves": (lambda t: np.sin(1e4 * t).sum(), lambda t: 1e4 * np.cos(1e4 * t), [0.3, 0.7]),
    "a kink nearby": (lambda t: np.maximum(t, 0).sum(), lambda t: (t > 0) * 1.0, [1e-6, 1.0]),
    "a narrow bell": (lambda t: np.exp(-1e8 * t**2).sum(), lambda t: -2e8 * t * np.exp(-1e8 * t**2), [5e-5]),
    "entropy": (lambda t: -(t * np.log(t)).sum(), lambda t: -np.log(t) - 1, [1e-8, 0.3]),
}


@pytest.mark.parametrize("dtype", [float, LD])
@pytest.mark.parametrize("name", STEEP)
def test_where_f_is_steep_the_right_gradient_passes_and_a_wrong_one_does_not(name, dtype):
    f, derivative, theta = STEEP[name]
    theta = np.array(theta, dtype)
    right = derivative(theta)
    check_gradient(f, right, theta)
    for i in range(len(theta)):
        for factor in 1 + 1e-5, -1:
            wrong = right.copy()
            wrong[i] *= factor
            with pytest.raises(AssertionError, match=rf"gradient\[{i}\] is "):
                check_gradient(f, wrong, theta)


SCALED = {
    "linear": (lambda t, s: s * t, lambda t, s: s),
    "square": (lambda t, s: s * t**2, lambda t, s: 2 * s * t),
    "sin": (lambda t, s: np.sin(s * t), lambda t, s: s * np.cos(s * t)),
    "exp": (lambda t, s: np.exp(s * t), lambda t, s: s * np.exp(s * t)),
    "tanh": (lambda t, s: np.tanh(s * t), lambda t, s: s / np.cosh(s * t) ** 2),
    "log": (lambda t, s: s * np.log(abs(t)), lambda t, s: s / t),
    "inverse": (lambda t, s: s / t, lambda t, s: -s / t**2),
}


@pytest.mark.parametrize("offset", [0, 1e3, 1e6, -1e8])
@pytest.mark.parametrize("name", SCALED)
def test_a_right_gradient_passes_at_any_scale(name, offset):
    """Components and θ of any size, beside a constant that hides some: none is refused, nor taken for float32."""
    f, d = SCALED[name]
    rng = np.random.default_rng(0)
    for _ in range(25):
        scales, theta = 10 ** rng.uniform(-2, 2, 3), rng.standard_normal(3) * 10 ** rng.uniform(-3, 0)
        check_gradient(lambda t, s=scales: offset + f(t, s).sum(), d(theta, scales), theta)


def test_a_zero_that_no_difference_reaches_is_no_error():
    """Of a fifth power, or of terms that cancel; a constant beside a minimum is no float32 either."""
    zeros = np.zeros(2)
    for f in lambda t: (t**5).sum(), lambda t: (np.sin(t) - t).sum(), lambda t: (abs(t) ** 3).sum():
        check_gradient(f, zeros, zeros)
    check_gradient(lambda t: 1 + (np.log(t / 2e-3) ** 2).sum(), zeros, np.full(2, 2e-3))


def test_a_function_with_randomness_of_its_own_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not the same twice"):
        check_gradient(lambda t: t.sum() + 1e-9 * rng.standard_normal(), np.ones(2), np.ones(2))


def test_a_function_that_computes_in_float32_is_named():
    """Its differences are noise; but where it is right in spite of that, nobody complains."""
    theta = np.array([0.3, -0.7])

    def f(theta):
        return np.float64(np.sin(theta.astype(np.float32)).sum())

    with pytest.raises(ValueError, match=r"f computes in float32, .* make its networks of float64"):
        check_gradient(f, np.cos(theta), theta)
    with pytest.raises(ValueError, match="f computes in float32"):  # at θ = 0 no factor moves anything
        check_gradient(lambda t: float(np.exp(t.astype(np.float32)).sum()), np.ones(2), np.zeros(2))
    with pytest.raises(AssertionError, match=r"gradient\[1\] is 1\.0"):  # of float64, and wrong
        check_gradient(lambda t: np.sin(t).sum(), np.ones(2), theta)
    check_gradient(lambda t: np.float32(0), np.zeros(2), theta)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_function_that_writes_into_a_network_leaves_it_at_theta(factor):
    """Also where the gradient is wrong, and where θ is the network's own."""
    theta, right = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    network = theta.copy()

    def f(given):
        network[:] = given
        return (network**2).sum()

    for at in theta, network:
        np.testing.assert_allclose(finite_difference(f, at), right, rtol=1e-10)
        assert (network == theta).all()
        if factor == 1:
            check_gradient(f, right, at)
        else:
            with pytest.raises(AssertionError, match="finite differences say"):
                check_gradient(f, factor * right, at)
        assert (network == theta).all()


def test_a_function_may_change_its_argument():
    def f(given):
        given *= given
        return given.sum()

    theta = np.array([1.0, 2.0])
    np.testing.assert_allclose(finite_difference(f, theta), 2 * theta, rtol=1e-10)
    check_gradient(f, 2 * theta, theta)
    assert (theta == [1, 2]).all()


def test_a_gradient_that_the_function_writes_into_is_the_one_given():
    """The workspace of a network, say."""
    theta, gradient = np.array([1.0, 2.0]), np.array([2.0, 4.0])

    def f(given):
        gradient[:] = 0
        return (given**2).sum()

    check_gradient(f, gradient, theta)


@pytest.mark.parametrize(("gradient", "theta"), [((0,), (0,)), ((3,), (2,)), ((2, 1), (2,))])
def test_shapes_that_do_not_fit_are_refused(gradient, theta):
    with pytest.raises(ValueError, match=r"gradient and theta must have one shape, not empty; got \("):
        check_gradient(np.sum, np.zeros(gradient), np.zeros(theta))


def test_the_message_names_the_worst_component():
    f, gradient, theta = linear(1.0, 2.0, 3.0)
    with pytest.raises(AssertionError, match=r"gradient\[2\] is 6\.0, finite differences say 3\..* > 1e-06"):
        check_gradient(f, gradient * [1, 1.5, 2], theta)


def test_returns_the_worst_relative_error():
    f, gradient, theta = linear(1.0, 2.0, 3.0)
    assert check_gradient(f, gradient * [1, 1.25, 1], theta, rtol=0.5) == pytest.approx(0.5 / 2.5, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_coarse_arithmetic_is_refused_with_the_reason(dtype):
    with pytest.raises(TypeError, match=r"too coarse for finite differences.*use float64"):
        check_gradient(lambda t: t.sum(), np.ones(2, dtype), np.ones(2, dtype))


def test_theta_and_gradient_are_left_as_they_are():
    f, gradient, theta = linear(1.0, 2.0, 3.0)
    check_gradient(f, gradient, theta)
    assert not theta.any() and (gradient == [1, 2, 3]).all()
