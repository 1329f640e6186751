"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test."""

from . import gradcheck, returns
from .algorithms import a2c, a3c, actor_critic, baseline, ppo, reinforce
from .evaluate import evaluate
from .gaussian import Gaussian
from .mdp import FiniteMDP
from .mlp import MLP
from .plumbing import Progress
from .plumbing.checkpoint import load, save
from .policy import GaussianPolicy, Policy, SoftmaxPolicy
from .softmax import Softmax
from .value import Value

__all__ = [
    "MLP", "FiniteMDP", "Gaussian", "GaussianPolicy", "Policy", "Progress", "Softmax", "SoftmaxPolicy", "Value", "a2c",
    "a3c", "actor_critic", "baseline", "evaluate", "gradcheck", "load", "ppo", "reinforce", "returns", "save",
]  # fmt: skip
__version__ = "0.1.0"
