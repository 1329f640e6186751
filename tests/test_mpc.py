"""MPC: the search at its edges, the planner as a policy, `train` step by step. (Its equations: derivation/.)"""

import itertools
import re
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from envs import NEXT_STEP, Scripted
from gymnasium.spaces import Box, Discrete
from helpers import same_bits

from scratchpg import evaluate
from scratchpg import planner as planning
from scratchpg.algorithms import mpc
from scratchpg.dynamics import Dynamics
from scratchpg.planner import Planner, plan
from scratchpg.plumbing.check import NonFiniteError

FAST = {"total_steps": 30, "learning_starts": 10, "n_steps": 10, "n_epochs": 2, "batch_size": 8}


class Line(gym.Env):
    """s' = s + a, from s = 0, for 10 steps; the reward is -(s' - 5)². a is 0, 1 or 2, or in a Box from 1 to 3."""

    def __init__(self, box=False):
        self.observation_space = Box(-100, 100, (1,), np.float64)
        self.action_space = Box(1, 3, (1,), np.float64) if box else Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.s, self.t = np.zeros(1), 0
        return self.s, {}

    def step(self, action):
        self.s, self.t = self.s + action, self.t + 1
        return self.s, float(-((self.s[0] - 5) ** 2)), False, self.t == 10, {}


def moves(states, actions):
    return states + actions.reshape(len(states), 1)


def to_five(states, actions, next_states):
    return -((next_states[:, 0] - 5) ** 2)


def on_the_line(box=False, **settings):
    """A planner that knows the line."""
    settings = {"horizon": 3, "n_plans": 200, "n_elites": 20} | settings
    return Planner(env=Line(box), models=[moves], reward=to_five, **settings)


def learner(env=None, seed=0, **settings):
    """A planner with two small models to be trained."""
    env = env or Line()
    models = [Dynamics.for_env(env, (4,), seed + m) for m in range(2)]
    settings = {"horizon": 2, "n_plans": 5, "n_elites": 2, "n_rounds": 1} | settings
    return Planner(env=env, models=models, reward=to_five, **settings)


def test_discrete_plans_by_hand():
    """2 + 2 + 1, the nearest to 5 at every step."""
    assert plan(on_the_line(), np.zeros(1), np.random.default_rng(0)).tolist() == [2, 2, 1]


def test_plans_in_a_box_by_hand():
    """3 + 2 comes to 5 after two steps; the third has to add at least 1."""
    found = plan(on_the_line(box=True, n_rounds=8), np.zeros(1), np.random.default_rng(0))
    np.testing.assert_allclose(found.sum(axis=0), 5.5, atol=0.6)
    assert (found >= 1).all() and (found <= 3).all() and found[0, 0] > 2.8


def test_the_first_plans_are_spread_over_all_actions():
    """(14.4): uniform over three actions; in the Box from 1 to 3 the middle, with half its width as deviation."""
    np.testing.assert_array_equal(on_the_line().q, np.full((3, 3), 1 / 3))
    np.testing.assert_array_equal(on_the_line(box=True).q, np.ones((2, 3, 1)) * [[[2]], [[1]]])
    named = {"horizon": 15, "n_plans": 300, "n_elites": 30, "n_rounds": 4, "gamma": 1.0}
    default = vars(Planner(env=Line(), models=[moves], reward=to_five))
    assert {name: default[name] for name in named} == named


def test_plans_are_drawn_from_q():
    """Frequencies of 20,000 draws per step; and moments where no bound is near."""
    q = np.array([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5], [0.25, 0.25, 0.5]])
    drawn = planning.draw(on_the_line(n_plans=20_000), q, np.random.default_rng(0))
    frequencies = (drawn[:, :, None] == np.arange(3)).mean(axis=0)
    np.testing.assert_allclose(frequencies, q, atol=0.015)
    q = np.array([[[2.1], [1.9], [2.0]], [[0.05], [0.1], [0.2]]])
    drawn = planning.draw(on_the_line(box=True, n_plans=20_000), q, np.random.default_rng(0))
    np.testing.assert_allclose([drawn.mean(axis=0), drawn.std(axis=0)], q, rtol=0.02)


