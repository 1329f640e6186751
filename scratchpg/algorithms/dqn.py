"""DQN, deep Q-learning: no policy, no ∇J. Learn the value of each action, and take the action that looks best (11.4).

    (11.1)  Q*(s,a) = E[ r + γ max_b Q*(s',b) ]                     greedy on Q* is the best of all policies
    (11.2)  y = r + γ 1[s' not terminal] max_b Q̄(s',b)              Q̄, a copy of Q, follows it as in (11.5)
    (11.3)  L(φ) = mean_t ( y_t - Q_φ(s_t,a_t) )²                   ∇L = -2 mean_t (y_t - Q_φ) ∇Q_φ, y a constant (3.7)

(11.1) holds whoever acted, so a replay keeps all experience: use DQN where the environment is slow. It is less stable
than the chapters before: no true gradient, and bootstrapping off-policy (3.12). (Mnih et al. 2015.)
"""

from copy import deepcopy

import numpy as np

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..q import Behaviour, QNetwork, follow
from ..replay import Replay
from ..rollout import Collector


def loss(q: QNetwork, states: Array, actions: Array, targets: Array) -> float:
    """(11.3)  L(φ) = mean_t (y_t - Q_φ(s_t,a_t))²; targets (B,) stand for y_t, and count as constants."""
    states, targets = check.rows(states, targets=targets)
    output = q(states)
    return np.mean((targets - output.values[output.taken(actions)]) ** 2)


def gradient(q: QNetwork, states: Array, actions: Array, targets: Array) -> Array:
    """(11.3)  ∇L = -2 mean_t (y_t - Q_φ(s_t,a_t)) ∇Q_φ(s_t,a_t), flat in φ, for a q without atoms.

    >>> gradient(QNetwork((1, 2), theta=np.zeros(4)), [[1.0]], [1], [3.0])  # -2 (3 - 0), for W and b of action 1
    array([ 0., -6.,  0., -6.])
    """
    states, targets = check.rows(states, targets=targets)
    output = q(states)
    taken, d_values = output.taken(actions), np.zeros_like(output.values)
    d_values[taken] = -2 / len(targets) * (targets - output.values[taken])  # (11.3)
    return q.backward(output, d_values)


def train(
    env: AnyEnv,
    q: QNetwork,
    *,
    total_steps: int = 100_000,  # of all environments together
    train_freq: int = 4,  # rows of each environment between updates
    gradient_steps: int = 1,  # steps of φ per update
    batch_size: int = 64,  # transitions per step of φ
    buffer_size: int = 100_000,  # transitions that the replay keeps
    learning_starts: int = 1_000,  # steps of the environments before the first update
    gamma: float = 0.99,  # the discount γ
    tau: float = 1.0,  # τ of (11.5): 1 is a copy
    target_update_interval: int = 250,  # C of (11.5), in steps of φ
    exploration_fraction: float = 0.1,  # the share of total_steps over which ε falls
    exploration_final_eps: float = 0.05,  # ε from then on; at first it is 1
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    max_grad_norm: float = 10.0,  # a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train q in place; yields Progress after every update. A time limit is no end."""
    check.natural(total_steps=total_steps, learning_starts=learning_starts)
    check.count(train_freq=train_freq, gradient_steps=gradient_steps, batch_size=batch_size)
    check.count(target_update_interval=target_update_interval)
    check.unit(tau=tau)
    check.schedule(learning_rate=learning_rate)
    policy, target = Behaviour(q, exploration_fraction, exploration_final_eps), deepcopy(q)
    if q.z is not None:
        raise ValueError(f"q must be without atoms, which only Rainbow uses, not {q}")
    collector = Collector(env, policy, make_rng(seed, rng))
    sampler = collector.spawn()  # its own stream: the number of samples drawn changes no action
    replay = Replay(buffer_size, gamma=gamma)
    optimizer = Adam(q.theta, max_grad_norm=max_grad_norm)

    def updates() -> Loop:
        gradient_norm = np.nan
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            optimizer.learning_rate = scheduled(learning_rate, done)
            policy.explore(done)
            replay.add(collector.collect(train_freq))
            for _ in range(gradient_steps if collector.steps >= learning_starts else 0):
                batch = replay.sample(batch_size, sampler)
                targets = batch.rewards + batch.discounts * target(batch.next_states).values.max(axis=1)  # (11.2)
                gradient_norm = optimizer.step(gradient(q, batch.states, batch.actions, targets))
                if optimizer.t % target_update_interval == 0:
                    follow(target, q, tau)
            yield collector.progress(epsilon=policy.epsilon, gradient_norm=gradient_norm)

    return run(updates())
