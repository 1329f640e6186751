"""RLfD, reinforcement from demonstrations: A2C that begins as a clone, and keeps the demonstrations in its gradient.

Where the reward is rare, exploration alone does not find it. Begin with a policy that imitates an expert
(`imitation.clone`), and go on with A2C. But V is untrained at first, so the first advantages are noise, and large
steps may destroy the clone. One more term, the gradient of cloning, holds it until V is useful:

    (13.7)  ∇L(θ) = -mean_batch [ A_t ∇log π_θ(a_t|s_t) + β ∇H ] - λ mean_demo w_t ∇log π_θ(a*_t|s_t)
    (13.8)  E[-∇L] = ∇J_A2C - λ ∇E_{π*}[L_BC]:  for λ > 0 its zero is not that of ∇J; the bias falls with λ

Each set has its own mean: in one sum over both, λ would grow with the number of demonstrations. Here w_t = 1, A is
normalised, and λ goes linearly to 0; the source has w_t = max_batch A, and λ = λ_0 λ_1^k in update k.

Use it where a few good episodes are at hand and the reward is rare; unlike a clone it may get better than the expert.
If λ stays, the policy remains half a clone; where the clone is sure of a wrong action, it may never try another. Each
update uses all demonstrations, so give it few. Source: Rajeswaran et al. 2018, arXiv:1709.10087, eq. 5.
"""

from ..demonstrations import Demonstrations
from ..optim import RMSProp
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..policy import Policy
from ..returns import gae, normalized
from ..rollout import Collector
from ..value import Value
from . import a2c, imitation


def loss(
    policy: Policy,
    states: Array,
    actions: Array,
    advantages: Array,
    demo_states: Array,
    demo_actions: Array,
    demo_weights: Array | None = None,
    *,
    ent_coef: float = 0.0,
    demo_coef: float = 1.0,
) -> float:
    """L(θ) = (4.4) + λ (13.1): of the batch, and of the demonstrations; λ is demo_coef. A surrogate."""
    check.weight(demo_coef=demo_coef)
    demo_loss = imitation.loss(policy, demo_states, demo_actions, demo_weights)
    return a2c.loss(policy, states, actions, advantages, ent_coef=ent_coef) + demo_coef * demo_loss


def gradient(
    policy: Policy,
    states: Array,
    actions: Array,
    advantages: Array,
    demo_states: Array,
    demo_actions: Array,
    demo_weights: Array | None = None,
    *,
    ent_coef: float = 0.0,
    demo_coef: float = 1.0,
) -> Array:
    """(13.7)  ∇L(θ), flat in θ: that of A2C, and λ times that of cloning. Arguments as in `loss`."""
    check.weight(demo_coef=demo_coef)
    demo_gradient = imitation.gradient(policy, demo_states, demo_actions, demo_weights)
    return a2c.gradient(policy, states, actions, advantages, ent_coef=ent_coef) + demo_coef * demo_gradient  # (13.7)


def train(
    env: AnyEnv,
    policy: Policy,
    value: Value,
    demonstrations: Demonstrations,
    *,
    total_steps: int = 100_000,  # of all environments together
    n_steps: int | None = 5,  # rows of each environment per update; None is one whole episode of each
    gamma: float = 0.99,  # the discount γ
    gae_lambda: float = 0.95,  # λ of GAE: 0 is (4.1), 1 is (4.2) up to the last row
    ent_coef: float = 0.0,  # the weight β of the entropy bonus
    demo_coef: Schedule = (1.0, 0.0),  # the weight λ of the demonstrations: it should end at 0 (13.8)
    normalize_advantage: bool = True,  # over the rows of each update: a departure, see `returns.normalized`
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    value_learning_rate: Schedule | None = None,  # of the value; None is learning_rate
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train policy and value in place; yields Progress after every update.

    A time limit does not end the task: V(s_{t+1}) stands for the rewards after it.
    """
    check.fit(env, policy=policy, value=value)
    if not isinstance(demonstrations, Demonstrations):
        raise TypeError(f"demonstrations must be Demonstrations, as `record` makes them, not {demonstrations!r}")
    demonstrations.fit(env)
    demos = demonstrations.states, demonstrations.actions
    check.natural(total_steps=total_steps)
    check.optional(check.count, n_steps=n_steps)
    check.unit(gamma=gamma, gae_lambda=gae_lambda)
    check.weight(ent_coef=ent_coef)
    check.flag(normalize_advantage=normalize_advantage)
    check.schedule(learning_rate=learning_rate, demo_coef=demo_coef)
    check.optional(check.schedule, value_learning_rate=value_learning_rate)
    imitation.loss(policy, *demos)  # refuses actions that are not legal
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
            weight = scheduled(demo_coef, done)
            g = gradient(policy, states, actions, advantages, *demos, ent_coef=ent_coef, demo_coef=weight)
            gradient_norm = actor.step(g)
            yield collector.progress(demo_coef=weight, gradient_norm=gradient_norm)

    return run(updates())
