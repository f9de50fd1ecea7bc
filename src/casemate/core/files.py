"""Files that are either whole or absent: temp file, fsync, rename, fsync of the folder.

An fsync that fails is never retried: after EIO the kernel may have dropped the pages, so the
process must stop.
"""

import contextlib
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from casemate.core.errors import BusyError, ConfigError

if sys.platform != "win32":  # there only the verifier runs, which locks nothing
    import fcntl

MAX_PATH = 2000
# renameat2(2): two names change places in one step, so no reader finds neither
AT_FDCWD, RENAME_EXCHANGE = -100, 2
DRAFT = ".tmp-"
"""What the names of unfinished files begin with."""


def fsync_folder(folder: Path) -> None:
    """Make the names inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o700) -> Path:
    """Create `folder` and its parents, durably; existing ones are left as they are."""
    if not folder.is_dir():
        make_folder(folder.parent, mode)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=mode)
        fsync_folder(folder.parent)
    return folder


def write_atomic(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write `content` so that `path` holds all of it or what it held before, also after
    power loss.
    """
    with writing(path, mode) as file:
        file.write(content)


def write_nameless(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write the new file `path` through one without a name: what is killed leaves all of it there
    or nothing anywhere.

    Raises:
        FileExistsError: there is such a file. OSError: the file system knows no nameless files.
    """
    descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
        table = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
        # only with a folder's descriptor does Python call linkat(2), which follows the link to the
        # nameless file
        try:
            os.link(str(descriptor), path, src_dir_fd=table, follow_symlinks=True)
        finally:
            os.close(table)
    fsync_folder(path.parent)


@contextlib.contextmanager
def writing(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path`, whole and durable, when the block ends without an
    exception.
    """
    with drafting(path.parent, mode) as draft:
        yield draft.file
        draft.commit(path)


class Draft:
    """A file that is not finished: it has its name only once all of it is on disk."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file = file
        self.path = path

    def commit(self, path: Path) -> None:
        """Make it durable and give it its name, on the same file system."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.path, path)
        fsync_folder(path.parent)


@contextlib.contextmanager
def drafting(folder: Path, mode: int = 0o600) -> Iterator[Draft]:
    """A file in `folder` that is gone when the block ends, unless it was committed."""
    make_folder(folder)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=DRAFT)
    draft = Draft(os.fdopen(descriptor, "wb"), Path(temporary))
    try:
        os.fchmod(descriptor, mode)
        yield draft
    finally:
        with contextlib.suppress(OSError):  # what could not be flushed is not wanted
            draft.file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def below(folder: Path) -> list[Path]:
    """Everything below a folder, as `rglob("*")` gives it, that leaves nothing out: OSError where a
    part cannot be read. What goes meanwhile is none of it.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    return sorted(
        Path(place, name)
        for place, folders, names in os.walk(folder, onerror=refuse)
        for name in (*folders, *names)
    )


def directly(folder: Path, suffix: str) -> list[Path]:
    """What lies in a folder and ends so, as `glob` gives it; none where there is no such folder,
    OSError where it cannot be read.
    """
    try:
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(suffix))
    except FileNotFoundError:
        return []


def exchange(one: Path, other: Path) -> None:
    """Let two files or folders of one file system swap their names, atomically and durably
    (renameat2(2), RENAME_EXCHANGE).

    Raises:
        OSError: the kernel or the file system cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
    for folder in {one.parent, other.parent}:
        fsync_folder(folder)


def fsync_tree(folder: Path) -> None:
    """Make every file and name below `folder` durable."""
    for root, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        fsync_folder(Path(root))


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A private folder that is gone afterwards; what a kill leaves is removed by
    `clear_scratch`.
    """
    make_folder(parent)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=DRAFT))
    try:
        yield folder
    finally:
        remove_tree(folder)


@contextlib.contextmanager
def whole_folder(folder: Path, parent_mode: int = 0o700) -> Iterator[Path]:
    """A draft that becomes the new `folder`, durable with all that is in it, when the block ends;
    where the block fails, nothing is left.

    Args:
        folder: nothing, or an empty folder.
        parent_mode: of the folder around it, where that is made.

    Raises:
        ConfigError: a file is where a folder would be, or this user may not write there.
    """
    try:
        parent = make_folder(folder.parent, parent_mode)
        draft = Path(tempfile.mkdtemp(dir=parent, prefix=DRAFT))
    except (NotADirectoryError, PermissionError) as error:
        raise ConfigError(
            f"{folder} cannot be made: {error.strerror}",
            hint="name a new folder within one that you may write to",
        ) from error
    try:
        yield draft
        fsync_tree(draft)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    fsync_folder(parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder that foreign code may have filled: without recursion, however deep it is,
    links not followed.
    """
    todo: list[str] = [str(folder)]
    emptied: list[str] = []
    while todo:
        current = todo.pop()
        if len(current) > MAX_PATH:
            higher = os.path.join(folder, f"up-{len(emptied)}-{len(todo)}")
            os.rename(current, higher)
            current = higher
        emptied.append(current)
        _regain(current)
        try:
            entries = list(os.scandir(current))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                todo.append(entry.path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry.path)
    for current in reversed(emptied):
        with contextlib.suppress(OSError):
            os.rmdir(current)


def _regain(folder: str) -> None:
    """Give the owner the rights to a folder that foreign code may have taken away; never through a
    link.
    """
    if not hasattr(os, "O_PATH"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.chmod(f"/proc/self/fd/{descriptor}", 0o700)
        finally:
            os.close(descriptor)


def clear_scratch(parent: Path) -> None:
    """Remove what killed processes left; call only while nobody else holds the project's lock."""
    remove_tree(parent)


def clear_drafts(folder: Path) -> None:
    """Remove the unfinished files and folders that killed processes left below `folder`; same
    condition.
    """
    for path in list(folder.rglob(DRAFT + "*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def shared_lock(path: Path, alone: Callable[[], None]) -> Iterator[None]:
    """Hold `path` together with others; when nobody else does, call `alone` first. The kernel
    releases what dies.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone()
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold `path` while nobody holds it together with others.

    Raises:
        BusyError: somebody does.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{what} cannot be done while a run, a backup or the like goes on in this project",
                hint="wait until it has ended",
            ) from error
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive_wait(path: Path) -> Iterator[None]:
    """Hold `path` locked, waiting for whoever holds it; for short critical sections only."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