def test_a_search_remembers_its_plans_only_for_as_many_states_and_the_same_generator(monkeypatch):
    planner, before, rng = on_the_line(box=True), [], np.random.default_rng(0)
    real = planning.plan
    monkeypatch.setattr(planning, "plan", lambda *args: before.append(args[3] is not None) or real(*args))
    for n, generator in (1, rng), (1, rng), (2, rng), (2, rng), (2, np.random.default_rng(0)):
        planner(np.zeros((n, 1))).sample(generator)
    assert before == [False, True, *[False] * 2, *[True] * 2, *[False] * 2]


def test_a_search_prepares_its_models_once(monkeypatch):
    """Not in every round: they do not change within a search."""
    real, prepared = planning.together, []
    monkeypatch.setattr(planning, "together", lambda *args: prepared.append(args) or real(*args))
    plan(learner(n_rounds=4), np.zeros(1), np.random.default_rng(0))
    assert len(prepared) == 1


def test_the_elites_mean_is_returned_not_the_best_draw():
    """One round, all plans elite: the mean of all of them, whatever they are worth."""
    planner = on_the_line(box=True, n_plans=7, n_elites=7, n_rounds=1)
    draws = planning.draw(planner, planner.q, np.random.default_rng(3))
    np.testing.assert_allclose(plan(planner, np.zeros(1), np.random.default_rng(3)), draws.mean(axis=0), rtol=1e-15)


def test_plans_are_clipped_before_they_are_scored_and_refitted():
    """The best plans lie at the upper bound: fitted to what they would be without it, the mean would lie beyond."""
    seen = []

    def upward(states, actions, next_states):
        seen.append(actions.copy())
        return actions[:, 0]

    planner = Planner(env=Line(box=True), models=[moves], reward=upward, horizon=2, n_plans=50, n_elites=5, n_rounds=3)
    found = plan(planner, np.zeros(1), np.random.default_rng(0))
    assert (found == 3).all()  # all elites are at the bound
    assert min(x.min() for x in seen) >= 1 and max(x.max() for x in seen) <= 3


@pytest.mark.parametrize(
    ("q", "u", "action"),
    [([0, 0.25, 0.75], 0, 1), ([0.5, 0.25, 0.25], 0.5, 1), ([0.5, 0.5, 0], 0.999, 1), ([0.1] * 10, 1 - 2**-53, 9)],
)
def test_draws_at_the_edges_of_u(q, u, action):
    """At 0 an action of probability 0 is passed over; near 1 none follows the last: ten times 0.1 is less than 1."""
    rng = SimpleNamespace(random=lambda shape: np.full(shape, u))
    planner = SimpleNamespace(actions="Discrete", n_plans=2)
    assert planning.draw(planner, np.array([q]), rng).tolist() == [[action]] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plans_have_the_dtype_of_the_box(dtype):
    """As the environment takes them; a draw is of float64."""
    env = Line(box=True)
    env.action_space = Box(1, 3, (1,), dtype)
    planner = Planner(env=env, models=[moves], reward=to_five)
    assert planning.draw(planner, planner.q, np.random.default_rng(0)).dtype == dtype


def test_a_plan_goes_on_from_the_one_before():
    """One step later, its last step from the middle of the Box: with a bound of 1, a 0 would be no action."""
    planner = on_the_line(box=True, n_plans=1, n_elites=1, n_rounds=1)
    started = []
    real, planning.draw = planning.draw, lambda planner, q, rng: started.append(q) or real(planner, q, rng)
    try:
        plan(planner, np.zeros(1), np.random.default_rng(0), before=np.array([[1.25], [1.5], [2.75]]))
    finally:
        planning.draw = real
    assert started[0].tolist() == [[[1.5], [2.75], [2.0]], [[1.0]] * 3]


@pytest.mark.parametrize("box", [False, True])
def test_a_model_that_diverges_is_not_chosen(box):
    def sometimes_nan(states, actions):
        return np.where(actions.reshape(-1, 1) > 1.5, np.nan, moves(states, actions))

    planner = Planner(env=Line(box), models=[sometimes_nan], reward=to_five, horizon=1, n_elites=5, n_rounds=2)
    assert plan(planner, np.zeros(1), np.random.default_rng(0)).max() <= 1.5


