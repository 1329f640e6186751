"""What reaches the gradients of the chapters' training loops, row by row, against what the scripts say."""

import numpy as np
import pytest
from envs import ScriptedVector, observation, reward

from scratchpg import SoftmaxPolicy, Value
from scratchpg.algorithms import a2c, actor_critic, ppo
from scratchpg.returns import normalized

SCRIPTS = [[(3, "truncated"), (2, "terminated")], [(4, "both"), (1, "truncated")], [(30, "terminated")]]
GAMMA, LAMBDA, T = 0.9, 0.8, 9
SEGMENTS = {"n_steps": T, "gae_lambda": LAMBDA}
WHOLE_BATCH = {"n_epochs": 1, "batch_size": 1000, "normalize_advantage": False}


def recorded(monkeypatch, chapter, **settings):
    """Every row that one update hands to the gradients: state, Ψ, target; and the keywords of `gradient`.

    The gradients are 0, so V is the same throughout. TD makes as many updates as A2C and PPO have rows.
    """
    rows, targets, keywords = [], [], []

    def gradient(policy, states, actions, *weights, **kwargs):
        rows.append(np.column_stack([states, weights[-1]]))
        keywords.append(kwargs)
        return np.zeros_like(policy.theta)

    def mse_gradient(self, states, of_rows):
        targets.append(np.column_stack([states, of_rows]))
        return np.zeros_like(self.theta)

    monkeypatch.setattr(chapter, "gradient", gradient)
    monkeypatch.setattr(Value, "mse_gradient", mse_gradient)
    policy, value = SoftmaxPolicy((3, 2), rng=0, dtype=float), Value((3, 4), rng=1, dtype=float)
    loop = chapter.train(ScriptedVector(SCRIPTS), policy, value, gamma=GAMMA, seed=0, **settings)
    for _ in range(T if chapter is actor_critic else 1):
        next(loop)
    return value, np.concatenate(rows), np.concatenate(targets), keywords


def expected(value, state, collected, lam):
    """A = Σ_k (γλ)^k δ_{t+k}, over the steps of this episode that were collected; δ by the script."""
    env, episode, step = map(int, state)
    script = SCRIPTS[env]
    length, end = script[episode % len(script)]
    total, weight = 0.0, 1.0
    for t in range(step, length):
        if (env, episode, t) not in collected:
            break
        v, next_v = value(np.array([observation(env, episode, t), observation(env, episode, t + 1)]))
        terminal = t + 1 == length and end != "truncated"
        total += weight * (reward(env, episode, t) + (0 if terminal else GAMMA * next_v) - v)
        weight *= GAMMA * lam
    return total


@pytest.mark.parametrize(
    ("chapter", "settings", "lam"),
    [(actor_critic, {}, 0.0), (a2c, SEGMENTS, LAMBDA), (ppo, SEGMENTS | WHOLE_BATCH, LAMBDA)],
    ids=["td", "a2c", "ppo"],
)
def test_only_experience_reaches_a_gradient_with_the_true_successors(monkeypatch, chapter, settings, lam):
    """No reset row, no value of a reset observation; a time limit is bootstrapped, an end is not."""
    value, rows, targets, _ = recorded(monkeypatch, chapter, **settings)
    collected = {tuple(map(int, row[:3])) for row in rows}
    assert len(collected) == len(rows)  # each transition once, and none is a reset: that would be one step too far
    for env, episode, step in collected:
        assert step < SCRIPTS[env][episode % len(SCRIPTS[env])][0]
    ends = sum((env, episode, step + 1) not in collected for env, episode, step in collected)
    assert ends >= 6  # several episodes ended on the way
    advantages = [expected(value, row[:3], collected, lam) for row in rows]
    np.testing.assert_allclose(rows[:, 3], advantages, rtol=1e-12)
    by_state = {tuple(row[:3]): row[3] for row in targets}
    for row, advantage in zip(rows, advantages, strict=True):
        np.testing.assert_allclose(by_state[tuple(row[:3])], advantage + value(row[None, :3])[0], rtol=1e-12)


def test_normalisation_is_per_update_in_a2c_and_per_minibatch_in_ppo(monkeypatch):
    _, raw, targets, _ = recorded(monkeypatch, a2c, **SEGMENTS)
    _, rows, same_targets, _ = recorded(monkeypatch, a2c, normalize_advantage=True, **SEGMENTS)
    np.testing.assert_allclose(rows[:, 3], normalized(raw[:, 3]))
    np.testing.assert_array_equal(targets, same_targets)
    settings = SEGMENTS | WHOLE_BATCH | {"batch_size": 8}
    _, raw, _, _ = recorded(monkeypatch, ppo, **settings)
    _, rows, _, _ = recorded(monkeypatch, ppo, **settings | {"normalize_advantage": True})
    for start in range(0, len(raw), 8):
        batch = slice(start, start + 8)
        np.testing.assert_allclose(rows[batch, 3], normalized(raw[batch, 3]))


def test_coefficients_and_schedules_reach_the_gradient(monkeypatch):
    *_, keywords = recorded(monkeypatch, a2c, ent_coef=0.25)
    assert keywords == [{"ent_coef": 0.25}]
    *_, keywords = recorded(monkeypatch, ppo, ent_coef=0.25, clip_range=0.3, **WHOLE_BATCH)
    assert keywords == [{"ent_coef": 0.25, "clip_range": 0.3}]

    policy, value = SoftmaxPolicy((3, 2), rng=0), Value((3, 4), rng=1)
    keywords.clear()
    settings = {"n_steps": 10, "total_steps": 80, "clip_range": (0.4, 0.0), **WHOLE_BATCH}
    done = [0, *(p.steps / 80 for p in ppo.train(ScriptedVector(SCRIPTS), policy, value, **settings))]
    np.testing.assert_allclose([k["clip_range"] for k in keywords], [0.4 * (1 - share) for share in done[:-1]])
