"""Imitation (derivation §13): cloning an expert's episodes, or DAgger, in an environment with a scripted expert.

    python examples/imitation.py                                          # one episode of CartPole-v1, cloned
    python examples/imitation.py dagger=True n_steps=10 --steps 200       # 200 labels, where the learner drives
    python examples/imitation.py --env Pendulum-v1 --save pendulum.npz

--steps counts labelled states. Experts are in experts.py: CartPole-v1, MountainCar-v0, Pendulum-v1, FrozenLake8x8-v1.
Any function of states to actions is one, so a saved policy is, too:

    learned = load("cartpole.npz").policy
    imitation.train(env, policy, lambda states: learned(states).mode())
"""

import cli
from experts import expert_for

from scratchpg import Policy, imitation


def learn(run, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env()
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    expert = expert_for(run.env_id, env)
    for progress in run.updates(imitation.train(env, policy, expert, rng=run.rng, **settings), policy):
        run.show(progress)


SETTINGS = {
    "default": {"total_steps": 1_000, "hidden": (64, 64), "n_epochs": 1_000, "learning_rate": (1e-2, 0.0)},
    "CartPole-v1": {"total_steps": 500},
    "Pendulum-v1": {"total_steps": 2_000, "n_epochs": 300, "learning_rate": (3e-3, 0.0)},
    "--smoke": {"n_epochs": 2},
}

if __name__ == "__main__":
    cli.main(learn, imitation.train, SETTINGS, __doc__)
