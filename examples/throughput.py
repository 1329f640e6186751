"""How fast the chapters run, beside the limit: what the environment and the matrix products alone would take.

    python examples/throughput.py                     all of it, about a minute
    python examples/throughput.py --peers             beside it Stable-Baselines3 and PyTorch, which must be installed
    python examples/throughput.py --seconds 5         longer, so steadier
    OPENBLAS_NUM_THREADS=2 python examples/throughput.py --hidden 256     two threads, wider networks

Everything runs in one thread, unless OPENBLAS_NUM_THREADS says otherwise, and in turns, as a machine's speed drifts
within minutes: compare what stands in one line.
"""

import argparse
import ctypes
import importlib.util
import itertools
import platform
import time

import cli
import gymnasium as gym
import numpy as np

from scratchpg import SoftmaxPolicy, Value, a2c, actor_critic, baseline, ppo, reinforce
from scratchpg.optim import Adam
from scratchpg.plumbing.run import get_threads, undisturbed

TD = dict(learning_rate=3e-4, value_learning_rate=3e-3, max_grad_norm=np.inf)
# name: (train, environments (None: a single one), settings, rows of a gradient, times that each row is used)
RUNS = {
    "reinforce, 8 episodes": (reinforce.train, 8, dict(learning_rate=1e-2), 2048, 1),
    "baseline, 8 episodes": (baseline.train, 8, dict(learning_rate=1e-2, value_learning_rate=3e-2), 2048, 1),
    "actor-critic TD, 1": (actor_critic.train, None, TD, 1, 1),
    "a2c, 1 x 5": (a2c.train, None, dict(n_steps=5, learning_rate=2e-3), 5, 1),
    "a2c, 8 x 5": (a2c.train, 8, dict(n_steps=5, learning_rate=2e-3), 40, 1),
    "ppo, 8 x 32, 20 epochs of 256": (ppo.train, 8, dict(n_steps=32, n_epochs=20, batch_size=256), 256, 20),
    "ppo, 64 x 128, 4 epochs of 1024": (ppo.train, 64, dict(n_steps=128, n_epochs=4, batch_size=1024), 1024, 4),
}
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


def training(train, n_envs, settings, hidden):
    """A function that makes one update and returns how many environment steps that took."""
    env = cli.make_env("CartPole-v1", n_envs)
    networks = [SoftmaxPolicy.for_env(env, hidden, rng=0), Value.for_env(env, hidden, rng=1)]
    loop = train(env, *networks[: 1 + (train is not reinforce.train)], total_steps=10**9, seed=0, **settings)
    steps = 0

    def update():
        nonlocal steps
        before, steps = steps, next(loop).steps
        return steps - before

    return update


def bare_environment(n_envs):
    """A function that steps the environment with random actions, as the collector does."""
    env = cli.make_env("CartPole-v1", n_envs)
    env.reset(seed=0)
    actions = itertools.cycle(np.random.default_rng(0).integers(2, size=(10_000, n_envs or 1)))

    def step():
        if n_envs:
            env.step(next(actions))
        else:
            _, _, terminated, truncated, _ = env.step(int(next(actions)[0]))
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


def peer(train, n_envs, settings, hidden):
    """Stable-Baselines3's agent at the same hyperparameters and nets, as a function like `training`'s; or None."""
    import stable_baselines3 as sb3
    from stable_baselines3.common.env_util import make_vec_env

    kind = {a2c.train: sb3.A2C, ppo.train: sb3.PPO}.get(train)
    if kind is None:
        return None
    env, nets = make_vec_env("CartPole-v1", n_envs or 1), {"net_arch": list(hidden)}
    agent = kind("MlpPolicy", env, policy_kwargs=nets, device="cpu", **settings)
    chunk = max(4_000, settings["n_steps"] * (n_envs or 1))

    def learn():
        agent.learn(chunk)
        return chunk

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

    policy, value = SoftmaxPolicy((4, *hidden, 2), rng=0), Value((4, *hidden), rng=0)
    print("\nenvironment steps per second       training  env alone      limit  reached", end="")
    print("      SB3   ratio" if args.peers else "")
    for name, (train, n_envs, settings, rows, passes) in RUNS.items():
        learned = training(train, n_envs, settings, hidden)
        of_policy, of_value = products(policy, rows), products(value, rows)
        act = products(policy, n_envs or 1, backward=False)
        ours, env = rate(learned, args.seconds), bare_rate(bare_environment(n_envs), args.seconds / 2)
        acting = bare_rate(act, args.seconds / 8) * (n_envs or 1)
        networks = 1 + (train is not reinforce.train)
        learning = bare_rate(lambda p=of_policy, v=of_value: p() + v(), args.seconds / 8) / networks * rows / passes
        limit = 1 / (1 / env + 1 / acting + 1 / learning)
        print(f"{name:33}{ours:10,.0f} {env:10,.0f} {limit:10,.0f}   {ours / limit:6.0%}", end="", flush=True)
        if args.peers and (learn := peer(train, n_envs, settings, hidden)):
            theirs = rate(learn, args.seconds)
            ours = (ours + rate(learned, args.seconds)) / 2  # before and after: the speed of the machine drifts
            print(f"{theirs:9,.0f}{ours / theirs:8.1f}", end="")
        print(flush=True)

    peers = "   PyTorch    ratio" if args.peers else ""
    print(f"\n{'one update of PPO, both nets':34}{'µs':>10}{'products':>11}{'ratio':>9}{peers}")
    for B in BATCHES:
        steps = [*ppo_update(B, hidden), *([torch_update(B, hidden)] if args.peers else [])]
        times = [[1e6 / bare_rate(step, args.seconds / 8) for step in steps] for _ in range(5)]
        whole, limit, *torch = np.median(times, axis=0)
        print(f"{f'batch {B}':34}{whole:10,.0f}{limit:11,.0f}{whole / limit:9.2f}", end="")
        print("".join(f"{x:10,.0f}{x / whole:9.1f}" for x in torch), flush=True)


if __name__ == "__main__":
    main()
