"""Finite differences, for this library's gradients and for yours.

    ∂f/∂θ_i ≈ [ 8 (f(θ + h e_i) - f(θ - h e_i)) - (f(θ + 2h e_i) - f(θ - 2h e_i)) ] / 12h

The central difference of fourth order: with h = ε^(1/5) it leaves an error of about ε^(4/5), where ε is the spacing of
the floating-point numbers: 3e-13 in float64, 7e-16 in longdouble where that is the 80-bit type.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .plumbing.check import INTEGER, REAL, Array, describe


def finite_difference(f: Callable[[Array], Any], theta: Array) -> Array:
    """The gradient of f: (P,) → number at θ, (P,), in the dtype of θ; TypeError for float32.

    It takes 4 P + 1 evaluations. The last is at θ itself, so a network that f writes into has its own θ again.

    >>> finite_difference(lambda theta: theta @ theta, np.array([1.0, 2.0])).round(10)
    array([2., 4.])
    """
    return _differences(f, theta)[0]


def _differences(f: Callable[[Array], Any], theta: Array) -> tuple[Array, Array]:
    """∂f/∂θ_i, and from the same evaluations ∂²f/∂θ_i² ≈ [f(θ + h e_i) + f(θ - h e_i) - 2 f(θ)] / h², (P,) each."""
    theta = np.array(theta)  # a copy: f may write into the original
    if theta.ndim != 1 or theta.dtype.kind != "f" or theta.dtype.itemsize < 8:
        reason = "float32 is too coarse for finite differences, which lose half of the digits; use float64"
        raise TypeError(f"theta must be a flat array of floats, float64 or finer, not {describe(theta)} ({reason})")
    h = np.finfo(theta.dtype).eps ** theta.dtype.type(0.2)

    def around(i: int, step: Any) -> Any:
        forth, back = theta.copy(), theta.copy()
        forth[i] += step
        back[i] -= step
        return f(forth.copy()), f(back.copy()), forth[i] - back[i]  # the distance as it was rounded

    slopes, sums = np.empty_like(theta), np.empty_like(theta)
    for i in range(len(theta)):
        (near, back, width), (far, far_back, double) = around(i, h), around(i, 2 * h)
        slopes[i] = (4 * ((near - back) / width) - (far - far_back) / double) / 3
        sums[i] = near + back
    return slopes, (sums - 2 * f(theta)) / h**2


def check_gradient(f: Callable[[Array], Any], gradient: Array, theta: Array, *, rtol: float = 1e-6) -> float:
    """Compare a gradient (P,) of f at θ with finite differences; return the worst relative error, or raise.

    The error of a component is relative to its own size, after what the rounding of f explains is subtracted: about
    ε^(4/5) of f, of the largest component or of the largest second derivative (at a minimum the others may be 0);
    smaller ones can't be checked. AssertionError names the worst component if its relative error exceeds rtol, or is
    NaN. ValueError says what is wrong with f: its value is not a finite number, not the same twice, or computed in
    float32. The last call of f is at θ.

    >>> theta = np.array([1.0, 2.0])
    >>> check_gradient(lambda theta: theta @ theta, 2 * theta, theta) < 1e-10
    True
    """
    theta, gradient = np.array(theta), np.array(gradient)
    if gradient.shape != theta.shape or not theta.size:
        raise ValueError(f"gradient and theta must have one shape, not empty; got {gradient.shape}, {theta.shape}")
    here = f(theta.copy())
    if np.ndim(here) or not isinstance(np.asarray(here)[()], (*REAL, *INTEGER)) or not np.isfinite(here):
        raise ValueError(f"f(theta) must be a finite number, not {describe(here)}")
    if f(theta.copy()) != here:
        raise ValueError("f(theta) is not the same twice: f must be a function of theta alone, without random numbers")
    (numeric, bend), precision = _differences(f, theta), np.finfo(theta.dtype)
    rounding = 16 * precision.eps**0.8 * max(abs(here), abs(numeric).max(), abs(bend).max())
    with np.errstate(invalid="ignore"):  # the error of an infinity is NaN
        excess = np.maximum(abs(gradient - numeric) - rounding, 0)
        error = excess / np.maximum(np.maximum(abs(gradient), abs(numeric)), precision.tiny)
    i = int(np.argmax(error))  # a NaN comes first
    if not error[i] <= rtol:
        near, far, other = (f(x) for x in (theta * (1 + 2.0**-30), theta * (1 + 2.0**-10), theta * 1.001 + 0.001))
        f(theta.copy())
        with np.errstate(over="ignore"):
            short = (
                here != other and np.isfinite(other) and all(float(np.float32(x)) == float(x) for x in (here, other))
            )
        if near == here != far or short:  # float32 has 24 binary digits
            raise ValueError("f computes in float32, too coarse for finite differences: make its networks of float64")
        numbers = f"gradient[{i}] is {gradient[i]!s}, finite differences say {numeric[i]!s}"
        floor = f"what rounding explains is {float(rounding):.2g}"
        raise AssertionError(f"{numbers}: relative error {float(error[i]):.2g} > {rtol:g}; {floor}")
    return float(error[i])
