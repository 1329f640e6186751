"""Actor-critic (derivation §3) in an environment of your choice.

    python examples/actor_critic.py
    python examples/actor_critic.py method=mc

CartPole-v1 takes half a minute: with TD there is one update for every single step. `method=mc` learns at the end of
each episode instead.
"""

import common  # first: it sets the number of threads, which NumPy reads when it is imported

from scratchpg import actor_critic

SETTINGS = {
    "default": {"total_steps": 200_000, "hidden": (64, 64)},
    "CartPole-v1": {"total_steps": 60_000},
}

if __name__ == "__main__":
    common.main(actor_critic.train, SETTINGS, __doc__)
