"""A caller's columns as the model takes them: amounts, dates and texts read as `[data.columns]` says, made features added.

The same code as at training does it (`stages.data.source.as_called`), so a row means the same on both sides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate.config import ColumnTable, DataTable
from casemate.stages.data import derived, source


@dataclass(frozen=True)
class Called:
    """What `[data]` says of a table's cells."""

    options: DataTable

    def names(self, given: Sequence[str]) -> list[str]:
        """`given`, and the features that are made of them."""
        return [*given, *derived.names(self.options, given)]

    def with_commas(self, numbers: Sequence[str]) -> "Called":
        """The same where a decimal comma is said of the whole table: each of `numbers` of which nothing is said has it."""
        if self.options.decimal != ",":
            return self
        columns = {name: ColumnTable(type="number", decimal=",") for name in numbers if name not in self.options.columns}
        return Called(structs.replace(self.options, columns={**self.options.columns, **columns}))

    def read(self, given: dict[str, list[Any]]) -> tuple[dict[str, list[Any]], dict[int, tuple[str, str]]]:
        """(the columns as the model takes them, per row that cannot be read: which column, and why).

        Raises:
            DataError, ConfigError: a column that others are made of is not there.
        """
        mine = source.noted(self.options, [name for name in given if name not in self.options.targets])
        if not mine:
            return given, {}
        texts = {name: self._texts(given[name]) for name in given if name in mine or name in self._since}
        made = source.as_called(pa.table(texts), self.options)
        wrong: dict[int, tuple[str, str]] = {}
        for name in mine:
            said = self.options.column(name)
            known = pc.and_(pc.is_valid(texts[name]), pc.invert(pc.is_in(texts[name], pa.array(said.missing, pa.string()))))
            for row in pc.indices_nonzero(pc.and_(known, pc.is_null(made[name]))).to_pylist():
                wrong.setdefault(row, (name, "is not written as [data.columns] says"))
        kept = {name: values for name, values in given.items() if name not in mine}
        return kept | {name: made[name].to_pylist() for name in made.column_names if name in mine or name not in given}, wrong

    @property
    def _since(self) -> set[str | None]:
        return {column.since for column in self.options.columns.values()}

    def _texts(self, values: list[Any]) -> pa.Array:
        cells = [None if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip() for value in values]
        return pa.array([None if cell in self.options.null_values else cell for cell in cells], pa.string())
