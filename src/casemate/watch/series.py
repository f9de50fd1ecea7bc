"""Series in files: a column of times and one of numbers, read row by row; and put on even steps."""

import csv
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from casemate.core.errors import ConfigError, DataError

Array = np.ndarray[Any, Any]
EPOCHS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (-1e11, 1.0))
"""From which number on a time is in nano-, micro-, milliseconds or seconds since 1970: each is
beyond the year 5000 in the unit below."""
MOST_EVEN = 2_000_000
"""Even steps of a series, at most: four years of minutes, 16 MB."""
SEPARATORS = ",;\t|"


class Row(NamedTuple):
    """One row of a file."""

    line: int
    cells: list[str]
    time: float | None
    """Seconds since 1970, UTC; None: no time is written there."""
    value: float | None


class Reader:
    """Reads a file of separated values, or `-` for standard input, as it comes."""

    def __init__(self, lines: TextIO, name: str, time: str, value: str) -> None:
        """Read the header.

        Raises:
            DataError: there is none, or it lacks a column or has it twice.
        """
        self.name = name
        head = lines.readline()
        if not head.strip():
            raise DataError(f"{name} is empty", hint="give a table with a header and rows")
        self.separator = max(SEPARATORS, key=head.count)
        self.header = [cell.strip() for cell in next(csv.reader([head], delimiter=self.separator))]
        for column in (time, value):
            count = self.header.count(column)
            if count != 1:
                known = ", ".join(self.header[:20])
                raise DataError(
                    f"{name} has {'no' if not count else 'more than one'} column {column!r}",
                    hint=f"its columns: {known}; name them with --time and --value",
                )
        self.at = self.header.index(time), self.header.index(value)
        self.rows = csv.reader(lines, delimiter=self.separator)

    def __iter__(self) -> Iterator[Row]:
        """Row after row.

        Raises:
            DataError: the first row has no time that can be read, or a row is no text.
        """
        time, value = self.at
        is_first = True
        try:
            for cells in self.rows:
                if not cells:
                    continue
                short = len(cells) <= max(time, value)
                when = None if short else seconds(cells[time])
                if is_first and when is None:
                    said = "" if short else cells[time][:40]
                    raise DataError(
                        f"{self.name} begins with {said!r}, which is no time",
                        hint="write times as 2026-01-31 14:30:00 or as seconds since 1970",
                    )
                is_first = False
                number = None if short else _number(cells[value], self.separator)
                yield Row(self.rows.line_num + 1, cells, when, number)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.name} cannot be read after line {self.rows.line_num + 1}: {error}",
                hint="give separated values as UTF-8 text",
            ) from error


def opened(path: str) -> TextIO:
    """The file as text, or standard input for `-`.

    Raises:
        ConfigError: there is no such file.
    """
    if path == "-":
        return sys.stdin
    if not Path(path).is_file():
        raise ConfigError(f"no such file {path}", hint="give the path of a table, or - for input")
    return Path(path).open(encoding="utf-8-sig", newline="")


def seconds(text: str) -> float | None:
    """A time as seconds since 1970, UTC; None if the text says none."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text.replace("/", "-"))
        except ValueError:
            return None
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    if not isfinite(number):
        return None
    return next((number / unit for least, unit in EPOCHS if number >= least), None)


def _number(text: str, separator: str) -> float | None:
    text = text.strip()
    if separator == ";":
        text = text.replace(",", ".")
    try:
        found = float(text)
    except ValueError:
        return None
    return found if isfinite(found) else None


class Even(NamedTuple):
    """A series on even steps."""

    values: Array
    """Finite float64 [n]."""
    every: float
    """Seconds between them."""
    end: float
    """Of the last one, seconds since 1970."""
    filled: int
    left_out: int


def evenly(times: Sequence[float | None], values: Sequence[float | None]) -> Even:
    """Points in the order of time, each time once, gaps filled along a line.

    Raises:
        DataError: fewer than two points, or so far apart that their steps cannot be held.
    """
    if len(times) != len(values):
        raise DataError(
            f"{len(times)} times and {len(values)} values", hint="give one time for each value"
        )
    moments = np.array([np.nan if one is None else one for one in times], float)
    numbers = np.array([np.nan if one is None else one for one in values], float)
    usable = np.isfinite(moments) & np.isfinite(numbers)
    moments, first = np.unique(moments[usable], return_index=True)
    numbers = numbers[usable][first]
    if len(moments) < 2:
        raise DataError(
            f"the series has {len(moments)} points with a time and a number",
            hint="name the right columns with --time and --value",
        )
    every = float(np.median(np.diff(moments)))
    steps = np.round((moments - moments[-1]) / every)
    if steps[0] < -MOST_EVEN:
        raise DataError(
            f"the series has {-steps[0]:.0f} steps of {every:g} seconds, more than {MOST_EVEN}",
            hint="is a time wrong? else give fewer rows",
        )
    grid = np.arange(int(steps[0]), 1)
    return Even(
        values=np.interp(grid * every, moments - moments[-1], numbers),
        every=every,
        end=float(moments[-1]),
        filled=len(grid) - len(np.unique(steps)),
        left_out=len(times) - len(moments),
    )
