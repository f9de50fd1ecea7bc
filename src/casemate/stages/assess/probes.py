"""Rows that a deployment can meet and a hold-out need not hold: for each kind some, made of real
ones by changing single cells.

Two forms of one model that agree on every row of a hold-out can still differ where a cell is
missing that was there in all of them, on a value that lies on a threshold, or beyond the limits.
Whatever the schema admits must have an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Schema
from casemate.ml.frame import sample_rows
from casemate.stages.assess.sample import Sample

ROWS = 4000
"""Made-up rows of one kind; real ones count apart."""
BASE = 200
"""Real rows that are changed."""
LEAST_A_COLUMN = 4
"""Made-up rows for each column at least; of a table with more columns than that leaves room for,
columns are sampled.
"""
MEMBERS = "training rows"
UNKNOWN = "casemate-has-never-seen-this"
BEYOND = (0.5, 10.0)
"""How far beyond its limits a number is tried, in spans between them."""


@dataclass(frozen=True)
class Kind:
    """Rows of one kind."""

    name: str
    """In words."""
    frame: pd.DataFrame
    admitted: bool
    """Whether the schema allows them; others are answered only where the guard of the gateway lets
    them pass.
    """


def kinds(
    schema: Schema, holdout: Sample, members: Sample, guard: dict[str, str], seed: int, most: int
) -> list[Kind]:
    """Every kind of row that has any.

    Args:
        schema: pinned.
        holdout: rows that training never saw.
        members: rows that it saw.
        guard: what the gateway does with numbers `outside` the limits and `unknown` categories:
            `refuse`, or it answers.
        seed: draws the rows that are changed.
        most: real rows to take of each side.
    """
    members = members.take(most, seed)
    base = pd.concat(
        [holdout.frame[:BASE], members.frame.iloc[sample_rows(len(members.target), BASE, seed)]],
        ignore_index=True,
    )
    made = _Made(schema, base, members.frame, np.random.default_rng(seed))
    found = [
        Kind("rows as they came", holdout.take(most, seed).frame, True),
        Kind(MEMBERS, members.frame, True),
        Kind("a missing cell", made.each(made.missing), True),
        Kind("several missing cells", made.together(), True),
        Kind("listed categories", made.each(made.listed), True),
        Kind("numbers at their limits", made.each(made.limits), True),
        Kind("numbers between those of training rows", made.each(made.between), True),
        Kind("numbers beyond their limits", made.each(made.beyond), False),
        Kind("an unknown category", made.each(made.unknown), False),
    ]
    off = {"numbers beyond their limits": guard["outside"], "an unknown category": guard["unknown"]}
    return [kind for kind in found if len(kind.frame) and off.get(kind.name) != "refuse"]


class _Made:
    """Makes rows of `base`, by column."""

    def __init__(
        self,
        schema: Schema,
        base: pd.DataFrame,
        members: pd.DataFrame,
        generator: np.random.Generator,
    ) -> None:
        self.columns = schema.features
        self.base, self.members, self.generator = base, members, generator
        self.share = max(LEAST_A_COLUMN, ROWS // max(len(self.columns), 1))

    def each(self, values_of: Callable[[ColumnSchema], list[Any]]) -> pd.DataFrame:
        """Rows with one cell changed, for every value that a column is to have, at most `ROWS` in
        all.
        """
        columns = [
            (column.name, values) for column in self.columns if (values := values_of(column))
        ]
        if len(columns) * LEAST_A_COLUMN > ROWS:  # a picture has a column a pixel
            columns = [
                columns[place] for place in sample_rows(len(columns), ROWS // LEAST_A_COLUMN, 0)
            ]
        places = {column.name: place for place, column in enumerate(self.columns)}
        rows, cells = [], []
        for name, values in columns:
            count = min(self.share, max(len(values), BASE // 4))
            rows.append(self.generator.integers(len(self.base), size=count))
            cells += [(places[name], values[number % len(values)]) for number in range(count)]
        if not rows:
            return self.base[:0]
        frame = self.base.iloc[np.concatenate(rows)].reset_index(drop=True)
        for place in {place for place, _ in cells}:
            at = [number for number, cell in enumerate(cells) if cell[0] == place]
            column = frame.iloc[:, place].to_numpy(copy=True)
            column[at] = np.array([cells[number][1] for number in at], dtype=column.dtype)
            frame[frame.columns[place]] = pd.Series(column, dtype=column.dtype)
        return frame

    def together(self) -> pd.DataFrame:
        """Rows where every cell that may be missing is, and rows where each is by the throw of a
        coin.
        """
        nullable = [column for column in self.columns if column.nullable]
        if len(nullable) < 2:
            return self.base[:0]
        frame = self.base.copy()
        for column in nullable:
            coin = self.generator.random(len(frame)) < 0.5
            coin[: len(frame) // 4] = True
            values = frame[column.name].to_numpy(copy=True)
            values[coin] = self.missing(column)[0]
            frame[column.name] = pd.Series(values, dtype=values.dtype)
        return frame

    @staticmethod
    def missing(column: ColumnSchema) -> list[Any]:
        """What a missing cell holds, where there may be one."""
        if not column.nullable:
            return []
        return [MISSING_CATEGORY] if column.type == "category" else [np.nan]

    @staticmethod
    def listed(column: ColumnSchema) -> list[Any]:
        """Every category of the schema."""
        return list(column.categories or []) if column.type == "category" else []

    @staticmethod
    def limits(column: ColumnSchema) -> list[Any]:
        """The least and the greatest number, and 0 where it lies between."""
        ends = [
            end for end in (column.min, column.max) if end is not None and column.type != "category"
        ]
        return [*ends, *([0.0] if len(ends) == 2 and ends[0] < 0 < ends[1] else [])]

    def between(self, column: ColumnSchema) -> list[Any]:
        """Midpoints of neighbouring training values: where trees that see the column as it is put
        their thresholds.
        """
        if column.type == "category":
            return []
        values = np.unique(self.members[column.name].dropna().to_numpy(dtype=np.float64))
        if len(values) < 2:
            return []
        middles = np.concatenate([(values[1:] + values[:-1]) / 2, _middles32(values)])
        return list(middles[sample_rows(len(middles), self.share, 0)])

    @staticmethod
    def beyond(column: ColumnSchema) -> list[Any]:
        """Numbers outside the limits."""
        if column.type == "category" or column.min is None or column.max is None:
            return []
        span = (column.max - column.min) or abs(column.max) or 1.0
        found = [
            end for far in BEYOND for end in (column.min - far * span, column.max + far * span)
        ]
        return [value for value in found if np.isfinite(value)]

    @staticmethod
    def unknown(column: ColumnSchema) -> list[Any]:
        """A category that the schema does not list."""
        return [UNKNOWN] if column.type == "category" else []


def _middles32(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The midpoints as trees see them that round to float32 first."""
    with np.errstate(over="ignore"):
        rounded = np.unique(values.astype(np.float32).astype(np.float64))
    return (
        np.asarray((rounded[1:] + rounded[:-1]) / 2)[np.isfinite(rounded[1:])]
        if len(rounded) > 1
        else np.empty(0)
    )
