"""Experience: every number of a batch against the script of the environment that made it."""

from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from envs import DISABLED, POISON, SAME_STEP, Scripted, ScriptedVector, observation, reward, vector
from gymnasium.spaces import Discrete
from helpers import same_bits

from scratchpg import SoftmaxPolicy, Value
from scratchpg.plumbing.check import NonFiniteError
from scratchpg.rollout import Collector, minibatches

# Three environments whose episodes end in every way, at different times, two of them in the same step, one at once
SCRIPTS = [
    [(2, "terminated"), (3, "truncated"), (1, "both")],
    [(4, "truncated"), (1, "terminated")],
    [(2, "both"), (5, "terminated")],
]
CODE = np.array([100.0, 10.0, 1.0])  # (env, episode, step) as one number


def policy(dtype=np.float64):
    """Both actions, depending on the state."""
    chooser = SoftmaxPolicy((3, 8, 2), rng=0, dtype=dtype)
    chooser.net.layers[-1][0][:] *= 100
    return chooser


def code():
    """A value that reads an observation off: V(env, episode, step) = 100 env + 10 episode + step."""
    return Value((3,), theta=np.append(CODE, 0.0))


def scripted(index, episodes):
    """The transitions of whole episodes by the script: s, r, s', terminated, truncated, with s and s' as numbers."""
    script, rows = SCRIPTS[index], []
    for episode in range(episodes):
        length, end = script[episode % len(script)]
        for t in range(length):
            over = t == length - 1
            flags = over and end in ("terminated", "both"), over and end in ("truncated", "both")
            states = (float(observation(index, episode, t + k) @ CODE) for k in range(2))
            s, successor = states
            rows.append((s, reward(index, episode, t), successor, *flags))
    return rows


def transitions(batches, n):
    """The same of environment n, as a learner sees them: the valid rows, with V(s) and V(s') for s and s'."""
    rows = []
    for batch in batches:
        v = code()(batch.states)
        columns = v[:-1], batch.rewards, v[1:], batch.terminated, batch.truncated
        valid = batch.valid[:, n]
        rows += zip(*(column[valid, n].tolist() for column in columns), strict=True)
    return rows


def collect(collector, rows):
    """Batches of so many rows, one after another."""
    return [collector.collect(n) for n in rows]


@pytest.mark.parametrize("rows", [[20], [7, 13], [1] * 20, [2, 3] * 4])
def test_segments_follow_the_script_across_calls(rows):
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    batches = collect(collector, rows)
    seen = [transitions(batches, n) for n in range(3)]
    for n in range(3):
        assert seen[n] == scripted(n, 30)[: len(seen[n])]
        assert 10 <= len(seen[n]) < 20  # the others are reset rows
    rewards = np.concatenate([batch.rewards.ravel() for batch in batches])
    assert POISON not in rewards
    assert collector.steps == sum(map(len, seen)) == sum(batch.valid.sum() for batch in batches)
    assert collector.episodes == sum(t or c for rows in seen for *_, t, c in rows)


@pytest.mark.parametrize("rows", [[20], [7, 13], [1] * 20])
def test_a_single_environment_follows_the_script(rows):
    collector = Collector(Scripted(SCRIPTS[0]), policy(), rng=0)
    seen = transitions(collect(collector, rows), 0)
    assert len(seen) >= 13 and seen == scripted(0, 30)[: len(seen)]
    assert collector.steps == len(seen)


def test_the_states_of_valid_rows_are_never_those_of_a_finished_episode():
    # a reset row starts from the last observation of a finished episode, where nobody acts
    batch = Collector(ScriptedVector(SCRIPTS), policy(), rng=0).collect(20)
    for n in range(3):
        acted = batch.states[:-1, n][batch.valid[:, n]]
        assert [tuple(s) for s in acted] == [
            (n, episode, t) for episode in range(20) for t in range(SCRIPTS[n][episode % len(SCRIPTS[n])][0])
        ][: len(acted)]


def test_samples_line_up():
    batch = Collector(ScriptedVector(SCRIPTS), policy(), rng=0).collect(20)
    weights = np.arange(60.0).reshape(20, 3)
    states, actions, flat = batch.samples(weights)
    assert len(states) == len(actions) == len(flat) == batch.valid.sum()
    for state, action, weight in zip(states, actions, flat, strict=True):
        t, n = divmod(int(weight), 3)
        assert batch.valid[t, n] and state[0] == n
        assert (state == batch.states[t, n]).all() and action == batch.actions[t, n]


