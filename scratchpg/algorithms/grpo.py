"""GRPO, group-relative policy optimisation: PPO with a baseline that is measured on a group, not learned by a critic.

A baseline says what is usual from this start. A critic has to learn that; here G episodes from one start show it, and
an episode that did better than the rest of its group becomes more probable. There is no value network.

    (10.1)  a group: τ_1 … τ_G ~ π_θ from one s_0 ~ p(s_0), R_i = Σ_t γ^t r_t;  ĝ = (1/G) Σ_i A_i Σ_t ∇log π(a_t|s_t)
    (10.5)  L(θ) = -(1/G) Σ_i w_i Σ_t [ min(r_t A_i, clip(r_t, 1-ε, 1+ε) A_i) - β KL(π_θ(·|s_t) ‖ π_ref(·|s_t)) ]

Use it where one reward comes at the end of a sequence and answers to a prompt are cheap, else PPO: a group teaches only
if its returns differ, so take several groups. (Shao et al. 2024, arXiv:2402.03300; Liu et al. 2025, arXiv:2503.20783.)
"""

from typing import Any

import numpy as np

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy, drift
from ..returns import discounted, group_advantages
from ..rollout import Collector, minibatches
from . import ppo


def loss(
    policy: Policy,
    states: Array,
    actions: Array,
    old_log_prob: Array,  # log π_θold(a_t|s_t), (B,), of the policy that collected the rows
    advantages: Array,
    weights: Array,  # w_t ≥ 0, (B,); all 1 is the mean over rows
    *,
    clip_range: float = 0.2,  # ε
    reference: Any = None,  # π_ref, a policy
    kl_coef: float = 0.0,  # β
) -> float:
    """(10.5)  L(θ) = mean_t w_t [ -min(r_t A_t, clip(r_t, 1-ε, 1+ε) A_t) + β KL(π_θ(·|s_t) ‖ π_ref(·|s_t)) ]."""
    states, advantages, weights = check.rows(states, advantages=advantages, weights=weights)
    check.weight(kl_coef=kl_coef, weights=weights.min())
    # A surrogate. As w ≥ 0, it may be multiplied into A within the minimum: this is PPO's loss of w A
    surrogate = ppo.loss(policy, states, actions, old_log_prob, weights * advantages, clip_range=clip_range)
    return surrogate + (kl_coef * (weights * policy(states).kl(reference(states))).mean() if kl_coef else 0.0)  # (10.6)


def gradient(
    policy: Policy,
    states: Array,
    actions: Array,
    old_log_prob: Array,  # log π_θold(a_t|s_t), (B,), of the policy that collected the rows
    advantages: Array,
    weights: Array,  # w_t ≥ 0, (B,); all 1 is the mean over rows
    *,
    clip_range: float = 0.2,  # ε
    reference: Any = None,  # π_ref, a policy
    kl_coef: float = 0.0,  # β
) -> Array:
    """(10.5)  PPO's gradient (6.3) of w A, and (10.6) β mean_t w_t ∇KL(π_θ ‖ π_ref), flat in θ.

    The paper samples k3 = r' - 1 - log r', r' = π_ref/π_θ: the right value, but E[∇k3] = ∇KL(π_ref ‖ π_θ).
    """
    states, advantages, weights = check.rows(states, advantages=advantages, weights=weights)
    check.weight(kl_coef=kl_coef, weights=weights.min())
    g = ppo.gradient(policy, states, actions, old_log_prob, weights * advantages, clip_range=clip_range)
    if kl_coef:
        pi = policy(states)
        g += policy.backward(pi, kl_coef * weights[:, None] * pi.d_kl(reference(states)) / len(states))  # (10.6)
    return g


def train(
    env: AnyEnv,
    policy: Policy,
    *,
    total_steps: int = 100_000,  # of all environments together
    group_size: int = 8,  # G neighbouring environments begin from one seed and play one episode each
    batch_size: int = 1024,  # rows per minibatch
    n_epochs: int = 8,  # passes over each batch
    gamma: float = 0.99,  # the discount γ
    per_step: bool = False,  # (10.7): compare what came from each step on; γ^t is dropped, as in A2C
    divide_by_std: bool = False,  # (10.4), the paper's: a bias, see `group_advantages`
    divide_by_length: bool = False,  # w_i = 1/|τ_i|, the paper's: a bias, long failures are punished less per step
    clip_range: Schedule = 0.2,  # ε of the clip
    reference: Policy | None = None,  # π_ref: another policy, which stays as it is
    kl_coef: float = 0.0,  # the weight β of KL(π_θ ‖ π_ref)
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train the policy in place; equal_groups: the share whose returns were equal. A time limit is an end."""
    check.natural(total_steps=total_steps)
    check.count(group_size=group_size, batch_size=batch_size, n_epochs=n_epochs)
    check.unit(gamma=gamma)
    check.flag(per_step=per_step, divide_by_std=divide_by_std, divide_by_length=divide_by_length)
    check.weight(kl_coef=kl_coef)
    check.schedule(learning_rate=learning_rate, clip_range=clip_range)
    check.optional(lambda **given: check.fit(env, **given), reference=reference)
    if kl_coef and (reference is None or np.shares_memory(reference.theta, policy.theta)):
        raise ValueError(f"kl_coef {kl_coef} needs a reference with a θ of its own, such as copy.deepcopy(policy)")
    collector = Collector(env, policy, make_rng(seed, rng))
    actor = Adam(policy.theta, max_grad_norm=max_grad_norm)
    n = collector.n_envs
    group_advantages(np.zeros(n), group_size)  # refuses what makes no groups
    collector.envs.reset([0] * n)  # refuses what does not begin alike from one seed

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            actor.learning_rate = scheduled(learning_rate, done)
            epsilon = scheduled(clip_range, done)
            seeds = collector.rng.integers(2**31, size=n // group_size).repeat(group_size)  # one for each group
            batch = collector.collect_episodes(n, seeds.tolist())
            returns = discounted(batch.rewards, gamma, batch.ended)
            R = returns if per_step else np.broadcast_to(returns[0], returns.shape)
            advantages = group_advantages(R, group_size, divide_by_std=divide_by_std)
            lengths = batch.valid.sum(axis=0) if divide_by_length else np.ones(n)
            weights = np.ones_like(returns) * lengths.mean() / lengths  # 1, or mean length/|τ_i|
            states, actions, advantages, weights = batch.samples(advantages, weights)
            old = policy(states)
            rows = states, actions, old.log_prob(actions), advantages, weights
            for _ in range(n_epochs):
                for i in minibatches(len(states), batch_size, collector.rng):
                    some = (x[i] for x in rows)
                    g = gradient(policy, *some, clip_range=epsilon, reference=reference, kl_coef=kl_coef)
                    gradient_norm = actor.step(g)
            equal = {"equal_groups": (np.ptp(returns[0].reshape(-1, group_size), axis=1) == 0).mean().item()}
            moved = drift(old, policy(states), actions, epsilon)
            yield collector.progress(**moved, **equal, gradient_norm=gradient_norm)

    return run(updates())
