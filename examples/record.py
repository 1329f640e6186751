"""Record demonstrations: whole episodes of a saved policy, or of a scripted expert.

    python examples/ppo.py --save cartpole.npz
    python examples/record.py cartpole.npz --episodes 5 --out demonstrations.npz
    python examples/record.py --env MountainCar-v0 --out demonstrations.npz         # the scripted expert

They come back by `scratchpg.demonstrations.load("demonstrations.npz")`.
"""

import argparse
import sys
from contextlib import closing

import cli
from experts import expert_for

from scratchpg import demonstrations, load


def main():
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="of a script's --save (default: the expert of --env)")
    add("--env", metavar="ID", help=f"Gymnasium environment (default: that of FILE, or {cli.DEFAULT_ENV})")
    add("--episodes", metavar="N", type=cli.natural, default=5, help="(default: %(default)s)")
    add("--greedy", action="store_true", help="take the most probable action instead of drawing one")
    add("--seed", metavar="S", type=cli.natural, default=0, help="same seed, same episodes (default: %(default)s)")
    add("--out", metavar="FILE", default="demonstrations.npz", help="what to write (default: %(default)s)")
    add("--smoke", action="store_true", help="one episode, and no file")
    args = parser.parse_args()
    try:
        cli.check_writable(args.out)
        checkpoint = load(args.file) if args.file is not None else None
        env_id = args.env or (checkpoint and checkpoint.env) or cli.DEFAULT_ENV
        with closing(cli.make_env(env_id)) as env:
            if checkpoint is None:
                expert = expert_for(env_id, env)
            elif args.greedy:
                expert = lambda states: checkpoint.policy(states).mode()  # noqa: E731
            else:
                expert = checkpoint.policy
            episodes = 1 if args.smoke else args.episodes
            found = demonstrations.record(expert, env, episodes=episodes, seed=args.seed)
        if not args.smoke:
            found.save(args.out)
        print(f"{len(found.states)} steps of {env_id}, returns from {found.returns.min():g} to {found.returns.max():g}")
    except (*cli.WRONG, RuntimeError) as fault:
        parser.error(" ".join(str(fault).split()))
    except KeyboardInterrupt:
        sys.exit(cli.INTERRUPTED)


if __name__ == "__main__":
    main()
