"""Divergence: a run that meets a number that is not finite ends in a FloatingPointError that names the quantity and
the step, and leaves the parameters as the last step of an optimiser that succeeded left them."""

import functools
import re

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted, ScriptedVector
from helpers import rlfd_on_cartpole, same_bits
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scratchpg import Dynamics, Planner, QNetwork, SoftmaxPolicy, SquashedGaussianPolicy, TwinQ, Value, algorithms
from scratchpg.algorithms import a2c, a3c, actor_critic, baseline, ppo, reinforce
from scratchpg.optim import SGD

CHAPTERS = {
    "reinforce": reinforce.train,
    "baseline": baseline.train,
    "td": functools.partial(actor_critic.train, method="td"),
    "mc": functools.partial(actor_critic.train, method="mc"),
    "a2c": a2c.train,
    "ppo": functools.partial(ppo.train, n_steps=16, batch_size=4),
}
SCRIPT = [(3, "truncated"), (1, "terminated"), (4, "both"), (2, "terminated")]
ENVIRONMENTS = {
    "single": lambda **replace: Scripted(SCRIPT, **replace),
    "vector": lambda **replace: ScriptedVector([SCRIPT] * 2, **replace),
}
PLACES = [(episode, t) for episode in range(60) for t in range(SCRIPT[episode % 4][0] + 1)]  # of every observation
BAD = [np.nan, np.inf, -np.inf]
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


def networks(dtype=np.float32):
    return SoftmaxPolicy((3, 4, 2), rng=0, dtype=dtype), Value((3, 4), rng=1, dtype=dtype)


def run_to_the_error(chapter, env, policy, value, **settings):
    """The message of the error in which a run ends, after a look at what it left."""
    thetas = [policy.theta] if chapter == "reinforce" else [policy.theta, value.theta]
    kept, step, steps = {id(theta): theta.copy() for theta in thetas}, SGD.step, 0

    def noted(self, gradient):
        norm = step(self, gradient)
        kept[id(self.theta)] = self.theta.copy()
        return norm

    with pytest.MonkeyPatch.context() as patch, pytest.raises(FloatingPointError) as stop:
        patch.setattr(SGD, "step", noted)
        for progress in CHAPTERS[chapter](env, *[policy, value][: len(thetas)], total_steps=500, seed=0, **settings):
            steps = progress.steps
    for theta in thetas:
        assert same_bits(theta, kept[id(theta)]) and np.isfinite(theta).all()
    message, _, where = str(stop.value).rpartition(" (")
    assert where == f"after {steps} steps)"
    return message


@every_chapter
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@given(st.sampled_from(["reward", "observation", "last observation"]), st.integers(0, 60), st.sampled_from(BAD))
@settings(max_examples=5, phases=[Phase.generate])  # as short an example as any: shrinking it takes long
def test_an_environment_that_breaks_at_any_step(chapter, environment, what, first, bad):
    """It stays broken: a reward after the episodes that were asked for is no experience, and harms nothing."""
    kind = what.split()[-1]
    places = [(e, t) for e, t in PLACES[first:] if what != "last observation" or t == SCRIPT[e % 4][0]]
    env = ENVIRONMENTS[environment](replace={(kind, *place): bad for place in places})
    message = run_to_the_error(chapter, env, *networks())
    assert re.fullmatch(rf"{kind}s must be finite, but {kind}s\[.*\] is {bad}", message)


@every_chapter
@pytest.mark.parametrize(("dtype", "rate"), [(np.float32, 1e30), (np.float64, 1e200)])
def test_a_learning_rate_that_explodes(chapter, dtype, rate):
    message = run_to_the_error(chapter, Scripted(SCRIPT), *networks(dtype), learning_rate=rate)
    assert message.startswith("the step of the parameters is not finite")


@pytest.mark.parametrize("chapter", ["baseline", "td", "mc", "a2c"])
def test_a_learning_rate_of_the_value_that_explodes(chapter):
    message = run_to_the_error(chapter, Scripted(SCRIPT), *networks(), value_learning_rate=1e30)
    assert message.startswith("the step of the parameters is not finite")


@every_chapter
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_logits_that_overflow(chapter, environment):
    """Four times 1e38 is more than float32 holds: the logits are infinite, and no distribution."""
    policy, value = networks()
    policy.theta[:] = 1e38
    message = run_to_the_error(chapter, ENVIRONMENTS[environment](), policy, value)
    assert message == "logits must be finite, or -inf where an action is masked, but one is inf"
    assert (policy.theta == np.float32(1e38)).all()


@pytest.mark.parametrize("chapter", [chapter for chapter in CHAPTERS if chapter != "reinforce"])
def test_values_that_overflow(chapter):
    policy, value = networks()
    value.theta[:] = 1e38
    run_to_the_error(chapter, Scripted(SCRIPT), policy, value)
    assert (value.theta == np.float32(1e38)).all()


A3C = {"n_steps": 5, "learning_rate": 1e-2}


