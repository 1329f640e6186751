"""Two traps of continuous actions: scores at the clipped action (8.8), and ratios of wide densities (8.7).

    python examples/clipped_actions.py --plot clipped_actions.png

A bandit pays r(a) = 1 + a for a in [-1, 1] and clips what lies beyond. π = N(μ, σ²), so ∇J is an integral, taken on the
pieces between the bounds: exactly, and by the score at the action as drawn or at the one that the bandit got.

What to see: at the drawn action E[score · r] is the derivative of J. At the clipped one it is not, as soon as actions
are clipped: that score has not the mean 0, so the bias even depends on what is added to all rewards. Here it drives μ
back from the bound where J still grows. And a policy √2 times as wide as the one that drew the actions has ratios of
infinite variance; in many dimensions it is large long before. That is one reason why PPO clips its ratio.
"""

import cli
import numpy as np

from scratchpg import Gaussian

LOW, HIGH, SIGMA = -1.0, 1.0, 0.5


def reward(a):
    """r(clip(a)), (B,)."""
    return 1 + np.clip(a, LOW, HIGH)[:, 0]


def gradients(mu):
    """μ, P(clipped), ∂J/∂μ exactly, E[score · r] at the drawn and at the clipped action, E[score] at the latter."""
    x, w = np.polynomial.legendre.leggauss(80)
    ends = np.sort([mu - 12 * SIGMA, LOW, HIGH, mu + 12 * SIGMA])
    middle, half = (ends[1:] + ends[:-1]) / 2, (ends[1:] - ends[:-1]) / 2
    a = (middle[:, None] + half[:, None] * x).reshape(-1, 1)
    clipped = np.clip(a, LOW, HIGH)
    pi = Gaussian(np.tile([mu, np.log(SIGMA)], (len(a), 1)))
    p = np.outer(half, w).ravel() * np.exp(pi.log_prob(a))
    inside = p @ (a == clipped)[:, 0]  # there dr/dμ = 1 along a = μ + σz, elsewhere 0: it is ∂J/∂μ as well
    score, wrong = pi.d_log_prob(a)[:, 0], pi.d_log_prob(clipped)[:, 0]
    return mu, 1 - inside, inside, p @ (score * reward(a)), p @ (wrong * reward(a)), p @ wrong


def ratios(width, n, rng, epsilon=0.2):
    """σ/σ_old, Var[r] by (8.7) for d = 1, as measured by n draws, and for d = 6; the share of draws beyond 1 ± ε."""
    old, new = (Gaussian(np.tile([0.0, np.log(sigma)], (n, 1))) for sigma in (1.0, width))
    a = old.sample(rng)
    r = np.exp(new.log_prob(a) - old.log_prob(a))
    square = 1 / (width * np.sqrt(2 - width**2)) if width**2 < 2 else np.inf  # E[r²] of one dimension
    return width, square - 1, r.var(), square**6 - 1, np.mean(abs(r - 1) > epsilon)


def main():
    args = cli.study(__doc__)
    columns = ["μ", "P(clipped)", "∂J/∂μ", "score at a", "score at clip(a)", "its mean"]
    rows = map(gradients, [-0.5, 0.5, 1.0, 1.5, 2.0])
    cli.table(f"∂J/∂μ for σ = {SIGMA}, exactly and as E[score · r]", dict.fromkeys(columns, ".4f"), rows)
    n, rng = 10_000 if args.smoke else 1_000_000, np.random.default_rng(args.seed)
    columns = ["σ/σ_old", "Var[r], d = 1", "measured", "Var[r], d = 6", "|r-1| > 0.2"]
    rows = [ratios(width, n, rng) for width in (1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5)]
    cli.table("The ratio of two Gaussians of one mean", dict.fromkeys(columns, ".3f"), rows)
    cli.figure(args, draw)


def draw(panels):
    mus, _, exact, _, wrong, _ = zip(*map(gradients, np.linspace(-2.5, 2.5, 101)), strict=True)
    panels[0].plot(mus, exact, label="∂J/∂μ = E[score at a · r]")
    panels[0].plot(mus, wrong, label="E[score at clip(a) · r]")
    panels[0].set(title=f"r = 1 + clip(a), σ = {SIGMA}", xlabel="μ")
    widths = np.linspace(0.6, 1.41, 100)
    for d in 1, 6:
        panels[1].semilogy(widths, (widths * np.sqrt(2 - widths**2)) ** -d - 1, label=f"d = {d}")
    panels[1].set(title="the variance of the ratio", xlabel="σ/σ_old", ylabel="Var[r]")
    for axes in panels:
        axes.legend()


if __name__ == "__main__":
    main()
