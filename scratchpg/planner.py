"""Planning: search for actions a_0 … a_{H-1} that are good according to a model, and take the first one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np

from .dynamics import Dynamics
from .plumbing import check
from .plumbing.check import AnyEnv, Array

Model = Callable[[Array, Array], Array]  # s_{t+1} (B, n) of s_t (B, n) and a_t, (B,) or (B, d): such as `Dynamics`


@dataclass(kw_only=True)
class Planner:
    """(14.5)  π(s), a policy for `train`, `Collector` and `evaluate`. In a Box a search begins from the last plan."""

    env: AnyEnv  # for its spaces; a Box of actions must have finite bounds
    models: Sequence[Model]  # the ensemble
    reward: Callable[[Array, Array, Array], Any]  # r(s, a, s') of rows (B, n), (B,) or (B, d), (B, n): (B,) or a number
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
        check.door(object, "a function", callable)(reward=self.reward, terminal=self.terminal or self.reward)  # or None
        check.door(Sequence, "a list of 1 or more functions", lambda x: x and all(map(callable, x)))(models=self.models)
        space: Any = check.spaces_of(self.env)[1]
        self.actions = "Box" if check.has_box(self.env) else "Discrete"
        self.outputs = check.action_size(self.env, "bounded Box" if self.actions == "Box" else "Discrete")
        self.net = SimpleNamespace(sizes=(check.observation_size(self.env),))  # a Collector looks at its inputs
        self.theta = np.zeros(0, np.float32)  # no parameters; states come in its dtype
        self.q = np.full((self.horizon, self.outputs), 1 / self.outputs)  # a search begins with equal probabilities
        if self.actions == "Box":  # or with the middle of the Box, and half its width
            self.low, self.high = np.array([space.low.ravel(), space.high.ravel()], float)
            self.dtype = space.dtype
            self.q = np.repeat([[(self.low + self.high) / 2], [(self.high - self.low) / 2]], self.horizon, axis=1)
        self.rng: Any = None
        self.plans: list[Array] = []  # the last plan of each row of states, found with that generator

    def __call__(self, states: Array) -> Any:
        """Its `sample(rng)` makes a search from each of the states, its `mode()` one with a generator of seed 0."""

        def sample(rng: np.random.Generator) -> Array:
            goes_on = rng is self.rng and len(states) == len(self.plans)  # else it is another run
            before = self.plans if goes_on else [None] * len(states)
            self.rng, self.plans = rng, [plan(self, s, rng, last) for s, last in zip(states, before, strict=True)]
            return np.array([a[0] for a in self.plans])  # (14.5)

        return SimpleNamespace(sample=sample, mode=lambda: sample(np.random.default_rng(0)))


def plan(planner: Planner, state: Array, rng: np.random.Generator, before: Array | None = None) -> Array:
    """(14.4)  The mean of the last elites, (H, d); of integers the most frequent ones, (H,)."""
    q, predict = planner.q, together(planner.models, planner.n_plans)
    if before is not None and planner.actions == "Box":  # start from the plan found one step earlier, moved on by one
        q = np.stack([np.vstack([before[1:], q[0, -1:]]), q[1]])
    for _ in range(planner.n_rounds):
        plans = draw(planner, q, rng)
        R = imagined_returns(planner, state, plans, predict)
        elites = np.argsort(-R, kind="stable")[: planner.n_elites]  # NaN comes last
        check.finite("R̂ of the best plan", R[elites[:1]])
        q = fit(planner, plans[elites])
    return q[0] if planner.actions == "Box" else q.argmax(axis=1)


def draw(planner: Planner, q: Array, rng: np.random.Generator) -> Array:
    """a^i ~ q: plans (N, H) of integers, or (N, H, d) clipped to the bounds, as they are then scored and refitted."""
    if planner.actions == "Box":
        noise = rng.standard_normal((planner.n_plans, *q[0].shape))
        return np.clip(q[0] + q[1] * noise, planner.low, planner.high).astype(planner.dtype)
    u = rng.random((planner.n_plans, len(q), 1))
    return (u >= q.cumsum(axis=1)[:, :-1]).sum(axis=2)  # P(a) = q_a: a is how many of the sums u has passed


def fit(planner: Planner, elites: Array) -> Array:
    """(14.4)  argmax_q Σ_elites log q(a): frequencies (H, A), or mean and deviation (2, H, d)."""
    if planner.actions == "Box":
        return np.stack([elites.mean(axis=0), elites.std(axis=0)])
    return np.eye(planner.outputs)[elites].mean(axis=0)


def imagined_returns(planner: Planner, state: Array, plans: Array, predict: Model | None = None) -> Array:
    """(14.3)  R̂ of plans from one state (n,), (N,): all plans of all models in one pass per step, by `together`."""
    (N, H), E = plans.shape[:2], len(planner.models)  # E models: an ensemble
    predict = predict or together(planner.models, N)
    if planner.actions == "Discrete" and not 0 <= plans.min() <= plans.max() < planner.outputs:
        raise ValueError(f"plans must be of actions 0 … {planner.outputs - 1}, not {plans.min()} … {plans.max()}")
    actions = np.concatenate([plans] * E).swapaxes(0, 1).copy()  # all a_0, then all a_1, …, also in memory
    states = np.array([*accumulate(actions, predict, initial=np.tile(state, (E * N, 1)))])  # s_0 … s_H of all rows
    states.flags.writeable = False  # s and next_s share them: a reward must not write into one of them
    s, a, next_s = (x.reshape(H * E * N, *x.shape[2:]) for x in (states[:-1], actions, states[1:]))
    r = planner.reward(s, a, next_s)
    r = check.rows(s, reward=r if np.ndim(r) else np.full(len(s), r))[1].reshape(H, E * N)
    if planner.terminal:
        r = np.where(np.logical_and.accumulate(np.logical_not(planner.terminal(s)).reshape(H, E * N)), r, 0)  # Π_{j≤k}
    return (planner.gamma ** np.arange(H) @ r).reshape(E, N).mean(axis=0)


def together(models: Sequence[Model], N: int) -> Model:
    """All models as one function of E N rows: the first N are for the first model, the next N for the second, …"""
    E, members = len(models), [model for model in models if type(model) is Dynamics]
    if len(members) < E or len({(f.sizes, f.theta.dtype) for f in members}) > 1:
        return lambda s, a: np.concatenate([f(s[m * N :][:N].copy(), a[m * N :][:N]) for m, f in enumerate(models)])
    of_all = zip(*(f.net.layers for f in members), strict=True)
    W_1, *deeper = layers = [np.stack([np.concatenate(W_b) for W_b in layer]) for layer in of_all]  # W_l above b_l
    (n, d, *_), dtype = members[0].sizes, W_1.dtype
    mu, sigma, mu_d, sigma_d = np.stack([f.scales for f in members], axis=1).astype(dtype)[:, :, None]  # (E, 1, n)
    W_1[:, :n] /= sigma.swapaxes(1, 2)  # folded in; but not μ_s: s - μ_s must come first, where both are large
    layers[-1] *= sigma_d
    layers[-1][:, -1:] += mu_d
    x = np.ones((E, W_1.shape[1], N), dtype).swapaxes(1, 2)  # (s - μ_s, a, 1), by columns, as they are copied
    y_1 = np.empty((E, N, W_1.shape[2]), dtype)
    # Adding a row to N rows is slow, so b is repeated; and new memory for y in each step may cost more than tanh
    hidden = [(W[:, :-1], np.repeat(W[:, -1:], N, axis=1), np.empty((E, N, W.shape[2]), dtype)) for W in deeper]
    one_hot = np.eye(d, dtype=dtype)

    def at_once(states: Array, actions: Array) -> Array:
        a = one_hot.take(actions, axis=0) if actions.ndim == 1 else actions
        x[..., :n], x[..., n:-1] = states.reshape(E, N, n) - mu, a.reshape(E, N, d)
        y = np.matmul(x, W_1, out=y_1)
        for W, b, out in hidden:
            y = np.matmul(np.tanh(y, out=y), W, out=out)
            y += b
        return states + y.reshape(states.shape)

    return at_once
