"""Gradient descent on one flat vector, in place: θ ← θ - η · direction(g), where g is first clipped by its norm."""

import math
from collections.abc import Callable

import numpy as np

from .plumbing import check
from .plumbing.check import Array, NonFiniteError


class SGD:
    """θ ← θ - η g.

    theta: the vector to move, in place; learning_rate: η, may be changed at any time; max_grad_norm: a longer
    gradient is scaled down to this length (inf: never).

    >>> theta = np.array([1.0, 2.0])
    >>> SGD(theta, 0.5).step(np.array([1.0, 0.0]))
    1.0
    >>> theta
    array([0.5, 2. ])
    """

    kept: tuple[str, ...] = ("theta",)  # what each step changes: saved, so that a run can be resumed

    def __init__(self, theta: Array, learning_rate: float = 1e-3, *, max_grad_norm: float = math.inf) -> None:
        if not isinstance(theta, np.ndarray) or theta.ndim != 1 or theta.dtype.kind != "f":
            raise TypeError(f"theta must be a flat array of floats, not {check.describe(theta)}")
        check.positive(learning_rate=learning_rate)
        check.bound(max_grad_norm=max_grad_norm)
        self.theta, self.learning_rate, self.max_grad_norm = theta, learning_rate, max_grad_norm

    def step(self, gradient: Array) -> float:
        """One step against the gradient (P,), which is not changed; returns its norm before clipping.

        NonFiniteError if that norm or the step is not finite, ValueError for another shape; θ then keeps its value.
        """
        gradient = check.numbers("gradient", gradient, self.theta.shape)
        norm = math.sqrt(gradient.dot(gradient))
        if not math.isfinite(norm):
            raise NonFiniteError(f"the norm of the gradient is {norm}")
        if norm > self.max_grad_norm:
            gradient = gradient * (self.max_grad_norm / norm)
        step = self.learning_rate * self.direction(gradient)
        if not math.isfinite(step.dot(step)):
            raise NonFiniteError(f"the step of the parameters is not finite (gradient norm {norm:.3g})")
        self.theta -= step
        return norm

    def direction(self, g: Array) -> Array:
        """The direction of the step, (P,), given a gradient g (P,)."""
        return g


class RMSProp(SGD):
    """θ ← θ - η g / √(s + ε),   s ← ρ s + (1-ρ) g²      as in the A3C paper (arXiv:1602.01783): ε inside
    the root, s from 0. PyTorch's, with ε outside, is another optimiser.

    decay: ρ; mean_square: s (P,), to share it with other processes; None makes a new one.
    """

    kept = "theta", "mean_square"

    def __init__(
        self,
        theta: Array,
        learning_rate: float = 1e-3,
        *,
        decay: float = 0.99,
        eps: float = 1e-5,
        mean_square: Array | None = None,
        max_grad_norm: float = math.inf,
    ) -> None:
        super().__init__(theta, learning_rate, max_grad_norm=max_grad_norm)
        check.decay(decay=decay)
        check.positive(eps=eps)
        self.decay, self.eps = decay, eps
        self.mean_square = np.zeros_like(theta) if mean_square is None else mean_square

    def direction(self, g: Array) -> Array:
        s = self.mean_square
        s *= self.decay  # two in-place steps: s stays ≥ 0, even if another process writes it in between
        s += (1 - self.decay) * (g * g)
        return g / np.sqrt(s + self.eps)


class Adam(SGD):
    """θ ← θ - η m̂ / (√v̂ + ε),   m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   m̂ = m/(1-β₁ᵗ),   v̂ = v/(1-β₂ᵗ)

    with t = 1 at the first step (arXiv:1412.6980, algorithm 1). ε is 1e-5, as is usual in policy gradients.

    >>> theta = np.zeros(2)
    >>> _ = Adam(theta, 0.1).step(np.array([1.0, -100.0]))
    >>> theta.round(6)  # the first step is η g/(|g| + ε): nearly η if |g| ≫ ε
    array([-0.099999,  0.1     ])
    """

    kept = "theta", "t", "m", "v"

    def __init__(
        self,
        theta: Array,
        learning_rate: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5,
        max_grad_norm: float = math.inf,
    ) -> None:
        super().__init__(theta, learning_rate, max_grad_norm=max_grad_norm)
        check.positive(eps=eps)
        for beta in betas:
            check.decay(beta=beta)
        self.betas, self.eps, self.t = betas, eps, 0
        self.m, self.v = np.zeros_like(theta), np.zeros_like(theta)

    def direction(self, g: Array) -> Array:
        beta1, beta2 = self.betas
        self.t += 1
        self.m *= beta1
        self.m += (1 - beta1) * g
        self.v *= beta2
        self.v += (1 - beta2) * (g * g)
        m_hat = self.m / (1 - beta1**self.t)
        v_hat = self.v / (1 - beta2**self.t)
        return m_hat / (np.sqrt(v_hat) + self.eps)


def conjugate_gradient(
    product: Callable[[Array], Array], g: Array, iterations: int, *, tolerance: float = 1e-10
) -> Array:
    """(9.5)  x (P,) with A x = g, for a symmetric A ≥ 0 of which only product(v) = A v is known; x starts at 0.

    After k iterations x minimises ½ xᵀAx - gᵀx over span{g, Ag, …, A^{k-1}g}. Stops early where the residual r = g - Ax
    has |r|² ≤ tolerance · |g|², or where its next direction p has pᵀAp ≤ 0. ValueError for a g that is not
    (P,). Source: Hestenes and Stiefel 1952.

    >>> A = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> conjugate_gradient(lambda v: A @ v, np.array([3.0, 4.0]), iterations=2)
    array([1., 1.])
    """
    check.natural(iterations=iterations)
    check.weight(tolerance=tolerance)
    g = check.numbers("g", g, (np.size(g),))  # flat
    x, r, p = np.zeros_like(g), g, g
    rr = g.dot(g)
    enough = tolerance * rr
    for _ in range(iterations):
        if rr <= enough:
            break
        Ap = product(p)
        pAp = p.dot(Ap)
        if pAp <= 0:
            break
        x = x + rr / pAp * p
        r = r - rr / pAp * Ap
        last, rr = rr, r.dot(r)
        p = r + rr / last * p
    return x


def line_search(theta: Array, step: Array, accept: Callable[[], bool], shrink: float, tries: int) -> int:
    """(9.6), (9.7)  θ_j = θ + αʲ step in place, for the first j = 0, 1, … for which accept() is true; α is shrink.

    Returns j. If none of `tries` is accepted, θ is restored, bit for bit. NonFiniteError for a step that is not finite.

    >>> theta = np.array([1.0])
    >>> line_search(theta, np.array([-4.0]), lambda: abs(theta[0]) < 1, shrink=0.5, tries=10)
    2
    >>> theta
    array([0.])
    """
    check.unit(shrink=shrink)
    check.count(tries=tries)
    step = check.numbers("step", step, theta.shape)
    check.finite("step", step)
    kept = theta.copy()
    try:
        for j in range(tries):
            theta[:] = kept + shrink**j * step
            if accept():
                kept = theta.copy()
                return j
        return tries
    finally:  # also after a Ctrl-C
        theta[:] = kept
