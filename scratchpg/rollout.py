"""Experience: segments or whole episodes of one environment or a vector of them, in one time-major layout."""

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .checks import Array, Rng, check_finite, check_hyperparameters
from .spaces import AnyEnv, Face, check_fit
from .training import Progress


@dataclass
class Batch:
    """T steps of N environments. Row t holds what happened at step t: s_t, a_t, r_t and how it ended.

    `states` has one row more, so `states[t + 1]` follows `states[t]`; where an environment reset itself within the
    step, the true successor stands in `last_states`. Rows that are not `valid` (resets, and what an environment does
    after the last episode asked of it) are left out by `rows`; their reward is 0 and they end nothing.
    """

    states: Array  # (T+1, N, observation)
    actions: Array  # (T, N), 0 … n_actions - 1
    rewards: Array  # (T, N)
    terminated: Array  # (T, N)
    truncated: Array  # (T, N)
    valid: Array  # (T, N)
    last_states: list[tuple[int, int, Array]]  # (t, n, the true successor of states[t, n])

    @property
    def ended(self) -> Array:
        """(T, N): step t ended its episode."""
        return self.terminated | self.truncated

    def rows(self, *weights: Array) -> tuple[Array, ...]:
        """The valid rows, flat: states (B, observation), actions (B,) and each weight (T, N) as (B,).

        Where all rows are valid these are views, else copies. ValueError for weights of another shape.
        """
        arrays = self.states[:-1], self.actions, *weights
        shapes = [x.shape for x in weights]
        if shapes.count(self.valid.shape) < len(shapes):
            raise ValueError(f"weights must have shape {self.valid.shape}, not {shapes}")
        if np.count_nonzero(self.valid) == self.valid.size:
            return tuple(x.reshape(-1, *x.shape[2:]) for x in arrays)
        return tuple(x[self.valid] for x in arrays)

    def values(self, value: Any) -> tuple[Array, Array]:
        """V(s_t) and V(s_{t+1}), (T, N) each: the successor is the true one, never that of a reset."""
        v = value(self.states)
        v, next_v = v[:-1], v[1:]
        if self.last_states:
            t, n, states = zip(*self.last_states, strict=True)
            next_v = next_v.copy()
            next_v[t, n] = value(np.stack(states))
        return v, next_v

    def timesteps(self) -> Array:
        """t of each row within its episode, (T, N), counted from the first row of the batch."""
        row = np.arange(len(self.valid))[:, None]
        begins = np.zeros(self.valid.shape, bool)
        begins[1:] = ~self.valid[:-1] | (self.ended[:-1] & self.valid[1:])
        return row - np.maximum.accumulate(np.where(begins, row, 0), axis=0)


