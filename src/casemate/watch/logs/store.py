"""The log store: a folder a UTC day, how far each source was read, and what is forgotten when.

Lines are added at least once and are there exactly once, by their id: positions are kept behind the
commit of the lines, and what is read again after a kill between the two is known.
"""

import contextlib
import datetime
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from casemate.core.clock import Clock
from casemate.core.errors import BackendError, BusyError, ConfigError
from casemate.core.files import (
    alone,
    exchange,
    fsync_tree,
    make_folder,
    remove_tree,
    scratch_folder,
    write_atomic,
)
from casemate.core.store import decode
from casemate.core.types import Record
from casemate.watch.logs import clocks
from casemate.watch.logs.day import Day, size
from casemate.watch.logs.incoming import FOLDER as INCOMING
from casemate.watch.logs.index import BLOCK, Index
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.query import FIELDS, WORDS, Query

FOLDER = "logs"
"""In a project's state folder."""
SECONDS = 20.0
"""Of a search or a count before it gives up: looked at between two days."""
MOST_LINES = 10_000
"""Lines of one answer."""
MOST_GROUPS = 1_000
"""Groups of a count: the newest stretches, or the largest groups. What an answer holds stays
bounded.
"""
WAIT = 30.0
"""Seconds that whoever must write waits for another who does."""
SPANS = {"minute": "1m", "hour": "1h", "day": "1d"}
"""Spans of time that lines are counted by, and tantivy's names."""
COUNTED = tuple(one for one in FIELDS if one not in (*WORDS, "time", "duration", "size"))
"""Fields that lines are counted by."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class Positions(Record, frozen=True, kw_only=True):
    """How far the sources were read."""

    entry: int = 0
    """The next entry of the audit log."""
    last: str = ""
    """Id of the line of the entry before it."""
    files: dict[str, int] = {}
    """Bytes of files that came in."""
    garbage: int = 0
    """Lines that were none, of all times."""
    old: int = 0
    """Lines that came in with a time before those that are kept, of all times."""
    clock: clocks.Reading | None = None
    """When the sources were last read."""


class Found(Record, frozen=True, kw_only=True):
    """What a search came to."""

    lines: list[LogLine]
    """Newest first."""
    matched: int
    """Lines that match on the days that were looked at."""
    more: bool
    """Whether there may be older ones."""
    stale: str = ""
    """Why the newest lines are missing, where they could not be added."""


class Group(Record, frozen=True, kw_only=True):
    """Lines that have something in common."""

    value: str
    lines: int


class Counts(Record, frozen=True, kw_only=True):
    """Lines by what they have in common, the most first; of time in its order."""

    by: str
    lines: int
    """That match, also those in no group."""
    groups: list[Group]
    """At most a thousand."""


class Dropped(Record, frozen=True, kw_only=True):
    """Days that were forgotten."""

    days: list[str]
    megabytes: int
    why: str


class LogStore:
    """The lines of a project."""

    def __init__(self, folder: Path, clock: Clock, days: int, megabytes: int) -> None:
        """Nothing is read or written yet.

        Args:
            folder: for it alone.
            clock: today.
            days: that lines are kept beside today.
            megabytes: of all of them.
        """
        self.folder, self.clock = folder, clock
        self.keep_days, self.most = days, megabytes * 1_000_000

    @property
    def incoming(self) -> Path:
        """Where other processes' lines come in."""
        return self.folder / INCOMING

    @contextlib.contextmanager
    def writing(self, *, waits: bool = True) -> Iterator[None]:
        """Nobody else writes meanwhile; what somebody who was killed left is removed.

        Raises:
            BusyError: somebody else does.
        """
        ends = time.monotonic() + (WAIT if waits else 0.0)
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(alone(self.folder / "lock", "writing the log store"))
                    break
                except BusyError:
                    if time.monotonic() >= ends:
                        raise BusyError(
                            "somebody else writes the log store", hint="try again in a minute"
                        ) from None
                    time.sleep(0.05)
            remove_tree(self.folder / "tmp")
            yield

    def positions(self) -> Positions:
        """How far sources were read."""
        try:
            return decode((self.folder / "positions.json").read_bytes(), Positions)
        except FileNotFoundError:
            return Positions()

    def keep(self, positions: Positions) -> None:
        """Remember how far sources were read, durably."""
        write_atomic(self.folder / "positions.json", positions.to_json())

    def days(self) -> list[str]:
        """Names of the days, oldest first."""
        folder = self.folder / "days"
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(name for name in names if _DAY.fullmatch(name))

    def day(self, name: str) -> Day:
        """One day; it is made where it is not there."""
        return Day(self.folder / "days" / name)

    def now(self) -> datetime.datetime:
        """The time, as far as the clock is to be believed."""
        return datetime.datetime.fromtimestamp(self.reading().time, datetime.UTC)

    def reading(self) -> clocks.Reading:
        """What `Positions` remember of this moment."""
        return clocks.read(self.clock.now(), self.positions().clock)

    def oldest(self) -> str:
        """The first day whose lines are taken and kept."""
        return (self.now() - datetime.timedelta(days=self.keep_days)).date().isoformat()

    def add(self, lines: Iterable[LogLine]) -> list[LogLine]:
        """Add lines that are not there yet and not too old, and return them.

        Raises:
            BackendError: the disk is full, or the store damaged; of no day is a part written.
        """
        by_day: dict[str, list[LogLine]] = {}
        oldest = self.oldest()
        for line in lines:
            if line.time[:10] >= oldest:
                by_day.setdefault(line.time[:10], []).append(line)
        return [line for name, some in sorted(by_day.items()) for line in self.day(name).add(some)]

    def settle(self, touched: Iterable[str]) -> None:
        """Write Parquet of days that are over, and of much that is not in it."""
        today = self.now().date().isoformat()
        before = [name for name in self.days() if name < today][-1:]
        for name in sorted({*touched, *before} & set(self.days())):
            self.day(name).seal(is_over=name < today)

    def forget(self) -> list[Dropped]:
        """Remove days that are too old, and the oldest ones while all of them are too large."""
        oldest, found = self.oldest(), []
        old = [name for name in self.days() if name < oldest or self._was_to_come(name)]
        if old:
            found.append(self._drop(old, f"kept for {self.keep_days} days"))
        sizes = {name: size(self.folder / "days" / name) for name in self.days()}
        large = []
        while sum(sizes.values()) > self.most and len(sizes) > 1:
            large.append(min(sizes))
            del sizes[large[-1]]
        if large:
            found.append(self._drop(large, f"all lines together over {self.most // 10**6} MB"))
        return found

    def forget_before(self, day: str) -> Dropped | None:
        """Remove the days before one (ISO 8601), whatever they are kept for; None: there is none.
        Only whoever holds `writing` may.
        """
        old = [name for name in self.days() if name < day]
        return self._drop(old, f"before {day}") if old else None

    def _was_to_come(self, name: str) -> bool:
        """Whether a clock that was ahead made this day, so long ago that its lines are too old."""
        tomorrow = (self.now() + datetime.timedelta(days=1)).date().isoformat()
        written = (self.folder / "days" / name / "index" / "meta.json").stat().st_mtime
        age = self.now().timestamp() - written
        return name > tomorrow and age > self.keep_days * 86_400

    def require_room(self) -> None:
        """Raise BackendError when today alone is larger than all may be; a former day will go."""
        names = self.days()
        is_last = len(names) == 1 and names[0] >= self.now().date().isoformat()
        if is_last and size(self.folder / "days" / names[0]) > self.most:
            raise BackendError(
                f"{names[0]} alone has over {self.most // 10**6} MB of lines: no more are taken",
                hint="raise [logs] max_megabytes, or see who asks so much: casemate logs stats"
                " --by user",
            )

    def _drop(self, names: list[str], why: str) -> Dropped:
        total = 0
        for name in names:
            total += size(self.folder / "days" / name)
            self._remove(self.folder / "days" / name)
        return Dropped(days=names, megabytes=total // 10**6, why=why)

    def _remove(self, folder: Path) -> None:
        """At once for readers, and the bytes afterwards."""
        with scratch_folder(self.folder / "tmp") as scratch:
            os.rename(folder, scratch / folder.name)

    def search(self, query: Query, limit: int) -> Found:
        """The newest lines that match, at most `MOST_LINES`.

        Raises:
            ConfigError: the query cannot be read. BackendError: it takes too long.
        """
        limit = max(1, min(limit, MOST_LINES))
        lines: list[LogLine] = []
        matched, names = 0, self._between(query)
        for name in _within(reversed(names), SECONDS):
            left = limit - len(lines)
            for index in self._indexes(name):
                count, hits = index.newest(index.query(query), left)
                matched += count
                lines += index.at([place for _, place in hits])
            if len(lines) >= limit:
                more = matched > len(lines) or name != names[0]
                return Found(lines=lines, matched=matched, more=more)
        return Found(lines=lines, matched=matched, more=False)

    def _between(self, query: Query) -> list[str]:
        """The days that a query is about, oldest first."""
        low, high = (
            otherwise if time is None else time.astimezone(datetime.UTC).date().isoformat()
            for time, otherwise in ((query.since, ""), (query.until, "9999"))
        )
        return [name for name in self.days() if low <= name <= high]

    def _indexes(self, name: str) -> list[Index]:
        """The index of a day, none where somebody has just forgotten it."""
        try:
            return [self.day(name).index] if name in self.days() else []
        except (BackendError, OSError):  # just written anew: now it is there, or damaged
            return [self.day(name).index] if name in self.days() else []

    def ends(self) -> dict[str, int]:
        """Of each day the place behind its last line: where `after` goes on."""
        return {
            name: index.blocks() * BLOCK for name in self.days() for index in self._indexes(name)
        }

    def after(self, ends: dict[str, int], query: Query) -> list[LogLine]:
        """Lines that match and were added behind these places, oldest first; `ends` is moved on."""
        lines: list[LogLine] = []
        for name in self.days():
            for index in self._indexes(name):
                start, end = ends.get(name, 0), index.blocks() * BLOCK
                if end > start:
                    _, hits = index.newest(index.query(query, start), MOST_LINES)
                    lines += index.at([place for _, place in reversed(hits)])
                ends[name] = end
        return lines

    def count(self, by: str, query: Query) -> Counts:
        """How many lines match, by a field or a span of time.

        Raises:
            ConfigError: there is nothing such to count by, or the query cannot be read.
                BackendError: it takes too long.
        """
        if by not in SPANS and by not in COUNTED:
            hint = f"by {', '.join((*SPANS, *COUNTED))}"
            raise ConfigError(f"lines cannot be counted by {by!r}", hint=hint)
        how: dict[str, Any] = (
            {"date_histogram": {"field": "time", "fixed_interval": SPANS[by]}}
            if by in SPANS
            else {"terms": {"field": FIELDS[by], "size": MOST_GROUPS}}
        )
        groups: dict[str, int] = {}
        total = 0
        for name in _within(self._between(query), SECONDS):
            for index in self._indexes(name):
                asked = index.query(query)
                total += index.newest(asked, 1)[0]
                for bucket in index.counts(asked, how):
                    value = str(bucket.get("key_as_string", bucket["key"]))
                    groups[value] = groups.get(value, 0) + int(bucket["doc_count"])
        found = [Group(value=value, lines=lines) for value, lines in groups.items() if lines]
        if by in SPANS:
            found = sorted(found, key=lambda group: group.value)[-MOST_GROUPS:]
        else:
            found = sorted(found, key=lambda group: (-group.lines, group.value))[:MOST_GROUPS]
        return Counts(by=by, lines=total, groups=found)

    def erase(self, query: Query, heed: Callable[[set[str]], object]) -> dict[str, int]:
        """Remove every line that matches, so that no byte of it is left; how many by day. Each day
        concerned is written anew and takes the old one's place, once `heed` has had its lines' ids.
        """
        erased = {}
        for name in self._between(query):
            day = self.day(name)
            count, _ = day.index.newest(day.index.query(query), 1)
            if not count:
                continue
            _, hits = day.index.newest(day.index.query(query), count)
            places = {place for _, place in hits}
            heed({line.id for line in day.index.at(sorted(places))})
            with scratch_folder(self.folder / "tmp") as scratch:
                anew = Day(make_folder(scratch / name))
                kept = (
                    line
                    for number, block in day.index.lines()
                    for place, line in enumerate(block, number * BLOCK)
                    if place not in places
                )
                left = anew.index.add(kept)
                fsync_tree(anew.folder)
                exchange(anew.folder, day.folder)
            if not left:
                self._remove(day.folder)
            erased[name] = count
        self.settle(erased)
        return erased


def _within(names: Iterable[str], seconds: float) -> Iterator[str]:
    """These days, until the time is over."""
    ends = time.monotonic() + seconds
    for name in names:
        if time.monotonic() > ends:
            raise BackendError(
                f"the search took more than {seconds:.0f} s and was given up at {name}",
                hint="ask for fewer days: --since 2d",
            )
        yield name
