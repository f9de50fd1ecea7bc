"""The spool: lines that are to be sent, in segment files, and how far each sink has come.

A segment is named after the number of its first line and only grows at its end; `append` returns
once all lines are on disk. Where a sink stands is one small file, replaced whole after each batch
that its receiver took. So what dies anywhere loses nothing, and repeats at most one batch, which a
receiver recognises by `event.id`. Beyond the bound the oldest segment goes: a sink that had not
read it finds the gap in the numbers, and counts it.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from casemate.core.errors import BusyError, Error, from_os_error
from casemate.core.files import alone, exclusive_wait, fsync_folder, make_folder, write_atomic
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.store import Positions
from casemate.watch.sinks.entries import (
    MOST_BYTES,
    Batch,
    Cursor,
    blank,
    chunks,
    cut,
    id_of,
    id_of_refused,
)
from casemate.watch.sinks.interface import Levels

PLACE = ("logs", "spool")
"""In a project's state folder."""
DEAD = "dead"
"""Within it: what was refused for good."""
FED = "fed.json"
"""Within it: how far it was fed."""
SEGMENTS = 32
"""Parts of the bound: so much of it is lost at once when it is full."""
EVERYTHING = frozenset({"gauges", "casemate.audit", "casemate.request", "casemate.alarm"})
"""Every kind of entry."""


class End(NamedTuple):
    """Where the spool ends; everything before is on disk."""

    segment: int
    size: int
    line: int