def test_actions_are_those_the_environment_took():
    envs = ScriptedVector(SCRIPTS)
    batch = Collector(envs, policy(), rng=0).collect(20)
    assert {*batch.actions.ravel()} == {0, 1}
    for n, env in enumerate(envs.envs):
        np.testing.assert_array_equal(batch.actions[batch.valid[:, n], n], env.actions)


def test_a_batch_of_many_rows_is_that_of_several_smaller_ones():
    whole = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    parts = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    one, several = whole.collect(20), collect(parts, [7, 1, 12])
    for name in ("actions", "rewards", "terminated", "truncated", "valid"):
        assert same_bits(getattr(one, name), np.concatenate([getattr(batch, name) for batch in several]))
    assert same_bits(one.states[:-1], np.concatenate([batch.states[:-1] for batch in several]))
    assert same_bits(one.states[-1], several[-1].states[-1])
    assert (whole.steps, whole.episodes, whole.returns) == (parts.steps, parts.episodes, parts.returns)


def scripted_returns(index, episodes):
    """The undiscounted returns by the script."""
    length = [SCRIPTS[index][episode % len(SCRIPTS[index])][0] for episode in range(episodes)]
    return [sum(reward(index, episode, t) for t in range(length[episode])) for episode in range(episodes)]


@pytest.mark.parametrize("rows", [[20], [7, 13], [1] * 20])
def test_returns_are_counted_on_across_calls(rows):
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    batches = collect(collector, rows)
    ended = sum(batch.ended.sum(axis=0) for batch in batches)
    expected = [G for n in range(3) for G in scripted_returns(n, ended[n])]
    assert sorted(collector.returns) == sorted(expected)
    assert collector.episodes == len(expected)
    progress = collector.progress(entropy=0.5)
    assert (progress.steps, progress.episodes, progress.entropy) == (collector.steps, len(expected), 0.5)
    assert progress.mean_return == pytest.approx(np.mean(expected))


def test_mean_return_is_that_of_the_last_100_episodes():
    collector = Collector(Scripted([(1, "terminated")]), policy(), rng=0)
    assert np.isnan(collector.progress().mean_return)  # before the first
    collector.collect_episodes(30)
    assert collector.progress().mean_return == np.mean([reward(0, episode, 0) for episode in range(30)])
    collector.collect_episodes(120)
    assert collector.episodes == 150 and len(collector.returns) == 100
    assert collector.progress().mean_return == np.mean([reward(0, episode, 0) for episode in range(50, 150)])


@pytest.mark.parametrize("episodes, wanted", [(1, [1, 0, 0]), (3, [1, 1, 1]), (7, [3, 2, 2]), (100, [34, 33, 33])])
def test_whole_episodes_of_each_environment(episodes, wanted):
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    batch = collector.collect_episodes(episodes)
    assert batch.ended.sum(axis=0).tolist() == wanted
    for n in range(3):
        assert transitions([batch], n) == scripted(n, wanted[n])  # from the first episode on
        ends = np.flatnonzero(batch.ended[:, n])
        assert not batch.valid[ends[-1] + 1 if len(ends) else 0 :, n].any()
    returns = [G for n in range(3) for G in scripted_returns(n, wanted[n])]
    assert Counter(collector.returns) <= Counter(returns) and len(collector.returns) == min(100, len(returns))
    assert collector.episodes == episodes
    assert batch.states.shape == (len(batch.rewards) + 1, 3, 3)
    assert batch.ended[-1].any()  # not a row more than it takes


def test_whole_episodes_again_and_again():
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    for k in range(5):
        batch = collector.collect_episodes(6)
        assert batch.ended.sum(axis=0).tolist() == [2, 2, 2]
        assert collector.episodes == 6 * (k + 1)
        for n in range(3):  # each batch starts with the first step of an episode
            assert batch.states[0, n, 2] == 0
        expected = [
            sum(reward(*map(int, state)) for state in batch.states[:-1, n][batch.valid[:, n]]) for n in range(3)
        ]
        np.testing.assert_array_equal(batch.rewards.sum(axis=0), expected)
        assert sum(list(collector.returns)[-6:]) == sum(expected)


