"""How fast the chapters run, beside the limit: what the environment and the matrix products alone would take.

    python examples/throughput.py                                        # all of it, about a minute
    python examples/throughput.py --peers             # beside it Stable-Baselines3 and PyTorch, which must be installed
    python examples/throughput.py --seconds 5                            # longer, so steadier
    OPENBLAS_NUM_THREADS=2 python examples/throughput.py --hidden 256    # two threads, wider networks

Everything runs in one thread, unless OPENBLAS_NUM_THREADS says otherwise, and in turns, as a machine's speed drifts
within minutes: compare what stands in one line. Hopper-v5 is left out where gymnasium[mujoco] is not installed.
"""

import argparse
import ctypes
import importlib.util
import itertools
import platform
import time
from contextlib import closing

import cli
import gymnasium as gym
import numpy as np
from mpc import swing_up

from scratchpg import Dynamics, Planner, Policy, QNetwork, SoftmaxPolicy, Value
from scratchpg.algorithms import a2c, actor_critic, baseline, dqn, ppo, rainbow, reinforce
from scratchpg.optim import Adam
from scratchpg.planner import plan
from scratchpg.plumbing.run import get_threads, undisturbed
from scratchpg.replay import PrioritizedReplay, Replay
from scratchpg.rollout import Batch

TD = dict(learning_rate=3e-4, value_learning_rate=3e-3, max_grad_norm=np.inf)
BOX = dict(n_steps=256, n_epochs=10, batch_size=64)
# environment: {name: (train, how many (None: a single one), settings, rows of a gradient, times that each is used)}
RUNS = {
    "CartPole-v1": {
        "reinforce, 8 episodes": (reinforce.train, 8, dict(learning_rate=1e-2), 2048, 1),
        "baseline, 8 episodes": (baseline.train, 8, dict(learning_rate=1e-2, value_learning_rate=3e-2), 2048, 1),
        "actor-critic TD, 1": (actor_critic.train, None, TD, 1, 1),
        "a2c, 1 x 5": (a2c.train, None, dict(n_steps=5, learning_rate=2e-3), 5, 1),
        "a2c, 8 x 5": (a2c.train, 8, dict(n_steps=5, learning_rate=2e-3), 40, 1),
        "ppo, 8 x 32, 20 epochs of 256": (ppo.train, 8, dict(n_steps=32, n_epochs=20, batch_size=256), 256, 20),
        "ppo, 64 x 128, 4 epochs of 1024": (ppo.train, 64, dict(n_steps=128, n_epochs=4, batch_size=1024), 1024, 4),
    },
    "Pendulum-v1": {"ppo, 4 x 256, 10 epochs of 64": (ppo.train, 4, BOX, 64, 10)},
    "Hopper-v5": {"ppo, 4 x 256, 10 epochs of 64": (ppo.train, 4, BOX, 64, 10)},
}
ALL_SIX = {"dueling": True, "atoms": 51, "v_range": (0.0, 100.0), "noisy": True}
# name: (train, hidden, batch, switches of the network); what SB3 has against all three is its DQN, without a switch
OF_VALUES = {
    "dqn, 64-64, batch 32": (dqn.train, (64, 64), 32, {}),
    "dqn, 256-256, batch 128": (dqn.train, (256, 256), 128, {}),
    "rainbow, all six, 64-64, batch 32": (rainbow.train, (64, 64), 32, ALL_SIX),
}
REPLAYED = dict(train_freq=4, gradient_steps=1, learning_starts=100, buffer_size=100_000, exploration_fraction=1e-6)
STORED = 10_000, 100_000, 1_000_000
PEERS = "stable_baselines3", "torch"
BATCHES = 1, 64, 256, 2048, 16384


def rate(step, seconds):
    """Calls per second of a function, each call counted as what it returns."""
    done, begin = step(), time.perf_counter()
    count = 0
    while (now := time.perf_counter()) < begin + seconds:
        count += step()
    return count / (now - begin) if done else np.nan


def bare_rate(step, seconds):
    """`rate` of what no run of a chapter holds: as in a run, in one thread if no number is chosen."""
    with undisturbed():
        return rate(step, seconds)


