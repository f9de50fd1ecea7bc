"""The guard on inputs: what the pinned schema does not allow, and rows unlike those that the model
was trained on.

`unusual` is the Mahalanobis distance to the training rows under a shrunk covariance, measured when
the model was assessed and signed with it (P. C. Mahalanobis, On the generalised distance in
statistics, 1936; Ledoit and Wolf, 2004).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from casemate.config import GuardTable
from casemate.core.errors import RequestError, Wrong
from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Profile, Schema
from casemate.ml.frame import Rows
from casemate.serve.types import Array

MOST_TOLD = 1000
"""Of wrong values in one answer; more rows than that are asked about in several requests."""


class Unfit(RequestError):
    """The values are not what the model may be asked about."""

    code = "CM-INPUT"
    http_status = 422

    @classmethod
    def rows_of(cls, wrong: Sequence[Wrong]) -> "Unfit":
        """The refusal that names these, one at least."""
        first = wrong[0]
        told = f"input {first.input!r} {first.why}" if first.input else first.why
        return cls(told, rows=wrong)


class Guard:
    """Looks at the rows of several requests at once."""

    def __init__(self, schema: Schema, profile: Profile | None, table: GuardTable) -> None:
        """Prepare the limits.

        Args:
            schema: pinned with the model.
            profile: what training rows are like; without it nothing is unusual.
            table: what happens to what is noticed.
        """
        self.table = table
        self.features = schema.features
        numbers = [column for column in self.features if column.type != "category"]
        self.names = [column.name for column in numbers]
        self.limits = {
            column.name: (
                -np.inf if column.min is None else column.min,
                np.inf if column.max is None else column.max,
            )
            for column in numbers
        }
        self.lows, self.highs = np.array(list(self.limits.values())).reshape(-1, 2).T
        self.required = np.array([not column.nullable for column in numbers], dtype=bool)
        self.known = {
            column.name: {
                *(column.categories or []),
                *([MISSING_CATEGORY] if column.nullable else []),
            }
            for column in schema.categories
        }
        self.profile = profile if profile is not None and profile.limit > 0 and numbers else None
        if self.profile is not None:
            self.mean, self.scale = np.array(self.profile.mean), np.array(self.profile.scale)
            self.whiten = np.array(self.profile.whiten)

    def __call__(self, rows: Rows) -> tuple[dict[str, Array], Callable[[int, int], list[Wrong]]]:
        """(per guard the rows that it noticed, bool [n]; what rows `start` to `end` are refused
        for).

        Guards: `missing` and `infinite` (always refused), `unknown` category, `outside` the
        schema's limits, `unusual`.
        """
        noticed: dict[str, Array] = {}
        if self.names:
            matrix = (
                np.column_stack([rows[name] for name in self.names])
                if isinstance(rows, dict)
                else rows
            )
            inside = (matrix >= self.lows) & (matrix <= self.highs)
            if not inside.all():  # a missing value is not inside either
                missing = np.isnan(matrix)
                for name, wrong in (
                    ("missing", missing & self.required),
                    ("infinite", np.isinf(matrix)),
                    ("outside", ~inside & ~missing),
                ):
                    if wrong.any():
                        noticed[name] = np.asarray(wrong.any(axis=1))
                if self.profile is not None:
                    matrix = np.asarray(np.where(missing, self.mean, matrix))
            if self.profile is not None:
                with np.errstate(over="ignore", invalid="ignore"):
                    scaled = (matrix - self.mean) * self.scale
                    scaled = scaled @ self.whiten if len(self.whiten) else scaled
                    # no number is no usual distance either
                    unusual = ~(np.einsum("ij,ij->i", scaled, scaled) <= self.profile.limit)
                if unusual.any():
                    noticed["unusual"] = unusual
        if isinstance(rows, dict):
            for name, known in self.known.items():
                wrong = np.fromiter(
                    (value not in known for value in rows[name]), dtype=bool, count=len(rows[name])
                )
                missing = wrong & (rows[name] == MISSING_CATEGORY)
                for kind, mark in (("missing", missing), ("unknown", wrong & ~missing)):
                    if mark.any():
                        noticed[kind] = noticed.get(kind, False) | mark
        return noticed, lambda start, end: self._wrong(rows, noticed, start, end)

    def refuses(self, noticed: dict[str, int]) -> str | None:
        """The first guard for which these rows are refused."""
        for name in noticed:
            if name in ("missing", "infinite") or getattr(self.table, name) == "refuse":
                return name
        return None

    def _wrong(self, rows: Rows, noticed: dict[str, Array], start: int, end: int) -> list[Wrong]:
        """Which values of a request's rows are refused, by input; else which rows are unlike those
        of training.
        """
        found = []
        for place, column in enumerate(self.features):
            values: Any = (rows[column.name] if isinstance(rows, dict) else rows[:, place])[
                start:end
            ]
            for why, mark in self._refused(column, values):
                found += [
                    Wrong(int(row), column.name, why) for row in np.flatnonzero(mark)[:MOST_TOLD]
                ]
        if self.table.unusual == "refuse" and "unusual" in noticed:
            told = {one.row for one in found}
            unusual = np.flatnonzero(noticed["unusual"][start:end])[:MOST_TOLD].tolist()
            found += [
                Wrong(row, "", "a row is unlike those that the model was trained on")
                for row in unusual
                if row not in told
            ]
        return found[:MOST_TOLD]

    def _refused(self, column: ColumnSchema, values: Any) -> Iterator[tuple[str, Array]]:
        """(why, the values that are refused for that, bool [n])."""
        if column.type == "category":
            wrong = np.fromiter(
                (value not in self.known[column.name] for value in values),
                dtype=bool,
                count=len(values),
            )
            missing = wrong & (values == MISSING_CATEGORY)
            yield "is missing in a row", missing
            if self.table.unknown == "refuse":
                yield "has an unknown category", wrong & ~missing
            return
        yield "has an infinite value", np.isinf(values)
        if not column.nullable:
            yield "is missing in a row; it was never missing in training", np.isnan(values)
        if self.table.outside == "refuse":
            low, high = self.limits[column.name]
            yield (
                "is outside what the schema allows",
                ((values < low) | (values > high)) & ~np.isinf(values),
            )
