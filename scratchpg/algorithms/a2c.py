"""A2C, advantage actor-critic: what one gets by following the maths, batch by batch.

Collect n steps of N environments with one policy, weigh each action by its advantage, step, repeat. The advantage looks
one step ahead, n steps, or blends all horizons:

    (4.1)  A(s_t,a_t) = r_t + γ V(s_{t+1}) - V(s_t)                                   gae_lambda=0
    (4.2)  A_t^{(n)} = Σ_{k<n} γ^k r_{t+k} + γ^n V(s_{t+n}) - V(s_t)                   gae_lambda=1: n to the last row
    (4.3)  A_t = Σ_k (γλ)^k δ_{t+k}                                                   in between
    (4.4)  L(θ) = -mean_t [ log π_θ(a_t|s_t) A_t + β H(π_θ(·|s_t)) ]

(7.4) A_t > 0 makes the action more probable, A_t < 0 less. The bonus β keeps the policy from being certain too soon.

Use it as the plain workhorse: fast, with little to tune. Each batch serves one step only, so it needs more experience
than PPO, and its return swings; one slow environment holds up all the others, which A3C mends. Its loss wanders about
0, whether the policy gets better or worse. Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3 without the
asynchrony.
"""

from ..checks import Array, Rng, Scalar, checked
from ..optim import RMSProp
from ..policy import SoftmaxPolicy
from ..returns import gae, normalized
from ..rollout import Collector
from ..spaces import AnyEnv
from ..training import Updates, generator, training
from ..value import Value


@checked
def loss(policy: SoftmaxPolicy, states: Array, actions: Array, advantages: Array, *, ent_coef: float = 0.0) -> Scalar:
    """(4.4)  L(θ) = -mean_t [ log π_θ(a_t|s_t) A_t + β H(π_θ(·|s_t)) ]; β is ent_coef.

    A surrogate: only its gradient means something. states (B, observation), actions (B,), advantages (B,).
    """
    pi = policy(states)
    return -(advantages * pi.log_prob(actions) + ent_coef * pi.entropy()).mean()


@checked
def gradient(
    policy: SoftmaxPolicy, states: Array, actions: Array, advantages: Array, *, ent_coef: float = 0.0
) -> Array:
    """∇ of (4.4), flat in θ: -mean_t [ A_t ∇log π_θ(a_t|s_t) + β ∇H(π_θ(·|s_t)) ]. Arguments as in `loss`.

    >>> import numpy as np
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½), where ∇H = 0
    >>> gradient(policy, [[1.0], [1.0]], [1, 0], [2.0, -2.0], ent_coef=0.1)  # both ask for more of action 1
    array([ 1., -1.,  1., -1.])
    """
    pi = policy(states)
    d_logits = -advantages[:, None] * pi.d_log_prob(actions)
    if ent_coef:
        d_logits -= ent_coef * pi.d_entropy()
    return policy.backward(pi, d_logits / len(actions))


@training
def train(
    env: AnyEnv, policy: SoftmaxPolicy, value: Value, *,
    total_steps: int = 150_000, n_steps: int | None = 5, gamma: float = 0.99, gae_lambda: float = 1.0,
    ent_coef: float = 0.0, normalize_advantage: bool = False,
    learning_rate: float = 2e-3, value_learning_rate: float | None = None, max_grad_norm: float = 0.5,
    seed: int | None = None, rng: Rng = None,
) -> Updates:  # fmt: skip
    """Train policy and value in place; yields Progress after every update.

    n_steps: rows of each environment per update; 1 is one-step, None is one whole episode of each environment.
    value_learning_rate: None is learning_rate.
    normalize_advantage: over the rows of each update; a departure from (4.4), see `normalized`.
    """
    collector = Collector(env, policy, generator(seed, rng))
    actor = RMSProp(policy.theta, learning_rate, max_grad_norm=max_grad_norm)
    critic = RMSProp(value.theta, value_learning_rate or learning_rate, max_grad_norm=max_grad_norm)

    while collector.steps < total_steps:
        batch = collector.collect(n_steps) if n_steps else collector.collect_episodes(collector.n_envs)
        values, next_values = batch.values(value)
        advantages = gae(batch.rewards, values, next_values, batch.terminated, batch.truncated, gamma, gae_lambda)
        states, actions, advantages, targets = batch.rows(advantages, advantages + values)
        if normalize_advantage:
            advantages = normalized(advantages)
        critic.step(value.mse_gradient(states, targets))
        gradient_norm = actor.step(gradient(policy, states, actions, advantages, ent_coef=ent_coef))
        yield collector.progress(gradient_norm=gradient_norm)