class Collector:
    """Runs a policy in n_envs environments and keeps count: `steps`, `episodes`, and the last 100 `returns`.

    All randomness comes from `rng`: it seeds the environment once and draws actions; `greedy` takes the most probable.

    >>> import gymnasium as gym
    >>> from scratchpg import SoftmaxPolicy
    >>> collector = Collector(gym.make_vec("CartPole-v1", 2), SoftmaxPolicy((4, 2), rng=0), rng=0)
    >>> batch = collector.collect(5)
    >>> batch.states.shape, batch.rewards.shape, collector.steps
    ((6, 2, 4), (5, 2), 10)
    """

    def __init__(self, env: AnyEnv, policy: Any, rng: Rng = None, *, greedy: bool = False) -> None:
        check_fit(env, policy=policy)
        self.face, self.policy, self.greedy = Face(env), policy, greedy
        self.n_envs = self.face.n
        self.rng = np.random.default_rng(rng)
        self.steps, self.episodes = 0, 0
        self.returns: deque[float] = deque(maxlen=100)
        self._start(seed=int(self.rng.integers(2**31)))

    def _start(self, seed: int | None = None) -> None:
        """Begin anew in every environment."""
        self.state = self.face.reset(seed)
        self.resets = np.zeros(self.n_envs, bool)  # the next row of this environment will be a reset row
        self.stale = False  # some environments stand within episodes that were not asked for
        self.running = np.zeros(self.n_envs)  # the return so far of the episode under way

    def collect(self, n_steps: int) -> Batch:
        """The next n_steps rows. Episodes go on from one call to the next; after `collect_episodes` all begin anew."""
        check_hyperparameters(n_steps=n_steps)
        if self.stale:
            self._start()
        before = self.steps
        while self.steps == before:  # again, if there were only reset rows
            batch = self._room_for(n_steps)
            for t in range(n_steps):
                self._step(batch, t)
            self._account(batch)
        return batch

    def collect_episodes(self, episodes: int) -> Batch:
        """Whole episodes, begun anew: every environment runs the same number, so short ones are not favoured.

        Where `episodes` is no multiple of the number of environments, the first ones run one more.
        """
        check_hyperparameters(episodes=episodes)
        quota = np.bincount(np.arange(episodes) % self.n_envs, minlength=self.n_envs)  # dealt out one by one
        self._start()
        batch, t, done = self._room_for(64), 0, np.zeros(self.n_envs, int)
        while (done < quota).any():
            if t == len(batch.actions):
                check_finite("observations", batch.states)  # no end may be in sight for one that is not
                batch = _resized(batch, 2 * t)
            self._step(batch, t)
            done += batch.terminated[t] | batch.truncated[t]
            t += 1
        batch = _resized(batch, t)
        self.stale = True
        batch.valid &= batch.ended.cumsum(axis=0) - batch.ended < quota
        self._account(batch)
        return batch

    def progress(self, **diagnostics: float) -> Progress:
        """How far training has come, with the chapter's diagnostics."""
        mean_return = sum(self.returns) / len(self.returns) if self.returns else np.nan
        return Progress(steps=self.steps, episodes=self.episodes, mean_return=mean_return, **diagnostics)

    def _room_for(self, n_steps: int) -> Batch:
        T, N = n_steps, self.n_envs
        states = np.empty((T + 1, N, self.face.size), self.policy.theta.dtype)
        states[0] = self.state
        actions, rewards, valid = np.empty((T, N), np.int64), np.empty((T, N)), np.ones((T, N), bool)
        terminated, truncated = np.zeros((2, T, N), bool)
        return Batch(states, actions, rewards, terminated, truncated, valid, [])

    def _step(self, batch: Batch, t: int) -> None:
        """Act in states[t] and write row t."""
        pi = self.policy(batch.states[t])
        batch.actions[t] = actions = pi.mode() if self.greedy else pi.sample(self.rng)
        batch.states[t + 1], batch.rewards[t], batch.terminated[t], batch.truncated[t], last = self.face.step(actions)
        for n, state in last:
            batch.last_states.append((t, n, state))

    def _account(self, batch: Batch) -> None:
        """Mask what is no experience, check the rest, and count it."""
        ended = batch.ended
        if np.count_nonzero(ended) or np.count_nonzero(self.resets):  # else all rows are experience
            if not self.face.same_step:
                batch.valid[0] &= ~self.resets
                batch.valid[1:] &= ~ended[:-1]
                self.resets = ended[-1]
            for x in batch.rewards, batch.terminated, batch.truncated:
                x[~batch.valid] = 0
            ended = batch.ended
        experienced = int(np.count_nonzero(batch.valid))
        check_finite("observations", batch.states)
        for _, _, state in batch.last_states:
            check_finite("last observations", state)
        check_finite("rewards", batch.rewards)
        self.state, self.steps = batch.states[-1], self.steps + experienced
        begin = 0
        for end in sorted(set(ended.nonzero()[0].tolist())):
            self.running += np.add.reduce(batch.rewards[begin : end + 1])
            self.returns += self.running[ended[end]].tolist()
            self.episodes += int(np.count_nonzero(ended[end]))
            self.running[ended[end]], begin = 0, end + 1
        self.running += np.add.reduce(batch.rewards[begin:])


def _resized(batch: Batch, T: int) -> Batch:
    """The batch with room for T rows: cut, or with more to fill."""
    arrays = {name: x for name, x in vars(batch).items() if name != "last_states"}
    resized: Any = {name: np.resize(x, (T + (name == "states"), *x.shape[1:])) for name, x in arrays.items()}
    return replace(batch, **resized)
