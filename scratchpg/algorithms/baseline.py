"""REINFORCE with a baseline: a return is good or bad only against what is usual in that state.

+10 where +100 is usual is bad, -10 where -20 is usual is good. So subtract a prediction V(s_t) from G_t:

    (2.1)  ∇J(θ) = E[ Σ_t γ^t ∇log π_θ(a_t|s_t) A_t ],   A_t = G_t - V(s_t)
    (2.2)  E_{a~π}[ ∇log π_θ(a|s) V(s) ] = 0              for any V: no bias added
    (2.5)  Var[ Σ_t γ^t ∇log π A_t ] < Var[ Σ_t γ^t ∇log π G_t ]     typically, once V is a fair estimate

The loss and its gradient are REINFORCE's (1.11) with Ψ_t = γ^t A_t. V_φ is a network of its own, which learns from the
same episodes, jointly with the policy, in the order (2.4): predict V(s_t), fit V, step θ by what was predicted. Learned
beforehand instead (`pretrain`), it goes stale as the policy improves.

Use it wherever you would use REINFORCE: the same expectation, as a rule with less noise. It still waits for the end of
an episode. Its loss rises like REINFORCE's as long as V lags behind the returns. Source: Williams 1992, as there.
"""

from ..checks import Rng
from ..optim import Adam
from ..policy import SoftmaxPolicy
from ..returns import discounted
from ..rollout import Collector
from ..spaces import AnyEnv
from ..training import Updates, generator, training
from ..value import Value
from .reinforce import gradient, loss

__all__ = ["gradient", "loss", "train"]


@training
def train(
    env: AnyEnv, policy: SoftmaxPolicy, value: Value, *,
    total_steps: int = 150_000, n_episodes: int | None = None, gamma: float = 0.99,
    keep_gamma_t: bool = True, pretrain: int = 0,
    learning_rate: float = 1e-2, value_learning_rate: float = 3e-2,
    seed: int | None = None, rng: Rng = None,
) -> Updates:  # fmt: skip
    """Train policy and value in place; yields Progress after every update. As in REINFORCE, and:

    pretrain: for so many episodes only V is fitted, on the first policy; from then on only the policy learns.
    """
    collector = Collector(env, policy, generator(seed, rng))
    N = n_episodes or collector.n_envs
    actor, critic = Adam(policy.theta, learning_rate), Adam(value.theta, value_learning_rate)

    while collector.steps < total_steps:
        policy_learns = collector.episodes >= pretrain
        value_learns = not (pretrain and policy_learns)
        batch = collector.collect_episodes(N)
        G = discounted(batch.rewards, gamma, batch.ended)
        v, _ = batch.values(value)  # (2.4): predict first, …
        weights = (gamma ** batch.timesteps() if keep_gamma_t else 1) * (G - v)
        states, actions, targets, weights = batch.rows(G, weights)
        diagnostics = {}
        if value_learns:  # … then fit, …
            diagnostics["value_gradient_norm"] = critic.step(value.mse_gradient(states, targets))
        if policy_learns:  # … and use what was predicted before the fit
            diagnostics["gradient_norm"] = actor.step(gradient(policy, states, actions, weights, episodes=N))
        yield collector.progress(**diagnostics)
