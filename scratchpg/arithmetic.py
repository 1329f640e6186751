"""The arithmetic that training runs under: one BLAS thread, memory that is kept, no warnings of overflow."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def _blas_threads() -> tuple[Any, Any]:
    """OpenBLAS' functions to get and to set the number of threads; of another BLAS, two that do nothing."""
    library = ctypes.CDLL(np.linalg._umath_linalg.__file__)  # the search goes on in the libraries it is linked to
    for form in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"):
        if hasattr(library, form.format("set")):
            return getattr(library, form.format("get")), getattr(library, form.format("set"))
    return (lambda: 1), (lambda n: None)


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of large arrays for the next ones, instead of returning it to the system each time.

    A fresh array of 128 kB or more otherwise pays for its pages anew: from 1,000 rows on that is more than half of the
    time of a gradient. Elsewhere than under glibc there is no such function, and nothing is changed.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(trim_threshold, 1 << 28)
    mallopt(mmap_threshold, 1 << 25)


_keep_freed_memory()
_get_threads, _set_threads = _blas_threads()


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """Within it matrix products take one thread and an overflow passes in silence; afterwards all is as it was.

    Matrices as small as these gain nothing from threads, and on a busy machine threads that wait for each other make
    the same training many times slower. An overflow needs no warning: what it spoils is caught where it matters, as a
    FloatingPointError of the optimiser or the collector that says what is not finite.
    """
    threads = _get_threads()
    if threads > 1:
        _set_threads(1)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    finally:
        if threads > 1:
            _set_threads(threads)
