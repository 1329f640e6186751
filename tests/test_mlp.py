"""The network: its outputs by hand, its derivatives against differences, its parameters as one vector."""

import copy

import numpy as np
import pytest
from helpers import COPIES, LD, ROWS, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import given

from scratchpg import MLP, SoftmaxPolicy, Value
from scratchpg.optim import SGD

NETWORKS = {MLP: (3, 4, 2), SoftmaxPolicy: (3, 4, 2), Value: (3, 4)}  # each with sizes of its own


def assert_layers_are_views(network):
    """W_1, b_1, W_2, b_2, … lie in θ, in this order, without a gap."""
    net = getattr(network, "net", network)
    layers = [x for W_b in net.layers for x in W_b]
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x in layers]), network.theta)
    assert all(np.shares_memory(x, network.theta) for x in layers)


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


def test_d_input_by_hand():
    # the net of test_forward_by_hand: y = (2h + 10, 3h + 20), h = tanh(x_1 - x_2 + 0.5)
    # with ∂L/∂y = (1, 10): ∂L/∂h = 2 + 30,  ∂L/∂x = (32 (1 - h²), -32 (1 - h²))
    net = MLP((2, 1, 2), theta=np.array([1.0, -1.0, 0.5, 2.0, 3.0, 10.0, 20.0]))
    _, cache = net.forward(np.array([[3.0, 2.0]]))
    slope = 32 * (1 - np.tanh(1.5) ** 2)
    np.testing.assert_allclose(net.d_input(cache, np.array([[1.0, 10.0]])), [[slope, -slope]], rtol=1e-15)
    # y = x W + b, W = (4, 5)ᵀ: ∂L/∂x = ∂L/∂y Wᵀ, row by row
    linear = MLP((2, 1), theta=np.array([4.0, 5.0, 6.0]))
    _, cache = linear.forward(np.ones((2, 2)))
    np.testing.assert_array_equal(linear.d_input(cache, np.array([[1.0], [10.0]])), [[4, 5], [40, 50]])


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


@given(shapes(), ROWS, SEEDS)
def test_d_input_against_differences(sizes, B, seed):
    rng = np.random.default_rng(seed)
    net = random_network(MLP, sizes, rng)
    x, d_y = rng.standard_normal((B, sizes[0])).astype(LD), rng.standard_normal((B, sizes[-1])).astype(LD)
    gradient = net.d_input(net.forward(x)[1], d_y)
    assert gradient.shape == x.shape
    check(lambda flat: (net(flat.reshape(x.shape)) * d_y).sum() + 1, gradient.ravel(), x.ravel())


@given(shapes(), ROWS, SEEDS)
def test_d_input_against_complex_steps(sizes, B, seed):
    rng = np.random.default_rng(seed)
    theta = random_network(MLP, sizes, rng).theta.astype(float)
    net, in_complex = MLP(sizes, theta=theta), MLP(sizes, theta=theta.astype(complex))
    x, d_y = rng.standard_normal((B, sizes[0])), rng.standard_normal((B, sizes[-1]))
    gradient = net.d_input(net.forward(x)[1], d_y)
    assert_complex_step(lambda flat: (in_complex(flat.reshape(x.shape)) * d_y).sum(), gradient.ravel(), x.ravel())


@given(shapes(), ROWS, SEEDS)
def test_both_derivatives_together_are_the_change_of_y(sizes, B, seed):
    """⟨∂L/∂θ, v⟩ + ⟨∂L/∂x, u⟩ = ⟨∂L/∂y, ẏ⟩, where ẏ is what y changes by as θ and x move along v and u."""
    rng = np.random.default_rng(seed)
    net = MLP(sizes, theta=random_network(MLP, sizes, rng).theta.astype(float))
    x, u = rng.standard_normal((2, B, sizes[0]))
    d_y, v = rng.standard_normal((B, sizes[-1])), rng.standard_normal(net.theta.shape)
    y_dot = MLP(sizes, theta=net.theta + 1e-30j * v)(x + 1e-30j * u).imag / 1e-30
    _, cache = net.forward(x)
    terms = net.backward(cache, d_y) * v, net.d_input(cache, d_y) * u, -d_y * y_dot
    assert abs(sum(a.sum() for a in terms)) <= 1e-13 * max(1, sum(abs(a).sum() for a in terms))


@given(shapes(), ROWS, SEEDS)
def test_jvp_is_the_change_of_y_along_v(sizes, B, seed):
    rng = np.random.default_rng(seed)
    net = MLP(sizes, theta=random_network(MLP, sizes, rng).theta.astype(float))
    x, v = rng.standard_normal((B, sizes[0])), rng.standard_normal(net.theta.shape)
    y_dot = MLP(sizes, theta=net.theta + 1e-30j * v)(x).imag / 1e-30
    J_v = net.jvp(net.forward(x)[1], v)
    np.testing.assert_allclose(J_v, y_dot, rtol=0, atol=1e-13 * max(1, abs(J_v).max()))


