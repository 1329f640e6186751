"""A multilayer perceptron over one flat parameter vector, with its backward pass written out by hand.

    h_0 = x                                  x (B, sizes[0]): one row per sample
    h_l = tanh(h_{l-1} W_l + b_l)            l = 1 … L-1
    y   = h_{L-1} W_L + b_L                  y (B, sizes[-1]): the last layer is linear

θ is ONE array: W_1, b_1, W_2, b_2, … laid end to end. The matrices are views into it, so `net.theta -= step` moves
every layer at once, a finite difference is one loop and a checkpoint one array.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .checks import Array, Rng, describe, sizes_of

Cache = list[Array]  # the input of each layer: h_0 … h_{L-1}


class MLP:
    """y = net(x). Computes in the dtype of θ, whatever comes in: float32 trains, float64 or longdouble checks.

    sizes: the widths (inputs, *hidden, outputs); with no hidden width the net is linear.
    theta: a flat vector (P,) to use as it is, without a copy (a shared array, say, or one of another dtype);
        without it θ is drawn: W_l ~ N(0, 1/inputs of the layer), b_l = 0, the last W scaled by output_scale.

    >>> net = MLP((3, 4, 2), rng=0)
    >>> net.theta.shape, net(np.ones((5, 3))).shape
    ((26,), (5, 2))
    """

    def __init__(
        self, sizes: Sequence[int], rng: Rng = None, *,
        theta: Array | None = None, dtype: Any = np.float32, output_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self.sizes = sizes_of(sizes)
        n_parameters = sum((n + 1) * m for n, m in zip(self.sizes, self.sizes[1:], strict=False))
        if theta is None:
            if np.dtype(dtype).kind not in "fc":
                raise TypeError(f"dtype must be a floating-point type, not {dtype!r}")
            self._theta = np.zeros(n_parameters, dtype)
            self.layers = self._views(self._theta)
            rng = np.random.default_rng(rng)
            for W, _ in self.layers:
                W[:] = rng.standard_normal(W.shape) / np.sqrt(len(W))
            self.layers[-1][0][:] *= output_scale
        else:
            if not isinstance(theta, np.ndarray) or theta.shape != (n_parameters,) or theta.dtype.kind not in "fc":
                raise ValueError(
                    f"theta must be a flat floating-point array of shape ({n_parameters},) for sizes {self.sizes},"
                    f" not {describe(theta)}"
                )
            self._theta = theta
            self.layers = self._views(theta)

    @property
    def theta(self) -> Array:
        """θ (P,): write into it (`theta[:] = …`, `theta -= …`); it can't be replaced, the layers are views of it."""
        return self._theta

    @theta.setter
    def theta(self, value: Array) -> None:
        if value is not self._theta:  # `net.theta -= step` works in place and assigns the same array back
            raise AttributeError("theta can't be replaced, the layers are views of it; write theta[:] = … instead")

    def _views(self, theta: Array) -> list[tuple[Array, Array]]:
        """W_l (n, m) and b_l (m,) of each layer, as views into a flat vector."""
        views, start = [], 0
        for n, m in zip(self.sizes, self.sizes[1:], strict=False):
            middle, end = start + n * m, start + n * m + m
            views.append((theta[start:middle].reshape(n, m), theta[middle:end]))
            start = end
        return views

    def __call__(self, x: Array) -> Array:
        """y (B, sizes[-1]) for x (B, sizes[0])."""
        return self.forward(x)[0]

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """y and what `backward` needs to know about this very pass."""
        h = np.asarray(x, self._theta.dtype)
        if h.ndim != 2 or h.shape[1] != self.sizes[0]:
            raise ValueError(f"the input must have shape (B, {self.sizes[0]}), not {h.shape}")
        cache = []
        for W, b in self.layers[:-1]:
            cache.append(h)
            h = h.dot(W)
            h += b
            _tanh(h)
        cache.append(h)
        W, b = self.layers[-1]
        y = h.dot(W)
        y += b
        return y, cache

    def backward(self, cache: Cache, d_y: Array) -> Array:
        """∂L/∂θ (P,), given ∂L/∂y (B, sizes[-1]): the chain rule from the last layer to the first.

        ∂L/∂W_l = h_{l-1}ᵀ d_l,   ∂L/∂b_l = Σ_rows d_l,   d_{l-1} = (d_l W_lᵀ) ⊙ (1 - h_{l-1}²)
        where d_l = ∂L/∂(h_{l-1} W_l + b_l), and 1 - h² is the derivative of tanh, by its value h.
        """
        d = np.asarray(d_y, self._theta.dtype)
        shapes = [h.shape for h in cache or ()]
        if shapes != [(len(d), n) for n in self.sizes[:-1]] or d.shape[1:] != self.sizes[-1:]:
            raise ValueError(f"this cache is of another pass: d_y {d.shape}, layer inputs {shapes}, sizes {self.sizes}")
        gradients, ones = [], np.ones(len(d), d.dtype)  # 1 d is Σ_rows d, as a product
        for l in reversed(range(len(self.layers))):
            h, (W, _) = cache[l], self.layers[l]
            gradients += [ones.dot(d), h.T.dot(d).ravel()]
            if l:
                d = d.dot(W.T)
                d *= 1 - h * h
        return np.concatenate(gradients[::-1])  # … d_W_l, d_b_l …, in the order of θ


class Approximator:
    """What a policy and a value have in common: a network, whose parameters are theirs."""

    net: MLP

    @property
    def theta(self) -> Array:
        """θ (P,), the parameters; write into it, it can't be replaced."""
        return self.net.theta

    @theta.setter
    def theta(self, value: Array) -> None:
        self.net.theta = value

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sizes={self.net.sizes}, dtype={self.theta.dtype})"


def _tanh(h: Array) -> None:
    """h ← tanh h. For thousands of numbers 2 / (1 + exp(-2h)) - 1 is faster, NumPy's exp being quicker than its tanh;
    the error is that of numbers near 1, also where h is small."""
    if h.size <= 4096 or h.dtype.kind == "c":
        np.tanh(h, out=h)
        return
    with np.errstate(over="ignore"):
        h *= -2
        np.exp(h, out=h)
        h += 1
        np.divide(2, h, out=h)
        h -= 1
