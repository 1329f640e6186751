"""TRPO, trust-region policy optimisation: the longest step that a bound on the KL allows, in the natural direction.

PPO's clip is no bound: over its epochs the policy may drift as far as it likes. TRPO states the bound, D(θ') ≤ δ, as a
constraint, takes one large step along F⁻¹g, where F measures distance between policies and not between parameters, and
keeps it only if the surrogate falls and the bound holds. So nothing has to be tuned for the policy but δ.

    (9.1)  J(θ') - J(θ) = E_{τ~π_θ'}[ Σ_t γ^t A_π(s_t,a_t) ]             A_π of the old policy: an identity, however far θ'
    (9.2)  L(θ') = -mean_t r_t(θ') A_t,   ∇L(θ) = -mean_t A_t ∇log π = -g          (9.1) on old states: first order
    (9.3)  D(θ') = mean_t KL(π_θ(·|s_t) ‖ π_θ'(·|s_t)) ≤ δ:   D(θ) = 0,  ∇D(θ) = 0,  ∇²D(θ) = F

Use it where a step must never go too far, or where PPO's rate is hard to find. Take PPO where environment steps are
dear: a batch serves TRPO's policy once. Departures: γ^t is dropped from the mean, as in A2C; CG is cut short and damped
(9.5); advantages are normalised. Source: Schulman et al. 2015, arXiv:1502.05477, eq. 12, appendix C.
"""

from collections.abc import Iterator

import numpy as np

from ..optim import Adam, conjugate_gradient
from ..plumbing import AnyEnv, Array, Progress, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import SoftmaxPolicy
from ..returns import explained_variance, gae, normalized
from ..rollout import Collector, minibatches
from ..softmax import Softmax
from ..value import Value


def loss(policy: SoftmaxPolicy, states: Array, actions: Array, old_log_prob: Array, advantages: Array) -> float:
    """(9.2)  L(θ') = -mean_t r_t(θ') A_t, with the ratio r_t of (6.1); old_log_prob (B,) is log π_θ(a_t|s_t)."""
    states, old_log_prob, advantages = check.rows(states, old_log_prob=old_log_prob, advantages=advantages)
    ratio = np.exp(policy(states).log_prob(actions) - old_log_prob)  # (6.1)
    return -mean(ratio * advantages)


def gradient(policy: SoftmaxPolicy, states: Array, actions: Array, old_log_prob: Array, advantages: Array) -> Array:
    """(9.2)  -mean_t r_t A_t ∇log π_θ(a_t|s_t), flat in θ: -g where θ is the old one. Arguments as in `loss`."""
    states, old_log_prob, advantages = check.rows(states, old_log_prob=old_log_prob, advantages=advantages)
    pi = policy(states)
    ratio = np.exp(pi.log_prob(actions) - old_log_prob)  # (6.1)
    return policy.backward(pi, -(ratio * advantages)[:, None] * pi.d_log_prob(actions) / len(states))


def fisher_product(policy: SoftmaxPolicy, pi: Softmax, v: Array) -> Array:
    """(9.4)  F v = mean_t J_tᵀ ( M_t ( J_t v ) ), (P,), at pi = policy(states): about the cost of one gradient.

    F = mean_t E_{a~π}[ ∇log π ∇log πᵀ ]. No Hessian is taken and no action is drawn, so vᵀFv is never negative.
    """
    return policy.backward(pi, pi.fisher(policy.jvp(pi, v)) / len(pi.parameters))


def natural_step(
    policy: SoftmaxPolicy, pi: Softmax, g: Array, *, target_kl: float, cg_max_steps: int, cg_damping: float
) -> Array:
    """(9.5) (F + λI) x = g by conjugate gradients, then (9.6): √(2δ / xᵀFx) x, of which D = δ + O(δ^{3/2}).

    xᵀFx is without λ; where it is 0, so is the step. In a table (9.8) F⁺∇J is the advantage A_π(s,·) itself.
    """
    x = conjugate_gradient(lambda v: fisher_product(policy, pi, v) + cg_damping * v, g, cg_max_steps)  # (9.5)
    xFx = x.dot(fisher_product(policy, pi, x))
    return np.zeros_like(x) if xFx <= 0 else np.sqrt(2 * target_kl / xFx) * x  # (9.6)


