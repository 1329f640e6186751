"""A baseline that was fitted beforehand goes stale as the policy improves; one that learns along keeps up: (2.1), §2.

    python examples/stale_baseline.py --plot stale_baseline.png

REINFORCE with a baseline on CartPole-v1, from the same networks: *separate* fits V_φ (2.3) to 400 episodes of the first
policy and then leaves it alone; *joint* fits it in every update (2.4), from nothing. Now and then both play fresh
episodes: the mean of V_φ(s_t) beside that of G_t, and Var[ĝ] with V_φ over Var[ĝ] without, which V_φ is there to lower.
The steps of the 400 episodes, some 16,000, are not counted.

What to see: the separate V_φ is the better one at first. But it goes on predicting the returns of a policy that is long
gone, and its use wears off; the joint one lags behind the returns, and follows. Both policies learn, as V_φ, however
wrong, adds no bias (2.2), but the separate one, ahead at first, loses its lead.
"""

import cli
import gymnasium as gym
import numpy as np
from finite_sums import estimates, moments

from scratchpg import SoftmaxPolicy, Value, baseline
from scratchpg.optim import Adam
from scratchpg.returns import discounted
from scratchpg.rollout import Collector

GAMMA, RATE, VALUE_RATE = 0.99, 1e-2, 3e-2


def separate(env, policy, value, seed, fitted=400):
    """Fit V_φ to the first policy, then train the policy alone. Yields how many steps it has learned for, from 0 on."""
    collector, N = Collector(env, policy, seed), env.num_envs
    actor, critic = Adam(policy.theta, RATE), Adam(value.theta, VALUE_RATE)
    while collector.episodes < fitted:
        batch = collector.collect_episodes(N)
        states, _, targets = batch.samples(discounted(batch.rewards, GAMMA, batch.ended))
        critic.step(value.mse_gradient(states, targets))
    begin = collector.steps
    while True:
        yield collector.steps - begin
        batch = collector.collect_episodes(N)
        advantages = discounted(batch.rewards, GAMMA, batch.ended) - value(batch.states)[:-1]
        states, actions, weights = batch.samples(GAMMA**batch.t * advantages)
        actor.step(baseline.gradient(policy, states, actions, weights, episodes=N))


def joint(env, policy, value, seed):
    """Train policy and V_φ side by side. Yields how many steps they have learned for, from 0 on."""
    yield 0
    rates = dict(learning_rate=RATE, value_learning_rate=VALUE_RATE)
    for progress in baseline.train(env, policy, value, total_steps=10**9, gamma=GAMMA, **rates, seed=seed):
        yield progress.steps


def look(policy, value, env, seed):
    """In one fresh episode of each environment: the mean return, mean G_t, mean V_φ(s_t), Var[ĝ] with V_φ / without."""
    batch = Collector(env, policy, seed).collect_episodes(env.num_envs)
    G, v = discounted(batch.rewards, GAMMA, batch.ended), value(batch.states)[:-1]
    p, kept = np.ones(env.num_envs), GAMMA**batch.t
    (_, with_v), (_, without) = (moments(estimates(batch, policy, kept * A), p) for A in (G - v, G))
    return batch.rewards.sum() / env.num_envs, G[batch.valid].mean(), v[batch.valid].mean(), with_v / without


def run(way, seed, looks, every, episodes):
    """What `look` finds when the policy has learned for 0, every, 2 every, … steps: (looks, 4)."""
    env, fresh = (gym.make_vec("CartPole-v1", n) for n in (8, episodes))
    policy, value = (network.for_env(env, (32,), seed) for network in (SoftmaxPolicy, Value))
    found = []
    for steps in way(env, policy, value, seed):
        if steps >= len(found) * every:
            found.append(look(policy, value, fresh, 10_000 + seed))
        if len(found) == looks:
            return found


def main():
    args = cli.study(__doc__)
    seeds, looks, every, episodes = (1, 2, 500, 8) if args.smoke else (5, 6, 8_000, 64)
    steps, found = np.arange(looks) * every, {}
    for way in separate, joint:
        runs = [run(way, args.seed + i, looks, every, episodes) for i in range(seeds)]
        found[way.__name__] = np.median(runs, axis=0)
    title = f"CartPole-v1, γ = {GAMMA}: median of the seeds {args.seed} … {args.seed + seeds - 1}"
    columns = {"V_φ": "", "steps learned": ",", "mean return": ".1f", "mean G_t": ".1f", "mean V_φ": ".1f"}
    rows = [(name, *row) for name, table in found.items() for row in zip(steps, *table.T, strict=True)]
    cli.table(f"{title}, {episodes} episodes each", columns | {"Var[ĝ] with V_φ / without": ".2f"}, rows)
    cli.figure(args, draw, steps, found, panels=3)


def draw(panels, steps, found):
    (values, variance, returns), steps = panels, steps / 1000
    for color, (name, table) in zip(("tab:orange", "tab:blue"), found.items(), strict=True):
        values.plot(steps, table[:, 1], "--", color=color, label=f"mean $G_t$, {name}")
        values.plot(steps, table[:, 2], "o-", color=color, label=f"mean $V_φ(s_t)$, {name}")
        variance.plot(steps, table[:, 3], "o-", color=color, label=name)
        returns.plot(steps, table[:, 0], "o-", color=color, label=name)
    values.set(title="what V says, and what comes", ylim=(0, 110))
    variance.set(title="Var[ĝ] with V, over that without", ylim=(0, None))
    returns.set(title="mean return", ylim=(0, None))
    for axes in panels:
        axes.set_xlabel("steps learned, in thousands")
        axes.legend()


if __name__ == "__main__":
    main()
