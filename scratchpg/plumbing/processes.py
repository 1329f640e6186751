"""Worker processes that share arrays and are watched: shared memory without a name, no lock, no queue."""

import multiprocessing
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import numpy as np

from .check import Array, NonFiniteError
from .run import THREADS_CHOSEN, set_threads

LOST = "unless forked, it imports what it runs, which must be in a file: not in a notebook, python -c or standard input"


class Shared:
    """Arrays that several processes read and write at the same time, as attributes: `shared.theta += …`.

    The memory has no name in the file system, so none of it can be left behind. Reading and writing take no lock:
    single numbers stay whole, but an array may be read while another process has written half of it.
    """

    def __init__(self, context: Any, **arrays: Array) -> None:
        self.__setstate__({name: (context.RawArray("b", x.nbytes), x.dtype, x.shape) for name, x in arrays.items()})
        for name, x in arrays.items():
            getattr(self, name)[...] = x

    def __getstate__(self) -> dict[str, Any]:
        return self._memory

    def __setstate__(self, memory: dict[str, Any]) -> None:
        self._memory = memory
        for name, (raw, dtype, shape) in memory.items():
            setattr(self, name, np.frombuffer(raw, dtype).reshape(shape))


def watch(context: Any, target: Callable[..., Any], jobs: Iterable[Any], seconds: float) -> Generator[None, None, None]:
    """Iterate `target(*job)` in one process per job; yields about every `seconds` until all have ended.

    RuntimeError as soon as one fails (NonFiniteError if it diverged), with its traceback or signal. However it ends,
    also by `close`, no process is left: workers end at their next item, or are killed half a second later.
    """
    stop = context.RawValue("b")  # a flag that workers look at between two items
    workers: dict[Any, Any] = {}  # by the pipe that comes from each
    try:
        for index, job in enumerate(jobs):
            pipe, sender = context.Pipe(duplex=False)
            args = sender, stop, target, job
            process = context.Process(target=_worker_main, args=args, name=f"worker {index}", daemon=True)
            try:
                process.start()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                how = f'start_method="{context.get_start_method()}" sends a worker its arguments by pickle ({error})'
                what = "make_env must be an id or a function at the top of a module, the networks of such a class"
                raise TypeError(f"{how}: {what}") from None
            sender.close()  # now only the worker has it: when the worker ends, for any reason, so does the pipe
            workers[pipe] = process
        at_work = set(workers)
        while at_work:
            ended: list[Any] = wait(at_work, seconds)
            for pipe in ended:
                try:
                    failure = pipe.recv()
                except (EOFError, OSError):  # it ended before it sent anything, or while it did
                    workers[pipe].join()
                    code = workers[pipe].exitcode
                    status = f"exit status {code}, see its output above; {LOST}"
                    cause = signal.Signals(-code).name if code < 0 else status
                    failure = RuntimeError(f"{workers[pipe].name} died: {cause}")
                if failure:
                    raise failure
                at_work.remove(pipe)
            yield
    finally:
        stop.value, deadline = 1, time.monotonic() + 0.5
        try:
            for process in workers.values():
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # those that are busy or stopped, or after a second Ctrl-C
            for process in workers.values():
                process.kill()
            for pipe, process in workers.items():
                process.join()
                pipe.close()


def _worker_main(pipe: Any, stop: Any, target: Callable[..., Any], job: Any) -> None:
    """What each process runs: the job, until the parent stops it. If it fails, it sends the parent what to raise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a forked process has the parent's handler
    if not THREADS_CHOSEN:
        set_threads(1)  # never set back, nor are the warnings: this process does nothing else
    np.seterr(all="ignore")
    parent: Any = multiprocessing.parent_process()
    failure: Exception | None = None
    try:
        for _ in target(*job):
            if stop.value or not parent.is_alive():
                break
    except BaseException as error:
        kind = NonFiniteError if isinstance(error, FloatingPointError) else RuntimeError
        failure = kind(f"{multiprocessing.current_process().name} failed:\n{traceback.format_exc()}")
    with suppress(OSError):  # of a parent that is gone
        pipe.send(failure)  # None means done; a worker that sends nothing has died
