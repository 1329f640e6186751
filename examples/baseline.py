"""REINFORCE with a learned baseline (derivation §2) in an environment of your choice.

    python examples/baseline.py
    python examples/baseline.py --env Acrobot-v1 --plot acrobot.png

CartPole-v1 takes a second or two. `pretrain=200` fits the baseline on the first 200 episodes and then leaves it alone:
it goes stale.
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import baseline

SETTINGS = {
    "default": {"total_steps": 500_000, "n_envs": 8, "hidden": (64, 64)},
    "CartPole-v1": {"total_steps": 150_000},
}

if __name__ == "__main__":
    common.main(baseline.train, SETTINGS, __doc__)
