"""A multilayer perceptron over one flat parameter vector, with its derivatives written out by hand.

    h_0 = x                                  x (B, sizes[0]): one row per sample
    h_l = tanh(h_{l-1} W_l + b_l)            for each layer l = 1, 2, … but the last
    y   = h_{l-1} W_l + b_l                  y (B, sizes[-1]): the last layer is linear

θ is ONE array: W_1, b_1, W_2, b_2, … laid end to end. The matrices are views into it. So `net.theta -= step` moves
every layer at once, finite differences are one loop over θ, and a checkpoint holds one array.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, ClassVar

import numpy as np

from .plumbing import check
from .plumbing.check import Array, Rng

Cache = tuple[Sequence[int], list[Array]]  # the sizes, and the input of each layer: h_0, h_1, …


class MLP:
    """y = net(x). Computes in the dtype of θ, whatever comes in: float32 trains, float64 or longdouble checks.

    sizes: the widths (inputs, *hidden, outputs); with no hidden width the net is linear.
    theta: a flat vector (P,), used without a copy (a shared array, for example, or one of another dtype);
        without it θ is drawn: W_l ~ N(0, 1/inputs of the layer), b_l = 0, the last W scaled by output_scale.
    ValueError for sizes, θ or x that do not fit; TypeError for a dtype that is not of floats.

    >>> net = MLP((3, 4, 2), rng=0)
    >>> net.theta.shape, net(np.ones((5, 3))).shape
    ((26,), (5, 2))
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rng: Rng = None,
        *,
        theta: Array | None = None,
        dtype: Any = np.float32,
        output_scale: float = 1.0,
    ) -> None:
        self.sizes = check.widths(2, sizes=sizes)
        if np.dtype(dtype).kind not in "fc":
            raise TypeError(f"dtype must be a floating-point type, not {dtype!r}")
        P = sum((n + 1) * m for n, m in pairwise(self.sizes))
        self.theta = np.zeros(P, dtype) if theta is None else theta
        if theta is None:
            rng = np.random.default_rng(rng)
            for W, _ in self.layers:
                W[:] = rng.standard_normal(W.shape) / np.sqrt(len(W))
            self.layers[-1][0][:] *= output_scale

    @property
    def theta(self) -> Array:
        """θ (P,). Another array that is assigned is used without a copy."""
        return self._theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        ends = [*accumulate((n + 1) * m for n, m in pairwise(self.sizes))]  # where each layer's part of θ ends
        if not isinstance(theta, np.ndarray) or theta.shape != (ends[-1],) or theta.dtype.kind not in "fc":
            expected = f"a flat floating-point array of shape {(ends[-1],)} for sizes {self.sizes}"
            raise ValueError(f"theta must be {expected}, not {check.describe(theta)}")
        self._theta = theta
        parts = zip(np.split(theta, ends[:-1]), self.sizes[1:], strict=True)
        tables = [part.reshape(-1, m) for part, m in parts]
        self.layers = [(W_b[:-1], W_b[-1:]) for W_b in tables]  # W_l (n, m) and b_l, the last row (1, m): views

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.theta = self._theta  # in a deep copy, or from a pickle, the layers are views of the new θ

    def __repr__(self) -> str:
        return shown(self)

    def __call__(self, x: Array) -> Array:
        """y (B, sizes[-1]) for x (B, sizes[0])."""
        return self.forward(x)[0]

    def forward(self, x: Array) -> tuple[Array, Cache]:
        """y, and the cache: what `backward`, `d_input` and `jvp` need to know about this pass."""
        h, inputs = np.asarray(x, self._theta.dtype), []
        if h.ndim != 2 or h.shape[1] != self.sizes[0]:
            single = "; a single state is given as state[None]" if h.ndim == 1 else ""
            raise ValueError(f"the input (states) must have shape (B, {self.sizes[0]}), not {h.shape}{single}")
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
        where d_l = ∂L/∂(h_{l-1} W_l + b_l), and 1 - h² is the derivative of tanh where its value is h.

        The cache must come from a pass at this θ. With another θ the gradient is wrong, and no error is raised.
        """
        inputs, d = self._of_this_pass(cache, d_y, self.sizes[-1])
        gradients, ones = [], np.ones(len(d), d.dtype)  # 1ᵀ d is Σ_rows d, and faster
        for h, (W, _) in zip(inputs[::-1], self.layers[::-1], strict=True):
            gradients += [ones.dot(d), h.T.dot(d).ravel()]  # b_l before W_l: the list is reversed at the end
            if h is not inputs[0]:
                d = d.dot(W.T)
                slope = h * h
                d *= np.subtract(1, slope, out=slope)
        return np.concatenate(gradients[::-1])  # … d_W_l, d_b_l …, in the order of θ

    def d_input(self, cache: Cache, d_y: Array) -> Array:
        """∂L/∂x (B, sizes[0]), given ∂L/∂y (B, sizes[-1]): d_1 W_1ᵀ, d_1 and the cache as in `backward`."""
        inputs, d = self._of_this_pass(cache, d_y, self.sizes[-1])
        for h, (W, _) in zip(inputs[::-1], self.layers[::-1], strict=True):
            d = d.dot(W.T)
            if h is not inputs[0]:
                d *= 1 - h * h
        return d

    def jvp(self, cache: Cache, v: Array) -> Array:
        """(9.4)  J v = ∂y/∂θ v, (B, sizes[-1]), for a direction v (P,): how fast y changes as θ moves along v.

        ż_l = ḣ_{l-1} W_l + h_{l-1} V_l + c_l,   ḣ_l = (1 - h_l²) ⊙ ż_l,   ḣ_0 = 0: one pass forward
        where V_l and c_l are v's part for W_l and b_l. `backward` is Jᵀ. The cache is of a pass at this θ.
        """
        direction = MLP(self.sizes, theta=np.asarray(v, self._theta.dtype))
        B = len(cache[1][0]) if cache else 0
        inputs, h_dot = self._of_this_pass(cache, np.zeros((B, self.sizes[-1])), self.sizes[-1])
        for h, (W, _), (V, c) in zip(inputs, self.layers, direction.layers, strict=True):
            z_dot = h.dot(V)
            z_dot += c
            if h is not inputs[0]:
                slope = h * h
                np.subtract(1, slope, out=slope)
                slope *= h_dot  # ḣ of this layer's input
                z_dot += slope.dot(W)
            h_dot = z_dot
        return h_dot

    def absorb(self, mean: Array, std: Array) -> None:
        """Fold a normalisation of the inputs into θ, in place: net(x) is from now on what net((x - mean)/std) was.

        W_1 ← W_1/s,  b_1 ← b_1 - (m/s) W_1      for m = mean and s = std, both (sizes[0],)

        >>> net = MLP((2, 3), rng=0, dtype=np.float64)
        >>> before = net(np.array([[1.0, -1.0]]))
        >>> net.absorb(mean=np.array([5.0, 6.0]), std=np.array([2.0, 3.0]))
        >>> np.allclose(net(np.array([[5.0 + 2.0, 6.0 - 3.0]])), before)
        True
        """
        m, s = check.numbers("mean", mean), check.numbers("std", std)
        if m.shape != (self.sizes[0],) or s.shape != m.shape or not (s > 0).all():
            raise ValueError(f"mean and std must have shape {(self.sizes[0],)}, std > 0, not {mean!r} and {std!r}")
        check.finite("mean", m)
        check.finite("std", s)
        W, b = self.layers[0]
        with np.errstate(over="ignore", invalid="ignore"):
            absorbed = np.concatenate([W / s[:, None], b - (m / s).dot(W)]).astype(W.dtype)
        check.finite("θ by this mean and std", absorbed)
        W[:], b[:] = absorbed[:-1], absorbed[-1:]

    def _of_this_pass(self, cache: Cache, d_y: Array, width: int) -> tuple[list[Array], Array]:
        """The inputs of the layers, and d_y in the dtype of θ, if they are of one pass."""
        if cache is None:
            raise ValueError("there is no cache: it must come from a pass of this network")
        d = np.asarray(d_y, self._theta.dtype)
        sizes, inputs = cache
        if sizes != self.sizes or d.shape != (len(inputs[0]), width):
            passed = f"the cache is of {len(inputs[0])} rows and sizes {sizes}"
            raise ValueError(f"this cache is of another pass: d_y {d.shape} and sizes {self.sizes}, but {passed}")
        return inputs, d


class Network:
    """What policies and values have in common: a net, and one θ (P,) of which all their parts are views."""

    net: MLP
    sizes: tuple[int, ...]  # as they were given
    actions: ClassVar[str | None] = None  # of a policy: the kind of its action space, "Discrete" or "Box"

    @property
    def theta(self) -> Array:
        """θ (P,), to be changed in place or replaced."""
        return self.net.theta

    @theta.setter
    def theta(self, theta: Array) -> None:
        self.net.theta = theta

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.theta = self.theta  # in a deep copy, or from a pickle, all parts are views of the new θ

    @property
    def outputs(self) -> int:
        """The number of actions, or of their dimensions; 1 for a value."""
        return self.net.sizes[-1]

    def __repr__(self) -> str:
        return shown(self)


def shown(network: MLP | Network) -> str:
    """What one would type to make such a network."""
    dtype = "" if network.theta.dtype == np.float32 else f", dtype=np.{network.theta.dtype}"
    return f"{type(network).__name__}({network.sizes}{dtype})"
