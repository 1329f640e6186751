"""Finite differences, for this library's gradients and for yours.

    ∂f/∂θ_i ≈ D(h) + [ D(h) - D(2h) ] / 3,   D(h) = [ f(θ + h e_i) - f(θ - h e_i) ] / 2h

With h = ε^(1/5), ε the spacing of floats, it is off by about ε^(4/5): 3e-13 in float64, 7e-16 in 80-bit longdouble.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .plumbing.check import INTEGER, REAL, Array, describe


def finite_difference(f: Callable[[Array], Any], theta: Array) -> Array:
    """The gradient (P,) of f at θ, in the dtype of θ. The last of 4 P + 1 calls is at θ: f may write into a network.

    >>> finite_difference(lambda theta: theta @ theta, np.array([1.0, 2.0])).round(10)
    array([2., 4.])
    """
    return _differences(f, theta)[0]


def _differences(f: Callable[[Array], Any], theta: Array, shrink: float = 1.0) -> tuple[Array, Array, Array]:
    """∂f/∂θ_i, from the same evaluations ∂²f/∂θ_i² ≈ [f(θ + h e_i) + f(θ - h e_i) - 2 f(θ)] / h², and h: (P,) each."""
    theta = np.array(theta)  # a copy: f may write into the original
    if theta.ndim != 1 or theta.dtype.kind != "f" or theta.dtype.itemsize < 8:
        reason = "float32 is too coarse for finite differences, which lose half of the digits; use float64"
        raise TypeError(f"theta must be a flat array of floats, float64 or finer, not {describe(theta)} ({reason})")
    h = np.finfo(theta.dtype).eps ** theta.dtype.type(0.2)
    h = shrink * h * np.maximum(1, h * abs(theta))  # ε^(2/5) |θ_i| where θ_i is large, so that θ_i + h is not θ_i
    slopes, means = np.empty_like(theta), np.empty_like(theta)
    for i, step in enumerate(h):
        points = np.tile(theta, (4, 1))
        points[:, i] += step * np.array([1, -1, 2, -2])
        x = points[:, i].copy()  # as they were rounded
        plus, minus, plus_2, minus_2 = map(f, points)
        D = (plus - minus) / (x[0] - x[1])
        slopes[i] = D + (D - (plus_2 - minus_2) / (x[2] - x[3])) / 3
        means[i] = plus / 2 + minus / 2  # their sum might overflow
    return slopes, 2 * (means - f(theta)) / h**2, h


@np.errstate(all="ignore")  # near θ, f may be infinite
def check_gradient(f: Callable[[Array], Any], gradient: Array, theta: Array, *, rtol: float = 1e-6) -> float:
    """Compare a gradient (P,) of f at θ with finite differences; return the worst relative error, or raise.

    A component's error is relative to its own size, after what the rounding of f explains is subtracted: about ε^(4/5)
    of f, of the largest component or of the largest second derivative; what is smaller can't be checked. AssertionError
    names the component with the worst error, if that exceeds rtol or is NaN. ValueError says what is wrong with f.

    >>> theta = np.array([1.0, 2.0])
    >>> check_gradient(lambda theta: theta @ theta, 2 * theta, theta) < 1e-10
    True
    """
    theta, gradient = np.array(theta), np.array(gradient)
    if gradient.shape != theta.shape or not theta.size:
        raise ValueError(f"gradient and theta must have one shape, not empty; got {gradient.shape}, {theta.shape}")
    here = f(theta.copy())
    if not isinstance(np.asarray(here)[()], (*REAL, *INTEGER)) or not np.isfinite(here):
        raise ValueError(f"f(theta) must be a finite number, not {describe(here)}")
    slopes, rounding = _settled(f, here, theta, rtol)  # NaN where f is rough: no two differences agree
    other = theta * 1.001 + 0.001
    there, rounded, again = map(f, [other, np.float32(other).astype(theta.dtype), theta.copy()])  # the last is at θ
    if again != here:
        raise ValueError("f(theta) is not the same twice: f must be a function of theta alone, without random numbers")
    moved = 1e6 * np.finfo(theta.dtype).eps * abs(here) < abs(there - here) < np.inf  # so far that 24 bits must matter
    if moved and there in (rounded, np.float32(there)):
        raise ValueError("f computes in float32, too coarse for finite differences: make its networks of float64")
    rough, excess = np.isnan(slopes), np.maximum(abs(gradient - slopes) - rounding, 0)
    error = np.where(rough | (excess == 0), 0, excess / np.maximum(abs(gradient), abs(slopes)))
    i = int(error.argmax())  # a NaN of the gradient comes first
    if not error[i] <= rtol:
        said = f"gradient[{i}] is {gradient[i]!s}, finite differences say {slopes[i]!s}"
        raise AssertionError(f"{said}: relative error {error[i]:.2g} > {rtol:g}; rounding makes {rounding[i]:.2g}")
    if not rough.any():
        return float(error[i])
    raise ValueError(f"differences along theta[{rough.argmax()}] never agree: f bends too much, or has a kink or jump")


def _settled(f: Callable[[Array], Any], here: Any, theta: Array, rtol: float) -> tuple[Array, Array]:
    """∂f/∂θ_i by the first h that agrees with an h 10 times larger, or NaN; and what rounding may add: (P,) each."""
    eps, (found, rounding, slopes, bends) = np.finfo(theta.dtype).eps, np.full((4, len(theta)), np.nan, theta.dtype)
    for k in range(15):
        before, bent = slopes, bends
        slopes, bends, h = _differences(f, theta, 10.0**-k)
        L = 10 * h / eps**0.2  # 10 at first
        change = np.maximum(abs(slopes), abs(bends) * L) * L  # of f within L, about: f' L or f'' L²
        noise = 16 * eps * np.maximum(abs(here), change) + eps**2 * h  # the rounding of f; a slope of ε² counts as 0
        doubt = abs(slopes - before) + h * abs(bends - bent)  # at a kink the first may be 0, the second is not
        visible = (k < 2) | (change >= 1e-5 * abs(here))  # else, with an h this small, it is all rounding
        settled = visible & (doubt <= rtol * abs(slopes) + noise / h)
        most = noise.max(where=settled, initial=0) / h  # f is rounded by as much, whichever component moves
        new = np.isnan(found) & (settled | (doubt < most))
        found[new], rounding[new] = slopes[new], most[new]
        if not np.isnan(found).any():
            break
    return found, rounding
