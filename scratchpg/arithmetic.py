"""The arithmetic that training runs under: one BLAS thread, and no warnings of overflow."""

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
