"""SAC, soft actor-critic (derivation §12), in an environment of your choice, if its actions are a bounded Box.

    python examples/sac.py
    python examples/sac.py --env LunarLanderContinuous-v3 --plot lander.png
    python examples/sac.py learn_ent_coef=False ent_coef=0.0

Pendulum-v1, which it takes without --env, needs twenty seconds; LunarLanderContinuous-v3 (gymnasium[box2d]) and
HalfCheetah-v5 (gymnasium[mujoco]) two minutes each. Greedy episodes averaged:

    LunarLanderContinuous-v3, seeds 0, 1, 2   ≥ 200 after 120,000, 120,000, 100,000 steps; 225, 245, 268 at the end
    HalfCheetah-v5, seed 1                    5,104 at the end (300,000 steps)

To compare: by its benchmark.md, the SAC of rl-baselines3-zoo has 260 after 500,000 steps, and on HalfCheetah-v3 9,535
after 1,000,000, one run each. The settings for the others are a start: Hopper stays below 400, InvertedPendulum does
not stay up, MountainCarContinuous does not find its goal. `ent_coef` is α; `hidden` is that of all three networks.
"""

import cli

from scratchpg import SquashedGaussianPolicy, TwinQ, sac


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make(id), or make_vec(id, n_envs)
    policy = run.loaded.policy or SquashedGaussianPolicy.for_env(env, hidden, run.rng)
    q = getattr(run.loaded, "q", None) or TwinQ.for_env(env, hidden, run.rng)
    for progress in run.updates(sac.train(env, policy, q, rng=run.rng, **settings), policy, q=q):
        run.show(progress)


MUJOCO = {"total_steps": 300_000, "buffer_size": 300_000, "learning_starts": 5_000, "gradient_steps": 2}
SETTINGS = {
    "default": {
        "total_steps": 100_000,
        "n_envs": None,
        "hidden": (64, 64),
        "train_freq": 4,
        "gradient_steps": 4,
        "batch_size": 128,
        "learning_rate": (1e-3, 0.0),
    },
    "Pendulum-v1": {"total_steps": 20_000, "learning_starts": 500, "learning_rate": (2e-3, 0.0)},
    "MountainCarContinuous-v0": {
        "total_steps": 50_000,
        "train_freq": 32,
        "gradient_steps": 32,
        "gamma": 0.999,
        "tau": 0.01,
        "ent_coef": 0.1,
        "learn_ent_coef": False,
    },
    "LunarLanderContinuous-v3": {
        "n_envs": 8,
        "total_steps": 200_000,
        "train_freq": 1,
        "buffer_size": 30_000,  # so that early crashes are forgotten: they teach to hover, and to take off on contact
        "batch_size": 256,
        "tau": 0.01,
    },
    "InvertedPendulum-v5": {"total_steps": 20_000, "learning_starts": 500},
    "Hopper-v5": MUJOCO,
    "HalfCheetah-v5": MUJOCO | {"n_envs": 8, "train_freq": 1, "gradient_steps": 4, "batch_size": 256},
    "--smoke": {"learning_starts": 800},
}

if __name__ == "__main__":
    cli.main(learn, sac.train, SETTINGS, __doc__)
