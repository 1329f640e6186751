"""SAC, soft actor-critic: keep all experience, learn from any of it, and get a reward for staying uncertain.

    (12.1)   J_α(θ) = E[ Σ_t γ^t ( r_t + α H(π_θ(·|s_t)) ) ]
    (12.6)   y = r + γ 1[s' not terminal] ( min_i Q̄_i(s',a') - α log π_θ(a'|s') ),   a' ~ π_θ(·|s') drawn now
    (12.7)   L_Q(φ) = Σ_i mean_t ( y_t - Q_i(s_t,a_t) )²,   i = 1, 2
    (12.8)   L_π(θ) = mean_t E_{a~π_θ(·|s_t)}[ α log π_θ(a|s_t) - min_i Q_i(s_t,a) ]
    (12.14)  log α ← log α - η ( H - H̄ ),   H = -mean_t log π_θ(a_t|s_t)             towards an entropy H̄

Its step is not ∇J_α (12.5): it takes states as the replay has them, and moves π(·|s) towards softmax(Q(s,·)/α) (12.4).
Use it where the environment is slow: it needs less experience than PPO, but more computing. (Haarnoja et al. 2018.)
"""

import math
from copy import deepcopy

import numpy as np

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..q import TwinQ, follow
from ..replay import Replay, Sample
from ..rollout import Collector
from ..squashed import SquashedGaussianPolicy


def targets(policy: SquashedGaussianPolicy, target: TwinQ, batch: Sample, noise: Array, *, ent_coef: float) -> Array:
    """(12.6)  y (B,), with a' = tanh(μ + σ ε) of this noise ε (B, d); at a terminal s' it is r, without an entropy."""
    _, rewards, discounts = check.rows(batch.next_states, rewards=batch.rewards, discounts=batch.discounts)
    check.weight(ent_coef=ent_coef)
    pi = policy(batch.next_states)
    values = target(batch.next_states, pi.action(noise)).min(axis=0) - ent_coef * pi.log_prob(noise)
    return rewards + discounts * values


def loss(policy: SquashedGaussianPolicy, q: TwinQ, states: Array, noise: Array, *, ent_coef: float) -> float:
    """(12.8)  L_π(θ), with one action for each state, made of this noise (B, d)."""
    (states,) = check.rows(states)
    check.weight(ent_coef=ent_coef)
    pi = policy(states)
    return (ent_coef * pi.log_prob(noise) - q(states, pi.action(noise)).min(axis=0)).mean()


def gradient(
    policy: SquashedGaussianPolicy, q: TwinQ, states: Array, noise: Array, *, ent_coef: float
) -> tuple[Array, float]:
    """∇ of (12.8), flat in θ, with the noise held constant (12.12), (12.13); and H of (12.14), of these actions."""
    (states,) = check.rows(states)
    check.weight(ent_coef=ent_coef)
    pi = policy(states)
    values, caches = q.forward(states, pi.action(noise))
    smaller = np.stack([values[0] < values[1], values[0] >= values[1]])  # ∂ min_i Q_i/∂Q_i: 1 for the smaller, else 0
    d_actions = q.d_action(caches, smaller, policy.outputs)  # ∂ min_i Q_i/∂a
    d_parameters = ent_coef * pi.d_log_prob(noise) - pi.d_action(noise, d_actions)  # (12.12)
    return policy.backward(pi, d_parameters / len(states)), -float(pi.log_prob(noise).mean())  # H of (12.14)


def train(
    env: AnyEnv,
    policy: SquashedGaussianPolicy,
    q: TwinQ,
    *,
    total_steps: int = 100_000,  # of all environments together
    train_freq: int = 1,  # rows of each environment between updates
    gradient_steps: int = 1,  # steps of φ, θ and α per update
    batch_size: int = 256,  # transitions per step
    buffer_size: int = 100_000,  # transitions that the replay keeps
    learning_starts: int = 1_000,  # steps of the environments before the first update
    gamma: float = 0.99,  # the discount γ
    tau: float = 0.005,  # τ of (12.15)
    ent_coef: float = 1.0,  # the temperature α: where it starts, or stays
    learn_ent_coef: bool = True,  # by (12.14)
    target_entropy: float | None = None,  # H̄; None is -d, d the dimensions of an action
    learning_rate: Schedule = 1e-3,  # η; a number, or (first, last): linear over total_steps
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and q in place; yields Progress: ent_coef is α, entropy goes to H̄. A time limit is no end."""
    check.of_class(SquashedGaussianPolicy, policy=policy)
    check.of_class(TwinQ, q=q)
    check.fit(env, q=q)
    check.natural(total_steps=total_steps, learning_starts=learning_starts)
    check.count(train_freq=train_freq, gradient_steps=gradient_steps, batch_size=batch_size)
    check.unit(tau=tau)
    check.flag(learn_ent_coef=learn_ent_coef)
    (check.positive if learn_ent_coef else check.weight)(ent_coef=ent_coef)
    check.optional(check.real, target_entropy=target_entropy)
    check.schedule(learning_rate=learning_rate)
    H_bar = -policy.outputs if target_entropy is None else target_entropy
    rng = make_rng(seed, rng)
    target, collector = deepcopy(q), Collector(env, policy, rng)
    sampler = rng.spawn(1)[0]  # its own stream: the number of samples drawn changes no action
    replay = Replay(buffer_size, gamma=gamma)
    actor, critic = Adam(policy.theta), Adam(q.theta)

    def updates() -> Loop:
        alpha, entropy, gradient_norm = ent_coef, np.nan, np.nan
        while collector.steps < total_steps:
            rate = actor.learning_rate = critic.learning_rate = scheduled(learning_rate, collector.steps / total_steps)
            replay.add(collector.collect(train_freq))
            for _ in range(gradient_steps if collector.steps >= learning_starts else 0):
                batch = replay.sample(batch_size, sampler)
                noise, next_noise = sampler.standard_normal((2, batch_size, policy.outputs), policy.theta.dtype)
                y = targets(policy, target, batch, next_noise, ent_coef=alpha)
                critic.step(q.mse_gradient(batch.states, batch.actions, y))
                g, entropy = gradient(policy, q, batch.states, noise, ent_coef=alpha)
                gradient_norm = actor.step(g)
                if learn_ent_coef:
                    alpha *= math.exp(min(-rate * (entropy - H_bar), 700))  # (12.14), of α; e^710 is too large
                follow(target, q, tau)
            yield collector.progress(ent_coef=alpha, entropy=entropy, gradient_norm=gradient_norm)

    return run(updates())
