"""A2C, advantage actor-critic: one update for each batch of several environments.

Collect n steps of N environments with one policy, weigh each action by its advantage, step, repeat. The advantage looks
one step ahead, or n steps, or mixes them all:

    (4.1)  A(s_t,a_t) = r_t + γ V(s_{t+1}) - V(s_t)                                   gae_lambda=0
    (4.2)  A_t^{(n)} = Σ_{k<n} γ^k r_{t+k} + γ^n V(s_{t+n}) - V(s_t)                   gae_lambda=1: n to the last row
    (4.3)  A_t = Σ_k (γλ)^k δ_{t+k}                                                   in between
    (4.4)  L(θ) = -mean_t [ log π_θ(a_t|s_t) A_t + β H(π_θ(·|s_t)) ]

(7.4) A_t > 0 makes the action more probable, A_t < 0 less. The bonus β keeps the policy from becoming certain too soon.

Use it as a simple, fast method with little to tune. Each batch is used for one step only, so it needs more experience
than PPO, and its return goes up and down. One slow environment holds up all others; A3C repairs that. Its loss moves
around 0, whether the policy gets better or worse. Source: Mnih et al. 2016, arXiv:1602.01783, algorithm S3 without the
asynchrony.
"""

from ..optim import RMSProp
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy
from ..returns import gae, normalized
from ..rollout import Collector
from ..value import Value


def loss(policy: Policy, states: Array, actions: Array, advantages: Array, *, ent_coef: float = 0.0) -> float:
    """(4.4)  L(θ) = -mean_t [ log π_θ(a_t|s_t) A_t + β H(π_θ(·|s_t)) ]; β is ent_coef.

    A surrogate: only its gradient means something. states (B, observation), actions (B,) or (B, d), advantages (B,).
    """
    states, advantages = check.rows(states, advantages=advantages)
    check.weight(ent_coef=ent_coef)
    pi = policy(states)
    return -(advantages * pi.log_prob(actions) + ent_coef * pi.entropy()).mean()


def gradient(policy: Policy, states: Array, actions: Array, advantages: Array, *, ent_coef: float = 0.0) -> Array:
    """∇ of (4.4), flat in θ: -mean_t [ A_t ∇log π_θ(a_t|s_t) + β ∇H(π_θ(·|s_t)) ]. Arguments as in `loss`.

    >>> import numpy as np
    >>> from scratchpg import SoftmaxPolicy
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½), where ∇H = 0
    >>> gradient(policy, [[1.0], [1.0]], [1, 0], [2.0, -2.0], ent_coef=0.1)  # both ask for more of action 1
    array([ 1., -1.,  1., -1.])
    """
    states, advantages = check.rows(states, advantages=advantages)
    check.weight(ent_coef=ent_coef)
    pi = policy(states)
    d_parameters = -advantages[:, None] * pi.d_log_prob(actions)  # (4.4)
    if ent_coef:
        d_parameters -= ent_coef * pi.d_entropy()
    return policy.backward(pi, d_parameters / len(states))


def train(
    env: AnyEnv,
    policy: Policy,
    value: Value,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_steps: int | None = 5,  # rows of each environment per update; None is one whole episode of each
    gamma: float = 0.99,  # the discount γ
    gae_lambda: float = 0.95,  # λ of GAE: 0 is (4.1), 1 is (4.2) up to the last row
    ent_coef: float = 0.0,  # the weight β of the entropy bonus
    normalize_advantage: bool = False,  # over the rows of each update: a departure, see `returns.normalized`
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    value_learning_rate: Schedule | None = None,  # of the value; None is learning_rate
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and value in place; yields Progress after every update.

    A time limit does not end the task: V(s_{t+1}) stands for the rewards after it.
    """
    check.fit(env, value=value)  # the Collector checks the policy
    check.natural(total_steps=total_steps)
    check.optional(check.count, n_steps=n_steps)
    check.unit(gamma=gamma, gae_lambda=gae_lambda)
    check.weight(ent_coef=ent_coef)
    check.flag(normalize_advantage=normalize_advantage)
    check.schedule(learning_rate=learning_rate)
    check.optional(check.schedule, value_learning_rate=value_learning_rate)
    collector = Collector(env, policy, make_rng(seed, rng))
    actor = RMSProp(policy.theta, max_grad_norm=max_grad_norm)
    critic = RMSProp(value.theta, max_grad_norm=max_grad_norm)

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            actor.learning_rate = scheduled(learning_rate, done)
            critic.learning_rate = scheduled(value_learning_rate or learning_rate, done)
            batch = collector.collect(n_steps) if n_steps else collector.collect_episodes(collector.n_envs)
            values = value(batch.states)
            steps = batch.rewards, values[:-1], values[1:], batch.terminated, batch.truncated
            advantages = gae(*steps, gamma, gae_lambda)
            targets = advantages + values[:-1]
            states, actions, targets, advantages = batch.samples(targets, advantages)
            advantages = normalized(advantages) if normalize_advantage else advantages
            critic.step(value.mse_gradient(states, targets))  # the target is a constant: a semi-gradient
            gradient_norm = actor.step(gradient(policy, states, actions, advantages, ent_coef=ent_coef))
            yield collector.progress(gradient_norm=gradient_norm)

    return run(updates(), collector=collector, actor=actor, critic=critic)
