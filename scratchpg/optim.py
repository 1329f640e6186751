"""Gradient descent on one flat vector, in place: θ ← θ - η · precondition(g), of a g clipped by its global norm."""

import math

import numpy as np

from .checks import Array, NonFiniteError, check_hyperparameters, describe


class SGD:
    """θ ← θ - η g.

    theta: the vector to move, in place; learning_rate: η, may be set anew at any time; max_grad_norm: a longer
    gradient is scaled down to this length (inf: never).

    >>> theta = np.array([1.0, 2.0])
    >>> SGD(theta, 0.5).step(np.array([1.0, 0.0]))
    1.0
    >>> theta
    array([0.5, 2. ])
    """

    def __init__(self, theta: Array, learning_rate: float, *, max_grad_norm: float = math.inf) -> None:
        if not isinstance(theta, np.ndarray) or theta.ndim != 1 or theta.dtype.kind != "f":
            raise TypeError(f"theta must be a flat array of floats, not {describe(theta)}")
        check_hyperparameters(learning_rate=learning_rate, max_grad_norm=max_grad_norm)
        self.theta, self.learning_rate, self.max_grad_norm = theta, learning_rate, max_grad_norm
        self.scratch = np.empty_like(theta)  # a step is computed here, in place

    def step(self, gradient: Array) -> float:
        """Descend along a gradient (P,), which is left as it is; returns its norm before clipping.

        NonFiniteError if that norm or the step is not finite, ValueError for another shape; θ then keeps its value.
        """
        if np.shape(gradient) != self.theta.shape:
            raise ValueError(f"the gradient must have the shape {self.theta.shape} of theta, not {describe(gradient)}")
        norm = math.sqrt(gradient.dot(gradient))
        if not math.isfinite(norm):
            raise NonFiniteError(f"the norm of the gradient is {norm}")
        if norm > self.max_grad_norm:
            gradient = gradient * (self.max_grad_norm / norm)
        step = np.multiply(self._precondition(gradient), self.learning_rate, out=self.scratch)
        if not math.isfinite(step.dot(step)):
            raise NonFiniteError(f"the step of the parameters is not finite (gradient norm {norm:.3g})")
        self.theta -= step
        return norm

    def _precondition(self, g: Array) -> Array:
        """The direction to go."""
        return g


class RMSProp(SGD):
    """θ ← θ - η g / √(s + ε),   s ← α s + (1-α) g²      as in the A3C paper (arXiv:1602.01783): ε inside
    the root, s from 0. PyTorch's, with ε outside, is another optimiser.

    square_avg: s (P,), to be shared with others; without it an array of its own.
    """

    def __init__(
        self, theta: Array, learning_rate: float = 7e-4, *, alpha: float = 0.99, eps: float = 1e-5,
        square_avg: Array | None = None, max_grad_norm: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(theta, learning_rate, max_grad_norm=max_grad_norm)
        check_hyperparameters(alpha=alpha, eps=eps)
        self.alpha, self.eps = alpha, eps
        self.square_avg = np.zeros_like(theta) if square_avg is None else square_avg

    def _precondition(self, g: Array) -> Array:
        s, d = self.square_avg, np.multiply(g, g, out=self.scratch)
        d *= 1 - self.alpha
        s *= self.alpha  # in place and never negative, whenever another process that shares s comes between
        s += d
        np.add(s, self.eps, out=d)
        return np.divide(g, np.sqrt(d, out=d), out=d)


class Adam(SGD):
    """θ ← θ - η m̂ / (√v̂ + ε),   m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   m̂ = m/(1-β₁ᵗ),   v̂ = v/(1-β₂ᵗ)

    with t = 1 at the first step (arXiv:1412.6980, algorithm 1). ε is 1e-5, as policy-gradient code has it.

    >>> theta = np.zeros(2)
    >>> _ = Adam(theta, 0.1).step(np.array([1.0, -100.0]))
    >>> theta.round(6)  # the first step goes by the sign: m̂ = g, √v̂ = |g|
    array([-0.099999,  0.1     ])
    """

    def __init__(
        self, theta: Array, learning_rate: float = 3e-4, *, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5, max_grad_norm: float = math.inf,
    ) -> None:  # fmt: skip
        super().__init__(theta, learning_rate, max_grad_norm=max_grad_norm)
        check_hyperparameters(eps=eps)
        for beta in betas:
            check_hyperparameters(beta=beta)
        self.betas, self.eps, self.t = betas, eps, 0
        self.m, self.v = np.zeros_like(theta), np.zeros_like(theta)

    def _precondition(self, g: Array) -> Array:
        m, v, d, (beta1, beta2) = self.m, self.v, self.scratch, self.betas
        self.t += 1
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=d)
        np.multiply(g, g, out=d)
        d *= 1 - beta2
        v *= beta2
        v += d
        # m̂ / (√v̂ + ε), with both corrections gathered in two numbers
        root = math.sqrt(1 - beta2**self.t)
        np.sqrt(v, out=d)
        d += self.eps * root
        np.divide(m, d, out=d)
        d *= root / (1 - beta1**self.t)
        return d
