"""What a step was worth: returns, targets and advantages.

One convention, here and everywhere. Arrays are (T,) for one episode after another, or (T, N) for N environments:

    rewards[t]                 r_t, the reward after a_t
    values[t], next_values[t]  V(s_t) and V(s_{t+1}), where s_{t+1} truly followed s_t (no reset)
    terminated[t]              s_{t+1} is terminal: its value counts as 0
    truncated[t]               the episode was cut off after t (a time limit): the value of s_{t+1} counts
    ended                      terminated | truncated: what comes at t+1 belongs to another episode

A row t with both flags counts as terminated. After the last row, next_values stands for all later rewards.
The reward after a_t is r_t here, as in the GAE paper; Sutton and Barto call it R_{t+1}. All results have the shape of
rewards; arrays of different shapes, or γ, λ, n out of range, raise ValueError.
"""

from typing import Any

import numpy as np

from .plumbing import check
from .plumbing.check import Array


def discounted(rewards: Array, gamma: float, ended: Array | None = None) -> Array:
    """(1.10)  G_t = Σ_{k≥t} γ^{k-t} r_k  by the recursion (3.4)  G_t = r_t + γ G_{t+1}, cut where an episode ended.

    >>> discounted([1, 2, 4], 0.5)
    array([3., 4., 4.])
    """
    check.unit(gamma=gamma)
    r, ended = _steps(rewards=rewards, ended=np.zeros(np.shape(rewards), bool) if ended is None else ended)
    decay, G = np.where(ended, 0.0, gamma), r.copy()
    for t in reversed(range(len(G) - 1)):
        G[t] += decay[t] * G[t + 1]  # (3.4)
    return G


def td_targets(rewards: Array, next_values: Array, terminated: Array, gamma: float) -> Array:
    """(3.6)  r_t + γ V(s_{t+1}), where V of a terminal state is 0.

    >>> td_targets([1.0, 1.0], [10.0, 10.0], [False, True], 0.5)
    array([6., 1.])
    """
    check.unit(gamma=gamma)
    r, next_v, terminated = _steps(rewards=rewards, next_values=next_values, terminated=terminated)
    return r + gamma * np.where(terminated, 0.0, next_v)  # (3.6)


def td_errors(rewards: Array, values: Array, next_values: Array, terminated: Array, gamma: float) -> Array:
    """(3.7), (4.1)  δ_t = r_t + γ V(s_{t+1}) - V(s_t).

    >>> td_errors([1.0, 1.0], [4.0, 8.0], [8.0, 0.0], [False, True], 0.5)
    array([ 1., -7.])
    """
    check.unit(gamma=gamma)
    r, v, next_v, terminated = _steps(rewards=rewards, values=values, next_values=next_values, terminated=terminated)
    return r + gamma * np.where(terminated, 0.0, next_v) - v  # (3.7)


def n_step(
    rewards: Array, values: Array, next_values: Array, terminated: Array, truncated: Array, gamma: float, n: int
) -> Array:
    """(4.2)  A_t^{(n)} = Σ_{k<n} γ^k r_{t+k} + γ^n V(s_{t+n}) - V(s_t) = Σ_{k<n} γ^k δ_{t+k}  (the sum telescopes).

    Where the episode or the rows end before n steps, the sum stops there, with the value of that state: 0 if terminal.

    >>> n_step([1.0, 1.0], [4.0, 8.0], [8.0, 0.0], [False, True], [False, False], gamma=0.5, n=2)
    array([-2.5, -7. ])
    """
    check.count(n=n)
    delta = td_errors(rewards, values, next_values, terminated, gamma)
    terminated, truncated = _steps(terminated=terminated, truncated=truncated)
    decay = np.where(np.logical_or(terminated, truncated), 0.0, gamma)
    A = delta.copy()
    for _ in range(min(n, len(delta)) - 1):  # each pass reaches one step further
        A[:-1] = delta[:-1] + decay[:-1] * A[1:]  # (4.2)
    return A


