"""A multilayer perceptron over one flat parameter vector, with its backward pass written out by hand.

    h_0 = x                                  x (B, sizes[0]): one row per sample
    h_l = tanh(h_{l-1} W_l + b_l)            l = 1 … L-1
    y   = h_{L-1} W_L + b_L                  y (B, sizes[-1]): the last layer is linear

θ is ONE array: W_1, b_1, W_2, b_2, … laid end to end. The matrices are views into it, so `net.theta -= step` moves
every layer at once, a finite difference is one loop and a checkpoint one array.
"""

from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from .checks import Array, Rng, Sizes, describe, widths

Cache = tuple[Sizes, list[Array]]  # the sizes, and the input of each layer: h_0 … h_{L-1}


class MLP:
    """y = net(x). Computes in the dtype of θ, whatever comes in: float32 trains, float64 or longdouble checks.

    sizes: the widths (inputs, *hidden, outputs); with no hidden width the net is linear.
    theta: a flat vector (P,) to use as it is, without a copy (a shared array, say, or one of another dtype);
        without it θ is drawn: W_l ~ N(0, 1/inputs of the layer), b_l = 0, the last W scaled by output_scale.
    ValueError for sizes, a θ or an x that do not fit, TypeError for a dtype that is none of floats.

    >>> net = MLP((3, 4, 2), rng=0)
    >>> net.theta.shape, net(np.ones((5, 3))).shape
    ((26,), (5, 2))
    """

    def __init__(
        self, sizes: Sizes, rng: Rng = None, *,
        theta: Array | None = None, dtype: Any = np.float32, output_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self.sizes = widths("sizes", sizes, 2)
        ends = [*accumulate((n + 1) * m for n, m in pairwise(self.sizes))]  # of each layer's part of θ
        if np.dtype(dtype).kind not in "fc":
            raise TypeError(f"dtype must be a floating-point type, not {dtype!r}")
        shape = (ends[-1],)
        self.theta = np.zeros(shape, dtype) if theta is None else theta
        if not isinstance(self.theta, np.ndarray) or self.theta.shape != shape or self.theta.dtype.kind not in "fc":
            expected = f"a flat floating-point array of shape {shape} for sizes {self.sizes}"
            raise ValueError(f"theta must be {expected}, not {describe(theta)}")
        parts = np.split(self.theta, ends[:-1])
        tables = [part.reshape(-1, m) for part, m in zip(parts, self.sizes[1:], strict=True)]
        self.layers = [(W_b[:-1], W_b[-1:]) for W_b in tables]  # W_l (n, m) and b_l (1, m), views into θ
        if theta is None:
            rng = np.random.default_rng(rng)
            for W, _ in self.layers:
                W[:] = rng.standard_normal(W.shape) / np.sqrt(len(W))
            self.layers[-1][0][:] *= output_scale

    def __setattr__(self, name: str, value: Any) -> None:
        # `net.theta -= step` works in place, then assigns the same array back
        if name == "theta" and value is not vars(self).get("theta", value):
            raise AttributeError("theta can't be replaced, the layers are views of it; write theta[:] = … instead")
        super().__setattr__(name, value)

    def __getstate__(self) -> Any:
        """A deep copy or a pickle has a θ of its own, of which its layers are views; a shallow copy shares θ."""
        return {name: x for name, x in vars(self).items() if name != "layers"}

    def __setstate__(self, state: Any) -> None:
        MLP.__init__(self, state["sizes"], theta=state["theta"])
        vars(self).update(state)

    def __call__(self, x: Array) -> Array:
        """y (B, sizes[-1]) for x (B, sizes[0])."""
        return self.forward(x)[0]

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """y and what `backward` needs to know about this very pass."""
        h, inputs = np.asarray(x, self.theta.dtype), []
        if h.ndim != 2 or h.shape[1] != self.sizes[0]:
            raise ValueError(f"the input must have shape (B, {self.sizes[0]}), not {h.shape}")
        for W, b in self.layers:
            inputs.append(h)
            h = h.dot(W)
            h += b
            if len(inputs) < len(self.layers):
                np.tanh(h, out=h)
        return h, (self.sizes, inputs)

    def backward(self, cache: Cache, d_y: Array) -> Array:
        """∂L/∂θ (P,), given ∂L/∂y (B, sizes[-1]): the chain rule from the last layer to the first.

        ∂L/∂W_l = h_{l-1}ᵀ d_l,   ∂L/∂b_l = Σ_rows d_l,   d_{l-1} = (d_l W_lᵀ) ⊙ (1 - h_{l-1}²)
        where d_l = ∂L/∂(h_{l-1} W_l + b_l), and 1 - h² is the derivative of tanh, by its value h.
        """
        d = np.asarray(d_y, self.theta.dtype)
        sizes, inputs = cache or ((), [()])
        if sizes != self.sizes or d.shape != (len(inputs[0]), sizes[-1]):
            passed = f"the cache is of {len(inputs[0])} rows and sizes {sizes}"
            raise ValueError(f"this cache is of another pass: d_y {d.shape} and sizes {self.sizes}, but {passed}")
        gradients, ones = [], np.ones(len(d), d.dtype)  # 1 d is Σ_rows d, as a product
        for h, (W, _) in zip(inputs[::-1], self.layers[::-1], strict=True):
            gradients += [ones.dot(d), h.T.dot(d).ravel()]
            if h is not inputs[0]:
                d = d.dot(W.T)
                slope = h * h
                d *= np.subtract(1, slope, out=slope)
        return np.concatenate(gradients[::-1])  # … d_W_l, d_b_l …, in the order of θ


class Approximator:
    """What a policy and a value share: a network. Its θ (P,) is theirs; write into it, it can't be replaced."""

    net: MLP
    theta = property(lambda self: self.net.theta, lambda self, theta: setattr(self.net, "theta", theta))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(sizes={self.net.sizes}, dtype={self.theta.dtype})"
