"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test."""

from . import gradcheck, returns
from .algorithms import (
    a2c,
    a3c,
    actor_critic,
    baseline,
    dqn,
    grpo,
    imitation,
    mpc,
    ppo,
    rainbow,
    reinforce,
    rlfd,
    sac,
    trpo,
)
from .demonstrations import Demonstrations
from .dynamics import Dynamics
from .evaluate import evaluate
from .gaussian import Gaussian
from .mdp import FiniteMDP
from .mlp import MLP
from .planner import Planner
from .plumbing import Progress
from .plumbing.checkpoint import load, save
from .policy import GaussianPolicy, Policy, SoftmaxPolicy
from .q import QNetwork, TwinQ
from .softmax import Softmax
from .squashed import SquashedGaussian, SquashedGaussianPolicy
from .value import Value

__all__ = [
    "MLP",
    "Demonstrations",
    "Dynamics",
    "FiniteMDP",
    "Gaussian",
    "GaussianPolicy",
    "Planner",
    "Policy",
    "Progress",
    "QNetwork",
    "Softmax",
    "SoftmaxPolicy",
    "SquashedGaussian",
    "SquashedGaussianPolicy",
    "TwinQ",
    "Value",
    "a2c",
    "a3c",
    "actor_critic",
    "baseline",
    "dqn",
    "evaluate",
    "gradcheck",
    "grpo",
    "imitation",
    "load",
    "mpc",
    "ppo",
    "rainbow",
    "reinforce",
    "returns",
    "rlfd",
    "sac",
    "save",
    "trpo",
]
__version__ = "0.1.0"
