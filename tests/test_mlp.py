"""The network: its outputs by hand, its backward pass against differences, its parameters as one vector."""

import copy
import pickle

import numpy as np
import pytest
from helpers import LD, ROWS, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import given

from scratchpg import MLP, SoftmaxPolicy, Value
from scratchpg.optim import SGD


def test_forward_by_hand():
    # sizes (2, 1, 2): W1 = (1, -1)ᵀ, b1 = 0.5, W2 = (2, 3), b2 = (10, 20)
    # x = (3, 2): h = tanh(3 - 2 + 0.5) = tanh(1.5);  y = (2h + 10, 3h + 20)
    net = MLP((2, 1, 2), theta=np.array([1.0, -1.0, 0.5, 2.0, 3.0, 10.0, 20.0]))
    h = np.tanh(1.5)
    np.testing.assert_allclose(net(np.array([[3.0, 2.0]])), [[2 * h + 10, 3 * h + 20]], rtol=1e-15)


def test_backward_by_hand():
    # y = x W + b with x = (2, 3), (5, 7) and ∂L/∂y = 1, 10:  ∂L/∂W = (2 + 50, 3 + 70),  ∂L/∂b = 1 + 10
    net = MLP((2, 1), theta=np.zeros(3))
    _, cache = net.forward(np.array([[2.0, 3.0], [5.0, 7.0]]))
    np.testing.assert_array_equal(net.backward(cache, np.array([[1.0], [10.0]])), [52, 73, 11])


@given(shapes(), ROWS, SEEDS)
def test_backward_against_differences(sizes, B, seed):
    rng = np.random.default_rng(seed)
    net = random_network(MLP, sizes, rng)
    x, d_y = rng.standard_normal((B, sizes[0])).astype(LD), rng.standard_normal((B, sizes[-1])).astype(LD)
    _, cache = net.forward(x)
    # f is y contracted with d_y; the 1 makes up for what may cancel in that sum, so that f is of the size of its terms
    check(lambda theta: (MLP(sizes, theta=theta)(x) * d_y).sum() + 1, net.backward(cache, d_y), net.theta)


@given(shapes(), ROWS, SEEDS)
def test_backward_against_complex_steps(sizes, B, seed):
    rng = np.random.default_rng(seed)
    theta = random_network(MLP, sizes, rng).theta.astype(float)
    net = MLP(sizes, theta=theta)
    x, d_y = rng.standard_normal((B, sizes[0])), rng.standard_normal((B, sizes[-1]))
    gradient = net.backward(net.forward(x)[1], d_y)
    assert_complex_step(lambda theta: (MLP(sizes, theta=theta)(x) * d_y).sum(), gradient, theta)


@given(shapes(), SEEDS)
def test_a_batch_is_the_sum_of_its_rows(sizes, seed):
    rng = np.random.default_rng(seed)
    net = random_network(MLP, sizes, rng)
    x, d_y = rng.standard_normal((3, sizes[0])).astype(LD), rng.standard_normal((3, sizes[-1])).astype(LD)

    def gradient(rows):
        return net.backward(net.forward(x[rows])[1], d_y[rows])

    together, apart = gradient(slice(None)), sum(gradient([i]) for i in range(3))
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-15 * max(1, abs(apart).max()))


def test_passes_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    net = MLP((3, 4, 2), rng, dtype=np.float64)
    (x1, x2), (d1, d2) = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 2))
    kept = [a.copy() for a in (net.theta, x1, x2, d1, d2)]

    y1, cache1 = net.forward(x1)
    first = net.backward(cache1, d1)
    y2, cache2 = net.forward(x2)
    second = net.backward(cache2, d2)
    assert same_bits(net.backward(cache1, d1), first)
    assert same_bits(net.backward(cache2, d2), second)
    assert same_bits(net.forward(x1)[0], y1) and same_bits(net(x2), y2)
    assert not np.shares_memory(first, second)
    assert all(same_bits(a, b) for a, b in zip(kept, (net.theta, x1, x2, d1, d2), strict=True))


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2)])
def test_input_of_the_parameters_dtype_is_not_mutated(sizes):
    # asarray makes no copy of these, so in-place arithmetic would show
    net = MLP(sizes, rng=0, dtype=np.float64)
    x, d_y = np.ones((2, 3)), np.ones((2, 2))
    net.backward(net.forward(x)[1], d_y)
    assert (x == 1).all() and (d_y == 1).all()