def gae(
    rewards: Array,
    values: Array,
    next_values: Array,
    terminated: Array,
    truncated: Array,
    gamma: float,
    gae_lambda: float,
) -> Array:
    """(4.3)  A_t = Σ_k (γλ)^k δ_{t+k}  by the recursion  A_t = δ_t + γλ A_{t+1}, cut where an episode ended.

    λ = 0 is the one-step advantage (4.1); λ = 1 is (4.2) with n to the end of the episode or of the rows.
    A_t + V(s_t) is the TD(λ) target. Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16.

    >>> gae([1.0, 1.0], [5.0, 5.0], [5.0, 5.0], [False, True], [False, False], gamma=1.0, gae_lambda=0.5)
    array([-1., -4.])
    """
    check.unit(gamma=gamma, gae_lambda=gae_lambda)
    r, v, next_v, terminated, truncated = _steps(
        rewards=rewards, values=values, next_values=next_values, terminated=terminated, truncated=truncated
    )
    A = r + gamma * np.where(terminated, 0.0, next_v) - v  # δ_t (3.7)
    decay = np.where(np.logical_or(terminated, truncated), 0.0, gamma * gae_lambda)
    for t in reversed(range(len(A) - 1)):
        A[t] += decay[t] * A[t + 1]  # (4.3)
    return A


def normalized(advantages: Array) -> Array:
    """(A - mean A) / (std A + 1e-8), (B,): equal ones become 0, a single one stays as it is.

    A departure from (6.2): dividing by the batch's own deviation biases the gradient, and even its direction.
    """
    A = check.numbers("advantages", advantages)
    if A.ndim != 1 or not len(A):
        raise ValueError(f"advantages must be (B,), at least one, not {A.shape}")
    centred = A - A[0]  # first, so that equal ones become exactly 0
    centred = centred - centred.mean()
    std = np.sqrt(centred.dot(centred) / len(A))  # np.std(A), but faster
    if not np.isfinite(std):
        check.finite("advantages", A)
        return normalized(A / abs(A).max())  # those were too large to be squared
    return centred / (std + 1e-8) if len(A) > 1 else A


def group_advantages(
    returns: Array, group_size: int, *, leave_one_out: bool = True, divide_by_std: bool = False
) -> Array:
    """(10.3)  A_i = R_i - mean_{j≠i} R_j, within each group of group_size neighbours of the last axis.

    leave_one_out: False is (10.2), A_i = R_i - mean_j R_j, as in the paper: E[ĝ] = (1 - 1/G) ∇J, a shorter step.
    divide_by_std: (10.4), as in the paper: starts that nearly always fail or succeed weigh most. The direction is
    biased, too, unless all episodes begin alike and returns are 0 or 1. Equal returns give exactly 0 in any case.
    returns: R (N,); or (T, N) for (10.7), where row t is the return from step t on, 0 after an end.

    >>> group_advantages(np.array([0.0, 1.0, 5.0, 5.0]), 2)
    array([-1.,  1.,  0.,  0.])
    """
    R = check.numbers("returns", returns)
    check.count(group_size=group_size)
    if group_size < 2 or R.ndim not in (1, 2) or R.shape[-1] % group_size:
        raise ValueError(f"group_size must be at least 2 and divide the number of returns {R.shape}, not {group_size}")
    R = R.reshape(*R.shape[:-1], -1, group_size)
    R = R - R[..., :1]  # changes nothing but the rounding: equal returns are now exactly 0
    A = R - R.mean(axis=-1, keepdims=True)  # (10.2)
    if leave_one_out:
        A *= group_size / (group_size - 1)  # (10.3)
    if divide_by_std:
        std = R.std(axis=-1, keepdims=True)
        A /= np.where(std > 0, std, 1)  # (10.4)
    return A.reshape(np.shape(returns))


def explained_variance(targets: Array, values: Array) -> float:
    """1 - Var[target - V] / Var[target]: 0 if V is constant, 1 if right up to a constant; NaN for equal targets."""
    targets, values = check.numbers("targets", targets), check.numbers("values", values, np.shape(targets))
    if not targets.size:
        raise ValueError(f"targets must not be empty, but have shape {targets.shape}")
    variance = np.var(targets) if np.ptp(targets) else 0.0  # of equal ones exactly 0
    return float(1 - np.var(targets - values) / variance) if variance > 0 else np.nan


def _steps(**arrays: Any) -> list[Array]:
    """Arrays of one shape, (T,) or (T, N): flags may stay bool, all else becomes floats, as integers would truncate."""
    xs = []
    for name, array in arrays.items():
        x = np.asarray(array)
        if x.dtype.kind != "f" and not (x.dtype.kind == "b" and name in ("terminated", "truncated", "ended")):
            x = check.numbers(name, x)
        xs.append(x)
        if x.shape != xs[0].shape or x.ndim not in (1, 2):
            raise ValueError(f"{name} must be (T,) or (T, N), all of one shape; got {x.shape} beside {xs[0].shape}")
    return xs
