"""The policy: a network with a softmax on top, differentiated through both."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from helpers import ACTIONS, LD, ROWS, SCALES, SEEDS, assert_complex_step, check, random_network, same_bits, shapes
from hypothesis import given

from scratchpg import MLP, Softmax, SoftmaxPolicy, Value, ppo
from scratchpg.gradcheck import check_gradient
from scratchpg.policy import drift

QUANTITIES = {  # name: (the number for each row, its gradient in the logits), of π, another distribution and actions
    "log π": (lambda pi, other, a: pi.log_prob(a), lambda pi, other, a: pi.d_log_prob(a)),
    "H": (lambda pi, other, a: pi.entropy(), lambda pi, other, a: pi.d_entropy()),
    "KL": (lambda pi, other, a: pi.kl(other), lambda pi, other, a: pi.d_kl(other)),
    "KL in the other's θ": (
        lambda pi, other, a: other.kl(pi),
        lambda pi, other, a: pi.probabilities - other.probabilities,
    ),
}


@pytest.mark.parametrize("name", QUANTITIES)
@given(shapes(ACTIONS), ROWS, SCALES, SEEDS)
def test_gradient_against_differences(name, sizes, B, scale, seed):
    rng = np.random.default_rng(seed)
    policy, other = (random_network(SoftmaxPolicy, sizes, rng, scale) for _ in range(2))
    states, actions = rng.standard_normal((B, sizes[0])).astype(LD), rng.integers(0, sizes[-1], B)
    f, d_parameters = QUANTITIES[name]
    pi, other = policy(states), other(states)
    # the 1: near certainty H and KL are tiny numbers left over from larger ones, whose rounding they carry
    check(
        lambda theta: f(SoftmaxPolicy(sizes, theta=theta)(states), other, actions).sum() + 1,
        policy.backward(pi, d_parameters(pi, other, actions)),
        policy.theta,
    )


@pytest.mark.parametrize("name", QUANTITIES)
@given(shapes(ACTIONS), ROWS, SCALES, SEEDS)
def test_gradient_against_complex_steps(name, sizes, B, scale, seed):
    rng = np.random.default_rng(seed)
    thetas = [random_network(SoftmaxPolicy, sizes, rng, scale).theta.astype(float) for _ in range(2)]
    policy, other = (SoftmaxPolicy(sizes, theta=theta) for theta in thetas)
    states, actions = rng.standard_normal((B, sizes[0])), rng.integers(0, sizes[-1], B)
    f, d_parameters = QUANTITIES[name]
    pi, other = policy(states), other(states)
    assert_complex_step(
        lambda theta: f(SoftmaxPolicy(sizes, theta=theta)(states), other, actions).sum(),
        policy.backward(pi, d_parameters(pi, other, actions)),
        policy.theta,
    )


def test_a_distribution_remembers_its_own_pass():
    policy = SoftmaxPolicy((3, 4, 2), rng=0)
    x1, x2 = np.random.default_rng(0).standard_normal((2, 5, 3))
    pi1 = policy(x1)
    expected = policy.backward(pi1, pi1.d_entropy())
    pi2 = policy(x2)  # a later pass does not disturb the earlier one
    assert same_bits(policy.backward(pi1, pi1.d_entropy()), expected)
    assert not np.array_equal(policy.backward(pi2, pi2.d_entropy()), expected)
    with pytest.raises(ValueError, match="this cache is of another pass"):
        policy.backward(policy(x1[:3]), pi1.d_entropy())


def test_the_first_policy_is_close_to_uniform():
    states = np.random.default_rng(0).standard_normal((100, 8))
    probabilities = SoftmaxPolicy((8, 64, 64, 4), rng=0)(states).probabilities
    assert abs(probabilities - 0.25).max() < 0.02 and probabilities.std() > 0
    assert same_bits(SoftmaxPolicy((8, 64, 4), rng=0).theta, MLP((8, 64, 4), rng=0, output_scale=0.01).theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_parameters_decide_the_dtype(dtype):
    policy = SoftmaxPolicy((3, 4, 2), rng=0, dtype=dtype)
    pi = policy(np.ones((5, 3), np.float64))
    gradient = policy.backward(pi, np.ones((5, 2)))
    assert policy.theta.dtype == pi.logits.dtype == pi.probabilities.dtype == gradient.dtype == dtype


def test_theta_can_be_handed_in_and_stepped_in_place():
    theta = np.zeros(8, np.float64)
    policy = SoftmaxPolicy((3, 2), theta=theta)
    assert policy.theta is theta and policy.net.theta is theta
    policy.theta[:] = 1
    assert (theta == 1).all()
    policy.theta -= 0.5  # as for the network itself: it works in place
    assert policy.theta is theta and (theta == 0.5).all()
    policy.theta = another = np.ones(8)  # or it is replaced
    assert policy.theta is another and policy.net.theta is another and (theta == 0.5).all()
    pi = policy(np.ones((1, 3)))
    assert (pi.logits == 4).all()
    with pytest.raises(ValueError, match=r"theta must be .* of shape \(8,\) for sizes \(3, 2\), not an array"):
        policy.theta = np.ones(9)
    assert policy.theta is another


def test_a_gradient_is_that_of_the_theta_in_place():
    """After θ was replaced, distributions and their gradients are those of the new one."""
    rng = np.random.default_rng(0)
    policy, states = SoftmaxPolicy((3, 4, 2), rng, dtype=np.float64), rng.standard_normal((5, 3))
    policy.theta = theta = rng.standard_normal(policy.theta.shape)
    pi = policy(states)
    expected = SoftmaxPolicy((3, 4, 2), theta=theta)
    assert same_bits(pi.logits, expected(states).logits)
    gradient = policy.backward(pi, pi.d_log_prob(np.zeros(5, int)))
    assert same_bits(gradient, expected.backward(pi, pi.d_log_prob(np.zeros(5, int))))


def test_a_single_state_is_refused_with_what_to_write():
    policy, state = SoftmaxPolicy((3, 4, 2), rng=0), np.ones(3)
    with pytest.raises(ValueError, match=r"must have shape \(B, 3\), not \(3,\); .* as state\[None\]$"):
        policy(state)
    assert policy(state[None]).probabilities.shape == (1, 2)


def test_what_a_policy_says_of_itself():
    policy = SoftmaxPolicy([3, 4, 2], rng=0)
    assert (policy.sizes, policy.outputs, policy.actions) == ((3, 4, 2), 2, "Discrete")


@pytest.mark.parametrize(
    "observations, size",
    [
        (Box(-1, 1, (4,)), 4),
        (Box(-1, 1, (2, 3)), 6),
        (Discrete(5), 5),
        (gym.spaces.MultiDiscrete([2, 3]), 5),
        (gym.spaces.Tuple([Discrete(2), Box(-1, 1, (2, 2))]), 6),
        (gym.spaces.Dict(a=Discrete(2), b=Box(-1, 1)), 3),
    ],
)
def test_for_env(observations, size):
    env = gym.Env()
    env.observation_space, env.action_space = observations, Discrete(3)
    policy = SoftmaxPolicy.for_env(env, hidden=(7,), rng=0, dtype=np.float64)
    assert policy.net.sizes == (size, 7, 3)
    assert same_bits(policy.theta, SoftmaxPolicy((size, 7, 3), rng=0, dtype=np.float64).theta)
    assert SoftmaxPolicy.for_env(env, rng=0).net.sizes == (size, 64, 64, 3)
    assert SoftmaxPolicy.for_env(env, ()).net.sizes == (size, 3)


def test_for_env_of_a_vector_environment_is_that_of_one():
    one, many = gym.make("CartPole-v1"), gym.make_vec("CartPole-v1", 3)
    assert SoftmaxPolicy.for_env(one).net.sizes == SoftmaxPolicy.for_env(many).net.sizes == (4, 64, 64, 2)


def test_drift_by_hand():
    # from (½, ½) to (¾, ¼), (¼, ¾) and (½, ½), of which action 0 was taken: ratios 1½, ½ and 1
    # KL = ½ log (½ / ¾) + ½ log (½ / ¼) = ½ log (4/3), twice, and 0
    old, new = Softmax(np.zeros((3, 2))), Softmax(np.log([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]))
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    actions = np.zeros(3, int)
    for clip_range, clipped in (0.4, 2 / 3), (0.6, 0.0), (0.0, 2 / 3):  # a ratio of 1 is within any range
        found = drift(old, new, actions, clip_range)
        assert found == pytest.approx(
            {"kl": np.log(4 / 3) / 3, "clip_fraction": clipped, "entropy": (2 * entropy + np.log(2)) / 3}, rel=1e-14
        )
        assert {type(x) for x in found.values()} == {float}
    assert drift(old, old, actions, 0.2) == {"kl": 0, "clip_fraction": 0, "entropy": pytest.approx(np.log(2))}


# A policy that masks actions from the observation


class Masked(SoftmaxPolicy):
    """The observation is one number, then for each action 1 where it is allowed."""

    def __call__(self, states):
        pi = super().__call__(states)
        return Softmax(np.where(states[:, 1:] == 1, pi.logits, -np.inf), pi.cache)


class Picky(gym.Env):
    """Allows one to three of three actions, others in each state; pays 1 for the last of them."""

    observation_space, action_space = Box(0, 1, (4,), np.float32), Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.look(), {}

    def look(self):
        self.allowed = np.zeros(3)
        self.allowed[self.np_random.permutation(3)[: self.np_random.integers(1, 4)]] = 1
        return np.float32([self.np_random.random(), *self.allowed])

    def step(self, action):
        assert self.allowed[action], "took an action that is not allowed"
        reward = float(action == np.flatnonzero(self.allowed)[-1])
        self.t += 1
        return self.look(), reward, self.t == 10, False, {}


def test_the_gradient_of_a_policy_that_masks():
    rng = np.random.default_rng(0)
    states = np.array([[0.1, 1, 1, 0], [0.9, 0, 1, 1], [0.4, 1, 1, 1], [0.5, 0, 0, 1]])
    policy, other = (Masked((4, 5, 3), rng, dtype=np.float64) for _ in range(2))
    policy.theta[:], other.theta[:] = rng.standard_normal((2, policy.theta.size))
    actions, target = np.array([1, 2, 0, 2]), other(states)

    def f(theta):
        policy.theta[:] = theta
        pi = policy(states)
        return (pi.log_prob(actions) + 0.3 * pi.entropy() + 0.2 * pi.kl(target)).sum()

    pi = policy(states)
    d_logits = pi.d_log_prob(actions) + 0.3 * pi.d_entropy() + 0.2 * pi.d_kl(target)
    assert check_gradient(f, policy.backward(pi, d_logits), policy.theta) < 1e-8


def test_a_policy_that_masks_learns():
    """With an entropy bonus and a limit of the KL divergence, both of which NaN would spoil."""
    policy = Masked((4, 16, 3), rng=0)
    settings = dict(total_steps=4_000, n_steps=200, ent_coef=0.01, target_kl=0.1, learning_rate=1e-2)
    *_, last = ppo.train(Picky(), policy, Value((4, 16), rng=0), seed=0, **settings)
    assert last.mean_return > 8.5 and np.isfinite(list(vars(last).values())).all()  # at random it is 6.1