class Spool:
    """A spool in `folder`.

    >>> spool = Spool(folder, 256 * 2**20, ["search"])      # doctest: +SKIP
    >>> spool.append(lines)                                 # doctest: +SKIP
    """

    def __init__(self, folder: Path, most: int, sinks: Sequence[str] = ()) -> None:
        """Make the folder, and a beginning for every sink that has none.

        Args:
            folder: where it lies.
            most: bytes that it may take.
            sinks: who reads it: a new one begins with the oldest line that is kept.

        Raises:
            BackendError: the disk refuses.
        """
        self.folder, self.most, self.sinks = folder, most, list(sinks)
        with _disk():
            make_folder(folder / "cursors")
            for name in self.sinks:
                if not self._cursor_path(name).exists():
                    first = (self._segments() or [0])[0]
                    self.keep(name, Cursor(segment=first, line=first))

    def append(self, entries: Sequence[LogLine | Levels]) -> None:
        """Add entries; when this returns they outlast power loss. It never waits for a receiver.

        Raises:
            BackendError: the disk is full or refuses; some of them may be there, so the caller
                comes with all of them again.
        """
        encoder = msgspec.json.Encoder()
        lines = [encoder.encode(entry) + b"\n" for entry in entries]
        if not lines:
            return
        with _disk(), exclusive_wait(self.folder / "lock"):
            end = self._settled()
            for chunk in chunks(lines, self.most // SEGMENTS):
                content = b"".join(chunk)
                if end.size and end.size + len(content) > self.most // SEGMENTS:
                    end = self._begin(end.line)
                self._make_room(len(content))
                self._write(end, content)
                end = End(end.segment, end.size + len(content), end.line + len(chunk))

    def end(self) -> End:
        """Where it ends now; what a killed writer left is repaired and on disk.

        Raises:
            BackendError: the disk refuses.
        """
        with _disk(), exclusive_wait(self.folder / "lock"):
            return self._settled()

    def trim(self) -> None:
        """Remove segments that every sink has read."""
        with _disk(), exclusive_wait(self.folder / "lock"):
            segments = self._segments()
            done = min((self.cursor(name).line for name in self.sinks), default=0)
            for start, following in itertools.pairwise(segments):
                if following <= done:
                    self._path(start).unlink()

    def erase(self, ids: set[str]) -> None:
        """Remove lines, also from among those that were refused for good: those that wait are blank
        from now on, so that every cursor holds.

        Args:
            ids: `event.id` of each.

        Raises:
            BackendError: the disk refuses.
        """
        with _disk(), exclusive_wait(self.folder / "lock"):
            for path in map(self._path, self._segments()):
                lines = path.read_bytes().splitlines(keepends=True)
                kept = [blank(raw) if id_of(raw) in ids else raw for raw in lines]
                if kept != lines:
                    write_atomic(path, b"".join(kept))
            gone = {*ids, None}  # a letter that cannot be read may be about one of them
            for path in (self.folder / DEAD).glob("*"):
                lines = path.read_bytes().splitlines(keepends=True)
                kept = [raw for raw in lines if id_of_refused(raw) not in gone]
                if kept != lines:
                    write_atomic(path, b"".join(kept))

    @property
    def size(self) -> int:
        """Bytes that segments take."""
        return sum(self._path(start).stat().st_size for start in self._segments())

    def account(self, now: str) -> None:
        """Remember for every sink what it lost since somebody looked, and when; whoever sends to a
        sink just now sees to it.

        Args:
            now: ISO 8601.

        Raises:
            BackendError: the disk refuses.
        """
        with _disk():
            for name in self.sinks:
                if not self._has_lost(name):  # a lock for nothing would keep a sender away
                    continue
                with contextlib.suppress(BusyError), self.reading(name):
                    if self._has_lost(name):
                        self.keep(name, msgspec.structs.replace(self.cursor(name), lost=now))

    def _has_lost(self, name: str) -> bool:
        return self.cursor(name).dropped > self.kept(name).dropped

    def retire(self) -> None:
        """Forget where sinks stood that are not there any more: one that is configured again begins
        anew, and has lost nothing meanwhile. Without any sink, nobody feeds the spool.

        Raises:
            BackendError: the disk refuses.
        """
        with _disk():
            for path in (self.folder / "cursors").glob("*.json"):
                if path.stem not in self.sinks:
                    with contextlib.suppress(BusyError), self.reading(path.stem):
                        path.unlink(missing_ok=True)
            if not self.sinks:
                (self.folder / FED).unlink(missing_ok=True)

    def fed(self) -> Positions | None:
        """How far the sources are read whose lines were appended; None: nobody knows."""
        try:
            return msgspec.json.decode((self.folder / FED).read_bytes(), type=Positions)
        except (FileNotFoundError, msgspec.DecodeError):  # of another version, or edited
            return None

    def keep_fed(self, positions: Positions) -> None:
        """Remember that, durably."""
        with _disk():
            write_atomic(self.folder / FED, positions.to_json())

    def kept(self, name: str) -> Cursor:
        """Where a sink stood when somebody remembered it last."""
        try:
            return msgspec.json.decode(self._cursor_path(name).read_bytes(), type=Cursor)
        except (FileNotFoundError, msgspec.DecodeError):  # of another version, or edited
            return Cursor(segment=-1, line=-1)

    def cursor(self, name: str) -> Cursor:
        """Where a sink stands, put right where the spool no longer has it."""
        found = self.kept(name)
        segments = self._segments() or [0]
        first = segments[0]
        if found.segment in segments and self._is_boundary(found):
            return found
        lost = max(first - found.line, 0) if found.line >= 0 else 0
        # else the spool is younger than the cursor: better twice than never
        place = {"segment": first, "offset": 0, "line": first}
        return msgspec.structs.replace(found, dropped=found.dropped + lost, **place)

    def keep(self, name: str, cursor: Cursor) -> None:
        """Remember where a sink stands, durably."""
        write_atomic(self._cursor_path(name), cursor.to_json())

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Be the only one who sends to a sink.

        Raises:
            BusyError: another process does.
        """
        with alone(self.folder / "cursors" / f"{name}.lock", f"sending to {name}"):
            yield

    def batch(self, name: str, end: End, wanted: frozenset[str], most: int) -> Batch:
        """What comes next for a sink.

        Args:
            name: of the sink.
            end: up to where.
            wanted: `gauges`, and the data sets of log lines.
            most: items; it takes at most 1 MiB too, but one line in any case.

        Raises:
            BackendError: the disk refuses.
        """
        with _disk():
            while True:
                cursor = self.cursor(name)
                with contextlib.suppress(FileNotFoundError):  # dropped just now
                    return self._batch(cursor, end, wanted, most)

    def oldest(self, name: str, end: End) -> str | None:
        """Time of the first entry that waits for a sink; BackendError: the disk refuses."""
        found = self.batch(name, end, EVERYTHING, 1).items
        if not found:
            return None
        return found[0].content.time

    def _batch(self, cursor: Cursor, end: End, wanted: frozenset[str], most: int) -> Batch:
        if cursor.segment > end.segment:  # all up to the end was dropped meanwhile
            return cut(b"", cursor, wanted, most)
        is_last = cursor.segment == end.segment
        with self._path(cursor.segment).open("rb") as file:
            size = end.size if is_last else os.fstat(file.fileno()).st_size
            file.seek(cursor.offset)
            content = file.read(max(min(size - cursor.offset, MOST_BYTES), 0))
            if content and b"\n" not in content:  # one line that is longer
                content += file.readline(size - cursor.offset - len(content))
        if len(content) + cursor.offset < size:
            content = content[: content.rfind(b"\n") + 1]
        found = cut(content, cursor, wanted, most)
        if is_last or found.behind.offset < size:
            return found
        following = min(one for one in self._segments() if one > cursor.segment)
        place = {"segment": following, "offset": 0, "line": following}
        behind = msgspec.structs.replace(found.behind, **place)
        return found._replace(behind=behind)

    def _segments(self) -> list[int]:
        """Numbers of the first lines of all segments, ascending."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(
                int(path.stem) for path in self.folder.glob("*.jsonl") if path.stem.isdigit()
            )
        return []

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:015d}.jsonl"

    def _cursor_path(self, name: str) -> Path:
        return self.folder / "cursors" / f"{name}.json"

    def _is_boundary(self, cursor: Cursor) -> bool:
        """Whether a line begins where the cursor stands."""
        if cursor.offset == 0:
            return True
        with contextlib.suppress(FileNotFoundError), self._path(cursor.segment).open("rb") as file:
            file.seek(cursor.offset - 1)
            return file.read(1) == b"\n"
        return False

    def _settled(self) -> End:
        """The end of the last segment, without what a killed writer left half-written, on disk."""
        segments = self._segments()
        if not segments:
            return self._begin(0)
        with self._path(segments[-1]).open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)
            os.fsync(file.fileno())
        return End(segments[-1], whole, segments[-1] + content.count(b"\n"))

    def _begin(self, start: int) -> End:
        os.close(os.open(self._path(start), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        fsync_folder(self.folder)
        return End(start, 0, start)

    def _make_room(self, more: int) -> None:
        """Remove the oldest segments, never the last one, until so many bytes fit."""
        segments = self._segments()
        while len(segments) > 1 and self.size + more > self.most:
            self._path(segments.pop(0)).unlink()

    def _write(self, end: End, content: bytes) -> None:
        descriptor = os.open(self._path(end.segment), os.O_WRONLY | os.O_CLOEXEC)
        try:
            done = 0
            while done < len(content):
                done += os.pwrite(descriptor, content[done:], end.size + done)
            os.fsync(descriptor)
        except OSError:
            # nothing that may not be on disk is left for readers: a cursor behind it would skip
            # what is written in its place after power loss
            os.ftruncate(descriptor, end.size)
            raise
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        fault: Error = from_os_error(error)
        raise fault from error
