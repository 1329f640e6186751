"""How far does one step move the policy? Vanilla, PPO and TRPO at the same promised gain; and A, drawn: (9.1) to (9.8).

    python examples/trust_region.py --plot trust_region.png

Three bandits of four actions each, met with probabilities 0.6, 0.1 and 0.3, and a policy that is almost certain in the
first. All is exact: g = ∇J, F, J and D are sums. A step Δθ promises the gain gᵀΔθ. Vanilla and TRPO are scaled to the
same promise; PPO takes the vanilla step in 50 small ones, clipped at 1 ± 0.2.

What to see: no direction has less KL for its promise than TRPO's, and of a large promise it keeps the most. ½xᵀFx says
the KL beforehand, but only of small steps, so the line search measures it. PPO stops where the clip is reached,
whatever was promised. In the second table F⁺∇J moves the logits of each state by A(s,·), up to a shift, however rare
the state and however unlikely the action; ∇J hardly moves them there.
"""

import cli
import numpy as np

from scratchpg import FiniteMDP, SoftmaxPolicy, ppo, trpo
from scratchpg.optim import conjugate_gradient

VISITS, LOGITS = [6, 1, 3], [[6.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
STATES, EPSILON, SMALL_STEPS = np.repeat(np.eye(3), VISITS, axis=0), 0.2, 50


def problem(seed):
    """The bandits, and the policy with these logits."""
    Q = np.random.default_rng(seed).standard_normal((3, 4))
    mdp = FiniteMDP(STATES.mean(axis=0), np.tile(np.eye(3)[:, None], (1, 4, 1)), Q, horizon=1)
    return mdp, SoftmaxPolicy((3, 4), theta=np.append(np.ravel(LOGITS), np.zeros(4))), Q


def natural_gradient(policy, g):
    """(9.5) with λ = 0: F⁺g."""
    pi = policy(STATES)
    return conjugate_gradient(lambda v: trpo.fisher_product(policy, pi, v), g, 4 * len(g), tolerance=1e-24)


def clipped_steps(policy, A, learning_rate):
    """PPO's Δθ: small steps by (6.3), on every action of every state, weighted by its probability."""
    pi, new = policy(STATES), SoftmaxPolicy(policy.sizes, theta=policy.theta.copy())
    rows, actions = np.repeat(STATES, 4, axis=0), np.tile(np.arange(4), len(STATES))
    weights = (pi.probabilities * (STATES @ A)).ravel() * 4  # a mean over 4 actions stands for their sum
    for _ in range(SMALL_STEPS):
        old = pi.log_probabilities.ravel()
        new.theta -= learning_rate * ppo.gradient(new, rows, actions, old, weights, clip_range=EPSILON)
    return new.theta - policy.theta


def moved(mdp, policy, step):
    """KL(π ‖ π') and J(π') - J(π)."""
    new = SoftmaxPolicy(policy.sizes, theta=policy.theta + step)
    return policy(STATES).kl(new(STATES)).mean(), mdp.objective(new, 1.0) - mdp.objective(policy, 1.0)


def main():
    args = cli.study(__doc__)
    mdp, policy, Q = problem(args.seed)
    pi, g = policy(np.eye(3)), mdp.gradient(policy, 1.0)
    A, x = Q - (pi.probabilities * Q).sum(axis=1, keepdims=True), natural_gradient(policy, g)
    rows = []
    for promise in np.geomspace(1e-3, 1.0, 4 if args.smoke else 13):
        steps = promise / (g @ g) * g, clipped_steps(policy, A, promise / (g @ g) / SMALL_STEPS), promise / (g @ x) * x
        rows.append([promise, *(number for step in steps for number in moved(mdp, policy, step))])
        rows[-1].append((promise / (g @ x)) ** 2 * (x @ g) / 2)  # ½xᵀFx of TRPO's step, as Fx = g
    ways = "vanilla", f"PPO, {SMALL_STEPS} steps", "TRPO"
    columns = {"promised gain": ".3g"} | {f"{way}: {what}": ".2g" for way in ways for what in ("KL", "gain")}
    cli.table("What a step does", columns | {"TRPO: ½xᵀFx": ".2g"}, rows)
    moves = [policy.jvp(pi, v) for v in (x, g)]
    natural, plain = (v - v.mean(axis=1, keepdims=True) for v in moves)
    parts = STATES.mean(axis=0).repeat(4), pi.probabilities.ravel(), (A - A.mean(axis=1, keepdims=True)).ravel()
    columns = {"d(s)": ".1f", "π(a|s)": ".4f", "A(s,a)": ".4f", "F⁺∇J": ".4f", "∇J": ".4f"}
    title = "(9.8) how the logits move along each gradient; these and A less their mean over actions"
    cli.table(title, columns, zip(*parts, natural.ravel(), plain.ravel(), strict=True))
    cli.figure(args, draw, np.array(rows), ways)


def draw(panels, rows, ways):
    for i, way in enumerate(ways):
        panels[0].loglog(rows[:, 0], np.maximum(rows[:, 1 + 2 * i], 1e-12), "o-", label=way)
        panels[1].semilogx(rows[:, 0], rows[:, 2 + 2 * i], "o-", label=way)
    panels[0].loglog(rows[:, 0], rows[:, 7], "k:", label="½xᵀFx of TRPO's step")
    panels[0].set(xlabel="promised gain gᵀΔθ", ylabel="KL(π ‖ π')", title="how far π moved")
    panels[1].semilogx(rows[:, 0], rows[:, 0], "k:", label="as promised")
    panels[1].set(xlabel="promised gain gᵀΔθ", ylabel="J(π') - J(π)", title="what it gained")
    panels[0].legend()


if __name__ == "__main__":
    main()
