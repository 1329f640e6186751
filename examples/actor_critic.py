"""Actor-critic (derivation §3) in an environment of your choice.

    python examples/actor_critic.py
    python examples/actor_critic.py method=mc learning_rate=1e-3 value_learning_rate=1e-2

CartPole-v1 takes half a minute: with TD there is one update for every single step. `method=mc` learns at the end of
each episode instead, from a mean over its steps, and can take larger steps.
"""

import math

import cli

from scratchpg import SoftmaxPolicy, Value, actor_critic


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    for progress in run.updates(actor_critic.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 200_000,
        "n_envs": None,
        "hidden": (64, 64),
        "learning_rate": 3e-4,
        "value_learning_rate": 3e-3,
        "max_grad_norm": math.inf,
    },
    "CartPole-v1": {"total_steps": 60_000},
}

if __name__ == "__main__":
    cli.main(learn, actor_critic.train, SETTINGS, __doc__)