def test_a_search_without_a_finite_return_is_refused():
    """With R̂ = NaN everywhere the first plans would be as good as any, and actions random without a word."""
    planner = on_the_line()
    planner.reward = lambda s, a, next_s: np.full(len(s), np.nan)
    with pytest.raises(NonFiniteError, match="R̂ of the best plan must be finite"):
        plan(planner, np.zeros(1), np.random.default_rng(0))


@pytest.mark.parametrize("never", [np.nan, -np.inf])
def test_one_plan_with_a_finite_return_is_enough(never):
    """A reward of -inf is a way to forbid: the search goes on from the plans that are allowed, be it one."""
    planner = on_the_line(horizon=1, n_plans=5, n_elites=3, n_rounds=1)
    planner.reward = lambda s, a, next_s: np.where(np.arange(5) == 2, 1.0, never)
    assert plan(planner, np.zeros(1), np.random.default_rng(0)).shape == (1,)


@pytest.mark.parametrize("kind", [bool, int, float])
@pytest.mark.parametrize("late", [1.0, np.nan, -np.inf])
def test_what_is_paid_after_the_end_is_0_whatever_it_is(kind, late):
    """s = 0, 2, 4, 6 ends at 2: the first step is paid. s = 0, 1, 2, 3: two. `terminal` may count: 1 where it ends."""
    planner = on_the_line()
    planner.reward = lambda s, a, next_s: np.where(s[:, 0] >= 2, late, 1.0)
    planner.terminal = lambda s: (s[:, 0] >= 2).astype(kind)
    returns = planning.imagined_returns(planner, np.zeros(1), np.array([[2, 2, 2], [1, 1, 1]]))
    assert returns.tolist() == [1, 2]


def test_numbers_of_a_box_may_be_integers():
    """s' = s + a by a linear net: an action 0 is not the first of one, one-hot 1."""
    planner = on_the_line(box=True)
    planner.models = [Dynamics((1, 1), theta=np.array([0.0, 1.0, 0.0]))]
    plans = np.array([[[0]] * 3, [[2]] * 3])
    assert planning.imagined_returns(planner, np.zeros(1), plans).tolist() == [-75, -(3**2 + 1**2 + 1**2)]


@pytest.mark.parametrize("action", [-1, 3])
def test_plans_of_actions_that_there_are_not_are_refused(action):
    with pytest.raises(ValueError, match="plans must be of actions 0 … 2"):
        planning.imagined_returns(on_the_line(), np.zeros(1), np.full((2, 3), action))


@pytest.mark.parametrize("reward", [-2, np.float32(-2), np.int8(-2), [-2] * 6, np.full(6, -2, np.int8)])
def test_a_reward_is_a_number_for_each_row_or_one_for_all(reward):
    planner = on_the_line()
    planner.reward = lambda *_: reward
    assert planning.imagined_returns(planner, np.zeros(1), np.ones((2, 3), int)).tolist() == [-6, -6]


@pytest.mark.parametrize("shape", [(6, 1), (1,), (3,), (1, 6)])
def test_a_reward_of_another_shape_is_refused_by_name(shape):
    planner = on_the_line()
    planner.reward = lambda *_: np.ones(shape)
    with pytest.raises(ValueError, match=rf"reward must have shape \(6,\).*not {re.escape(str(shape))}"):
        planning.imagined_returns(planner, np.zeros(1), np.ones((2, 3), int))


def test_a_model_that_works_in_place_changes_no_state_before():
    def in_place(states, actions):
        states += actions
        return states

    planner = on_the_line(box=True)
    planner.models, planner.reward = [in_place], lambda s, a, next_s: s[:, 0]
    assert planning.imagined_returns(planner, np.zeros(1), np.full((1, 3, 1), 2.0)).tolist() == [0 + 2 + 4]


def test_a_reward_that_writes_into_states_is_refused():
    """A student writes `x -= 5`, as x is a name of his own; but it is a column of next_states."""

    def distance(states, actions, next_states):
        x = next_states[:, 0]
        x -= 5
        return -abs(x)

    planner = on_the_line()
    planner.reward = distance
    with pytest.raises(ValueError, match="read-only"):
        plan(planner, np.zeros(1), np.random.default_rng(0))


