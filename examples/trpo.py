"""TRPO, trust-region policy optimisation (derivation §9) in an environment of your choice.

    python examples/trpo.py
    python examples/trpo.py --env Pendulum-v1 --plot pendulum.png
    python examples/trpo.py target_kl=0.05

Each takes some seconds. On Pendulum-v1 δ goes down over the run. With a constant one the policy is good most of the
time, but now and then it is lost for a while: a batch from the upright pendulum says nothing of how to swing it up, and
the mean KL is bounded in the states of the batch alone.
"""

import cli

from scratchpg import Policy, Value, trpo


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    for progress in run.updates(trpo.train(env, policy, value, rng=run.rng, **settings), policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 200_000,
        "n_envs": 8,
        "hidden": (64, 64),
        "n_steps": 256,
        "batch_size": 64,
        "n_epochs": 10,
        "target_kl": (0.05, 0.0),
        "learning_rate": (3e-3, 0.0),
    },
    "CartPole-v1": {
        "total_steps": 30_000,
        "n_steps": 64,
        "batch_size": 128,
        "n_epochs": 8,
        "target_kl": 0.02,
        "learning_rate": 3e-3,
    },
    "Pendulum-v1": {"total_steps": 100_000, "gamma": 0.95, "target_kl": (0.06, 0.0)},
}

if __name__ == "__main__":
    cli.main(learn, trpo.train, SETTINGS, __doc__)
