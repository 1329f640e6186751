"""Bad input: one table of calls, each with the exception it raises and what the message must say.

Every call must raise by itself: what is wrong with the arguments of `train` is said at the call, before any update.
"""

import re
import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from envs import DISABLED, NEXT_STEP, SAME_STEP, Scripted, ScriptedVector

from scratchpg import (
    MLP,
    Softmax,
    SoftmaxPolicy,
    Value,
    a2c,
    a3c,
    actor_critic,
    baseline,
    evaluate,
    load,
    ppo,
    reinforce,
    returns,
    spaces,
)
from scratchpg.gradcheck import check_gradient, finite_difference
from scratchpg.optim import SGD, Adam, RMSProp

SCRIPT = [(2, "terminated")]
STATES, ACTIONS, WEIGHTS = np.zeros((4, 3)), np.zeros(4, int), np.ones(4)
T, F = [True] * 3, [False] * 3
PI = Softmax(np.zeros((4, 2)))


def env(**spaces):
    """A scripted environment with other spaces."""
    one = Scripted(SCRIPT)
    vars(one).update(spaces)
    return one


def broken(what, value):
    """A scripted environment that returns this after, or for, its first step."""
    return Scripted(SCRIPT, replace={(what, 0, 1 if what == "observation" else 0): value})


def policy():
    return SoftmaxPolicy((3, 2), rng=0)


def value():
    return Value((3,), rng=0)


def train(chapter=reinforce, **kwargs):
    """The call only: no update is asked for."""
    networks = {"policy": policy()} | ({} if chapter is reinforce else {"value": value()})
    return chapter.train(**({"env": env()} | networks | kwargs))


def gradient(states=STATES, actions=ACTIONS, weights=WEIGHTS, episodes=1):
    return reinforce.gradient(policy(), states, actions, weights, episodes=episodes)


def load_bytes(content):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "some.npz")
        path.write_bytes(content)
        return load(path)


def but(array, value):
    """The array with this value in its last place."""
    array = np.array(array, float)
    array.flat[-1] = value
    return array


box, picture = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(0, 1, (2, 2))
sequence = gym.spaces.Sequence(gym.spaces.Discrete(2))

