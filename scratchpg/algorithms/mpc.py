"""MPC, model-predictive control: learn how the environment moves, and look ahead in the model at every step.

No policy is learned. A few networks learn the dynamics (14.1), each from its own bootstrap (14.8): rows of the data,
drawn once with replacement and kept. The reward is not learned: it is a function that the user gives.

    (14.3)  R̂(a_0 … a_{H-1}) = mean_m Σ_{k<H} γ^k r(s_k, a_k, s_{k+1}) Π_{j≤k} 1[s_j not terminal],  s_{k+1} by model m
    (14.4)  a^i ~ q;   q ← argmax_q Σ_i Ψ_i log q(a^i),   Ψ_i = 1[R̂(a^i) among the M best]     cross-entropy method
    (14.5)  π(s) = first action of the plan found at s

(14.4) is the score function with Ψ_i in {0, 1}, solved in closed form: the best plans are cloned. One round with one
elite is random shooting. What comes after H steps does not count: with a reward of 1 per step, as in CartPole, every
plan that does not fall within H steps is as good as any other. Plan for what you want instead: an upright pole.

Use it where steps are costly, a state is few numbers, and the reward is known: a few hundred steps are enough. But each
action costs thousands of model passes. Where the environment is random, a mean of s' may be a state that never occurs
(the source learns a distribution for this). Source: Chua et al. 2018, arXiv:1805.12114; (14.3) is its "TS∞".
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..dynamics import Dynamics
from ..optim import Adam
from ..planner import Planner, plan
from ..plumbing import AnyEnv, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..rollout import Collector, minibatches

__all__ = ["Planner", "plan", "train"]


def train(
    env: AnyEnv,
    policy: Planner,
    *,
    total_steps: int = 1_000,  # of all environments together
    learning_starts: int = 500,  # steps with random actions, before the first fit
    n_steps: int = 100,  # rows of each environment between two fits
    batch_size: int = 32,  # rows per minibatch
    n_epochs: int = 50,  # passes over all data so far, per fit
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train the models of the policy, each a `Dynamics`, in place; yields Progress after every fit, with their mse."""
    check.of_class(Planner, policy=policy)
    models: Any = policy.models
    for i, model in enumerate(models):
        check.of_class(Dynamics, **{f"models[{i}]": model})
        if model.sizes[:2] != (policy.net.sizes[0], policy.outputs):
            needs = f"{policy.net.sizes[0]} observations and {policy.outputs} actions, as its environment"
            raise ValueError(f"models[{i}] of the policy must have {needs}, not {model!r}")
    check.natural(total_steps=total_steps)
    check.count(learning_starts=learning_starts, n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs)
    check.schedule(learning_rate=learning_rate)
    rng = make_rng(seed, rng)
    at_random = replace(policy, reward=lambda *_: 0, horizon=1, n_plans=1, n_elites=1, n_rounds=1)  # one plan
    collector, planner = Collector(env, at_random, rng), replace(policy)  # a copy, with plans of its own
    shuffler = rng.spawn(1)[0]
    optimizers = [Adam(model.theta) for model in models]

    def updates() -> Loop:
        parts: list[Any] = []
        rows = np.zeros((len(models), 0), int)
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            wanted = n_steps if parts else math.ceil(learning_starts / collector.n_envs)
            batch = collector.collect(min(wanted, math.ceil((total_steps - collector.steps) / collector.n_envs)))
            parts.append((*batch.samples(), batch.states[1:][batch.valid]))
            data = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]  # s_t, a_t, s_{t+1}
            known, total = rows.shape[1], len(data[0])
            drawn = shuffler.integers(known, total, (len(models), total - known))  # (14.8): of the new rows
            rows = np.concatenate([rows, drawn], axis=1)
            for model, optimizer, own in zip(models, optimizers, rows, strict=True):
                model.normalize(data[0], data[2])
                optimizer.learning_rate = scheduled(learning_rate, done)
                for _ in range(n_epochs):
                    for i in minibatches(total, batch_size, shuffler):
                        optimizer.step(model.mse_gradient(*(x[own[i]] for x in data)))
            collector.policy = planner
            yield collector.progress(mse=sum(model.mse(*data) for model in models) / len(models))

    return run(updates())
