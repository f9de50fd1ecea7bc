"""Dates and times: how they are written, whether they order the rows, and which features
they give.
"""

import dataclasses
import datetime
import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable, Part
from casemate.stages.data import notation
from casemate.stages.data.odd import NOTABLE, examples
from casemate.stages.data.roles import names
from casemate.stages.data.roles.numbers import MISSING_WORDS, MOSTLY, unsure
from casemate.stages.data.roles.types import Column, Role

SEASON, WEEKS = 60.0, 14.0
"""Days that times span from which their month, and their weekday, says anything."""
ORDERING = 10
"""Different times from which a column can order the rows."""
EPOCH_S, EPOCH_MS = (2.0**28, 2.0**32), (2.0**38, 2.0**42)
"""Seconds and milliseconds since 1970 between 1978 and 2106; 1978 and 2109."""


def dates(column: Column) -> Role | None:
    """A column of times, however they are written; one that allows two readings is decided by
    `settle`.
    """
    if pa.types.is_temporal(column.cells.type):
        kind = column.cells.type
        if pa.types.is_duration(kind) or pa.types.is_time(kind):
            return None
        return _date(
            column,
            column.cells.cast(pa.timestamp("us")),
            ColumnTable(type="time"),
            "a time by its type",
        )
    if column.whole is not None:
        return _numbered(column)
    if column.plain is not None or not column.is_text:
        return None
    marks = sorted(
        word
        for word in pc.unique(column.sample).to_pylist()[:1000]
        if word.lower() in MISSING_WORDS
    )
    cells = (
        column.cells
        if not marks
        else pc.if_else(
            pc.is_in(column.cells, pa.array(marks)), pa.scalar(None, pa.string()), column.cells
        )
    )
    sample = (
        column.sample
        if not marks
        else column.sample.filter(pc.invert(pc.is_in(column.sample, pa.array(marks))))
    )
    forms = notation.formats(sample, MOSTLY)
    if not forms:
        return None
    read = {form: notation.times(cells, form) for form in forms}
    most = max(len(times) - times.null_count for times in read.values())
    different = [form for form, times in read.items() if len(times) - times.null_count == most]
    different = [
        form
        for place, form in enumerate(different)
        if not any(read[form].equals(read[other]) for other in different[:place])
    ]
    times = read[different[0]]
    entry = ColumnTable(type="time", format=different[0], missing=marks)
    wrong = cells.filter(pc.and_(pc.is_valid(cells), pc.is_null(times)))
    if len(wrong) > NOTABLE * (len(cells) - cells.null_count):
        return unsure(column, wrong, entry)
    if len(different) > 1:
        role = column.role("unsure", entry, f"dates that can be read in {len(different)} ways")
        return dataclasses.replace(role, forms=tuple(different))
    note = (
        f"{column.count - (len(cells) - cells.null_count)} cells mean missing:"
        f" {', '.join(map(repr, marks))}"
        if marks
        else ""
    )
    if len(wrong):
        entry = ColumnTable(type="time", format=different[0], missing=marks, coerce=True)
        note = "; ".join(
            filter(
                None,
                [note, f"{len(wrong)} cells are no times and become missing: {examples(wrong)}"],
            )
        )
    return dataclasses.replace(
        _date(column, times, entry, f"dates written as {different[0]}"), note=note
    )


def _numbered(column: Column) -> Role | None:
    """Whole numbers that count from 1970, or are digits like 20190216; only under the name of a
    time.
    """
    if not names.says(column.name, names.TIMES | names.BIRTHS) or not column.whole_positive:
        return None
    low, high = column.extremes
    for form, (least, most) in (("epoch-s", EPOCH_S), ("epoch-ms", EPOCH_MS)):
        if least <= low and high <= most:
            return _date(
                column,
                notation.times(column.cells, form),
                ColumnTable(type="time", format=form),
                f"numbers since 1970 ({form})",
            )
    if low >= 19000101 and high <= 21001231:
        text = (
            column.whole.cast(pa.int64()).cast(pa.string())
            if column.whole is not None
            else column.cells
        )
        times = notation.times(text, "%Y%m%d")
        if times.null_count == column.cells.null_count:
            return _date(
                column, times, ColumnTable(type="time", format="%Y%m%d"), "dates written as %Y%m%d"
            )
    return None


def _date(column: Column, times: pa.ChunkedArray, entry: ColumnTable, reason: str) -> Role:
    days = notation.days(times)
    ends = pc.min_max(times).as_py()
    span = (ends["max"] - ends["min"]).total_seconds() / 86_400 if ends["min"] is not None else 0.0
    clock = bool((days[~np.isnan(days)] % 1 != 0).any())
    born = names.says(column.name, names.BIRTHS)
    orders = not born and times.null_count == 0 and pc.count_distinct(times).as_py() >= ORDERING
    return dataclasses.replace(
        column.role("date", entry, reason), orders=orders, clock=clock, span=span
    )


def settle(roles: list[Role], now: datetime.datetime) -> list[Role]:
    """Dates that allow two readings are read as the table's other dates are, or left out and asked
    about; then features are chosen.
    """
    decided = {
        order
        for role in roles
        if role.role == "date" and (order := _order(role.entry.format or ""))
    }
    roles = [_settled(role, decided) if role.forms else role for role in roles]
    anchor = next((role for role in roles if role.role == "date" and role.orders), None)
    return [_featured(role, anchor, now) if role.role == "date" else role for role in roles]


def _order(form: str) -> str:
    """Whether day or month comes first, where both are digits; empty where that is no question."""
    places = {"d": form.find("%d"), "m": form.find("%m")}
    if min(places.values()) < 0 or form.startswith("%Y"):
        return ""
    return min(places, key=lambda part: places[part])


def _settled(role: Role, decided: set[str]) -> Role:
    fitting = [form for form in role.forms if _order(form) in decided]
    if len(decided) == 1 and len(fitting) == 1:
        entry = ColumnTable(type="time", format=fitting[0], missing=role.entry.missing)
        reason = f"dates written as {fitting[0]}, as the table's other dates are"
        return dataclasses.replace(
            role, role="date", entry=entry, reason=reason, forms=(), span=SEASON
        )
    choices = " or ".join(
        f'{json.dumps(role.name, ensure_ascii=False)} = {{ type = "time", format ='
        f" {json.dumps(form)} }}"
        for form in role.forms
    )
    note = f"{role.example} is two dates, and no cell says which: left out; say {choices}"
    return dataclasses.replace(role, entry=ColumnTable(type="text", use=False), note=note)


def _featured(role: Role, anchor: Role | None, now: datetime.datetime) -> Role:
    """Calendar parts, and days until the row's own time: nothing that grows from month to month by
    itself.
    """
    parts: list[Part] = ["month"] if role.span >= SEASON else []
    parts += ["weekday"] if role.span >= WEEKS else []
    parts += ["hour"] if role.clock else []
    since = None
    if anchor is not None and role.name != anchor.name:
        parts, since = [*parts, "days"], anchor.name
    elif names.says(role.name, names.BIRTHS):
        parts, since = ["days"], now.date().isoformat()
    entry = role.entry
    entry = ColumnTable(
        type=entry.type,
        format=entry.format,
        missing=entry.missing,
        coerce=entry.coerce,
        parts=parts,
        since=since,
        use=None if parts else False,
    )
    made = ", ".join(f"{role.name}_{part}" for part in parts)
    return dataclasses.replace(
        role,
        entry=entry,
        reason=f"{role.reason}: {made}" if parts else f"{role.reason}, which say nothing of a row",
    )
