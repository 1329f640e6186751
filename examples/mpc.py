"""MPC, model-predictive control with a learned model (derivation §14), on CartPole-v1 and Pendulum-v1.

    python examples/mpc.py
    python examples/mpc.py bare=True                                # with CartPole-v1's own reward
    python examples/mpc.py --env Pendulum-v1 --plot pendulum.png

The reward must be known. For Pendulum-v1 it is the environment's own. CartPole-v1 pays 1 per step, which is of no use
to plans of 20 steps (14.5): there the planner wants an upright pole on a cart that stands still in the middle. Its
models are linear: 150 steps teach hidden layers what is wrong further out. They are fitted for long, as models with an
error of 1 % let the cart drift off the track. Training takes seconds; then each action is a search: the evaluation of
100 episodes takes minutes. --save and --load are refused: a file holds a policy, and here there is none, only models
and a search. Train again instead: the same seed gives the same models.
"""

import cli
import numpy as np

from scratchpg import Dynamics, Planner, mpc


def upright(states, actions, next_states):
    """What the planner wants on CartPole-v1: pole angle, cart position and velocity near 0."""
    x, velocity, angle, _ = next_states.T
    return -((angle / 0.2) ** 2) - 0.1 * x**2 - 0.1 * velocity**2


def swing_up(states, actions, next_states):
    """The reward of Pendulum-v1."""
    cos, sin, velocity = states.T
    return -(np.arctan2(sin, cos) ** 2) - 0.1 * velocity**2 - 0.001 * actions[:, 0] ** 2


def alive(states, actions, next_states):
    """CartPole-v1's own reward."""
    return 1.0


def fallen(states):
    """Where an episode of CartPole-v1 ends, which plans of `alive` must know."""
    x, _, angle, _ = states.T
    return (abs(x) > 2.4) | (abs(angle) > 0.2095)


REWARDS = {"CartPole-v1": upright, "Pendulum-v1": swing_up}


def learn(run, hidden, horizon, n_plans, n_elites, n_rounds, bare, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env()  # gymnasium.make(id)
    if run.env_id not in REWARDS:
        raise ValueError(f"the reward must be known: {run.env_id} is none of {', '.join(REWARDS)}")
    if bare and run.env_id != "CartPole-v1":
        raise ValueError(f"bare=True is for CartPole-v1, not {run.env_id}")
    if run.args.save or run.args.load:
        raise ValueError("--save and --load are for networks: what this chapter learns is several, and a search")
    models = [Dynamics.for_env(env, hidden, run.rng) for _ in range(3)]
    search = {"horizon": horizon, "n_plans": n_plans, "n_elites": n_elites, "n_rounds": n_rounds}
    own = {"reward": alive, "terminal": fallen} if bare else {"reward": REWARDS[run.env_id]}
    policy = Planner(env=env, models=models, **own, **search)
    for progress in run.updates(mpc.train(env, policy, rng=run.rng, **settings), policy):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 1_000,
        "hidden": (64, 64),
        "horizon": 15,
        "n_plans": 300,
        "n_elites": 30,
        "n_rounds": 4,
        "bare": False,
    },
    "CartPole-v1": {
        "total_steps": 150,
        "hidden": (),
        "horizon": 20,
        "n_plans": 150,
        "n_elites": 15,
        "n_rounds": 3,
        "learning_starts": 50,
        "n_steps": 50,
        "n_epochs": 300,
        "learning_rate": (3e-2, 1e-3),
    },
    "Pendulum-v1": {
        "horizon": 18,
        "n_plans": 100,
        "n_elites": 10,
        "learning_starts": 600,
        "n_steps": 200,
        "n_epochs": 150,
        "learning_rate": (2e-3, 2e-4),
    },
    "--smoke": {"n_epochs": 1, "horizon": 2, "n_plans": 4, "n_elites": 2, "n_rounds": 1},
}

cli.OF_LEARN |= {
    "horizon": "H, the steps of a plan",
    "n_plans": "plans drawn in each round of a search",
    "n_elites": "M, the best of them, to which the next round is fitted",
    "n_rounds": "rounds of a search (14.4)",
    "bare": "plan for CartPole-v1's own reward, 1 for each step",
}

if __name__ == "__main__":
    cli.main(learn, mpc.train, SETTINGS, __doc__)
