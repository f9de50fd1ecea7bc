"""The time series that a watcher keeps: one small file, bounded however long it runs.

Points of one minute become quarters of an hour, and these become parts of a day, as they grow old.
A pass of the watcher is one transaction: what it read, how far it came in its sources, what its
judges know and which alarms stand are all there, or none of it, so nothing counts twice after a
crash. The file can be deleted at any time; then the past is forgotten, and nothing else.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self, TypeVar

import msgspec

from casemate.core.errors import BackendError
from casemate.core.files import make_folder
from casemate.core.store.sqlite import driver
from casemate.core.types import Record

T = TypeVar("T", bound=Record)
Kind = Literal["level", "flow"]
MINUTE, HOUR, DAY = 60, 3600, 86_400
STEPS: dict[int, int] = {MINUTE: 3 * DAY, 15 * MINUTE: 60 * DAY, 6 * HOUR: 5 * 366 * DAY}
"""Seconds of a point -> how long points of that size are kept; then they join the next size."""
MOST_SERIES = 20_000
"""A label with values without end, such as callers who come once, must not fill the disk."""
VERSION = 1
"""Of the file (`PRAGMA user_version`); another one is refused, not read by guess."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, kind TEXT NOT NULL,
  UNIQUE (name, labels));
CREATE TABLE IF NOT EXISTS point (
  series INTEGER NOT NULL, step INTEGER NOT NULL, at INTEGER NOT NULL,
  count REAL NOT NULL, total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
  PRIMARY KEY (series, step, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (place TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
  count = count + excluded.count, total = total + excluded.total,
  low = min(low, excluded.low), high = max(high, excluded.high)
"""
_JOIN = """
INSERT INTO point
  SELECT series, :coarse, at / :coarse * :coarse, sum(count), sum(total), min(low), max(high)
  FROM point WHERE step = :fine AND at < :before GROUP BY series, at / :coarse
ON CONFLICT DO UPDATE SET
  count = count + excluded.count, total = total + excluded.total,
  low = min(low, excluded.low), high = max(high, excluded.high)
"""


class Series(NamedTuple):
    """Which series: a name in the style of Prometheus, with labels in the order of their names."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    kind: Kind = "level"
    """`level`: what is, a point is the mean of its samples. `flow`: what happened, a point is their
    sum."""

    @classmethod
    def level(cls, name: str, **labels: str) -> Self:
        """A series of what is."""
        return cls(name, tuple(sorted(labels.items())), "level")

    @classmethod
    def flow(cls, name: str, **labels: str) -> Self:
        """A series of what happened."""
        return cls(name, tuple(sorted(labels.items())), "flow")

    def __str__(self) -> str:
        if not self.labels:
            return self.name
        return self.name + "{" + ", ".join(f'{key}="{text}"' for key, text in self.labels) + "}"


@dataclass(frozen=True, slots=True)
class Point:
    """A stretch of one series."""

    at: int
    """When it begins, in seconds since 1970."""
    step: int
    """How long it is, in seconds."""
    count: float
    """Samples in it."""
    total: float
    low: float
    high: float

    def value(self, kind: Kind) -> float:
        """The mean of a level, the sum of a flow."""
        return self.total if kind == "flow" else self.total / self.count


@dataclass(frozen=True, slots=True)
class Sample:
    """Something seen: of a level its value; of a flow how much happened."""

    series: Series
    time: float
    """In seconds since 1970."""
    value: float
    count: int = 1
    """Of a level: how many looks this is the mean of."""


class Telemetry:
    """The file of one watcher."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            BackendError: it cannot be opened, or another casemate wrote it.
        """
        make_folder(path.parent)
        self.path = path
        path.touch(0o600)  # SQLite's own files take its mode
        try:
            self._base = driver.connect(path, timeout=10, isolation_level=None)
            # one writer, and a journal that a crash rolls back by itself
            self._base.execute("PRAGMA journal_mode = DELETE")
            self._base.execute("PRAGMA synchronous = FULL")
            found = self._base.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._base.executescript(_SCHEMA + f"PRAGMA user_version = {VERSION};")
            elif found != VERSION:
                raise BackendError(
                    f"{path} was written by another version of casemate",
                    hint="delete it: a watcher begins anew, and nothing but its past is lost",
                )
        except driver.Error as error:
            raise _fault(path, error) from error
        self._numbers: dict[tuple[str, str], int] = {}
        self.left_out = 0
        """Samples of series beyond `MOST_SERIES`."""

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written within, or nothing; other writers wait.

        Raises:
            BackendError: the file cannot be written.
        """
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._numbers.clear()  # some may have been given away in what is undone
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")
        except driver.Error as error:
            raise _fault(self.path, error) from error

    def add(self, samples: Iterable[Sample], step: int = MINUTE) -> None:
        """Add samples to their stretches; late ones go where they belong."""
        rows = []
        for one in samples:
            number = self._number(one.series)
            if number is None:
                self.left_out += 1
                continue
            at, value = int(one.time) // step * step, one.value
            rows.append((number, step, at, float(one.count), value * one.count, value, value))
        self._base.executemany(_ADD, rows)

    def _number(self, series: Series) -> int | None:
        key = (series.name, _text(series.labels))
        number = self._numbers.get(key)
        if number is None:
            found = self._base.execute(
                "SELECT id FROM series WHERE name = ? AND labels = ?", key
            ).fetchone()
            if found is None:
                many = self._base.execute("SELECT count(*) FROM series").fetchone()[0]
                if many >= MOST_SERIES:
                    return None
                cursor = self._base.execute(
                    "INSERT INTO series (name, labels, kind) VALUES (?, ?, ?)", (*key, series.kind)
                )
                found = (int(cursor.lastrowid or 0),)
            number = self._numbers[key] = found[0]
        return number

    def series(self, name: str | None = None) -> list[Series]:
        """Every series, or those of a name."""
        rows = self._base.execute(
            "SELECT name, labels, kind FROM series WHERE ?1 IS NULL OR name = ?1"
            " ORDER BY name, labels",
            (name,),
        )
        return [Series(row[0], _labels(row[1]), row[2]) for row in rows]

    def points(self, series: Series, since: float = 0, until: float = 1e12) -> list[Point]:
        """Its points in the order of time, whatever their size."""
        rows = self._base.execute(
            "SELECT at, step, count, total, low, high FROM point JOIN series ON id = series"
            " WHERE name = ? AND labels = ? AND at >= ? AND at < ? ORDER BY at, step",
            (series.name, _text(series.labels), since, until),
        )
        return [Point(*row) for row in rows]

    def latest(self, series: Series) -> Point | None:
        """Its newest point."""
        found = self._base.execute(
            "SELECT at, step, count, total, low, high FROM point JOIN series ON id = series"
            " WHERE name = ? AND labels = ? ORDER BY at DESC LIMIT 1",
            (series.name, _text(series.labels)),
        ).fetchone()
        return None if found is None else Point(*found)

    def thin(self, now: float) -> None:
        """Let old points join longer stretches, forget those that are older than the longest are
        kept, and the series of which nothing is left.
        """
        steps = list(STEPS)
        for fine, coarse in itertools.pairwise(steps):
            before = int(now - STEPS[fine]) // coarse * coarse  # whole stretches only
            where = {"fine": fine, "coarse": coarse, "before": before}
            self._base.execute(_JOIN, where)
            self._base.execute("DELETE FROM point WHERE step = :fine AND at < :before", where)
        oldest = int(now - STEPS[steps[-1]])
        self._base.execute("DELETE FROM point WHERE at < ?", (oldest,))
        gone = "DELETE FROM series WHERE id NOT IN (SELECT DISTINCT series FROM point)"
        if self._base.execute(gone).rowcount:
            self._numbers.clear()

    def before(self, time: float) -> tuple[int, float]:
        """(points that ended before a time, when the oldest of all began; 0: there is none)."""
        count, oldest = self._base.execute(
            "SELECT count(*) FILTER (WHERE at + step <= ?), min(at) FROM point", (time,)
        ).fetchone()
        return int(count), float(oldest or 0)

    def drop(self, time: float) -> int:
        """Delete points that ended before a time, and series of which nothing is left; how many."""
        count = self._base.execute("DELETE FROM point WHERE at + step <= ?", (time,)).rowcount
        self._base.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM point)")
        self._numbers.clear()
        return int(count)

    def keep(self, place: str, value: Record) -> None:
        """Remember a record under a name, instead of what stood there."""
        self._base.execute(
            "INSERT INTO kept VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            (place, msgspec.json.encode(value)),
        )

    def kept(self, place: str, kind: type[T]) -> T | None:
        """What is remembered under a name; None: nothing.

        Raises:
            BackendError: it is something else.
        """
        found = self._base.execute("SELECT value FROM kept WHERE place = ?", (place,)).fetchone()
        return None if found is None else self._decoded(place, found[0], kind)

    def all_kept(self, prefix: str, kind: type[T]) -> Mapping[str, T]:
        """What is remembered under names that begin so, by what follows."""
        rows = self._base.execute(
            "SELECT place, value FROM kept WHERE substr(place, 1, ?) = ? ORDER BY place",
            (len(prefix), prefix),
        ).fetchall()
        return {place[len(prefix) :]: self._decoded(place, value, kind) for place, value in rows}

    def names(self, prefix: str) -> list[str]:
        """Names that begin so, by what follows, in order."""
        rows = self._base.execute(
            "SELECT substr(place, ?2) FROM kept WHERE substr(place, 1, ?1) = ?3 ORDER BY place",
            (len(prefix), len(prefix) + 1, prefix),
        )
        return [row[0] for row in rows]

    def forget(self, place: str) -> None:
        """Remember nothing under a name any more."""
        self._base.execute("DELETE FROM kept WHERE place = ?", (place,))

    def _decoded(self, place: str, value: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(value, type=kind)
        except msgspec.MsgspecError as error:
            raise BackendError(
                f"{self.path} holds something else than expected at {place!r}: {error}",
                hint="delete it: a watcher begins anew, and nothing but its past is lost",
            ) from error


def _text(labels: tuple[tuple[str, str], ...]) -> str:
    return msgspec.json.encode(labels).decode()


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    return msgspec.json.decode(text, type=tuple[tuple[str, str], ...])


def _fault(path: Path, error: Exception) -> BackendError:
    return BackendError(
        f"{path} cannot be read or written: {error}",
        hint="free disk space, or delete the file: nothing but a watcher's past is in it",
    )