@given(shapes(), ROWS, SEEDS)
def test_a_shift_of_all_inputs_is_a_shift_of_the_first_bias(sizes, B, seed):
    """(x + c) W_1 + b_1 = x W_1 + (b_1 + c W_1): so the sum of ∂L/∂x over the rows is ∂L/∂b_1 W_1ᵀ."""
    rng = np.random.default_rng(seed)
    net = random_network(MLP, sizes, rng)
    x, d_y = rng.standard_normal((B, sizes[0])).astype(LD), rng.standard_normal((B, sizes[-1])).astype(LD)
    _, cache = net.forward(x)
    n, m = sizes[:2]
    expected = net.backward(cache, d_y)[n * m : (n + 1) * m] @ net.layers[0][0].T
    total = net.d_input(cache, d_y).sum(axis=0)
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-15 * max(1, abs(expected).max()))


@given(shapes(), SEEDS)
def test_a_batch_is_the_sum_of_its_rows(sizes, seed):
    rng = np.random.default_rng(seed)
    net = random_network(MLP, sizes, rng)
    x, d_y = rng.standard_normal((3, sizes[0])).astype(LD), rng.standard_normal((3, sizes[-1])).astype(LD)

    def gradient(rows):
        return net.backward(net.forward(x[rows])[1], d_y[rows])

    together, apart = gradient(slice(None)), sum(gradient([i]) for i in range(3))
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-15 * max(1, abs(apart).max()))


@given(shapes(), SEEDS)
def test_d_input_goes_row_by_row(sizes, seed):
    rng = np.random.default_rng(seed)
    net = random_network(MLP, sizes, rng)
    x, d_y = rng.standard_normal((3, sizes[0])).astype(LD), rng.standard_normal((3, sizes[-1])).astype(LD)
    together = net.d_input(net.forward(x)[1], d_y)
    apart = np.concatenate([net.d_input(net.forward(x[[i]])[1], d_y[[i]]) for i in range(3)])
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-15 * max(1, abs(apart).max()))


def test_passes_do_not_disturb_each_other():
    rng = np.random.default_rng(0)
    net = MLP((3, 4, 2), rng, dtype=np.float64)
    (x1, x2), (d1, d2) = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 2))
    kept = [a.copy() for a in (net.theta, x1, x2, d1, d2)]

    y1, cache1 = net.forward(x1)
    first, first_input = net.backward(cache1, d1), net.d_input(cache1, d1)
    y2, cache2 = net.forward(x2)
    second, second_input = net.backward(cache2, d2), net.d_input(cache2, d2)
    assert same_bits(net.backward(cache1, d1), first) and same_bits(net.d_input(cache1, d1), first_input)
    assert same_bits(net.backward(cache2, d2), second) and same_bits(net.d_input(cache2, d2), second_input)
    assert same_bits(net.forward(x1)[0], y1) and same_bits(net(x2), y2)
    assert not np.shares_memory(first, second)
    assert all(same_bits(a, b) for a, b in zip(kept, (net.theta, x1, x2, d1, d2), strict=True))


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2)])
def test_input_of_the_parameters_dtype_is_not_mutated(sizes):
    # asarray makes no copy of these, so in-place arithmetic would show
    net = MLP(sizes, rng=0, dtype=np.float64)
    x, d_y = np.ones((2, 3)), np.ones((2, 2))
    _, cache = net.forward(x)
    net.backward(cache, d_y), net.d_input(cache, d_y)
    assert (x == 1).all() and (d_y == 1).all()


@pytest.mark.parametrize("other_rows, other_sizes", [(2, (3, 4, 2)), (5, (3, 3, 2)), (5, (3, 4, 4, 2)), (5, (3, 2))])
def test_cache_of_another_pass_is_refused(other_rows, other_sizes):
    _, cache = MLP(other_sizes, rng=0).forward(np.ones((other_rows, 3)))
    net = MLP((3, 4, 2), rng=0)
    for derivative in net.backward, net.d_input:
        with pytest.raises(ValueError, match="this cache is of another pass"):
            derivative(cache, np.ones((5, 2)))


def test_without_a_cache_nothing_is_differentiated():
    net = MLP((3, 4, 2), rng=0)
    for derivative in net.backward, net.d_input:
        with pytest.raises(ValueError, match="there is no cache"):
            derivative(None, np.ones((5, 2)))


