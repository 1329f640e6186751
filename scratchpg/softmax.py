"""The softmax distribution π(·|s) over A actions, and the derivatives of everything it offers.

    π_a = exp(z_a) / Σ_b exp(z_b)            z (B, A): the logits, one row per state

Each `d_…` is a gradient with respect to the logits z, of shape (B, A): row i is the gradient of the i-th result.
"""

from functools import cached_property
from typing import Any

import numpy as np

from .plumbing import check
from .plumbing.check import Array, NonFiniteError, describe

LOWEST = -1e30  # exp of it is 0, and sums of such numbers stay finite


class Softmax:
    """B distributions over A actions.

    `cache` is what the network that made the logits needs to differentiate them (see `SoftmaxPolicy.backward`).
    Actions are integers (B,) in 0 … A-1, else ValueError. A row of logits that are all -inf is no distribution: its
    numbers are NaN, so that the optimiser refuses what is made of them; as an action, 0 is drawn.

    >>> pi = Softmax(np.log([[0.5, 0.25, 0.25]]))
    >>> pi.probabilities, pi.entropy()
    (array([[0.5 , 0.25, 0.25]]), array([1.03972077]))
    >>> pi.d_log_prob(np.array([0]))
    array([[ 0.5 , -0.25, -0.25]])
    """

    def __init__(self, logits: Array, cache: Any = None) -> None:
        logits = np.asarray(logits)
        if logits.ndim != 2 or logits.dtype.kind not in "fc":
            raise ValueError(f"logits must be floats of shape (B, A), not {describe(logits)}")
        self.logits, self.cache = logits, cache
        self.parameters = logits  # as every distribution calls them

    @cached_property
    def log_probabilities(self) -> Array:
        """log π_a = z_a - max z - log Σ_b exp(z_b - max z), (B, A): finite, however large the logits are.

        A logit of -inf masks its action: π_a = 0, and log π_a is about LOWEST, not -inf, so that 0 log 0 is 0.
        """
        # asfortranarray stores it by columns: with few actions, a sum of columns is ten times as fast at 2,048 rows.
        # `.real` is for tests that differentiate by f'(x) ≈ Im f(x + ih)/h: complex numbers have no maximum.
        z = np.asfortranarray(self.logits)
        largest = np.maximum.reduce(z.real, axis=1, keepdims=True)
        if largest.size and largest.item(largest.argmax()) == np.inf:  # any(largest == inf), but faster
            raise NonFiniteError("logits must be finite, or -inf where an action is masked, but one is inf")
        shifted = z - largest
        np.maximum(shifted, LOWEST, out=shifted)
        shifted -= np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))
        return shifted

    @cached_property
    def probabilities(self) -> Array:
        """π_a, (B, A)."""
        return np.exp(self.log_probabilities)

    def log_prob(self, actions: Array) -> Array:
        """log π(a|s) of the actions taken, (B,)."""
        actions, _ = self._taken(actions)
        return self.log_probabilities[np.arange(len(actions)), actions]

    def d_log_prob(self, actions: Array) -> Array:
        """The score in the logits: ∂ log π(a|s) / ∂z = onehot(a) - π, (B, A)."""
        _, onehot = self._taken(actions)
        return onehot - self.probabilities

    def entropy(self) -> Array:
        """H = -Σ_a π_a log π_a, (B,), in nats: from 0 (certain) to log A (uniform)."""
        return -(self.probabilities * self.log_probabilities).sum(axis=1)

    def d_entropy(self) -> Array:
        """∂H / ∂z_a = -π_a (log π_a + H), (B, A)."""
        return -self.probabilities * (self.log_probabilities + self.entropy()[:, None])

    def soft_value(self, values: Array, ent_coef: float) -> Array:
        """(12.2)  V = Σ_a π_a (Q_a - α log π_a), (B,), of values Q (B, A). Its mean over states is -(12.8)."""
        values = check.numbers("values", values, self.logits.shape)
        check.weight(ent_coef=ent_coef)
        return (self.probabilities * values).sum(axis=1) + ent_coef * self.entropy()

    def d_soft_value(self, values: Array, ent_coef: float) -> Array:
        """(12.8)  ∂V/∂z = α ∂H/∂z + π ⊙ (Q - Σ_b π_b Q_b), (B, A)."""
        values = check.numbers("values", values, self.logits.shape)
        check.weight(ent_coef=ent_coef)
        mean = (self.probabilities * values).sum(axis=1, keepdims=True)
        return self.probabilities * (values - mean) + ent_coef * self.d_entropy()

    def kl(self, other: "Softmax") -> Array:
        """KL(π ‖ other) = Σ_a π_a (log π_a - log other_a), (B,), in nats; never negative, not even by rounding."""
        return np.maximum((self.probabilities * self._log_ratio(other)).sum(axis=1), 0)

    def d_kl(self, other: "Softmax") -> Array:
        """∂KL(π ‖ other) / ∂z_a = π_a (log π_a - log other_a - KL), (B, A). In other's logits it is other - π."""
        log_ratio = self._log_ratio(other)
        return self.probabilities * (log_ratio - (self.probabilities * log_ratio).sum(axis=1, keepdims=True))

    def fisher(self, v: Array) -> Array:
        """(8.5)  M v for a row v of each state, (B, A):  M = E[∇_z log π ∇_z log πᵀ] = diag(π) - ππᵀ."""
        v = check.numbers("v", v, self.logits.shape)
        return self.probabilities * (v - (self.probabilities * v).sum(axis=1, keepdims=True))

    def _log_ratio(self, other: "Softmax") -> Array:
        check.of_class(Softmax, other=other)
        check.numbers("the other's logits", other.logits, self.logits.shape)
        return self.log_probabilities - other.log_probabilities

    def sample(self, rng: np.random.Generator) -> Array:
        """One action per row, (B,), with probabilities π.

        An exponential race: with E_a ~ Exp(1), argmin_a E_a / π_a is distributed as π, and so is
        argmax_a (z_a - log E_a), which needs no normalised π.
        """
        return (self.logits - np.log(rng.standard_exponential(self.logits.shape))).argmax(axis=1)

    def mode(self) -> Array:
        """The most probable action of each row, (B,)."""
        return self.logits.argmax(axis=1)

    def _taken(self, actions: Array) -> tuple[Array, Array]:
        """Actions (B,), and (B, A): True at the action taken in each row."""
        actions = np.asarray(actions)
        B, A = self.logits.shape
        if actions.shape != (B,) or actions.dtype.kind not in "iu":
            raise ValueError(f"actions must be {B} integers, one per row of the logits, not {describe(actions)}")
        onehot = (np.arange(A)[:, None] == actions).T  # by columns, as above
        if np.count_nonzero(onehot) != B:
            raise ValueError(f"actions must lie in 0 … {A - 1}, not in {actions.min()} … {actions.max()}")
        return actions, onehot
