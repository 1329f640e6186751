"""RLfD, reinforcement from demonstrations (derivation §13), in an environment with a scripted expert.

    python examples/rlfd.py --env FrozenLake8x8-v1                # one demonstration
    python examples/rlfd.py --env MountainCar-v0                  # five of them
    python examples/rlfd.py --env MountainCar-v0 demo_coef=0.1

It records the expert, clones it, and goes on with A2C. Experts are in experts.py; `scratchpg.demonstrations.load` reads
demonstrations that record.py wrote.

FrozenLake8x8-v1, exact J, seeds 0 to 4: clones of one demonstration .57 to .86, after 60,000 steps .883 to .885; the
best stationary policy has .886. It is no certainty: with other random numbers (in compounding.py) the worst of five
ends at .755. One demonstration leaves out some states. There, too, a cloned network is mostly certain, often of a
mistake, and A2C may never find out; a table is not. Plain A2C at the same settings has .00 to .33 after 60,000 steps.

With five demonstrations a network that is cloned briefly gives the other states the most frequent action, which is
right on this map: J is .886 from the first to the last update in 5/5, with

    episodes=5 "hidden=(64,)" clone_epochs=50 learning_rate=2e-3 value_learning_rate=None "demo_coef=(1.0, 0.0)"

and with the table its lowest is .711 to .883. MountainCar-v0, five demonstrations: -121.1 to -118.5; plain A2C: -200.
"""

import cli
from experts import expert_for

from scratchpg import Policy, Value, demonstrations, imitation, rlfd


def learn(run, n_envs, hidden, episodes, clone_epochs, clone_learning_rate, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env, single = run.make_env(n_envs), run.make_env()
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    expert, seed = expert_for(run.env_id, single), run.args.seed
    demos = demonstrations.record(expert, single, episodes=episodes, seed=seed)
    loop = rlfd.train(env, policy, value, demos, rng=run.rng, **settings)
    if not run.loaded.policy:
        cloning = {"n_epochs": clone_epochs, "learning_rate": clone_learning_rate}
        imitation.clone(policy, demos.states, demos.actions, rng=seed, **cloning)
    for progress in run.updates(loop, policy, value):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 60_000,
        "n_envs": 8,
        "hidden": (64, 64),
        "episodes": 5,
        "clone_epochs": 200,
        "clone_learning_rate": (1e-2, 0.0),
        "n_steps": 16,
        "learning_rate": 1e-2,
    },
    "FrozenLake8x8-v1": {
        "episodes": 1,
        "clone_learning_rate": (1e-1, 0.0),
        "hidden": (),  # a table: where the expert never was, the clone is not certain, and goes on exploring (13.3)
        "gamma": 0.999,
        "gae_lambda": 0.8,
        "ent_coef": 0.01,
        "demo_coef": (10.0, 1.0),  # it holds the clone where the expert was; the expert is the best there is
        "learning_rate": 0.2,
        "value_learning_rate": 0.1,
    },
    "MountainCar-v0": {"learning_rate": 1e-3},
}

cli.OF_LEARN |= {
    "episodes": "of the expert, that are recorded",
    "clone_epochs": "passes over them, before the training",
    "clone_learning_rate": "of these passes: a number, or (first, last)",
}

if __name__ == "__main__":
    cli.main(learn, rlfd.train, SETTINGS, __doc__)
