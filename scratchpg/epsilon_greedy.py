"""ε-greedy: the policy that follows from values of actions. It has no parameters of its own, and no gradient."""

from functools import cached_property
from typing import Any

import numpy as np

from .plumbing import check
from .plumbing.check import Array
from .softmax import Softmax


class EpsilonGreedy:
    """(11.4)  argmax_a Q(s,a), or with probability ε any of all A actions: P(greedy) = 1 - ε + ε/A.

    outputs: Q (B, A), as a network gives it; or for each action the logits of N atoms z (N,), (B, A, N).

    >>> EpsilonGreedy(np.array([[1.0, 3.0, 2.0]])).mode()
    array([1])
    """

    def __init__(self, outputs: Array, epsilon: float = 0.0, *, z: Array | None = None, cache: Any = None) -> None:
        if not 0 <= epsilon <= 1:  # check.unit would cost more, at each step
            raise ValueError(f"epsilon must be a number in [0, 1], not {epsilon!r}")
        self.outputs, self.epsilon, self.z, self.cache = outputs, epsilon, z, cache

    @cached_property
    def values(self) -> Array:
        """Q(s,a), (B, A); with atoms (11.11)  Q(s,a) = Σ_i z_i p_i(s,a), p the softmax of the N logits."""
        if self.z is None:
            return self.outputs
        B, A, N = self.outputs.shape
        return (Softmax(self.outputs.reshape(B * A, N)).probabilities @ self.z).reshape(B, A)  # (11.11)

    def mode(self) -> Array:
        """The action that looks best, (B,)."""
        return self.values.argmax(axis=1)

    def sample(self, rng: np.random.Generator) -> Array:
        """An action per row, (B,)."""
        B, A = self.values.shape
        return np.where(rng.random(B) < self.epsilon, rng.integers(A, size=B), self.mode())  # (11.4)

    def taken(self, actions: Array) -> tuple[Array, Array]:
        """The index of these actions (B,) in `outputs` and `values`; ValueError unless they are in 0 … A-1."""
        actions = np.asarray(actions)
        B, A = self.outputs.shape[:2]
        if actions.shape != (B,) or actions.dtype.kind not in "iu" or not 0 <= actions.min() <= actions.max() < A:
            raise ValueError(f"actions must be {B} integers in 0 … {A - 1}, not {check.describe(actions)}")
        return np.arange(B), actions
