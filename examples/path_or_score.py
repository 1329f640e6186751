"""Two gradients of one expectation, along the path of a draw or by its score (12.13): equal means, unequal variances.

    python examples/path_or_score.py --plot path_or_score.png

One state, one action a = tanh(μ + σε), and a critic Q(a). L = E[ α log π(a) - Q(a) ] has the gradient in (μ, log σ)

    path    E_ε[ ∂(α log π - Q)/∂η with ε held ]               needs ∂Q/∂a: SAC
    score   E_a[ ∇log π(a) ( α log π(a) - Q(a) - b ) ]         needs values alone: REINFORCE, with its best baseline b

All expectations are sums over ε, so nothing is drawn. Var is that of one draw: the trace of its covariance.
What to see: both say the same ∂L/∂μ, up to rounding. Where Q slopes evenly the path has less variance, by far where π
is narrow, as scores are as large as 1/σ. That is no theorem: ripples of height h and frequency k add h to Q and hk to
its slope, which the path feels, and with a high k the score wins. Random networks go both ways.
"""

import cli
import numpy as np

from scratchpg import SquashedGaussian, TwinQ

EPSILON = np.linspace(-9, 9, 1801)[:, None]
WEIGHTS = 0.01 * np.exp(-(EPSILON[:, 0] ** 2) / 2) / np.sqrt(2 * np.pi)  # of E_ε
ALPHA = 0.1


def moments(g):
    """E[∂/∂μ] and the trace of Var[g], of rows (B, 2)."""
    mean = WEIGHTS @ g
    return mean[0], (WEIGHTS @ (g - mean) ** 2).sum()


def compare(mu, log_std, critic):
    """E[∂/∂μ] and Var by the path, then by the score, then the ratio of the two Var; critic(a) is Q and ∂Q/∂a, (B,)."""
    pi = SquashedGaussian(np.tile([mu, log_std], (len(EPSILON), 1)))
    Q, d_Q = critic(pi.action(EPSILON))
    path = ALPHA * pi.d_log_prob(EPSILON) - pi.d_action(EPSILON, d_Q[:, None])
    score = np.concatenate([EPSILON / pi.std, EPSILON**2 - 1], axis=1)  # ∇log π with a held: that of u
    f, square = ALPHA * pi.log_prob(EPSILON) - Q, (score**2).sum(axis=1)
    best = (WEIGHTS * square) @ f / (WEIGHTS @ square)  # the b of the least variance (2.5)
    (mean, var), (by_score, var_score) = moments(path), moments(score * (f - best)[:, None])
    return mean, by_score, var, var_score, var_score / var


def network(rng):
    """The Q of a random network."""
    q, s = TwinQ((2, 16), rng, dtype=float), np.ones((len(EPSILON), 1))

    def critic(a):
        values, caches = q.forward(s, a)
        return values[0], q.d_action(caches, np.stack([np.ones(len(a)), np.zeros(len(a))]), 1)[:, 0]

    return critic


def ripples(k):
    """Q(a) = a + sin(ka)/2."""
    return lambda a: ((a + np.sin(k * a) / 2)[:, 0], (1 + k * np.cos(k * a) / 2)[:, 0])


def main():
    args = cli.study(__doc__)
    rng = np.random.default_rng(args.seed)
    by_ratio = sorted((compare(*rng.normal(0, 0.5, 2), network(rng)) for _ in range(21)), key=lambda row: row[-1])
    rows = [(f"{name} of 21 networks", *by_ratio[i]) for i, name in [(0, "lowest"), (10, "median"), (20, "highest")]]
    rows += [(f"narrow π, σ = {sigma}", *compare(0.3, np.log(sigma), ripples(0))) for sigma in (1.0, 0.1, 0.01)]
    rows += [(f"ripples, k = {k}", *compare(0.3, -0.5, ripples(k))) for k in (0, 4, 16, 64)]
    columns = dict.fromkeys(["∂L/∂μ, path", "by score", "Var path", "Var score", "score / path"], ".4g")
    cli.table(f"One draw of each, α = {ALPHA}", {"Q": ""} | columns, rows)
    cli.figure(args, draw, range(65), panels=1)


def draw(axes, ks):
    for i, label in (2, "path"), (3, "score, with the best baseline"):
        axes.semilogy(ks, [compare(0.3, -0.5, ripples(k))[i] for k in ks], label=label)
    axes.set(title="Q(a) = a + sin(ka)/2", xlabel="k", ylabel="variance of one draw")
    axes.legend()


if __name__ == "__main__":
    main()
