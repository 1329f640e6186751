"""REINFORCE (derivation §1) in an environment of your choice.

    python examples/reinforce.py
    python examples/reinforce.py --env FrozenLake-v1 --plot lake.png

CartPole-v1 takes a few seconds. Without a baseline, whether an environment is learned can depend on the seed: where all
returns are negative, as in Acrobot-v1, every action gets less probable, the good ones only a little less so.
"""

import cli

from scratchpg import SoftmaxPolicy, reinforce


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make_vec(id, n_envs)
    policy = run.loaded.policy or SoftmaxPolicy.for_env(env, hidden, run.rng)
    for progress in run.updates(reinforce.train(env, policy, rng=run.rng, **settings), policy):
        run.show(progress)


SETTINGS = {
    "default": {"total_steps": 600_000, "n_envs": 8, "hidden": (32,), "gamma": 1.0, "learning_rate": 3e-3},
    "CartPole-v1": {"n_envs": 16, "learning_rate": 7e-3},
}

if __name__ == "__main__":
    cli.main(learn, reinforce.train, SETTINGS, __doc__)
