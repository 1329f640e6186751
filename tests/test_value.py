"""The value V_φ and the gradient of its squared error (2.3)."""

import gymnasium as gym
import numpy as np
import pytest
from helpers import LD, ROWS, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import Value

NO_OUTPUT = shapes(st.just(1)).map(lambda sizes: sizes[:-1])  # a Value adds its one output itself


def test_by_hand():
    # V(s) = 2s + 1 at s = 1, 3: V = 3, 7;  targets 5, 6: errors 2, -1;  mse = (4 + 1) / 2
    # -2 mean(error ∇V) = -((2·1 - 1·3), (2 - 1)) = (1, -1)
    value = Value((1,), theta=np.array([2.0, 1.0]))
    states, targets = np.array([[1.0], [3.0]]), np.array([5.0, 6.0])
    np.testing.assert_array_equal(value(states), [3, 7])
    assert value.mse(states, targets) == 2.5
    np.testing.assert_array_equal(value.mse_gradient(states, targets), [1, -1])


@given(NO_OUTPUT, ROWS, SEEDS)
def test_mse_gradient_against_differences(sizes, B, seed):
    rng = np.random.default_rng(seed)
    value = random_network(Value, sizes, rng)
    states, targets = rng.standard_normal((B, sizes[0])).astype(LD), 10 * rng.standard_normal(B).astype(LD)
    check(
        lambda theta: Value(sizes, theta=theta).mse(states, targets), value.mse_gradient(states, targets), value.theta
    )


@given(NO_OUTPUT, ROWS, SEEDS)
def test_mse_gradient_against_complex_steps(sizes, B, seed):
    rng = np.random.default_rng(seed)
    theta = random_network(Value, sizes, rng).theta.astype(float)
    states, targets = rng.standard_normal((B, sizes[0])), rng.standard_normal(B)
    assert_complex_step(
        lambda theta: Value(sizes, theta=theta).mse(states, targets),
        Value(sizes, theta=theta).mse_gradient(states, targets),
        theta,
    )


def test_exact_targets_leave_nothing_to_learn():
    value, states = Value((3, 4), rng=0, dtype=np.float64), np.random.default_rng(0).standard_normal((5, 3))
    assert value.mse(states, value(states)) == 0 and not value.mse_gradient(states, value(states)).any()


def test_any_leading_shape():
    value, states = Value((3, 4), rng=0), np.random.default_rng(0).standard_normal((6, 2, 3))
    values = value(states)
    assert values.shape == (6, 2)
    np.testing.assert_array_equal(values.ravel(), value(states.reshape(12, 3)))
    np.testing.assert_allclose(values, value(states.swapaxes(0, 1)).T, rtol=1e-5)
    assert value(states[:0]).shape == (0, 2) and value(states[None]).shape == (1, 6, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_parameters_decide_the_dtype(dtype):
    value, states = Value((3, 4), rng=0, dtype=dtype), np.ones((5, 3))
    assert value.theta.dtype == value(states).dtype == value.mse_gradient(states, np.ones(5)).dtype == dtype


def test_arguments_are_not_mutated():
    value, states, targets = Value((2, 3), rng=0, dtype=np.float64), np.ones((4, 2)), np.ones(4)
    first = value.mse_gradient(states, targets)
    assert same_bits(value.mse_gradient(states, targets), first)
    assert (states == 1).all() and (targets == 1).all()


def test_theta_can_be_handed_in_and_stepped_in_place():
    theta = np.zeros(4)
    value = Value((3,), theta=theta)
    value.theta -= 0.5
    assert value.theta is theta and (theta == -0.5).all() and value(np.ones((1, 3))) == -2
    value.theta = another = np.ones(4)  # or it is replaced
    assert value.theta is another and value.net.theta is another and (theta == -0.5).all()
    assert value(np.ones((1, 3))) == 4
    with pytest.raises(ValueError, match=r"theta must be .* of shape \(4,\) for sizes \(3, 1\), not an array"):
        value.theta = np.ones(5)
    assert value.theta is another


def test_a_single_state_is_refused_with_what_to_write():
    value, state = Value((3, 4), rng=0), np.ones(3)
    with pytest.raises(ValueError, match=r"must have shape \(B, 3\), not \(3,\); .* as state\[None\]$"):
        value(state)
    assert value(state[None]).shape == (1,)


def test_states_of_another_width_are_refused():
    """Also where their numbers would make up rows of the right width."""
    value = Value((3, 4), rng=0)
    for shape in (3, 4), (2, 3, 2), (3, 1), (1, 1, 1, 6):
        with pytest.raises(ValueError, match=rf"must have shape \(B, 3\), not \(\d+, {shape[-1]}\)"):
            value(np.ones(shape))


def test_what_a_value_says_of_itself():
    value = Value([3, 4], rng=0)
    assert (value.sizes, value.outputs, value.actions) == ((3, 4), 1, None)


def test_for_env():
    value = Value.for_env(gym.make_vec("CartPole-v1", 2), hidden=(8,), rng=0, dtype=np.float64)
    assert value.net.sizes == (4, 8, 1)
    assert same_bits(value.theta, Value((4, 8), rng=0, dtype=np.float64).theta)
    assert Value.for_env(gym.make("CartPole-v1")).net.sizes == (4, 64, 64, 1)
