"""Rainbow (derivation §11) in an environment of your choice; its six switches can be turned off one by one.

    python examples/rainbow.py
    python examples/rainbow.py dueling=False noisy=False atoms=None double=False prioritized=False n_steps=1
    python examples/rainbow.py --env LunarLander-v3 --plot lander.png

CartPole-v1 takes a minute, LunarLander-v3 (it needs gymnasium[box2d]) some minutes. The evaluation takes the best
action, without ε and noise. v_range must span the discounted returns, however many atoms there are. On LunarLander-v3
noise is off and ε explores: with noise and gradient_steps=2, a run (seed 10, 20 episodes) ended at -50, not 203.
"""

import cli

from scratchpg import QNetwork, rainbow


def learn(run, n_envs, hidden, dueling, atoms, v_range, noisy, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs)  # gymnasium.make(id), or make_vec(id, n_envs)
    switches = {"dueling": dueling, "atoms": atoms, "v_range": v_range if atoms else None, "noisy": noisy}
    q = run.loaded.policy or QNetwork.for_env(env, hidden, run.rng, **switches)
    for progress in run.updates(rainbow.train(env, q, rng=run.rng, **settings), q):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 100_000,
        "n_envs": None,
        "hidden": (64, 64),
        "dueling": True,
        "atoms": 51,
        "v_range": (-100.0, 100.0),
        "noisy": True,
        "learning_rate": (1e-3, 0.0),
    },
    "CartPole-v1": {
        "total_steps": 40_000,
        "v_range": (0.0, 100.0),
        "n_steps": 10,
        "buffer_size": 10_000,
        "batch_size": 128,  # with 64, gradient_steps=1 and target_update_interval=50, some runs ended below 500
        "gradient_steps": 2,
        "target_update_interval": 100,
    },
    "LunarLander-v3": {
        "hidden": (128, 128),
        "v_range": (-200.0, 200.0),
        "noisy": False,
        "gradient_steps": 4,
        "exploration_fraction": 0.3,
    },
}

cli.OF_LEARN |= {
    "dueling": "(11.7), of the network",
    "atoms": "N of (11.11), of the network; None is Q itself",
    "v_range": "of the atoms: from the least return to the greatest",
    "noisy": "(11.14), of the network",
}

if __name__ == "__main__":
    cli.main(learn, rainbow.train, SETTINGS, __doc__)
