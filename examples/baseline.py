"""REINFORCE with a learned baseline (derivation §2) in an environment of your choice.

    python examples/baseline.py
    python examples/baseline.py --env Acrobot-v1 --plot acrobot.png
    python examples/baseline.py --env InvertedPendulum-v5              # continuous actions: a Gaussian policy

CartPole-v1 takes a second or two. InvertedPendulum needs gymnasium[mujoco].
"""

import cli

from scratchpg import GaussianPolicy, Policy, Value, baseline


def learn(run, n_envs, hidden, log_std, normalize_observations, reward_scale, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    env = run.scaled(env, normalize_observations, reward_scale)  # under Gymnasium's wrappers
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    if isinstance(policy, GaussianPolicy) and not run.loaded.policy:
        policy.log_std[:] = log_std
    for progress in run.updates(baseline.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 600_000,
        "n_envs": 8,
        "hidden": (64, 64),
        "learning_rate": 1e-2,
        "value_learning_rate": 3e-2,
        "log_std": 0.0,
        "normalize_observations": False,
        "reward_scale": 1.0,
    },
    "CartPole-v1": {"total_steps": 180_000},
    "InvertedPendulum-v5": {
        "total_steps": 300_000,
        "n_envs": 16,
        "keep_gamma_t": False,
        "learning_rate": (2e-3, 0.0),
        "value_learning_rate": (5e-3, 0.0),
        "log_std": -1.0,
        "normalize_observations": True,
        "reward_scale": 0.05,
    },
}

if __name__ == "__main__":
    cli.main(learn, baseline.train, SETTINGS, __doc__)
