"""What of the sandbox this kernel offers."""

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial

from casemate.core.sandbox import confine, root, seccomp


def available() -> dict[str, bool]:
    """What this kernel offers."""
    linux = sys.platform == "linux"
    return {
        "landlock": linux and confine.landlock_abi() > 0,
        "seccomp": seccomp.known(),
        "namespaces": linux and _tried(partial(confine.new_namespaces, processes=False)),
        "root": linux and any(_tried(partial(_new_root, processes=own)) for own in (True, False)),
    }


def _tried(work: Callable[[], object]) -> bool:
    """Whether something that changes this process for good works, in a child."""
    # Asked of the kernel by trying: what is compiled in may still be forbidden to this user, or in
    # this container.
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _new_root(*, processes: bool) -> None:
    confine.new_namespaces(processes=processes)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            root.enter([], [], 2**20, own_processes=processes)
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError
