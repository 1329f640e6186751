"""A3C, many workers on one shared θ without a lock (derivation §5) in an environment of your choice.

    python examples/a3c.py
    python examples/a3c.py workers=4 --env Acrobot-v1 --plot acrobot.png

CartPole-v1 takes some seconds with its two workers. With more than one, the same seed gives other numbers each time.
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import a3c

SETTINGS = {
    "default": {"total_steps": 500_000, "workers": 2, "hidden": (64, 64)},
    "CartPole-v1": {"total_steps": 200_000},
}

if __name__ == "__main__":
    common.main(a3c.train, SETTINGS, __doc__)
