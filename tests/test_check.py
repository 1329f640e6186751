"""The doors: what each lets in, what it refuses, and in which words. (Function by function: test_bad_input.py.)"""

import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from helpers import LD

from scratchpg import SoftmaxPolicy, Value, a2c, actor_critic, ppo, reinforce
from scratchpg.plumbing import check

NAN, INF = np.nan, np.inf
NO_NUMBERS = ["1", None, True, np.True_, np.ones(2), np.array(1), 1j, [1]]
INTEGERS, NUMBERS = [1, 5, np.int64(1), np.uint8(1)], [0.5, np.float32(0.5), np.float64(0.5), LD(0.5)]
DOORS = {  # door: (what it lets in, the words, what is out of its range, what is of no such type)
    check.natural: ([0, *INTEGERS], "an integer of at least 0", [-1], [*NO_NUMBERS, *NUMBERS, 1.0]),
    check.count: (INTEGERS, "an integer of at least 1", [0, -1], [*NO_NUMBERS, *NUMBERS, 1.0]),
    check.unit: ([0, 1, *NUMBERS], "a number in [0, 1]", [-1e-9, 1.1, NAN, INF, -INF], NO_NUMBERS),
    check.decay: ([0, *NUMBERS], "a number in [0, 1)", [-1e-9, 1, 1.0, NAN, INF], NO_NUMBERS),
    check.positive: ([1e-9, 7, *NUMBERS], "a finite number > 0", [0, -1, NAN, INF, -INF], NO_NUMBERS),
    check.bound: ([INF, 1e-9, 7, *NUMBERS], "a number > 0 (inf: no bound)", [0, -1, NAN, -INF], NO_NUMBERS),
    check.weight: ([0, 1e-9, 7, *NUMBERS], "a finite number ≥ 0", [-1e-9, NAN, INF, -INF], NO_NUMBERS),
    check.flag: ([True, False, np.True_], "True or False", [], [0, 1, "yes", None, 1.0, np.array(True)]),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door(door):
    let_in, expected, out_of_range, of_no_such_type = DOORS[door]
    for x in let_in:
        door(setting=x)
        door(setting=x, other=let_in[0])
    for error, values in (ValueError, out_of_range), (TypeError, of_no_such_type):
        for x in values:
            message = f"^setting must be {re.escape(expected)}, not {re.escape(repr(x))}$"
            for more in {}, {"other": let_in[0]}:
                with pytest.raises(error, match=message):
                    door(**more, setting=x)
                    pytest.fail(f"{x!r} was let in")


@pytest.mark.parametrize("x", [0.1, 3, np.float32(0.1), (0.1, 0), (0.1, 0.0), (1, 2), (0.2, 0.1), (1e-9, 1e9)])
def test_a_schedule_is_a_number_or_a_pair(x):
    check.schedule(learning_rate=x, clip_range=x)


RATE, LAST = "a finite number > 0, or a tuple (first, last) whose last may be 0", "a finite number ≥ 0"


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        *((x, ValueError, f"{RATE}, not {x!r}") for x in (0, -0.1, NAN, INF)),
        *((x, TypeError, f"{RATE}, not {x!r}") for x in ("0.1", None, True, (), (1,), (3, 2, 1), [1, 0], {1: 0})),
        *(((x, 0), ValueError, f"{RATE}, not {x!r}") for x in (0, -0.1, NAN, INF)),
        *(((x, 0), TypeError, f"{RATE}, not {x!r}") for x in ("0.1", None, True, (1, 0))),
        *(((1, x), ValueError, f"{LAST}, not {x!r}") for x in (-0.1, NAN, INF)),
        *(((1, x), TypeError, f"{LAST}, not {x!r}") for x in ("0.1", None, False, (1, 0))),
    ],
)
def test_what_is_no_schedule(x, error, message):
    for more in {}, {"clip_range": 0.2}:
        with pytest.raises(error, match=f"^learning_rate must be {re.escape(message)}$"):
            check.schedule(**more, learning_rate=x)


