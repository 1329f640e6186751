"""REINFORCE with a learned baseline (derivation §2) in an environment of your choice.

    python examples/baseline.py
    python examples/baseline.py --env Acrobot-v1 --plot acrobot.png

CartPole-v1 takes a second or two.
"""

import cli

from scratchpg import SoftmaxPolicy, Value, baseline


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    for progress in run.updates(baseline.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 600_000,
        "n_envs": 8,
        "hidden": (64, 64),
        "learning_rate": 1e-2,
        "value_learning_rate": 3e-2,
    },
    "CartPole-v1": {"total_steps": 180_000},
}

if __name__ == "__main__":
    cli.main(learn, baseline.train, SETTINGS, __doc__)