@pytest.mark.parametrize("other_rows, other_sizes", [(2, (3, 4, 2)), (5, (3, 3, 2)), (5, (3, 4, 4, 2)), (5, (3, 2))])
def test_cache_of_another_pass_is_refused(other_rows, other_sizes):
    _, cache = MLP(other_sizes, rng=0).forward(np.ones((other_rows, 3)))
    with pytest.raises(ValueError, match="this cache is of another pass"):
        MLP((3, 4, 2), rng=0).backward(cache, np.ones((5, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("given_dtype", [np.float32, np.float64, np.longdouble, int])
def test_the_parameters_decide_the_dtype(dtype, given_dtype):
    net = MLP((3, 4, 2), rng=0, dtype=dtype)
    y, cache = net.forward(np.ones((5, 3), given_dtype))
    assert y.dtype == net.backward(cache, np.ones((5, 2), given_dtype)).dtype == net.theta.dtype == dtype


def test_float32_is_the_default():
    assert MLP((3, 2), rng=0).theta.dtype == np.float32


def test_theta_is_one_vector_and_the_layers_are_views_of_it():
    net = MLP((2, 3, 1), rng=0)
    (W1, b1), (W2, b2) = net.layers
    np.testing.assert_array_equal(net.theta, np.concatenate([x.ravel() for x in (W1, b1, W2, b2)]))
    before = net.theta
    net.theta -= net.theta  # an optimiser's step, in place
    assert net.theta is before and not W1.any() and not W2.any()
    with pytest.raises(AttributeError, match="theta"):
        net.theta = np.ones_like(before)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_given_theta_is_used_without_a_copy(stride):
    memory = np.arange(14.0)
    net = MLP((2, 1, 2), theta=memory[::stride][:7])
    memory[:] = 0
    assert not net(np.ones((1, 2))).any()


def test_initialisation():
    net = MLP((100, 50, 40), rng=0, output_scale=0.01)
    (W1, b1), (W2, b2) = net.layers
    assert not b1.any() and not b2.any()
    # the standard deviation of n normal numbers is known to about 1/√(2n): 1 % of 5000, 1.6 % of 2000
    assert W1.std() == pytest.approx(1 / np.sqrt(100), rel=0.04)
    assert W2.std() == pytest.approx(0.01 / np.sqrt(50), rel=0.06)
    assert MLP((100, 50, 40), rng=0).layers[1][0].std() == pytest.approx(1 / np.sqrt(50), rel=0.06)
    assert same_bits(net.theta, MLP((100, 50, 40), rng=np.random.default_rng(0), output_scale=0.01).theta)
    assert not np.array_equal(net.theta, MLP((100, 50, 40), rng=1, output_scale=0.01).theta)


@pytest.mark.parametrize("kind", [MLP, SoftmaxPolicy, Value])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_goes_by_its_own_theta(kind, duplicate):
    """The layers of a copy are views of the copied θ, not of an array of their own."""
    one = kind((3, 4, 2), rng=0)
    other, before = duplicate(one), one.theta.copy()
    assert same_bits(other.theta, before)
    other.theta[:] = 1
    assert same_bits(one.theta, before)
    net = getattr(other, "net", other)
    assert all((W == 1).all() and (b == 1).all() for W, b in net.layers)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_an_optimiser_copied_with_its_network_moves_the_copy(duplicate):
    policy = SoftmaxPolicy((3, 4, 2), rng=0)
    other, optimiser = duplicate((policy, SGD(policy.theta, 0.5)))
    optimiser.step(np.ones_like(other.theta))
    assert same_bits(other.theta, policy.theta - np.float32(0.5))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_is_of_the_same_kind(duplicate):
    class Kin(MLP):
        pass

    one = Kin((2, 1), rng=0)
    one.scale = 3.0
    other = duplicate(one)
    assert type(other) is Kin and other.scale == 3.0
    other.theta[:] = 1
    assert all((W == 1).all() for W, _ in other.layers)
    assert one.theta.all() == (duplicate is copy.copy)  # a shallow copy shares θ
