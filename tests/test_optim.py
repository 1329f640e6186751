"""The optimisers: their first two steps by hand, the clip, and what they do with a gradient that is not finite."""

import math

import numpy as np
import pytest
from helpers import COPIES, LD, same_bits

from scratchpg import SoftmaxPolicy, Value, a2c, actor_critic, ppo, reinforce
from scratchpg.optim import SGD, Adam, RMSProp
from scratchpg.plumbing.check import NonFiniteError

OPTIMISERS = [SGD, RMSProp, Adam]


def path(optimiser, *gradients, theta=1.0, **kwargs):
    """θ, a single number, after each of the steps."""
    theta = np.array([theta])
    optimizer = optimiser(theta, **kwargs)
    thetas = []
    for g in gradients:
        optimizer.step(np.array([g]))
        thetas.append(theta[0])
    return thetas


def test_sgd_by_hand():
    # θ = 1 - 0.1 · 2 = 0.8;  0.8 - 0.1 · (-3) = 1.1
    np.testing.assert_allclose(path(SGD, 2.0, -3.0, learning_rate=0.1), [0.8, 1.1], rtol=1e-15)


def test_rmsprop_by_hand():
    # ρ = 3/4, ε = 3, η = 0.1, s from 0
    # g = 2:  s = ¼ · 4 = 1;          step = 0.1 · 2 / √(1 + 3) = 0.1;    θ = 1 - 0.1      (ε outside: 0.2/(1+3) = 0.05)
    # g = -1: s = ¾ · 1 + ¼ · 1 = 1;  step = 0.1 · (-1) / √(1 + 3) = -0.05;  θ = 0.9 + 0.05
    settings = {"decay": 0.75, "eps": 3.0}
    np.testing.assert_allclose(path(RMSProp, 2.0, -1.0, learning_rate=0.1, **settings), [0.9, 0.95], rtol=1e-15)
    optimizer = RMSProp(np.zeros(1), **settings)
    assert optimizer.mean_square == [0]
    for g, s, direction in (2.0, 1.0, 1.0), (-1.0, 1.0, -0.5):
        assert optimizer.direction(np.array([g])) == [direction] and optimizer.mean_square == [s]


def test_adam_by_hand():
    # β = (1/2, 3/4), ε = 1, η = 0.3
    # t = 1, g = 2:  m = ½ · 2 = 1,  v = ¼ · 4 = 1;  m̂ = 1 / (1 - ½) = 2,  v̂ = 1 / (1 - ¾) = 4
    #                step = 0.3 · 2 / (2 + 1) = 0.2;  θ = 0.8
    # t = 2, g = -2: m = ½ · 1 - ½ · 2 = -½,  v = ¾ · 1 + ¼ · 4 = 1¾;  m̂ = -½ / (1 - ¼) = -⅔,  v̂ = 1¾ / (1 - 9/16) = 4
    #                step = 0.3 · (-⅔) / (2 + 1) = -1/15;  θ = 0.8 + 1/15
    settings = {"betas": (0.5, 0.75), "eps": 1.0}
    np.testing.assert_allclose(path(Adam, 2.0, -2.0, learning_rate=0.3, **settings), [0.8, 0.8 + 1 / 15], rtol=1e-15)
    optimizer = Adam(np.zeros(1), **settings)
    assert (optimizer.t, optimizer.m, optimizer.v) == (0, [0], [0])
    for t, g, m, v, direction in (1, 2.0, 1.0, 1.0, 2 / 3), (2, -2.0, -0.5, 1.75, -2 / 9):
        np.testing.assert_allclose(optimizer.direction(np.array([g])), [direction], rtol=1e-15)
        assert (optimizer.t, optimizer.m, optimizer.v) == (t, [m], [v])


