"""How many threads a fit is worth: small ones lose more by waiting for threads than they gain."""

import contextlib
from collections.abc import Iterator

SMALL = 20_000 * 30
WAITING = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_THREAD_TIMEOUT": "4"}
"""Environment of a process in which threads of numeric libraries sleep while they wait for each
other. Unasked they spin, for 25 ms after each product of matrices: where other programs want the
cores too, a fit with two threads then takes up to ten times the CPU, and longer. What is computed
is the same. 4 is OpenBLAS's least (2 to the 4th cycles). Libraries read it when they are loaded.
"""


@contextlib.contextmanager
def fitting(cells: int) -> Iterator[None]:
    """One thread inside numeric libraries while a fit on `cells` (rows times features) goes on, if
    that is few.
    """
    from threadpoolctl import threadpool_limits

    if cells >= SMALL:
        yield
        return
    with threadpool_limits(1):
        yield