def training(env_id, train, n_envs, settings, hidden):
    """A function that makes one update and returns how many environment steps that took."""
    env = cli.make_env(env_id, n_envs)
    networks = [Policy.for_env(env, hidden, rng=0), Value.for_env(env, hidden, rng=1)]
    loop = train(env, *networks[: 1 + (train is not reinforce.train)], total_steps=10**9, seed=0, **settings)
    steps = 0

    def update():
        nonlocal steps
        before, steps = steps, next(loop).steps
        return steps - before

    return update


def training_values(train, hidden, batch_size, switches):
    """The same for a chapter that learns values, from a replay."""
    env = cli.make_env("CartPole-v1", None)
    q = QNetwork.for_env(env, hidden, rng=0, **switches)
    loop = train(env, q, total_steps=10**9, seed=0, batch_size=batch_size, learning_rate=1e-4, **REPLAYED)
    for progress in loop:
        if progress.steps > REPLAYED["learning_starts"]:
            break

    def update():
        next(loop)
        return REPLAYED["train_freq"]

    return update


def replaying(kind, stored):
    """A function that adds 4 transitions to a full replay, learns from 32, and counts as 4 steps; nothing acts."""
    rng, replay = np.random.default_rng(0), kind(stored, n_steps=3)
    q = QNetwork((4, 64, 64, 2), rng)
    optimizer = Adam(q.theta, 1e-4)

    def batch(T):
        states, actions = rng.standard_normal((T + 1, 1, 4)).astype(np.float32), rng.integers(2, size=(T, 1))
        terminated, no, yes = rng.random((T, 1)) < 0.05, np.zeros((T, 1), bool), np.ones((T, 1), bool)
        return Batch(states, actions, np.ones((T, 1)), terminated, no, yes)

    while len(replay) < stored:
        replay.add(batch(1_000))
    new = batch(4)

    def step():
        replay.add(new)
        sample = replay.sample(32, rng)
        targets = sample.rewards + sample.discounts * q(sample.next_states).values.max(axis=1)
        optimizer.step(dqn.gradient(q, sample.states, sample.actions, targets))
        if kind is PrioritizedReplay:
            replay.update(sample.places, targets)
        return 4

    return step


def bare_environment(env_id, n_envs):
    """A function that steps the environment with random actions, as the collector does."""
    env = cli.make_env(env_id, n_envs)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = itertools.cycle([env.action_space.sample() for _ in range(1_000)])

    def step():
        if n_envs:
            env.step(next(actions))
        else:
            _, _, terminated, truncated, _ = env.step(next(actions))
            if terminated or truncated:
                env.reset()
        return n_envs or 1

    return step


def products(network, B, backward=True):
    """A function that makes the matrix products of a forward (and a backward) pass over B rows, and nothing else."""
    _, (_, inputs) = network.net.forward(np.zeros((B, network.net.sizes[0]), np.float32))
    layers = [
        (h, W, np.ones((B, W.shape[1]), np.float32), i)
        for i, (h, (W, _)) in enumerate(zip(inputs, network.net.layers, strict=True))
    ]

    def run():
        for h, W, d, i in layers:
            h @ W
            if backward:
                h.T @ d
                if i:
                    d @ W.T
        return 1

    return run


def ppo_update(B, hidden):
    """A function that makes one gradient step of PPO on policy and value; and one of its matrix products alone."""
    rng = np.random.default_rng(0)
    policy, value = SoftmaxPolicy((4, *hidden, 2), rng), Value((4, *hidden), rng)
    states, actions = rng.standard_normal((B, 4)).astype(np.float32), rng.integers(2, size=B)
    advantages, targets = rng.standard_normal((2, B))
    old_log_prob = policy(states).log_prob(actions)
    actor, critic = (Adam(network.theta, 1e-9, max_grad_norm=0.5) for network in (policy, value))

    def update():
        actor.step(ppo.gradient(policy, states, actions, old_log_prob, advantages))
        critic.step(value.mse_gradient(states, targets))
        return 1

    of_policy, of_value = products(policy, B), products(value, B)

    def alone():
        of_policy()
        return of_value()

    return update, alone


