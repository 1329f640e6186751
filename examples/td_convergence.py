"""Does TD converge? Its error is computed here, not sampled, for one step size after another; and the deadly triad.

    python examples/td_convergence.py --plot td_convergence.png

A table of three states: s is drawn from d = (1/3, 1/3, 1/3), s' from P. With e_k = V_k - V_π and z_k = (e_k, 1):

    (3.9)  V_{k+1}(s) = V_k(s) + α_k δ_k,  the other states unchanged
    (3.10) e_{k+1} = (I + α_k M) e_k + α_k ξ 1_s,   M = 1_s (γ 1_{s'} - 1_s)ᵀ,   ξ = r + γ V_π(s') - V_π(s)

so E[z zᵀ] after a step is linear in E[z zᵀ] before it. Then features, V = X w, and states that come up as d says:

    (3.11) E[Δw] = α (b + A w),  A = Xᵀ D (γ P - I) X:  for small α it converges if all Re λ(A) < 0
    (3.12) V = (w, 2w), r = 0, both states lead to the second, both are updated equally often:  A = (6γ - 5)/2

What to see: α_k = ½ (1 + k/τ)^-ω. A constant step size leaves a floor of noise. For 0 < ω < 1 the error falls like
k^(-ω/2), also where Σα² = ∞; for ω = 1 like k^(-1/2), or slower if ατ is small; for ω > 1 the steps end before the
error does. The three of the triad diverge for γ > 5/6, though w = 0 is exact; any two converge for every γ < 1.
"""

import cli
import numpy as np

GAMMA, ALPHA = 0.8, 0.5
OMEGA, TAU = np.array([0, 0.3, 0.7, 1, 1, 1.5]), np.array([200, 200, 200, 200, 10, 10])
THEORY = [0, -0.15, -0.35, -0.5, -ALPHA * 10 * (1 - GAMMA) / 3, 0]  # the exponent; (1 - γ)/3 is the least -Re λ(A)
TRIAD = "all three", "no bootstrapping: G_t", "no features: a table", "no off-policy data"


def generators(P, r, V, d, gamma):
    """(3.10)  G_1, G_2 of E[z zᵀ] ← (I + α G_1 + α² G_2) E[z zᵀ], which is flat. In a step z ← (I + α N) z with
    N = (M, ξ 1_s; 0, 0), so that z zᵀ is multiplied by the Kronecker product of I + α N with itself."""
    unit = np.eye(len(d) + 1)
    G = np.zeros((2, unit.size, unit.size))
    for s, next_s in np.argwhere(P > 0):
        xi = r[s, next_s] + gamma * V[next_s] - V[s]
        N = np.outer(unit[s], gamma * unit[next_s] - unit[s] + xi * unit[-1])
        G += d[s] * P[s, next_s] * np.array([np.kron(N, unit) + np.kron(unit, N), np.kron(N, N)])
    return G


def root_mean_square(G, e, alphas):
    """√E|e_k|², (K, schedules), from e_0 = e (S,) on, by step sizes α_k (K, schedules)."""
    z, diagonal = np.append(e, 1.0), np.arange(len(e)) * (len(e) + 2)
    u = np.tile(np.outer(z, z).reshape(-1, 1), alphas.shape[1])
    squares = []
    for alpha in alphas:
        squares.append(u[diagonal].sum(axis=0))
        u = u + alpha * (G[0] @ u) + alpha**2 * (G[1] @ u)
    return np.sqrt(squares)


def linear(P, r, gamma, d, X):
    """(3.11)  A = Xᵀ D (γ P - I) X and b = Xᵀ D r, where r (S,) are the mean rewards."""
    return (X.T * d) @ (gamma * P - np.eye(len(d))) @ X, (X.T * d) @ r


def triad(gamma):
    """(3.12)  max Re λ(A) of each of TRIAD. With G_t for a target it is TD with γ = 0, whose rewards are V_π."""
    P, X, both, second = np.array([[0, 1], [0, 1]]), np.array([[1], [2]]), [0.5, 0.5], [0, 1]
    ways = (gamma, both, X), (0.0, both, X), (gamma, both, np.eye(2)), (gamma, second, X)
    return [np.linalg.eigvals(linear(P, np.zeros(2), *way)[0]).real.max() for way in ways]


def main():
    args = cli.study(__doc__)
    rng, last = np.random.default_rng(args.seed), 1_000 if args.smoke else 100_000
    P, r = rng.dirichlet(np.ones(3), 3), rng.normal(size=(3, 3))
    V = np.linalg.solve(np.eye(3) - GAMMA * P, (P * r).sum(axis=1))
    alphas = ALPHA * (1 + np.arange(last + 1)[:, None] / TAU) ** -OMEGA
    errors = root_mean_square(generators(P, r, V, np.full(3, 1 / 3), GAMMA), -V, alphas)
    looks, measured = [0, last // 100, last // 10, last], np.log10(errors[last] / errors[last // 10])
    columns = {"ω": "g", "τ": "d"} | {f"k = {k:,}": ".4f" for k in looks} | {"exponent": ".3f", "theory": ".3f"}
    cli.table(f"√E|e_k|² for γ = {GAMMA}", columns, zip(OMEGA, TAU, *errors[looks], measured, THEORY, strict=True))
    rows = [(gamma, *(x := triad(gamma)), (1 + 0.1 * x[0]) ** 100) for gamma in (0.5, 0.8, 5 / 6, 0.9, 0.99)]
    columns = {"γ": ".3f"} | dict.fromkeys(TRIAD, ".3f") | {"E[w] of all three": ".3g"}
    cli.table("the largest Re λ(A); and E[w] after 100 updates with α = 0.1, from w = 1", columns, rows)
    cli.figure(args, draw, errors)


def draw(panels, errors):
    panels[0].legend(panels[0].loglog(errors), [f"ω = {x:g}, τ = {tau}" for x, tau in zip(OMEGA, TAU, strict=True)])
    panels[0].set(title="a table: √E|e_k|²", xlabel="updates k", xlim=(1, None))
    gammas = np.linspace(0, 1, 61)
    panels[1].legend(panels[1].plot(gammas, [triad(gamma) for gamma in gammas]), TRIAD)
    panels[1].axhline(0, color="k", linewidth=0.8)
    panels[1].set(title="the largest Re λ(A): above 0 it diverges", xlabel="γ")


if __name__ == "__main__":
    main()
