"""Dates that show less: the year alone, or moved by a secret number of days, the same for all dates
of a person.

Ages from 90 on are one group, and so are the years that would show them: a year that lies 90 or
more before the latest date of its row's subject (of a date of birth alone: before this year)
becomes that year less 90, which means "or earlier".
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.stages.data.identifiers.cells import Cells
from casemate.stages.data.identifiers.groups import meant
from casemate.stages.data.roles import names

GROUP = 90
"""The age from which people are one group, 45 CFR 164.514(b)(2)(i)(C)."""
DAY, ONE = np.timedelta64(1, "D"), datetime.timedelta(days=1)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Changed:
    """A column in another form."""

    cells: pa.ChunkedArray
    changed: int
    lost: int = 0
    """Cells that were no dates, or had no subject, or could not be moved, and are missing now."""


def latest_years(
    columns: Sequence[Cells], whose: Sequence[Cells], rows: int, this_year: int
) -> Array:
    """The year of each person's latest date, float [rows]; this year where only a date of birth is
    known, or nothing.

    Args:
        columns: dates.
        whose: columns that join rows to people; a row where one is missing joins no other.
        rows: of the table.
        this_year: later ones are no dates of anybody, but stand for "never" or "unknown".
    """
    latest = np.full(rows, np.nan)
    for cells in columns:
        if not names.says(cells.name, names.BIRTHS):
            found = _years(cells.times)
            latest = np.fmax(latest, np.where(found > this_year, np.nan, found))
    for cells in whose:
        people, known = meant(cells), cells.text.is_valid().to_numpy()
        of = np.full(int(people.max(initial=-1)) + 1, np.nan)
        np.fmax.at(of, people[known], latest[known])
        latest[known] = of[people[known]]
    return np.where(np.isnan(latest), float(this_year), latest)


def years(cells: Cells, latest: Array) -> Changed:
    """The year of each date, int64, as text where the column is text."""
    found = np.fmax(_years(cells.times), latest - GROUP)
    gone = np.isnan(_years(cells.times))
    column = pa.array(np.where(gone, 0, found).astype(np.int64), mask=gone)
    if cells.is_text:
        column = column.cast(pa.string())
    return Changed(pa.chunked_array([column]), int((~gone).sum()), _lost(cells, gone))


def shifted(cells: Cells, days: Array) -> Changed:
    """Each date so many days earlier, written as it was.

    Args:
        cells: dates.
        days: float [rows], NaN where the row has no subject.

    Dates of the first and the last year that there are stand for "unknown" and "never". They become
    missing: the first cannot be moved, and 9999-12-31 would tell by how many days it was.
    """
    missing = cells.times.is_null().to_numpy() | np.isnan(days)
    years_ = _years(cells.times)
    missing |= (years_ <= datetime.MINYEAR) | (years_ >= datetime.MAXYEAR)
    back = np.where(missing, 0, days).astype("int64")
    if cells.date_form == "typed":
        micro = pc.fill_null(cells.times.cast(pa.int64()), 0).to_numpy()
        stamps = micro.astype("datetime64[us]") - back * DAY
        moved = pa.array(stamps, pa.timestamp("us"), mask=missing)
        column = moved.cast(cells.column.type, safe=False)
    else:
        column = _each(cells, missing, back, lambda time, days: time - days * ONE)
    return Changed(pa.chunked_array([column]), int((~missing).sum()), _lost(cells, missing))


def grouped(cells: Cells, latest: Array) -> pa.ChunkedArray:
    """Dates that show an age of 90 or more as the first day of the group's year. That day is of the
    table as it is released: one that moved with the person would tell by how many days.
    """
    years_ = _years(cells.times)
    keep = ~(years_ < latest - GROUP)
    floors = np.where(keep, 1970, latest - GROUP).astype("int64")
    if cells.date_form == "typed":
        stamps = (floors - 1970).astype("datetime64[Y]").astype("datetime64[us]")
        first = pa.array(stamps, pa.timestamp("us")).cast(cells.column.type, safe=False)
    else:
        first = _each(cells, keep, floors, lambda _, year: datetime.datetime(year, 1, 1))  # noqa: DTZ001 - as it is written
    return pc.if_else(pa.array(keep), cells.column, pa.chunked_array([first]))


def _each(
    cells: Cells,
    left_out: Array,
    amounts: Array,
    change: Callable[[datetime.datetime, int], datetime.datetime],
) -> pa.Array:
    """Every cell that is text changed, time of day and notation kept; null where it is left out."""
    form = cells.date_form
    texts = cells.text.to_pylist()
    made: list[str | None] = [None] * len(texts)
    done: dict[tuple[str, int], str] = {}
    for row in np.flatnonzero(~left_out):
        key = (texts[row].strip(), int(amounts[row]))
        if key not in done:
            done[key] = _rewritten(key[0], form, partial(_changed, change, key[1]))
        made[row] = done[key]
    column = pa.array(made, pa.string())
    return column if cells.is_text else column.cast(cells.column.type)  # 20190216


def _changed(
    change: Callable[[datetime.datetime, int], datetime.datetime],
    amount: int,
    time: datetime.datetime,
) -> datetime.datetime:
    return change(time, amount)


def _rewritten(
    text: str, form: str, change: Callable[[datetime.datetime], datetime.datetime]
) -> str:
    if form == "iso":
        return change(datetime.datetime.fromisoformat(text[:10])).date().isoformat() + text[10:]
    time = datetime.datetime.strptime(text, form)  # noqa: DTZ007 - as it is written
    day = change(time)
    return datetime.datetime.combine(day.date(), time.time()).strftime(form)


def _years(times: pa.ChunkedArray) -> Array:
    return np.asarray(pc.year(times).cast(pa.float64()).to_numpy(), dtype=np.float64)


def _lost(cells: Cells, missing: Array) -> int:
    return int(missing.sum()) - int(cells.column.null_count)


def offsets(subjects: Sequence[str | None], days_of: Mapping[str, int]) -> Array:
    """By how many days each row's dates move, float [rows]; NaN where the row has no subject."""
    return np.array([np.nan if one is None else days_of[one] for one in subjects])
