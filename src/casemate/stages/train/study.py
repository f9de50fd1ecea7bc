"""The folder that a search keeps its journal in: the only one that training code may write to and
that outlives its process.

What is not the journal does not stay there: training code sees rows, and the folder lies in clear.
What a full disk or a power loss cut off the journal is cut back to the last whole line, so that a
resumed search goes on behind the last trial that is on record.
"""

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from casemate.core.files import remove_tree

JOURNAL = "journal"


def clean(folder: Path) -> None:
    """Leave nothing in `folder` but whole lines of the journal; whoever calls holds the run's
    lease.

    Raises:
        OSError: the folder cannot be written.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name != JOURNAL or not _regular(path):
            _remove(path)
    with contextlib.suppress(FileNotFoundError):
        _cut(folder / JOURNAL)


def _regular(path: Path) -> bool:
    """Whether it is a file of its own; training code could leave a link to another one."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink()


def _cut(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "r+b") as file:
        whole = 0
        for line in file:
            if not line.endswith(b"\n") or not _is_json(line):
                break
            whole += len(line)
        if whole < os.fstat(descriptor).st_size:
            file.truncate(whole)
            os.fsync(descriptor)


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return True
