"""Bad input: every public function with good arguments, every argument with what it must refuse, one table of each.

What is wrong is said at the call, before any update, by a message that names the argument, what came and what was
expected; within a run as in a loop of the reader's own. What belongs to one function alone stands in a last table, call
by call.
"""

import inspect
import re
import tempfile
from pathlib import Path
from types import NoneType
from typing import get_args

import gymnasium as gym
import numpy as np
import pytest
from envs import DISABLED, SAME_STEP, Scripted, ScriptedVector

from scratchpg import (
    MLP,
    Dynamics,
    FiniteMDP,
    GaussianPolicy,
    QNetwork,
    Softmax,
    SoftmaxPolicy,
    SquashedGaussianPolicy,
    TwinQ,
    Value,
    a2c,
    a3c,
    actor_critic,
    baseline,
    dqn,
    evaluate,
    grpo,
    imitation,
    load,
    ppo,
    rainbow,
    reinforce,
    returns,
    rlfd,
    sac,
    save,
)
from scratchpg.epsilon_greedy import EpsilonGreedy
from scratchpg.gradcheck import check_gradient, finite_difference
from scratchpg.optim import SGD, Adam, RMSProp, conjugate_gradient, line_search
from scratchpg.plumbing import Progress, run
from scratchpg.plumbing.spaces import build
from scratchpg.policy import drift
from scratchpg.q import follow
from scratchpg.replay import PrioritizedReplay, Replay, Sample
from scratchpg.rollout import Collector, minibatches

SCRIPT = [(2, "terminated")]
STATES, ACTIONS, WEIGHTS = np.zeros((4, 3)), np.zeros(4, int), np.ones(4)
ONES, F = np.ones(3), [False] * 3
PI = Softmax(np.zeros((4, 2)))


def env(**spaces):
    """A scripted environment with other spaces."""
    one = Scripted(SCRIPT)
    vars(one).update(spaces)
    return one


def broken(what, value):
    """A scripted environment that returns this after, or for, its first step."""
    return Scripted(SCRIPT, replace={(what, 0, 1 if what == "observation" else 0): value})


class Narrow(ScriptedVector):
    """Gives a single reward for all its environments."""

    def step(self, actions):
        states, rewards, *rest = super().step(actions)
        return states, rewards[:1], *rest


class Pictures(gym.Env):
    """Shows this picture, whatever its space says."""

    def __init__(self, shown):
        self.observation_space, self.action_space = gym.spaces.Box(0, 255, (2, 2), np.uint8), gym.spaces.Discrete(2)
        self.shown = shown

    def reset(self, *, seed=None, options=None):
        return self.shown, {}

    def step(self, action):
        return self.shown, 0.0, True, False, {}


def policy(*sizes):
    return SoftmaxPolicy(sizes or (3, 2), rng=0)


def value(*sizes):
    return Value(sizes or (3,), rng=0)


def mdp(start=(1,), transition=(((1,), (1,)),), reward=((0, 1),), horizon=2):
    return FiniteMDP(start, transition, reward, horizon=horizon)


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
sequence, pair = gym.spaces.Sequence(gym.spaces.Discrete(2)), gym.spaces.MultiDiscrete([2, 2])

# The functions, each with good arguments
NETWORKS = {"policy": policy(), "value": value()}
ROWS = {"policy": policy(), "states": STATES, "actions": ACTIONS}
RATIOS = ROWS | {"old_log_prob": WEIGHTS, "advantages": WEIGHTS}
STEPS = {"rewards": ONES, "next_values": ONES, "terminated": F, "gamma": 0.9}
GOOD = {
    reinforce.loss: ROWS | {"weights": WEIGHTS, "episodes": 1},
    reinforce.gradient: ROWS | {"weights": WEIGHTS, "episodes": 1},
    actor_critic.loss: ROWS | {"advantages": WEIGHTS},
    actor_critic.gradient: ROWS | {"advantages": WEIGHTS},
    a2c.loss: ROWS | {"advantages": WEIGHTS},
    a2c.gradient: ROWS | {"advantages": WEIGHTS},
    ppo.loss: RATIOS,
    ppo.gradient: RATIOS,
    reinforce.train: {"env": env(), "policy": policy()},
    baseline.train: {"env": env(), **NETWORKS},
    actor_critic.train: {"env": env(), **NETWORKS},
    a2c.train: {"env": env(), **NETWORKS},
    a3c.train: {"make_env": env, **NETWORKS},
    ppo.train: {"env": env(), **NETWORKS},
    evaluate: {"env": env(), "policy": policy()},
    returns.discounted: {"rewards": ONES, "gamma": 0.9, "ended": F},
    returns.td_targets: STEPS,
    returns.td_errors: STEPS | {"values": ONES},
    returns.n_step: STEPS | {"values": ONES, "truncated": F, "n": 2},
    returns.gae: STEPS | {"values": ONES, "truncated": F, "gae_lambda": 0.9},
    value().mse: {"states": STATES, "targets": WEIGHTS},
    value().mse_gradient: {"states": STATES, "targets": WEIGHTS},
    mdp().objective: {"policy": policy(1, 2), "gamma": 0.9},
    mdp().gradient: {"policy": policy(1, 2), "gamma": 0.9},
    MLP: {"sizes": (3, 2)},
    SoftmaxPolicy: {"sizes": (3, 2)},
    Value: {"sizes": (3, 2)},
    Collector(env(), policy()).collect: {"n_steps": 2},
    Collector(env(), policy()).collect_episodes: {"episodes": 2},
    SGD: {"theta": np.zeros(2), "learning_rate": 0.1},
    RMSProp: {"theta": np.zeros(2)},
    Adam: {"theta": np.zeros(2)},
}

