"""Box action spaces through the whole library: what is stored, what the environment gets, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, Scripted, ScriptedVector
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from gymnasium.wrappers.vector import NormalizeObservation
from helpers import same_bits

from scratchpg import GaussianPolicy, SoftmaxPolicy, Value, evaluate, load, save
from scratchpg.algorithms import a2c, a3c, actor_critic, baseline, ppo, reinforce
from scratchpg.plumbing import check
from scratchpg.rollout import Collector

SCRIPTS = [[(3, "truncated"), (2, "terminated")], [(4, "both"), (1, "truncated")]]
BOXES = {
    "a vector": Box(-0.5, 0.5, (3,)),
    "a matrix": Box(-0.5, 0.5, (2, 3)),
    "a number": Box(-0.5, 0.5, ()),
    "one": Box(-0.5, 0.5, (1,)),
    "float64": Box(-0.1, 0.1, (2,), np.float64),
    "float16": Box(-0.1, 0.1, (2,), np.float16),
    "asymmetric": Box(np.array([-0.1, 1.0], np.float32), np.array([0.7, 1.1], np.float32)),
    "half open": Box(np.array([0.0, -np.inf], np.float32), np.array([np.inf, 0.0], np.float32)),
    "unbounded": Box(-np.inf, np.inf, (2,)),
    "a point": Box(0.3, 0.3, (2,)),
}


def seen(env):
    """The actions that each scripted environment was given, in order."""
    return [np.array(one.actions) for one in (env.envs if isinstance(env, ScriptedVector) else [env])]


@pytest.mark.filterwarnings("ignore:.*Casting input x to numpy array")  # a row of numbers, taken apart, is of scalars
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("name", BOXES)
def test_actions_are_stored_as_drawn_and_arrive_clipped(name, vector, dtype):
    """The scripted environments themselves assert that what they get is in their space, dtype and shape included."""
    space = BOXES[name]
    env = ScriptedVector(SCRIPTS, NEXT_STEP, action_space=space) if vector else Scripted(SCRIPTS[0], 0, space)
    policy = GaussianPolicy.for_env(env, (4,), rng=0, dtype=dtype)
    batch = Collector(env, policy, rng=1).collect(60)
    assert batch.actions.dtype == dtype and batch.actions.shape[2:] == (policy.outputs,)
    assert policy.outputs == max(np.prod(space.shape, dtype=int), 1)
    for n, arrived in enumerate(seen(env)):
        stored = batch.actions[batch.valid[:, n], n].reshape(arrived.shape)
        np.testing.assert_array_equal(np.clip(stored, space.low, space.high).astype(space.dtype), arrived)
        assert ((stored < space.low) | (stored > space.high)).any() == (name != "unbounded")
    pi = policy(batch.states[0])
    assert not np.array_equal(pi.log_prob(batch.actions[0]), pi.log_prob(batch.actions[1]))


def box_of_nan():
    space = Box(-1, 1, (2,))
    space.low = np.array([np.nan, -1], np.float32)
    return space


REFUSED = {
    "integers": lambda: Box(0, 5, (2,), np.int64),
    "bounds that are NaN": box_of_nan,
    "a Tuple": lambda: Tuple([Box(-1, 1, (2,)), Discrete(2)]),
    "several integers": lambda: MultiDiscrete([2, 3]),
    "Discrete": lambda: Discrete(2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_action_space_that_does_not_fit_is_refused(name):
    env = Scripted(SCRIPTS[0], 0, REFUSED[name]())
    policy, value = GaussianPolicy((3, 2), rng=0), Value((3,), rng=0)
    calls = [
        lambda: GaussianPolicy.for_env(env),
        lambda: Collector(env, policy),
        lambda: evaluate(policy, env),
        lambda: ppo.train(env, policy, value),
        lambda: reinforce.train(env, policy),
    ]
    for call in calls:
        with pytest.raises(
            ValueError, match="this policy needs an action space that is a Box of floats, low ≤ high, not"
        ):
            call()


def test_a_softmax_policy_on_a_box_is_refused():
    env = Scripted(SCRIPTS[0], 0, Box(-1, 1, (2,)))
    for call in [lambda: SoftmaxPolicy.for_env(env), lambda: Collector(env, SoftmaxPolicy((3, 2), rng=0))]:
        with pytest.raises(ValueError, match="this policy needs a Discrete action space, not Box"):
            call()


def test_a_policy_for_another_number_of_dimensions_is_refused():
    env = Scripted(SCRIPTS[0], 0, Box(-1, 1, (2, 3)))
    with pytest.raises(
        ValueError, match=r"GaussianPolicy\(\(3, 2\)\) has 3 inputs and 2 outputs, but .* needs 3 and 6"
    ):
        Collector(env, GaussianPolicy((3, 2), rng=0))


CHAPTERS = {
    "reinforce": (reinforce, {"learning_rate": 0.05}),
    "baseline": (baseline, {"learning_rate": 0.05}),
    "actor_critic, td": (actor_critic, {"learning_rate": 0.05}),
    "actor_critic, mc": (actor_critic, {"learning_rate": 0.05, "method": "mc"}),
    "a2c": (a2c, {"learning_rate": 0.02}),
    "ppo": (ppo, {"learning_rate": 0.02, "n_steps": 32, "batch_size": 64}),
    "a3c": (a3c, {"learning_rate": 0.02, "workers": 1}),
}


@pytest.mark.parametrize("name", [name for name in CHAPTERS if name != "reinforce"])
def test_networks_that_are_swapped_are_refused(name):
    """A GaussianPolicy of one dimension has the sizes of a value's network, and a value those of such a policy."""
    chapter, _ = CHAPTERS[name]
    policy, value = GaussianPolicy((1, 1), rng=0), Value((1,), rng=0)
    env = target_env if chapter is a3c else target_env()
    for networks, message in [
        ((value, value), "the policy must be a policy such as SoftmaxPolicy, not Value"),
        ((policy, policy), "the value must be a network such as Value, not GaussianPolicy"),
    ]:
        with pytest.raises(TypeError, match=message):
            chapter.train(env, *networks)


