"""REINFORCE: make the actions of good episodes more probable, those of bad ones less.

The objective is the expected return (1.1)  J(θ) = E[R(τ)],  R(τ) = Σ_t γ^t r_t. The log-derivative trick (1.5) turns
its gradient into an expectation over episodes, which takes no model of the environment to sample:

    (1.9)   ∇J(θ) = E[ Σ_t ∇log π_θ(a_t|s_t) R(τ) ]
    (1.10)  ∇J(θ) = E[ Σ_t γ^t ∇log π_θ(a_t|s_t) G_t ],   G_t = Σ_{k≥t} γ^{k-t} r_k      (reward-to-go)
    (1.11)  L(θ)  = -(1/N) Σ_n Σ_t log π_θ(a_t|s_t) Ψ_t,   minimised by gradient descent, Ψ_t held constant

(1.10) leaves out of (1.9) the products of a score with the rewards before a_t: their expectation is 0, their variance
is not.

Use it to understand everything that follows, and where episodes are short. Its estimate ĝ_N from N episodes is
unbiased and noisy, (1.12) E[ĝ_N] = ∇J, Var[ĝ_N] = Var[ĝ_1]/N: G_t says nothing about what is usual in s_t. (7.3) N
divides the variance by exactly N; the baseline and bootstrapping of the next chapters lower it as a rule. Not where
episodes are long: nothing is learned before one is over, and it is thrown away after one step. Its loss rises with the
returns, which are the weights of its sum. Source: Williams 1992, Machine Learning 8, 229-256.
"""

import numpy as np

from ..checks import Array, Rng, Scalar, checked
from ..optim import Adam
from ..policy import SoftmaxPolicy
from ..returns import discounted
from ..rollout import Collector
from ..spaces import AnyEnv
from ..training import Updates, generator, training


@checked
def loss(policy: SoftmaxPolicy, states: Array, actions: Array, weights: Array, *, episodes: int) -> Scalar:
    """(1.11)  L(θ) = -(1/N) Σ_n Σ_t log π_θ(a_t|s_t) Ψ_t: the mean over episodes of the sum over their steps.

    A surrogate: its value means nothing. Only its gradient does, at the θ that collected the data.

    states (B, observation), actions (B,), weights Ψ (B,): the steps of all episodes, in any order.
    """
    return -(weights * policy(states).log_prob(actions)).sum() / episodes


@checked
def gradient(policy: SoftmaxPolicy, states: Array, actions: Array, weights: Array, *, episodes: int) -> Array:
    """∇ of (1.11), flat in θ: -(1/N) Σ_n Σ_t Ψ_t ∇log π_θ(a_t|s_t). Arguments as in `loss`.

    With Ψ_t = γ^t G_t it is the estimate of -∇J by (1.10), with Ψ_t = R(τ) that by (1.9).

    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> gradient(policy, [[1.0]], [1], [2.0], episodes=1)  # -Ψ (onehot(a) - π), for W and for b
    array([ 1., -1.,  1., -1.])
    """
    pi = policy(states)
    d_logits = -weights[:, None] * pi.d_log_prob(actions)
    return policy.backward(pi, d_logits / episodes)


@training
def train(
    env: AnyEnv, policy: SoftmaxPolicy, *,
    total_steps: int = 300_000, n_episodes: int | None = None, gamma: float = 0.99,
    reward_to_go: bool = True, keep_gamma_t: bool = True,
    learning_rate: float = 1e-2,
    seed: int | None = None, rng: Rng = None,
) -> Updates:  # fmt: skip
    """Train the policy in place; yields Progress after every update.

    n_episodes: N of (1.11); None is one episode of each environment, N = 1 for a single one.
    reward_to_go: Ψ_t = γ^t G_t (1.10); otherwise Ψ_t = R(τ) (1.9).
    keep_gamma_t: False drops the γ^t of (1.10), as is common: for γ < 1 it is then no longer the gradient of J.

    A time limit counts as the end of an episode: J sums the rewards up to it.
    """
    collector = Collector(env, policy, generator(seed, rng))
    N = n_episodes or collector.n_envs
    actor = Adam(policy.theta, learning_rate)

    while collector.steps < total_steps:
        batch = collector.collect_episodes(N)
        t = batch.timesteps()
        G = discounted(batch.rewards, gamma, batch.ended)
        if not reward_to_go:
            weights = np.take_along_axis(G, np.arange(len(t))[:, None] - t, axis=0)  # G_0 = R(τ) at every t
        elif keep_gamma_t:
            weights = gamma**t * G
        else:
            weights = G
        states, actions, weights = batch.rows(weights)
        gradient_norm = actor.step(gradient(policy, states, actions, weights, episodes=N))
        yield collector.progress(gradient_norm=gradient_norm)
