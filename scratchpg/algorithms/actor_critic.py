"""Actor-critic: learn from a prediction instead of waiting for the end of the episode.

For a fixed policy V_π(s) = E[G_t | s_t = s] (3.2) is a fixed number, G_t the random variable that it averages. The
critic V_φ may be drawn to G_t, or, by Bellman's equation (3.3), to a target that is known after one step:

    (3.5)  Monte Carlo   V(s_t) ← V(s_t) + α (G_t - V(s_t))                      at the end of an episode
    (3.6)  TD            V(s_t) ← V(s_t) + α (r_t + γ V(s_{t+1}) - V(s_t))       at each step
    (3.7)  δ_t = r_t + γ V(s_{t+1}) - V(s_t)       the TD error; V(s_{t+1}) = 0 only where the episode terminated

and the actor takes the same difference, target minus prediction, for its advantage: Ψ_t = G_t - V(s_t), or δ_t. From
here on γ^t is left out, as is common: for γ < 1 the estimate is then not that of ∇J, even with the true V (as in
REINFORCE without `keep_gamma_t`). A step of SGD on (2.3) over B rows with rate η is (3.5) or (3.6) with α = 2η/B where
V is a table; here Adam takes it.

With "mc" a time limit counts as the end of an episode, as in REINFORCE: G_t sums the rewards up to it.

Use "td" to learn within long or endless episodes: predicting from predictions has little variance, and is biased while
V is wrong; with one update per step it takes few steps and many seconds. "mc" is REINFORCE with a baseline, without its
γ^t and as a mean over steps. The loss of a single step is noise around 0: watch the return. Source: Sutton & Barto
2018, 13.5, and their (3.14), (6.1), (6.2), (6.5) for (3.3), (3.5), (3.6), (3.7), with R_{t+1} for r_t.
"""

import math

from ..checks import Array, Rng, Scalar, checked
from ..optim import Adam
from ..policy import SoftmaxPolicy
from ..returns import discounted, td_targets
from ..rollout import Collector
from ..spaces import AnyEnv
from ..training import Updates, generator, training
from ..value import Value


@checked
def loss(policy: SoftmaxPolicy, states: Array, actions: Array, advantages: Array) -> Scalar:
    """L(θ) = -mean_t log π_θ(a_t|s_t) A_t: a surrogate, only its gradient means something. All arguments (B, …)."""
    return -(advantages * policy(states).log_prob(actions)).mean()


@checked
def gradient(policy: SoftmaxPolicy, states: Array, actions: Array, advantages: Array) -> Array:
    """∇L(θ) = -mean_t A_t ∇log π_θ(a_t|s_t), flat in θ: the mean over steps, where REINFORCE's is over episodes."""
    pi = policy(states)
    d_logits = -advantages[:, None] * pi.d_log_prob(actions)
    return policy.backward(pi, d_logits / len(actions))


@training
def train(
    env: AnyEnv, policy: SoftmaxPolicy, value: Value, *,
    method: str = "td", total_steps: int = 200_000, gamma: float = 0.99,
    learning_rate: float | None = None, value_learning_rate: float | None = None, max_grad_norm: float = math.inf,
    seed: int | None = None, rng: Rng = None,
) -> Updates:  # fmt: skip
    """Train policy and value in place; yields Progress after every update.

    method: "td" updates after each step (3.6), "mc" after each episode (3.5); of every environment, if there are many.
    learning_rate, value_learning_rate: None is 3e-4 and 3e-3 for "td", whose gradients come from single steps, and
        1e-3 and 1e-2 for "mc", where they are a mean over an episode.
    """
    collector = Collector(env, policy, generator(seed, rng))
    defaults = {"td": (3e-4, 3e-3), "mc": (1e-3, 1e-2)}[method]
    actor = Adam(policy.theta, learning_rate or defaults[0], max_grad_norm=max_grad_norm)
    critic = Adam(value.theta, value_learning_rate or defaults[1], max_grad_norm=max_grad_norm)

    while collector.steps < total_steps:
        batch = collector.collect(1) if method == "td" else collector.collect_episodes(collector.n_envs)
        values, next_values = batch.values(value)
        if method == "td":
            targets = td_targets(batch.rewards, next_values, batch.terminated, gamma)
        else:
            targets = discounted(batch.rewards, gamma, batch.ended)
        states, actions, targets, advantages = batch.rows(targets, targets - values)
        critic.step(value.mse_gradient(states, targets))  # the target is a constant: a semi-gradient
        gradient_norm = actor.step(gradient(policy, states, actions, advantages))
        yield collector.progress(gradient_norm=gradient_norm)
