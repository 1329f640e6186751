"""scratchpg: policy-gradient learning from scratch, in NumPy, with every equation executed by a test.

The notation of docstrings, code and derivation (algorithms/README.md); § is a chapter of the latter:

    s_t, a_t, r_t; s'  state, action, and the reward after that action; the next state
    τ                  an episode s_0, a_0, r_0, s_1, …; in §11, §12 the rate of the target network, `tau`
    R(τ), G_t          the return Σ_t γ^t r_t of an episode; the return from step t on
    J(θ), L            the expected return, to be maximised; a loss, to be minimised
    θ, φ               the parameters of the policy; of a value, Q or model. Each is one flat array, `theta`
    ∇                  the gradient in the parameters, θ or φ; with an index, in what stands there
    π_θ(a|s)           the policy: the probability, or density, of an action
    V, Q, A_t          the value of a state, of an action in a state; the advantage, about Q - V
    Ψ_t                the weight of the score ∇log π_θ(a_t|s_t)
    δ_t, δ             the TD error; in §9 δ is the bound of the KL, `target_kl`
    γ                  the discount, `gamma`
    λ                  of GAE, `gae_lambda`; in §9 the damping, in §13 the weight of demonstrations
    ε                  of the clip, `clip_range`, or `eps` of Adam; in §11, §12 a noise; in §11, §13 a probability
    β                  the weight of the entropy bonus, `ent_coef`; in §10 of a KL; in §11 an exponent
    α                  a step size; in §9 what shortens a step; in §12 the temperature, `ent_coef`
    η                  the learning rate; in §8, §9, §12 the parameters of a distribution
    r_t(θ)             the ratio π_θ/π_θold of an action, never a reward; in §6, §9, §10 also r_t, before an A
    μ, σ               mean and deviation
    H, H̄               the entropy of a distribution, or, as a number of steps, the horizon; the entropy wanted
    KL(π ‖ q)          how far q is from π: E_π[log π - log q]
    F, M               Fisher matrices, in θ and in η; M is in (3.10) the matrix of a step, in §14 the number of elites
    ĝ                  an estimate of ∇J; other hats are estimates, too
    Q̄, φ̄               the target network, a copy that lags behind
    Q*, π*, a*         the best; in §13 the expert's
    x'                 a prime: the next one (s', a'), or another one (θ', π', μ')
    T                  rows of a batch in time; in a sum the last step; in §13 how many steps an episode has
    N                  environments of a batch; episodes (1.11); transitions (11.9); atoms (11.11); N(μ, σ²) is normal
    B, P               rows of a batch laid flat; parameters of a network. P(…), P_π and P̂ are probabilities
    A, d, K            how many actions, in (3.11) a matrix; numbers in an action; parameters of a distribution
    mean_t             the mean over the rows of a batch
    1[…], 1_s, ⊙       1 if true, else 0; the vector that is 1 at s, else 0; product element by element

Letters whose meaning changes from section to section, or that belong to one:

    b                  the biases of a layer; in (3.11) a vector; in §11 an action
    d_t(s)             the probability of s_t = s: by the policy, in (13.3) by the expert, with a hat in the model
    D                  in (3.11) how often each state is updated; in §9 the mean KL from the old policy; in §13 the data
    e                  in §3 the error V - V_π; in (11.6) an error of Q; in (11.14) a draw of noise
    f                  in (8.7) any function; in (11.14) what shapes the noise; in §14 the network of the model
    g                  in §2 a score; in §5, §11 a gradient to step against; in §9 one to step along, -∇L
    G, R_i             in §10 how many episodes a group has, and the return of episode i
    i, j               numbers of dimensions, episodes, transitions, atoms, critics or plans; in §9 j counts tries
    J_t                in §9 the derivatives ∂η/∂θ at s_t, a matrix; no objective
    k                  how many steps later; in §3 counts updates; in (10.4) the episodes of reward 1
    m                  in §11 how many steps ahead, and m_i the mass of an atom; in §14 the number of a model
    n                  how many steps ahead; in (1.11) the number of an episode; in §14 of visits; in §15 of results
    p                  a probability; in (10.4) that of reward 1, in (11.11) of an atom; in (11.8) a priority
    q                  the second distribution of a KL; in §14 that of the plans; in §15 a quantile
    u                  in §12 an action before the tanh; in §13 what a mistake costs at most
    v, x               in §9 any direction in θ, and the one that is taken; in §15 x are results
    w                  the weight of a row, in §10 of an episode; in (3.11) the parameters of V, in (11.14) those of Q
    y                  in §11, §12 the target of Q; in the code of networks an output
    z                  logits; in §8 the noise (a - μ)/σ; in §11 the atoms
    Δ                  a change; in §8 log σ - log σ'; in §11 Δz is the distance of two atoms
    ω                  an exponent: in §3 of the step size, in §11 of the priorities
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
