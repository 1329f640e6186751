"""PPO, proximal policy optimisation (derivation §6, §8) in an environment of your choice.

    python examples/ppo.py
    python examples/ppo.py --env Acrobot-v1 --plot acrobot.png
    python examples/ppo.py --env Pendulum-v1                      # continuous actions: a Gaussian policy

CartPole-v1 takes a few seconds, the others up to some minutes. LunarLander needs gymnasium[box2d]; InvertedPendulum,
Hopper and HalfCheetah need gymnasium[mujoco].
"""

import cli

from scratchpg import GaussianPolicy, Policy, Value, ppo


def learn(run, n_envs, hidden, log_std, normalize_observations, reward_scale, **settings):
    """The whole training. `run` (see cli.py) holds what the command line asked for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    env = run.scaled(env, normalize_observations, reward_scale)  # in Gymnasium's wrappers, if the settings ask for them
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)  # of --load, else new
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    if isinstance(policy, GaussianPolicy) and not run.loaded.policy:
        policy.log_std[:] = log_std  # only a Gaussian has one; a loaded one keeps its own
    for progress in run.updates(ppo.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


MUJOCO = {
    "n_envs": 4,
    "n_steps": 512,
    "batch_size": 128,
    "n_epochs": 10,
    "learning_rate": (5e-4, 0.0),
    "log_std": -0.5,
    "normalize_observations": True,
    "clip_range": 0.2,
    "reward_scale": 0.02,
}
SETTINGS = {
    "default": {
        "total_steps": 1_000_000,
        "n_envs": 16,
        "hidden": (64, 64),
        "n_steps": 128,
        "batch_size": 256,
        "n_epochs": 8,
        "clip_range": (0.2, 0.0),
        "learning_rate": (1e-3, 0.0),
        "log_std": 0.0,
        "normalize_observations": False,
        "reward_scale": 1.0,
    },
    "CartPole-v1": {
        "total_steps": 100_000,
        "n_envs": 8,
        "n_steps": 64,
        "batch_size": 192,
        "gamma": 0.98,
        "learning_rate": (3e-3, 0.0),
    },
    "Acrobot-v1": {"n_steps": 256, "batch_size": 512, "n_epochs": 6, "learning_rate": (2e-3, 0.0)},
    "MountainCar-v0": {"n_steps": 64, "ent_coef": 0.01, "learning_rate": (3e-3, 0.0)},
    "LunarLander-v3": {"gamma": 0.999, "gae_lambda": 0.98, "clip_range": 0.2},
    "Pendulum-v1": {
        "total_steps": 100_000,
        "n_envs": 4,
        "n_steps": 512,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.97,
        "clip_range": 0.2,
        "learning_rate": (2e-3, 0.0),
        "reward_scale": 0.1,
    },
    "MountainCarContinuous-v0": {
        "total_steps": 50_000,
        "n_envs": 8,
        "n_steps": 256,
        "batch_size": 128,
        "n_epochs": 10,
        "clip_range": 0.2,
        "log_std": 1.0,
        "normalize_observations": True,
    },
    "LunarLanderContinuous-v3": {"gamma": 0.999, "gae_lambda": 0.98, "clip_range": 0.2, "reward_scale": 0.1},
    "InvertedPendulum-v5": {
        "total_steps": 30_000,
        "n_envs": 4,
        "n_steps": 256,
        "batch_size": 128,
        "n_epochs": 10,
        "clip_range": 0.2,
        "normalize_observations": True,
    },
    "Hopper-v5": MUJOCO,
    "HalfCheetah-v5": MUJOCO,
}

if __name__ == "__main__":
    cli.main(learn, ppo.train, SETTINGS, __doc__)
