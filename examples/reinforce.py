"""REINFORCE (derivation §1) in an environment of your choice.

    python examples/reinforce.py
    python examples/reinforce.py --env Acrobot-v1 --plot acrobot.png

CartPole-v1 takes a few seconds: γ = 1, because its episodes are short and their plain sum is what counts.
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import reinforce

SETTINGS = {
    "default": {"total_steps": 500_000, "n_envs": 8, "hidden": (32,), "gamma": 0.99, "learning_rate": 5e-3},
    "CartPole-v1": {"total_steps": 500_000, "n_envs": 16, "gamma": 1.0, "learning_rate": 7e-3},
}

if __name__ == "__main__":
    common.main(reinforce.train, SETTINGS, __doc__)