def test_returns_of_segments_after_whole_episodes():
    # an environment that was done with its episodes had begun another episode: its return is that of all its steps
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    collector.collect_episodes(3)
    before = collector.episodes
    batch = collector.collect(20)
    ends = [list(np.flatnonzero(batch.ended[:, n])) for n in range(3)]
    assert collector.episodes == before + sum(map(len, ends))
    whole = [
        sum(reward(n, int(batch.states[end, n, 1]), t) for t in range(int(batch.states[end, n, 2]) + 1))
        for n in range(3)
        for end in ends[n]
    ]
    assert sorted(list(collector.returns)[before:]) == sorted(whole)


def test_every_step_that_an_environment_makes_is_counted():
    """Also those of episodes that nobody asked for, which come while others are not done; not the reset rows."""
    envs = ScriptedVector(SCRIPTS)
    collector, wasted = Collector(envs, policy(), rng=0), 0
    for collect_some in (lambda: collector.collect_episodes(2), lambda: collector.collect(9)) * 3:
        before = collector.steps
        batch = collect_some()
        assert collector.steps == sum(len(env.actions) for env in envs.envs)
        wasted += collector.steps - before - batch.valid.sum()
    assert wasted > 10


@pytest.mark.parametrize("rows", [[20], [7, 13], [1] * 20, [2, 3] * 4])
def test_t_is_the_step_of_the_episode_across_calls(rows):
    for batch in collect(Collector(ScriptedVector(SCRIPTS), policy(), rng=0), rows):
        (t,) = batch.samples(batch.t)[2:]
        np.testing.assert_array_equal(t, batch.samples()[0][:, 2])  # the third number of the observation
        assert (batch.t[~batch.valid] == -1).all()


def test_t_of_whole_episodes():
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    for _ in range(3):
        batch = collector.collect_episodes(12)
        np.testing.assert_array_equal(batch.t[batch.valid], batch.states[:-1][batch.valid][:, 2])
        collector.collect(2)  # what comes between does not matter


def test_t_goes_on_from_one_segment_to_the_next():
    collector = Collector(Scripted([(5, "terminated")]), policy(), rng=0)
    assert collector.collect(3).t[:, 0].tolist() == [0, 1, 2]
    # steps 3 and 4 of the first episode, the reset row, steps 0 and 1 of the next
    batch = collector.collect(5)
    assert batch.valid[:, 0].tolist() == [True, True, False, True, True]
    assert batch.t[:, 0].tolist() == [3, 4, -1, 0, 1]


@pytest.mark.parametrize("many", [False, True])
def test_a_segment_of_reset_rows_only_goes_on_to_the_next(many):
    script = [(1, "terminated")]
    env = ScriptedVector([script] * 2) if many else Scripted(script)
    collector = Collector(env, policy(), rng=0)
    for k in range(1, 5):
        batch = collector.collect(1)
        assert batch.valid.all() and batch.states[0, 0, 1] == k - 1
        assert collector.steps == k * (1 + many)


def test_the_value_of_state_number_0_is_bootstrapped_like_any_other():
    class Corridor(gym.Env):
        """1 → 0 → 1 → 0 …: state 0 is no end."""

        observation_space, action_space = Discrete(2), Discrete(2)

        def reset(self, *, seed=None, options=None):
            self.state = 1
            return 1, {}

        def step(self, action):
            self.state = 1 - self.state
            return self.state, 0.0, False, False, {}

    batch = Collector(Corridor(), SoftmaxPolicy((2, 2), rng=0), rng=0).collect(4)
    values = Value((2,), theta=np.array([9.0, 7.0, 0.0]))(batch.states)
    assert values[1:, 0].tolist() == [9, 7, 9, 7]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_have_the_dtype_of_the_parameters(dtype):
    batch = Collector(Scripted(SCRIPTS[0]), policy(dtype), rng=0).collect(5)
    assert batch.states.dtype == dtype and batch.rewards.dtype == np.float64 and batch.actions.dtype == np.int64
    assert batch.terminated.dtype == batch.truncated.dtype == batch.valid.dtype == bool


def test_an_observation_that_is_reused_by_the_environment_is_copied():
    class Reusing(Scripted):
        """Returns the same array every time, written anew."""

        buffer = np.zeros(3, np.float32)

        def _observation(self):
            self.buffer[:] = super()._observation()
            return self.buffer

    batch = Collector(Reusing([(9, "terminated")]), policy(np.float32), rng=0).collect(5)
    assert batch.states[:, 0, 2].tolist() == [0, 1, 2, 3, 4, 5]