@pytest.mark.parametrize(
    ("replace", "theta", "changes", "quantity"),
    [
        ({("reward", 10, 3): np.nan}, None, {}, "rewards must be finite, but rewards["),
        ({("observation", 6, 2): -np.inf}, None, {}, "observations must be finite, but observations["),
        ({}, 1e38, {}, "logits must be finite, or -inf where"),
        ({}, None, {"learning_rate": 1e30}, "the step of the parameters is not finite"),
    ],
    ids=["reward", "observation", "logits", "learning rate"],
)
def test_a_worker_of_a3c_that_diverges(replace, theta, changes, quantity):
    """One worker is A2C bit for bit, in this too: the same updates up to the same error, and nothing after it."""
    left = []
    for chapter in a3c, a2c:
        policy, value = networks()
        if theta:
            policy.theta[:] = theta
        env = functools.partial(Scripted, SCRIPT, replace=replace)
        rng = np.random.default_rng(7)
        if chapter is a3c:
            loop = a3c.train(env, policy, value, workers=1, rng=rng, **A3C | changes)
        else:
            loop = a2c.train(env(), policy, value, rng=rng.spawn(1)[0], **A3C | changes)
        with pytest.raises(FloatingPointError) as stop:
            for _ in loop:
                pass
        assert quantity in str(stop.value) and re.search(r"\(after \d+ steps\)$", str(stop.value))
        # logits are refused in the gradient of the policy: of A2C after V's step, of a worker before both steps
        left.append((policy.theta,) if theta else (policy.theta, value.theta))
    assert all(same_bits(*pair) and np.isfinite(pair[0]).all() for pair in zip(*left, strict=True))


def cartpole(wrappers):
    return gym.make_vec("CartPole-v1", 2, vectorization_mode="sync", wrappers=wrappers)


def of_cartpole(train, *makers, **settings):
    def begin(wrappers, **changes):
        env = cartpole(wrappers)
        networks = [make(env, (8,), rng=0) for make in makers]
        return train(env, *networks, total_steps=2_000, seed=0, **settings | changes), networks

    return begin


def of_pendulum(wrappers, **changes):
    env = gym.make_vec("Pendulum-v1", 2, vectorization_mode="sync", wrappers=wrappers)
    networks = [SquashedGaussianPolicy.for_env(env, (8,), rng=0), TwinQ.for_env(env, (8,), rng=1)]
    return algorithms.sac.train(env, *networks, learning_starts=10, total_steps=500, seed=0, **changes), networks


def planned(wrappers, **changes):
    env = cartpole(wrappers)
    models = [Dynamics.for_env(env, (8,), rng=i) for i in range(2)]
    short = {"horizon": 2, "n_plans": 4, "n_elites": 2}
    planner = Planner(env=env, models=models, reward=lambda states, actions, next_states: states[:, 0], **short)
    return algorithms.mpc.train(
        env, planner, total_steps=100, learning_starts=20, n_steps=10, seed=0, **changes
    ), models


def cloned(wrappers, **changes):
    env = cartpole(wrappers)
    policy = SoftmaxPolicy.for_env(env, (8,), rng=0)
    return algorithms.imitation.train(env, policy, lambda states: np.zeros(len(states), int), seed=0, **changes), [
        policy
    ]


softmax, actor_and_critic = (SoftmaxPolicy.for_env,), (SoftmaxPolicy.for_env, Value.for_env)
LATER = {
    "trpo": of_cartpole(algorithms.trpo.train, *actor_and_critic),
    "grpo": of_cartpole(algorithms.grpo.train, *softmax, group_size=2),
    "dqn": of_cartpole(algorithms.dqn.train, QNetwork.for_env, learning_starts=10),
    "rainbow": of_cartpole(algorithms.rainbow.train, QNetwork.for_env, learning_starts=10),
    "sac": of_pendulum,
    "imitation": cloned,
    "rlfd": of_cartpole(rlfd_on_cartpole, *actor_and_critic),
    "mpc": planned,
}


@pytest.mark.parametrize("chapter", LATER)
@pytest.mark.parametrize(
    ("wrappers", "changes", "quantity"),
    [
        ([lambda env: gym.wrappers.TransformReward(env, lambda r: r * np.nan)], {}, r"rewards must be finite, .* nan"),
        ([], {"learning_rate": 1e30}, "the step of the parameters is not finite"),
    ],
    ids=["reward", "learning rate"],
)
def test_a_later_chapter(chapter, wrappers, changes, quantity):
    loop, networks = LATER[chapter](wrappers, **changes)
    with pytest.raises(FloatingPointError, match=rf"^{quantity}.* \(after \d+ steps\)$"):
        for _ in loop:
            pass
    assert all(np.isfinite(network.theta).all() for network in networks)


@pytest.mark.parametrize("changes", [{"learning_rate": 30.0}, {"target_entropy": 500.0, "learning_rate": 3.0}])
def test_the_temperature_of_sac(changes):
    """exp of a large step is refused like any other number that is not finite: not by Python's OverflowError."""
    loop, networks = of_pendulum([], **changes)
    with pytest.raises(FloatingPointError, match=r" \(after \d+ steps\)$"):
        for _ in loop:
            pass
    assert all(np.isfinite(network.theta).all() for network in networks)
