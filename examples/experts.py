"""Scripted experts, for the scripts on imitation: each sees the states as the networks do, and needs no learning."""

import numpy as np

from scratchpg import FiniteMDP


def balance(env):
    """CartPole: push to where pole and cart lean. It holds the pole up for ever."""
    return lambda states: (states @ [0.1, 0.3, 3.0, 1.0] > 0).astype(int)


def swing(env):
    """MountainCar: push to where the car goes."""
    return lambda states: np.where(states[:, 1] >= 0, 2, 0)


def plan(env):
    """An environment with a table, by value iteration: the same action in a state, however many steps are left."""
    mdp = FiniteMDP.from_env(env, horizon=200)
    values = np.zeros(len(mdp.start))
    for _ in range(5_000):
        values = mdp.bellman_q(values, 0.999).max(axis=1)
    best = mdp.bellman_q(values, 0.999).argmax(axis=1)
    return lambda states: best[states.argmax(axis=1)]


def energy(env):
    """Pendulum: swing up by the energy, then hold. States are cos, sin and velocity of the angle."""

    def torque(states):
        angle, velocity = np.arctan2(states[:, 1], states[:, 0]), states[:, 2]
        missing = 15 * (1 - states[:, 0]) - velocity**2 / 2  # until it can come to rest at the top, g = 10
        swing_up = 2 * np.sign(missing * velocity)
        hold = -(12 * angle + 3 * velocity)
        return np.where(abs(angle) < 0.5, hold, swing_up)[:, None].clip(-2, 2)

    return torque


EXPERTS = {"CartPole-v1": balance, "MountainCar-v0": swing, "Pendulum-v1": energy}


def expert_for(env_id, env):
    """The expert of an environment. ValueError if nobody wrote one."""
    if env_id in EXPERTS:
        return EXPERTS[env_id](env)
    if hasattr(env.unwrapped, "P"):
        return plan(env)
    raise ValueError(
        f"there is no scripted expert for {env_id}, only for {', '.join(EXPERTS)}, and FrozenLake and its like"
    )