def mpc_plan():
    """A function that finds one plan by models of 64-64; and one of its matrix products alone."""
    env = gym.make("Pendulum-v1")
    planner = Planner(env=env, models=[Dynamics.for_env(env, rng=m) for m in range(3)], reward=swing_up)
    state, rng = env.reset(seed=0)[0], np.random.default_rng(0)
    of_models = [products(model, planner.n_plans, backward=False) for model in planner.models]

    def search():
        plan(planner, state, rng)
        return 1

    def alone():
        for _ in range(planner.n_rounds * planner.horizon):
            for of_model in of_models:
                of_model()
        return 1

    return search, alone


def peer(env_id, train, n_envs, settings, hidden):
    """Stable-Baselines3's agent at the same hyperparameters and nets, as a function like `training`'s; or None."""
    import stable_baselines3 as sb3
    from stable_baselines3.common.env_util import make_vec_env

    kind = {a2c.train: sb3.A2C, ppo.train: sb3.PPO}.get(train)
    if kind is None:
        return None
    env, nets = make_vec_env(env_id, n_envs or 1), {"net_arch": list(hidden)}
    agent = kind("MlpPolicy", env, policy_kwargs=nets, device="cpu", **settings)
    chunk = max(4_000, settings["n_steps"] * (n_envs or 1))

    def learn():
        agent.learn(chunk)
        return chunk

    return learn


def peer_of_values(hidden, batch_size):
    """Stable-Baselines3's DQN at the same hyperparameters, as a function like `training_values`'s."""
    import stable_baselines3 as sb3

    agent = sb3.DQN(
        "MlpPolicy",
        gym.make("CartPole-v1"),
        policy_kwargs={"net_arch": list(hidden)},
        device="cpu",
        batch_size=batch_size,
        learning_rate=1e-4,
        target_update_interval=1_000,  # in steps of the environment; ours is 250 in steps of φ
        **REPLAYED,
    )

    def learn():
        agent.learn(1_000, reset_num_timesteps=False)
        return 1_000

    return learn


