"""MPC, model-predictive control: learn how the environment moves, and look ahead in the model at every step.

No policy is learned. A few networks learn the dynamics (14.1), (14.8) each from a bootstrap of its own, and each of
them sees a plan to its end. The reward is known: a function that the user gives.

    (14.3)  R̂(a_0 … a_{H-1}) = mean_m Σ_{k<H} γ^k r(s_k, a_k, s_{k+1}) Π_{j≤k} 1[s_j not terminal],  s_{k+1} by model m
    (14.4)  a^i ~ q;   q ← argmax_q Σ_i Ψ_i log q(a^i),   Ψ_i = 1[R̂(a^i) among the M best]     cross-entropy method
    (14.5)  π(s) = first action of the plan found at s

(14.4) is the score function with Ψ in {0, 1}, its zero in closed form. With one round and one elite it is random
shooting. Nothing after H steps counts: with r = 1 per step all plans that do not fall within H steps are equally good.

Use it where steps are dear, states small, the reward known: it needs few steps, and thousands of passes per action. It
has no value of what comes after the plan. Source: Chua et al. 2018, arXiv:1805.12114 (PETS, with mean predictions).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space

from ..optim import Adam
from ..plumbing import AnyEnv, Array, Progress, Rng, Schedule, Updates, check, make_rng, run, scheduled
from ..rollout import Collector, minibatches

Model = Callable[[Array, Array], Array]  # s_{t+1} (B, n) of s_t (B, n) and a_t, (B,) or (B, d); such as Dynamics


@dataclass(kw_only=True)
class Planner:
    """(14.5)  π(s), to be used as a policy: by `train`, `Collector` and `evaluate`."""

    env: AnyEnv  # for its spaces; a Box of actions must have finite bounds
    models: Sequence[Model]  # the ensemble
    reward: Callable[[Array, Array, Array], Any]  # r(s, a, s') of rows (B, n), (B,) or (B, d), (B, n): (B,)
    terminal: Callable[[Array], Array] | None = None  # of states (B, n): True where an episode ends, (B,)
    horizon: int = 15  # H
    n_plans: int = 300  # drawn in each round
    n_elites: int = 30  # M
    n_rounds: int = 4  # of (14.4)
    gamma: float = 1.0  # the discount γ within a plan

    def __post_init__(self) -> None:
        check.count(horizon=self.horizon, n_plans=self.n_plans, n_elites=self.n_elites, n_rounds=self.n_rounds)
        check.unit(gamma=self.gamma)
        if self.n_elites > self.n_plans:
            raise ValueError(f"n_elites must be at most n_plans={self.n_plans}, not {self.n_elites}")
        self.space = check.spaces_of(self.env)[1]
        self.actions = "Box" if isinstance(self.space, Box) else "Discrete"
        self.outputs, H = check.action_size(self.env, self.actions), self.horizon
        self.net, self.theta = SimpleNamespace(sizes=(check.observation_size(self.env),)), np.zeros(0, np.float32)
        self.q = np.full((H, self.outputs), 1 / self.outputs)  # uniform, or the middle of the Box and half its width
        if isinstance(self.space, Box):
            self.low, self.high = self.space.low.ravel(), self.space.high.ravel()
            self.q = np.repeat([[(self.low + self.high) / 2], [(self.high - self.low) / 2]], H, axis=1)
            check.finite("the bounds of the actions", self.q)
        self.rng, self.plans = None, []  # the last plan of each row of states, found with this generator

    def __call__(self, states: Array) -> Any:
        """π(·|s) of each row, with `sample(rng)` and `mode()`: a search of its own, or one with a generator of seed 0."""

        def sample(rng: np.random.Generator) -> Array:
            known = rng is self.rng and len(states) == len(self.plans)
            before = self.plans if known else [None] * len(states)
            self.rng, self.plans = rng, [plan(self, s, rng, a) for s, a in zip(states, before, strict=True)]
            return np.array([a[0] for a in self.plans])  # (14.5)

        return SimpleNamespace(sample=sample, mode=lambda: sample(np.random.default_rng(0)))


def plan(planner: Planner, state: Array, rng: np.random.Generator, before: Array | None = None) -> Array:
    """(14.4)  The mean of the elites of the last round, (H,) or (H, d): the most frequent action of each step, if integers.

    before: the plan found at the state before. In a Box the search goes on from it, one step later.
    """
    q = planner.q
    if before is not None and planner.actions == "Box":
        q = np.stack([np.vstack([before[1:], q[0, -1:]]), q[1]])
    for _ in range(planner.n_rounds):
        plans = draw(planner, q, rng)
        elites = np.argsort(-imagined_returns(planner, state, plans), kind="stable")[: planner.n_elites]
        q = fit(planner, plans[elites])
    return q[0] if planner.actions == "Box" else q.argmax(axis=1)


def draw(planner: Planner, q: Array, rng: np.random.Generator) -> Array:
    """a^i ~ q: plans (N, H) of integers, or (N, H, d) clipped to the bounds, as they are then scored and refitted."""
    if planner.actions == "Box":
        noise = rng.standard_normal((planner.n_plans, *q[0].shape))
        return np.clip(q[0] + q[1] * noise, planner.low, planner.high)
    return (q / rng.standard_exponential((planner.n_plans, *q.shape))).argmax(axis=2)  # P(a) = q_a: `Softmax.sample`


def fit(planner: Planner, elites: Array) -> Array:
    """(14.4)  argmax_q Σ_elites log q(a): frequencies (H, A), or mean and deviation (2, H, d)."""
    if planner.actions == "Box":
        return np.stack([elites.mean(axis=0), elites.std(axis=0)])
    return np.eye(planner.outputs)[elites].mean(axis=0)


def imagined_returns(planner: Planner, state: Array, plans: Array) -> Array:
    """(14.3)  R̂ of plans from one state (n,), (N,): all of them in one pass of each model per step."""
    R, N = np.zeros(len(plans)), len(plans)
    for model in planner.models:
        next_s, going = np.tile(state, (N, 1)), np.ones(N, bool)
        for k in range(planner.horizon):
            s, a = next_s, plans[:, k]
            if planner.terminal:
                going &= ~planner.terminal(s)
            next_s = model(s, a)
            R += planner.gamma**k * going * planner.reward(s, a, next_s)
    return R / len(planner.models)


def train(
    env: AnyEnv,
    policy: Planner,
    *,
    total_steps: int = 1_000,  # of all environments together
    learning_starts: int = 500,  # steps with random actions, before the first fit
    n_steps: int = 100,  # rows of each environment between two fits
    batch_size: int = 32,  # rows per minibatch
    n_epochs: int = 50,  # passes over all the data in each fit
    learning_rate: Schedule = 1e-3,  # a number, or (first, last): linear over total_steps
    seed: int | None = None,  # of all randomness: the same seed, the same bits
    rng: Rng = None,  # a generator instead of a seed
) -> Updates:
    """Train the models of the policy, which are Dynamics, in place; yields Progress after every fit, with their mse."""
    check.natural(total_steps=total_steps)
    check.count(learning_starts=learning_starts, n_steps=n_steps, batch_size=batch_size, n_epochs=n_epochs)
    check.schedule(learning_rate=learning_rate)
    rng = make_rng(seed, rng)
    collector = Collector(env, replace(policy, horizon=1, n_plans=1, n_elites=1, n_rounds=1), rng)  # any plan will do
    shuffler = rng.spawn(1)[0]
    models: Any = policy.models
    optimizers = [Adam(model.theta) for model in models]

    def updates() -> Iterator[Progress]:
        data, rows = [], np.zeros((len(models), 0), int)
        while collector.steps < total_steps:
            done = collector.steps / total_steps
            batch = collector.collect(n_steps if data else -(-learning_starts // collector.n_envs))
            new = *batch.samples(), batch.states[1:][batch.valid]
            first = len(data[0]) if data else 0
            data = [np.concatenate(arrays) for arrays in zip(data, new, strict=True)] if data else list(new)
            drawn = shuffler.integers(first, len(data[0]), (len(models), len(new[0])))  # (14.8): once, and kept
            rows = np.concatenate([rows, drawn], axis=1)
            for model, adam, own in zip(models, optimizers, rows, strict=True):
                model.normalize(data[0], data[2])
                adam.learning_rate = scheduled(learning_rate, done)
                for _ in range(n_epochs):
                    for i in minibatches(len(own), batch_size, shuffler):
                        adam.step(model.mse_gradient(*(x[own[i]] for x in data)))
            collector.policy = replace(policy)
            yield collector.progress(mse=sum(model.mse(*data) for model in models) / len(models))

    return run(updates())
