"""A2C, advantage actor-critic (derivation §4) in an environment of your choice.

    python examples/a2c.py
    python examples/a2c.py --env Acrobot-v1 --plot acrobot.png
    python examples/a2c.py --env InvertedPendulum-v5              # continuous actions: a Gaussian policy
    python examples/a2c.py n_envs=1 gae_lambda=0.9

CartPole-v1 takes a few seconds. InvertedPendulum needs gymnasium[mujoco].
"""

import cli

from scratchpg import GaussianPolicy, Policy, Value, a2c


def learn(run, n_envs, hidden, log_std, normalize_observations, reward_scale, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    env = run.scaled(env, normalize_observations, reward_scale)  # under Gymnasium's wrappers
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    if isinstance(policy, GaussianPolicy) and not run.loaded.policy:
        policy.log_std[:] = log_std
    for progress in run.updates(a2c.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 500_000,
        "n_envs": 8,
        "hidden": (64, 64),
        "gae_lambda": 1.0,
        "learning_rate": 2e-3,
        "log_std": 0.0,
        "normalize_observations": False,
        "reward_scale": 1.0,
    },
    "CartPole-v1": {"total_steps": 100_000},
    "InvertedPendulum-v5": {
        "total_steps": 150_000,
        "n_steps": 32,
        "gae_lambda": 0.9,
        "normalize_advantage": True,
        "learning_rate": (3e-3, 0.0),
        "log_std": -0.5,
        "normalize_observations": True,
        "reward_scale": 0.05,
    },
}

if __name__ == "__main__":
    cli.main(learn, a2c.train, SETTINGS, __doc__)
