"""PPO, proximal policy optimisation, on an environment of your choice.

python examples/ppo.py                       CartPole-v1, a few seconds
python examples/ppo.py --env Acrobot-v1 --plot acrobot.png
python examples/ppo.py --help
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import ppo

SETTINGS = {
    "default": {"total_steps": 1_000_000, "n_envs": 16, "hidden": (64, 64), "n_steps": 64, "gamma": 0.99},
    "CartPole-v1": {"total_steps": 100_000, "n_envs": 8, "n_steps": 32, "gamma": 0.98},
}

if __name__ == "__main__":
    common.main(ppo.train, SETTINGS, __doc__)
