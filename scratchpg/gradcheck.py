"""Finite differences, for this library's gradients and for yours.

    ∂f/∂θ_i ≈ D(h) + [ D(h) - D(2h) ] / 3,   D(h) = [ f(θ + h e_i) - f(θ - h e_i) ] / 2h

With h = ε^(1/5), where ε is the spacing of the floating-point numbers, it is off by about ε^(4/5): 3e-13 in float64,
7e-16 in longdouble where that is the 80-bit type.
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

    Where they differ, h becomes 10 times smaller until two differences agree, as f may bend within it. The error of a
    component is relative to its own size, after what the rounding of f explains is subtracted: about ε^(4/5) of f, of
    the largest component or of the largest second derivative; smaller ones can't be checked. AssertionError names the
    worst component if its error exceeds rtol, or is NaN. ValueError says what is wrong with f: no finite number, not
    the same twice, in float32, or the differences agree for no h. The last call of f is at θ.

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
    eps, (slopes, bends, error) = np.finfo(theta.dtype).eps, np.full((3, len(theta)), np.nan)
    for k in range(15):
        before, bent = slopes, bends
        slopes, bends, h = _differences(f, theta, 10.0**-k)
        L = 10 * h / eps**0.2  # 10 at first; within L, f changes by some f' L + f'' L²
        noise = 16 * eps * np.maximum(abs(here), np.maximum(abs(slopes), abs(bends) * L) * L)  # what f is rounded by
        doubt = np.maximum(abs(slopes - before), h * abs(bends - bent))  # at a kink the second stays as it is
        least = np.inf if k < 2 else 1e-5 * (abs(slopes) + abs(bends) * L)  # so that noise / h can't excuse all
        settled = doubt <= rtol * abs(slopes) + np.minimum(noise / h, least) + eps**2  # not where one is NaN
        rounding = np.where(settled, max(noise[settled], default=0) / h + eps**2, 0)
        excess = np.maximum(abs(gradient - slopes) - rounding, 0)
        error = np.fmin(error, excess / np.maximum(np.maximum(abs(gradient), abs(slopes)), eps**2))
        if (error <= rtol).all():
            return float(error.max())
        if k == 0 and _in_float32(f, here, theta):
            raise ValueError("f computes in float32, too coarse for finite differences: make its networks of float64")
        i = int(np.argmax(np.where(settled, error, -1)))  # a NaN comes first
        if settled[i] and not error[i] <= rtol:
            said = f"gradient[{i}] is {gradient[i]!s}, finite differences say {slopes[i]!s}"
            raise AssertionError(f"{said}: relative error {error[i]:.2g} > {rtol:g}; rounding makes {rounding[i]:.2g}")
    raise ValueError(f"differences along theta[{error.argmax()}] never agree: f bends too much, or has a kink or jump")


def _in_float32(f: Callable[[Array], Any], here: Any, theta: Array) -> bool:
    """Does f stay where it would move in finer arithmetic, or has it just the 24 binary digits of float32?"""
    near, mid, far, other = map(f, [*(theta * (1 + 2.0**-n) for n in (30, 20, 10)), theta * 1.001 + 0.001])
    f(theta.copy())
    short = here != other and np.isfinite(other) and all(np.float32(x) == x for x in (here, other))
    return bool(short or (near == here and (mid - here) ** 2 > 1e-15 * abs(here * (far - here))))
