"""The ring: what is kept, its memory, actions of any kind. Its walks and draws are in derivation/test_11_dqn.py."""

import numpy as np
import pytest
from helpers import same_bits

from scratchpg.replay import PrioritizedReplay, Replay
from scratchpg.rollout import Batch

KINDS = pytest.mark.parametrize("kind", [Replay, PrioritizedReplay])


def random_batch(T, N, rng, first_t=0, d=None):
    """T rows of N environments without an end, in which every number is another."""
    actions = rng.standard_normal((T, N, d)) if d else rng.integers(5, size=(T, N))
    flags = np.zeros((2, T, N), bool)
    rewards, valid = rng.standard_normal((T, N)), np.ones((T, N), bool)
    return Batch(rng.standard_normal((T + 1, N, 2)), actions, rewards, *flags, valid, first_t)


def everything(replay):
    """A sample of all that is stored, place by place."""
    return replay.at(np.arange(len(replay)), np.ones(len(replay)))


@KINDS
@pytest.mark.parametrize("d", [None, 3])
def test_rows_come_back_as_they_were_and_the_oldest_go_first(kind, d):
    rng, replay, kept = np.random.default_rng(0), kind(10), []
    for k in range(6):
        batch = random_batch(2, 2, rng, first_t=np.full(2, 2 * k), d=d)
        replay.add(batch)
        rows = batch.states[:-1], batch.actions, batch.rewards, batch.states[1:]
        kept += zip(*(x.reshape(4, *x.shape[2:]) for x in rows), strict=True)
        assert len(replay) == min(10, 4 * (k + 1))
    sample = everything(replay)
    assert sample.actions.shape == ((10, 3) if d else (10,)) and sample.actions.dtype == batch.actions.dtype
    order = np.argsort(sample.rewards)
    for i, row in zip(order, sorted(kept[-10:], key=lambda row: row[2]), strict=True):
        for x, y in zip(sample[:4], row, strict=True):
            assert same_bits(np.asarray(x[i]), np.asarray(y))


@KINDS
def test_a_batch_larger_than_the_ring_leaves_its_newest_rows(kind):
    rng = np.random.default_rng(1)
    replay, batch = kind(3, n_steps=4, gamma=1.0), random_batch(8, 1, rng)
    replay.add(batch)
    sample = everything(replay)
    newest = batch.rewards[-3:, 0]
    np.testing.assert_allclose(np.sort(sample.rewards), np.sort(newest[::-1].cumsum()))  # walks go up to now


def test_a_walk_that_now_cuts_grows_when_more_is_known():
    rng = np.random.default_rng(2)
    replay, first = Replay(10, n_steps=3, gamma=0.5), random_batch(2, 1, rng)
    replay.add(first)
    assert everything(replay).discounts.tolist() == [0.25, 0.5]
    second = random_batch(2, 1, rng, first_t=np.array([2]))
    replay.add(second)
    sample = everything(replay)
    assert sample.discounts.tolist() == [0.125, 0.125, 0.25, 0.5]
    r = np.concatenate([first.rewards, second.rewards])[:, 0]
    np.testing.assert_allclose(sample.rewards[0], r[0] + r[1] / 2 + r[2] / 4)
    assert same_bits(sample.next_states[0], second.states[1, 0])


def test_no_walk_goes_from_an_episode_that_was_left_into_a_new_one():
    """After `collect_episodes`, say, all environments begin anew, and row 0 is step 0."""
    rng, replay = np.random.default_rng(3), Replay(10, n_steps=3, gamma=0.5)
    replay.add(random_batch(2, 1, rng))
    replay.add(random_batch(2, 1, rng, first_t=np.array([0])))
    assert everything(replay).discounts.tolist() == [0.25, 0.5, 0.25, 0.5]


def test_memory_is_asked_for_once_and_as_much_as_the_rows_need():
    rng, replay = np.random.default_rng(4), Replay(100)
    replay.add(random_batch(1, 2, rng))
    arrays = [*replay.columns, replay.following]
    assert sum(x.nbytes for x in arrays) == 100 * (2 * 2 * 8 + 8 + 8 + 1 + 8)
    for _ in range(70):
        replay.add(random_batch(1, 2, rng))
    assert all(x is y for x, y in zip(arrays, [*replay.columns, replay.following], strict=True))


def test_walks_go_on_from_batch_to_batch_of_one_row():
    """The first row of all is at place 0, and the second batch begins with step 1 of its episode."""
    replay, rng = Replay(10, gamma=0.5, n_steps=3), np.random.default_rng(0)
    batches = [random_batch(1, 1, rng, first_t=t) for t in range(3)]
    for batch in batches:
        replay.add(batch)
    r = [batch.rewards[0, 0] for batch in batches]
    np.testing.assert_allclose(everything(replay).rewards, [r[0] + r[1] / 2 + r[2] / 4, r[1] + r[2] / 2, r[2]])


def test_the_sum_tree_of_a_large_ring_finds_every_place():
    """65 groups of 64: two more levels."""
    replay, rng = PrioritizedReplay(65 * 64), np.random.default_rng(0)
    replay.add(random_batch(65 * 64, 1, rng))
    replay.update(np.arange(65 * 64), rng.random(65 * 64))
    ends = replay.levels[0].ravel().cumsum()
    np.testing.assert_array_equal(replay.find(ends - replay.levels[0].ravel() / 2), np.arange(65 * 64))


def test_the_priorities_are_square_roots_of_the_errors_unless_said_otherwise():
    replay = PrioritizedReplay(8)
    replay.add(random_batch(8, 1, np.random.default_rng(0)))
    replay.update(np.arange(8), np.array([16.0] + [1.0] * 7))
    drawn = replay.sample(40_000, np.random.default_rng(0)).places
    np.testing.assert_allclose((drawn == 0).mean(), 4 / 11, atol=0.01)


@KINDS
def test_draws_come_from_the_generator_alone(kind):
    replay = kind(50)
    replay.add(random_batch(20, 2, np.random.default_rng(5)))
    a, b, c = (replay.sample(16, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert same_bits(a.places, b.places) and not same_bits(a.places, c.places)
    assert a.weights.tolist() == [1.0] * 16  # all have one priority


def test_a_uniform_draw_reaches_all_places_and_no_other():
    replay = Replay(50)
    replay.add(random_batch(7, 1, np.random.default_rng(6)))
    counts = np.bincount(replay.sample(7000, np.random.default_rng(7)).places, minlength=7)
    assert len(counts) == 7 and (abs(counts - 1000) < 150).all()  # five deviations


def test_a_ring_that_cannot_hold_one_row_of_each_environment_is_refused():
    with pytest.raises(ValueError, match="buffer_size must be at least the number of environments, 3"):
        Replay(2).add(random_batch(1, 3, np.random.default_rng(9)))


@KINDS
@pytest.mark.parametrize(
    "wrong", [{"buffer_size": 0}, {"buffer_size": 1.5}, {"gamma": 1.1}, {"n_steps": 0}], ids=lambda x: next(iter(x))
)
def test_settings_out_of_range_are_refused(kind, wrong):
    with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
        kind(**{"buffer_size": 10} | wrong)