@pytest.mark.parametrize("g", [1e-3, -5.0])
def test_defaults_at_the_first_step(g):
    # SGD, η = 1e-3:  η g
    # RMSProp, η = 1e-3, ρ = 0.99, ε = 1e-5:  η g / √(0.01 g² + 1e-5)
    # Adam, η = 1e-3, ε = 1e-5:  m̂ = g, v̂ = g²:  η g / (|g| + 1e-5)
    np.testing.assert_allclose(path(SGD, g, theta=0.0), [-1e-3 * g], rtol=1e-12)
    np.testing.assert_allclose(path(RMSProp, g, theta=0.0), [-1e-3 * g / math.sqrt(0.01 * g**2 + 1e-5)], rtol=1e-12)
    np.testing.assert_allclose(path(Adam, g, theta=0.0), [-1e-3 * g / (abs(g) + 1e-5)], rtol=1e-12)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_many_steps_equal_the_printed_equations(optimiser):
    rng = np.random.default_rng(0)
    theta, expected = np.ones((2, 5))
    optimizer = optimiser(theta, 0.01)
    m = v = s = np.zeros(5)
    for t in range(1, 50):
        g = rng.standard_normal(5)
        s = 0.99 * s + (1 - 0.99) * g**2
        m, v = 0.9 * m + (1 - 0.9) * g, 0.999 * v + (1 - 0.999) * g**2
        expected = (
            expected
            - 0.01
            * {
                SGD: g,
                RMSProp: g / np.sqrt(s + 1e-5),
                Adam: m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-5),
            }[optimiser]
        )
        optimizer.step(g)
        np.testing.assert_allclose(theta, expected, rtol=1e-12)


def test_an_optimiser_of_one_s_own_is_a_direction():
    """It is asked once a step, for the clipped gradient, and what it answers is gone along."""

    class Sign(SGD):
        asked = ()

        def direction(self, g):
            self.asked = *self.asked, g.copy()
            return np.sign(g)

    theta = np.array([1.0, 1.0])
    optimizer = Sign(theta, 0.25, max_grad_norm=2.5)
    assert optimizer.step(np.array([3.0, -4.0])) == 5
    np.testing.assert_allclose(optimizer.asked, [[1.5, -2.0]], rtol=1e-15)
    np.testing.assert_array_equal(theta, [0.75, 1.25])


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_descends(optimiser):
    theta = np.array([3.0, -2.0])
    optimizer = optimiser(theta, 0.05)
    for _ in range(500):
        optimizer.step(2 * theta)  # of |θ|²
    assert abs(theta).max() < 0.1


def test_clip_by_the_global_norm():
    # g = (3, 4), norm 5, is scaled to norm 2.5: (1.5, 2); each component alone is within 5
    theta = np.zeros(2)
    assert SGD(theta, 1.0, max_grad_norm=2.5).step(np.array([3.0, 4.0])) == 5  # the norm before the clip
    np.testing.assert_allclose(theta, [-1.5, -2.0], rtol=1e-15)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_what_the_optimiser_sees_is_the_clipped_gradient(optimiser):
    clipped, by_hand = np.zeros((2, 2))
    one, other = optimiser(clipped, 0.1, max_grad_norm=2.5), optimiser(by_hand, 0.1)
    for g in np.array([[3.0, 4.0], [0.3, -0.4], [-30.0, 40.0]]):
        one.step(g)
        other.step(g * min(1, 2.5 / np.linalg.norm(g)))
    np.testing.assert_allclose(clipped, by_hand, rtol=1e-15)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("limit", [5.0, 5.1, math.inf])
def test_a_norm_within_the_limit_changes_no_bit(optimiser, limit):
    clipped, unclipped = np.ones((2, 2))
    optimiser(clipped, 0.1, max_grad_norm=limit).step(np.array([3.0, 4.0]))
    optimiser(unclipped, 0.1).step(np.array([3.0, 4.0]))
    assert same_bits(clipped, unclipped)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_gradient_of_0_is_no_step(optimiser):
    theta = np.ones(3)
    assert optimiser(theta, 0.1, max_grad_norm=0.5).step(np.zeros(3)) == 0
    assert (theta == 1).all()


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])  # the square of the last is infinite
@pytest.mark.parametrize("limit", [0.5, math.inf])
def test_a_gradient_that_is_not_finite_leaves_no_trace(optimiser, bad, limit):
    theta, undisturbed = np.ones((2, 3))
    one, other = optimiser(theta, 0.1, max_grad_norm=limit), optimiser(undisturbed, 0.1, max_grad_norm=limit)
    good = np.array([1.0, -2.0, 3.0])
    one.step(good), other.step(good)
    with pytest.raises(FloatingPointError, match="norm of the gradient"), np.errstate(all="ignore"):
        one.step(np.array([1.0, bad, 1.0]))
    assert same_bits(theta, undisturbed)
    one.step(good), other.step(good)  # nor in the running averages
    assert same_bits(theta, undisturbed)


