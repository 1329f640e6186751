"""Replay: the last transitions (s_t, a_t, r_t, s_{t+1}, terminated) in a ring: a new one overwrites the oldest.

`truncated` is not kept: where a time limit cuts an episode, s_{t+1} is its true last state and has a value.
"""

from typing import Any, NamedTuple

import numpy as np

from .plumbing import check
from .plumbing.check import Array
from .rollout import Batch


class Sample(NamedTuple):
    """B transitions of m ≤ n steps. A target is `rewards + discounts * V(next_states)`."""

    states: Array  # s_t (B, observation)
    actions: Array  # (B,), or (B, d) floats
    rewards: Array  # Σ_{k<m} γ^k r_{t+k} (B,)
    next_states: Array  # s_{t+m} (B, observation)
    discounts: Array  # γ^m (B,), or 0 where s_{t+m} is terminal
    places: Array  # where the transitions are stored (B,)
    weights: Array  # w of (11.9) (B,); 1 where the draw is uniform


class Replay:
    """The last `buffer_size` transitions of N environments, drawn uniformly. A sample looks n_steps ahead."""

    def __init__(self, buffer_size: int, *, gamma: float = 0.99, n_steps: int = 1) -> None:
        check.count(buffer_size=buffer_size, n_steps=n_steps)
        check.unit(gamma=gamma)
        self.buffer_size, self.gamma, self.n_steps, self.added = buffer_size, gamma, n_steps, 0

    def __len__(self) -> int:
        return min(self.added, self.buffer_size)

    def add(self, batch: Batch) -> Array:
        """Store the valid rows of a batch; returns their places. Add every batch of one Collector, and no others."""
        rows = batch.states[:-1], batch.actions, batch.rewards, batch.states[1:], batch.terminated
        if self.buffer_size < batch.valid.shape[1]:
            raise ValueError(f"buffer_size must be at least the number of environments, {batch.valid.shape[1]}")
        if not self.added:
            self.columns = [np.empty((self.buffer_size, *x.shape[2:]), x.dtype) for x in rows]
            self.following = np.empty(self.buffer_size, int)  # where the next step of the episode is; -1: not known
        new = np.arange(self.added, self.added + np.count_nonzero(batch.valid)) % self.buffer_size
        place = np.full(batch.states.shape[:2], -1)  # of each row in the ring; the row after the last is not known
        place[:-1][batch.valid] = new
        following = np.where(batch.ended, -1, place[1:])
        if self.added:
            same = (batch.first_t > 0) & (self.last >= 0)  # row 0 goes on with the episode of the last batch
            self.following[self.last[same]] = place[0, same]
        for column, x in zip((*self.columns, self.following), (*rows, following), strict=True):
            column[new] = x[batch.valid]  # overwrites the oldest, to which no `following` of a newer one points
        self.last: Array = place[-2]  # where each environment's last row is; -1 if that was no step
        self.added += len(new)
        return new

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """Transitions drawn uniformly, with replacement."""
        if not self.added:
            raise ValueError("the replay is empty: add a batch first")
        return self.at(rng.integers(len(self), size=batch_size), np.ones(batch_size))

    def at(self, i: Array, weights: Array) -> Sample:
        """(11.10)  Σ_{k<m} γ^k r_{t+k}; γ^m, or 0 if s_{t+m} is terminal; s_{t+m}: m ≤ n steps from places i (B,)."""
        states, actions, rewards, next_states, terminated = self.columns
        total, discounts, end = rewards[i], np.full(len(i), self.gamma), i
        for _ in range(self.n_steps - 1):
            following = self.following[end]
            goes_on = following >= 0
            end = np.where(goes_on, following, end)
            total += np.where(goes_on, discounts * rewards[end], 0)
            discounts *= np.where(goes_on, self.gamma, 1)
        discounts[terminated[end]] = 0
        return Sample(states[i], actions[i], total, next_states[end], discounts, i, weights)


class PrioritizedReplay(Replay):
    """(11.8)  P(i) = p_i^ω / Σ_j p_j^ω,   p_i = |last error of i| + small;   a new one gets the largest p so far.

    `levels`, a sum tree: the p_i^ω in groups of 64, then the sums of the groups in groups of 64, … up to one group.
    """

    def __init__(self, buffer_size: int, *, priority_exponent: float = 0.5, beta: float = 1.0, **settings: Any) -> None:
        super().__init__(buffer_size, **settings)
        check.unit(priority_exponent=priority_exponent, beta=beta)
        self.priority_exponent, self.beta, self.largest = priority_exponent, beta, 1.0  # ω, β, the largest error
        self.levels = [np.zeros((-(-buffer_size // 64), 64))]  # rounded up
        while len(self.levels[-1]) > 1:
            self.levels.append(np.zeros((-(-len(self.levels[-1]) // 64), 64)))

    def add(self, batch: Batch) -> Array:
        new = super().add(batch)
        self.update(new, np.full(len(new), self.largest))
        return new

    def sample(self, batch_size: int, rng: np.random.Generator) -> Sample:
        """One from each of B equal parts of Σ p^ω.   (11.9)  w_i = (N P(i))^{-β} / max_j (…), the max of this batch."""
        if not self.added:
            raise ValueError("the replay is empty: add a batch first")
        total = self.levels[-1].sum()
        i = self.find((np.arange(batch_size) + rng.random(batch_size)) / batch_size * total)
        weights = (len(self) * self.levels[0].ravel()[i] / total) ** -self.beta
        return self.at(i, weights / weights.max())

    def find(self, mass: Array) -> Array:
        """The places i with Σ_{j<i} p_j^ω ≤ mass < Σ_{j≤i} p_j^ω; never one of p_i = 0, however mass is rounded."""
        i, row = np.zeros(len(mass), int), np.arange(len(mass))
        for level in reversed(self.levels):
            ends = level[i].cumsum(axis=1)  # of the children of each node, (B, 64)
            mass = np.minimum(mass, np.nextafter(ends[:, -1], 0))  # rounding may have put it beyond the last
            child = (ends <= mass[:, None]).sum(axis=1)  # the first that ends beyond mass, so its p > 0
            mass = mass - np.where(child > 0, ends[row, child - 1], 0)
            i = 64 * i + child
        return i

    def update(self, i: Array, errors: Array) -> None:
        """New priorities of the transitions at the places i (B,), by their errors (B,); and all sums above them."""
        errors = check.numbers("errors", errors, np.shape(i))
        check.finite("errors", errors)
        self.largest = max(self.largest, abs(errors).max())
        sums = (abs(errors) + 1e-6) ** self.priority_exponent  # p_i^ω, a sum of one
        for level in self.levels:
            level.ravel()[i] = sums
            i = i // 64
            sums = level[i].sum(axis=1)
