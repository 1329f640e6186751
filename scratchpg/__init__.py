"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test."""

from . import gradcheck, returns
from .algorithms import a2c, a3c, actor_critic, baseline, mpc, ppo, reinforce
from .dynamics import Dynamics
from .evaluate import evaluate
from .mdp import FiniteMDP
from .mlp import MLP
from .planner import Planner
from .plumbing import Progress
from .plumbing.checkpoint import load, save
from .policy import SoftmaxPolicy
from .softmax import Softmax
from .value import Value

__all__ = [
    "MLP", "Dynamics", "FiniteMDP", "Planner", "Progress", "Softmax", "SoftmaxPolicy", "Value", "a2c", "a3c",
    "actor_critic", "baseline", "evaluate", "gradcheck", "load", "mpc", "ppo", "reinforce", "returns", "save",
]  # fmt: skip
__version__ = "0.1.0"
