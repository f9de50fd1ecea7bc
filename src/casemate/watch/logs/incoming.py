"""How lines come from processes that have no time to wait for a store: each appends to a file of
its own, and whoever keeps the store reads the files and removes them.

Both hold the file's lock (flock(2)): a writer while it appends, a reader while it removes what it
has read to the end. A writer that finds its file gone begins the next one, so no line lies in a
file that nobody will read, and what was read lies nowhere twice.
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from casemate.core.files import make_folder
from casemate.watch.logs.line import LogLine, tidy

FOLDER = "incoming"
ENDING = ".jsonl"
MOST_FILE = 16 * 1024 * 1024
"""Bytes of a file before its writer begins the next one: what is dropped when nobody reads goes in
such pieces.
"""
MOST_LINE = 4 * 1024 * 1024
"""Bytes of a line that is parsed; a longer one is garbage. Of one that is shorter the beginning of
the message is kept."""
MOST_READ = 20_000
"""Lines that are given out together."""
ABANDONED = 3600.0
"""Seconds after which a last line without an end is given up: whoever wrote it has died."""
CHUNK = 1024 * 1024
"""Bytes of a line that are looked at together, while its end is looked for: a file without line
breaks is not read whole.
"""
_DECODER = msgspec.json.Decoder(LogLine)


class Writer:
    """Appends lines; not for several threads at once."""

    def __init__(self, folder: Path, most: int) -> None:
        """Nothing is written yet.

        Args:
            folder: where files come in.
            most: bytes of all files in it before the oldest goes, because nobody reads them.
        """
        self.folder, self.most = folder, most
        self.lost = 0
        """Lines that were dropped because nobody read them."""
        self._path: Path | None = None

    def append(self, lines: list[bytes]) -> None:
        """Append whole lines, all of them or none.

        Raises:
            OSError: the file cannot be written.
        """
        content = b"\n".join(lines) + b"\n"
        while True:
            path = self._path or self._next()
            with contextlib.suppress(FileNotFoundError), _locked(path) as file:
                size = os.fstat(file).st_size
                try:
                    _write(file, content)
                except OSError:
                    os.ftruncate(file, size)
                    raise
                self._path = path if size + len(content) < MOST_FILE else None
                return
            self._path = None

    def _next(self) -> Path:
        self._make_room()
        # the first letters sort by time; the others make two processes' files two
        name = f"{time.time_ns():x}-{os.getpid()}-{secrets.token_hex(4)}{ENDING}"
        path = make_folder(self.folder) / name
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return path

    def _make_room(self) -> None:
        files = waiting(self.folder)
        sizes = {path: path.stat().st_size for path in files if path.exists()}
        for path in files:
            if sum(sizes.values()) + MOST_FILE <= self.most:
                return
            with contextlib.suppress(OSError), _locked(path):
                self.lost += path.read_bytes().count(b"\n")
                path.unlink()
            sizes.pop(path, None)


def _write(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, open for appending and locked, if it still has its name.

    Raises:
        FileNotFoundError: it was removed.
    """
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink == 0:
            raise FileNotFoundError(path)
        yield file
    finally:
        os.close(file)


def waiting(folder: Path) -> list[Path]:
    """The files that came in, oldest first."""
    return sorted(folder.glob(f"*{ENDING}"))


def read(path: Path, start: int) -> Iterator[tuple[list[LogLine], int, int]]:
    """(lines, where the next ones begin, lines that are none) of a file from `start` on; its last
    line counts only once it has an end.
    """
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if start > os.fstat(file.fileno()).st_size:
            start = 0  # not the file that was read: what was taken of it is known by its id
        file.seek(start)
        lines: list[LogLine] = []
        garbage = 0
        while content := file.readline(MOST_LINE):
            if not content.endswith(b"\n"):
                if len(content) < MOST_LINE:
                    break
                size = _skip(file)
                if size is None:
                    break
                start += len(content) + size
                garbage += 1
                continue
            start += len(content)
            try:
                lines.append(tidy(_DECODER.decode(content)))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                garbage += 1
            if len(lines) >= MOST_READ:
                yield lines, start, garbage
                lines, garbage = [], 0
        if lines or garbage:
            yield lines, start, garbage


def _skip(file: "object") -> int | None:
    """Go behind the end of this line; how many bytes that were, None: it has no end."""
    size = 0
    while content := file.readline(CHUNK):  # type: ignore[attr-defined]
        size += len(content)
        if content.endswith(b"\n"):
            return size
    return None


def remove(path: Path, end: int, *, forced: bool = False) -> bool:
    """Remove a file that was read to `end`; False: whole lines have come since, so it stays.

    Args:
        path: of the file.
        end: where reading stopped.
        forced: also with a last line that has no end.
    """
    with contextlib.suppress(FileNotFoundError), _locked(path) as file:
        known = os.fstat(file)
        rest = os.pread(file, known.st_size - end, end) if known.st_size > end else b""
        if b"\n" in rest:
            return False
        if not rest or forced or time.time() - known.st_mtime > ABANDONED:
            path.unlink()
    return True