STATES, ACTIONS, ONES = np.ones((4, 3)), np.array([0, 1, 0, 1]), np.ones(4)
ROWS = {  # the gradients, by their rows
    "reinforce": lambda policy, _, states, rows: reinforce.gradient(policy, states, ACTIONS, rows, episodes=1),
    "actor_critic": lambda policy, _, states, rows: actor_critic.gradient(policy, states, ACTIONS, rows),
    "a2c": lambda policy, _, states, rows: a2c.gradient(policy, states, ACTIONS, rows, ent_coef=0.1),
    "ppo": lambda policy, _, states, rows: ppo.gradient(policy, states, ACTIONS, 0 * ONES, rows, ent_coef=0.1),
    "old_log_prob": lambda policy, _, states, rows: ppo.gradient(policy, states, ACTIONS, rows, -ONES),
    "value": lambda _, value, states, rows: value.mse_gradient(states, rows),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("where", ["states", "rows"])
def test_a_nan_among_the_rows_of_a_gradient_is_refused_here(optimiser, name, where):
    """No gradient looks for it, and none loses it: it comes out as a norm of NaN, and θ stays as it was."""
    policy, value = SoftmaxPolicy((3, 4, 2), rng=0, dtype=np.float64), Value((3, 4), rng=0, dtype=np.float64)
    network = value if name == "value" else policy
    rows, before = {"states": STATES.copy(), "rows": ONES.copy()}, network.theta.copy()
    optimizer = optimiser(network.theta, 0.1, max_grad_norm=0.5)
    assert np.isfinite(ROWS[name](policy, value, **rows)).all()
    rows[where].flat[-1] = np.nan
    with pytest.raises(NonFiniteError, match="the norm of the gradient is nan"):
        optimizer.step(ROWS[name](policy, value, **rows))
    assert same_bits(network.theta, before)


def test_a_step_that_is_not_finite_is_not_taken():
    theta = np.ones(3)
    with pytest.raises(FloatingPointError, match="the step of the parameters"), np.errstate(all="ignore"):
        SGD(theta, 1e300).step(np.full(3, 1e100))
    assert (theta == 1).all()


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD])
def test_in_place_in_the_dtype_of_theta_and_without_touching_the_gradient(optimiser, dtype):
    theta, gradient = np.ones(3, dtype), np.array([1, 2, -3], dtype)
    optimizer = optimiser(theta, 0.1, max_grad_norm=1.0)
    for _ in range(2):
        norm = optimizer.step(gradient)
    assert optimizer.theta is theta and theta.dtype == dtype and (theta != 1).all()
    assert isinstance(norm, float) and norm == pytest.approx(math.sqrt(14))
    np.testing.assert_array_equal(gradient, [1, 2, -3])


def test_rmsprop_shares_the_average_it_is_given():
    # ρ = ½:  s = ½ · 4 = 2 after the one, ½ · 2 + ½ · 16 = 9 after the other
    shared = np.zeros(1)
    one, other = (RMSProp(np.ones(1), 0.1, decay=0.5, mean_square=shared) for _ in range(2))
    one.step(np.array([2.0]))
    assert shared == [2]
    other.step(np.array([4.0]))
    assert shared == [9]


def test_the_learning_rate_may_be_set_anew():
    theta = np.zeros(1)
    optimizer = SGD(theta, 1.0)
    optimizer.step(np.ones(1))
    optimizer.learning_rate = 0.5
    optimizer.step(np.ones(1))
    assert theta == [-1.5]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_goes_on_as_the_original_does(optimiser, duplicate):
    one = optimiser(np.ones(3), 0.1)
    one.step(np.array([1.0, -2.0, 3.0]))
    other, before = duplicate(one), one.theta.copy()
    other.step(np.array([3.0, 2.0, -1.0]))
    assert same_bits(one.theta, before)
    one.step(np.array([3.0, 2.0, -1.0]))
    assert same_bits(one.theta, other.theta)


def test_an_integer_gradient_counts_like_floats():
    theta = np.zeros(2)
    assert SGD(theta, 1.0).step(np.array([100, 100], np.int8)) == np.sqrt(20_000)
    assert theta.tolist() == [-100, -100]