def test_observations_of_an_earlier_batch_stay_as_they_are():
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0)
    first = collector.collect(6)
    kept = first.states.copy(), first.rewards.copy(), first.valid.copy()
    collector.collect(6), collector.collect_episodes(3)
    assert all(same_bits(a, b) for a, b in zip(kept, (first.states, first.rewards, first.valid), strict=True))


# Randomness


def test_the_environment_is_seeded_once_with_an_int():
    env = Scripted(SCRIPTS[0])
    collector = Collector(env, policy(), rng=0)
    collector.collect(10), collector.collect_episodes(3)
    assert type(env.seeds[0]) is int and len(env.seeds) > 5 and set(env.seeds[1:]) == {None}
    envs = ScriptedVector(SCRIPTS)
    collector = Collector(envs, policy(), rng=0)
    collector.collect(10), collector.collect_episodes(3)
    assert type(envs.seeds[0]) is int and len(envs.seeds) == 2 and envs.seeds[1] is None


@pytest.mark.parametrize("n_envs", [None, 3])
def test_same_seed_same_bits(n_envs):
    def run(seed):
        env = gym.make("CartPole-v1") if n_envs is None else gym.make_vec("CartPole-v1", n_envs)
        collector = Collector(env, SoftmaxPolicy.for_env(env, rng=0), rng=seed)
        return [*(collector.collect(40) for _ in range(2)), collector.collect_episodes(4)]

    for a, b, other in zip(run(1), run(1), run(2), strict=True):
        for name in ("states", "actions", "rewards", "terminated", "truncated", "valid"):
            assert same_bits(getattr(a, name), getattr(b, name))
        assert not np.array_equal(a.states[0], other.states[0])


def test_the_generator_passed_in_is_the_one_that_is_used():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    collector = Collector(Scripted(SCRIPTS[0]), policy(), rng=rng)
    assert collector.rng is rng and rng.bit_generator.state != before
    before = rng.bit_generator.state
    collector.collect(1)
    assert rng.bit_generator.state != before


def test_episodes_differ_from_each_other():
    env = gym.make("CartPole-v1")
    batch = Collector(env, SoftmaxPolicy.for_env(env, rng=0), rng=0).collect_episodes(5)
    first = batch.states[:-1][batch.valid & (batch.t == 0)]
    assert len(first) == 5 and len(np.unique(first, axis=0)) == 5


def test_greedy_takes_the_most_probable_action_and_draws_nothing():
    collector = Collector(ScriptedVector(SCRIPTS), policy(), rng=0, greedy=True)
    before = collector.rng.bit_generator.state
    batch = collector.collect(20)
    assert collector.rng.bit_generator.state == before
    modes = policy()(batch.states[:-1].reshape(-1, 3)).probabilities.argmax(axis=1).reshape(20, 3)
    np.testing.assert_array_equal(batch.actions, modes)


# Numbers that are not finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "what, at, message",
    [
        ("observation", (0, 0), "observations"),  # the first
        ("observation", (0, 1), "observations"),
        ("observation", (0, 2), "observations"),  # the last of an episode
        ("observation", (1, 0), "observations"),  # after a reset
        ("reward", (0, 0), "rewards"),
        ("reward", (0, 1), "rewards"),
    ],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda replace: Scripted([(2, "truncated")], replace=replace),
        lambda replace: ScriptedVector([[(2, "truncated")]] * 2, replace=replace),
    ],
    ids=["single", "vector"],
)
def test_what_is_not_finite_is_refused_by_name(make, what, at, message, bad):
    with np.errstate(invalid="ignore"), pytest.raises(NonFiniteError, match=f"{message} must be finite.* is {bad}"):
        Collector(make({(what, *at): bad}), policy(), rng=0).collect(5)


def test_non_finite_error_is_both_kinds():
    assert issubclass(NonFiniteError, FloatingPointError) and issubclass(NonFiniteError, ValueError)


# Vector environments


@pytest.mark.parametrize("mode", [SAME_STEP, DISABLED, "NextStep", None])
def test_other_autoreset_modes_are_refused(mode):
    envs = ScriptedVector(SCRIPTS, mode)
    with pytest.raises(
        ValueError, match=f"must have autoreset mode NEXT_STEP, as by .*AutoresetMode.NEXT_STEP.*{mode}"
    ):
        Collector(envs, policy(), rng=0)
    envs.metadata = {}
    with pytest.raises(ValueError, match=r"must have autoreset mode NEXT_STEP, as by .*, not None"):
        Collector(envs, policy(), rng=0)