def test_optional_is_none_or_what_the_door_lets_in():
    check.optional(check.count, n_steps=None)
    check.optional(check.count, n_steps=3)
    check.optional(check.schedule, value_learning_rate=None)
    with pytest.raises(ValueError, match=r"^n_steps must be an integer of at least 1, not 0$"):
        check.optional(check.count, n_steps=0)
    with pytest.raises(TypeError, match=f"^value_learning_rate must be {LAST}, not None$"):
        check.optional(check.schedule, value_learning_rate=(1, None))


@pytest.mark.parametrize("given", [[3, 4], (3, 4), np.array([3, 4]), iter([3, 4]), (np.int32(3), 4)])
def test_widths_become_a_tuple_of_integers(given):
    sizes = check.widths(2, sizes=given)
    assert sizes == (3, 4) and {type(n) for n in sizes} == {int}


@pytest.mark.parametrize("given", [(3,), (), 3, None, "34", (3, 0), (3, -1), (3, 4.0), (3, True), (3, None)])
def test_what_are_no_widths(given):
    message = re.escape(f"sizes must be 2 or more widths, integers of at least 1, not {given!r}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        check.widths(2, sizes=given)


class Spaces(gym.Env):
    """An environment of nothing but its spaces."""

    def __init__(self, observations, actions):
        self.observation_space, self.action_space = observations, actions


BOX, UPSIDE_DOWN = Box(-1, 1, (2, 3)), Box(-1, 1, (2,))
UPSIDE_DOWN.low = UPSIDE_DOWN.high + 1


@pytest.mark.parametrize(
    ("space", "kind", "size"),
    [
        (Discrete(3), "Discrete", 3),
        (Discrete(3, start=5), "Discrete", 3),
        (BOX, "Box", 6),
        (Box(-1, 1, ()), "Box", 1),
        (Box(-np.inf, np.inf, (2,), np.float64), "Box", 2),
        (Box(1, 1, (2,)), "Box", 2),  # a single action: nothing to learn, nothing wrong
        (Discrete(3), "Box", "an action space that is a Box of floats, low ≤ high, not Discrete(3)"),
        (BOX, "Discrete", "a Discrete action space, not Box("),
        (MultiDiscrete([2, 2]), "Discrete", "a Discrete action space, not MultiDiscrete("),
        (Box(0, 3, (2,), np.int64), "Box", "an action space that is a Box of floats, low ≤ high, not Box(0, 3"),
        (UPSIDE_DOWN, "Box", "an action space that is a Box of floats, low ≤ high, not Box("),
    ],
)
def test_the_size_of_an_action_space(space, kind, size):
    env = Spaces(Discrete(2), space)
    if isinstance(size, int):
        assert check.action_size(env, kind) == size
    else:
        with pytest.raises(ValueError, match=f"^this policy needs {re.escape(size)}"):
            check.action_size(env, kind)


ROWS = {"states": np.ones((4, 3)), "weights": np.ones(4), "targets": np.ones(4)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, LD, complex])
def test_rows_of_floats_are_taken_as_they_are(dtype):
    given = [x.astype(dtype) for x in ROWS.values()]
    assert all(a is b for a, b in zip(check.rows(given[0], weights=given[1], targets=given[2]), given, strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.uint64, bool])
def test_rows_of_integers_become_floats(dtype):
    """There is no -1 among unsigned ones, and 100 + 100 is no number of eight bits."""
    states, weights = check.rows(ROWS["states"].astype(dtype), weights=np.array([0, 1, 1, 0], dtype))
    assert states.dtype == weights.dtype == np.float64
    np.testing.assert_array_equal(-weights, [0, -1, -1, 0])


def test_rows_may_be_lists():
    states, weights = check.rows([[1, 2], [3, 4]], weights=[0.5, 1])
    assert states.tolist() == [[1, 2], [3, 4]] and weights.tolist() == [0.5, 1]
    assert len(check.rows([[1.0]])) == 1