# What an argument must refuse, in every function that has it: a number by the range it must be in, …
NATURAL = "an integer of at least 0", [-1, 1.5, 1e5, "1", True, np.ones(2)]
COUNT = "an integer of at least 1", [0, -1, 0.5, "1", True, np.ones(2)]
SHARE = "a number in [0, 1]", [-0.1, 1.1, np.nan, np.inf, "0.9", True, None, np.ones(2)]
DECAY = "a number in [0, 1)", [-0.1, 1, np.nan, "0.9", True, None]
POSITIVE = "a finite number > 0", [0, -1e-3, np.nan, np.inf, "0.1", True, None, np.ones(2)]
WEIGHT = "a finite number ≥ 0", [-1, np.nan, np.inf, "0", True, None]
FLAG = "True or False", ["false", 0, 1, None, np.ones(2)]
RANGES = {
    **dict.fromkeys(["seed", "total_steps"], NATURAL),
    **dict.fromkeys(
        ["n_episodes", "n_steps", "n", "batch_size", "n_epochs", "episodes", "max_steps", "workers"], COUNT
    ),
    **dict.fromkeys(["gamma", "gae_lambda"], SHARE),
    **dict.fromkeys(["learning_rate", "value_learning_rate", "eps", "target_kl"], POSITIVE),
    **dict.fromkeys(["clip_range", "ent_coef"], WEIGHT),
    **dict.fromkeys(["reward_to_go", "keep_gamma_t", "normalize_advantage", "greedy"], FLAG),
    "decay": DECAY,
    "max_grad_norm": ("a number > 0 (inf: no bound)", [0, -1, np.nan, "1", True, None]),
    "method": ('"td" or "mc"', ["sarsa", "TD", 1, None]),
    "start_method": ("one of ", ["teleport", 1]),
}

