"""One value of a caller's row as the pinned schema writes it, whatever the protocol and the
caller's tool made of it.

A boolean is `true`, `True` or `TRUE`, as JSON, pandas and spreadsheets write it; a whole-numbered
code is 11 or 11.0, as pandas keeps integers with gaps; a number may come as text; what `[data]
null_values` lists is missing. What the schema lists verbatim is always meant verbatim, and a
spelling that could mean two of its categories means neither.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from casemate.core.errors import RequestError, Wrong
from casemate.core.types import MISSING_CATEGORY, ColumnSchema
from casemate.serve.types import Array

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})", re.ASCII)
"""Codes that lose nothing as numbers: 007 does."""
WORDS = {"true": 1.0, "false": 0.0}
"""Cells of a boolean column as numbers."""
ENDLESS = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "-infinity"})
"""As Python and C write them; the guard on inputs refuses infinity by name."""


class Cells:
    """Reads the values of one input."""

    def __init__(self, column: ColumnSchema, missing: Collection[str] = ()) -> None:
        """Prepare the spellings.

        Args:
            column: of the pinned schema.
            missing: texts that mean a missing value, beside the empty one.
        """
        self.column = column
        self.missing = frozenset({"", *missing})
        self.known = frozenset(column.categories or [])
        self._spelled = _spellings(self.known)

    def read(self, values: Sequence[Any]) -> Array:
        """The values [n] as the model takes them: float64, or `object` holding `str`.

        Raises:
            RequestError: a value is of another kind; it says in which rows.
        """
        if self.column.type != "category":
            return self._numbers(values)
        known = self.known
        try:
            return np.array(
                [value if value in known else self._category(value) for value in values],
                dtype=object,
            )
        except TypeError:  # a list or an object is no category, and cannot be looked for among them
            return np.array(self._each(values, self._category, "a category"), dtype=object)

    def _numbers(self, values: Sequence[Any]) -> Array:
        try:
            return np.array([self._number(value) for value in values], dtype=np.float64)
        except (ValueError, TypeError, OverflowError):
            return np.array(self._each(values, self._number, "a number"), dtype=np.float64)

    def _each(self, values: Sequence[Any], read: Any, kind: str) -> list[Any]:
        """The values one by one, to say which of them are of another kind."""
        found, wrong = [], []
        for row, value in enumerate(values):
            try:
                found.append(read(value))
            except (ValueError, TypeError, OverflowError):
                wrong.append(Wrong(row, self.column.name, f"is not {kind}"))
        if wrong:
            raise RequestError(
                f"input {self.column.name!r} is {kind}, and a row has something else", rows=wrong
            )
        return found

    def _category(self, value: Any) -> str:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None:
            return MISSING_CATEGORY
        if isinstance(value, float):
            if math.isnan(value):
                return MISSING_CATEGORY
            value = int(value) if value.is_integer() and abs(value) < 2**53 else value
        elif not isinstance(value, str | int):
            raise TypeError
        text = str(value).strip()
        if text in self.known:
            return text
        if text in self._spelled:
            return self._spelled[text]
        return MISSING_CATEGORY if text in self.missing else text

    def _number(self, value: Any) -> float:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, float | int):  # a bool too
            return float(value)
        if value is None:
            return math.nan
        if not isinstance(value, str):
            raise TypeError
        text = value.strip()
        if text in self.missing:
            return math.nan
        lower = text.lower()
        if NUMBER.fullmatch(text) or lower in ENDLESS:
            return float(text)
        if lower in WORDS:
            return WORDS[lower]
        raise ValueError


def _spellings(known: Collection[str]) -> dict[str, str]:
    """Another spelling -> the category that it means."""
    found: dict[str, str] = {}
    doubtful = set()
    for category in known:
        for other in _others(category):
            if other in known:
                continue
            if found.setdefault(other, category) != category:
                doubtful.add(other)
    return {other: category for other, category in found.items() if other not in doubtful}


def _others(category: str) -> list[str]:
    if category.lower() in WORDS:
        lower = category.lower()
        return [lower, lower.title(), lower.upper()]
    if WHOLE.fullmatch(category):
        return [f"{category}.0"]
    if category.endswith(".0") and WHOLE.fullmatch(category[:-2]):
        return [category[:-2]]
    return []
