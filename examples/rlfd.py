"""RLfD, reinforcement from demonstrations (derivation §13), in an environment with a scripted expert.

    python examples/rlfd.py --env FrozenLake8x8-v1                             one demonstration
    python examples/rlfd.py --env MountainCar-v0                               five of them
    python examples/rlfd.py --env MountainCar-v0 demo_coef=0.1

It records the expert, clones it, and goes on with A2C. Experts are in experts.py; demonstrations that record.py wrote
come from `scratchpg.demonstrations.load`.

FrozenLake8x8-v1, exact J, seeds 0 to 4: clones of one demonstration .57 to .86, after 60,000 steps .883 to .885; the
best stationary policy has .886. It is no certainty: with other random numbers (in compounding.py) the worst of five
ends at .755. One demonstration leaves out some states. A network as a clone is mostly certain there, too, and often of
a mistake, which A2C may not find out; a table is not. MountainCar-v0, five demonstrations: -121.1 to -118.5.
"""

import cli
from experts import expert_for

from scratchpg import Policy, Value, demonstrations, imitation, rlfd

EPISODES = {"FrozenLake8x8-v1": 1}  # of the expert; five elsewhere
CLONING = {"FrozenLake8x8-v1": (1e-1, 0.0)}  # the clone's learning rate: a table needs more; 1e-2 elsewhere


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env, single = run.make_env(n_envs), run.make_env()
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    expert, seed = expert_for(run.env_id, single), run.args.seed
    demos = demonstrations.record(expert, single, episodes=EPISODES.get(run.env_id, 5), seed=seed)
    loop = rlfd.train(env, policy, value, demos, rng=run.rng, **settings)
    if not run.loaded.policy:
        rate = CLONING.get(run.env_id, (1e-2, 0.0))
        imitation.clone(policy, demos.states, demos.actions, learning_rate=rate, rng=seed)
    for progress in run.updates(loop, policy, value):
        run.show(progress)


SETTINGS = {
    "default": {"total_steps": 60_000, "n_envs": 8, "hidden": (64, 64), "n_steps": 16, "learning_rate": 1e-2},
    "FrozenLake8x8-v1": {
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

if __name__ == "__main__":
    cli.main(learn, rlfd.train, SETTINGS, __doc__)