def torch_update(B, hidden):
    """The same step as `ppo_update`'s by PyTorch."""
    import torch
    from torch.nn import Linear, Sequential, Tanh

    states, old = torch.randn(B, 4), torch.full((B,), -0.69)
    actions, (advantages, targets) = torch.randint(2, (B, 1)), torch.randn(2, B)
    n, m = hidden
    policy, value = (Sequential(Linear(4, n), Tanh(), Linear(n, m), Tanh(), Linear(m, outputs)) for outputs in (2, 1))
    actor, critic = (torch.optim.Adam(network.parameters(), 1e-9, eps=1e-5) for network in (policy, value))

    def step(network, optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()

    def update():
        ratio = (policy(states).log_softmax(1).gather(1, actions)[:, 0] - old).exp()
        step(policy, actor, -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean())
        step(value, critic, ((value(states)[:, 0] - targets) ** 2).mean())
        return 1

    return update


def blas_kernel():
    """The processor that OpenBLAS has chosen its kernels for; of another BLAS, nothing."""
    library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # the search goes on in the libraries it is linked to
    for name in "scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename":
        if hasattr(library, name):
            corename = ctypes.CFUNCTYPE(ctypes.c_char_p)((name, library))
            return f" ({corename().decode()} kernels)"
    return ""


def about_the_machine(threads, hidden):
    blas = np.show_config("dicts")["Build Dependencies"]["blas"]
    cpu = platform.processor() or platform.machine()
    print(f"{platform.system()} {cpu}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(
        f"{blas['name']} {blas['version']}{blas_kernel()}, {threads} thread(s); Gymnasium {gym.__version__}; ", end=""
    )
    print(f"nets with two hidden layers of {hidden[0]}")


def main():
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure (default: %(default)s)")
    parser.add_argument(
        "--hidden", metavar="N", type=int, default=64, help="width of both layers (default: %(default)s)"
    )
    parser.add_argument("--peers", action="store_true", help="measure Stable-Baselines3 and PyTorch, too")
    parser.add_argument("--smoke", action="store_true", help="the whole path in a few seconds")
    args = parser.parse_args()
    if args.smoke:
        args.seconds = 0.01
    if not 0 < args.seconds < 1e6:
        parser.error(f"--seconds must be a number > 0, not {args.seconds:g}")
    if args.hidden < 1:
        parser.error(f"--hidden must be at least 1, not {args.hidden}")
    if args.peers and not all(map(importlib.util.find_spec, PEERS)):
        parser.error(f"--peers needs {' and '.join(PEERS)}: pip install stable-baselines3")
    cli.keep_memory()  # as cli.main does
    hidden = args.hidden, args.hidden
    with undisturbed():
        threads = get_threads()
    if args.peers:
        importlib.import_module("torch").set_num_threads(threads)
    about_the_machine(threads, hidden)

    print("\nenvironment steps per second       training  env alone      limit  reached", end="")
    print("      SB3   ratio" if args.peers else "")
    for env_id, runs in RUNS.items():
        if env_id == "Hopper-v5" and not importlib.util.find_spec("mujoco"):
            continue
        print(env_id)
        with closing(cli.make_env(env_id)) as env:
            policy, value = Policy.for_env(env, hidden, rng=0), Value.for_env(env, hidden, rng=0)
        for name, (train, n_envs, settings, rows, passes) in runs.items():
            learned = training(env_id, train, n_envs, settings, hidden)
            of_policy, of_value = products(policy, rows), products(value, rows)
            act = products(policy, n_envs or 1, backward=False)
            ours, env = rate(learned, args.seconds), bare_rate(bare_environment(env_id, n_envs), args.seconds / 2)
            acting = bare_rate(act, args.seconds / 8) * (n_envs or 1)
            networks = 1 + (train is not reinforce.train)
            learning = bare_rate(lambda p=of_policy, v=of_value: p() + v(), args.seconds / 8) / networks * rows / passes
            limit = 1 / (1 / env + 1 / acting + 1 / learning)
            print(f"{name:33}{ours:10,.0f} {env:10,.0f} {limit:10,.0f}   {ours / limit:6.0%}", end="", flush=True)
            if args.peers and (learn := peer(env_id, train, n_envs, settings, hidden)):
                theirs = rate(learn, args.seconds)
                ours = (ours + rate(learned, args.seconds)) / 2  # before and after: the speed of the machine drifts
                print(f"{theirs:9,.0f}{ours / theirs:8.1f}", end="")
            print(flush=True)

    print(f"\n{'from a replay, steps per second':33}  training", end="")
    print("  SB3's DQN   ratio" if args.peers else "")
    for name, (train, sizes, batch_size, switches) in OF_VALUES.items():
        learned = training_values(train, sizes, batch_size, switches)
        ours = rate(learned, args.seconds)
        print(f"{name:33}{ours:10,.0f}", end="", flush=True)
        if args.peers:
            theirs = rate(peer_of_values(sizes, batch_size), args.seconds)
            ours = (ours + rate(learned, args.seconds)) / 2
            print(f"{theirs:11,.0f}{ours / theirs:8.1f}", end="")
        print(flush=True)

    print(f"\n{'µs per step, without acting':33}{'':2}", *(f"{stored:>11,} stored" for stored in STORED))
    for kind in Replay, PrioritizedReplay:
        steps = [replaying(kind, 1_000 if args.smoke else stored) for stored in STORED]
        times = [[1e6 / bare_rate(step, args.seconds / 8) for step in steps] for _ in range(5)]
        print(f"{kind.__name__:35}", *(f"{x:18.1f}" for x in np.median(times, axis=0)), flush=True)

    peers = "   PyTorch    ratio" if args.peers else ""
    print(f"\n{'one update of PPO, both nets':34}{'µs':>10}{'products':>11}{'ratio':>9}{peers}")
    for B in (*BATCHES, None):
        steps = [*ppo_update(B, hidden), *([torch_update(B, hidden)] if args.peers else [])] if B else mpc_plan()
        times = [[1e6 / bare_rate(step, args.seconds / 8) for step in steps] for _ in range(5)]
        whole, limit, *torch = np.median(times, axis=0)
        name = f"batch {B}" if B else "one plan of MPC, 3 nets of 64-64"
        print(f"{name:34}{whole:10,.0f}{limit:11,.0f}{whole / limit:9.2f}", end="")
        print("".join(f"{x:10,.0f}{x / whole:9.1f}" for x in torch), flush=True)


if __name__ == "__main__":
    main()
