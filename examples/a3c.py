"""A3C, many workers on one shared θ without a lock (derivation §5) in an environment of your choice.

    python examples/a3c.py
    python examples/a3c.py workers=4 --env Acrobot-v1 --plot acrobot.png

CartPole-v1 takes some seconds with its two workers. With more than one, the same seed gives other numbers each time.
"""

import cli

from scratchpg import SoftmaxPolicy, Value, a3c


def learn(run, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env()  # for its sizes: every worker makes one of its own
    policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    for progress in run.updates(a3c.train(run.make_env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 500_000,
        "hidden": (64, 64),
        "workers": 2,
        "n_steps": 20,
        "gae_lambda": 1.0,
        "learning_rate": 2e-3,
    },
    "CartPole-v1": {"total_steps": 200_000},
}

if __name__ == "__main__":
    cli.main(learn, a3c.train, SETTINGS, __doc__)
