"""A3C, asynchronous advantage actor-critic: many workers, one shared θ, no lock.

In A2C a slow environment makes the learner wait. Here N processes explore at once, each with its own environment and
its own random generator, and each writes what it learned into the parameters that all of them share:

    (5.1)  each worker repeats:   θ' ← θ, φ' ← φ;  collect up to n steps with π_θ';
           g ← ∇L (4.4), (2.3) at θ', φ';   θ ← θ - η·direction(g), straight into the shared arrays

The gradient is A2C's. Nothing waits for another worker: one may read θ while another has written half of it, a
step may get lost, and when g is used, θ has already moved on from θ'. This noise is accepted. The averages of
RMSProp are shared in the same way. A worker that is stopped, at any moment, stops no other.

Use it where the environment is slow: N workers wait at the same time. Otherwise A2C with a vector is simpler, and the
same seed gives the same bits. Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3, which sums over steps.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..optim import RMSProp
from ..plumbing import AnyEnv, Loop, Progress, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..plumbing.processes import Shared, watch
from ..plumbing.spaces import build
from ..policy import Policy
from ..returns import gae
from ..rollout import Collector
from ..value import Value
from .a2c import gradient, loss

__all__ = ["gradient", "loss", "train", "worker"]
STEPS, EPISODES, RETURNS, N_RETURNS = range(4)  # the columns of `shared.counters`, a row for each worker


def train(
    make_env: str | Callable[[], AnyEnv],
    policy: Policy,
    value: Value,
    *,
    workers: int = 2,  # processes, each with an environment of its own
    total_steps: int = 100_000,  # of all environments together
    n_steps: int = 5,  # rows of each environment per update
    gamma: float = 0.99,  # the discount γ
    gae_lambda: float = 0.95,  # λ of GAE: 0 is (4.1), 1 is (4.2) up to the last row
    ent_coef: float = 0.0,  # the weight β of the entropy bonus
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    start_method: str | None = None,  # "fork", "spawn" or "forkserver"; None is the platform's default
    seed: int | None = None,  # of all randomness: with one worker the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and value in place with `workers` processes; yields Progress about twenty times a second.

    make_env: an id, or a function that makes an environment. Without fork, it and the networks' classes must be at the
    top of a module. A worker that fails ends the run with its traceback or signal; one that hangs keeps it waiting.
    """
    env = build(make_env)
    check.fit(env, policy=policy, value=value)
    env.close()
    check.natural(total_steps=total_steps)
    check.count(workers=workers, n_steps=n_steps)
    check.unit(gamma=gamma, gae_lambda=gae_lambda)
    check.weight(ent_coef=ent_coef)
    check.schedule(learning_rate=learning_rate)
    check.bound(max_grad_norm=max_grad_norm)
    methods = multiprocessing.get_all_start_methods()
    check.optional(check.door(str, f"one of {', '.join(methods)}", methods.__contains__), start_method=start_method)
    context = multiprocessing.get_context(start_method)
    shared: Any = Shared(
        context,
        theta=policy.theta,
        phi=value.theta,
        theta_mean_square=np.zeros_like(policy.theta),
        phi_mean_square=np.zeros_like(value.theta),
        counters=np.zeros((workers, 4)),
    )
    settings = SimpleNamespace(total_steps=total_steps, n_steps=n_steps, gamma=gamma, gae_lambda=gae_lambda)
    settings.ent_coef, settings.learning_rate, settings.max_grad_norm = ent_coef, learning_rate, max_grad_norm
    rngs = make_rng(seed, rng).spawn(workers)
    jobs = [(shared, i, make_env, policy, value, rng, settings) for i, rng in enumerate(rngs)]

    def updates() -> Loop:
        try:
            with closing(watch(context, worker, jobs, seconds=0.05)) as looks:
                for _ in looks:
                    policy.theta[:], value.theta[:] = shared.theta, shared.phi
                    total = shared.counters.sum(axis=0)
                    mean_return = total[RETURNS] / total[N_RETURNS] if total[N_RETURNS] else np.nan
                    yield Progress(steps=int(total[STEPS]), episodes=int(total[EPISODES]), mean_return=mean_return)
        finally:
            policy.theta[:], value.theta[:] = shared.theta, shared.phi

    return run(updates())


def worker(
    shared: Any, index: int, make_env: Any, policy: Policy, value: Value, rng: Rng, settings: Any
) -> Iterator[None]:
    """(5.1), what one worker does. Each `next` computes the next gradients and stops before it writes them,
    so workers can also be run by hand, in one process, in any order. settings: those of `train`, by name.
    """
    policy, value = deepcopy((policy, value))  # θ' and φ'
    actor = RMSProp(shared.theta, mean_square=shared.theta_mean_square, max_grad_norm=settings.max_grad_norm)
    critic = RMSProp(shared.phi, mean_square=shared.phi_mean_square, max_grad_norm=settings.max_grad_norm)

    with closing(build(make_env)) as env:
        collector = Collector(env, policy, rng)
        returns = collector.returns = deque(maxlen=max(100 // len(shared.counters), 1))  # about 100 of all workers
        while (steps := shared.counters[:, STEPS].sum()) < settings.total_steps:
            done = steps / settings.total_steps
            actor.learning_rate = critic.learning_rate = scheduled(settings.learning_rate, done)
            policy.theta[:], value.theta[:] = shared.theta, shared.phi
            batch = collector.collect(settings.n_steps)
            values = value(batch.states)
            steps = batch.rewards, values[:-1], values[1:], batch.terminated, batch.truncated
            advantages = gae(*steps, settings.gamma, settings.gae_lambda)
            targets = advantages + values[:-1]
            states, actions, targets, advantages = batch.samples(targets, advantages)
            d_phi = value.mse_gradient(states, targets)
            d_theta = gradient(policy, states, actions, advantages, ent_coef=settings.ent_coef)
            yield
            critic.step(d_phi)
            actor.step(d_theta)
            shared.counters[index] = collector.steps, collector.episodes, sum(returns), len(returns)
