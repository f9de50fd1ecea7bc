"""A column's cells as text, each different one once, and how dates are written in it."""

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from casemate.stages.data import notation
from casemate.stages.data.roles import names
from casemate.stages.data.roles.numbers import MISSING_WORDS

SAMPLE = 2000
"""Cells from which is told how dates are written."""
MOSTLY = 0.9
"""Share of the cells that a column's kind is read from: the rest may be errors of typing."""
WORDS, DIFFERENT, LONG = 4.0, 0.3, 200
"""Cells are free text from so many words on the average, if so large a share of them differs
(sentences that repeat are categories), and always if the average has so many characters."""


@dataclass(frozen=True)
class Cells:
    """One column, as it is looked at."""

    name: str
    column: pa.ChunkedArray

    @cached_property
    def is_text(self) -> bool:
        """Whether the column holds text."""
        kind = self.column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return bool(
            pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
        )

    @cached_property
    def text(self) -> pa.ChunkedArray:
        """The cells as text [rows], null where there is none or a word that means so."""
        kind = self.column.type
        if pa.types.is_floating(kind):  # whole numbers get fractions as soon as one is missing
            whole = pc.if_else(pc.equal(pc.floor(self.column), self.column), self.column, None)
            sound = pc.less(pc.abs(whole), 2.0**53)
            number = pc.if_else(sound, whole, None).cast(pa.int64()).cast(pa.string())
            return pc.coalesce(number, self.column.cast(pa.string()))
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_nested(kind):
            cells = [None if cell is None else str(cell) for cell in self.column.to_pylist()]
            return pa.chunked_array([pa.array(cells, pa.string())])
        text = self.column.cast(pa.string())
        known = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(text)), pa.array(_GAPS))
        return pc.if_else(known, pa.scalar(None, pa.string()), text)

    @cached_property
    def different(self) -> pa.Array:
        """Every different cell once."""
        return self._counted.field("values")

    @cached_property
    def counts(self) -> pa.Array:
        """How often each of `different` is there."""
        return self._counted.field("counts")

    @cached_property
    def _counted(self) -> pa.StructArray:
        return pc.value_counts(self.text.drop_null().combine_chunks())

    @cached_property
    def filled(self) -> int:
        """Cells that are not missing."""
        return int(len(self.text) - self.text.null_count)

    @cached_property
    def is_free_text(self) -> bool:
        """Whether the cells are sentences that somebody wrote."""
        if not self.is_text or not self.filled or self.date_form:
            return False
        length = pc.mean(pc.utf8_length(self.different)).as_py()
        spaces = pc.mean(pc.count_substring(self.different, " ")).as_py()
        return bool(
            length >= LONG
            or (spaces + 1 >= WORDS and len(self.different) >= DIFFERENT * self.filled)
        )

    @cached_property
    def date_form(self) -> str:
        """How dates are written: `typed`, or as `notation.times` takes it; empty where the column
        holds none.
        """
        kind = self.column.type
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return "typed"
        if not self.filled or not (self.is_text or pa.types.is_integer(kind)):
            return ""
        cells = self.text.drop_null()
        step = -(-len(cells) // SAMPLE)
        sample = pc.utf8_trim_whitespace(cells.take(pa.array(range(0, len(cells), step))))
        if self.is_text and (forms := notation.formats(sample, MOSTLY)):
            return forms[0]
        if names.says(self.name, names.TIMES | names.BIRTHS):
            fits = pc.match_substring_regex(sample, r"^(19|20)\d{2}(0[1-9]|1[0-2])[0-3]\d$")
            if (pc.sum(fits).as_py() or 0) >= MOSTLY * len(sample):
                return "%Y%m%d"
        return ""

    @cached_property
    def times(self) -> pa.ChunkedArray:
        """The cells as times, microseconds [rows]; null where a cell is none."""
        if self.date_form == "typed":
            return self.column.cast(pa.timestamp("us"), safe=False)
        return notation.times(pc.utf8_trim_whitespace(self.text), self.date_form)

    @cached_property
    def numbers(self) -> pa.ChunkedArray:
        """The cells as numbers [rows]; null where a cell is none."""
        return notation.numbers(pc.utf8_trim_whitespace(self.text), censored=True)

    def matching(self, pattern: str) -> float:
        """Share of the cells that an RE2 matches."""
        fits = pc.match_substring_regex(self.different, pattern)
        cells = pc.sum(pc.if_else(fits, self.counts, 0)).as_py() or 0
        return float(cells) / max(self.filled, 1)


_GAPS = sorted({word.lower() for word in MISSING_WORDS} | {""})
