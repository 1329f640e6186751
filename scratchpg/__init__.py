"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test."""

from . import gradcheck, returns
from .algorithms import a2c, a3c, actor_critic, baseline, dqn, ppo, rainbow, reinforce
from .evaluate import evaluate
from .gaussian import Gaussian
from .mdp import FiniteMDP
from .mlp import MLP
from .plumbing import Progress
from .plumbing.checkpoint import load, save
from .policy import GaussianPolicy, Policy, SoftmaxPolicy
from .q import QNetwork
from .softmax import Softmax
from .value import Value

__all__ = [
    "MLP",
    "FiniteMDP",
    "Gaussian",
    "GaussianPolicy",
    "Policy",
    "Progress",
    "QNetwork",
    "Softmax",
    "SoftmaxPolicy",
    "Value",
    "a2c",
    "a3c",
    "actor_critic",
    "baseline",
    "dqn",
    "evaluate",
    "gradcheck",
    "load",
    "ppo",
    "rainbow",
    "reinforce",
    "returns",
    "save",
]
__version__ = "0.1.0"
