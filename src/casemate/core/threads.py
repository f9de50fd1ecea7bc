"""How many threads a fit is worth: small ones lose more by waiting for threads than they gain."""

import contextlib
from collections.abc import Iterator

SMALL = 20_000 * 30


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
