"""Rainbow: DQN with six improvements, each a switch. With all six off it is DQN, bit for bit (11.16).

    double       (11.6)   y = r + γ Q̄(s',b*), b* = argmax_b Q_φ(s',b), else argmax_b Q̄(s',b): the maximum of noisy
                          values is too high, so one network chooses, and the other gives the value
    prioritized  (11.8)   draw transitions with large errors more often, and give them less weight (11.9)
    n_steps      (11.10)  y = Σ_{k<m} γ^k r_{t+k} + γ_m Q̄(s_{t+m},b*), m ≤ n: rewards arrive n times as fast
    dueling      (11.7)   of the network: all actions of a state share one V
    atoms        (11.11)  of the network: the whole distribution of the return is learned, not only its mean
    noisy        (11.14)  of the network: noise in the weights explores; its size is learned; ε is off

    (11.12) m_i = Σ_j p_j(s',b*) max(0, 1 - |clip(r + γ_m z_j) - z_i| / Δz)       γ_m = γ^m, or 0 at a terminal state
    (11.13) L = -mean_t w_t Σ_i m_i log p_i(s_t,a_t)                              in place of w_t (y_t - Q)²

Use it where DQN is used; what each switch is worth depends on the task, so turn them off one by one. The rewards of
n steps come from older policies, and nothing corrects that. Source: Hessel et al. 2018, arXiv:1710.02298.
"""

from copy import deepcopy
from typing import Any

import numpy as np

from ..epsilon_greedy import EpsilonGreedy
from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..q import Behaviour, QNetwork, follow
from ..replay import PrioritizedReplay, Replay, Sample
from ..rollout import Collector
from ..softmax import Softmax


def project(rewards: Array, discounts: Array, probabilities: Array, z: Array) -> Array:
    """(11.12)  m (B, N): the probability of each r + γ_m z_j goes to its two neighbours among the atoms z.

    >>> project(np.array([0.25]), np.array([1.0]), np.array([[0.0, 1.0, 0.0]]), np.array([0.0, 1.0, 2.0]))
    array([[0.  , 0.75, 0.25]])
    """
    N, rows = len(z), np.shape(rewards)[:1]
    probabilities = check.numbers("probabilities", probabilities, (*rows, N))
    rewards, discounts = check.numbers("rewards", rewards, rows), check.numbers("discounts", discounts, rows)
    x = np.clip((rewards[:, None] + discounts[:, None] * z - z[0]) / (z[1] - z[0]), 0, N - 1)  # counted in atoms
    lower = np.minimum(x.astype(int), N - 2)  # so there is always an atom above
    up = probabilities * (x - lower)  # the share of the upper neighbour
    place = (lower + N * np.arange(len(x))[:, None]).ravel()  # of the lower one in m, row after row
    m = np.bincount(place, (probabilities - up).ravel(), x.size) + np.bincount(place + 1, up.ravel(), x.size)
    return m.reshape(x.shape)


def targets(q: QNetwork, target: QNetwork, batch: Sample, double: bool, noises: tuple[Any, Any]) -> Array:
    """(11.10), with the best action b* of s_{t+m}: y (B,); with atoms m (B, N) of (11.12). noises: of q, of target."""
    _, rewards, discounts = check.rows(batch.next_states, rewards=batch.rewards, discounts=batch.discounts)
    judge = target(batch.next_states, noises[1])
    best = q(batch.next_states, noises[0]).mode() if double else judge.mode()  # (11.6)
    values = judge.outputs[judge.taken(best)]
    if q.z is None:
        return rewards + discounts * values
    return project(rewards, discounts, Softmax(values).probabilities, q.z)