def test_a_single_row_is_refused_with_what_to_write():
    with pytest.raises(ValueError, match=r"\(B, 3\), not \(3,\); a single state is given as state\[None\]"):
        MLP((3, 2), rng=0)(np.ones(3))
    with pytest.raises(ValueError, match=r"the input \(states\) must have shape \(B, 3\), not \(2, 1, 3\)$"):
        MLP((3, 2), rng=0)(np.ones((2, 1, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("given_dtype", [np.float32, np.float64, np.longdouble, int])
def test_the_parameters_decide_the_dtype(dtype, given_dtype):
    net = MLP((3, 4, 2), rng=0, dtype=dtype)
    y, cache = net.forward(np.ones((5, 3), given_dtype))
    d_y = np.ones((5, 2), given_dtype)
    assert y.dtype == net.theta.dtype == net.backward(cache, d_y).dtype == net.d_input(cache, d_y).dtype == dtype


def test_float32_is_the_default():
    assert MLP((3, 2), rng=0).theta.dtype == np.float32


def test_theta_is_one_vector_and_the_layers_are_views_of_it():
    net = MLP((2, 3, 1), rng=0)
    (W1, b1), (W2, b2) = net.layers
    np.testing.assert_array_equal(net.theta, np.concatenate([x.ravel() for x in (W1, b1, W2, b2)]))
    before = net.theta
    net.theta -= net.theta  # an optimiser's step, in place
    assert net.theta is before and not W1.any() and not W2.any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD, complex])
@pytest.mark.parametrize(("kind", "sizes"), NETWORKS.items())
def test_theta_may_be_replaced(kind, sizes, dtype, stride):
    """By an array of any floating-point type, which is used as it is; the one before is let go."""
    network, x = kind(sizes, rng=0), np.ones((2, 3))
    before = network.theta
    kept, memory = before.copy(), np.linspace(-1, 1, stride * len(before)).astype(dtype)
    theta = memory[::stride]
    network.theta = theta
    assert network.theta is theta and same_bits(before, kept)
    assert_layers_are_views(network)
    net = getattr(network, "net", network)
    assert net(x).dtype == dtype
    np.testing.assert_array_equal(net(x), MLP(net.sizes, theta=theta)(x))
    memory[:] = 0  # seen at once, as a worker sees what others write
    assert not net(x).any()


@pytest.mark.parametrize(("kind", "sizes"), NETWORKS.items())
def test_a_theta_that_does_not_fit_is_refused_and_the_one_before_stays(kind, sizes):
    network = kind(sizes, rng=0)
    before = network.theta
    P = len(before)
    for wrong, came in (
        (np.zeros(P + 1), rf"an array float64 \({P + 1},\)"),
        (np.zeros((P, 1)), rf"an array float64 \({P}, 1\)"),
        (np.zeros(P, int), rf"an array int64 \({P},\)"),
        ([0.0] * P, r"\[0\.0"),
        (None, "None"),
        (0.0, "0.0"),
    ):
        with pytest.raises(ValueError, match=rf"theta must be a flat floating-point array of shape .* not {came}"):
            network.theta = wrong
        assert network.theta is before
        assert_layers_are_views(network)


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


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize(("kind", "sizes"), NETWORKS.items())
@pytest.mark.parametrize("duplicate", COPIES)
def test_a_copy_goes_by_its_own_theta(kind, sizes, duplicate, replaced):
    """The layers of a copy are views of the copied θ, not of an array of their own."""
    one = kind(sizes, rng=0)
    if replaced:
        one.theta = one.theta + 1
    other, before = duplicate(one), one.theta.copy()
    assert same_bits(other.theta, before) and not np.shares_memory(other.theta, one.theta)
    assert_layers_are_views(other)
    other.theta[:] = 1
    assert same_bits(one.theta, before)
    net = getattr(other, "net", other)
    assert all((W == 1).all() and (b == 1).all() for W, b in net.layers)
    other.theta = before  # a copy, too, may be given another
    assert_layers_are_views(other), assert_layers_are_views(one)


def test_a_shallow_copy_shares_theta_until_it_is_given_another():
    one = MLP((3, 4, 2), rng=0)
    other, before = copy.copy(one), one.theta
    assert other.theta is one.theta
    assert_layers_are_views(other)
    other.theta = np.zeros_like(before)
    assert one.theta is before
    assert_layers_are_views(other), assert_layers_are_views(one)
    assert all(np.shares_memory(W, before) for W, _ in one.layers)


@pytest.mark.parametrize("duplicate", COPIES)
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


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (MLP([3, 4, 2], rng=0), "MLP((3, 4, 2))"),
        (SoftmaxPolicy((4, 64, 2), rng=0), "SoftmaxPolicy((4, 64, 2))"),
        (Value(np.array([4, 64]), rng=0), "Value((4, 64))"),
        (Value((4,), rng=0), "Value((4,))"),
        (SoftmaxPolicy((4, 2), rng=0, dtype=float), "SoftmaxPolicy((4, 2), dtype=np.float64)"),
        (Value((4, 3), theta=np.zeros(19, LD)), f"Value((4, 3), dtype=np.{np.dtype(LD)})"),
    ],
)
def test_repr_is_what_makes_one_like_it(network, text):
    assert repr(network) == text
    made = eval(text)
    assert type(made) is type(network) and made.sizes == network.sizes and made.theta.dtype == network.theta.dtype


def test_repr_names_the_class():
    class Kin(SoftmaxPolicy):
        pass

    assert repr(Kin((4, 2), rng=0)) == "Kin((4, 2))"
