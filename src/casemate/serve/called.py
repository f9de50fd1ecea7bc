"""A caller's columns as the model takes them: amounts, dates and texts read as the table had them,
made features added.

The same code as at training does it (`stages.data.source.as_called`), so a row means the same on
both sides. How the table was written says `[data]` to a project's own client, and the signed card
to a gateway.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate.config import SPANS, ColumnTable, DataTable
from casemate.core.errors import RequestError, Wrong
from casemate.core.types import RawColumn, Reading
from casemate.stages.data import derived, notation, source


@dataclass(frozen=True)
class Called:
    """What `[data]` says of a table's cells."""

    options: DataTable

    @classmethod
    def of(cls, reading: Reading) -> "Called":
        """The same as a signed card says it."""
        columns = {column.name: _table(column) for column in reading.columns}
        return cls(
            DataTable(
                source="",
                target=[],
                columns=columns,
                null_values=reading.null_values,
                trim=reading.trim,
            )
        )

    def names(self, given: Sequence[str]) -> list[str]:
        """`given`, and the features that are made of them."""
        return [*given, *derived.names(self.options, given)]

    def with_commas(self, numbers: Sequence[str]) -> "Called":
        """The same where a decimal comma is said of the whole table: each of `numbers` of which
        nothing is said has it.
        """
        if self.options.decimal != ",":
            return self
        said = {name: self.options.column(name) for name in numbers}
        plain = {
            name: one
            for name, one in said.items()
            if one.decimal is None and one.format is None and not one.censored
        }
        columns = {
            name: structs.replace(one, type="number", decimal=",") for name, one in plain.items()
        }
        return Called(structs.replace(self.options, columns={**self.options.columns, **columns}))

    def read(
        self, given: dict[str, list[Any]]
    ) -> tuple[dict[str, list[Any]], dict[int, tuple[str, str]]]:
        """(the columns as the model takes them, per row that cannot be read: which column, and
        why).

        Raises:
            DataError, ConfigError: a column that others are made of is not there.
        """
        mine = source.noted(
            self.options, [name for name in given if name not in self.options.targets]
        )
        if not mine:
            return given, {}
        texts = {name: self._texts(given[name], self.options.column(name)) for name in mine}
        made = source.as_called(pa.table(texts), self.options)
        wrong: dict[int, tuple[str, str]] = {}
        for name in mine:
            said = self.options.column(name)
            known = pc.and_(
                pc.is_valid(texts[name]),
                pc.invert(pc.is_in(texts[name], pa.array(said.missing, pa.string()))),
            )
            for row in pc.indices_nonzero(pc.and_(known, pc.is_null(made[name]))).to_pylist():
                wrong.setdefault(row, (name, "is not written as [data.columns] says"))
        kept = {name: values for name, values in given.items() if name not in mine}
        return (
            kept
            | {
                name: made[name].to_pylist()
                for name in made.column_names
                if name in mine or name not in given
            },
            wrong,
        )

    def _texts(self, values: list[Any], said: ColumnTable) -> pa.Array:
        marks = _numbers(said.missing)
        cells = [
            None if value is None or _number_in(value, marks) else _text(value, said.decimal)
            for value in values
        ]
        return pa.array(
            [None if cell in self.options.null_values else cell for cell in cells], pa.string()
        )


class Raw:
    """The columns that a gateway takes as the training table had them, as a model's signed card
    says.
    """

    def __init__(self, reading: Reading, features: Collection[str]) -> None:
        """Prepare.

        Args:
            reading: of the card.
            features: what the model takes.
        """
        self.columns = {column.name: column for column in reading.columns}
        self._called = Called.of(reading)
        origins = derived.origins(self._called.options, list(self.columns))
        self.made = {name: origin for name, (origin, _) in origins.items() if name in features}
        """Feature -> the raw column that it is made of."""
        self._features = features

    @property
    def described(self) -> list[dict[str, Any]]:
        """For a model's metadata: each column, how it is written, and which features come of it."""
        return [self._described(column) for column in self.columns.values()]

    def _described(self, column: RawColumn) -> dict[str, Any]:
        written = {
            key: value
            for key in ("decimal", "censored", "format", "missing", "since")
            if (value := getattr(column, key))
        }
        own = [column.name] if column.name in self._features else []
        gives = own + [name for name, origin in self.made.items() if origin == column.name]
        return {
            "name": column.name,
            "datatype": "BYTES",
            "shape": [-1],
            "type": column.type,
            "gives": gives,
            **written,
        }

    def read(
        self,
        given: Collection[str],
        values: Callable[[str], list[Any]],
        texts: Callable[[str], bool],
    ) -> dict[str, list[Any]]:
        """The features that come of raw columns, as the model takes them; a feature that is given
        ready stays as it is.

        Args:
            given: names of the columns that a caller sends.
            values: a column's values [n].
            texts: whether any of them is text; a number in a column of amounts is one already.

        Raises:
            RequestError: a value is not written as the table has it; it says in which rows.
        """
        wanted = {
            name: origin
            for name, origin in self.made.items()
            if name not in given and origin in given
        }
        own = [
            name
            for name in self._features
            if name in self.columns
            and name in given
            and (self.columns[name].missing or texts(name))
        ]
        if not wanted and not own:
            return {}
        needed = {*wanted.values(), *own}
        until = {self.columns[name].since for name in wanted.values()} & self.columns.keys()
        for name in until:
            if name not in given:
                raise RequestError(f"the input {name!r} is missing: days are counted to it")
        found, wrong = self._called.read(
            {name: values(name) for name in self.columns if name in needed | until}
        )
        if wrong:
            rows = [
                Wrong(row, name, f"is not written as {self._form(name)}")
                for row, (name, _) in sorted(wrong.items())
            ]
            raise RequestError(f"input {rows[0].input!r} {rows[0].why}", rows=rows)
        return {name: found[name] for name in [*own, *wanted]}

    def _form(self, name: str) -> str:
        column = self.columns[name]
        if column.type == "time":
            return f"a time ({column.format or 'iso'})"
        if column.format in SPANS:
            return "a time of day" if column.format == "clock" else "a duration"
        return "a number" + (f" with the decimal sign {column.decimal!r}" if column.decimal else "")


def _table(column: RawColumn) -> ColumnTable:
    known = {name: getattr(column, name) for name in RawColumn.__struct_fields__ if name != "name"}
    return ColumnTable(**known)


def _numbers(texts: Collection[str]) -> set[float]:
    """Those texts that are numbers."""
    return {
        number
        for number in notation.numbers(pa.chunked_array([list(texts)], pa.string())).to_pylist()
        if number is not None
    }


def _number_in(value: Any, marks: set[float]) -> bool:
    """Whether a number is missing: no number, or one that means so."""
    return isinstance(value, float | int) and (math.isnan(value) or value in marks)


def _text(value: Any, decimal: str | None) -> str:
    """A value as the table's text has it; a number is written with the column's decimal sign."""
    if decimal == "," and isinstance(value, float):
        return repr(value).replace(".", ",")
    return str(value).strip()