# … anything else with what the message says of it
RATE = "a finite number > 0, or a tuple (first, last) whose last may be 0"
SCHEDULES = [  # what a schedule must refuse, whatever its name
    *((x, f"{{name}} must be {RATE}, not {x!r}") for x in [*POSITIVE[1], (3, 2, 1), (1,), [1, 0]]),
    *(((x, 0), f"{{name}} must be {RATE}, not {x!r}") for x in [0, -1, np.nan, np.inf, "1", True, None]),
    *(((1, x), f"{{name}} must be a finite number ≥ 0, not {x!r}") for x in WEIGHT[1]),
]
SHAPE = "{name} must have shape (4,), one per row of states (4, 3), not "
PER_ROW = [
    (WEIGHTS[1:], f"{SHAPE}(3,)"),
    (WEIGHTS[:, None], f"{SHAPE}(4, 1)"),
    (WEIGHTS[None], f"{SHAPE}(1, 4)"),
    (1.0, f"{SHAPE}()"),
    (["1"] * 4, "{name} must be numbers, not an array <U1 (4,)"),
]
PER_STEP = [
    (np.ones(4), "(4,)"),
    (np.ones((3, 1)), "(3, 1)"),
    (1.0, "()"),
    (["1"] * 3, "{name} must be numbers, not an array <U1 (3,)"),
]
MODES, MADE_SO = [SAME_STEP, DISABLED], "gymnasium.make_vec(id, n) or SyncVectorEnv("
ENVIRONMENTS = [
    (env(action_space=box), "this policy needs a Discrete action space, not Box("),
    (env(action_space=pair), "this policy needs a Discrete action space, not MultiDiscrete("),
    (env(action_space=gym.spaces.Discrete(4)), "has 3 inputs and 2 outputs, but the environment needs 3 and 4"),
    (env(observation_space=sequence), "observations must be flattenable to a fixed number of values, not Sequence("),
    (env(observation_space=picture), "outputs, but the environment needs 4 and "),
    *((ScriptedVector([SCRIPT], mode), f"must have autoreset mode NEXT_STEP, as by {MADE_SO}") for mode in MODES),
    (None, "env must be a Gymnasium environment or vector environment, not None"),
    ("CartPole-v1", "env must be a Gymnasium environment or vector environment, not 'CartPole-v1'"),
]
SIZES = "or more widths, integers of at least 1, not "
TAKEN = "actions must be 4 integers, one per row of the logits, not "
REFUSED = {
    "env": ENVIRONMENTS,
    "make_env": [
        *((lambda made=made: made, message) for made, message in ENVIRONMENTS),
        (env(), "make_env must be an environment id or a function that makes one, not <"),
        (None, "make_env must be an environment id or a function that makes one, not None"),
        ("NoSuchEnv-v0", "unknown environment 'NoSuchEnv-v0'"),
    ],
    "policy": [
        (None, "the policy must be a policy such as SoftmaxPolicy, not None"),
        (MLP((3, 2), rng=0), "the policy must be a policy such as SoftmaxPolicy, not MLP((3, 2))"),
        (value(3), "the policy must be a policy such as SoftmaxPolicy, not Value((3,))"),
        (
            policy(4, 8, 2),
            "the policy SoftmaxPolicy((4, 8, 2)) has 4 inputs and 2 outputs, but the environment needs 3",
        ),
        (
            policy(3, 5),
            "the policy SoftmaxPolicy((3, 5)) has 3 inputs and 5 outputs, but the environment needs 3 and 2",
        ),
    ],
    "value": [
        (None, "the value must be a network such as Value, not None"),
        (MLP((3, 1), rng=0), "the value must be a network such as Value, not MLP((3, 1))"),
        (policy(), "the value must be a network such as Value, not SoftmaxPolicy((3, 2))"),
        (value(4, 8), "the value Value((4, 8)) has 4 inputs and 1 outputs, but the environment needs 3 and 1"),
    ],
    "states": [
        (STATES[:0], "states must have shape (B, observation) with at least one row, not (0, 3)"),
        (STATES[0], "states must have shape (B, observation) with at least one row, not (3,)"),
        (STATES.T, " must have shape (3,), one per row of states (3, 4), not (4,)"),
        (np.zeros((4, 5)), "the input (states) must have shape (B, 3), not (4, 5)"),
        (STATES.astype(str), "states must be numbers, not an array <U"),
    ],
    "actions": [
        (ACTIONS[1:], f"{TAKEN}an array int64 (3,)"),
        (ACTIONS[:, None], f"{TAKEN}an array int64 (4, 1)"),
        (0, f"{TAKEN}an array int64 ()"),
        (ACTIONS * 1.0, f"{TAKEN}an array float64 (4,)"),
        (ACTIONS > 0, f"{TAKEN}an array bool (4,)"),
        (ACTIONS + 2, "actions must lie in 0 … 1, not in 2 … 2"),
        (ACTIONS - 1, "actions must lie in 0 … 1, not in -1 … -1"),
    ],
    **dict.fromkeys(["weights", "advantages", "old_log_prob", "targets"], PER_ROW),
    **dict.fromkeys(["terminated", "truncated", "ended", "rewards", "values", "next_values"], PER_STEP),
    "sizes": [(x, SIZES) for x in ((), (3, 0), (3, -2), (3, 2.5), (3, True), "32", None)],
}


def refusals():
    """Every function with each of its arguments: the values to refuse, and the patterns of the messages."""
    for function, good in GOOD.items():
        title = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        for name, parameter in inspect.signature(function).parameters.items():
            accepted = get_args(parameter.annotation)
            expected, outside = RANGES.get(name, ("", []))
            wrong = [(x, f"^{name} must be {re.escape(expected)}.*, not {re.escape(repr(x))}$") for x in outside]
            if tuple[float, float] in accepted:  # a Schedule
                wrong = [(x, re.escape(message.format(name=name))) for x, message in SCHEDULES]
            if name in good and (name != "policy" or {"env", "make_env"} & good.keys()):
                wrong += [(x, re.escape(message.format(name=name))) for x, message in REFUSED.get(name, [])]
            if NoneType in accepted:  # here None means something
                wrong = [(x, pattern) for x, pattern in wrong if x is not None]
            if wrong:
                yield pytest.param(function, good, name, wrong, id=f"{title}-{name}")


def in_a_run(function):
    """The function, called in an update of a run."""

    def call(**arguments):
        results = []

        def updates():
            results.append(function(**arguments))
            yield Progress(steps=0)

        next(run(updates()))
        return results[0]

    return call


in_both_places = pytest.mark.parametrize("place", [lambda function: function, in_a_run], ids=["own loop", "run"])


@in_both_places
@pytest.mark.parametrize(("function", "good", "name", "wrong"), [*refusals()])
def test_refused(function, good, name, wrong, place):
    for x, pattern in wrong:
        with pytest.raises((TypeError, ValueError), match=pattern):
            place(function)(**good | {name: x})
            pytest.fail(f"{name}={x!r} was let in")


def train(**kwargs):
    """The call only: no update is asked for."""
    return reinforce.train(**GOOD[reinforce.train] | kwargs)


