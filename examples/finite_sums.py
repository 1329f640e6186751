"""What the studies share: two small problems, and what is expected of an estimate of ∇J as an exact finite sum.

One episode τ gives the estimate ĝ(τ) = Σ_t Ψ_t ∇log π_θ(a_t|s_t), whose weights Ψ tell the method. With all the
trajectories of a problem, `mdp.trajectories(policy)`, and their p(τ) = p(τ|θ)

    E[ĝ] = Σ_τ p(τ) ĝ(τ)        Var[ĝ] = Σ_τ p(τ) |ĝ(τ) - E[ĝ]|²        (the trace of the covariance)

and with K sampled episodes, all p alike, the same sums are what is measured.

Both problems have four states, of which the first is s_0, and two actions, left and right: SoftmaxPolicy((4, 2)).
"""

import numpy as np

from scratchpg import FiniteMDP, SoftmaxPolicy, reinforce

LEFT, RIGHT = 0, 1
JACKPOT = 10.0


def corridor(horizon):
    """Three states in a row, left or right; each step costs 1, leaving the row on the right pays 10 and ends it."""
    transition, reward = np.zeros((4, 2, 4)), -np.ones((4, 2, 4))
    for s in range(3):
        transition[s, LEFT, max(s - 1, 0)] = transition[s, RIGHT, s + 1] = 1
    reward[2, RIGHT, 3] = 10
    return FiniteMDP([1, 0, 0, 0], transition, reward, horizon=horizon, terminal=[False, False, False, True])


def arms():
    """One decision: left pays 1 (state 1), right pays 10 once in twenty times (state 2) and else nothing (state 3)."""
    transition = np.zeros((4, 2, 4))
    transition[0] = [0, 1, 0, 0], [0, 0, 0.05, 0.95]
    reward = np.broadcast_to([0, 1, JACKPOT, 0], transition.shape)
    return FiniteMDP([1, 0, 0, 0], transition, reward, horizon=1, terminal=[False, True, True, True])


def constant_policy(right):
    """π(right|s) the same in every state: all weights are 0, and the biases are log π."""
    return SoftmaxPolicy((4, 2), theta=np.append(np.zeros(8), np.log([1 - right, right])))


def true_values(mdp, policy, batch, gamma):
    """V_t(s_t) and V_{t+1}(s_{t+1}), (T, K) each: with a horizon the true value depends on t."""
    V, _ = mdp.values(policy, gamma)
    v = V[np.arange(mdp.horizon + 1)[:, None], batch.states.argmax(axis=2)]
    return v[:-1], v[1:]


def estimates(batch, policy, weights):
    """ĝ of K episodes side by side, (K, P), from Ψ (T, K): minus the gradient of the loss that training descends."""
    g = []
    for n, valid in enumerate(batch.valid.T):
        episode = batch.states[:-1, n][valid], batch.actions[valid, n], weights[valid, n]
        g.append(-reinforce.gradient(policy, *episode, episodes=1))
    return np.array(g)


def moments(g, p):
    """E[ĝ] (…, P) and Var[ĝ] (…) of estimates ĝ (…, K, P), whose probabilities are in proportion to p (K,)."""
    p = p / p.sum()
    mean = p @ g
    return mean, ((g - mean[..., None, :]) ** 2).sum(axis=-1) @ p
