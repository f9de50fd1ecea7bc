"""Answers as a file, a part at a time: CSV that no spreadsheet takes for formulas, or Parquet with
its types.
"""

import contextlib
import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from casemate.core.errors import DataError
from casemate.core.files import writing
from casemate.serve.cells import NUMBER

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets begin a formula with, or skip before one:
https://owasp.org/www-community/attacks/CSV_Injection.
"""
DECIMALS = 6
"""Of probabilities in CSV; Parquet has all of them."""


class Sink(Protocol):
    """Takes the columns of some rows after the other."""

    def begin(self, types: dict[str, pa.DataType], probabilities: Collection[str] = ()) -> None:
        """Say which columns will come, and which of them are probabilities, once."""

    def write(self, columns: dict[str, list[Any]]) -> None:
        """Take some rows of the answer, a list a column."""


class CsvSink:
    """To a text file."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._probabilities: list[bool] = []

    def begin(self, types: dict[str, pa.DataType], probabilities: Collection[str] = ()) -> None:
        """See `Sink`."""
        self._probabilities = [name in probabilities for name in types]
        self._writer.writerow([cell(name) for name in types])

    def write(self, columns: dict[str, list[Any]]) -> None:
        """See `Sink`."""
        texts = [
            (
                [f"{value:.{DECIMALS}f}" for value in values]
                if probability
                else [cell(value) for value in values]
            )
            for probability, values in zip(self._probabilities, columns.values(), strict=True)
        ]
        self._writer.writerows(zip(*texts, strict=True))


class ParquetSink:
    """To a Parquet file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None

    def begin(self, types: dict[str, pa.DataType], _probabilities: Collection[str] = ()) -> None:
        """See `Sink`."""
        self._schema = pa.schema(types)
        try:
            self._writer = pq.ParquetWriter(self._file, self._schema)
        except pa.ArrowException as error:
            raise DataError(
                f"Parquet cannot hold a column: {str(error)[:200]}",
                hint="leave it out with --keep, or write CSV",
            ) from error

    def write(self, columns: dict[str, list[Any]]) -> None:
        """See `Sink`."""
        assert self._writer is not None  # noqa: S101 - begun before
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


@contextlib.contextmanager
def written(path: Path) -> Iterator[Sink]:
    """The file `path`, Parquet if it is called so, else CSV; it is there when the block has ended
    well, and then it is whole.
    """
    with writing(path, 0o644) as file:
        if path.suffix.lower() in (".parquet", ".pq"):
            sink = ParquetSink(file)
            yield sink
            sink.close()
            return
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        yield CsvSink(text)
        text.detach()


def cell(value: Any) -> str:
    """A value as a cell of CSV. What a spreadsheet would calculate gets an apostrophe before it,
    numbers stay what they are.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value) if isinstance(value, float | int) else str(value)
    return (
        f"'{value}" if value.startswith(FORMULA) and not NUMBER.fullmatch(value.strip()) else value
    )