def line_search(
    policy: SoftmaxPolicy, pi: Softmax, step: Array, *rows: Array, target_kl: float, shrink: float, tries: int
) -> tuple[float, int]:
    """(9.7)  θ_j = θ + αʲ step for the first j with L(θ_j) < L(θ) and D(θ_j) ≤ δ; if none, θ stays, bit for bit.

    rows: states, actions, old_log_prob, advantages. Returns D(θ_j) and j: 0 and `tries` where θ stayed.
    """
    theta, before = policy.theta.copy(), loss(policy, *rows)
    for j in range(tries):
        policy.theta[:] = theta + shrink**j * step  # (9.6)
        kl = mean(pi.kl(policy(rows[0])))  # (9.3)
        if loss(policy, *rows) < before and kl <= target_kl:  # (9.7)
            return kl, j
    policy.theta[:] = theta
    return 0.0, tries


def mean(x: Array) -> float:
    """The mean in at least float64: near the optimum, the rounding of a float32 would decide whether L has fallen."""
    return x.mean(dtype=np.result_type(x, np.float64)).item()


def train(
    env: AnyEnv,
    policy: SoftmaxPolicy,
    value: Value,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_steps: int = 256,  # rows of each environment per batch
    batch_size: int = 64,  # rows per minibatch of the critic; the policy takes one step per batch
    n_epochs: int = 10,  # passes of the critic over each batch
    gamma: float = 0.99,  # the discount γ
    gae_lambda: float = 0.95,  # λ of GAE: 0 is (4.1), 1 is (4.2) up to the last row
    target_kl: float = 0.01,  # δ: no step takes the policy further than this, in nats
    cg_max_steps: int = 10,  # iterations of (9.5)
    cg_damping: float = 0.1,  # λ of (9.5)
    line_search_shrinking_factor: float = 0.8,  # α of (9.6)
    line_search_max_iter: int = 10,  # tries of (9.7)
    normalize_advantage: bool = True,  # over the batch: only its mean matters, as the step's length is set by δ
    learning_rate: Schedule = 1e-3,  # the critic's: a number, or (first, last): linear over total_steps
    max_grad_norm: float = 0.5,  # the critic's: a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and value in place; yields Progress after every batch: kl (at most δ; 0 if θ stayed), backtracks (j of
    (9.7): `line_search_max_iter` if θ stayed), entropy, and explained_variance as in `drift`."""
    check.fit(env, policy=policy, value=value)
    check.natural(total_steps=total_steps)
    check.count(n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs)
    check.count(cg_max_steps=cg_max_steps, line_search_max_iter=line_search_max_iter)
    check.unit(gamma=gamma, gae_lambda=gae_lambda)
    check.positive(target_kl=target_kl)
    check.weight(cg_damping=cg_damping)
    check.decay(line_search_shrinking_factor=line_search_shrinking_factor)
    check.flag(normalize_advantage=normalize_advantage)
    check.schedule(learning_rate=learning_rate)
    rng = make_rng(seed, rng)
    collector = Collector(env, policy, rng)
    shuffler = rng.spawn(1)[0]
    critic = Adam(value.theta, max_grad_norm=max_grad_norm)
    search = {"shrink": line_search_shrinking_factor, "tries": line_search_max_iter}

    def updates() -> Iterator[Progress]:
        while collector.steps < total_steps:
            critic.learning_rate = scheduled(learning_rate, collector.steps / total_steps)
            batch = collector.collect(n_steps)
            values = value(batch.states)
            flags = batch.terminated, batch.truncated
            advantages = gae(batch.rewards, values[:-1], values[1:], *flags, gamma, gae_lambda)
            targets = advantages + values[:-1]
            states, actions, targets, advantages = batch.samples(targets, advantages)
            if normalize_advantage:
                advantages = normalized(advantages)
            old = policy(states)
            rows = states, actions, old.log_prob(actions), advantages
            g = -gradient(policy, *rows)
            step = natural_step(policy, old, g, target_kl=target_kl, cg_max_steps=cg_max_steps, cg_damping=cg_damping)
            check.finite("step", step)
            kl, backtracks = line_search(policy, old, step, *rows, target_kl=target_kl, **search)
            for _ in range(n_epochs):
                for i in minibatches(len(states), batch_size, shuffler):
                    critic.step(value.mse_gradient(states[i], targets[i]))
            entropy, fit = mean(policy(states).entropy()), explained_variance(targets, value(states))
            yield collector.progress(kl=kl, backtracks=backtracks, entropy=entropy, explained_variance=fit)

    return run(updates())
