"""Experience: segments or whole episodes of one environment or a vector of them, in one layout: row t is step t."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .plumbing import check
from .plumbing.check import AnyEnv, Array, Rng
from .plumbing.run import Progress
from .plumbing.spaces import Environments


@dataclass
class Batch:
    """T steps of N environments. Row t holds what happened at step t: s_t, a_t, r_t and how it ended.

    `states` has one row more: `states[t + 1]` follows `states[t]`. Rows that are not `valid` teach nothing: reset
    rows, from the last state of an episode to the first of the next, and rows after the last episode that was asked
    for. `samples` leaves them out. Their reward is 0, their flags are False.
    """

    states: Array  # (T+1, N, observation)
    actions: Array  # (T, N), 0 … A-1; or (T, N, d)
    rewards: Array  # (T, N)
    terminated: Array  # (T, N)
    truncated: Array  # (T, N)
    valid: Array  # (T, N)
    first_t: Any = 0  # (N,): which step of its episode row 0 is; -1 for a reset row

    @property
    def ended(self) -> Array:
        """(T, N): step t ended its episode."""
        return self.terminated | self.truncated

    @property
    def t(self) -> Array:
        """(T, N): which step of its episode each row is, from 0; -1 for a reset row."""
        T, N = self.valid.shape
        t = self.first_t + np.arange(T)[:, None] + np.zeros(N, int)
        for end, n in np.argwhere(self.ended):
            t[end + 1 :, n] = np.arange(-1, T - end - 2)  # after an end a reset row, then step 0
        return t

    def samples(self, *weights: Array) -> tuple[Array, ...]:
        """The valid rows, flat: states (B, observation), actions (B, …) and each weight (T, N) as (B,).

        Where all rows are valid these are views, else copies. ValueError for weights of another shape.
        """
        for x in weights:
            check.numbers("weights", x, self.valid.shape)
        arrays = [self.states[:-1], self.actions, *map(np.asarray, weights)]
        if np.count_nonzero(self.valid) == self.valid.size:
            return tuple(x.reshape(-1, *x.shape[2:]) for x in arrays)
        return tuple(x[self.valid] for x in arrays)


class Collector:
    """Runs a policy in N environments and keeps count: `steps`, `episodes`, and the last 100 `returns`.

    `steps` counts all steps, also those of episodes that nobody asked for. All randomness comes from
    `rng`: it seeds the environment once, and draws the actions. With `greedy` the most probable action is taken.

    >>> import gymnasium as gym
    >>> from scratchpg import SoftmaxPolicy
    >>> collector = Collector(gym.make_vec("CartPole-v1", 2), SoftmaxPolicy((4, 2), rng=0), rng=0)
    >>> batch = collector.collect(5)
    >>> batch.states.shape, batch.rewards.shape, collector.steps
    ((6, 2, 4), (5, 2), 10)
    """

    kept: tuple[str, ...] = ("origin", "rng", "apart", "steps", "episodes", "returns")  # saved, to resume a run
    kept += ("state", "t", "resetting", "returns_so_far", "abandoned")

    def __init__(self, env: AnyEnv, policy: Any, rng: Rng = None, *, greedy: bool = False) -> None:
        check.fit(env, policy=policy)
        self.envs, self.policy, self.greedy = Environments(env, policy.actions), policy, greedy
        self.n_envs = self.envs.n
        self.rng = np.random.default_rng(rng)
        self.origin = self.rng.bit_generator.state  # its state before it seeded the environment
        self.apart: np.random.Generator | None = None
        self.steps, self.episodes = 0, 0
        self.returns: deque[float] = deque(maxlen=100)
        self._begin(seed=int(self.rng.integers(2**31)))

    def _begin(self, seed: int | list[int] | None = None) -> None:
        """A new episode in every environment."""
        self.state = self.envs.reset(seed)
        self.t = np.zeros(self.n_envs, int)  # which step of its episode the next row is; -1 for a reset row
        self.resetting = False  # is the next row a reset row anywhere?
        self.returns_so_far = np.zeros(self.n_envs)  # in the unfinished episodes
        self.abandoned = False  # are the environments in the middle of episodes that nobody asked for?

    def spawn(self) -> np.random.Generator:
        """A second generator: what it draws changes no action. It is saved with the collector."""
        self.apart = self.rng.spawn(1)[0]
        return self.apart

    def collect(self, n_steps: int) -> Batch:
        """The next n_steps rows. Episodes go on from one call to the next; after `collect_episodes` new ones start."""
        check.count(n_steps=n_steps)
        if self.abandoned:
            self._begin()
        while True:  # once more, if all rows were reset rows
            batch = self._room(n_steps)
            for row in range(n_steps):
                self._step(batch, row)
            if self._count(batch):
                return batch

    def collect_episodes(self, episodes: int, seeds: list[int] | None = None) -> Batch:
        """Whole new episodes: every environment runs the same number, so short ones are not favoured.

        Where `episodes` is no multiple of the number of environments, the first ones run one more. seeds: of the first
        episode of each environment; equal seeds are equal starts.
        """
        check.count(episodes=episodes)
        wanted = np.full(self.n_envs, episodes // self.n_envs)
        wanted[: episodes % self.n_envs] += 1
        self._begin(seeds)
        batch, row, done = self._room(64), 0, np.zeros(self.n_envs, int)
        while (done < wanted).any():
            if row == len(batch.valid):
                check.finite("observations", batch.states)  # with a NaN the episode may never end
                if row > self.envs.longest * wanted.max():
                    cure = "make it with a time limit: gymnasium.make(id, max_episode_steps=…)"
                    raise RuntimeError(f"no end of {self.envs.env} within {row} steps; {cure}")
                batch = _resized(batch, 2 * row)
            self._step(batch, row)
            done += batch.terminated[row] | batch.truncated[row]
            row += 1
        batch = _resized(batch, row)
        self._count(batch, wanted)
        self.abandoned = True
        return batch

    def progress(self, **diagnostics: float) -> Progress:
        """How far training has come, with the chapter's diagnostics."""
        mean_return = sum(self.returns) / len(self.returns) if self.returns else np.nan
        return Progress(steps=self.steps, episodes=self.episodes, mean_return=mean_return, **diagnostics)

    def _room(self, T: int) -> Batch:
        """A batch with room for T rows; its first state is filled in."""
        N, dtype = self.n_envs, self.policy.theta.dtype
        states = np.empty((T + 1, N, self.envs.size), dtype)
        states[0] = self.state
        actions = np.empty((T, N, *self.envs.action_shape), dtype if self.envs.action_shape else np.int64)
        terminated, truncated, invalid = np.zeros((3, T, N), bool)
        return Batch(states, actions, np.empty((T, N)), terminated, truncated, ~invalid, self.t)

    def _step(self, batch: Batch, row: int) -> None:
        """Act in states[row], and store what the environment returns."""
        pi = self.policy(batch.states[row])
        batch.actions[row] = actions = pi.mode() if self.greedy else pi.sample(self.rng)
        result = self.envs.step(actions)
        batch.states[row + 1], batch.rewards[row], batch.terminated[row], batch.truncated[row] = result

    def _count(self, batch: Batch, wanted: Array | None = None) -> int:
        """Set `valid`, refuse NaN, count steps, episodes and returns; gives back the number of steps made.

        All rows at once, which is faster than step by step. wanted: the episodes asked of each environment.
        """
        ended = batch.ended
        all_valid = not (np.count_nonzero(ended) or self.resetting)
        if not all_valid:
            batch.valid[0] = self.t >= 0  # the row after an end is a reset row
            batch.valid[1:] = ~ended[:-1]
        steps = int(np.count_nonzero(batch.valid))
        self.t = self.t + len(ended)  # not +=: the batch's first_t is the old array
        begin = 0
        if wanted is not None:
            batch.valid &= ended.cumsum(axis=0) - ended < wanted  # how many ended before this row
        if not all_valid:
            for x in batch.rewards, batch.terminated, batch.truncated:
                x[~batch.valid] = 0
            ended = batch.ended
            for end in sorted(set(ended.nonzero()[0].tolist())):  # the rows in which an episode ended
                self.returns_so_far += np.add.reduce(batch.rewards[begin : end + 1])
                self.returns += self.returns_so_far[ended[end]].tolist()
                self.episodes += int(np.count_nonzero(ended[end]))
                self.returns_so_far[ended[end]] = 0
                begin = end + 1  # sum on from the next row
                self.t[ended[end]] = len(ended) - end - 2  # a reset row comes between
            self.resetting = bool(ended[-1].any())
        self.returns_so_far += np.add.reduce(batch.rewards[begin:])
        check.finite("observations", batch.states)
        check.finite("rewards", batch.rewards)
        self.state = batch.states[-1].copy()  # the batch is the caller's
        self.steps += steps
        return steps


def minibatches(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[Array]:
    """One pass over n rows in random order: the row numbers of each minibatch. The last may be short.

    >>> [i.tolist() for i in minibatches(5, 2, np.random.default_rng(0))]
    [[2, 4], [3, 0], [1]]
    """
    check.count(batch_size=batch_size)
    order = rng.permutation(n)
    for start in range(0, n, batch_size):
        yield order[start : start + batch_size]


def _resized(batch: Batch, T: int) -> Batch:
    """The batch cut to T rows, or with room for more: np.resize fills it with old rows, which are overwritten."""
    arrays = batch.actions, batch.rewards, batch.terminated, batch.truncated, batch.valid
    states, *rest = (np.resize(x, (T + (x is batch.states), *x.shape[1:])) for x in (batch.states, *arrays))
    return Batch(states, *rest, batch.first_t)  # type: ignore[call-arg]
