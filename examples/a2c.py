"""A2C, advantage actor-critic (derivation §4) in an environment of your choice.

    python examples/a2c.py
    python examples/a2c.py --env Acrobot-v1 --plot acrobot.png
    python examples/a2c.py n_envs=1 gae_lambda=0.9

CartPole-v1 takes a few seconds.
"""

import cli

from scratchpg import SoftmaxPolicy, Value, a2c


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    for progress in run.updates(a2c.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {"total_steps": 500_000, "n_envs": 8, "hidden": (64, 64), "gae_lambda": 1.0, "learning_rate": 2e-3},
    "CartPole-v1": {"total_steps": 100_000},
}

if __name__ == "__main__":
    cli.main(learn, a2c.train, SETTINGS, __doc__)
