"""GRPO, group-relative policy optimisation (derivation §10): one reward at the end, and no critic.

    python examples/grpo.py
    python examples/grpo.py --env Reversal-v0
    python examples/grpo.py --env Reversal-v0 kl_coef=0.1

Reversal-v0 is the case it exists for: an answer written letter by letter, paid at its end, see reversal.py. A beginner,
cloned from solved words, is fine-tuned, and the KL to that clone holds it back. Its mean return is the share of right
answers: some 5 % before, 99 % after half a minute, and less with a large kl_coef.
"""

import copy

import cli
import reversal

from scratchpg import Policy, grpo


def learn(run, n_envs, hidden, kl_coef=0.0, **settings):
    """The whole training, by the library; `run` (in cli.py) is what the command line asks for."""
    env = run.make_env(n_envs, vectorization_mode="sync")  # environments that take a seed each
    policy = run.loaded.policy or Policy.for_env(env, hidden, run.rng)
    if run.env_id == "Reversal-v0" and not run.loaded.policy:
        reversal.clone(policy, run.rng)
    settings |= {"kl_coef": kl_coef, "reference": copy.deepcopy(policy)}
    for progress in run.updates(grpo.train(env, policy, rng=run.rng, **settings), policy):
        run.show(progress)


SETTINGS = {
    "default": {
        "total_steps": 500_000,
        "n_envs": 32,
        "hidden": (64, 64),
        "gamma": 1.0,
        "clip_range": 0.3,
        "learning_rate": 5e-3,
    },
    "CartPole-v1": {"total_steps": 150_000},
    "Reversal-v0": {
        "total_steps": 900_000,
        "n_envs": 256,
        "batch_size": 256,
        "n_epochs": 4,
        "clip_range": 0.2,
        "kl_coef": 0.001,
        "learning_rate": 2e-3,
    },
}

if __name__ == "__main__":
    cli.main(learn, grpo.train, SETTINGS, __doc__)
