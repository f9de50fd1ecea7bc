"""Dates that show less: the year alone, or moved by a secret number of days that is the same for all
dates of a person.

Ages from 90 on are one group, and so are the years that would show them: a year that lies 90 or
more before the latest date of its row (of a date of birth alone: before this year) becomes that
year less 90, which means "or earlier".
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.stages.data.identifiers.cells import Cells
from casemate.stages.data.roles import names

GROUP = 90
"""The age from which people are one group, 45 CFR 164.514(b)(2)(i)(C)."""
DAY = np.timedelta64(1, "D")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Changed:
    """A column in another form."""

    cells: pa.ChunkedArray
    changed: int
    lost: int = 0
    """Cells that were no dates, or had no subject, and are missing now."""


def latest_years(columns: Sequence[Cells], rows: int, this_year: int) -> Array:
    """The year of each row's latest date, float [rows]; this year where only a date of birth is
    known, or nothing.
    """
    latest = np.full(rows, np.nan)
    for cells in columns:
        if not names.says(cells.name, names.BIRTHS):
            latest = np.fmax(latest, _years(cells.times))
    return np.where(np.isnan(latest), float(this_year), latest)


def years(cells: Cells, latest: Array) -> Changed:
    """The year of each date, int64, as text where the column is text."""
    found = np.fmax(_years(cells.times), latest - GROUP)
    gone = np.isnan(_years(cells.times))
    column = pa.array(np.where(gone, 0, found).astype(np.int64), mask=gone)
    if cells.is_text:
        column = column.cast(pa.string())
    return Changed(pa.chunked_array([column]), int((~gone).sum()), _lost(cells, gone))


def shifted(cells: Cells, days: Array, latest: Array) -> Changed:
    """Each date so many days earlier, written as it was.

    Args:
        cells: dates.
        days: float [rows], NaN where the row has no subject.
        latest: see `latest_years`; a date that shows an age of 90 or more becomes the first day of
            the year of the group, which moves with the rest.
    """
    micro = pc.fill_null(cells.times.cast(pa.int64()), 0).to_numpy()
    missing = cells.times.is_null().to_numpy() | np.isnan(days)
    if cells.date_form != "typed":
        return _written(cells, days, latest, missing)
    stamps = micro.astype("datetime64[us]")
    stamps = _grouped(stamps, latest) - np.where(missing, 0, days).astype("int64") * DAY
    moved = pa.array(stamps, pa.timestamp("us"), mask=missing)
    moved = moved.cast(cells.column.type, safe=False)
    return Changed(pa.chunked_array([moved]), int((~missing).sum()), _lost(cells, missing))


def _grouped(stamps: Array, latest: Array) -> Array:
    floors = (np.nan_to_num(latest) - GROUP - 1970).astype("int64").view("datetime64[Y]")
    return np.maximum(stamps, floors.astype("datetime64[us]"))


def _written(cells: Cells, days: Array, latest: Array, missing: Array) -> Changed:
    """The same for dates that are text, whose time of day and notation stay."""
    form = cells.date_form
    texts = cells.text.to_pylist()
    made: list[str | None] = [None] * len(texts)
    moved: dict[tuple[str, int, int], str] = {}
    for row in np.flatnonzero(~missing):
        key = (texts[row].strip(), int(days[row]), int(latest[row]))
        if key not in moved:
            moved[key] = _earlier(*key, form)
        made[row] = moved[key]
    column = pa.array(made, pa.string())
    if not cells.is_text:  # 20190216
        column = column.cast(cells.column.type)
    return Changed(pa.chunked_array([column]), int((~missing).sum()), _lost(cells, missing))


def _earlier(text: str, days: int, latest: int, form: str) -> str:
    first = datetime.datetime(max(latest - GROUP, 1), 1, 1)  # noqa: DTZ001 - as it is written
    delta = datetime.timedelta(days=days)
    if form == "iso":
        day = datetime.datetime.fromisoformat(text[:10])
        return f"{_back(max(day, first), delta):%Y-%m-%d}".zfill(10) + text[10:]
    time = datetime.datetime.strptime(text, form)  # noqa: DTZ007 - as it is written
    if "%y" not in form:  # of two digits nobody knows the century
        time = max(time, first)
    return _back(time, delta).strftime(form)


def _back(time: datetime.datetime, delta: datetime.timedelta) -> datetime.datetime:
    return time - delta if time - datetime.datetime.min > delta else time


def _years(times: pa.ChunkedArray) -> Array:
    return np.asarray(pc.year(times).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _lost(cells: Cells, missing: Array) -> int:
    return int(missing.sum()) - cells.column.null_count


def offsets(subjects: Sequence[str | None], days_of: Mapping[str, int]) -> Array:
    """By how many days each row's dates move, float [rows]; NaN where the row has no subject."""
    return np.array([np.nan if one is None else days_of[one] for one in subjects])
