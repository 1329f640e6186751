"""Where a clone's mistakes add up, where DAgger mends them, and what demonstrations buy later: (13.4), (13.5), (13.7).

A road of T steps pays 1 a step; action 1 leaves it, and beside it action 0 leads back, if the road can be mended. The
expert stays on the road. All learners err there with probability ε. Beside it the expert never was, and (13.3) says
nothing to a clone: the careless one never comes back, the undecided one does with probability ½. DAgger has asked, and
errs with probability ε there, too. These numbers are exact, by recursion over the states.

What to see: the careless clone loses T², as (13.4) allows; the undecided one does not, by luck alone. DAgger loses T,
as a mistake costs u = 2 here; where nothing can be mended u = T, and it loses as much as the clones. Then A2C (λ = 0)
and RLfD go on with a clone, a table. With large steps λ holds what the clone knows; with small ones it buys nothing. It
can't help where the expert never was: there A2C has to find the action, and on the way J may fall all the same.
"""

import cli
import gymnasium as gym
import numpy as np
from experts import plan

from scratchpg import FiniteMDP, SoftmaxPolicy, Value, demonstrations, imitation, rlfd

EPSILON = 0.01
WEIGHTS = {"0": 1e-30, "1 → 0": (1.0, 0.0), "10 → 1": (10.0, 1.0)}  # λ: with 1e-30 it is A2C, bit for bit
LEARNERS = {"careless clone": 1.0, "undecided clone": 0.5, "DAgger": EPSILON}  # P(action 1) beside the road


def road(steps, mendable):
    """States: on the road, beside it."""
    back = [1.0, 0.0] if mendable else [0.0, 1.0]
    transition = [[[1.0, 0.0], [0.0, 1.0]], [back, [0.0, 1.0]]]
    return FiniteMDP([1.0, 0.0], transition, [[1.0, 0.0], [0.0, 0.0]], horizon=steps)


def table(*p):
    """A policy with these probabilities of action 1, one for each state."""
    p = np.clip(p, 1e-300, 1)  # not 0, which has no logarithm
    logits = np.log([np.maximum(1 - p, 1e-300), p]).T
    return SoftmaxPolicy((2, 2), theta=np.append(logits, np.zeros(2)))


def lost(mdp, policy):
    """J(π*) - J(θ) and its bounds Σ_t (T-t) ε_t of (13.4) and u T ε' of (13.5), γ = 1."""
    expert, T = table(0, 0), mdp.horizon
    V, Q = mdp.values(expert, 1.0)
    wrong = policy(np.eye(2)).probabilities[:, 1]
    cloning = (T - np.arange(T)) @ (mdp.visits(expert) @ wrong)
    dagger = (V[:-1, :, None] - Q).max() * (mdp.visits(policy) @ wrong).sum()
    return mdp.objective(expert, 1.0) - mdp.objective(policy, 1.0), cloning, dagger


def on_the_way(mdp, expert, seed, episodes, learning_rate, demo_coef, total_steps):
    """Exact J of a clone of so many episodes, the lowest while RLfD (A2C, if λ is 0) goes on with it, and the last."""
    demos = demonstrations.record(expert, gym.make("FrozenLake8x8-v1"), episodes=episodes, seed=seed)
    policy, value = SoftmaxPolicy((64, 4), rng=seed), Value((64,), rng=seed)
    imitation.clone(policy, demos.states, demos.actions, learning_rate=(1e-1, 0.0), rng=seed)
    settings = {"n_steps": 16, "ent_coef": 0.01, "gamma": 0.999, "gae_lambda": 0.8, "value_learning_rate": 0.1}
    settings |= {"learning_rate": learning_rate, "demo_coef": demo_coef, "total_steps": total_steps, "seed": seed}
    loop = rlfd.train(gym.make_vec("FrozenLake8x8-v1", 8), policy, value, demos, **settings)
    J = [mdp.objective(policy, 1.0)] + [mdp.objective(policy, 1.0) for _ in loop]
    return J[0], min(J), J[-1]


def main():
    args, found = cli.study(__doc__), {}
    columns = {"T": "d", "lost": ".2f", "Σ(T-t)ε_t": ".2f", "ε T²": ".2f", "u T ε'": ".2f"}
    for mendable in True, False:
        for name, beside in LEARNERS.items():
            rows = found[mendable, name] = []
            for T in (10, 20) if args.smoke else (10, 20, 40, 80, 160):
                loss, cloning, dagger = lost(road(T, mendable), table(EPSILON, beside))
                rows.append((T, loss, cloning, EPSILON * T**2, dagger))
            cli.table(f"{name}, a road that can{'' if mendable else 'not'} be mended", columns, rows)
    cli.figure(args, draw, found)

    env, rows = gym.make("FrozenLake8x8-v1"), []
    mdp, expert = FiniteMDP.from_env(env, horizon=200), plan(env)
    seeds, steps = (1, 500) if args.smoke else (5, 60_000)
    variants = [*((5, rate, weight) for rate in (0.2, 0.02) for weight in WEIGHTS), (1, 0.2, "10 → 1")]
    for episodes, rate, weight in variants[::6] if args.smoke else variants:
        setting = episodes, rate, WEIGHTS[weight], steps
        first, lowest, last = np.transpose([on_the_way(mdp, expert, args.seed + i, *setting) for i in range(seeds)])
        dips = " ".join(f"{dip:.3f}" for dip in first - lowest)
        rows.append((episodes, rate, weight, first.min(), first.max(), last.min(), dips))
    columns = {"demonstrations": "d", "learning rate": "g", "λ": ""}
    columns |= dict.fromkeys(["clone ≥", "clone ≤", "last ≥"], ".3f") | {"lost on the way, of each seed": ""}
    cli.table("FrozenLake8x8-v1, exact J", columns, rows)


def draw(panels, found):
    for (mendable, name), rows in found.items():
        panel = panels[0 if mendable else 1]
        panel.loglog(*np.array(rows)[:, :2].T, "o-", label=name)
        panel.set(title=f"can{'' if mendable else 'not'} be mended", xlabel="T", ylabel="return lost")
    panels[0].legend()


if __name__ == "__main__":
    main()