class Target(gym.Env):
    """Episodes of one step: r(a) = -(a - 1)², for an action in [-2, 2]."""

    def __init__(self):
        self.observation_space, self.action_space = Box(-1, 1, (1,)), Box(-2, 2, (1,))

    def reset(self, *, seed=None, options=None):
        return np.ones(1, np.float32), {}

    def step(self, action):
        return np.ones(1, np.float32), -float((action[0] - 1) ** 2), True, False, {}


def target_env(n=8):
    return gym.vector.SyncVectorEnv([Target] * n, autoreset_mode=NEXT_STEP)


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_finds_the_best_action(name):
    """The mean goes to 1 from 0, and log σ, which is learned too, falls."""
    chapter, settings = CHAPTERS[name]
    policy, value = GaussianPolicy((1, 1), rng=0), Value((1,), rng=0)
    networks = [policy] if chapter is reinforce else [policy, value]
    env = target_env if chapter is a3c else target_env()
    for _ in chapter.train(env, *networks, total_steps=6_000, seed=0, **settings):
        pass
    pi = policy(np.ones((1, 1)))
    assert abs(pi.mean - 1) < 0.2 and pi.log_std < -0.5
    assert np.shares_memory(policy.theta, policy.log_std)
    assert evaluate(policy, target_env(), episodes=20, greedy=True, seed=0).mean() > -0.05


def test_workers_share_log_std():
    """A3C with two processes: log σ moves in the shared parameters, and comes back."""
    policy, value = GaussianPolicy((1, 1), rng=0), Value((1,), rng=0)
    for _ in a3c.train(target_env, policy, value, workers=2, total_steps=2_000, learning_rate=0.02, seed=0):
        pass
    assert policy.log_std < -0.1 and np.shares_memory(policy.theta, policy.log_std)


@pytest.mark.parametrize("log_std, sound", [(0.0, True), (200.0, False), (-200.0, False)])
def test_a_policy_that_diverges_ends_in_an_error(log_std, sound):
    """In float32 σ = e^200 is infinite and σ = e^-200 is 0: said, and θ keeps its last finite value."""
    env = ScriptedVector(SCRIPTS, NEXT_STEP, action_space=Box(-np.inf, np.inf, (2,)))
    policy, value = GaussianPolicy((3, 2), rng=0, log_std=log_std), Value((3,), rng=0)
    run = ppo.train(env, policy, value, total_steps=500, seed=0)
    if sound:
        assert len(list(run)) > 0
    else:
        with pytest.raises(FloatingPointError, match=r"actions must be finite|the norm of the gradient is nan"):
            list(run)
    assert np.isfinite(policy.theta).all()


def test_a_saved_policy_is_the_same_policy(tmp_path):
    policy, value = GaussianPolicy((3, 8, 2), rng=0, log_std=-0.5), Value((3, 8), rng=1)
    save(tmp_path / "x.npz", policy, value, env="Pendulum-v1")
    checkpoint = load(tmp_path / "x.npz")
    assert type(checkpoint.policy) is GaussianPolicy and same_bits(checkpoint.policy.theta, policy.theta)
    assert (checkpoint.policy.log_std == -0.5).all() and repr(checkpoint.policy) == "GaussianPolicy((3, 8, 2))"
    policy.log_std[0] = np.nan
    with pytest.raises(ValueError, match="the parameters of the policy must be finite"):
        save(tmp_path / "y.npz", policy)


def test_a_checkpoint_without_its_log_std_is_refused(tmp_path):
    policy = GaussianPolicy((3, 8, 2), rng=0)
    save(tmp_path / "x.npz", policy)
    arrays = dict(np.load(tmp_path / "x.npz"))
    np.savez(tmp_path / "x.npz", **arrays | {"policy": arrays["policy"][:-2]})
    with pytest.raises(ValueError, match="is not a readable scratchpg checkpoint: theta must have shape"):
        load(tmp_path / "x.npz")


@pytest.mark.parametrize("greedy", [False, True])
def test_a_policy_scores_the_same_with_its_normalisation_and_with_it_absorbed(greedy):
    """Trained under Gymnasium's NormalizeObservation, played under it frozen, and played bare after `absorb`."""
    env = NormalizeObservation(gym.make_vec("Pendulum-v1", 4, vectorization_mode="sync"))
    policy = GaussianPolicy.for_env(env, (8,), rng=0, dtype=np.float64)
    value = Value.for_env(env, (8,), rng=0, dtype=np.float64)
    for _ in ppo.train(env, policy, value, total_steps=2_000, seed=0):
        pass
    env.update_running_mean = False
    wrapped = evaluate(policy, env, episodes=8, greedy=greedy, seed=3)
    policy.net.absorb(env.obs_rms.mean, np.sqrt(env.obs_rms.var + env.epsilon))
    bare = evaluate(
        policy, gym.make_vec("Pendulum-v1", 4, vectorization_mode="sync"), episodes=8, greedy=greedy, seed=3
    )
    np.testing.assert_allclose(bare, wrapped, rtol=1e-4)  # the wrapper hands over float32


def test_the_kind_of_action_space_is_asked_in_one_place():
    assert check.has_box(Target()) and check.has_box(target_env()) and not check.has_box(gym.make("CartPole-v1"))