@pytest.mark.parametrize("copy", [True, False])
def test_gymnasiums_own_vector_environment(copy):
    envs = vector(lambda i: Scripted(SCRIPTS[i], i), 3, copy=copy)
    collector = Collector(envs, policy(), rng=0)
    batches = collect(collector, [7, 13])
    for n in range(3):
        seen = transitions(batches, n)
        assert len(seen) >= 10 and seen == scripted(n, 30)[: len(seen)]


def test_an_episode_that_never_ends_because_of_nan_is_refused():
    """`abs(nan) > limit` is False for ever: what is not finite is looked for before the episode is over, too."""
    endless = Scripted([(10**9, "terminated")], replace={("observation", 0, 3): np.nan})
    with pytest.raises(NonFiniteError, match="observations must be finite"), np.errstate(invalid="ignore"):
        Collector(endless, SoftmaxPolicy((3, 2), rng=0), 0).collect_episodes(1)


def test_an_episode_that_never_ends_is_refused_where_nothing_limits_it():
    """10,000 steps for each of the episodes asked for; not so where the environment has a time limit."""
    collector = Collector(Scripted([(30_000, "terminated")]), policy(), 0)
    with pytest.raises(RuntimeError, match=r"no end of .* within \d+ steps; make it with a time limit"):
        collector.collect_episodes(1)
    endless = Scripted([(10**9, "terminated")])
    endless.spec = gym.spec("CartPole-v1")
    limited = gym.wrappers.TimeLimit(endless, 20_000)
    assert len(Collector(limited, policy(), 0).collect_episodes(1).rewards) == 20_000


@pytest.mark.parametrize("seen", [0.5, [0.5], [0.5, 0.5], [[0.5, 0.5, 0.5]]])
def test_observations_of_another_shape_are_refused(seen):
    env = Scripted([(5, "terminated")])
    env._observation = lambda: np.array(seen, np.float32)
    with pytest.raises(ValueError, match=r"observations must be numbers of shape \(3,\), as Box\(.* says, not"):
        Collector(env, SoftmaxPolicy((3, 2), rng=0), 0)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8])
@pytest.mark.parametrize("start", [0, 3])
def test_actions_have_the_dtype_of_the_action_space(dtype, start):
    try:
        space = Discrete(2, start=start, dtype=dtype)
    except TypeError:
        pytest.skip("an older Gymnasium, whose Discrete spaces are all of int64")
    envs = ScriptedVector([[(5, "terminated")]] * 2, action_space=space)
    Collector(envs, SoftmaxPolicy((3, 2), rng=0), 0).collect(3)  # a scripted environment takes nothing else
    assert {type(action) for action in envs.envs[0].actions} == {dtype}


def test_a_batch_belongs_to_the_caller():
    first, second = (Collector(Scripted([(9, "terminated")]), SoftmaxPolicy((3, 2), rng=0), 0) for _ in range(2))
    first.collect(3).states[:] = 100
    second.collect(3)
    np.testing.assert_array_equal(first.collect(3).states, second.collect(3).states)


def test_returns_do_not_depend_on_earlier_episodes():
    """0.1 + 0.1 + 0.1 after an episode of 1e17: a running total would have nothing left of it."""
    rewards = {("reward", 0, 0): 1e17} | {("reward", k, t): 0.1 for k in (1, 2) for t in range(3)}
    env = Scripted([(1, "terminated"), (3, "terminated"), (3, "terminated")], replace=rewards)
    collector = Collector(env, SoftmaxPolicy((3, 2), rng=0), 0)
    collector.collect(10)
    assert list(collector.returns)[1:] == pytest.approx([0.3, 0.3], rel=1e-15)


# Minibatches


@pytest.mark.parametrize(("n", "sizes"), [(12, [5, 5, 2]), (10, [5, 5]), (3, [3]), (1, [1])])
def test_minibatches_take_every_row_once(n, sizes):
    rng = np.random.default_rng(0)
    first, second = ([*minibatches(n, 5, rng)] for _ in range(2))
    for batches in first, second:
        assert [len(i) for i in batches] == sizes
        assert sorted(np.concatenate(batches)) == [*range(n)]
    if n > 3:
        assert np.concatenate(first).tolist() != np.concatenate(second).tolist()  # drawn anew for each pass