TABLE = {
    # environments
    "unknown environment": (lambda: spaces.make("NoSuchEnv-v0"), ValueError, "unknown environment 'NoSuchEnv-v0'"),
    "unknown version": (lambda: spaces.make("CartPole-v99"), ValueError, "unknown environment 'CartPole-v99'"),
    "unknown namespace": (lambda: spaces.make("nowhere/Env-v0"), ValueError, "unknown environment 'nowhere/Env-v0'"),
    "unknown vector": (lambda: spaces.make("NoSuchEnv-v0", 2), ValueError, "unknown environment 'NoSuchEnv-v0'"),
    "malformed id": (lambda: spaces.make("no such environment!"), ValueError, "no such environment!"),
    "empty id": (lambda: spaces.make(""), ValueError, "unknown environment ''"),
    "Box actions": (
        lambda: SoftmaxPolicy.for_env(env(action_space=box)),
        ValueError,
        "Discrete action space, not Box(",
    ),
    "Pendulum": (lambda: SoftmaxPolicy.for_env(gym.make("Pendulum-v1")), ValueError, "Discrete action space, not Box("),
    "Box actions, train": (lambda: train(env=env(action_space=box)), ValueError, "Discrete action space, not Box("),
    "MultiDiscrete actions": (
        lambda: train(env=env(action_space=gym.spaces.MultiDiscrete([2, 2]))),
        ValueError,
        "Discrete action space, not MultiDiscrete(",
    ),
    "observations of any length": (
        lambda: Value.for_env(env(observation_space=sequence)),
        ValueError,
        "fixed number of values, not",
    ),
    "no environment": (lambda: train(env="CartPole-v1"), TypeError, "must be a Gymnasium environment"),
    "no policy": (lambda: train(policy=None), TypeError, "policy"),
    "policy of other inputs": (
        lambda: train(policy=SoftmaxPolicy((4, 8, 2), rng=0)),
        ValueError,
        "the policy has 4 inputs and 2 outputs (sizes (4, 8, 2)), but the environment needs 3 and 2",
    ),
    "policy of other outputs": (
        lambda: train(policy=SoftmaxPolicy((3, 5), rng=0)),
        ValueError,
        "the policy has 3 inputs and 5 outputs (sizes (3, 5)), but the environment needs 3 and 2",
    ),
    "policy before flattening": (
        lambda: evaluate(SoftmaxPolicy((2, 2), rng=0), env(observation_space=picture)),
        ValueError,
        "the environment needs 4 and 2",
    ),
    "no autoreset": (
        lambda: train(env=ScriptedVector([SCRIPT], DISABLED)),
        ValueError,
        "must have autoreset mode NEXT_STEP or SAME_STEP, not AutoresetMode.DISABLED",
    ),
    "NaN observation": (
        lambda: next(train(env=broken("observation", np.nan))),
        ValueError,
        "observations must be finite",
    ),
    "infinite observation": (lambda: evaluate(policy(), broken("observation", np.inf)), ValueError, "is inf"),
    "NaN last observation, same step": (
        lambda: next(train(env=ScriptedVector([SCRIPT], SAME_STEP, replace={("observation", 0, 2): np.nan}))),
        ValueError,
        "observations must be finite",
    ),
    "NaN reward": (lambda: next(train(env=broken("reward", np.nan))), ValueError, "rewards must be finite"),
    "infinite reward": (lambda: evaluate(policy(), broken("reward", -np.inf)), ValueError, "rewards[0, 0] is -inf"),
    # hyperparameters, at the call
    "γ > 1": (lambda: train(gamma=1.1), ValueError, "gamma must be the discount γ, in [0, 1], not 1.1"),
    "γ < 0": (lambda: train(gamma=-0.1), ValueError, "gamma must be the discount γ, in [0, 1], not -0.1"),
    "γ NaN": (lambda: train(gamma=np.nan), ValueError, "gamma must be the discount γ, in [0, 1], not nan"),
    "γ is text": (
        lambda: train(gamma="0.9"),
        TypeError,
        "gamma (the discount γ, in [0, 1]) must be a number, not '0.9'",
    ),
    "γ is None": (lambda: train(gamma=None), TypeError, "must be a number, not None"),
    "γ is a boolean": (lambda: train(gamma=True), TypeError, "must be a number, not True"),
    "γ is an array": (lambda: train(gamma=np.ones(2)), TypeError, "must be a number, not array"),
    "learning rate 0": (lambda: train(learning_rate=0.0), ValueError, "learning_rate must be the step size"),
    "learning rate < 0": (lambda: train(learning_rate=-1e-3), ValueError, "finite and > 0, not -0.001"),
    "learning rate ∞": (lambda: train(learning_rate=np.inf), ValueError, "finite and > 0, not inf"),
    "learning rate NaN": (lambda: train(learning_rate=np.nan), ValueError, "finite and > 0, not nan"),
    "steps < 0": (lambda: train(total_steps=-1), ValueError, "total_steps must be environment steps"),
    "steps are no integer": (lambda: train(total_steps=1e5), TypeError, "must be an integer, not 100000.0"),
    "steps are a boolean": (lambda: train(total_steps=True), TypeError, "must be an integer, not True"),
    "no episodes": (
        lambda: train(n_episodes=0),
        ValueError,
        "n_episodes must be episodes per update, at least 1, not 0",
    ),
    "half an episode": (lambda: train(n_episodes=0.5), TypeError, "n_episodes (episodes per update, at least 1)"),
    "seed and rng": (lambda: train(seed=1, rng=2), ValueError, "give seed or rng, not both: seed=1, rng=2"),
    "seed < 0": (lambda: train(seed=-1), ValueError, "non-negative"),
    "rng is text": (lambda: train(rng="1"), TypeError, "SeedSequence"),
    "unknown argument": (lambda: train(learning_rat=0.1), TypeError, "learning_rat"),
    "evaluate no episodes": (lambda: evaluate(policy(), env(), episodes=0), ValueError, "episodes must be number of"),
    "evaluate True episodes": (
        lambda: evaluate(policy(), env(), episodes=True),
        TypeError,
        "must be an integer, not True",
    ),
    # what other chapters add to that
    "value of other inputs": (
        lambda: train(baseline, value=Value((4, 8), rng=0)),
        ValueError,
        "the value has 4 inputs and 1 outputs (sizes (4, 8, 1)), but the environment needs 3 and 1",
    ),
    "no value": (lambda: train(a2c, value=None), TypeError, "value"),
    "pretrain < 0": (lambda: train(baseline, pretrain=-1), ValueError, "pretrain must be episodes to fit the baseline"),
    "value learning rate 0": (lambda: train(a2c, value_learning_rate=0), ValueError, "value_learning_rate must be"),
    "unknown method": (lambda: train(actor_critic, method="sarsa"), ValueError, 'must be "td" or "mc", not \'sarsa\''),
    "λ < 0": (lambda: train(a2c, gae_lambda=-0.1), ValueError, "gae_lambda must be λ of GAE, in [0, 1], not -0.1"),
    "no steps per update": (lambda: train(a2c, n_steps=0), ValueError, "n_steps must be steps of each environment"),
    "entropy bonus < 0": (lambda: train(a2c, ent_coef=-1), ValueError, "ent_coef must be the weight β"),
    "longest gradient NaN": (lambda: train(a2c, max_grad_norm=np.nan), ValueError, "max_grad_norm must be"),
    "one schedule of three": (
        lambda: train(ppo, learning_rate=(3, 2, 1)),
        TypeError,
        "must be a number, not (3, 2, 1)",
    ),
    "schedule to < 0": (lambda: train(ppo, learning_rate=(1, -1)), ValueError, "learning_rate must be"),
    "schedule in a chapter without": (
        lambda: train(a2c, learning_rate=(1, 0)),
        TypeError,
        "must be a number, not (1, 0)",
    ),
    "a word for a truth value": (lambda: train(ppo, normalize_advantage="false"), TypeError, "must be True or False"),
    "negative entropy bonus": (lambda: a2c.loss(policy(), STATES, ACTIONS, WEIGHTS, ent_coef=-1.0), ValueError, "β"),
    "entropy bonus of NaN": (
        lambda: ppo.gradient(policy(), STATES, ACTIONS, WEIGHTS, WEIGHTS, ent_coef=np.nan),
        ValueError,
        "ent_coef must be",
    ),
    "clip at ε = 0": (lambda: train(ppo, clip_range=0), ValueError, "clip_range must be ε of the clip"),
    "no epochs": (lambda: train(ppo, n_epochs=0), ValueError, "n_epochs must be passes over each batch"),
    "empty minibatches": (lambda: train(ppo, batch_size=0), ValueError, "batch_size must be rows per minibatch"),
    "KL < 0": (lambda: train(ppo, target_kl=-1), ValueError, "target_kl must be the KL"),
    "no workers": (
        lambda: a3c.train("CartPole-v1", policy(), value(), workers=0),
        ValueError,
        "workers must be number of",
    ),
    "workers of nothing": (
        lambda: a3c.train("NoSuchEnv-v0", policy(), value()),
        ValueError,
        "unknown environment 'NoSuchEnv-v0'",
    ),
    "workers of an environment": (
        lambda: a3c.train(env(), policy(), value()),
        TypeError,
        "make_env must be an environment",
    ),
    "unknown start method": (
        lambda: a3c.train(env, policy(), value(), start_method="teleport"),
        ValueError,
        "teleport",
    ),
    # rows
    "no rows": (lambda: gradient(STATES[:0], ACTIONS[:0], WEIGHTS[:0]), ValueError, "at least one row, not (0, 3)"),
    "one state": (lambda: gradient(STATES[0]), ValueError, "states must have shape (B, observation)"),
    "other inputs": (lambda: gradient(np.zeros((4, 5))), ValueError, "the input must have shape (B, 3), not (4, 5)"),
    "(B, 1) weights": (
        lambda: gradient(weights=WEIGHTS[:, None]),
        ValueError,
        "weights must have shape (4,), one per row of states (4, 3), not (4, 1)",
    ),
    "(B, 1) actions": (
        lambda: gradient(actions=ACTIONS[:, None]),
        ValueError,
        "actions must have shape (4,), one per row of states (4, 3), not (4, 1)",
    ),
    "too few actions": (lambda: gradient(actions=ACTIONS[1:]), ValueError, "actions must have shape (4,)"),
    "one weight": (lambda: gradient(weights=1.0), ValueError, "weights must have shape (4,)"),
    "float actions": (
        lambda: gradient(actions=ACTIONS * 1.0),
        ValueError,
        "4 integers, one per row of the logits, not",
    ),
    "boolean actions": (
        lambda: gradient(actions=ACTIONS > 0),
        ValueError,
        "4 integers, one per row of the logits, not",
    ),
    "action too large": (lambda: gradient(actions=ACTIONS + 2), ValueError, "actions must lie in 0 … 1, not in 2 … 2"),
    "action < 0": (lambda: gradient(actions=ACTIONS - 1), ValueError, "actions must lie in 0 … 1, not in -1 … -1"),
    "NaN state": (lambda: gradient(but(STATES, np.nan)), ValueError, "states must be finite, but states[3, 2] is nan"),
    "NaN weight": (
        lambda: gradient(weights=but(WEIGHTS, np.nan)),
        ValueError,
        "weights must be finite, but weights[3]",
    ),
    "infinite weight": (lambda: gradient(weights=but(WEIGHTS, np.inf)), FloatingPointError, "weights[3] is inf"),
    "mean over no episodes": (lambda: gradient(episodes=0), ValueError, "episodes must be number of episodes"),
    "mean over 1.5 episodes": (lambda: gradient(episodes=1.5), TypeError, "must be an integer, not 1.5"),
    "loss over no episodes": (
        lambda: reinforce.loss(policy(), STATES, ACTIONS, WEIGHTS, episodes=0),
        ValueError,
        "episodes must be number of episodes",
    ),
    "loss of (B, 1) weights": (
        lambda: reinforce.loss(policy(), STATES, ACTIONS, WEIGHTS[:, None], episodes=1),
        ValueError,
        "not (4, 1)",
    ),
    # networks and distributions
    "one size": (
        lambda: MLP((3,)),
        ValueError,
        "sizes must be (inputs, *hidden, outputs), integers of at least 1, not",
    ),
    "size 0": (lambda: MLP((3, 0, 2)), ValueError, "integers of at least 1, not (3, 0, 2)"),
    "half a size": (lambda: SoftmaxPolicy((3, 2.5)), ValueError, "integers of at least 1, not (3, 2.5)"),
    "boolean size": (lambda: MLP((3, True)), ValueError, "integers of at least 1, not (3, True)"),
    "no sizes": (lambda: Value(()), ValueError, "integers of at least 1"),
    "theta too short": (
        lambda: SoftmaxPolicy((3, 2), theta=np.zeros(7)),
        ValueError,
        "theta must be a flat floating-point array of shape (8,) for sizes (3, 2), not an array float64 (7,)",
    ),
    "theta not flat": (lambda: MLP((3, 2), theta=np.zeros((4, 2))), ValueError, "not an array float64 (4, 2)"),
    "theta of integers": (lambda: MLP((3, 2), theta=np.zeros(8, int)), ValueError, "not an array int64 (8,)"),
    "theta is a list": (lambda: MLP((3, 2), theta=[0.0] * 8), ValueError, "shape (8,) for sizes (3, 2), not [0.0"),
    "dtype of integers": (lambda: MLP((3, 2), rng=0, dtype=int), (TypeError, ValueError), "dtype must be"),
    "flat input": (lambda: policy()(np.zeros(3)), ValueError, "the input must have shape (B, 3), not (3,)"),
    "d_logits of another width": (
        lambda: policy().backward(policy()(STATES), np.zeros((4, 3))),
        ValueError,
        "this cache is of another pass: d_y (4, 3)",
    ),
    "a distribution without a pass": (
        lambda: policy().backward(PI, PI.d_entropy()),
        ValueError,
        "cache",
    ),
    "flat logits": (lambda: Softmax(np.zeros(3)), ValueError, "logits must be floats of shape (B, A), not an array"),
    "logits of integers": (lambda: Softmax(np.zeros((1, 2), int)), ValueError, "logits must be floats of shape (B, A)"),
    "one action for all": (lambda: PI.log_prob(0), ValueError, "actions must be 4 integers, one per row of the logits"),
    "score of floats": (lambda: PI.d_log_prob(np.zeros(4)), ValueError, "not an array float64 (4,)"),
    "score out of range": (lambda: PI.d_log_prob(ACTIONS - 1), ValueError, "actions must lie in 0 … 1, not in -1 … -1"),
    "KL to another shape": (lambda: PI.kl(Softmax(np.zeros((1, 2)))), ValueError, "(1, 2)"),
    "gradient of KL to another shape": (lambda: PI.d_kl(Softmax(np.zeros((1, 2)))), ValueError, "(1, 2)"),
    # values
    "(B, 1) targets": (lambda: value().mse(STATES, np.ones((4, 1))), ValueError, "targets must have shape (B,)"),
    "(B, 1) targets, gradient": (lambda: value().mse_gradient(STATES, np.ones((4, 1))), ValueError, "not (4, 1)"),
    "no targets": (
        lambda: value().mse_gradient(STATES[:0], np.ones(0)),
        ValueError,
        "targets must have shape (B,), B ≥ 1",
    ),
    "NaN target": (lambda: value().mse_gradient(STATES, but(WEIGHTS, np.nan)), ValueError, "targets must be finite"),
    "value of other states": (
        lambda: value()(np.zeros((4, 5))),
        ValueError,
        "the input must have shape (B, 3), not (4, 5)",
    ),
    # returns
    "γ of returns": (
        lambda: returns.discounted([1.0], 1.1),
        ValueError,
        "gamma must be the discount γ, in [0, 1], not 1.1",
    ),
    "γ of TD targets": (lambda: returns.td_targets([1.0], [1.0], [False], -1), ValueError, "gamma must be"),
    "γ of GAE": (lambda: returns.gae(WEIGHTS[:3], T, T, F, F, 2, 0), ValueError, "gamma must be"),
    "λ > 1": (
        lambda: returns.gae(WEIGHTS[:3], T, T, F, F, 1, 1.1),
        ValueError,
        "gae_lambda must be λ of GAE, in [0, 1]",
    ),
    "no steps": (lambda: returns.n_step(WEIGHTS[:3], T, T, F, F, 1, 0), ValueError, "n_steps must be"),
    "half a step": (lambda: returns.n_step(WEIGHTS[:3], T, T, F, F, 1, 0.5), TypeError, "must be an integer, not 0.5"),
    "values of another length": (
        lambda: returns.gae(np.ones(3), np.ones(4), np.ones(3), F, F, 1, 1),
        ValueError,
        "(4,)",
    ),
    "next values of another length": (
        lambda: returns.td_targets(np.ones(3), np.ones(4), F, 1),
        ValueError,
        "next_values must be (T,) or (T, N), all of one shape; got (4,) beside (3,)",
    ),
    "(T, 1) values beside (T,)": (
        lambda: returns.gae(np.ones(3), np.ones((3, 1)), np.ones(3), F, F, 1, 1),
        ValueError,
        "values must have the shape (3,) of rewards, not (3, 1)",
    ),
    "flags of another length": (
        lambda: returns.gae(np.ones(3), np.ones(3), np.ones(3), F, F[:2], 1, 1),
        ValueError,
        "truncated must have the shape (3,) of rewards, not (2,)",
    ),
    "ends of another length": (
        lambda: returns.discounted(np.ones(3), 1, F[:2]),
        ValueError,
        "ended must have the shape (3,) of rewards, not (2,)",
    ),
    "a single reward": (lambda: returns.discounted(1.0, 1), ValueError, "rewards must be (T,) or (T, N)"),
    # optimisers
    "SGD, η = 0": (lambda: SGD(np.zeros(2), 0), ValueError, "learning_rate must be"),
    "RMSProp, η < 0": (lambda: RMSProp(np.zeros(2), -1), ValueError, "learning_rate must be"),
    "Adam, η is text": (lambda: Adam(np.zeros(2), "1"), TypeError, "must be a number, not '1'"),
    "clip at 0": (lambda: Adam(np.zeros(2), max_grad_norm=0), ValueError, "max_grad_norm must be the longest gradient"),
    "gradient too long": (
        lambda: SGD(np.zeros(2), 1).step(np.zeros(3)),
        ValueError,
        "the gradient must have the shape (2,) of theta, not an array float64 (3,)",
    ),
    "gradient of NaN": (
        lambda: SGD(np.zeros(2), 1).step(np.array([0, np.nan])),
        FloatingPointError,
        "norm of the gradient",
    ),
    # gradcheck
    "differences in float32": (lambda: finite_difference(sum, np.zeros(2, np.float32)), TypeError, "use float64"),
    "differences of integers": (lambda: finite_difference(sum, np.zeros(2, int)), TypeError, "flat array of floats"),
    "differences of a matrix": (lambda: finite_difference(sum, np.zeros((2, 2))), TypeError, "flat array of floats"),
    "gradient of another shape": (
        lambda: check_gradient(sum, np.zeros(3), np.zeros(2)),
        ValueError,
        "the gradient must have the shape (2,) of theta, not (3,)",
    ),
    # checkpoints: more of them in test_checkpoint.py
    "no checkpoint": (lambda: load("/nowhere/at/all.npz"), FileNotFoundError, "/nowhere/at/all.npz"),
    "corrupt checkpoint": (
        lambda: load_bytes(b"PK\x03\x04 and so on"),
        ValueError,
        "not a readable scratchpg checkpoint",
    ),
    "foreign checkpoint": (
        lambda: load_bytes(b"torch"),
        ValueError,
        "some.npz' is not a readable scratchpg checkpoint",
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_bad_input(name):
    call, exception, message = TABLE[name]
    with pytest.raises(exception, match=re.escape(message)):
        call()


def test_good_input():
    """The defaults of the calls above are not what is wrong with them."""
    next(train())
    gradient()
    evaluate(policy(), env())
    next(train(env=ScriptedVector([SCRIPT], NEXT_STEP)))
    next(train(env=ScriptedVector([SCRIPT], SAME_STEP)))
    policy().backward(policy()(STATES), np.zeros((4, 2)))
    value().mse_gradient(STATES, WEIGHTS)
    returns.gae(WEIGHTS[:3], T, T, F, F, 1, 1)
