"""The squashed Gaussian, its policy and the twins as objects, and bounded Boxes from the policy to the environment.
Their maths is in derivation/test_12_sac.py."""

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, Scripted, ScriptedVector
from gymnasium.spaces import Box, Discrete
from helpers import COPIES, LD, SEEDS, check, same_bits
from hypothesis import given

from scratchpg import GaussianPolicy, SquashedGaussian, SquashedGaussianPolicy, TwinQ, Value, evaluate, load, save
from scratchpg.mlp import MLP
from scratchpg.plumbing.check import fit
from scratchpg.rollout import Collector

SCRIPTS = [[(3, "truncated"), (2, "terminated")], [(4, "both"), (1, "truncated")]]
STATES = np.random.default_rng(0).standard_normal((5, 3))
BOXES = {
    "symmetric": Box(-2.0, 2.0, (3,)),
    "a matrix": Box(-0.5, 0.5, (2, 3)),
    "a number": Box(-0.5, 0.5, ()),
    "float64": Box(-0.1, 0.3, (2,), np.float64),
    "float16": Box(-0.1, 0.3, (2,), np.float16),
    "asymmetric": Box(np.array([-0.1, 1.0], np.float32), np.array([0.7, 1.1], np.float32)),
    "the widest": Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,)),
    "a point": Box(0.3, 0.3, (2,)),
}


def seen(env):
    """The actions that each scripted environment was given, in order."""
    return [np.array(one.actions) for one in (env.envs if isinstance(env, ScriptedVector) else [env])]


# The distribution


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_is_finite_in_the_tails(dtype):
    """|u| = 800: log π = -ε²/2 - log 2π/2 + 2(800 - log 2), and no derivative is NaN, though a is 1 to the bit."""
    u = np.array([[800.0], [-800.0], [9.1], [-9.1]], dtype)
    pi, noise = SquashedGaussian(np.concatenate([u, 0 * u], axis=1)), np.zeros((4, 1), dtype)
    assert pi.log_prob(noise).dtype == dtype
    expected = 2 * (abs(u[:, 0]) + np.log1p(np.exp(-2 * abs(u[:, 0]))) - np.log(2)) - np.log(2 * np.pi) / 2
    np.testing.assert_allclose(pi.log_prob(noise), expected, rtol=2 * np.finfo(dtype).eps)
    assert (abs(pi.action(noise))[:2] == 1).all()
    for d in pi.d_log_prob(noise), pi.d_action(noise, np.ones_like(noise)):
        assert np.isfinite(d).all() and d.dtype == dtype
    np.testing.assert_array_equal(pi.d_log_prob(noise)[:2, 0], [2, -2])


def test_a_draw_is_the_action_of_its_noise_and_the_mode_that_of_none():
    pi = SquashedGaussianPolicy((3, 4, 2), rng=0)(STATES)
    noise = pi.draw(np.random.default_rng(1))
    assert noise.dtype == np.float32 and same_bits(pi.sample(np.random.default_rng(1)), pi.action(noise))
    np.testing.assert_allclose(pi.mode(), pi.action(np.zeros((5, 2), np.float32)), rtol=1e-6)


def test_what_would_broadcast_is_refused():
    pi = SquashedGaussian(np.zeros((4, 2)))
    for f in pi.action, pi.log_prob, pi.d_log_prob:
        with pytest.raises(ValueError, match="noise must have shape"):
            f(np.zeros(4))
    for parameters in np.zeros(4), np.zeros((4, 3)), np.zeros((4, 2), int):
        with pytest.raises(ValueError, match="parameters must be floats"):
            SquashedGaussian(parameters)


# The policy


@pytest.mark.parametrize("z", [-30.0, -6.0, 0.0, 6.0, 30.0])
def test_log_std_stays_within_5_and_always_has_a_gradient(z):
    """A hard clip has the gradient 0 outside, and what got there never comes back by it."""
    policy = SquashedGaussianPolicy((1, 1), theta=np.array([0.0, 0.0, 0.0, z]))
    pi = policy(np.zeros((1, 1)))
    assert abs(pi.log_std[0, 0]) <= 5
    assert policy.backward(pi, np.array([[0.0, 1.0]]))[3] > 0
    if z == 0:
        assert pi.std == 1 and policy.backward(pi, np.array([[0.0, 1.0]]))[3] == 1


