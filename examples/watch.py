"""A policy at play, on the screen or in a file: one that a script has saved, or for comparison an untrained one.

    python examples/ppo.py --save cartpole.npz && python examples/watch.py cartpole.npz
    python examples/watch.py cartpole.npz --greedy --episodes 1 --out cartpole.gif
    python examples/watch.py --env Acrobot-v1                                              # before any training

The screen needs pygame (gymnasium[classic-control]), a GIF also Pillow (scratchpg[plot]) and an MP4 imageio[ffmpeg].
"""

import argparse
import os
import sys
from contextlib import closing
from pathlib import Path

import cli
import gymnasium as gym

from scratchpg import Policy, load
from scratchpg.rollout import Collector


def closed():
    """Has somebody closed the window? It is one of pygame's, in most environments."""
    pygame = sys.modules.get("pygame")
    return pygame and pygame.display.get_init() and pygame.event.peek(pygame.QUIT)


def play(env, policy, args):
    """Play the episodes and tell their returns. For --out, yields a picture at the beginning and after each step."""
    collector = Collector(env, policy, args.seed, greedy=args.greedy)
    yield args.out and env.render()  # on the screen, the environment draws itself
    for episode in range(args.episodes):
        while collector.episodes == episode:
            collector.collect(1)
            if closed():
                return
            yield args.out and env.render()
        print(f"episode {episode + 1}: return {collector.returns[-1]:g}", flush=True)


def write(path, frames, fps):
    """A GIF or an MP4, frame by frame: all of them at once would be a gigabyte soon."""
    if path.suffix.lower() == ".gif":
        try:
            from PIL import Image
        except ImportError:
            raise ImportError('a .gif needs Pillow: pip install "scratchpg[plot]"') from None
        # an octree finds the 256 colours of a picture four times as fast as Pillow's default
        images = (Image.fromarray(frame).quantize(method=Image.Quantize.FASTOCTREE) for frame in frames)
        with path.open("wb") as file:
            next(images).save(file, "GIF", save_all=True, append_images=images, duration=1000 / fps, loop=0)
    else:
        try:
            import imageio_ffmpeg  # noqa: F401 - what imageio writes an MP4 with
            from imageio import get_writer
        except ImportError:
            raise ImportError('an .mp4 needs imageio: pip install "imageio[ffmpeg]"') from None
        with get_writer(path, fps=fps, macro_block_size=2) as writer:
            for frame in frames:
                writer.append_data(frame)


def main():
    parser = cli.Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", help="of a script's --save (default: an untrained policy)")
    cli.add_environment(parser, f"that of FILE, or {cli.DEFAULT_ENV}")
    add("--episodes", metavar="N", type=cli.natural, default=3, help="(default: %(default)s)")
    add("--greedy", action="store_true", help="take the most probable action instead of drawing one")
    add("--seed", metavar="S", type=cli.natural, default=0, help="same seed, same episodes (default: %(default)s)")
    add("--out", metavar="FILE", type=Path, help="write a .gif or an .mp4 instead of showing it")
    add("--smoke", action="store_true", help="one episode, without a picture of it")
    args = parser.parse_args()
    cli.hear_sigterm()  # else the window's library would hear it, and wait for somebody to ask
    try:
        if args.out:
            if args.out.suffix.lower() not in (".gif", ".mp4"):
                raise ValueError(f"can't write {args.out}: its ending must be .gif or .mp4")
            cli.check_writable(str(args.out))
        if args.smoke:
            args.episodes, args.out = 1, None
        loaded = load(args.file) if args.file is not None else cli.NOTHING
        env_id, env_args = cli.chosen(args, loaded, cli.DEFAULT_ENV)
        mode = {} if args.smoke else {"render_mode": "rgb_array" if args.out else "human"}
        with closing(cli.make_env(env_id, **mode, **cli.arguments(env_id, env_args))) as env:
            policy = loaded.policy or Policy.for_env(env, rng=args.seed)
            frames = play(env, policy, args)
            if args.out:
                part = args.out.with_stem(f"{args.out.stem}.{os.getpid()}")  # until it is whole, what stood there stays
                try:
                    write(part, frames, env.metadata.get("render_fps") or 30)
                    part.replace(args.out)
                finally:
                    part.unlink(missing_ok=True)
            for _ in frames:  # what no file has asked for
                pass
    except (TypeError, ValueError, OSError, RuntimeError, ImportError, gym.error.Error) as error:
        parser.error(" ".join(str(error).split()))
    except cli.Terminated:
        sys.exit(cli.TERMINATED)
    except KeyboardInterrupt:
        sys.exit(cli.INTERRUPTED)


if __name__ == "__main__":
    main()
