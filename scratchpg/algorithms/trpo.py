"""TRPO, trust-region policy optimisation: the longest step that a bound on the KL allows, in the natural direction.

PPO's clip is no bound: over its epochs the policy may drift far. TRPO makes the bound a constraint. It takes one large
step along F⁻¹g, where F measures the distance of policies, not of parameters. The step is kept only if the surrogate
falls and the bound holds. So the policy has no learning rate; only δ is tuned.

    (9.1)  J(θ') - J(θ) = E_{τ~π_θ'}[ Σ_t γ^t A_π(s_t,a_t) ]     A_π of the old policy: an identity, however far θ' is
    (9.2)  L(θ') = -mean_t r_t(θ') A_t,   ∇L(θ) = -mean_t A_t ∇log π = -g     (9.1) with old states: to first order
    (9.3)  D(θ') = mean_t KL(π_θ(·|s_t) ‖ π_θ'(·|s_t)) ≤ δ:   D(θ) = 0,  ∇D(θ) = 0,  ∇²D(θ) = F

Use it where no step may go too far; use PPO where environment steps are costly, as a batch moves TRPO's policy once.
Departures: no γ^t in the mean, as in A2C; CG is damped and stops early. Source: Schulman et al. 2015, arXiv:1502.05477.
"""

from functools import partial

import numpy as np

from ..optim import Adam, conjugate_gradient, line_search
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Distribution, Policy
from ..returns import explained_variance, gae, normalized
from ..rollout import Collector, minibatches
from ..value import Value


def loss(policy: Policy, states: Array, actions: Array, old_log_prob: Array, advantages: Array) -> float:
    """(9.2)  L(θ') = -mean_t r_t(θ') A_t, a surrogate; r_t is (6.1), old_log_prob (B,) log π_θ(a_t|s_t)."""
    states, old_log_prob, advantages = check.rows(states, old_log_prob=old_log_prob, advantages=advantages)
    ratio = np.exp(policy(states).log_prob(actions) - old_log_prob)  # (6.1)
    return -mean(ratio * advantages)


def gradient(policy: Policy, states: Array, actions: Array, old_log_prob: Array, advantages: Array) -> Array:
    """(9.2)  ∇L = -mean_t r_t A_t ∇log π_θ'(a_t|s_t), flat in θ: -g at θ' = θ. Arguments as in `loss`."""
    states, old_log_prob, advantages = check.rows(states, old_log_prob=old_log_prob, advantages=advantages)
    pi = policy(states)
    ratio = np.exp(pi.log_prob(actions) - old_log_prob)  # (6.1)
    return policy.backward(pi, -(ratio * advantages)[:, None] * pi.d_log_prob(actions) / len(states))


def fisher_product(policy: Policy, pi: Distribution, v: Array) -> Array:
    """(9.4)  F v = mean_t J_tᵀ ( M_t ( J_t v ) ), (P,), at pi = policy(states): about the cost of one gradient.

    F = mean_t E_{a~π}[ ∇log π ∇log πᵀ ]. No Hessian is taken, no action drawn, so vᵀFv is never negative.
    """
    return policy.backward(pi, pi.fisher(policy.jvp(pi, v)) / len(pi.parameters))


def natural_step(policy: Policy, pi: Distribution, g: Array, delta: float, iterations: int, damping: float) -> Array:
    """(9.5)  (F + λI) x = g by conjugate gradients, then (9.6)  √(2δ / xᵀFx) x, of which D = δ + O(δ^{3/2}).

    xᵀFx, without λ, is gᵀx - λ|x|², as CG's residual is orthogonal to x; where it is 0, there is no step.
    (9.8)  In a table F⁺∇J is the advantage A_π(s,·), up to a shift.
    """
    x = conjugate_gradient(lambda v: fisher_product(policy, pi, v) + damping * v, g, iterations)  # (9.5)
    xFx = g.dot(x) - damping * x.dot(x)
    return np.zeros_like(x) if xFx <= 0 else np.sqrt(2 * delta / xFx) * x  # (9.6)


