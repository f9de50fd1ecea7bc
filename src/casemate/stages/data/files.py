"""A file's columns as they are written: CSV with text where letters count, or Parquet with its own types."""

import csv
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from casemate.config import DataTable
from casemate.core.errors import DataError

_SHAPE = re.compile(r"(Row #\d+: )?Expected \d+ columns, got \d+")


def columns(path: Path, options: DataTable, identifiers: Collection[str]) -> pa.Table:
    """What `path` holds; `identifiers` are kept letter by letter, as is what `options` declares as text.

    Raises:
        DataError: the file is truncated, ragged, not UTF-8, or names a column twice.
    """
    return _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, options, identifiers)


def names(path: Path, options: DataTable) -> list[str]:
    """The columns' names, without a look at a row; none where `columns` will say what is wrong with the file."""
    if not path.is_file():
        return []
    if path.suffix != ".parquet":
        return options.header or _header(path, options.delimiter)
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return []


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}", hint="it may be truncated: export it again") from error


def _read_csv(path: Path, options: DataTable, identifiers: Collection[str]) -> pa.Table:
    header = options.header or _header(path, options.delimiter)
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: the column name {repeated[0]!r} appears twice", hint="rename one of them")
    try:
        return pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=options.header, block_size=8 << 20),
            parse_options=pyarrow.csv.ParseOptions(delimiter=options.delimiter, newlines_in_values=_has_quotes(path)),
            convert_options=pyarrow.csv.ConvertOptions(
                null_values=options.null_values,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                column_types=dict.fromkeys(_as_written(options, header) | {*identifiers}, pa.string()),
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        shape = _SHAPE.search(str(error))
        text = f"a row is ragged ({shape[0]})" if shape else str(error).split("\n", maxsplit=1)[0][:200]
        raise DataError(f"{path}: {text}", hint="every row needs the header's columns; check quotes and the last line") from error


def _as_written(options: DataTable, names: list[str]) -> set[str]:
    """Columns whose cells are kept letter by letter: 007 is not 7."""
    texts = {name for name in names if options.identifies(name) or options.column(name).type in ("category", "text")}
    return texts | set(options.targets) if options.task == "classification" else texts


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(8 << 20), b""))


def _header(path: Path, delimiter: str) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file, delimiter=delimiter), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not UTF-8 text: {error}", hint="convert it, for example with iconv -t UTF-8") from error
