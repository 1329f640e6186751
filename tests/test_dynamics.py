"""The model: by hand, what the scales survive, doors, copies and checkpoints. (Its equations: derivation/.)"""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from helpers import same_bits

from scratchpg.dynamics import Dynamics
from scratchpg.optim import Adam
from scratchpg.planner import together


def model_for(d, dtype=np.float64, scaled=True):
    """A random model of 3 numbers and d actions."""
    rng = np.random.default_rng(0)
    model = Dynamics((3, d, 5), rng, dtype=dtype)
    if scaled:
        model.normalize(*rng.standard_normal((2, 9, 3)))
    return model


def test_by_hand():
    # f(s, a) = 2 s + 3 a + 1 of the normalised s = (5 - 1)/2 = 2 and a = 1: f = 8;  s' = 5 + 10 + 0.5 · 8 = 19
    # s' = 20: Δ = 15, normalised (15 - 10)/0.5 = 10: error 2, mse 4, gradient -2 · 2 · (2, 1, 1)
    model = Dynamics((1, 1), theta=np.array([2.0, 3.0, 1.0]), scales=[[1.0], [2.0], [10.0], [0.5]])
    data = np.array([[5.0]]), np.array([[1.0]]), np.array([[20.0]])
    assert model(*data[:2]) == 19 and model.mse(*data) == 4
    np.testing.assert_array_equal(model.mse_gradient(*data), [-8, -4, -4])


def test_integers_are_taken_one_hot():
    model, states = model_for(4), np.random.default_rng(1).standard_normal((4, 3))
    assert same_bits(model(states, np.arange(4)), model(states, np.eye(4)))


@pytest.mark.parametrize("d", [2, 1])
@pytest.mark.parametrize("hidden", [(5,), (5, 4), ()])
@pytest.mark.parametrize("others", [(5,), (5, 4), ()])
def test_together_is_each_model_on_its_rows(d, hidden, others, monkeypatch):
    """In one pass where the sizes are equal, else one by one; the models stay what they are."""
    rng = np.random.default_rng(2)
    states, actions = rng.standard_normal((12, 3)), rng.integers(d, size=12) if d > 1 else rng.standard_normal((12, 1))
    models = [Dynamics((3, d, *widths), rng, dtype=np.float64) for widths in (hidden, others)]
    for model in models:
        model.normalize(*rng.standard_normal((2, 9, 3)))
    thetas = [model.theta.copy() for model in models]
    expected = np.concatenate([models[0](states[:6], actions[:6]), models[1](states[6:], actions[6:])])
    if hidden == others:
        monkeypatch.setattr(Dynamics, "__call__", lambda *_: pytest.fail("one by one"))
    np.testing.assert_allclose(together(models, 6)(states, actions), expected, rtol=0, atol=1e-13)
    assert all(same_bits(model.theta, theta) for model, theta in zip(models, thetas, strict=True))


def test_together_is_as_exact_far_from_0():
    """μ/σ = 1e6: with μ folded into b_1, rounding in float32 would leave nothing of s - μ."""
    rng = np.random.default_rng(0)
    model, states = Dynamics((3, 2, 5), rng), 1e4 + 1e-2 * rng.standard_normal((50, 3))
    model.normalize(states, states + rng.standard_normal((50, 3)))
    actions = rng.integers(2, size=50)
    np.testing.assert_allclose(together([model], 50)(states, actions), model(states, actions), rtol=0, atol=1e-5)


def test_scales_of_integers_become_floats():
    """Deviations of 0.2 that are stored as integers are 0."""
    model = Dynamics((1, 1), scales=[[0], [1], [0], [1]])
    model.normalize([[0.0], [0.4]], [[0.1], [0.9]])
    np.testing.assert_allclose(model.scales, [[0.2], [0.2], [0.3], [0.2]])


