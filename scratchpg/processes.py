"""Worker processes that share arrays, and are watched: shared memory without a name, no lock, no queue."""

import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from .checks import Array, NonFiniteError


class Shared:
    """Arrays that several processes read and write at the same time, as attributes: `shared.theta += …`.

    The memory has no name in the file system, so nothing of it can be left behind. Reading and writing take no lock:
    single numbers stay whole, an array may be read half before and half after another process's writing.
    """

    def __init__(self, context: Any, **arrays: Array) -> None:
        self._memory = {name: (context.RawArray("b", x.nbytes), x.dtype, x.shape) for name, x in arrays.items()}
        self.__setstate__(self._memory)
        for name, x in arrays.items():
            getattr(self, name)[...] = x

    def __getattr__(self, name: str) -> Array:
        raise AttributeError(f"no shared array is called {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        return self._memory

    def __setstate__(self, memory: dict[str, Any]) -> None:
        self._memory = memory
        for name, (raw, dtype, shape) in memory.items():
            setattr(self, name, np.frombuffer(raw, dtype).reshape(shape))


class Crew:
    """One process per job, each running `target(*job)`. As a context manager: at its end no process is left.

    `stop` is set first, for workers that look at it; one that is still busy half a second later is killed.
    """

    def __init__(self, context: Any, target: Callable[..., None], jobs: Sequence[tuple[Any, ...]], stop: Array) -> None:
        if context.get_start_method() != "fork":
            try:
                pickle.dumps(target)
                for job in jobs:
                    pickle.dumps([part for part in job if not isinstance(part, Shared)])
            except Exception as error:
                raise TypeError(
                    f'under start_method="{context.get_start_method()}" a worker gets its arguments by pickle, which'
                    f" can't send this one ({error}): make_env must be an id or a function at the top of a module"
                ) from None
        self.context, self.target, self.jobs, self.stop = context, target, jobs, stop
        self.processes: list[Any] = []
        self.pipes: list[Any] = []

    def __enter__(self) -> "Crew":
        try:
            for job in self.jobs:
                ours, theirs = self.context.Pipe(duplex=False)
                process = self.context.Process(target=_run, args=(theirs, self.target, job), daemon=True)
                self.pipes.append(ours)
                process.start()
                self.processes.append(process)
                theirs.close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def working(self, seconds: float) -> bool:
        """Wait a little, then say whether any worker still works; raise RuntimeError if one has failed."""
        wait([process.sentinel for process in self.processes if process.is_alive()], timeout=seconds)
        for index, process in enumerate(self.processes):
            if process.exitcode:
                self._fail(index, process.exitcode)
        return any(process.is_alive() for process in self.processes)

    def _fail(self, index: int, exitcode: int) -> None:
        try:
            diverged, last_words = self.pipes[index].recv()
        except EOFError:  # it had no time for any
            cause = signal.Signals(-exitcode).name if exitcode < 0 else f"exit status {exitcode}"
            raise RuntimeError(f"worker {index} died: {cause}") from None
        raise (NonFiniteError if diverged else RuntimeError)(f"worker {index} failed:\n{last_words}")

    def __exit__(self, *_: object) -> None:
        self.stop[...] = 1
        for process in self.processes:
            process.join(0.5)
            if process.is_alive():
                process.kill()  # busy in its environment, or stopped by a signal
                process.join()
        for pipe in self.pipes:
            pipe.close()


def _run(pipe: Any, target: Callable[..., None], job: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    try:
        target(*job)
    except BaseException as error:
        pipe.send((isinstance(error, FloatingPointError), traceback.format_exc()))
        raise SystemExit(1) from None
