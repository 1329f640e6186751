"""GRPO: groups and their advantages, the weights and the reference in the gradient, and what train makes of them."""

import copy

import gymnasium as gym
import numpy as np
import pytest
from envs import Scripted, vector
from helpers import LD, SEEDS, check, random_network, same_bits
from hypothesis import given
from hypothesis import strategies as st

from scratchpg import GaussianPolicy, SoftmaxPolicy
from scratchpg.algorithms import grpo, ppo
from scratchpg.returns import group_advantages


def make(n=8, env_id="CartPole-v1", dtype=np.float32):
    env = gym.make_vec(env_id, n, vectorization_mode="sync")
    return env, SoftmaxPolicy.for_env(env, (8,), rng=0, dtype=dtype)


# Advantages of groups


@pytest.mark.parametrize("options", [{}, {"leave_one_out": False}, {"divide_by_std": True}])
def test_equal_returns_give_exactly_0(options):
    """Not 0/0, and not what rounding leaves of a deviation, divided by itself."""
    for R in 0.1, 0.35, 1 / 3, 1e9 + 0.1, 0.0:
        for G in 2, 3, 7, 8:
            assert not group_advantages(np.full(2 * G, R), G, **options).any()


def test_a_residue_of_rounding_is_no_deviation():
    """0.35 seven times and 0.95: one deviation of known size."""
    A = group_advantages(np.array([0.35] * 7 + [0.95]), 8, leave_one_out=False, divide_by_std=True)
    np.testing.assert_allclose(A, [-1 / np.sqrt(7)] * 7 + [np.sqrt(7)], rtol=1e-12)


def test_groups_know_nothing_of_each_other():
    """Statistics are of the group, not of the batch: what a group gets does not depend on the others."""
    for options in {}, {"leave_one_out": False}, {"divide_by_std": True}:
        A = group_advantages(np.array([1.0, 3.0, 100.0, 200.0]), 2, **options)
        np.testing.assert_array_equal(A[:2], group_advantages(np.array([1.0, 3.0]), 2, **options))
    np.testing.assert_array_equal(group_advantages(np.array([1, 3, 100, 200]), 2), [-2, 2, -100, 100])


@pytest.mark.parametrize("options", [{}, {"leave_one_out": False}, {"divide_by_std": True}])
def test_each_row_of_returns_to_go_is_compared_on_its_own(options):
    R = np.random.default_rng(0).standard_normal((5, 6))
    alone = [group_advantages(row, 3, **options) for row in R]
    np.testing.assert_array_equal(group_advantages(R, 3, **options), alone)


@pytest.mark.parametrize("returns, group_size", [(np.ones(6), 1), (np.ones(6), 4), (np.ones(()), 2), (np.ones(6), 2.0)])
def test_groups_that_are_none_are_refused(returns, group_size):
    with pytest.raises((TypeError, ValueError), match="group_size"):
        group_advantages(returns, group_size)


# Gradient


@given(st.integers(1, 5), SEEDS, st.sampled_from([SoftmaxPolicy, GaussianPolicy]), st.sampled_from([0.0, 0.5]))
def test_gradient_meets_finite_differences(B, seed, kind, kl_coef):
    """At ratios away from the kinks, for both kinds of policies."""
    rng, sizes = np.random.default_rng(seed), (2, 3, 2)
    policy = (
        random_network(SoftmaxPolicy, sizes, rng) if kind is SoftmaxPolicy else GaussianPolicy(sizes, rng, dtype=LD)
    )
    reference, states = kind(sizes, rng, dtype=LD), rng.standard_normal((B, 2)).astype(LD)
    actions = policy(states).sample(rng)
    ratio = rng.choice([0.5, 0.9, 1.1, 1.5], B)
    rows = states, actions, policy(states).log_prob(actions) - np.log(ratio), rng.standard_normal(B), rng.random(B)
    settings = {"reference": reference, "kl_coef": kl_coef}
    g = grpo.gradient(policy, *rows, **settings)
    check(lambda theta: 1 + grpo.loss(kind(sizes, theta=theta), *rows, **settings), g, policy.theta)


def test_rows_without_advantage_are_still_pulled_to_the_reference():
    policy, reference = (
        SoftmaxPolicy((1, 2), theta=np.array([0.0, 1.0, 0, 0])),
        SoftmaxPolicy((1, 2), theta=np.zeros(4)),
    )
    rows = np.ones((1, 1)), np.array([0]), policy(np.ones((1, 1))).log_prob(np.array([0])), np.zeros(1), np.ones(1)
    assert not grpo.gradient(policy, *rows, reference=reference).any()
    g = grpo.gradient(policy, *rows, reference=reference, kl_coef=1.0)
    assert g[1] > 0  # downhill, the second logit falls


