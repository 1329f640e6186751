"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test.

The notation of docstrings, code and derivation (algorithms/README.md); § is a chapter of the latter:

    s_t, a_t, r_t; s'  state, action, and the reward after that action; the next state
    τ                  an episode s_0, a_0, r_0, s_1, …; in §11, §12 the rate of the target network, `tau`
    R(τ), G_t          the return Σ_t γ^t r_t of an episode; the return from step t on
    J(θ), L            the expected return, to be maximised; a loss, to be minimised
    θ, φ               the parameters of the policy; of a value, Q or model. Each is one flat array, `theta`
    π_θ(a|s)           the policy: the probability, or density, of an action
    V, Q, A_t          the value of a state, of an action in a state; the advantage, about Q - V
    Ψ_t                the weight of the score ∇log π_θ(a_t|s_t)
    δ_t, δ             the TD error; in §9 δ is the bound of the KL, `target_kl`
    γ                  the discount, `gamma`
    λ                  of GAE, `gae_lambda`; in §9 the damping, in §13 the weight of demonstrations
    ε                  of the clip, `clip_range`; in §11, §12 also a noise; in §11, §13 also a probability
    β                  the weight of the entropy bonus, `ent_coef`; in §10 of a KL; in §11 an exponent
    α                  a step size; in §12 the temperature, `ent_coef`
    η                  the learning rate; in §8, §9, §12 the parameters of a distribution
    r_t(θ)             the ratio π_θ/π_θold of an action, never a reward
    μ, σ               mean and deviation
    H                  the entropy of a distribution; as a number of steps, the horizon
    KL(π ‖ q)          how far q is from π: E_π[log π - log q]
    F, M               Fisher matrices, in θ and in η; in §14 M is the number of elites
    ĝ                  an estimate of ∇J; other hats are estimates, too
    Q̄, φ̄               the target network, a copy that lags behind
    Q*, π*, a*         the best; in §13 the expert's
    T, N               rows and environments of a batch; in a sum T is the last step, in (1.11) N counts episodes
    B, P               rows of a batch laid flat; parameters of a network
    A, d, K            how many actions there are; numbers an action has; parameters a distribution has
    mean_t             the mean over the rows of a batch
    1[…], ⊙            1 if true, else 0; product element by element
"""

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