def accepts(policy: Policy, old: Distribution, before: float, delta: float, *rows: Array) -> bool:
    """(9.7)  L(θ_j) < L(θ) and D(θ_j) ≤ δ, for the policy at θ_j; before is L(θ), rows the arguments of `loss`."""
    return loss(policy, *rows) < before and mean(old.kl(policy(rows[0]))) <= delta


def mean(x: Array) -> float:
    """In float64 at least: near an optimum the rounding of float32 would decide whether L fell."""
    return x.mean(dtype=np.result_type(x, np.float64))


def train(
    env: AnyEnv,
    policy: Policy,
    value: Value,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_steps: int = 128,  # rows of each environment per batch: the policy takes one step on each batch
    batch_size: int = 128,  # rows per minibatch of the critic
    n_epochs: int = 8,  # passes of the critic over each batch
    gamma: float = 0.99,  # the discount γ
    gae_lambda: float = 0.95,  # λ of GAE: 0 is (4.1), 1 is (4.2) up to the last row
    target_kl: Schedule = 0.01,  # δ, in nats: no step takes the policy further
    cg_max_steps: int = 10,  # iterations of (9.5)
    cg_damping: float = 0.1,  # λ of (9.5)
    line_search_shrinking_factor: float = 0.8,  # α of (9.6)
    line_search_max_iter: int = 10,  # tries of (9.7)
    normalize_advantage: bool = True,  # over the batch: only the mean matters, as the step has its length from δ
    learning_rate: Schedule = 1e-3,  # the critic's: a number, or (first, last): linear over total_steps
    max_grad_norm: float = 0.5,  # the critic's: a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and value in place; yields Progress: kl ≤ δ; backtracks, j of (9.7). A time limit is no end."""
    check.fit(env, value=value)
    check.natural(total_steps=total_steps)
    check.count(n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs)
    check.count(cg_max_steps=cg_max_steps, line_search_max_iter=line_search_max_iter)
    check.unit(gamma=gamma, gae_lambda=gae_lambda, line_search_shrinking_factor=line_search_shrinking_factor)
    check.weight(cg_damping=cg_damping)
    check.flag(normalize_advantage=normalize_advantage)
    check.schedule(learning_rate=learning_rate, target_kl=target_kl)
    collector = Collector(env, policy, make_rng(seed, rng))
    shuffler = collector.spawn()
    critic = Adam(value.theta, max_grad_norm=max_grad_norm)

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            critic.learning_rate = scheduled(learning_rate, done)
            delta = scheduled(target_kl, done)
            batch = collector.collect(n_steps)
            values = value(batch.states)
            steps = batch.rewards, values[:-1], values[1:], batch.terminated, batch.truncated
            advantages = gae(*steps, gamma, gae_lambda)
            targets = advantages + values[:-1]
            states, actions, targets, advantages = batch.samples(targets, advantages)
            old = policy(states)
            A = normalized(advantages) if normalize_advantage else advantages
            rows = states, actions, old.log_prob(actions), A
            step = natural_step(policy, old, -gradient(policy, *rows), delta, cg_max_steps, cg_damping)
            accept = partial(accepts, policy, old, -mean(A), delta, *rows)  # at θ every ratio is 1: L(θ) is -mean A
            backtracks = line_search(policy.theta, step, accept, line_search_shrinking_factor, line_search_max_iter)
            for _ in range(n_epochs):
                for i in minibatches(len(states), batch_size, shuffler):
                    critic.step(value.mse_gradient(states[i], targets[i]))
            pi = policy(states)
            fit = {"explained_variance": explained_variance(targets, value(states))}
            yield collector.progress(kl=mean(old.kl(pi)), backtracks=backtracks, entropy=mean(pi.entropy()), **fit)

    return run(updates())