def test_the_clip_is_at_a_fifth_and_no_reference_pulls_unless_asked():
    """Ratios just within and just outside; a reference that is far away."""
    policy, reference = (SoftmaxPolicy((1, 2), theta=np.array([0.0, 0, z, 0])) for z in (0.0, 9.0))
    states, actions = np.ones((4, 1)), np.zeros(4, int)
    old = policy(states).log_prob(actions) - np.log([1.19, 1.21, 0.81, 0.79])
    rows = states, actions, old, np.array([1.0, 1, -1, -1]), np.ones(4)
    g = grpo.gradient(policy, *rows, reference=reference)
    expected = (1.19 * -0.5 + 0.81 * 0.5) / 4  # -mean Ψ (1 - π) of the two that are not clipped
    np.testing.assert_allclose(g[:2], [expected, -expected])
    np.testing.assert_allclose(grpo.loss(policy, *rows, reference=reference), -(1.19 + 1.2 - 0.81 - 0.8) / 4)


def test_rows_of_other_shapes_are_refused():
    policy, x = SoftmaxPolicy((1, 2), rng=0), np.ones(3)
    for i in range(3):
        rows = [x, x, x]
        rows[i] = np.ones((3, 1))
        with pytest.raises(ValueError, match=["old_log_prob", "advantages", "weights"][i]):
            grpo.gradient(policy, np.ones((3, 1)), np.zeros(3, int), *rows)


# Training


def spy_on_batches(monkeypatch):
    """The batches that train collects, and the rows of the gradients it takes."""
    batches, rows = [], []
    collect, gradient = grpo.Collector.collect_episodes, grpo.gradient
    monkeypatch.setattr(
        grpo.Collector,
        "collect_episodes",
        lambda self, n, seeds: batches.append(collect(self, n, seeds)) or batches[-1],
    )
    monkeypatch.setattr(grpo, "gradient", lambda p, *r, **kwargs: rows.append(r) or gradient(p, *r, **kwargs))
    return batches, rows


def test_each_environment_plays_one_episode_from_the_start_of_its_group(monkeypatch):
    env, policy = make(6)
    batches, _ = spy_on_batches(monkeypatch)
    for progress in grpo.train(env, policy, total_steps=600, group_size=3, seed=0):
        assert progress.episodes == 6 * len(batches)
    for batch in batches:
        first = batch.states[0].reshape(2, 3, -1)
        assert (first == first[:, :1]).all() and (first[0] != first[1]).any()
        assert (batch.ended.sum(axis=0) == 1).all() and (batch.t[batch.valid] >= 0).all()
    assert (batches[0].states[0] != batches[1].states[0]).any()  # other starts in each batch


def test_advantages_reach_all_steps_of_their_episode(monkeypatch):
    env, policy = make(4)
    batches, rows = spy_on_batches(monkeypatch)
    next(grpo.train(env, policy, group_size=2, n_epochs=1, batch_size=10_000, gamma=0.9, seed=0))
    batch, (states, _, _, advantages, weights) = batches[0], rows[0]
    lengths = batch.valid.sum(axis=0)
    R = (1 - 0.9**lengths) / 0.1  # CartPole pays 1 a step
    A = np.broadcast_to(R - R[[1, 0, 3, 2]], batch.valid.shape)[batch.valid]
    expected, found = np.column_stack([batch.states[:-1][batch.valid], A]), np.column_stack([states, advantages])
    np.testing.assert_allclose(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)], rtol=0, atol=1e-12)
    assert (weights == 1).all() and len(weights) == lengths.sum()


def test_1_over_length_gives_every_episode_the_same_weight(monkeypatch):
    env, policy = make(4)
    batches, rows = spy_on_batches(monkeypatch)
    next(grpo.train(env, policy, group_size=2, n_epochs=1, batch_size=10_000, divide_by_length=True, seed=0))
    lengths, weights = batches[0].valid.sum(axis=0), rows[0][4]
    np.testing.assert_allclose(sorted(set(weights.round(12))), sorted(set((lengths.mean() / lengths).round(12))))
    assert weights.mean() == pytest.approx(1) and len(set(lengths)) > 1


def test_per_step_compares_what_was_still_to_come(monkeypatch):
    """Where one of two has ended, the other's return to go is all advantage."""
    env, policy = make(2)
    batches, rows = spy_on_batches(monkeypatch)
    next(grpo.train(env, policy, group_size=2, n_epochs=1, batch_size=10_000, gamma=1.0, per_step=True, seed=1))
    short, long = sorted(batches[0].valid.sum(axis=0))
    expected = [*[long - short] * short, *[short - long] * short, *range(long - short, 0, -1)]
    assert sorted(rows[0][3]) == sorted(expected) and short < long


