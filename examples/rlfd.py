"""RLfD, reinforcement from demonstrations (derivation §13), in an environment with a scripted expert.

    python examples/rlfd.py --env FrozenLake8x8-v1                             one demonstration
    python examples/rlfd.py --env MountainCar-v0                               five of them
    python examples/rlfd.py --env MountainCar-v0 demo_coef=0.1

It records the expert, clones it, and goes on with A2C. Experts are in experts.py; demonstrations that record.py wrote
come from `scratchpg.demonstrations.load`.
"""

import cli
from experts import expert_for

from scratchpg import Policy, Value, demonstrations, imitation, rlfd

EPISODES = {"FrozenLake8x8-v1": 1}  # of the expert; five elsewhere


def learn(run, n_envs, hidden, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env, single = run.make_env(n_envs), run.make_env()
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    value = run.loaded.value or Value.for_env(env, hidden, run.rng)
    expert, seed = expert_for(run.env_id, single), run.args.seed
    demos = demonstrations.record(expert, single, episodes=EPISODES.get(run.env_id, 5), seed=seed)
    loop = rlfd.train(env, policy, value, demos, rng=run.rng, **settings)
    if not run.loaded.policy:
        imitation.clone(policy, demos.states, demos.actions, learning_rate=(1e-2, 0.0), rng=seed)
    for progress in run.updates(loop, policy, value):
        run.show(progress)


SETTINGS = {
    "default": {"total_steps": 60_000, "n_envs": 8, "hidden": (64, 64), "n_steps": 16, "learning_rate": 1e-2},
    "FrozenLake8x8-v1": {"gamma": 0.999, "n_steps": 32, "ent_coef": 0.01},
    "MountainCar-v0": {"learning_rate": 1e-3},
}

if __name__ == "__main__":
    cli.main(learn, rlfd.train, SETTINGS, __doc__)
