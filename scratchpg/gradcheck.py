"""Finite differences, for this library's gradients and for yours.

    ∂f/∂θ_i ≈ [ 8 (f(θ + h e_i) - f(θ - h e_i)) - (f(θ + 2h e_i) - f(θ - 2h e_i)) ] / 12h

The central difference of fourth order: with h = ε^(1/5) it leaves an error of about ε^(4/5), where ε is the spacing of
the floating-point numbers: 3e-13 in float64, 7e-16 in longdouble where that is the 80-bit type.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .plumbing.check import Array, describe


def finite_difference(f: Callable[[Array], Any], theta: Array) -> Array:
    """The gradient of f: (P,) → number at θ, (P,), by 4 P evaluations in the dtype of θ; TypeError for float32.

    >>> finite_difference(lambda theta: theta @ theta, np.array([1.0, 2.0])).round(10)
    array([2., 4.])
    """
    theta = np.asarray(theta)
    if theta.ndim != 1 or theta.dtype.kind != "f" or theta.dtype.itemsize < 8:
        reason = "float32 is too coarse for finite differences: half of its digits go; use float64"
        raise TypeError(f"theta must be a flat array of floats, float64 or finer, not {describe(theta)} ({reason})")
    h = np.finfo(theta.dtype).eps ** theta.dtype.type(0.2)

    def difference(i: int, step: Any) -> Any:
        forth, back = theta.copy(), theta.copy()
        forth[i] += step
        back[i] -= step
        return (f(forth) - f(back)) / (forth[i] - back[i])  # the distance as it was rounded

    return np.array([(4 * difference(i, h) - difference(i, 2 * h)) / 3 for i in range(len(theta))], theta.dtype)


def check_gradient(f: Callable[[Array], Any], gradient: Array, theta: Array, *, rtol: float = 1e-6) -> float:
    """Compare a gradient (P,) of f at θ with finite differences; return the worst relative error, or raise.

    Each component is held against its own size, not against the largest. Only the rounding of f over the step counts as
    no error: components below about ε^(4/5) of f, or of the largest, are beyond any difference. AssertionError names
    the worst component if its relative error exceeds rtol, or is NaN. ValueError if f(θ) is infinite or an array.

    >>> theta = np.array([1.0, 2.0])
    >>> check_gradient(lambda theta: theta @ theta, 2 * theta, theta) < 1e-10
    True
    """
    theta, gradient = np.asarray(theta), np.asarray(gradient)
    if gradient.shape != theta.shape:
        raise ValueError(f"the gradient must have the shape {theta.shape} of theta, not {gradient.shape}")
    here = f(theta.copy())
    if np.ndim(here) or np.isinf(here):
        raise ValueError(f"f(theta) must be a finite number, not {describe(here)}")
    numeric, precision = finite_difference(f, theta), np.finfo(theta.dtype)
    rounding = 16 * precision.eps**0.8 * max(abs(here), abs(numeric).max(initial=0))
    with np.errstate(invalid="ignore"):  # the error of an infinity is NaN
        excess = np.maximum(abs(gradient - numeric) - rounding, 0)
        error = excess / np.maximum(np.maximum(abs(gradient), abs(numeric)), precision.tiny)
    i = int(np.argmax(error))  # a NaN comes first
    if not error[i] <= rtol:
        comparison = f"gradient[{i}] is {gradient[i]!s}, finite differences say {numeric[i]!s}"
        raise AssertionError(f"{comparison}: relative error {float(error[i]):.2g} > {rtol:g}")
    return float(error[i])
