"""A2C, advantage actor-critic (derivation §4) in an environment of your choice.

    python examples/a2c.py
    python examples/a2c.py --env Acrobot-v1 --plot acrobot.png
    python examples/a2c.py n_envs=1 gae_lambda=0.9

CartPole-v1 takes a few seconds.
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import a2c

SETTINGS = {
    "default": {"total_steps": 500_000, "n_envs": 8, "hidden": (64, 64)},
    "CartPole-v1": {"total_steps": 100_000},
}

if __name__ == "__main__":
    common.main(a2c.train, SETTINGS, __doc__)
