"""Actor-critic: learn from a prediction instead of waiting for the end of the episode.

For a fixed policy V_π(s) = E[G_t | s_t = s] (3.2) is a fixed number, the mean of the random variable G_t. The critic
V_φ can move towards G_t, or, by Bellman's equation (3.3), towards a target that is known after one step:

    (3.5)  Monte Carlo   V(s_t) ← V(s_t) + α (G_t - V(s_t))                      at the end of an episode
    (3.6)  TD            V(s_t) ← V(s_t) + α (r_t + γ V(s_{t+1}) - V(s_t))       at each step
    (3.7)  δ_t = r_t + γ V(s_{t+1}) - V(s_t)       the TD error; V(s_{t+1}) = 0 only where the episode terminated

The actor uses the same difference, target minus prediction, as its advantage: Ψ_t = G_t - V(s_t), or δ_t. From
here on γ^t is left out, as is common: for γ < 1 the estimate is then not that of ∇J, even with the true V (as in
REINFORCE without `keep_gamma_t`). Where V is a table, a step of SGD on (2.3) over B rows with rate η is (3.5) or (3.6)
with α = 2η/B; here Adam takes the step.

Does (3.6) converge? In a table V_k → V_π if Σ α_k = ∞ and Σ α_k² < ∞ (3.9), and its mean square error can be computed
(3.10). With V = X w an eigenvalue decides (3.11): on-policy it converges; off-policy it may diverge, the deadly triad
(3.12). `examples/td_convergence.py` shows it.

With "mc" a time limit counts as the end of an episode, as in REINFORCE: G_t sums the rewards up to it.

Use "td" to learn within long or endless episodes. To predict from predictions is called bootstrapping (15.1): little
variance, but a bias while V is wrong. With one update per step it takes few steps but many seconds. "mc" is REINFORCE
with a baseline, but without γ^t and as a mean over steps. The loss of a single step is noise around 0: watch the
return. Source: Sutton & Barto 2018, 13.5, where r_t is R_{t+1}; (3.3) is their (3.14), (3.5) their (6.1), (3.6) their
(6.2), (3.7) their (6.5).
"""

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy
from ..returns import discounted, td_targets
from ..rollout import Collector
from ..value import Value


def loss(policy: Policy, states: Array, actions: Array, advantages: Array) -> float:
    """L(θ) = -mean_t log π_θ(a_t|s_t) A_t: a surrogate, only its gradient means something. All arguments (B, …)."""
    states, advantages = check.rows(states, advantages=advantages)
    return -(advantages * policy(states).log_prob(actions)).mean()


def gradient(policy: Policy, states: Array, actions: Array, advantages: Array) -> Array:
    """∇L(θ) = -mean_t A_t ∇log π_θ(a_t|s_t), flat in θ: the mean over steps, where REINFORCE's is over episodes."""
    states, advantages = check.rows(states, advantages=advantages)
    pi = policy(states)
    d_parameters = -advantages[:, None] * pi.d_log_prob(actions)
    return policy.backward(pi, d_parameters / len(states))


def train(
    env: AnyEnv,
    policy: Policy,
    value: Value,
    *,
    method: str = "td",  # the critic learns after each step (3.6); "mc": after each episode or its time limit (3.5)
    total_steps: int = 100_000,  # of all environments together
    gamma: float = 0.99,  # the discount γ
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
    if method not in ("td", "mc"):
        raise ValueError(f'method must be "td" or "mc", not {method!r}')
    check.natural(total_steps=total_steps)
    check.unit(gamma=gamma)
    check.schedule(learning_rate=learning_rate)
    check.optional(check.schedule, value_learning_rate=value_learning_rate)
    collector = Collector(env, policy, make_rng(seed, rng))
    actor = Adam(policy.theta, max_grad_norm=max_grad_norm)
    critic = Adam(value.theta, max_grad_norm=max_grad_norm)

    def updates() -> Loop:
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            actor.learning_rate = scheduled(learning_rate, done)
            critic.learning_rate = scheduled(value_learning_rate or learning_rate, done)
            batch = collector.collect(1) if method == "td" else collector.collect_episodes(collector.n_envs)
            values = value(batch.states)
            if method == "td":
                targets = td_targets(batch.rewards, values[1:], batch.terminated, gamma)
            else:
                targets = discounted(batch.rewards, gamma, batch.ended)
            advantages = targets - values[:-1]
            states, actions, targets, advantages = batch.samples(targets, advantages)
            critic.step(value.mse_gradient(states, targets))  # the target is a constant: a semi-gradient
            gradient_norm = actor.step(gradient(policy, states, actions, advantages))
            yield collector.progress(gradient_norm=gradient_norm)

    return run(updates(), collector=collector, actor=actor, critic=critic)
