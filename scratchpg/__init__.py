"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test."""

from . import gradcheck, returns
from .algorithms import reinforce
from .checkpoint import load, save
from .evaluate import evaluate
from .mlp import MLP
from .policy import SoftmaxPolicy
from .softmax import Softmax
from .training import Progress
from .value import Value

__all__ = [
    "MLP",
    "Progress",
    "Softmax",
    "SoftmaxPolicy",
    "Value",
    "evaluate",
    "gradcheck",
    "load",
    "reinforce",
    "returns",
    "save",
]
__version__ = "0.1.0"