def test_rows_of_integers_are_numbers_of_a_box():
    model = model_for(2)
    rows = np.array([[0, 1], [3, -2]])
    assert same_bits(model(np.ones((2, 3)), rows), model(np.ones((2, 3)), rows.astype(float)))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constant_columns_survive(constant, dtype):
    """σ = 0 would make every prediction NaN; a mean that is rounded would make σ = 1e-17."""
    states = np.random.default_rng(0).standard_normal((10, 3)).astype(dtype)
    states[:, 1] = constant
    next_states = states + dtype(1)
    next_states[:, 1] = constant
    model = model_for(2, scaled=False)
    model.normalize(states, next_states)
    assert model.scales[1, 1] == model.scales[3, 1] == 1 and model.scales[3].all()
    actions = np.zeros(10, int)
    assert (
        np.isfinite(model(states, actions)).all()
        and np.isfinite(model.mse_gradient(states, actions, next_states)).all()
    )


def test_float32_rows_have_scales_of_float64():
    states = (1e4 + np.random.default_rng(0).random((1000, 3))).astype(np.float32)
    model = model_for(2, scaled=False)
    model.normalize(states, states)
    np.testing.assert_allclose(model.scales[0], states.astype(float).mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(model.scales[1], states.astype(float).std(axis=0), rtol=1e-12)


def test_it_learns_a_pendulum_s_dynamics():
    rng = np.random.default_rng(0)
    env, rows = gym.make("Pendulum-v1"), []
    state, _ = env.reset(seed=0)
    for _ in range(200):
        action = rng.uniform(-2, 2, 1).astype(np.float32)
        next_state, *_ = env.step(action)
        rows.append((state, action, next_state))
        state = next_state
    data = [np.array(x) for x in zip(*rows, strict=True)]
    model = Dynamics.for_env(env, (32,), 0)
    model.normalize(data[0], data[2])
    adam, before = Adam(model.theta, 1e-2), model.mse(*data)
    for _ in range(300):
        adam.step(model.mse_gradient(*data))
    assert model.mse(*data) < before / 50


@pytest.mark.parametrize("env_id, sizes", [("CartPole-v1", (4, 2, 8)), ("Pendulum-v1", (3, 1, 8))])
def test_for_env(env_id, sizes):
    model = Dynamics.for_env(gym.make(env_id), (8,), 0)
    assert model.sizes == sizes and repr(model) == f"Dynamics({sizes})" and model.outputs == sizes[0]
    assert Dynamics.for_env(gym.make(env_id)).sizes == (*sizes[:2], 64, 64)
    assert Dynamics.for_env(gym.make(env_id), ()).sizes == sizes[:2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_the_parameters_decide_the_dtype(dtype):
    model, rows = model_for(2, dtype), np.ones((4, 3), dtype)
    actions = np.array([0, 1, 1, 0])
    assert model(rows, actions).dtype == model.mse_gradient(rows, actions, rows).dtype == dtype


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_is_one_of_its_own(clone):
    model = model_for(2)
    other = clone(model)
    before = model(np.ones((1, 3)), np.array([0]))
    other.theta -= 1
    other.scales += 1
    assert np.shares_memory(other.theta, other.net.layers[0][0])
    assert same_bits(model(np.ones((1, 3)), np.array([0])), before)


def test_options_make_one_like_it():
    model = model_for(2)
    other = Dynamics(model.sizes, theta=model.theta.copy(), **model.options)
    assert same_bits(other(np.ones((1, 3)), np.array([1])), model(np.ones((1, 3)), np.array([1])))


@pytest.mark.parametrize(
    "actions",
    [
        np.array([0, 2, 0]),
        np.array([0, -1, 0]),
        np.array([0.0, 1.0, 0.0]),
        np.zeros((3, 1)),
        np.zeros((1, 2)),
        np.zeros(2, int),
    ],
)
def test_actions_that_do_not_fit_are_refused(actions):
    with pytest.raises(ValueError, match="actions must be 3 integers in 0 … 1, or rows of 2 numbers"):
        model_for(2)(np.ones((3, 3)), actions)


def test_next_states_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"next_states must have shape \(4, 3\)"):
        model_for(2).mse(np.ones((4, 3)), np.zeros(4, int), np.ones((1, 3)))