@given(SEEDS)
def test_backward_and_jvp_meet_finite_differences(seed):
    rng = np.random.default_rng(seed)
    policy = SquashedGaussianPolicy((3, 4, 2), rng, dtype=LD)
    policy.theta[:] = rng.standard_normal(policy.theta.shape)
    d, v = rng.standard_normal((5, 4)), rng.standard_normal(policy.theta.shape).astype(LD)
    pi = policy(STATES)
    g = policy.backward(pi, d)
    check(lambda theta: (d * SquashedGaussianPolicy((3, 4, 2), theta=theta)(STATES).parameters).sum(), g, policy.theta)
    np.testing.assert_allclose((d * policy.jvp(pi, v)).sum(), g @ v, rtol=1e-12)


@pytest.mark.parametrize("network", [SquashedGaussianPolicy((3, 4, 2), rng=0), TwinQ((5, 4), rng=0)], ids=repr)
@pytest.mark.parametrize("clone", COPIES)
def test_a_copy_has_a_theta_of_its_own_and_all_nets_follow_it(network, clone):
    def outputs(network):
        return (
            network(STATES).parameters
            if isinstance(network, SquashedGaussianPolicy)
            else network(STATES, np.ones((5, 2)))
        )

    other = clone(network)
    assert same_bits(network.theta, other.theta) and not np.shares_memory(network.theta, other.theta)
    before = outputs(network).copy()
    other.theta += 0.1
    assert same_bits(outputs(network), before) and (outputs(other) != before).all()
    other.theta = network.theta  # replaced: all nets are views of it
    assert other.theta is network.theta and same_bits(outputs(other), before)
    for net in getattr(other, "nets", [other.net]):
        assert np.shares_memory(net.theta, network.theta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_checkpoints_and_what_it_prints(tmp_path, dtype):
    policy, q = SquashedGaussianPolicy((3, 4, 2), rng=0, dtype=dtype), TwinQ((5, 4), rng=0, dtype=dtype)
    save(tmp_path / "x.npz", policy, q=q)
    loaded = load(tmp_path / "x.npz")
    for one, other in (policy, loaded.policy), (q, loaded.q):
        again = eval(repr(one), {type(one).__name__: type(one), "np": np})
        assert same_bits(one.theta, other.theta) and repr(other) == repr(one)
        assert again.theta.shape == one.theta.shape and again.theta.dtype == dtype


# The twins


def test_the_net_has_two_outputs_per_dimension_and_starts_nearly_at_0():
    policy = SquashedGaussianPolicy((3, 8, 6, 2), rng=0)
    assert policy.net.sizes == (3, 8, 6, 4) and policy.outputs == 2
    plain = MLP((3, 8, 6, 4), rng=0)
    np.testing.assert_allclose(policy.net.layers[-1][0], plain.layers[-1][0] / 100, rtol=1e-6)


def test_the_twins_begin_apart_and_each_has_its_own_half():
    q = TwinQ((5, 4), rng=0, dtype=float)
    actions = np.ones((5, 2))
    before = q(STATES, actions)
    assert before.shape == (2, 5) and (before[0] != before[1]).all()
    q.theta[: len(q.theta) // 2] += 0.1
    after = q(STATES, actions)
    assert (after[0] != before[0]).all() and same_bits(after[1], before[1])
    for wrong in np.ones(len(q.theta) - 1), np.ones((len(q.theta), 1)):
        with pytest.raises(ValueError, match="theta"):
            q.theta = wrong


def test_rows_that_do_not_fit_are_refused():
    q = TwinQ((5, 4), rng=0)
    for f in q.mse, q.mse_gradient:
        with pytest.raises(ValueError, match="targets must have shape"):
            f(STATES, np.ones((5, 2)), np.ones((5, 1)))
    with pytest.raises(ValueError, match="actions must have shape"):
        q(STATES, np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"actions must have shape \(5, 1\), not"):  # of 6 columns none is left
        q(np.ones((5, 6)), np.ones((5, 2)))


# To the environment


@pytest.mark.filterwarnings("ignore:.*Casting input x to numpy array")  # a row of numbers, taken apart, is of scalars
@pytest.mark.filterwarnings("ignore:.*precision lowered")  # of float16
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("name", BOXES)
def test_actions_are_stored_within_1_and_arrive_stretched_to_the_bounds(name, vector, dtype):
    """The scripted environments themselves assert that what they get is in their space, dtype and shape included."""
    space = BOXES[name]
    env = ScriptedVector(SCRIPTS, NEXT_STEP, action_space=space) if vector else Scripted(SCRIPTS[0], 0, space)
    policy = SquashedGaussianPolicy.for_env(env, (4,), rng=0, dtype=dtype)
    batch = Collector(env, policy, rng=1).collect(60)
    assert batch.actions.dtype == dtype and abs(batch.actions).max() <= 1
    low, high = space.low.astype(float), space.high.astype(float)
    for n, arrived in enumerate(seen(env)):
        stored = batch.actions[batch.valid[:, n], n].reshape(arrived.shape)
        eps = 4 * max(np.finfo(dtype).eps, np.finfo(space.dtype).eps) * abs(high).max()
        np.testing.assert_allclose(arrived, (1 - stored) / 2 * low + (1 + stored) / 2 * high, rtol=0, atol=eps)
    if name != "a point":
        assert ((np.array(seen(env)[0]) - low) / (high / 2 - low / 2)).max() > 1.5  # near the bounds, not in a half


def test_the_bounds_themselves_are_reached_and_never_left():
    env = Scripted(SCRIPTS[0], 0, BOXES["asymmetric"])
    policy = SquashedGaussianPolicy.for_env(env, (), rng=0)
    for mean, bound in (800.0, env.action_space.high), (-800.0, env.action_space.low):
        policy.net.layers[-1][1][0, :2] = mean
        env.actions.clear()
        evaluate(policy, env, episodes=2, greedy=True, seed=0)
        assert env.actions and all(np.array_equal(a, bound) for a in env.actions)


@pytest.mark.parametrize("greedy", [False, True])
def test_evaluation_and_collection_take_the_same_actions(greedy):
    env, other = (Scripted([(4, "terminated")], 0, BOXES["asymmetric"]) for _ in range(2))
    policy = SquashedGaussianPolicy.for_env(env, (4,), rng=0)
    evaluate(policy, env, episodes=2, greedy=greedy, seed=3)
    Collector(other, policy, rng=3, greedy=greedy).collect_episodes(2)
    np.testing.assert_array_equal(env.actions, other.actions)


@pytest.mark.parametrize(
    "space",
    [Box(-np.inf, np.inf, (2,)), Box(np.array([0, -1], np.float32), np.array([np.inf, 1], np.float32)), Discrete(2)],
    ids=repr,
)
def test_an_action_space_without_bounds_is_refused_by_name(space):
    env = Scripted(SCRIPTS[0], 0, space)
    policy = SquashedGaussianPolicy((3, 2), rng=0)
    for call in (
        lambda: SquashedGaussianPolicy.for_env(env),
        lambda: Collector(env, policy),
        lambda: evaluate(policy, env),
    ):
        with pytest.raises(ValueError, match=r"Box of floats with finite bounds, low ≤ high, not (Box|Discrete)"):
            call()


def test_twins_that_do_not_fit_are_refused():
    env = Scripted(SCRIPTS[0], 0, BOXES["symmetric"])
    fit(env, q=TwinQ((6, 4)), value=Value((3, 4)), policy=SquashedGaussianPolicy((3, 4, 3)))
    with pytest.raises(ValueError, match="has 3 inputs and 1 outputs, but the environment needs 6 and 1"):
        fit(env, q=TwinQ((3, 4)))
    with pytest.raises(ValueError, match="needs 3 and 3"):
        fit(env, policy=SquashedGaussianPolicy((3, 4, 2)))
    with pytest.raises(ValueError, match="Box"):
        TwinQ.for_env(gym.make("CartPole-v1"))


def test_other_policies_are_not_stretched():
    env = Scripted(SCRIPTS[0], 0, Box(3.0, 5.0, (1,)))
    policy = GaussianPolicy.for_env(env, (4,), rng=0, log_std=-20.0)
    evaluate(policy, env, episodes=1, greedy=True, seed=0)
    assert all(a == 3 for a in env.actions)
