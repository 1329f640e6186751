"""The arithmetic that training runs under: one BLAS thread, memory that is kept, no warnings of overflow."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

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


_get_threads, _set_threads = _openblas("get", lambda: 1), _openblas("set", lambda n: None)


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """Within it matrix products take one thread and an overflow passes in silence; afterwards all is as it was.

    Matrices as small as these gain nothing from threads, and on a busy machine threads that wait for each other make
    the same training many times slower. An overflow needs no warning: what it spoils is caught where it matters, as a
    FloatingPointError of the optimiser or the collector that says what is not finite.
    """
    threads = _get_threads()
    try:
        _set_threads(1)
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    finally:
        _set_threads(threads)
