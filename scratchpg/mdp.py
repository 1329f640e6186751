"""Finite MDPs with a horizon: every expectation of the derivation is a finite sum, and J and ∇J are exact.

They are computed in two independent ways: by enumerating all trajectories τ, as in the derivation (`Trajectories`), and
by recursion over (t, s), which scales to many states and long horizons (`FiniteMDP.objective`, `.gradient`). Both take
a policy of sizes (S, *hidden, A); its states are one-hot.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete

from .plumbing import check
from .plumbing.check import Array
from .policy import SoftmaxPolicy
from .returns import discounted
from .rollout import Batch
from .softmax import Softmax


@dataclass(kw_only=True)
class Trajectories(Batch):
    """All trajectories of a finite MDP, K episodes side by side: T = H rows; rows after the end are not `valid`."""

    probability: Array  # (K,)  p(τ|θ)

    def objective(self, gamma: float) -> float:
        """(1.2)  J(θ) = Σ_τ p(τ|θ) R(τ):  (1.1) as a finite sum."""
        return self.probability @ discounted(self.rewards, gamma, self.ended)[0]

    def gradient(self, policy: SoftmaxPolicy, gamma: float) -> Array:
        """(1.9)  ∇J(θ) = Σ_τ p(τ|θ) Σ_t ∇log π_θ(a_t|s_t) R(τ), flat in θ; the policy is that of `probability`.

        It is (1.4) Σ_τ ∇p(τ|θ) R(τ), by (1.5) ∇p = p ∇log p equal to (1.6); in (1.7) log p(τ|θ) = log p(s_0) +
        Σ_t [log π_θ(a_t|s_t) + log p(s_{t+1}|s_t,a_t)] only the π depend on θ, so (1.8) ∇log p(τ|θ) = Σ_t ∇log π_θ.
        """
        R = discounted(self.rewards, gamma, self.ended)[0]
        states, actions, weights = self.samples(np.broadcast_to(self.probability * R, self.valid.shape))
        pi = policy(states)
        return policy.backward(pi, weights[:, None] * pi.d_log_prob(actions))


class FiniteMDP(gym.Env[Any, Any]):
    """An MDP of S states and A actions that ends after `horizon` = H steps, or earlier in a terminal state.

    start (S,): p(s_0);  transition (S, A, S): p(s'|s,a);  reward (S, A): r(s,a), or (S, A, S): r(s,a,s');
    terminal (S,): where an episode ends. The rows of a terminal state do not count: it is absorbing, with reward 0.

    The horizon is part of J, so the last step is `terminated`, not truncated: the value after it is 0. Also a
    Gymnasium environment, which the chapters' `train` runs on. ValueError says which table is wrong, and where.

    >>> mdp = FiniteMDP([1.0], [[[1.0], [1.0]]], [[0.0, 1.0]], horizon=2)  # one state; action 1 pays
    >>> policy = SoftmaxPolicy((1, 2), theta=np.zeros(4))  # π = (½, ½)
    >>> float(mdp.objective(policy, 0.5)), float(mdp.trajectories(policy).objective(0.5))  # ½ + ½ γ
    (0.75, 0.75)
    """

    def __init__(self, start: Any, transition: Any, reward: Any, *, horizon: int, terminal: Any = None) -> None:
        P = _table("transition", transition)
        if P.ndim != 3 or P.shape[0] != P.shape[2] or not P.size:
            raise ValueError(f"transition must have shape (S, A, S), S and A at least 1, not {P.shape}")
        S, A, _ = P.shape
        p0, r = _table("start", start, (S,)), _table("reward", reward, (S, A), (S, A, S))
        end = _table("terminal", np.zeros(S) if terminal is None else terminal, (S,)) != 0
        check.count(horizon=horizon)
        P[end], r[end] = np.eye(S)[end][:, None], 0
        check.finite("reward", r)
        for name, table in ("start", p0), ("transition", P):
            for row in np.ndindex(table.shape[:-1]):
                p, total = table[row], table[row].sum()
                if not ((p >= 0).all() and abs(total - 1) <= 1e-9):
                    row_name = f"{name}{list(row) or ''}"
                    raise ValueError(f"{row_name} must be probabilities, none < 0, of sum 1, not {p} of sum {total}")
        if p0[end].any():
            raise ValueError(f"no episode can begin in a terminal state, but start is {p0} and terminal is {end}")
        self.start, self.transition, self.terminal, self.horizon = p0, P, end, int(horizon)
        self.reward = np.broadcast_to(r.reshape(S, A, -1), P.shape)
        self.observation_space, self.action_space = Discrete(S), Discrete(A)
        self.state, self.t = 0, self.horizon  # no episode is under way before the first reset

    @classmethod
    def from_env(cls, env: gym.Env[Any, Any], horizon: int) -> "FiniteMDP":
        """The MDP of an environment with a table `unwrapped.P` (FrozenLake-v1, CliffWalking-v1, Taxi-v4), but with
        this horizon for its time limit. Terminal are states where episodes end, or which none reaches."""
        table, start = (getattr(getattr(env, "unwrapped", env), name, None) for name in ("P", "initial_state_distrib"))
        if table is None or start is None:
            raise ValueError(f"env must have unwrapped.P and .initial_state_distrib, as FrozenLake-v1 has, not {env}")
        S, A = len(table), len(table[0])
        P, r = np.zeros((2, S, A, S))
        acts_in, ends_in = np.flatnonzero(start).tolist(), set()
        for s in acts_in:  # grows by the states that these lead to
            for a in range(A):
                for p, next_s, payment, terminated in table[s][a]:
                    P[s, a, next_s] += p
                    r[s, a, next_s] += p * payment
                    if p > 0 and terminated:
                        ends_in.add(next_s)
                    elif p > 0 and next_s not in acts_in:
                        acts_in.append(next_s)
        if both := ends_in.intersection(acts_in):
            raise ValueError(f"state {min(both)} of {env} must end all episodes that reach it or none, not only some")
        terminal = [s not in acts_in for s in range(S)]
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

    def objective(self, policy: SoftmaxPolicy, gamma: float, ent_coef: float = 0.0) -> float:
        """(3.1)  J(θ) = E[G_0] = Σ_s p(s_0=s) V_0(s); with an ent_coef α the J_α of (12.1)."""
        return self.start @ self.values(policy, gamma, ent_coef)[0][0]

    def gradient(self, policy: SoftmaxPolicy, gamma: float, ent_coef: float = 0.0) -> Array:
        """(1.10)  ∇J(θ) = Σ_t γ^t Σ_s d_t(s) Σ_a π_θ(a|s) Q_t(s,a) ∇log π_θ(a|s), flat in θ; with an ent_coef α

        (12.5)  ∇J_α(θ) = Σ_t γ^t Σ_s d_t(s) Σ_a ∇π_θ(a|s) ( Q_t(s,a) - α log π_θ(a|s) ).

        Q_t(s,a) = E[G_t | s_t=s, a_t=a];  d_t(s) = P(s_t=s), where an ended episode stays in its terminal state.
        """
        (_, Q), pi = self.values(policy, gamma, ent_coef), self._pi(policy)
        d_logits = np.zeros_like(Q[0])
        for t, d in enumerate(self.visits(policy)):
            d_logits = d_logits + gamma**t * np.where(self.terminal, 0, d)[:, None] * pi.d_soft_value(Q[t], ent_coef)
        return policy.backward(pi, d_logits)

    def values(self, policy: SoftmaxPolicy, gamma: float, ent_coef: float = 0.0) -> tuple[Array, Array]:
        """(3.2)  V_t(s) = E[G_t | s_t=s], (H+1, S), and Q_t(s,a), (H, S, A), by (3.3) from the last step back.

        They depend on t: with fewer steps left, less reward can follow. V_H is 0, and so is V of a terminal state.
        With an ent_coef α they are those of (12.2), which add the entropies: in Q, from the next state on.
        """
        check.weight(ent_coef=ent_coef)
        pi, V, Q = self._pi(policy), [np.zeros(len(self.start))], []
        for _ in range(self.horizon):
            Q.append(self.bellman_q(V[-1], gamma))
            V.append(np.where(self.terminal, 0, pi.soft_value(Q[-1], ent_coef)))
        return np.array(V[::-1]), np.array(Q[::-1])

    def visits(self, policy: SoftmaxPolicy) -> Array:
        """d_t(s) = P(s_t = s), (H, S), from the first step on; an ended episode stays in its terminal state."""
        pi, d = self._pi(policy).probabilities, [self.start]
        for _ in range(1, self.horizon):
            d.append(np.einsum("s,sa,san->n", d[-1], pi, self.transition))
        return np.array(d)

    def stationary_values(self, pi: Softmax, gamma: float, ent_coef: float = 0.0) -> Array:
        """(12.2) without a horizon, γ < 1: V (S,) by (I - γ P_π) V = r_π + α H, a linear system."""
        check.decay(gamma=gamma)
        r = np.where(self.terminal, 0, pi.soft_value(self.bellman_q(np.zeros(len(self.start)), gamma), ent_coef))
        P = np.einsum("sa,san->sn", pi.probabilities, self.transition)
        return np.linalg.solve(np.eye(len(r)) - gamma * P, r)

    def soft_improvement(self, values: Array, gamma: float, ent_coef: float) -> Softmax:
        """(12.4)  π = softmax(Q/α), the best against these values (S,) by (12.3): a step of soft policy iteration."""
        check.positive(ent_coef=ent_coef)
        return Softmax(self.bellman_q(values, gamma) / ent_coef)

    def soft_bellman(self, values: Array, gamma: float, ent_coef: float) -> Array:
        """(12.4)  α log Σ_a exp((r + γ P V)/α), (S,): V ← this is soft value iteration, a contraction like (3.8)."""
        check.positive(ent_coef=ent_coef)
        V = ent_coef * np.logaddexp.reduce(self.bellman_q(values, gamma) / ent_coef, axis=1)
        return np.where(self.terminal, 0, V)

    def bellman_q(self, values: Array, gamma: float) -> Array:
        """E[r_t + γ V(s_{t+1}) | s_t=s, a_t=a], (S, A): the TD target (3.6) in expectation, for any V (S,)."""
        check.unit(gamma=gamma)
        values = check.numbers("values", values, self.start.shape)
        return (self.transition * (self.reward + gamma * np.where(self.terminal, 0, values))).sum(axis=2)

    def bellman(self, policy: SoftmaxPolicy, values: Array, gamma: float) -> Array:
        """(3.8)  (B V)(s) = E_π[r + γ V(s')], (S,): a contraction, ‖B V - B W‖_∞ ≤ γ ‖V - W‖_∞."""
        return (self._pi(policy).probabilities * self.bellman_q(values, gamma)).sum(axis=1)

    def optimal(self, gamma: float) -> tuple[Array, Array]:
        """(14.2)  V*_t(s) = max_a Q*_t(s,a), (H+1, S), and Q*_t(s,a) = E[r_t + γ V*_{t+1}(s_{t+1})], (H, S, A)."""
        V, Q = [np.zeros(len(self.start))], []
        for _ in range(self.horizon):
            Q.append(self.bellman_q(V[-1], gamma))
            V.append(Q[-1].max(axis=1))
        return np.array(V[::-1]), np.array(Q[::-1])

    def followed(self, actions: Array, gamma: float) -> Array:
        """V_t(s), (H+1, S), of the policy a_t(s) = actions[t, s], (H, S)."""
        check.numbers("actions", actions, (self.horizon, len(self.start)))
        V = [np.zeros(len(self.start))]
        for a in actions[::-1]:
            V.append(self.bellman_q(V[-1], gamma)[np.arange(len(a)), a])
        return np.array(V[::-1])

    def plans(self, steps: int, gamma: float) -> tuple[Array, Array]:
        """(14.3)  All plans a_0 … a_{steps-1}, (K, steps), and E[Σ_k γ^k r_k] of each from each state, (K, S)."""
        R, A = np.zeros((1, len(self.start))), self.transition.shape[1]
        for _ in range(steps):  # an action before each of the plans so far
            R = np.stack([self.bellman_q(V, gamma) for V in R], axis=2).transpose(1, 2, 0).reshape(-1, len(self.start))
        return np.indices([A] * steps).reshape(steps, -1).T, R

    def counted(self, states: Array, actions: Array, rewards: Array, next_states: Array) -> "FiniteMDP":
        """(14.1)  The MDP estimated from these data (B,): P̂(s'|s,a) = n(s,a,s')/n(s,a), r̂ the mean of its rewards.

        (14.6)  V̂_0 - V_0 = Σ_t γ^t E_{d_t of the model}[ (r̂ - r) + γ (P̂ - P) V_{t+1} ]: its errors add up along t
        (14.7)  E[(P̂ - P)²] = P(1 - P)/n, so V̂ - V ~ 1/√n
        Where (s, a) was never tried it stays in s with reward 0. Start, horizon and terminal states are the true ones.
        """
        i = np.ravel_multi_index((*np.stack([states, actions, next_states]),), self.transition.shape)  # else ValueError
        n, r = (np.bincount(i, w, self.transition.size).reshape(self.transition.shape) for w in (None, rewards))
        tried = n.sum(axis=2, keepdims=True)
        P = np.where(tried > 0, n / np.maximum(tried, 1), np.eye(len(self.start))[:, None])
        return FiniteMDP(self.start, P, r / np.maximum(n, 1), horizon=self.horizon, terminal=self.terminal)

    def trajectories(self, policy: SoftmaxPolicy, *, limit: int = 100_000) -> Trajectories:
        """(1.3)  Every τ, with p(τ|θ) = p(s_0) Π_t π_θ(a_t|s_t) p(s_{t+1}|s_t,a_t); ValueError for more than limit."""
        possible = self.transition > 0
        possible[self.terminal, 1:] = False  # after the end there is one continuation, by action 0, …
        pi = np.where(self.terminal[:, None], 1, self._pi(policy).probabilities)  # … and it is certain
        ways, one_hot = possible.sum(axis=(1, 2)), np.eye(len(self.start))
        states = np.flatnonzero(self.start)[None]  # (t+1, K)
        actions = np.empty((0, states.size), int)  # (t, K)
        for _ in range(self.horizon):
            if ways[states[-1]].sum() > limit:
                advice = "take mdp.objective and mdp.gradient, or a shorter horizon, or a larger limit"
                raise ValueError(f"there are more than limit={limit} trajectories of {self.horizon} steps: {advice}")
            parent, a, next_s = np.nonzero(possible[states[-1]])
            states, actions = np.vstack([states[:, parent], next_s]), np.vstack([actions[:, parent], a])
        s, next_s = states[:-1], states[1:]
        valid = ~self.terminal[s]
        terminated = valid & self.terminal[next_s]
        terminated[-1] = valid[-1]
        probability = self.start[s[0]] * (pi[s, actions] * self.transition[s, actions, next_s]).prod(axis=0)
        rewards = self.reward[s, actions, next_s]
        truncated = np.zeros_like(valid)
        return Trajectories(one_hot[states], actions, rewards, terminated, truncated, valid, probability=probability)

    def _pi(self, policy: SoftmaxPolicy) -> Softmax:
        """π_θ(·|s) of every state, S rows."""
        check.fit(self, policy=policy)
        return policy(np.eye(len(self.start)))


def _table(name: str, x: Any, *shapes: tuple[int, ...]) -> Array:
    """A new array of floats, of one of these shapes if any is given."""
    try:
        table = np.array(x, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers, not {type(x).__name__}: {error}") from None
    if shapes and table.shape not in shapes:
        raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}, not {table.shape}")
    return table
