"""What training runs under: one BLAS thread, memory that is kept, no warnings of overflow."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from threading import RLock
from typing import Any

import numpy as np

from .checks import within_run

# Have glibc keep the memory of large arrays for the next ones, instead of returning it to the system each time. A fresh
# array of 128 kB or more otherwise pays for its pages anew: with many rows that is half of the time of a gradient.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
with suppress(AttributeError, OSError, TypeError):  # other systems have no such function
    ctypes.CDLL(None).mallopt(TRIM_THRESHOLD, 1 << 28)
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 1 << 25)


def _openblas(verb: str, default: Any) -> Any:
    """OpenBLAS' function to get or set the number of threads, whatever it is called; of another BLAS, the default."""
    library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # the search goes on in the libraries it is linked to
    forms = "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"
    return next((getattr(library, form.format(verb)) for form in forms if hasattr(library, form.format(verb))), default)


_get_threads, set_threads = _openblas("get", lambda: 1), _openblas("set", lambda n: None)
_users, _threads_before, _lock = 0, 1, RLock()  # how many ask for one thread; re-entrant, as garbage may end a run


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it matrix products take one thread. Where several overlap, the last to end restores what was before.

    Matrices as small as these gain nothing from threads, and on a busy machine threads that wait for each other make
    the same training many times slower. A training run stands within from its first update until it ends or is closed.
    """
    global _users, _threads_before
    with _lock:
        if not _users:
            _threads_before = _get_threads()
            set_threads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                set_threads(_threads_before)


def enter_run() -> None:
    """From here on, in this context: an overflow makes no warning, and what a run hands on is not looked at again.

    What an overflow spoils is caught where it matters, as a FloatingPointError of the optimiser or the collector that
    says what is not finite.
    """
    np.seterr(over="ignore", invalid="ignore")
    within_run.set(True)


def run_context() -> Context:
    """A context for a run, a copy of the present one: neither side sees what the other sets from then on."""
    context = copy_context()
    context.run(enter_run)
    return context
