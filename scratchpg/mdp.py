"""Finite MDPs with a horizon: every expectation of the derivation is a finite sum, and J and ∇J are exact.

Two independent routes lead to both. By enumeration of all trajectories τ, as the derivation goes (`Trajectories`), or
by recursion over (t, s), which scales to many states and long horizons (`FiniteMDP.objective`, `.gradient`). Both take
a policy of sizes (S, *hidden, A), which sees states one-hot, and compute in the dtype of its θ.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from .checks import Array, Scalar, check_finite, check_hyperparameters
from .policy import SoftmaxPolicy
from .returns import discounted
from .rollout import Batch
from .spaces import check_fit


@dataclass
class Trajectories(Batch):
    """All trajectories of a finite MDP, K episodes side by side: T = H rows; rows after the end are not `valid`."""

    probability: Array  # (K,)  p(τ|θ)

    def objective(self, gamma: float) -> Scalar:
        """(1.2)  J(θ) = Σ_τ p(τ|θ) R(τ):  (1.1) as a finite sum."""
        return self.probability @ discounted(self.rewards, gamma, self.ended)[0]

    def gradient(self, policy: SoftmaxPolicy, gamma: float) -> Array:
        """(1.9)  ∇J(θ) = Σ_τ p(τ|θ) Σ_t ∇log π_θ(a_t|s_t) R(τ), flat in θ; the policy is that of `probability`.

        It is (1.4) Σ_τ ∇p(τ|θ) R(τ), by (1.5) ∇p = p ∇log p equal to (1.6); in (1.7) log p(τ|θ) = log p(s_0) +
        Σ_t [log π_θ(a_t|s_t) + log p(s_{t+1}|s_t,a_t)] only the π depend on θ, so (1.8) ∇log p(τ|θ) = Σ_t ∇log π_θ.
        """
        R = discounted(self.rewards, gamma, self.ended)[0]
        states, actions, weights = self.rows(np.broadcast_to(self.probability * R, self.valid.shape))
        pi = policy(states)
        return policy.backward(pi, weights[:, None] * pi.d_log_prob(actions))


class FiniteMDP(gym.Env[Any, Any]):
    """An MDP of S states and A actions that ends after `horizon` = H steps, or earlier in a terminal state.

    start (S,): p(s_0);  transition (S, A, S): p(s'|s,a);  reward (S, A): r(s,a), or (S, A, S): r(s,a,s');
    terminal (S,): where an episode ends. The rows of a terminal state do not count: it is absorbing and pays nothing.

    The horizon is part of J, so the last step is `terminated`, not truncated: the value after it is 0. Also a
    Gymnasium environment, which the chapters' `train` runs on.

    >>> mdp = FiniteMDP([1.0], [[[1.0], [1.0]]], [[0.0, 1.0]], horizon=2)  # one state; action 1 pays
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> float(mdp.objective(policy, 0.5)), float(mdp.trajectories(policy).objective(0.5))  # ½ + ½ γ
    (0.75, 0.75)
    """

    def __init__(self, start: Any, transition: Any, reward: Any, *, horizon: int, terminal: Any = None) -> None:
        p0, P, r = _table("start", start), _table("transition", transition), _table("reward", reward)
        S, A = P.shape[:2] if P.ndim == 3 else (0, 0)
        end = np.zeros(S, bool) if terminal is None else np.array(terminal, bool)
        if not S * A or P.shape != (S, A, S):
            raise ValueError(f"transition must have shape (S, A, S), S and A at least 1, not {P.shape}")
        for name, x, shapes in ("start", p0, {(S,)}), ("reward", r, {(S, A), (S, A, S)}), ("terminal", end, {(S,)}):
            if x.shape not in shapes:
                fit = " or ".join(map(str, sorted(shapes)))
                raise ValueError(f"{name} must have shape {fit}, to fit transition {P.shape}, not {x.shape}")
        if not isinstance(horizon, int | np.integer) or isinstance(horizon, bool) or horizon < 1:
            raise ValueError(f"horizon must be the number of steps, an integer of at least 1, not {horizon!r}")
        P[end], r[end] = np.eye(S)[end][:, None], 0
        check_finite("reward", r)
        for name, p in ("start", p0), ("transition", P):
            for where in np.ndindex(p.shape[:-1]):
                if not ((p[where] >= 0).all() and abs(p[where].sum() - 1) <= 1e-9):
                    row, total = f"{name}{list(where) or ''}", p[where].sum()
                    raise ValueError(f"{row} must be probabilities, none < 0, of sum 1, not {p[where]} of sum {total}")
        if p0[end].any():
            raise ValueError(f"no episode can begin in a terminal state, but start is {p0} and terminal is {end}")
        self.start, self.transition, self.terminal, self.horizon = p0, P, end, int(horizon)
        self.reward = np.broadcast_to(r if r.ndim == 3 else r[:, :, None], P.shape)
        self.expected_reward = (P * self.reward).sum(axis=2)  # E[r|s,a], (S, A)
        self.observation_space, self.action_space = Discrete(S), Discrete(A)
        self.state, self.t = 0, self.horizon  # no episode is under way before the first reset

    @classmethod
    def from_env(cls, env: gym.Env[Any, Any], horizon: int) -> "FiniteMDP":
        """The MDP of an environment with a table `unwrapped.P` (FrozenLake-v1, CliffWalking-v1, Taxi-v4), but with
        this horizon in place of its time limit."""
        table: Any = getattr(env.unwrapped, "P", None)
        start = np.asarray(getattr(env.unwrapped, "initial_state_distrib", 0))
        if table is None or not start.ndim:
            raise ValueError(
                f"env must have unwrapped.P and .initial_state_distrib, as FrozenLake-v1 does; {env} has not"
            )
        S, A = len(table), len(table[0])
        P, r = np.zeros((2, S, A, S))
        ends, goes_on = np.zeros((2, S, S), bool)
        for s, a in np.ndindex(S, A):
            for p, next_s, payment, terminated in table[s][a]:
                P[s, a, next_s] += p
                r[s, a, next_s] += p * payment
                (ends if terminated else goes_on)[s, next_s] |= p > 0
        terminal = ends.any(axis=0)
        visited = start > 0  # Taxi lists states that no episode comes to; whether one would end there is no matter
        for _ in range(S):
            visited = visited | (ends | goes_on)[visited & ~terminal].any(axis=0)
        for s in np.flatnonzero(terminal & goes_on[visited & ~terminal].any(axis=0)):
            raise ValueError(f"state {s} must end every episode that comes to it or none, but it ends some in {env}")
        return cls(start, P, r / np.where(P > 0, P, 1), horizon=horizon, terminal=terminal)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Draw s_0."""
        super().reset(seed=seed)
        self.state, self.t = int(self.np_random.choice(len(self.start), p=self.start)), 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Draw s_{t+1}, pay r_t."""
        if not self.action_space.contains(action):
            raise ValueError(f"action must be in {self.action_space}, not {action!r}")
        if self.t == self.horizon or self.terminal[self.state]:
            raise gym.error.ResetNeeded("no episode is under way: call reset() first")
        s, self.t = self.state, self.t + 1
        self.state = int(self.np_random.choice(len(self.start), p=self.transition[s, action]))
        over = self.t == self.horizon or bool(self.terminal[self.state])
        return self.state, float(self.reward[s, action, self.state]), over, False, {}

    def objective(self, policy: SoftmaxPolicy, gamma: float) -> Scalar:
        """(3.1)  J(θ) = E[G_0] = Σ_s p(s_0=s) V_0(s)."""
        return self.start @ self.values(policy, gamma)[0][0]

    def gradient(self, policy: SoftmaxPolicy, gamma: float) -> Array:
        """(1.10)  ∇J(θ) = Σ_t γ^t Σ_s d_t(s) Σ_a π_θ(a|s) Q_t(s,a) ∇log π_θ(a|s), flat in θ: E[G_t|s_t,a_t] is Q_t."""
        V, Q = self.values(policy, gamma)
        visits = gamma ** np.arange(self.horizon)[:, None] * self.occupancy(policy)[:-1]
        pi = policy(np.eye(len(self.start)))
        # in the logits: Σ_a π_a Q_a (onehot(a) - π) = π (Q - V)
        d_logits = pi.probabilities * (visits[:, :, None] * (Q - V[:-1, :, None])).sum(axis=0)
        return policy.backward(pi, d_logits)

    def values(self, policy: SoftmaxPolicy, gamma: float) -> tuple[Array, Array]:
        """(3.2)  V_t(s) = E[G_t | s_t=s], (H+1, S), and Q_t(s,a), (H, S, A), by (3.3) from the last step back.

        They depend on t: the fewer steps are left, the less is to come. V_H is 0, and so is V of a terminal state.
        """
        probabilities = self._probabilities(policy)
        V = np.zeros((self.horizon + 1, len(self.start)), probabilities.dtype)
        Q = np.zeros((self.horizon, *probabilities.shape), probabilities.dtype)
        for t in reversed(range(self.horizon)):
            Q[t] = self.expected_targets(V[t + 1], gamma)
            V[t] = (probabilities * Q[t]).sum(axis=1)
        return V, Q

    def occupancy(self, policy: SoftmaxPolicy) -> Array:
        """d_t(s) = P(s_t = s), (H+1, S), from the first step on; an ended episode stays in its terminal state."""
        step = np.einsum("sa,san->sn", self._probabilities(policy), self.transition)
        d = np.zeros((self.horizon + 1, len(self.start)), step.dtype)
        d[0] = self.start
        for t in range(self.horizon):
            d[t + 1] = d[t] @ step
        return d

    def expected_targets(self, values: Array, gamma: float) -> Array:
        """E[r_t + γ V(s_{t+1}) | s_t=s, a_t=a], (S, A): the TD target (3.6) in expectation, for any V (S,)."""
        check_hyperparameters(gamma=gamma)
        if np.shape(values) != self.start.shape:
            raise ValueError(f"values must have shape {self.start.shape}, one per state, not {np.shape(values)}")
        return self.expected_reward + gamma * (self.transition @ np.where(self.terminal, 0, values))

    def expected_td(self, policy: SoftmaxPolicy, values: Array, gamma: float) -> Array:
        """(3.8)  (B V)(s) = E_π[r + γ V(s')], (S,): a contraction, ‖B V - B W‖_∞ ≤ γ ‖V - W‖_∞."""
        return (self._probabilities(policy) * self.expected_targets(values, gamma)).sum(axis=1)

    def count_trajectories(self) -> float:
        """How many trajectories the tables allow."""
        links = (self.transition > 0).sum(axis=1, dtype=np.float64)  # the number of actions that lead from s to s'
        links[self.terminal] = np.eye(len(links))[self.terminal]
        count = np.ones(len(links))
        for _ in range(self.horizon):
            count = np.minimum(links @ count, 1e300)
        return float(count[self.start > 0].sum())

    def trajectories(self, policy: SoftmaxPolicy, *, limit: int = 100_000) -> Trajectories:
        """(1.3)  Every τ, with p(τ|θ) = p(s_0) Π_t π_θ(a_t|s_t) p(s_{t+1}|s_t,a_t); no more than `limit`."""
        if (count := self.count_trajectories()) > limit:
            raise ValueError(
                f"there are {count:.4g} trajectories of {self.horizon} steps, more than the limit of {limit}:"
                " take objective and gradient, which recur over (t, s), or a shorter horizon, or a larger limit"
            )
        possible = self.transition > 0
        possible[self.terminal, 1:] = False  # after the end there is one way to go on, …
        s, a, next_s = np.nonzero(possible)  # the links s -a→ s' that trajectories are made of
        pi = np.where(self.terminal[s], 1, self._probabilities(policy)[s, a])  # … and it is certain
        head = np.flatnonzero(self.start)  # where each trajectory has come to
        path = np.empty((0, len(head)), int)  # by which links, (t, K)
        for _ in range(self.horizon):
            parent, link = np.nonzero(head[:, None] == s)
            path, head = np.concatenate([path[:, parent], [link]]), next_s[link]
        valid = ~self.terminal[s[path]]
        terminated = valid & self.terminal[next_s[path]]
        terminated[-1] = valid[-1]
        states = np.eye(len(self.start))[np.concatenate([s[path], [head]])]
        rewards = self.reward[s, a, next_s][path]
        probability = self.start[s[path[0]]] * (pi * self.transition[s, a, next_s])[path].prod(axis=0)
        return Trajectories(states, a[path], rewards, terminated, np.zeros_like(valid), valid, [], probability)

    def _probabilities(self, policy: SoftmaxPolicy) -> Array:
        """π_θ(a|s), (S, A), in float64 at least, as the tables are."""
        check_fit(self, policy=policy)
        probabilities = policy(np.eye(len(self.start))).probabilities
        return probabilities.astype(np.result_type(probabilities, np.float64))


def _table(name: str, x: Any) -> Array:
    """A new array of floats."""
    try:
        return np.array(x, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers, not {type(x).__name__}: {error}") from None
