"""Worker processes that share arrays, and are watched: shared memory without a name, no lock, no queue."""

import pickle
import signal
import time
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

    `stop` is set first, for workers that look at it; those that are still busy half a second later are killed.
    """

    def __init__(self, context: Any, target: Callable[..., None], jobs: Sequence[tuple[Any, ...]], stop: Array) -> None:
        method = context.get_start_method()
        if method != "fork":
            try:
                for job in jobs:
                    pickle.dumps((target, *(part for part in job if not isinstance(part, Shared))))
            except Exception as error:
                raise TypeError(
                    f'under start_method="{method}" a worker gets its arguments by pickle, which can\'t send this one'
                    f" ({error}): make_env must be an id or a function at the top of a module"
                ) from None
        self.stop = stop
        self.pipes, senders = zip(*(context.Pipe(duplex=False) for _ in jobs), strict=True)
        self.processes = [
            context.Process(target=_run, args=(sender, target, job), daemon=True)
            for sender, job in zip(senders, jobs, strict=True)
        ]
        self.senders = senders

    def __enter__(self) -> "Crew":
        try:
            for process, sender in zip(self.processes, self.senders, strict=True):
                process.start()
                sender.close()  # the worker has it: when it ends, so does its pipe
        except BaseException:
            self.__exit__()
            raise
        return self

    def working(self, seconds: float) -> bool:
        """Wait a little, then say whether any worker still works; raise RuntimeError if one has failed."""
        running = [i for i, process in enumerate(self.processes) if process.is_alive()]
        wait([x for i in running for x in (self.processes[i].sentinel, self.pipes[i])], timeout=seconds)
        for i, process in enumerate(self.processes):  # all: one may have ended while nobody was waiting
            if process.exitcode or self.pipes[i].poll():
                self._fail(i)
        return any(process.is_alive() for process in self.processes)

    def _fail(self, index: int) -> None:
        """Raise with the last words of a worker, or with what ended it before it had any."""
        try:
            diverged, last_words = self.pipes[index].recv() if self.pipes[index].poll() else (False, "")
        except EOFError:  # it has ended, and the pipe with it
            last_words = ""
        if last_words:
            raise (NonFiniteError if diverged else RuntimeError)(f"worker {index} failed:\n{last_words}")
        self.processes[index].join()
        if code := self.processes[index].exitcode:
            cause = signal.Signals(-code).name if code < 0 else f"exit status {code}, see its words above"
            raise RuntimeError(f"worker {index} died: {cause}")

    def __exit__(self, *_: object) -> None:
        self.stop[...] = 1
        started = [process for process in self.processes if process.pid is not None]
        deadline = time.monotonic() + 0.5
        try:
            for process in started:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # busy in their environments, stopped by a signal, or not waited for after a second Ctrl-C
            for process in started:
                process.kill()
            for process in started:
                process.join()
            for pipe in (*self.pipes, *self.senders):
                pipe.close()


def _run(pipe: Any, target: Callable[..., None], job: tuple[Any, ...]) -> None:
    """What each process runs: the job, and if it fails a message with its last words."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear
    try:
        target(*job)
    except BaseException as error:
        pipe.send((isinstance(error, FloatingPointError), traceback.format_exc()))
        raise SystemExit(1) from None
