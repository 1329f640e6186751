"""A3C, asynchronous advantage actor-critic: many workers, one shared θ, no lock.

In A2C a slow environment starves the learner. Here N processes explore at once, each in an environment of its own with
a generator of its own, and each writes what it learned into the parameters that all of them share:

    (5.1)  each worker, for ever:  θ' ← θ, φ' ← φ;  collect up to n steps with π_θ';
           g ← ∇L (4.4), (2.3) at θ', φ';   θ ← θ - η·precondition(g), straight into the shared arrays

The gradient is A2C's. Nothing on that path waits for another worker: while one reads θ another may be half way through
writing it, a step may get lost, and g is used a little later than the θ' it was taken at. This noise is tolerated. The
averages of RMSProp are shared in the same way. A worker that is halted, at any instant, halts no other.

Use it where the environment is slow: N workers wait at the same time. Where it is fast, A2C with a vector of
environments is simpler and can be repeated bit for bit, which A3C with more than one worker can't. Its loss is A2C's.
Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3, whose dθ accumulates a sum over steps where this is a mean.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from typing import Any

import numpy as np

from ..checks import Rng
from ..optim import RMSProp
from ..policy import SoftmaxPolicy
from ..processes import Shared, crew
from ..returns import gae
from ..rollout import Collector
from ..spaces import AnyEnv, build
from ..training import Progress, Updates, generator, training
from ..value import Value
from .a2c import gradient, loss

__all__ = ["gradient", "loss", "train", "worker"]


@training
def train(
    make_env: str | Callable[[], AnyEnv], policy: SoftmaxPolicy, value: Value, *,
    workers: int = 2, total_steps: int = 300_000, n_steps: int = 20,
    gamma: float = 0.99, gae_lambda: float = 1.0, ent_coef: float = 0.0,
    learning_rate: float = 2e-3, max_grad_norm: float = 0.5, start_method: str | None = None,
    seed: int | None = None, rng: Rng = None,
) -> Updates:  # fmt: skip
    """Train policy and value in place with `workers` processes; yields Progress some twenty times a second.

    make_env: an environment id, or a function that makes one; "spawn" and "forkserver" need it, and the classes of the
        networks, at the top of a module.
    start_method: "fork", "spawn" or "forkserver"; None is the platform's default.

    The run ends when all workers have, so one that hangs keeps it waiting. Closing the generator, or Ctrl-C, stops them
    all. A worker that fails ends the run with a RuntimeError (a FloatingPointError if it diverged) that names it and
    its traceback or signal; what was learned so far is kept.
    """
    context = multiprocessing.get_context(start_method)
    shared: Any = Shared(
        context,
        theta=policy.theta,
        phi=value.theta,
        theta_average=np.zeros_like(policy.theta),
        phi_average=np.zeros_like(value.theta),
        slots=np.zeros((workers, 4)),  # of each worker: steps, episodes, the sum of its latest returns, their number
    )
    settings = total_steps, n_steps, gamma, gae_lambda, ent_coef, learning_rate, max_grad_norm
    rngs = generator(seed, rng).spawn(workers)
    jobs = [(shared, i, make_env, policy, value, worker_rng, settings) for i, worker_rng in enumerate(rngs)]
    try:
        with closing(crew(context, _work, jobs, seconds=0.05)) as ticks:
            for _ in ticks:
                policy.theta[:], value.theta[:] = shared.theta, shared.phi
                steps, episodes, total, latest = shared.slots.sum(axis=0).tolist()
                mean_return = total / latest if latest else np.nan
                yield Progress(steps=int(steps), episodes=int(episodes), mean_return=mean_return)
    finally:
        policy.theta[:], value.theta[:] = shared.theta, shared.phi


def worker(
    shared: Any, index: int, env: AnyEnv, policy: SoftmaxPolicy, value: Value, rng: Rng, *settings: Any
) -> Iterator[None]:
    """(5.1), the life of one worker, whose own `policy` and `value` are θ' and φ'.

    Each `next` goes as far as the next gradients and stops before they are written, so workers can also be driven by
    hand, in one process, in any order.
    """
    total_steps, n_steps, gamma, gae_lambda, ent_coef, learning_rate, max_grad_norm = settings
    collector = Collector(env, policy, rng)
    collector.returns = deque(maxlen=max(100 // len(shared.slots), 1))  # about 100 with those of the other workers
    actor = RMSProp(shared.theta, learning_rate, square_avg=shared.theta_average, max_grad_norm=max_grad_norm)
    critic = RMSProp(shared.phi, learning_rate, square_avg=shared.phi_average, max_grad_norm=max_grad_norm)

    while shared.slots[:, 0].sum() < total_steps:
        policy.theta[:], value.theta[:] = shared.theta, shared.phi
        batch = collector.collect(n_steps)
        values, next_values = batch.values(value)
        advantages = gae(batch.rewards, values, next_values, batch.terminated, batch.truncated, gamma, gae_lambda)
        states, actions, advantages, targets = batch.rows(advantages, advantages + values)
        d_phi = value.mse_gradient(states, targets)
        d_theta = gradient(policy, states, actions, advantages, ent_coef=ent_coef)
        yield
        critic.step(d_phi)
        actor.step(d_theta)
        returns = collector.returns
        shared.slots[index] = collector.steps, collector.episodes, sum(returns), len(returns)


def _work(
    shared: Any, index: int, make_env: Any, policy: SoftmaxPolicy, value: Value, rng: Rng, settings: Any
) -> Iterator[None]:
    """What a worker process runs: `worker`, with an environment and networks of its own."""
    with closing(build(make_env)) as env:
        yield from worker(shared, index, env, *deepcopy((policy, value)), rng, *settings)
