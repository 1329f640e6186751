"""Replay: a ring of the last transitions, from which training draws again and again.

A transition is (s_t, a_t, r_t, s_{t+1}, terminated), and where the transition that follows it in its episode is stored.
No `truncated` is kept: where a time limit cuts an episode, s_{t+1} is its true last state, and has a value like others.
"""

from typing import Any, NamedTuple

import numpy as np

from .plumbing import check
from .plumbing.check import Array
from .rollout import Batch


class Sample(NamedTuple):
    """B transitions of m ≤ n steps. A target is `rewards + discounts * V(next_states)`."""

    states: Array  # (B, observation): s_t
    actions: Array  # (B,), or (B, d) floats
    rewards: Array  # (B,): Σ_{k<m} γ^k r_{t+k}
    next_states: Array  # (B, observation): s_{t+m}
    discounts: Array  # (B,): γ^m, or 0 where s_{t+m} is terminal
    index: Array  # (B,): where they are stored
    weights: Array  # (B,): w of (11.9); 1 where the draw is uniform


class Replay:
    """The last `capacity` transitions of N environments, drawn uniformly.

    gamma: the discount γ; n_steps: n, over how many steps a sample looks ahead. Its arrays are made by the first `add`.

    >>> batch = Batch(np.arange(4.0).reshape(4, 1, 1), np.zeros((3, 1), int), np.ones((3, 1)),
    ...               np.array([[False], [False], [True]]), np.zeros((3, 1), bool), np.ones((3, 1), bool))
    >>> replay = Replay(10, gamma=0.5, n_steps=2)
    >>> replay.add(batch)
    >>> replay.ahead(np.array([0, 1, 2]))  # two steps, two steps to the end, and the last step
    (array([1.5, 1.5, 1. ]), array([0.25, 0.  , 0.  ]), array([1, 2, 2]))
    """

    def __init__(self, capacity: int, *, gamma: float = 0.99, n_steps: int = 1) -> None:
        check.count(capacity=capacity, n_steps=n_steps)
        check.unit(gamma=gamma)
        self.capacity, self.gamma, self.n_steps = capacity, gamma, n_steps
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, batch: Batch) -> None:
        """Store the valid rows of a batch. Batches must come as one Collector makes them, none left out."""
        rows = batch.states[:-1], batch.actions, batch.rewards, batch.states[1:], batch.terminated
        if not self.added:
            self.columns = [np.empty((self.capacity, *x.shape[2:]), x.dtype) for x in rows]
            self.following = np.empty(self.capacity, int)  # where the next step of the episode is; -1: not known
            self.last = np.full(batch.valid.shape[1], -1)  # where the last row of each environment is
        place = np.full(batch.valid.shape, -1)  # of each row in the ring
        place[batch.valid] = new = np.arange(self.added, self.added + np.count_nonzero(batch.valid)) % self.capacity
        following = np.full(place.shape, -1)
        following[:-1] = place[1:]
        following[batch.ended] = -1
        goes_on = (batch.first_t > 0) & (self.last >= 0)
        self.following[self.last[goes_on]] = place[0, goes_on]
        for column, x in zip((*self.columns, self.following), (*rows, following), strict=True):
            column[new] = x[batch.valid]  # the oldest go; what follows a transition is newer, and goes after it
        self.last = np.where(batch.ended[-1], -1, place[-1])
        self.added += len(new)

    def ahead(self, i: Array) -> tuple[Array, Array, Array]:
        """(11.10)  Σ_{k<m} γ^k r_{t+k},  γ^m 1[s_{t+m} not terminal],  and the place of step t+m-1, for t at place i.

        m ≤ n: the walk stops where the episode ends, or where no more of it is known yet.
        """
        rewards, terminated = self.columns[2], self.columns[4]
        total, discounts = rewards[i], np.full(len(i), self.gamma)
        for _ in range(self.n_steps - 1):
            following = self.following[i]
            goes_on = following >= 0
            i = np.where(goes_on, following, i)
            total += np.where(goes_on, discounts * rewards[i], 0)
            discounts *= np.where(goes_on, self.gamma, 1)
        return total, np.where(terminated[i], 0, discounts), i

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """Transitions drawn uniformly, with replacement."""
        return self.at(rng.integers(len(self), size=batch_size))

    def at(self, i: Array, weights: Any = None) -> Sample:
        """The transitions that are stored at the places i (B,)."""
        states, actions, _, next_states, _ = self.columns
        rewards, discounts, end = self.ahead(i)
        weights = np.ones(len(i)) if weights is None else weights
        return Sample(states[i], actions[i], rewards, next_states[end], discounts, i, weights)


FAN = 64  # children of a node of the sum tree: three levels hold 262,144 leaves


class PrioritizedReplay(Replay):
    """(11.8)  P(i) = p_i^ω / Σ_j p_j^ω,   p_i = |last error of i| + small;   of a new one the largest there ever was.

    exponent: ω; beta: β of (11.9). A sum tree holds the p_i^ω: `levels[0]`, by groups of 64; each level has the sums of
    the groups of the one before it, and the last is one group. So a draw and a change look at one group per level.
    """

    def __init__(
        self, capacity: int, *, gamma: float = 0.99, n_steps: int = 1, exponent: float = 0.5, beta: float = 1.0
    ) -> None:
        super().__init__(capacity, gamma=gamma, n_steps=n_steps)
        check.unit(exponent=exponent, beta=beta)
        self.exponent, self.beta, self.largest, self.small = exponent, beta, 1.0, 1e-6
        self.levels = [np.zeros((-(-capacity // FAN), FAN))]
        while len(self.levels[-1]) > 1:
            self.levels.append(np.zeros((-(-len(self.levels[-1]) // FAN), FAN)))

    def add(self, batch: Batch) -> None:
        before = self.added
        super().add(batch)
        self._put(np.arange(before, self.added) % self.capacity, self.largest**self.exponent)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """One from each of B equal parts of Σ p^ω.   (11.9)  w_i = (N P(i))^{-β} / max_j (…), of this batch's."""
        total = self.levels[-1].sum()
        i = self.find((np.arange(batch_size) + rng.random(batch_size)) / batch_size * total)
        weights = (len(self) * self.levels[0].ravel()[i] / total) ** -self.beta
        return self.at(i, weights / weights.max())

    def find(self, mass: Array) -> Array:
        """The places i with Σ_{j<i} p_j^ω ≤ mass < Σ_{j≤i} p_j^ω; never one of p_i = 0, however mass is rounded."""
        i, row = np.zeros(len(mass), int), np.arange(len(mass))
        for level in reversed(self.levels):
            p = level[i]  # (B, 64): the children of each node
            ends = p.cumsum(axis=1)
            mass = np.minimum(mass, np.nextafter(ends[:, -1], 0))
            child = (ends <= mass[:, None]).sum(axis=1)  # the first that ends beyond mass, so its p > 0
            mass = np.maximum(mass - (ends - p)[row, child], 0)
            i = FAN * i + child
        return i

    def update(self, i: Array, errors: Array) -> None:
        """The priorities of the transitions at the places i (B,), by their new errors (B,)."""
        priorities = abs(errors) + self.small
        self.largest = max(self.largest, float(priorities.max()))
        self._put(i, priorities**self.exponent)

    def _put(self, i: Array, p: Any) -> None:
        for level in self.levels:
            level.reshape(-1)[i] = p
            i = i // FAN
            p = level[i].sum(axis=1)
