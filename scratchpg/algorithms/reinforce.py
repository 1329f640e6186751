"""REINFORCE: make the actions of good episodes more probable, those of bad ones less.

The objective is the expected return (1.1)  J(θ) = E[R(τ)],  R(τ) = Σ_t γ^t r_t. The log-derivative trick (1.5) turns
its gradient into an expectation over episodes. To sample it, no model of the environment is needed:

    (1.9)   ∇J(θ) = E[ Σ_t ∇log π_θ(a_t|s_t) R(τ) ]
    (1.10)  ∇J(θ) = E[ Σ_t γ^t ∇log π_θ(a_t|s_t) G_t ],   G_t = Σ_{k≥t} γ^{k-t} r_k      (reward-to-go)
    (1.11)  L(θ)  = -(1/N) Σ_n Σ_t log π_θ(a_t|s_t) Ψ_t,   minimised by gradient descent, Ψ_t held constant

(1.10) leaves out some terms of (1.9): the score of a_t times the rewards before a_t. Their expectation is 0, their
variance is not.

Use it to understand everything that follows, and where episodes are short. Its estimate ĝ_N from N episodes is
unbiased but noisy, (1.12) E[ĝ_N] = ∇J, Var[ĝ_N] = Var[ĝ_1]/N: G_t does not say what is usual in s_t. N episodes divide
the variance by N; a baseline and bootstrapping, in the next chapters, usually lower it, too (7.3).
Do not use it where episodes are long: nothing is learned before one ends, and each serves one step only. Its loss
rises with the returns, as these are its weights. Source: Williams 1992, Machine Learning 8, 229-256.
"""

import numpy as np

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy
from ..returns import discounted
from ..rollout import Collector


def loss(policy: Policy, states: Array, actions: Array, weights: Array, *, episodes: int) -> float:
    """(1.11)  L(θ) = -(1/N) Σ_n Σ_t log π_θ(a_t|s_t) Ψ_t: the mean over episodes of the sum over their steps.

    A surrogate: its value means nothing. Only its gradient does, at the θ that collected the data.

    states (B, observation), actions (B,) or (B, d), weights Ψ (B,): the steps of all episodes, in any order.
    """
    states, weights = check.rows(states, weights=weights)
    check.count(episodes=episodes)
    return -(weights * policy(states).log_prob(actions)).sum() / episodes


def gradient(policy: Policy, states: Array, actions: Array, weights: Array, *, episodes: int) -> Array:
    """∇ of (1.11), flat in θ: -(1/N) Σ_n Σ_t Ψ_t ∇log π_θ(a_t|s_t). Arguments as in `loss`.

    With Ψ_t = γ^t G_t it is the estimate of -∇J by (1.10), with Ψ_t = R(τ) that by (1.9).

    >>> from scratchpg import SoftmaxPolicy
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> gradient(policy, [[1.0]], [1], [2.0], episodes=1)  # -Ψ (onehot(a) - π), for W and for b
    array([ 1., -1.,  1., -1.])
    """
    states, weights = check.rows(states, weights=weights)
    check.count(episodes=episodes)
    pi = policy(states)
    d_parameters = -weights[:, None] * pi.d_log_prob(actions)
    return policy.backward(pi, d_parameters / episodes)  # (1.9), (1.10)


def train(
    env: AnyEnv,
    policy: Policy,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_episodes: int | None = None,  # N of (1.11); None is one episode of each environment
    gamma: float = 0.99,  # the discount γ
    reward_to_go: bool = True,  # Ψ_t = γ^t G_t (1.10); otherwise Ψ_t = R(τ) (1.9)
    keep_gamma_t: bool = True,  # False drops the γ^t of (1.10), as is common: no gradient of J for γ < 1
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train the policy in place; yields Progress after every update.

    A time limit counts as the end of an episode: J sums the rewards up to it.
    """
    check.natural(total_steps=total_steps)
    check.optional(check.count, n_episodes=n_episodes)
    check.unit(gamma=gamma)
    check.flag(reward_to_go=reward_to_go, keep_gamma_t=keep_gamma_t)
    check.schedule(learning_rate=learning_rate)
    collector = Collector(env, policy, make_rng(seed, rng))
    actor = Adam(policy.theta)
    N = n_episodes or collector.n_envs

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            actor.learning_rate = scheduled(learning_rate, done)
            batch = collector.collect_episodes(N)
            returns = discounted(batch.rewards, gamma, batch.ended)
            if not reward_to_go:
                weights = total(returns, batch.t)
            elif keep_gamma_t:
                weights = gamma**batch.t * returns
            else:
                weights = returns
            states, actions, weights = batch.samples(weights)
            gradient_norm = actor.step(gradient(policy, states, actions, weights, episodes=N))
            yield collector.progress(gradient_norm=gradient_norm)

    return run(updates(), collector=collector, actor=actor)


def total(returns: Array, t: Array) -> Array:
    """R(τ) at every step of its episode, (T, N), from the reward-to-go and the number t of each row: it is G_0.

    >>> total(np.array([[3.0], [2.0], [9.0], [4.0]]), np.array([[0], [1], [0], [1]]))[:, 0]
    array([3., 3., 9., 9.])
    """
    row = np.arange(len(t))[:, None]
    return np.take_along_axis(returns, row - np.clip(t, 0, row), axis=0)
