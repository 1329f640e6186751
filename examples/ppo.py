"""PPO, proximal policy optimisation (derivation §6) in an environment of your choice.

    python examples/ppo.py
    python examples/ppo.py --env Acrobot-v1 --plot acrobot.png
    python examples/ppo.py --env LunarLander-v3

CartPole-v1 takes a few seconds, the others one to four minutes. LunarLander-v3 needs gymnasium[box2d].
"""

import cli

from scratchpg import SoftmaxPolicy, Value, ppo


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    for progress in run.updates(ppo.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


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
}

if __name__ == "__main__":
    cli.main(learn, ppo.train, SETTINGS, __doc__)
