"""PPO, proximal policy optimisation: use each batch several times, and do not run away with it.

(7.2) One large step of the vanilla gradient can push 50/50 to 99/1: exploration dies, and the old advantages are wrong.
PPO asks for more of a good action, but not too much more, in many small steps: each sample counts by the ratio to the
policy that collected it, and stops pushing past 1 ± ε. The ratio also lets a batch be used again: (7.1) after a step on
θ the plain estimate from the old batch is biased; one ratio per step repairs the choice of a_t.

    (6.1)  r_t(θ) = π_θ(a_t|s_t) / π_θold(a_t|s_t)                     not the reward r_t
    (6.2)  L^CLIP(θ) = -mean_t min( r_t A_t, clip(r_t, 1-ε, 1+ε) A_t )
    (6.3)  ∇L^CLIP = -mean_t 1[not clipped] r_t A_t ∇log π_θ(a_t|s_t)     at θ = θ_old: the A2C gradient
           clipped means: A_t > 0 and r_t > 1+ε, or A_t < 0 and r_t < 1-ε

Use it first: of this family it takes the fewest environment steps to learn. It has the most to tune, and its clip is
no bound: the policy can still drift far over many epochs (watch `kl`). Its loss begins each batch at 0, where the
advantages are normalised, and ends it a little below. Source: Schulman et al. 2017, arXiv:1707.06347, eq. 6 and 7,
which maximise what is minimised here.
"""

import numpy as np

from ..checks import Array, Rng, Scalar, Schedule, checked
from ..optim import Adam
from ..policy import SoftmaxPolicy
from ..returns import explained_variance, gae, normalized
from ..rollout import Collector
from ..spaces import AnyEnv
from ..training import Updates, generator, linear, training
from ..value import Value


@checked
def loss(
    policy: SoftmaxPolicy, states: Array, actions: Array, old_log_prob: Array, advantages: Array, *,
    clip_range: float = 0.2, ent_coef: float = 0.0,
) -> Scalar:  # fmt: skip
    """(6.2) with an entropy bonus:  L(θ) = -mean_t [ min(r_t A_t, clip(r_t, 1-ε, 1+ε) A_t) + β H(π_θ(·|s_t)) ].

    A surrogate: only its gradient means something. states (B, observation), the rest (B,); old_log_prob is
    log π_θold(a_t|s_t), ε is clip_range, β is ent_coef.
    """
    pi = policy(states)
    ratio = np.exp(pi.log_prob(actions) - old_log_prob)
    clipped_ratio = np.clip(ratio, 1 - clip_range, 1 + clip_range)
    return -(np.minimum(ratio * advantages, clipped_ratio * advantages) + ent_coef * pi.entropy()).mean()


@checked
def gradient(
    policy: SoftmaxPolicy, states: Array, actions: Array, old_log_prob: Array, advantages: Array, *,
    clip_range: float = 0.2, ent_coef: float = 0.0,
) -> Array:  # fmt: skip
    """(6.3) with the bonus, flat in θ: -mean_t [ 1[not clipped] r_t A_t ∇log π + β ∇H ]. Arguments as in `loss`.

    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> gradient(policy, [[1.0]] * 2, [1, 1], np.log([0.5, 0.4]), [2.0, 9.0])  # r = 1 and 1.25: the second is clipped
    array([ 0.5, -0.5,  0.5, -0.5])
    """
    pi = policy(states)
    ratio = np.exp(pi.log_prob(actions) - old_log_prob)
    clipped = np.where(advantages < 0, ratio < 1 - clip_range, ratio > 1 + clip_range)
    weights = np.where(clipped, 0, ratio * advantages)
    d_logits = -weights[:, None] * pi.d_log_prob(actions)
    if ent_coef:
        d_logits -= ent_coef * pi.d_entropy()
    return policy.backward(pi, d_logits / len(actions))


@training
def train(
    env: AnyEnv, policy: SoftmaxPolicy, value: Value, *,
    total_steps: int = 100_000, n_steps: int = 64, batch_size: int = 192, n_epochs: int = 8,
    gamma: float = 0.98, gae_lambda: float = 0.95, clip_range: Schedule = (0.2, 0.0), ent_coef: float = 0.0,
    normalize_advantage: bool = True, learning_rate: Schedule = (3e-3, 0.0), max_grad_norm: float = 0.5,
    target_kl: float | None = None, seed: int | None = None, rng: Rng = None,
) -> Updates:  # fmt: skip
    """Train policy and value in place; yields Progress after every batch.

    n_steps, batch_size, n_epochs: rows of each environment per batch, rows per minibatch, passes over the batch.
    learning_rate (of both networks), clip_range: a number, or (first, last), from one to the other over total_steps.
    target_kl: leave out the remaining epochs of a batch once `kl` exceeds it.

    Diagnostics of the policy after the update against the one before, over the whole batch:
        kl                   mean_t KL(π_old ‖ π), in nats: up to some 0.01; above 0.05 the steps are too large
        clip_fraction        the share of rows with |r_t - 1| > ε: up to some 0.2; always 0 means ε does nothing
        entropy              mean_t H(π), in nats: falls slowly from log A; near 0 exploration has ended
        explained_variance   1 - Var[target - V] / Var[target], of V after its fit: towards 1; ≤ 0: a constant would do
        gradient_norm        of the policy, in the last minibatch, before clipping: mostly below max_grad_norm
    """
    rng = generator(seed, rng)
    collector, shuffler = Collector(env, policy, rng), rng.spawn(1)[0]
    actor, critic = (Adam(network.theta, max_grad_norm=max_grad_norm) for network in (policy, value))

    while collector.steps < total_steps:
        done = collector.steps / total_steps
        actor.learning_rate = critic.learning_rate = linear(learning_rate, done)
        epsilon = linear(clip_range, done)
        batch = collector.collect(n_steps)
        values, next_values = batch.values(value)
        advantages = gae(batch.rewards, values, next_values, batch.terminated, batch.truncated, gamma, gae_lambda)
        states, actions, advantages, targets = batch.rows(advantages, advantages + values)
        pi_old = policy(states)
        old_log_prob = pi_old.log_prob(actions)

        for _ in range(n_epochs):
            order = shuffler.permutation(len(actions))
            shuffled = [x[order] for x in (states, actions, old_log_prob, advantages, targets)]
            for start in range(0, len(order), batch_size):
                s, a, old, A, G = (x[start : start + batch_size] for x in shuffled)
                A = normalized(A) if normalize_advantage else A
                critic.step(value.mse_gradient(s, G))
                gradient_norm = actor.step(gradient(policy, s, a, old, A, clip_range=epsilon, ent_coef=ent_coef))
            if target_kl is not None and pi_old.kl(policy(states)).mean() > target_kl:
                break

        pi = policy(states)
        clipped = abs(np.exp(pi.log_prob(actions) - old_log_prob) - 1) > epsilon
        means = {"kl": pi_old.kl(pi), "clip_fraction": clipped, "entropy": pi.entropy()}
        diagnostics = {name: float(x.mean()) for name, x in means.items()}
        diagnostics["explained_variance"] = explained_variance(targets, value(states))
        yield collector.progress(**diagnostics, gradient_norm=gradient_norm)
