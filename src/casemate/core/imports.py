"""How much is imported: many modules at once, without looking for garbage among them."""

import contextlib
import gc
from collections.abc import Iterator


class _Kept:
    """Whether something in this process is frozen for good."""

    for_good = False


@contextlib.contextmanager
def uncollected(*, for_good: bool = False) -> Iterator[None]:
    """Import inside: what is made by it stays, so the collector need not look at it again and again
    (a third of the time to start).

    Where something is frozen already, nothing more is: garbage of that moment would stay with it
    for ever, and with it the files that it holds open.

    Args:
        for_good: never look at it, nor at anything else that is there by now: for a process of
            casemate's own. What somebody else's process has by now may yet become garbage.
    """
    # Python counts what is frozen one by one: with millions of objects a tenth of a second a time
    _Kept.for_good = _Kept.for_good or gc.get_freeze_count() > 0
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            if not _Kept.for_good:
                # Everything goes to the oldest generation unseen: else the first allocation after
                # `enable` would have all of it looked through.
                gc.freeze()
                if for_good:
                    _Kept.for_good = True
                else:
                    gc.unfreeze()
            gc.enable()
