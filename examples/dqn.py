"""DQN (derivation §11) in an environment of your choice.

    python examples/dqn.py
    python examples/dqn.py --env LunarLander-v3 --plot lander.png
    python examples/dqn.py target_update_interval=1 tau=0.01

CartPole-v1 takes half a minute, LunarLander-v3 (it needs gymnasium[box2d]) some minutes. The evaluation takes the best
action, without ε.
"""

import cli

from scratchpg import QNetwork, dqn


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make(id), or make_vec(id, n_envs)
    q = run.loaded.policy or QNetwork.for_env(env, hidden, run.rng)
    for progress in run.updates(dqn.train(env, q, rng=run.rng, **settings), q):
        run.show(progress)


SETTINGS = {
    "default": {"total_steps": 100_000, "n_envs": None, "hidden": (64, 64), "learning_rate": (1e-3, 0.0)},
    "CartPole-v1": {
        "total_steps": 50_000,
        "train_freq": 256,
        "gradient_steps": 256,  # more steps with larger batches fit Q better, so that fewer runs end unsolved
        "batch_size": 128,
        "learning_rate": (5e-4, 0.0),  # half the default's steps: what is solved is lost less often
        "buffer_size": 10_000,  # recent experience alone: with all of it, what was solved was lost again
        "target_update_interval": 20,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
    },
    "LunarLander-v3": {"hidden": (128, 128), "gradient_steps": 4, "exploration_fraction": 0.3},
}

if __name__ == "__main__":
    cli.main(learn, dqn.train, SETTINGS, __doc__)