ONE_PER_ROW = "weights must have shape (4,), one per row of states (4, 3), not "
STATES = "states must have shape (B, observation) with at least one row, not "


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weights": np.ones((4, 1))}, ValueError, f"{ONE_PER_ROW}(4, 1)"),  # it would broadcast to (4, 4)
        ({"weights": np.ones((1, 4))}, ValueError, f"{ONE_PER_ROW}(1, 4)"),
        ({"weights": np.ones(3)}, ValueError, f"{ONE_PER_ROW}(3,)"),
        ({"weights": np.ones(1)}, ValueError, f"{ONE_PER_ROW}(1,)"),
        ({"weights": 1.0}, ValueError, f"{ONE_PER_ROW}()"),
        ({"weights": np.ones(0)}, ValueError, f"{ONE_PER_ROW}(0,)"),
        ({"weights": np.array(["1"] * 4)}, TypeError, "weights must be numbers, not an array <U1 (4,)"),
        ({"weights": [b"1"] * 4}, TypeError, "weights must be numbers, not an array |S1 (4,)"),
        ({"weights": None}, TypeError, "weights must be numbers, not an array object ()"),
        ({"targets": np.ones((4, 1))}, ValueError, f"{ONE_PER_ROW}(4, 1)".replace("weights", "targets")),
        ({"states": np.ones(3)}, ValueError, f"{STATES}(3,)"),
        ({"states": np.ones((0, 3))}, ValueError, f"{STATES}(0, 3)"),
        ({"states": np.ones((2, 2, 3))}, ValueError, f"{STATES}(2, 2, 3)"),
        ({"states": 1.0}, ValueError, f"{STATES}()"),
        ({"states": np.full((4, 3), "1")}, TypeError, "states must be numbers, not an array <U1 (4, 3)"),
        ({"states": None}, TypeError, "states must be numbers, not an array object ()"),
    ],
)
def test_rows_that_do_not_fit(change, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check.rows(**ROWS | change)


def functions_of_rows():
    """Each loss and each gradient, as a function of its states and one of its weights."""
    policy, value, actions = SoftmaxPolicy((3, 2), rng=0), Value((3,), rng=0), np.array([0, 1, 0, 1])

    def given(f, **settings):
        return lambda states, weights: f(policy, states, actions, weights, **settings)

    def given_old(f):
        return lambda states, weights: f(policy, states, actions, -np.ones(4), weights)

    for name in "loss", "gradient":
        yield f"reinforce.{name}", given(getattr(reinforce, name), episodes=2)
        yield f"actor_critic.{name}", given(getattr(actor_critic, name))
        yield f"a2c.{name}", given(getattr(a2c, name), ent_coef=0.1)
        yield f"ppo.{name}, advantages", given_old(getattr(ppo, name))
        yield f"ppo.{name}, old_log_prob", given(getattr(ppo, name), advantages=np.ones(4))
    yield "value.mse", value.mse
    yield "value.mse_gradient", value.mse_gradient


FUNCTIONS = dict(functions_of_rows())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_rows_have_that_door(name):
    function, states, weights = FUNCTIONS[name], np.ones((4, 3)), np.array([0, 1, 2, 3])
    for dtype in np.uint8, np.int64:
        np.testing.assert_array_equal(function(states, weights.astype(dtype)), function(states, weights * 1.0))
    for wrong in np.ones((4, 1)), np.ones((1, 4)), np.ones(3), 1.0:
        with pytest.raises(ValueError, match=r"must have shape \(4,\), one per row of states \(4, 3\), not "):
            function(states, wrong)
    with pytest.raises(TypeError, match="must be numbers, not an array <U1"):
        function(states, np.array(["1"] * 4))
    for wrong in np.ones(3), np.ones((0, 3)), np.ones((4, 1, 3)):
        with pytest.raises(ValueError, match=r"states must have shape \(B, observation\) with at least one row, not"):
            function(wrong, weights)


def test_finite_names_the_first_that_is_not():
    check.finite("x", np.array([1e200, -1e200]))  # whose square is not
    check.finite("x", np.zeros((0, 3)))
    for bad in NAN, INF, -INF:
        x = np.ones((2, 3))
        x[1, 1:] = bad
        message = rf"^x must be finite, but x\[1, 1\] is {bad}$"
        with np.errstate(all="raise"), pytest.raises(check.NonFiniteError, match=message):
            check.finite("x", x)
    assert issubclass(check.NonFiniteError, FloatingPointError) and issubclass(check.NonFiniteError, ValueError)
