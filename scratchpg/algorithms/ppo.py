"""PPO, proximal policy optimisation: use each batch several times, but let it change the policy only a little.

One large step can turn 50/50 into 99/1 (7.2), so PPO takes many small ones. A sample has the weight r_t A_t until its
ratio r_t is past 1+ε (A_t > 0) or 1-ε (A_t < 0). r_t corrects how often actions come, not how often states do (7.1).

    (6.1)  r_t(θ) = π_θ(a_t|s_t) / π_θold(a_t|s_t)                     never the reward r_t
    (6.2)  L^CLIP(θ) = -mean_t min( r_t A_t, clip(r_t, 1-ε, 1+ε) A_t )
    (6.3)  ∇L^CLIP = -mean_t 1[not clipped] r_t A_t ∇log π_θ,   clipped: A_t > 0 and r_t > 1+ε, or A_t < 0 and r_t < 1-ε

Try it first: it needs few samples, but much tuning. The clip does not bound the KL: watch `kl`. Source: Schulman et al.
2017, arXiv:1707.06347, eq. 6 and 7, which maximise what is minimised here.
"""

import numpy as np

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy, drift
from ..returns import explained_variance, gae, normalized
from ..rollout import Collector, minibatches
from ..value import Value


def loss(
    policy: Policy,
    states: Array,
    actions: Array,
    old_log_prob: Array,  # log π_θold(a_t|s_t), (B,), of the policy that collected the rows
    advantages: Array,
    *,
    clip_range: float = 0.2,  # ε
    ent_coef: float = 0.0,  # β
) -> float:
    """(6.2), a surrogate, and β H:  L(θ) = -mean_t [ min(r_t A_t, clip(r_t, 1-ε, 1+ε) A_t) + β H(π_θ(·|s_t)) ]."""
    states, old_log_prob, advantages = check.rows(states, old_log_prob=old_log_prob, advantages=advantages)
    check.weight(clip_range=clip_range, ent_coef=ent_coef)
    pi = policy(states)
    ratio = np.exp(pi.log_prob(actions) - old_log_prob)  # (6.1)
    clipped_ratio = np.clip(ratio, 1 - clip_range, 1 + clip_range)
    return -(np.minimum(ratio * advantages, clipped_ratio * advantages) + ent_coef * pi.entropy()).mean()


def gradient(
    policy: Policy,
    states: Array,
    actions: Array,
    old_log_prob: Array,  # log π_θold(a_t|s_t), (B,), of the policy that collected the rows
    advantages: Array,
    *,
    clip_range: float = 0.2,  # ε
    ent_coef: float = 0.0,  # β
) -> Array:
    """(6.3) with the bonus, flat in θ: -mean_t [ 1[not clipped] r_t A_t ∇log π + β ∇H ]; at θ_old it is A2C's.

    >>> from scratchpg import SoftmaxPolicy
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> gradient(policy, [[1.0]] * 2, [1, 1], np.log([0.5, 0.4]), [2.0, 9.0])  # r = 1 and 1.25: the second is clipped
    array([ 0.5, -0.5,  0.5, -0.5])
    """
    states, old_log_prob, advantages = check.rows(states, old_log_prob=old_log_prob, advantages=advantages)
    check.weight(clip_range=clip_range, ent_coef=ent_coef)
    pi = policy(states)
    ratio = np.exp(pi.log_prob(actions) - old_log_prob)  # (6.1)
    clipped = np.where(advantages < 0, ratio < 1 - clip_range, ratio > 1 + clip_range)  # as in (6.3)
    weights = np.where(clipped, 0 * advantages, ratio * advantages)  # (6.3); 0 * A, not 0: a NaN must show
    d_parameters = -weights[:, None] * pi.d_log_prob(actions)
    if ent_coef:
        d_parameters -= ent_coef * pi.d_entropy()
    return policy.backward(pi, d_parameters / len(states))


def train(
    env: AnyEnv,
    policy: Policy,
    value: Value,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_steps: int = 128,  # rows of each environment per batch: more than in A2C, as each is used several times
    batch_size: int = 128,  # rows per minibatch
    n_epochs: int = 8,  # passes over each batch
    gamma: float = 0.99,  # the discount γ
    gae_lambda: float = 0.95,  # λ of GAE: 0 is (4.1), 1 is (4.2) up to the last row
    clip_range: Schedule = 0.2,  # ε of the clip
    ent_coef: float = 0.0,  # the weight β of the entropy bonus
    normalize_advantage: bool = True,  # over the rows of each minibatch: a departure, see `returns.normalized`
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    target_kl: float | None = None,  # leave out the remaining epochs of a batch once `kl` exceeds it
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train in place; yields Progress after every batch, see `drift`. After a time limit V(s_{t+1}) still counts."""
    check.fit(env, value=value)  # the Collector checks the policy
    check.natural(total_steps=total_steps)
    check.count(n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs)
    check.unit(gamma=gamma, gae_lambda=gae_lambda)
    check.weight(ent_coef=ent_coef)
    check.flag(normalize_advantage=normalize_advantage)
    check.schedule(learning_rate=learning_rate, clip_range=clip_range)
    check.optional(check.positive, target_kl=target_kl)
    collector = Collector(env, policy, make_rng(seed, rng))
    shuffler = collector.spawn()  # a stream apart: shuffling changes no action
    actor = Adam(policy.theta, max_grad_norm=max_grad_norm)
    critic = Adam(value.theta, max_grad_norm=max_grad_norm)

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            actor.learning_rate = critic.learning_rate = scheduled(learning_rate, done)
            epsilon = scheduled(clip_range, done)
            batch = collector.collect(n_steps)
            values = value(batch.states)
            steps = batch.rewards, values[:-1], values[1:], batch.terminated, batch.truncated
            advantages = gae(*steps, gamma, gae_lambda)
            targets = advantages + values[:-1]
            states, actions, targets, advantages = batch.samples(targets, advantages)
            old = policy(states)  # it stays what it is while θ moves
            old_log_prob = old.log_prob(actions)
            for _ in range(n_epochs):
                for i in minibatches(len(states), batch_size, shuffler):
                    A = normalized(advantages[i]) if normalize_advantage else advantages[i]
                    rows = states[i], actions[i], old_log_prob[i], A
                    critic.step(value.mse_gradient(rows[0], targets[i]))
                    gradient_norm = actor.step(gradient(policy, *rows, clip_range=epsilon, ent_coef=ent_coef))
                if target_kl is not None and not old.kl(policy(states)).mean() <= target_kl:  # also if it is NaN
                    break
            fit = {"explained_variance": explained_variance(targets, value(states)), "gradient_norm": gradient_norm}
            yield collector.progress(**drift(old, policy(states), actions, epsilon), **fit)

    return run(updates(), collector=collector, actor=actor, critic=critic)