def step(**rows):
    """A step along REINFORCE's gradient: what is not finite is refused there, where it would do harm."""
    with np.errstate(invalid="ignore"):
        SGD(policy().theta).step(reinforce.gradient(**GOOD[reinforce.gradient] | rows))


SAVED = "save takes a policy, then a value or None, and an id or None, not "
SINGLE = "the input (states) must have shape (B, 3), not (3,); a single state is given as state[None]"
CALLS = {
    # environments
    "unknown environment": (lambda: build("NoSuchEnv-v0"), ValueError, "unknown environment 'NoSuchEnv-v0'"),
    "unknown version": (lambda: build("CartPole-v99"), ValueError, "unknown environment 'CartPole-v99'"),
    "unknown namespace": (lambda: build("nowhere/Env-v0"), ValueError, "unknown environment 'nowhere/Env-v0'"),
    "malformed id": (lambda: build("no such environment!"), ValueError, "no such environment!"),
    "empty id": (lambda: build(""), ValueError, "unknown environment ''"),
    "Box actions": (
        lambda: SoftmaxPolicy.for_env(env(action_space=box)),
        ValueError,
        "this policy needs a Discrete action space, not Box(",
    ),
    "Pendulum": (lambda: SoftmaxPolicy.for_env(gym.make("Pendulum-v1")), ValueError, "Discrete action space, not Box("),
    "observations of any length": (
        lambda: Value.for_env(env(observation_space=sequence)),
        ValueError,
        "fixed number of values, not",
    ),
    "policy before flattening": (
        lambda: evaluate(SoftmaxPolicy((2, 2), rng=0), env(observation_space=picture)),
        ValueError,
        "the environment needs 4 and 2",
    ),
    "NaN observation": (
        lambda: next(train(env=broken("observation", np.nan))),
        ValueError,
        "observations must be finite",
    ),
    "NaN in the very first observation": (
        lambda: evaluate(policy(), Scripted(SCRIPT, replace={("observation", 0, 0): np.nan})),
        ValueError,
        "observations must be finite",
    ),
    "infinite observation": (lambda: evaluate(policy(), broken("observation", np.inf)), ValueError, "is inf"),
    "NaN reward": (lambda: next(train(env=broken("reward", np.nan))), ValueError, "rewards must be finite"),
    "rewards for too few": (
        lambda: next(train(env=Narrow([SCRIPT] * 3))),
        ValueError,
        "rewards must be numbers, one for each of 3 environments, not array([",
    ),
    "NaN in a picture": (
        lambda: evaluate(policy(4, 2), Pictures(np.full((2, 2), np.nan))),
        ValueError,
        "observations must be integers in Box(0, 255, (2, 2), uint8), not [[nan",
    ),
    "a picture of another shape": (
        lambda: evaluate(policy(4, 2), Pictures(np.zeros((4, 1)))),
        ValueError,
        "must be numbers of shape (2, 2), as Box(0, 255, (2, 2), uint8) says, not an array float64 (4, 1)",
    ),
    "infinite reward": (lambda: evaluate(policy(), broken("reward", -np.inf)), ValueError, "rewards[0] is -inf"),
    # arguments of training
    "rng is text": (lambda: train(rng="1"), TypeError, "SeedSequence"),
    "seed and rng": (lambda: train(seed=1, rng=2), ValueError, "give seed or rng, not both: seed=1, rng=2"),
    "unknown argument": (lambda: train(learning_rat=0.1), TypeError, "unexpected keyword argument 'learning_rat'"),
    "a setting of another chapter": (lambda: train(clip_range=0.1), TypeError, "keyword argument 'clip_range'"),
    "a row too many": (
        lambda: reinforce.gradient(policy(), STATES, ACTIONS, WEIGHTS, WEIGHTS, episodes=1),
        TypeError,
        "gradient() takes 4 positional arguments but 5 positional arguments (and 1 keyword-only argument) were given",
    ),
    "no weights": (
        lambda: reinforce.gradient(policy(), STATES, ACTIONS, episodes=1),
        TypeError,
        "gradient() missing 1 required positional argument: 'weights'",
    ),
    "a row given twice": (
        lambda: reinforce.gradient(policy(), STATES, ACTIONS, WEIGHTS, weights=WEIGHTS, episodes=1),
        TypeError,
        "gradient() got multiple values for argument 'weights'",
    ),
    "workers of an environment that can't be sent": (
        lambda: next(a3c.train(lambda: env(), policy(), value(), start_method="spawn")),
        TypeError,
        "make_env must be an id or a function at the top of a module",
    ),
    # rows
    "NaN state": (lambda: step(states=but(STATES, np.nan)), FloatingPointError, "the norm of the gradient is nan"),
    "infinite state": (lambda: step(states=but(STATES, np.inf)), FloatingPointError, "logits must be finite"),
    "NaN weight": (lambda: step(weights=but(WEIGHTS, np.nan)), FloatingPointError, "norm of the gradient is nan"),
    "infinite weight": (lambda: step(weights=but(WEIGHTS, -np.inf)), FloatingPointError, "norm of the gradient is"),
    # networks and distributions
    "theta too short": (
        lambda: SoftmaxPolicy((3, 2), theta=np.zeros(7)),
        ValueError,
        "theta must be a flat floating-point array of shape (8,) for sizes (3, 2), not an array float64 (7,)",
    ),
    "theta not flat": (lambda: MLP((3, 2), theta=np.zeros((4, 2))), ValueError, "not an array float64 (4, 2)"),
    "theta of integers": (lambda: MLP((3, 2), theta=np.zeros(8, int)), ValueError, "not an array int64 (8,)"),
    "theta is a list": (lambda: MLP((3, 2), theta=[0.0] * 8), ValueError, "shape (8,) for sizes (3, 2), not [0.0"),
    "dtype of integers": (lambda: MLP((3, 2), rng=0, dtype=int), (TypeError, ValueError), "dtype must be"),
    "a single state": (lambda: policy()(np.zeros(3)), ValueError, SINGLE),
    "a single state for a value": (lambda: value()(np.zeros(3)), ValueError, SINGLE),
    "d_parameters of another width": (
        lambda: policy().backward(policy()(STATES), np.zeros((4, 3))),
        ValueError,
        "this cache is of another pass: d_y (4, 3)",
    ),
    "a distribution without a pass": (
        lambda: policy().backward(PI, PI.d_entropy()),
        ValueError,
        "cache",
    ),
    "one width": (lambda: MLP(3), ValueError, f"sizes must be 2 {SIZES}3"),
    "one width of a value": (lambda: Value(3), ValueError, f"sizes must be 1 {SIZES}3"),
    "no width of a value": (lambda: Value(()), ValueError, f"sizes must be 1 {SIZES}()"),
    "hidden layers by number": (
        lambda: SoftmaxPolicy.for_env(env(), hidden=64),
        ValueError,
        f"hidden must be 0 {SIZES}64",
    ),
    "hidden layers of a value": (
        lambda: Value.for_env(env(), hidden=(64, 0)),
        ValueError,
        f"hidden must be 0 {SIZES}(64, 0)",
    ),
    "explained variance of a column": (
        lambda: returns.explained_variance(WEIGHTS, WEIGHTS[:, None]),
        ValueError,
        "values must have shape (4,), not (4, 1)",
    ),
    "normalised column": (
        lambda: returns.normalized(WEIGHTS[:, None]),
        ValueError,
        "advantages must be (B,), at least one, not (4, 1)",
    ),
    "normalised NaN": (
        lambda: returns.normalized(but(WEIGHTS, np.nan)),
        FloatingPointError,
        "advantages must be finite, but advantages[3] is nan",
    ),
    "flat logits": (lambda: Softmax(np.zeros(3)), ValueError, "logits must be floats of shape (B, A), not an array"),
    "logits of integers": (lambda: Softmax(np.zeros((1, 2), int)), ValueError, "logits must be floats of shape (B, A)"),
    "one action for all": (lambda: PI.log_prob(0), ValueError, "actions must be 4 integers, one per row of the logits"),
    "score of floats": (lambda: PI.d_log_prob(np.zeros(4)), ValueError, "not an array float64 (4,)"),
    "score out of range": (lambda: PI.d_log_prob(ACTIONS - 1), ValueError, "actions must lie in 0 … 1, not in -1 … -1"),
    "KL to another shape": (lambda: PI.kl(Softmax(np.zeros((1, 2)))), ValueError, "(1, 2)"),
    "gradient of KL to another shape": (lambda: PI.d_kl(Softmax(np.zeros((1, 2)))), ValueError, "(1, 2)"),
    # values
    "value of other states": (
        lambda: value()(np.zeros((4, 5))),
        ValueError,
        "the input (states) must have shape (B, 3), not (4, 5)",
    ),
    # experience
    "weights the other way round": (
        lambda: Collector(ScriptedVector([SCRIPT] * 2), policy(), 0).collect(3).samples(np.ones((2, 3))),
        ValueError,
        "weights must have shape (3, 2), not (2, 3)",
    ),
    # optimisers
    "θ of integers": (
        lambda: SGD(np.zeros(2, int), 1),
        TypeError,
        "theta must be a flat array of floats, not an array",
    ),
    "θ not flat": (lambda: Adam(np.zeros((2, 2))), TypeError, "flat array of floats, not an array float64 (2, 2)"),
    "a decay of Adam's at 1": (lambda: Adam(np.zeros(2), betas=(0.9, 1)), ValueError, "a number in [0, 1), not 1"),
    "gradient too long": (
        lambda: SGD(np.zeros(2), 1).step(np.zeros(3)),
        ValueError,
        "gradient must have shape (2,), not (3,)",
    ),
    "gradient of NaN": (
        lambda: SGD(np.zeros(2), 1).step(np.array([0, np.nan])),
        FloatingPointError,
        "norm of the gradient",
    ),
    # gradcheck
    "gradient of NaN is not right": (
        lambda: check_gradient(sum, np.full(2, np.nan), np.zeros(2)),
        AssertionError,
        "gradient[0] is nan, finite differences say 1.0",
    ),
    "a function that is infinite here": (
        lambda: check_gradient(lambda t: t.sum() if t.any() else np.inf, np.full(2, 7.0), np.zeros(2)),
        ValueError,
        "f(theta) must be a finite number, not inf",
    ),
    "a function with many values": (
        lambda: check_gradient(lambda t: t, np.ones(2), np.zeros(2)),
        ValueError,
        "f(theta) must be a finite number, not an array float64 (2,)",
    ),
    "differences in float32": (lambda: finite_difference(sum, np.zeros(2, np.float32)), TypeError, "use float64"),
    "differences of integers": (lambda: finite_difference(sum, np.zeros(2, int)), TypeError, "flat array of floats"),
    "differences of a matrix": (lambda: finite_difference(sum, np.zeros((2, 2))), TypeError, "flat array of floats"),
    "gradient of another shape": (
        lambda: check_gradient(sum, np.zeros(3), np.zeros(2)),
        ValueError,
        "gradient and theta must have one shape, not empty; got (3,), (2,)",
    ),
    # finite MDPs: more of them in test_mdp.py
    "no distribution": (lambda: mdp(start=[0.5]), ValueError, "start must be probabilities, none < 0, of sum 1, not"),
    "negative probability": (
        lambda: mdp(transition=[[[1], [-1]]]),
        ValueError,
        "transition[0, 1] must be probabilities, none < 0, of sum 1, not",
    ),
    "tables that do not fit": (
        lambda: mdp(reward=[[0, 1, 2]]),
        ValueError,
        "reward must have shape (1, 2) or (1, 2, 1), not (1, 3)",
    ),
    "NaN in a table": (lambda: mdp(reward=[[0, np.nan]]), ValueError, "reward must be finite, but reward[0, 1] is nan"),
    "no horizon": (lambda: mdp(horizon=0), ValueError, "horizon must be an integer of at least 1"),
    "policy of other states": (
        lambda: mdp().objective(policy(), 1.0),
        ValueError,
        "the policy SoftmaxPolicy((3, 2)) has 3 inputs and 2 outputs, but the environment needs 1 and 2",
    ),
    "no policy of an MDP": (lambda: mdp().trajectories(None), TypeError, "the policy must be a policy such as"),
    "no table to read": (lambda: FiniteMDP.from_env(env(), 3), ValueError, "env must have unwrapped.P and"),
    "no environment to read": (lambda: FiniteMDP.from_env("FrozenLake-v1", 3), ValueError, "has, not FrozenLake-v1"),
    # checkpoints: more of them in test_checkpoint.py
    "save no policy": (lambda: save("/nowhere", None), TypeError, f"{SAVED}None, None"),
    "save a value for a policy": (lambda: save("/nowhere", value()), TypeError, f"{SAVED}Value((3,)), None"),
    "save a policy for a value": (lambda: save("/nowhere", policy(), policy()), TypeError, f"{SAVED}SoftmaxPolicy("),
    "save an environment": (lambda: save("/nowhere", policy(), env=env()), TypeError, f"{SAVED}SoftmaxPolicy("),
    "save a network called format": (
        lambda: save("/nowhere/at/all.npz", policy(), format=value()),
        TypeError,
        "not Value((3,))",
    ),
    "save NaN": (
        lambda: save("/nowhere", SoftmaxPolicy((3, 2), theta=np.full(8, np.nan))),
        ValueError,
        "the parameters of the policy must be finite",
    ),
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


@pytest.mark.parametrize("name", CALLS)
def test_call_by_call(name):
    call, exception, message = CALLS[name]
    with pytest.raises(exception, match=re.escape(message)):
        call()


# Words and later chapters: what would broadcast, wrap around or scramble in silence, and what the message says
X, NOISE, COLUMN = np.ones((4, 3)), np.zeros((4, 2)), np.ones((4, 1))
GAUSSIAN, SQUASHED = GaussianPolicy((3, 2), rng=0), SquashedGaussianPolicy((3, 2), rng=0)
TWINS, MODEL = TwinQ((5, 4), rng=0), Dynamics((3, 2), rng=0)
ATOMS, NOISY = QNetwork((3, 2), rng=0, atoms=3, v_range=(0, 1)), QNetwork((3, 2), rng=0, noisy=True)
SAMPLE = Sample(X, ACTIONS, WEIGHTS, X, WEIGHTS, ACTIONS, WEIGHTS)
ROW = STATES, ACTIONS, WEIGHTS, WEIGHTS  # of GRPO, without its weights
PLAIN, DOUBLE = (QNetwork((3, 2), rng=0), QNetwork((3, 2), rng=1)), (True, (None, None))
CARTPOLE = gym.make("CartPole-v1")
SILENT = {
    "d_parameters of a Gaussian, too few": (lambda: GAUSSIAN.backward(GAUSSIAN(X), np.ones((4, 2))), "d_parameters"),
    "d_parameters of a Gaussian, split": (lambda: GAUSSIAN.backward(GAUSSIAN(X), np.ones((8, 2))), "d_parameters"),
    "d_parameters of a Gaussian, flat": (lambda: GAUSSIAN.backward(GAUSSIAN(X), np.ones(16)), "d_parameters"),
    "d_parameters, squashed": (lambda: SQUASHED.backward(SQUASHED(X), COLUMN), "d_parameters"),
    "d_actions": (lambda: SQUASHED(X).d_action(NOISE, COLUMN), "d_actions"),
    "noise of SAC, a column": (lambda: sac.loss(SQUASHED, TWINS, X, COLUMN, ent_coef=0.1), "noise"),
    "noise of SAC, flat": (lambda: sac.gradient(SQUASHED, TWINS, X, WEIGHTS, ent_coef=0.1), "noise"),
    "actions of a twin, too few": (lambda: TWINS(X, np.ones((3, 2))), "actions"),
    "actions of a twin, flat": (lambda: TWINS.mse(X, WEIGHTS, WEIGHTS), "actions"),
    "rewards of SAC": (
        lambda: sac.targets(SQUASHED, TWINS, SAMPLE._replace(rewards=COLUMN), NOISE, ent_coef=0.1),
        "rewards",
    ),
    "ent_coef of SAC": (lambda: sac.targets(SQUASHED, TWINS, SAMPLE, NOISE, ent_coef=COLUMN), "ent_coef"),
    "values of a softmax": (lambda: PI.soft_value(COLUMN, 0.1), "values"),
    "values of a softmax, for the derivative": (lambda: PI.d_soft_value(np.ones(2), 0.1), "values"),
    "KL to another kind": (lambda: GAUSSIAN(X).kl(SQUASHED(X)), "other must be a Gaussian"),
    "KL to a Gaussian": (lambda: Softmax(np.zeros((4, 4))).kl(GAUSSIAN(X)), "other must be a Softmax"),
    "d_outputs": (lambda: ATOMS.backward(ATOMS(X), np.ones((4, 3, 2))), "d_outputs"),
    "noise of a network": (lambda: NOISY(X, noise=np.ones(1)), "noise"),
    "epsilon": (lambda: NOISY(X, epsilon=95), "epsilon"),
    "tau": (lambda: follow(TWINS, TWINS, 95), "tau"),
    "probabilities of a projection": (lambda: rainbow.project(WEIGHTS, WEIGHTS, COLUMN, ATOMS.z), "probabilities"),
    "rewards of Rainbow": (lambda: rainbow.targets(*PLAIN, SAMPLE._replace(rewards=COLUMN), *DOUBLE), "rewards"),
    "discounts of Rainbow": (lambda: rainbow.targets(*PLAIN, SAMPLE._replace(discounts=COLUMN), *DOUBLE), "discounts"),
    "epsilon of a policy": (lambda: EpsilonGreedy(np.ones((2, 2)), 95), "epsilon"),
    "d_values of twins": (lambda: TWINS.d_action(TWINS.forward(X, NOISE)[1], np.ones((2, 1)), 2), "d_values"),
    "errors of a replay": (lambda: PrioritizedReplay(4).update(np.array([0, 1]), np.ones(1)), "errors"),
    "NaN errors of a replay": (lambda: PrioritizedReplay(4).update(np.array([0]), np.array([np.nan])), "errors"),
    "ent_coef of a soft value": (lambda: PI.soft_value(NOISE, COLUMN), "ent_coef"),
    "ent_coef of a soft value, for the derivative": (lambda: PI.d_soft_value(NOISE, -1.0), "ent_coef"),
    "ent_coef of an MDP": (lambda: mdp().soft_bellman([0.0], 0.9, 0.0), "ent_coef"),
    "actions of an MDP": (lambda: mdp().followed(np.array([[0]]), 0.9), "actions"),
    "actions of an MDP, too few": (lambda: mdp().counted([0, 0], [0], [1.0, 1.0], [0, 0]), "same shape"),
    "clip_range of drift": (lambda: drift(PI, PI, ACTIONS, COLUMN), "clip_range"),
    "shrink": (lambda: line_search(np.zeros(3), ONES, bool, 95, 2), "shrink"),
    "tries": (lambda: line_search(np.zeros(3), ONES, bool, 0.5, 0), "tries"),
    "weights of a batch": (lambda: Collector(env(), policy(), 0).collect(5).samples(np.ones(5)), "weights"),
    "reference": (lambda: grpo.train(CARTPOLE, SoftmaxPolicy((4, 2)), reference=policy()), "reference .* has 3 inputs"),
    "no reference": (
        lambda: grpo.train(CARTPOLE, SoftmaxPolicy((4, 2)), reference=3),
        "the reference must be a policy",
    ),
    "policy of RLfD": (lambda: rlfd.train(CARTPOLE, None, Value((4,)), None), "the policy must be"),
    "DQN with atoms": (
        lambda: dqn.train(CARTPOLE, QNetwork((4, 2), atoms=3, v_range=(0, 1))),
        "q must be",
    ),
    "DQN without a Q": (lambda: dqn.train(CARTPOLE, SoftmaxPolicy((4, 2))), "q must be a QNetwork"),
    "beta of Rainbow": (lambda: rainbow.train(CARTPOLE, QNetwork((4, 2)), beta=95), "beta"),
    "states of a model": (lambda: MODEL(COLUMN, ACTIONS), "states"),
    "states of a model's loss": (lambda: MODEL.mse(COLUMN, ACTIONS, COLUMN), "states"),
    "states to normalise": (lambda: MODEL.normalize(COLUMN, COLUMN), "states"),
    "next_states to normalise": (lambda: MODEL.normalize(X, COLUMN), "next_states"),
    "scales": (lambda: Dynamics((3, 2), scales=np.ones((4, 1))), "scales"),
    "actions of a clone": (lambda: imitation.clone(policy(), X, np.zeros(9, int), n_epochs=1), "actions"),
    "weights of GRPO": (lambda: grpo.loss(policy(), *ROW, -WEIGHTS), "weights"),
    "kl_coef of GRPO": (lambda: grpo.gradient(policy(), *ROW, WEIGHTS, kl_coef=-1), "kl_coef"),
    "step of a line search": (lambda: line_search(np.zeros(3), np.ones(1), bool, 0.5, 2), "step"),
    "data of an MDP": (lambda: mdp().counted([0], [0], [1.0, 2.0], [0]), "length"),
    "states of an MDP": (lambda: mdp().counted([-1], [0], [1.0], [0]), "invalid entry"),
    "batch_size": (lambda: next(minibatches(4, -2, np.random.default_rng(0))), "batch_size"),
    "an empty replay": (
        lambda: Replay(4).sample(2, np.random.default_rng(0)),
        "the replay is empty",
    ),
    "an empty prioritized replay": (
        lambda: PrioritizedReplay(4).sample(2, np.random.default_rng(0)),
        "the replay is empty",
    ),
}


@pytest.mark.parametrize("name", SILENT)
def test_what_would_pass_in_silence_is_refused(name):
    call, message = SILENT[name]
    with pytest.raises((ValueError, TypeError), match=message):
        call()


INTEGERS = {
    "noise, log_prob": lambda x: SQUASHED(X).log_prob(x((20, 20) * 4).reshape(4, 2)),
    "v of a Gaussian": lambda x: GAUSSIAN(X).fisher(x([200] * 16).reshape(4, 4)),
    "explained variance": lambda x: returns.explained_variance(x([1, 2, 3]), x([2, 2, 2])),
    "g": lambda x: conjugate_gradient(lambda v: 2.0 * v, x([20, 30]), 5),
    "projection": lambda x: rainbow.project(x([200]), x([1]), np.array([[0.2, 0.3, 0.5]]), np.array([100.0, 150, 200])),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_unsigned_integers_count_like_floats_in_words(name):
    f = INTEGERS[name]
    np.testing.assert_allclose(f(lambda x: np.array(x, np.uint8)), f(lambda x: np.array(x, float)), rtol=1e-6)


@pytest.mark.parametrize("function", GOOD, ids=lambda f: f.__qualname__)
def test_good_input(function):
    """What is called good above is not what is refused; the loops are asked for an update."""
    result = function(**GOOD[function])
    if function.__name__ == "train":
        next(result)
        result.close()


@in_both_places
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
@pytest.mark.parametrize("function", [f for f, good in GOOD.items() if "states" in good], ids=lambda f: f.__qualname__)
def test_integers_count_like_floats(function, dtype, place):
    """-1 of an unsigned integer is 255."""
    good = GOOD[function]
    weights = {name: np.array([0, 1, 1, 0], dtype) for name in {*good} - {"policy", "states", "actions", "episodes"}}
    expected = function(**good | {name: x.astype(float) for name, x in weights.items()})
    np.testing.assert_array_equal(place(function)(**good | weights), expected)


def test_nothing_is_left_out():
    """The functions of part I stand in the table, and every argument of a function in it has what it must refuse.

    What the later chapters refuse stands in their own tests.
    """
    for chapter in reinforce, baseline, actor_critic, a2c, a3c, ppo, returns:
        for function in "loss", "gradient", "train":
            assert getattr(chapter, function, None) in {None, *GOOD}
    used = {name for function in GOOD for name in inspect.signature(function).parameters}
    call_by_call = {"rng", "theta", "dtype", "betas"}
    assert used - RANGES.keys() - REFUSED.keys() == call_by_call | {"output_scale", "mean_square", "report", "seeds"}
    assert RANGES.keys() | REFUSED.keys() <= used
