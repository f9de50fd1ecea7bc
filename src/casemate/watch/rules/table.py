"""The table that rules are asked about: one batch of lines in memory, which SQL made from a rule
can read and nothing else.

Four bars, each enough alone against what a back end might once make of a strange rule: the
authorizer lets a statement be prepared only if it reads this table and calls functions of a list;
`query_only` while rules are asked; a statement's steps and its time are bounded; and there is no
file behind it (an attached database or a loaded library is refused by the first two).
"""

import contextlib
import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from casemate.core.errors import BackendError
from casemate.core.store.sqlite import driver
from casemate.watch.logs.line import LogLine
from casemate.watch.rules.fields import FIELDS, NUMBERS

TABLE, ROW = "lines", "row"
FUNCTIONS = frozenset({"like", "glob", "regexp", "coalesce", "replace", "strftime"})
"""All that the back end calls for the modifiers that are let through."""
MOST_TEXT = 4_000
"""Characters of a field that are looked at: twice the longest message."""
MOST_STEPS = 200_000_000
"""Instructions of SQLite's machine for one rule and one batch: a thousand times what the longest
rule takes of the largest batch.
"""
MOST_SECONDS = 10.0
"""For the same, whatever the instructions cost."""
STEPS = 10_000
"""Instructions between two looks at the bounds."""
MEMORY = 1 << 20
"""Bytes for one compiled regular expression."""


class Unanswered(Exception):
    """A rule's statement went over a bound, or failed."""


@functools.cache
def expression(pattern: str) -> Any:
    """A regular expression, by RE2: its time is linear in the text, whatever the pattern.

    Raises:
        re2.error: RE2 has no such expression, or it is too large.
    """
    import re2

    options = re2.Options()
    options.max_mem = MEMORY
    options.log_errors = False
    return re2.compile(pattern, options)


class Table:
    """Lines in memory; not for several threads at once."""

    def __init__(self) -> None:
        self._connection = driver.connect(":memory:", isolation_level=None, cached_statements=512)
        self._steps, self._until = 0, 0.0
        columns = [
            f"`{name}` {'INTEGER' if name in NUMBERS else 'TEXT COLLATE NOCASE'}" for name in FIELDS
        ]
        self._connection.execute("PRAGMA trusted_schema=OFF")
        self._connection.execute(
            f"CREATE TABLE {TABLE} ({ROW} INTEGER PRIMARY KEY, {', '.join(columns)})"
        )
        self.need(FIELDS)
        self._connection.create_function("regexp", 2, _matches, deterministic=True)

    def need(self, fields: Iterable[str]) -> None:
        """Hold only these from now on: what no rule reads costs most of the time."""
        names = sorted(fields)
        self._attributes = [FIELDS[name] for name in names]
        columns = ", ".join([ROW, *(f"`{name}`" for name in names)])
        marks = ", ".join("?" * (len(names) + 1))
        self._insert = f"INSERT INTO {TABLE} ({columns}) VALUES ({marks})"  # noqa: S608 - constants

    def fill(self, lines: Sequence[LogLine]) -> None:
        """Hold these instead of those before; a line's row is its place among them."""
        self._connection.execute("BEGIN")
        self._connection.execute(f"DELETE FROM {TABLE}")  # noqa: S608 - a constant
        self._connection.executemany(
            self._insert,
            (
                (row, *[_stored(getattr(line, name)) for name in self._attributes])
                for row, line in enumerate(lines)
            ),
        )
        self._connection.execute("COMMIT")

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While rules are asked, nothing can be written."""
        self._connection.execute("PRAGMA query_only=ON")
        self._connection.set_authorizer(_authorized)
        try:
            yield
        finally:
            self._connection.set_authorizer(None)
            self._connection.execute("PRAGMA query_only=OFF")

    def rows(self, query: str) -> list[int]:
        """Where a statement of the back end holds, in order; call it while `asking`.

        Raises:
            Unanswered: it went over a bound, or is no statement that this table answers.
        """
        self._steps, self._until = 0, time.monotonic() + MOST_SECONDS
        self._connection.set_progress_handler(self._is_over, STEPS)
        try:
            asked = f"SELECT {ROW} FROM ({query}) ORDER BY {ROW}"  # noqa: S608 - see above: barred
            found = self._connection.execute(asked)
            return [row for (row,) in found]
        except (driver.Error, driver.Warning, ValueError) as error:
            over = self._steps > MOST_STEPS or time.monotonic() > self._until
            why = "it takes too long" if over else f"SQLite refuses it: {error}"
            raise Unanswered(why) from error
        finally:
            self._connection.set_progress_handler(None, STEPS)

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    def _is_over(self) -> int:
        self._steps += STEPS
        return int(self._steps > MOST_STEPS or time.monotonic() > self._until)


def _stored(value: str | int | None) -> str | int | None:
    """A value as rules see it: what is absent is null, and all of it is text."""
    if not isinstance(value, str):
        return value
    text = value[:MOST_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode(errors="replace").decode()
    return text or None


def _matches(pattern: str, text: str | int | None) -> bool:
    return text is not None and expression(pattern).search(str(text)) is not None


def _authorized(
    action: int, first: str | None, second: str | None, _base: str | None, _by: str | None
) -> int:
    allowed = (
        action == driver.SQLITE_SELECT
        or (action == driver.SQLITE_READ and first in (TABLE, ""))
        or (action == driver.SQLITE_FUNCTION and second in FUNCTIONS)
    )
    return int(driver.SQLITE_OK if allowed else driver.SQLITE_DENY)


def usable() -> None:
    """BackendError: what rules need is not installed."""
    try:
        import re2  # noqa: F401
        import sigma.backends.sqlite  # noqa: F401
    except ImportError as error:
        raise BackendError(
            "rules over log lines need pySigma, its SQLite back end and RE2",
            hint="pip install 'casemate[sigma]'",
        ) from error