def test_a_subclass_predicts_in_its_own_way():
    """What it does beside the net must not be lost in the one pass of all models."""

    class Walled(Dynamics):
        def __call__(self, states, actions):
            return np.minimum(super().__call__(states, actions), 4)

    planner = on_the_line(box=True)
    planner.models = [Walled((1, 1), theta=np.array([0.0, 1.0, 0.0]))]
    assert planning.imagined_returns(planner, np.zeros(1), np.full((1, 3, 1), 3.0)).tolist() == [-6]


@pytest.mark.parametrize("models", [[], None, moves, ["a"], [None]])
def test_models_are_refused_at_the_door(models):
    with pytest.raises((ValueError, TypeError), match="models must be"):
        Planner(env=Line(), models=models, reward=to_five)


@pytest.mark.parametrize("name", ["reward", "terminal"])
def test_functions_are_refused_at_the_door(name):
    with pytest.raises(ValueError, match=f"{name} must be a function, not 1.5"):
        Planner(**{"env": Line(), "models": [moves], "reward": to_five, name: 1.5})


def test_a_policy_for_evaluate():
    """From 0 by 2, 2, 1, then 0: the best there is. Several environments at once come to the same."""
    best = -(3.0**2 + 1**2)
    assert (evaluate(on_the_line(), Line(), episodes=2, seed=0) == best).all()
    vector = gym.vector.SyncVectorEnv([Line] * 3, autoreset_mode=NEXT_STEP)
    assert (evaluate(on_the_line(), vector, episodes=3, seed=0) == best).all()
    assert (evaluate(on_the_line(), Line(), episodes=1, seed=0, greedy=True) == best).all()


def test_same_seed_same_bits_also_of_evaluations():
    """The memory of the last plan ends with the generator it came from."""
    planner = on_the_line(box=True, n_plans=20, n_elites=3)
    first = evaluate(planner, Line(box=True), episodes=1, seed=1)
    assert same_bits(evaluate(planner, Line(box=True), episodes=1, seed=1), first)


def test_mode_is_a_function_of_the_state():
    planner = on_the_line(box=True, n_plans=5, n_elites=2, n_rounds=1)
    states = np.zeros((2, 1))
    pi = planner(states)
    first = pi.mode()
    pi.sample(np.random.default_rng(5))
    assert same_bits(pi.mode(), first)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"n_elites": 0}, "n_elites must be an integer of at least 1, not 0"),  # int(0.1 n) elites of n = 9
        ({"n_elites": 6, "n_plans": 5}, "n_elites must be at most n_plans=5, not 6"),
        ({"horizon": 0}, "horizon must be an integer of at least 1, not 0"),
        ({"gamma": 1.5}, r"gamma must be a number in \[0, 1\], not 1.5"),
    ],
)
def test_settings_are_refused_at_the_door(settings, message):
    with pytest.raises(ValueError, match=message):
        on_the_line(**settings)


def test_a_box_without_bounds_is_refused():
    env = Line(box=True)
    env.action_space = Box(-np.inf, np.inf, (1,))
    with pytest.raises(ValueError, match="a Box of floats with finite bounds"):
        Planner(env=env, models=[moves], reward=to_five)


class Spy(Dynamics):
    """A model that notes what it learns from."""

    def mse_gradient(self, *data):
        self.__dict__.setdefault("seen", []).append([x.copy() for x in data])
        return super().mse_gradient(*data)


def rows_of(seen):
    """The rows of one pass over the data, sorted, as (s, a, s') tuples."""
    return sorted(
        tuple(float(x) for part in row for x in np.ravel(part)) for batch in seen for row in zip(*batch, strict=True)
    )


