"""Times of day and durations: numbers of hours and seconds."""

import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import ColumnTable
from casemate.stages.data import spans
from casemate.stages.data.odd import NOTABLE, examples
from casemate.stages.data.roles import names
from casemate.stages.data.roles.numbers import MISSING_WORDS, MOSTLY, unsure
from casemate.stages.data.roles.types import Column, Role

SAID = {
    "clock": "times of day, read as hours since midnight",
    "duration": "durations, read as seconds",
}


def lengths(column: Column) -> Role | None:
    """A column of times of day, or of durations; a clock that goes beyond a day, or is named so,
    counts how long something took.
    """
    if pa.types.is_time(column.cells.type):
        return column.role("number", ColumnTable(type="number", format="clock"), SAID["clock"])
    if not column.is_text or column.plain is not None:
        return None
    form = _form(column)
    if form is None:
        return None
    marks = sorted(
        word for word in pc.unique(column.valid).to_pylist()[:1000] if word.lower() in MISSING_WORDS
    )
    cells = (
        column.cells
        if not marks
        else pc.if_else(
            pc.is_in(column.cells, pa.array(marks)), pa.scalar(None, pa.string()), column.cells
        )
    )
    found = spans.numbers(cells, form)
    wrong = cells.filter(pc.and_(pc.is_valid(cells), pc.is_null(found)))
    entry = ColumnTable(type="number", format=form, missing=marks)
    count = len(cells) - cells.null_count
    if len(wrong) > NOTABLE * count:
        return unsure(column, wrong, entry)
    notes = (
        [f"{column.count - count} cells mean missing: {', '.join(map(repr, marks))}"]
        if marks
        else []
    )
    if len(wrong):
        entry = ColumnTable(type="number", format=form, missing=marks, coerce=True)
        notes.append(
            f"{len(wrong)} cells are no {'times of day' if form == 'clock' else 'durations'} and"
            f" become missing: {examples(wrong)}"
        )
    if form == "duration" and pc.any(pc.match_substring_regex(cells, r"^-?\d+:\d\d$")).as_py():
        notes.append(
            "1:30 is read as hours and minutes; where minutes and seconds are meant, nothing but"
            " the unit is another"
        )
    return column.role("number", entry, SAID[form], "; ".join(notes))


def _form(column: Column) -> str | None:
    """`clock` or `duration`, whichever most of some cells are; None: neither."""
    sample = column.sample
    least = MOSTLY * max(len(sample), 1)

    def read(form: str) -> int:
        found = spans.numbers(sample, form)
        return int(len(found) - found.null_count)

    if not pc.any(pc.match_substring_regex(sample, spans.SURE)).as_py():
        return None
    clock, duration = read("clock"), read("duration")
    if max(clock, duration) < max(least, 1):
        return None
    return (
        "clock" if clock >= duration and not names.says(column.name, names.LENGTHS) else "duration"
    )
