"""Imitation: behaviour cloning and DAgger learn from an expert whose actions are known, without a reward.

Make the expert's actions more probable: the score function with Ψ = 1. A clone knows only the states where the expert
goes, and its first mistake may lead out of them. DAgger lets the learner drive, and asks what the expert would do.

    (13.1)  L_BC(θ) = -mean_t w_t log π_θ(a*_t|s_t),   ∇L_BC = -mean_t w_t ∇log π_θ(a*_t|s_t)
            w_t = 1: cloning;  w_t = 1[the return is good], or G*_t - V(s_t): clone the better part
    (13.2)  KL(p(τ|π*) ‖ p(τ|θ)) = Σ_t E_{s_t~π*}[ KL(π*(·|s_t) ‖ π_θ(·|s_t)) ]
            so (13.1) in expectation is the KL of whole trajectories, up to the expert's own entropy
    (13.3)  E_{s~π*}[∇_z L_BC] = Σ_t d_t(s) (π_θ(·|s) - π*(·|s))       in the logits; d_t is that of π*
    (13.4)  cloning:  J(π*) - J(θ) ≤ Σ_t (T-t) ε_t ≤ ε T²,   ε_t = P_{s_t~π*, a~π_θ}(a ≠ a*),  ε their mean
            for rewards in [0, 1] and a π* without noise
    (13.5)  DAgger:   J(π*) - J(θ) = Σ_t γ^t E_{s_t,a_t~π_θ}[ V*_t(s_t) - Q*_t(s_t,a_t) ] ≤ u T ε'
            u = max (V*-Q*): what a mistake costs if the expert takes over;  ε' = mean_t P_{s_t~π_θ}(a ≠ a*)
    (13.6)  D ← D ∪ {(s, π*(s)) : s met by the driver};   θ ← argmin L_BC on D
            the driver is π* in the first round, and then: π_θ in DAgger, π* in cloning

Use cloning where all you have is recorded episodes, DAgger where the expert can be asked. Neither gets better than the
expert; RLfD can. DAgger is not always better: where a mistake can't be repaired, u = T; and DAgger's guarantee holds
for the best of its policies, not for the last. With a Gaussian policy and an expert without noise L_BC has no
minimum: σ shrinks as the errors do. Sources: Ross & Bagnell 2010 (their bound ε T² is twice what can happen); Ross et
al. 2011, arXiv:1011.0686, algorithm 3.1 with β_1 = 1, then 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..demonstrations import Expert
from ..optim import Adam
from ..plumbing import AnyEnv, Array, Loop, Rng, Schedule, Updates, check, make_rng, run, scheduled, undisturbed
from ..policy import Policy
from ..rollout import Collector, minibatches


def loss(policy: Policy, states: Array, actions: Array, weights: Array | None = None) -> float:
    """(13.1)  L_BC(θ) = -mean_t w_t log π_θ(a*_t|s_t). weights (B,); None is 1 for all."""
    states, weights = check.rows(states, weights=np.ones(np.shape(states)[:1]) if weights is None else weights)
    return -(weights * policy(states).log_prob(actions)).mean()


def gradient(policy: Policy, states: Array, actions: Array, weights: Array | None = None) -> Array:
    """(13.1)  ∇L_BC(θ) = -mean_t w_t ∇log π_θ(a*_t|s_t), flat in θ: that of `actor_critic`, with w_t for A_t.

    >>> from scratchpg import SoftmaxPolicy
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> gradient(policy, [[1.0], [1.0]], [1, 1])
    array([ 0.5, -0.5,  0.5, -0.5])
    """
    states, weights = check.rows(states, weights=np.ones(np.shape(states)[:1]) if weights is None else weights)
    pi = policy(states)
    d_parameters = -weights[:, None] * pi.d_log_prob(actions)  # (13.1)
    return policy.backward(pi, d_parameters / len(states))


def clone(
    policy: Policy,
    states: Array,
    actions: Array,
    weights: Array | None = None,
    *,
    batch_size: int = 64,  # rows per minibatch
    n_epochs: int = 200,  # passes over the rows
    learning_rate: Schedule = (1e-3, 0.0),  # a number, or (first, last): linear over the passes
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    rng: Rng = None,  # of the order of the rows: a generator or a seed
) -> float:
    """(13.6)  θ ← argmin L_BC on these rows, by Adam, in place: all that cloning needs. Returns the final L_BC."""
    check.count(n_epochs=n_epochs, batch_size=batch_size)
    check.schedule(learning_rate=learning_rate)
    states, weights = check.rows(states, weights=np.ones(np.shape(states)[:1]) if weights is None else weights)
    actions = np.asarray(actions)
    rng = np.random.default_rng(rng)
    loss(policy, states, actions, weights)  # refuses actions that do not fit
    actor = Adam(policy.theta, max_grad_norm=max_grad_norm)
    with undisturbed():
        for epoch in range(n_epochs):
            actor.learning_rate = scheduled(learning_rate, epoch / n_epochs)
            for i in minibatches(len(states), batch_size, rng):
                actor.step(gradient(policy, states[i], actions[i], weights[i]))
        return float(loss(policy, states, actions, weights))


def train(
    env: AnyEnv,
    policy: Policy,
    expert: Callable[[Array], Any],
    *,
    dagger: bool = False,  # after the first round the policy drives; if False, always the expert
    total_steps: int = 1_000,  # of all environments together, each a labelled state
    n_steps: int | None = None,  # rows of each environment per round; None is one whole episode of each
    batch_size: int = 64,  # rows per minibatch
    n_epochs: int = 200,  # passes over D in each round
    learning_rate: Schedule = (1e-3, 0.0),  # a number, or (first, last): linear over the passes of a round
    max_grad_norm: float = 0.5,  # a longer gradient is scaled down to this length
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """(13.6)  Train the policy in place; yields Progress after every round. `mean_return` is that of the driver.

    expert: a function of states to actions, as in `demonstrations.Expert`.
    """
    expert = Expert(expert, env)
    check.fit(env, policy=policy)
    check.flag(dagger=dagger)
    check.natural(total_steps=total_steps)
    check.optional(check.count, n_steps=n_steps)
    check.count(batch_size=batch_size, n_epochs=n_epochs)
    check.schedule(learning_rate=learning_rate)
    check.bound(max_grad_norm=max_grad_norm)
    rng = make_rng(seed, rng)
    collector, shuffler = Collector(env, expert, rng), rng.spawn(1)[0]
    cloning: dict[str, Any] = {"batch_size": batch_size, "n_epochs": n_epochs, "rng": shuffler}
    cloning |= {"learning_rate": learning_rate, "max_grad_norm": max_grad_norm}

    def updates() -> Loop:
        states, actions = [], []  # D, round by round
        while collector.steps < total_steps:
            batch = collector.collect(n_steps) if n_steps else collector.collect_episodes(collector.n_envs)
            met, _ = batch.samples()
            states.append(met)
            actions.append(expert(met).mode())  # (13.6)  D ← D ∪ {(s, π*(s))}
            error = clone(policy, np.concatenate(states), np.concatenate(actions), **cloning)
            if dagger:
                collector.policy = policy
            yield collector.progress(loss=error)

    return run(updates())