def test_eq_14_8_each_member_has_one_bootstrap_and_keeps_it():
    env = Line()
    policy = learner(env)
    policy.models = [Spy((1, 3, 4), m) for m in range(2)]
    for _ in mpc.train(env, policy, seed=0, **FAST | {"total_steps": 21, "n_epochs": 3, "batch_size": 100}):
        pass
    passes = [[rows_of([batch]) for batch in model.seen] for model in policy.models]
    for of_one in passes:
        sizes = [len(rows) for rows in of_one]
        assert sizes == sorted(sizes) and len(set(sizes)) >= 2  # the data grow
        for before, after in itertools.pairwise(of_one):  # what was drawn stays
            assert before == after if len(before) == len(after) else not set(before) - set(after)
            assert all(after.count(row) >= before.count(row) for row in set(before))
        first = of_one[0]
        assert len(set(first)) < len(first)  # drawn with replacement
    assert passes[0][-1] != passes[1][-1]


def test_reset_rows_are_no_transitions():
    """Every Δ that is learned is one that the environment made: 0, 1 or 2, never the way back to the start."""
    policy = learner()
    policy.models = [Spy((1, 3, 4), 0)]
    for _ in mpc.train(Line(), policy, seed=0, **FAST | {"total_steps": 40}):
        pass
    for states, actions, next_states in policy.models[0].seen:
        assert (next_states - states == actions[:, None]).all()


@pytest.mark.parametrize("n_envs", [1, 3])
def test_the_steps_are_those_asked_for(n_envs):
    env = Line() if n_envs == 1 else gym.vector.SyncVectorEnv([Line] * 3, autoreset_mode=NEXT_STEP)
    steps = [p.steps for p in mpc.train(env, learner(), seed=0, **FAST)]
    assert 30 <= steps[-1] < 30 + n_envs and steps == sorted(set(steps))


def test_actions_are_random_first_and_planned_after():
    env = Scripted([(100, "terminated")])
    policy = learner(env)
    policy.reward = lambda s, a, next_s: a  # action 1 is always best
    policy.n_plans, policy.n_elites = 64, 1
    for _ in mpc.train(env, policy, seed=0, **FAST | {"learning_starts": 20}):
        pass
    assert 0 < sum(env.actions[:20]) < 20 and all(env.actions[20:])


def test_same_seed_same_bits():
    def trained():
        policy = learner()
        steps = [p.mse for p in mpc.train(Line(), policy, seed=3, **FAST)]
        return policy, np.array(steps)

    (one, a), (other, b) = trained(), trained()
    assert same_bits(a, b)
    assert all(same_bits(x.theta, y.theta) for x, y in zip(one.models, other.models, strict=True))


def test_an_evaluation_between_two_updates_changes_nothing():
    def trained(look):
        policy = learner(Line(box=True))
        for _ in mpc.train(Line(box=True), policy, seed=3, **FAST):
            if look:
                evaluate(policy, Line(box=True), episodes=1, seed=0)
        return policy.models[0].theta

    assert same_bits(trained(False), trained(True))


@pytest.mark.parametrize(
    "settings",
    [{"n_epochs": 0}, {"learning_starts": 0}, {"n_steps": 1.5}, {"learning_rate": -1.0}, {"total_steps": -1}],
)
def test_train_refuses_at_the_call(settings):
    with pytest.raises((ValueError, TypeError), match=next(iter(settings))):
        mpc.train(Line(), learner(), **settings)


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        (None, TypeError, "policy must be a Planner, not None"),
        (on_the_line(), TypeError, r"models\[0\] must be a Dynamics, not <function moves"),
        (
            Planner(env=Line(), models=[Dynamics((1, 5))], reward=to_five),
            ValueError,
            r"models\[0\] of the policy must have 1 observations and 3 actions, .* not Dynamics\(\(1, 5\)\)",
        ),
    ],
)
def test_train_refuses_what_it_cannot_train(policy, error, message):
    with pytest.raises(error, match=message):
        mpc.train(Line(), policy)


def test_it_learns_the_line():
    """20 random steps are enough to know that s' = s + a: then the planner does as one that knows."""
    policy = learner(horizon=3, n_plans=200, n_elites=20, n_rounds=2)
    for _ in mpc.train(
        Line(), policy, total_steps=60, learning_starts=40, n_steps=20, n_epochs=400, learning_rate=1e-2, seed=0
    ):
        pass
    assert evaluate(policy, Line(), episodes=1, seed=0)[0] >= -12
