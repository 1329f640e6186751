"""REINFORCE with a baseline: a return is good or bad only compared with what is usual in that state.

+10 where +100 is usual is bad, -10 where -20 is usual is good. So subtract a prediction V(s_t) from G_t:

    (2.1)  ∇J(θ) = E[ Σ_t γ^t ∇log π_θ(a_t|s_t) A_t ],   A_t = G_t - V(s_t)
    (2.2)  E_{a~π}[ ∇log π_θ(a|s) V(s) ] = 0              for any V: no bias added
    (2.5)  Var[ Σ_t γ^t ∇log π A_t ] < Var[ Σ_t γ^t ∇log π G_t ]     typically, once V is a fair estimate

The loss and its gradient are REINFORCE's (1.11) with Ψ_t = γ^t A_t. V_φ is a network of its own. It learns from the
same episodes, in the order (2.4): predict V(s_t), fit V, step θ with the earlier prediction. A V that is only learned
beforehand goes stale as the policy improves (examples/stale_baseline.py).

Use it wherever you would use REINFORCE: the same expectation, usually with less noise. It still waits for the end of
an episode. Its loss rises like REINFORCE's as long as V lags behind the returns. Source: Williams 1992, as there.
"""

from ..optim import Adam
from ..plumbing import AnyEnv, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy
from ..returns import discounted, explained_variance
from ..rollout import Collector
from ..value import Value
from .reinforce import gradient, loss

__all__ = ["gradient", "loss", "train"]


def train(
    env: AnyEnv,
    policy: Policy,
    value: Value,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_episodes: int | None = None,  # N of (1.11); None is one episode of each environment
    gamma: float = 0.99,  # the discount γ
    keep_gamma_t: bool = True,  # False drops the γ^t of (2.1), as is common: no gradient of J for γ < 1
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    value_learning_rate: Schedule | None = None,  # of the value; None is learning_rate
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and value in place; yields Progress after every update.

    A time limit counts as the end of an episode: J sums the rewards up to it. Diagnostics: `explained_variance` of V
    before its fit (1 for a perfect prediction), and the norms of both gradients.
    """
    check.fit(env, value=value)  # the Collector checks the policy
    check.natural(total_steps=total_steps)
    check.optional(check.count, n_episodes=n_episodes)
    check.unit(gamma=gamma)
    check.flag(keep_gamma_t=keep_gamma_t)
    check.schedule(learning_rate=learning_rate)
    check.optional(check.schedule, value_learning_rate=value_learning_rate)
    collector = Collector(env, policy, make_rng(seed, rng))
    actor, critic = Adam(policy.theta), Adam(value.theta)
    N = n_episodes or collector.n_envs

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            actor.learning_rate = scheduled(learning_rate, done)
            critic.learning_rate = scheduled(value_learning_rate or learning_rate, done)
            batch = collector.collect_episodes(N)
            values = value(batch.states)[:-1]  # (2.4): predict first, …
            targets = discounted(batch.rewards, gamma, batch.ended)
            advantages = targets - values  # (2.1)
            weights = gamma**batch.t * advantages if keep_gamma_t else advantages
            states, actions, targets, values, weights = batch.samples(targets, values, weights)
            value_gradient_norm = critic.step(value.mse_gradient(states, targets))  # … then fit, …
            # … and use what was predicted before the fit
            gradient_norm = actor.step(gradient(policy, states, actions, weights, episodes=N))
            yield collector.progress(
                explained_variance=explained_variance(targets, values),
                gradient_norm=gradient_norm,
                value_gradient_norm=value_gradient_norm,
            )

    return run(updates(), collector=collector, actor=actor, critic=critic)