def test_the_ratio_is_to_the_policy_that_collected(monkeypatch):
    """In the first minibatch every ratio is 1, in a later epoch none: the old log-probabilities stay."""
    env, policy = make()
    ratios, original = [], ppo.gradient

    def spy(policy, states, actions, old_log_prob, advantages, **kwargs):
        ratios.append(np.exp(policy(states).log_prob(actions) - old_log_prob))
        return original(policy, states, actions, old_log_prob, advantages, **kwargs)

    monkeypatch.setattr(ppo, "gradient", spy)
    progress = next(grpo.train(env, policy, group_size=4, n_epochs=3, batch_size=10_000, learning_rate=0.05, seed=0))
    assert (ratios[0] == 1).all() and (ratios[2] != 1).any() and len(ratios) == 3
    assert progress.kl > 0 and progress.clip_fraction > 0


def test_equal_groups_are_counted_and_teach_nothing():
    """A script pays the same whatever one does."""
    env = vector(lambda i: Scripted([(3, "terminated")], 0), 4)
    policy = SoftmaxPolicy.for_env(env, (4,), rng=0)
    theta = policy.theta.copy()
    progress = next(grpo.train(env, policy, group_size=2, seed=0))
    assert progress.equal_groups == 1 and same_bits(policy.theta, theta)


def test_the_reference_holds_the_policy_back():
    drifts = []
    for kl_coef in 0.0, 100.0:
        env, policy = make()
        reference = copy.deepcopy(policy)
        before = reference.theta.copy()
        settings = dict(group_size=4, learning_rate=1e-2, reference=reference, kl_coef=kl_coef, seed=0)
        for _ in grpo.train(env, policy, total_steps=10_000, **settings):
            pass
        states = np.random.default_rng(0).uniform(-0.1, 0.1, (50, 4))
        drifts.append(policy(states).kl(reference(states)).mean())
        assert same_bits(reference.theta, before)
    assert drifts[1] < drifts[0] / 5


def test_a_reference_is_another_policy():
    env, policy = make()
    for reference in None, policy, SoftmaxPolicy(policy.sizes, theta=policy.theta):
        with pytest.raises(ValueError, match="reference with a θ of its own"):
            grpo.train(env, policy, reference=reference, kl_coef=0.1, group_size=4)


def test_environments_without_seeds_of_their_own_are_refused_with_the_line_that_has_them():
    """CartPole's own vector takes one seed for all."""
    env = gym.make_vec("CartPole-v1", 8)
    with pytest.raises(ValueError, match=r'gymnasium.make_vec\(id, n, vectorization_mode="sync"\)'):
        grpo.train(env, SoftmaxPolicy.for_env(env, rng=0))


def test_environments_whose_groups_begin_differently_are_refused():
    """The seed is ignored: each one begins where its index says."""
    env = vector(lambda i: Scripted([(3, "terminated")], i), 4)
    with pytest.raises(ValueError, match="equal seeds began differently"):
        grpo.train(env, SoftmaxPolicy.for_env(env, rng=0), group_size=2)


@pytest.mark.parametrize("n, group_size", [(8, 3), (8, 1), (8, 16)])
def test_a_number_of_environments_that_makes_no_groups_is_refused(n, group_size):
    with pytest.raises(ValueError, match="group_size"):
        grpo.train(*make(n), group_size=group_size)


def test_the_same_seed_gives_the_same_bits():
    runs = []
    for _ in range(2):
        env, policy = make()
        lines = [str(p) for p in grpo.train(env, policy, total_steps=1_500, group_size=4, seed=3)]
        runs.append((lines, policy.theta))
    assert runs[0][0] == runs[1][0] and same_bits(runs[0][1], runs[1][1])


def test_it_trains_a_gaussian_policy():
    env = gym.make_vec("Pendulum-v1", 4, vectorization_mode="sync")
    policy = GaussianPolicy.for_env(env, (8,), rng=0)
    reference = copy.deepcopy(policy)
    progress = next(grpo.train(env, policy, group_size=4, reference=reference, kl_coef=0.1, seed=0))
    assert progress.kl > 0 and progress.equal_groups == 0


def test_learning_cartpole():
    env, policy = make(32)
    *_, last = grpo.train(env, policy, total_steps=30_000, gamma=1.0, clip_range=0.3, learning_rate=5e-3, seed=0)
    assert last.mean_return > 60  # a uniform policy has 22
