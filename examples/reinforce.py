"""REINFORCE (derivation §1) in an environment of your choice.

    python examples/reinforce.py
    python examples/reinforce.py --env FrozenLake-v1 --plot lake.png

CartPole-v1 takes a few seconds. Without a baseline, whether an environment is learned can depend on the seed: where all
returns are negative, as in Acrobot-v1, every action gets less probable, the good ones only a little less so.
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import reinforce

SETTINGS = {
    "default": {"total_steps": 500_000, "n_envs": 8, "hidden": (32,), "gamma": 1.0, "learning_rate": 3e-3},
    "CartPole-v1": {"n_envs": 16, "learning_rate": 7e-3},
}

if __name__ == "__main__":
    common.main(reinforce.train, SETTINGS, __doc__)