def errors(output: EpsilonGreedy, actions: Array, targets: Array) -> tuple[Array, Array, Array]:
    """Of each row: its loss (B,), ∂loss/∂outputs of the action taken, and the error of (11.8), |y - Q| or KL(m ‖ p)."""
    outputs = output.outputs[output.taken(actions)]
    targets = check.numbers("targets", targets, outputs.shape)
    if output.z is None:
        error = targets - outputs
        return error**2, -2 * error, abs(error)
    p = Softmax(outputs)
    cross_entropy = -(targets * p.log_probabilities).sum(axis=1)
    minus_entropy = (targets * np.log(np.maximum(targets, np.finfo(float).tiny))).sum(axis=1)  # 0 log 0 is 0
    return cross_entropy, p.probabilities - targets, cross_entropy + minus_entropy


def loss(q: QNetwork, batch: Sample, targets: Array, noise: Array | None = None) -> float:
    """(11.3) or (11.13), weighted: mean_t w_t loss_t, of a sample's states, actions and weights. targets: y or m."""
    states, weights = check.rows(batch.states, weights=batch.weights)
    return np.mean(weights * errors(q(states, noise), batch.actions, targets)[0])


def gradient(q: QNetwork, batch: Sample, targets: Array, noise: Array | None = None) -> tuple[Array, Array]:
    """∇ of `loss`, flat in φ, and the errors (B,) that make the new priorities."""
    states, weights = check.rows(batch.states, weights=batch.weights)
    output = q(states, noise)
    _, d, priorities = errors(output, batch.actions, targets)
    d_outputs = np.zeros_like(output.outputs)
    d_outputs[output.taken(batch.actions)] = (weights / len(weights) * d.T).T  # row by row, d (B,) or (B, N)
    return q.backward(output, d_outputs), priorities


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
    double: bool = True,  # (11.6)
    prioritized: bool = True,  # (11.8)
    n_steps: int = 3,  # n of (11.10); 1 is (11.2)
    priority_exponent: float = 0.5,  # ω of (11.8)
    beta: Schedule = (0.4, 1.0),  # β of (11.9): 1 repairs the draw in full
    tau: float = 1.0,  # τ of (11.5): 1 is a copy
    target_update_interval: int = 250,  # C of (11.5), in steps of φ
    exploration_fraction: float = 0.1,  # the share of total_steps over which ε falls; a noisy network has ε = 0
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
    check.flag(double=double, prioritized=prioritized)
    check.schedule(learning_rate=learning_rate, beta=beta)
    check.unit(tau=tau, beta=np.max(beta))
    policy, target = Behaviour(q, exploration_fraction, exploration_final_eps), deepcopy(q)
    collector = Collector(env, policy, make_rng(seed, rng))
    sampler = collector.spawn()  # its own stream: the number of samples drawn changes no action
    replay = Replay(buffer_size, gamma=gamma, n_steps=n_steps)
    if prioritized:
        replay = PrioritizedReplay(buffer_size, gamma=gamma, n_steps=n_steps, priority_exponent=priority_exponent)
    optimizer = Adam(q.theta, max_grad_norm=max_grad_norm)

    def updates() -> Loop:
        gradient_norm = np.nan
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            optimizer.learning_rate = scheduled(learning_rate, done)
            policy.explore(done, q.draw(sampler))
            if isinstance(replay, PrioritizedReplay):
                replay.beta = scheduled(beta, done)
            replay.add(collector.collect(train_freq))
            for _ in range(gradient_steps if collector.steps >= learning_starts else 0):
                noise = q.draw(sampler)  # (11.14), new in each step; the target has its own
                batch = replay.sample(batch_size, sampler)
                y = targets(q, target, batch, double, (noise, target.draw(sampler)))
                g, priorities = gradient(q, batch, y, noise)
                gradient_norm = optimizer.step(g)
                if isinstance(replay, PrioritizedReplay):
                    replay.update(batch.places, priorities)
                if optimizer.t % target_update_interval == 0:
                    follow(target, q, tau)
            yield collector.progress(epsilon=policy.epsilon, gradient_norm=gradient_norm)

    return run(updates())
