"""The Gaussian and its policy: sums over dimensions, one θ in all its views, and what is refused."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from helpers import LD, ROWS, SEEDS, assert_complex_step, same_bits, shapes
from helpers import check as check_gradient
from hypothesis import given

from scratchpg import MLP, Gaussian, GaussianPolicy, Policy, Softmax, SoftmaxPolicy
from scratchpg.plumbing import check

QUANTITIES = {  # name: (the number for each row, its gradient in η), of π, another distribution and actions
    "log π": (lambda pi, other, a: pi.log_prob(a), lambda pi, other, a: pi.d_log_prob(a)),
    "H": (lambda pi, other, a: pi.entropy(), lambda pi, other, a: pi.d_entropy()),
    "KL": (lambda pi, other, a: pi.kl(other), lambda pi, other, a: pi.d_kl(other)),
}


def random_gaussian(rng, B=5, d=3, scale=1.0):
    return Gaussian(rng.normal(0, scale, (B, 2 * d)))


def random_policy(sizes, rng, dtype=float):
    """A GaussianPolicy all of whose parameters are of order 1, log σ too."""
    policy = GaussianPolicy(sizes, dtype=dtype)
    policy.theta[:] = rng.normal(0, 0.7, policy.theta.shape)
    return policy


@pytest.mark.parametrize("name", QUANTITIES)
@given(shapes(), ROWS, SEEDS)
def test_gradient_through_the_policy(name, sizes, B, seed):
    """Against differences in extended precision, and against complex steps."""
    rng = np.random.default_rng(seed)
    policy, other = random_policy(sizes, rng), random_policy(sizes, rng)
    states, actions = rng.standard_normal((B, sizes[0])), rng.standard_normal((B, sizes[-1]))
    f, d_eta = QUANTITIES[name]
    q = other(states)

    def total(theta):
        return f(GaussianPolicy(sizes, theta=theta)(states), q, actions).sum()

    pi = policy(states)
    assert_complex_step(total, policy.backward(pi, d_eta(pi, q, actions)), policy.theta)
    policy.theta = policy.theta.astype(LD)
    pi = policy(states)
    check_gradient(lambda theta: total(theta) + 1, policy.backward(pi, d_eta(pi, q, actions)), policy.theta)


@given(SEEDS)
def test_three_dimensions_are_three_gaussians_of_one(seed):
    """Every number is a sum over the dimensions, never their mean; every gradient is that of each dimension."""
    rng = np.random.default_rng(seed)
    pi, other, actions = random_gaussian(rng), random_gaussian(rng), rng.standard_normal((5, 3))
    ones = [
        [Gaussian(x.parameters[:, [i, 3 + i]]) for i in range(3)] for x in (pi, other)
    ]  # (μ_i, log σ_i) of each dimension
    for f, d_eta in QUANTITIES.values():
        each = [(p, q, actions[:, [i]]) for i, (p, q) in enumerate(zip(*ones, strict=True))]
        np.testing.assert_allclose(f(pi, other, actions), sum(f(*x) for x in each), rtol=1e-12)
        columns = np.stack([d_eta(*x) for x in each], axis=2).reshape(5, 6)  # all μ first, then all log σ
        np.testing.assert_array_equal(d_eta(pi, other, actions), columns)


@given(SEEDS)
def test_kl_is_never_negative(seed):
    rng = np.random.default_rng(seed)
    pi = random_gaussian(rng)
    near = Gaussian(pi.parameters + rng.choice([0, 1e-17, 1e-12, 1e-8, 1e-3], pi.parameters.shape))
    assert (pi.kl(near) >= 0).all() and (pi.kl(pi) == 0).all()


def test_samples_have_the_mean_and_the_deviation():
    parameters = np.tile([1.0, -2.0, 0.0, -1.0], (100_000, 1))
    actions = Gaussian(parameters).sample(np.random.default_rng(0))
    np.testing.assert_allclose(actions.mean(axis=0), [1, -2], atol=0.02)
    np.testing.assert_allclose(actions.std(axis=0), np.exp([0, -1]), rtol=0.02)
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.02


def test_the_mode_is_the_mean():
    pi = random_gaussian(np.random.default_rng(0))
    assert same_bits(pi.mode(), pi.mean)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_parameters_decide_the_dtype(dtype):
    policy = GaussianPolicy((3, 4, 2), rng=0, dtype=dtype)
    pi = policy(np.ones((5, 3)))
    actions = pi.sample(np.random.default_rng(0))
    results = pi.parameters, actions, pi.mode(), pi.log_prob(actions), pi.entropy(), pi.kl(pi), pi.d_kl(pi)
    d = policy.backward(pi, np.ones((5, 4)))
    v = np.ones(len(policy.theta), dtype)
    results += pi.d_log_prob(actions), pi.d_entropy(), pi.fisher(pi.parameters), d, policy.jvp(pi, v)
    assert {x.dtype for x in results} == {np.dtype(dtype)} == {policy.theta.dtype, policy.log_std.dtype}


BAD_CALLS = {  # message: a call that a Gaussian of 5 rows and d = 3 refuses
    r"actions must have shape \(5, 3\), not \(5,\)": lambda pi: pi.log_prob(np.zeros(5)),
    r"actions must have shape \(5, 3\), not \(5, 1\)": lambda pi: pi.log_prob(np.zeros((5, 1))),
    r"actions must have shape \(5, 3\), not \(1, 3\)": lambda pi: pi.d_log_prob(np.zeros((1, 3))),
    r"actions must have shape \(5, 3\), not \(5, 6\)": lambda pi: pi.d_log_prob(np.zeros((5, 6))),
    r"v must have shape \(5, 6\), not \(6,\)": lambda pi: pi.fisher(np.zeros(6)),
    r"the other's parameters must have shape \(5, 6\), not \(1, 6\)": lambda pi: pi.kl(Gaussian(np.zeros((1, 6)))),
    r"parameters must be floats of shape \(B, 2d\)": lambda pi: Gaussian(np.zeros((5, 3))),
    "μ and log σ, not an array int64": lambda pi: Gaussian(np.zeros((5, 6), int)),
    r"μ and log σ, not an array float64 \(6,\)": lambda pi: Gaussian(np.zeros(6)),
}


@pytest.mark.parametrize("message", BAD_CALLS)
def test_what_would_broadcast_is_refused(message):
    with pytest.raises(ValueError, match=message):
        BAD_CALLS[message](random_gaussian(np.random.default_rng(0)))


def test_actions_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match="actions must be numbers"):
        random_gaussian(np.random.default_rng(0), B=1, d=1).log_prob(np.array([["left"]]))


def test_a_softmax_has_the_same_face():
    pi = Softmax(np.zeros((5, 3)))
    assert pi.parameters is pi.logits
    with pytest.raises(ValueError, match=r"v must have shape \(5, 3\), not \(3,\)"):
        pi.fisher(np.zeros(3))


def shared(policy):
    theta = np.frombuffer(bytearray(policy.theta.nbytes), policy.theta.dtype)
    theta[:] = policy.theta
    policy.theta = theta
    return policy


WAYS = {  # by which a policy may come to another θ
    "as made": lambda policy: policy,
    "made of θ": lambda policy: GaussianPolicy(policy.sizes, theta=policy.theta.copy()),
    "copied": copy.deepcopy,
    "pickled": lambda policy: pickle.loads(pickle.dumps(policy)),
    "a copy of a copy": lambda policy: copy.deepcopy(pickle.loads(pickle.dumps(policy))),
    "in shared memory": shared,
}


@pytest.mark.parametrize("way", WAYS)
def test_theta_is_one_array_of_which_all_parts_are_views(way):
    """A step on θ moves the net and log σ, in copies too, and nothing of the original."""
    original = random_policy((3, 4, 2), np.random.default_rng(0))
    before = original.theta.copy()
    policy = WAYS[way](original)
    assert same_bits(policy.theta, before) and len(policy.theta) == len(policy.net.theta) + 2
    theta = policy.theta
    theta -= 1  # as an optimiser does, which holds the array: no setter is called
    assert same_bits(np.append(policy.net.theta, policy.log_std), before - 1)
    for part in policy.net.theta, policy.log_std, *(W for W, _ in policy.net.layers):
        assert np.shares_memory(part, policy.theta)
    assert (policy(np.ones((1, 3))).log_std == before[-2:] - 1).all()
    if way not in ("as made", "in shared memory"):
        assert same_bits(original.theta, before)


def test_log_std_is_where_sigma_starts():
    assert (GaussianPolicy((3, 2), rng=0).log_std == 0).all()
    assert (GaussianPolicy((3, 2), rng=0, log_std=-0.5).log_std == -0.5).all()
    assert (GaussianPolicy((3, 2), rng=0, log_std=np.array([1, 2])).log_std == [1, 2]).all()
    assert same_bits(GaussianPolicy((3, 2), rng=0).net.theta, SoftmaxPolicy((3, 2), rng=0).theta)


@pytest.mark.parametrize("log_std", [np.nan, np.inf, [0.0, -np.inf], [0.0, 0.0, 0.0], "wide"])
def test_a_log_std_that_is_no_finite_number_is_refused(log_std):
    with pytest.raises((ValueError, TypeError), match=r"log_std must be|log_std\[1\]|could not broadcast"):
        GaussianPolicy((3, 2), log_std=log_std)


@pytest.mark.parametrize("theta", [np.zeros(8), np.zeros(11), np.zeros((1, 10)), 3.0])
def test_a_theta_of_another_shape_is_refused(theta):
    with pytest.raises(ValueError, match=r"theta must have shape \(8 \+ 2,\), log σ at the end, not"):
        GaussianPolicy((3, 2), theta=theta)


def test_the_first_policy_is_nearly_the_same_in_all_states():
    states = np.random.default_rng(0).standard_normal((100, 8))
    mean = GaussianPolicy((8, 64, 64, 4), rng=0)(states).mean
    assert abs(mean).max() < 0.1 and mean.std() > 0


@given(shapes(), ROWS, SEEDS)
def test_jvp_is_the_derivative_along_v_and_the_transpose_of_backward(sizes, B, seed):
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((B, sizes[0]))
    for policy in random_policy(sizes, rng), SoftmaxPolicy(sizes, rng, dtype=float):
        pi, v = policy(states), rng.standard_normal(len(policy.theta))
        along = type(policy)(sizes, theta=policy.theta + 1e-30j * v)(states)
        J_v = policy.jvp(pi, v)
        np.testing.assert_allclose(J_v, along.parameters.imag / 1e-30, rtol=0, atol=1e-13 * max(1, abs(J_v).max()))
        d = rng.standard_normal(J_v.shape)
        np.testing.assert_allclose((d * J_v).sum(), policy.backward(pi, d) @ v, rtol=1e-10, atol=1e-12)


def test_jvp_refuses_what_does_not_fit():
    net = MLP((3, 4, 2), rng=0)
    _, cache = net.forward(np.ones((5, 3)))
    with pytest.raises(ValueError, match="theta must be a flat floating-point array"):
        net.jvp(cache, np.ones(3))
    with pytest.raises(ValueError, match="there is no cache"):
        net.jvp(None, net.theta)
    with pytest.raises(ValueError, match="this cache is of another pass"):
        net.jvp(MLP((3, 5, 2), rng=0).forward(np.ones((5, 3)))[1], net.theta)


@given(shapes(), ROWS, SEEDS)
def test_absorb_folds_a_normalisation_into_theta(sizes, B, seed):
    rng = np.random.default_rng(seed)
    net = MLP(sizes, rng, dtype=float)
    x, mean, std = rng.normal(0, 5, (B, sizes[0])), rng.normal(0, 5, sizes[0]), rng.uniform(0.1, 3, sizes[0])
    expected = net((x - mean) / std)
    net.absorb(mean, std)
    np.testing.assert_allclose(net(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mean, std", [([0], [1]), ([0, 0], [1, 0]), ([0, 0], [1, np.inf]), ([0, np.nan], [1, 1])])
def test_absorb_refuses_what_is_no_normalisation(mean, std):
    net = MLP((2, 3), rng=0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match=r"must have shape \(2,\), std > 0|must be finite"):
        net.absorb(np.array(mean), np.array(std))
    assert same_bits(net.theta, before)


@pytest.mark.parametrize(
    ("dtype", "mean", "std"),
    [
        (np.float32, [0, 0], [1e-46, 1]),
        (np.float64, [0, 0], [1, 1e-320]),
        (np.float32, [1e300, 0], [1, 1]),
        (np.float32, [1e30, 0], [1e-20, 1]),
        (np.float64, [1e200, 0], [1e-200, 1]),
        (np.float32, [np.inf, 0], [1, 1]),
    ],
)
def test_absorb_refuses_what_this_dtype_can_not_hold(dtype, mean, std):
    net = MLP((2, 3), rng=0, dtype=dtype)
    before = net.theta.copy()
    with np.errstate(all="raise"), pytest.raises(check.NonFiniteError, match=r"^(θ by this mean and std|mean) must be"):
        net.absorb(np.array(mean), np.array(std))
    assert same_bits(net.theta, before)
    with pytest.raises(TypeError, match="std must be numbers, not an array <U1"):
        net.absorb(np.zeros(2), np.array(["1", "1"]))


def env_with(action_space):
    env = gym.Env()
    env.observation_space, env.action_space = Box(-1, 1, (4,)), action_space
    return env


def test_the_action_space_chooses_the_policy():
    box, discrete = env_with(Box(-1, 1, (2, 3))), env_with(Discrete(3))
    policy = Policy.for_env(box, (7,), rng=0, log_std=-1.0, dtype=np.float64)
    assert type(policy) is GaussianPolicy and policy.sizes == (4, 7, 6) and (policy.log_std == -1).all()
    assert same_bits(policy.theta, GaussianPolicy((4, 7, 6), rng=0, log_std=-1.0, dtype=np.float64).theta)
    assert type(Policy.for_env(discrete, rng=0)) is SoftmaxPolicy
    assert type(GaussianPolicy.for_env(box)) is GaussianPolicy
    with pytest.raises(TypeError, match="log_std"):
        Policy.for_env(discrete, log_std=0.0)
