"""Reading a CSV or Parquet file into typed Arrow columns, or saying which cell is wrong.

Result types: number -> float64, category and text -> string, time -> timestamp. Nothing is guessed silently: a text
cell in a numeric column is an error that names column and rows, unless the column says `coerce = true`. What says who
somebody is (`[data] subject`, class `identifier`) is text whatever it looks like: 42 and 000042 are two people, and a
float64 holds no 19 digits.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from casemate.config import ColumnTable, DataTable, is_pattern
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
MOSTLY_NUMBERS = 0.5
EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
"""Bits of a floating-point number -> from where on it does not hold every integer, so that two identifiers may have become one."""
READING = 2
"""Raised when a table is read in another way than before, so that the next run seals it anew."""
_SHAPE = re.compile(r"(Row #\d+: )?Expected \d+ columns, got \d+")


class MixedColumn(DataError):
    """A numeric column holds cells that are blank or text; `column` names it."""

    def __init__(self, message: str, *, hint: str, column: str) -> None:
        super().__init__(message, hint=hint)
        self.column = column


def rows_text(rows: Any, total: int | None = None) -> str:
    """`rows 3, 17, 40 and 9 more (counting from 0)`."""
    shown = [str(int(row)) for row in rows[:5]]
    count = len(rows) if total is None else total
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"row{'s' if count > 1 else ''} {', '.join(shown)}{more} (counting from 0)"


def read(path: Path, options: DataTable, identifiers: Collection[str] = ()) -> tuple[pa.Table, list[Finding]]:
    """The typed table and what was noticed while reading.

    Args:
        path: a `.parquet` file, or CSV with any other name.
        options: the `[data]` table.
        identifiers: columns that say who somebody is, beside those that `options` declares.

    Raises:
        ConfigError: the file is missing, or a named column is not in it.
        DataError: the file is empty, too large, truncated, ragged, not UTF-8, or a cell has the wrong type.
    """
    if not path.is_file():
        raise ConfigError(f"[data] source: no such file {path}", hint="the path is relative to the project's folder")
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"{path} is empty", hint="export the table again")
    if size > options.max_bytes:
        raise DataError(f"{path} has {size} bytes, more than [data] max_bytes", hint="raise max_bytes if this is intended")
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, options, identifiers)
    _check_names(table, path, options)
    if table.num_rows == 0:
        raise DataError(f"{path} has a header and no rows", hint="export the table again")
    findings: list[Finding] = []
    columns = [
        _identifier(table[name], name, options) if options.identifies(name) or name in identifiers else _typed(table[name], name, options, findings)
        for name in table.column_names
    ]
    return pa.table(dict(zip(table.column_names, columns, strict=True))), findings


def names(path: Path, options: DataTable) -> list[str]:
    """The columns' names, without a look at a row; none where `read` will say what is wrong with the file."""
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


def _check_names(table: pa.Table, path: Path, options: DataTable) -> None:
    names = table.column_names
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{path}: the column name {repeated[0]!r} appears twice", hint="rename one of them")
    wanted = [("target", name) for name in options.targets] + [(key, getattr(options, key)) for key in ("subject", "time", "provenance")]
    wanted += [("columns", name) for name in options.columns if not is_pattern(name)]
    for key, name in wanted:
        if name is None or name in names:
            continue
        numeric = sum(bool(re.match(NUMBER, text.strip())) for text in names)
        hint = f"the columns are: {', '.join(names[:12])}"
        if not options.header and numeric >= max(1, len(names) // 4):
            hint = "the file seems to have no header line: list the names in [data] header"
        raise ConfigError(f"[data] {key}: {path.name} has no column {name!r}", hint=hint)


def _identifier(values: pa.ChunkedArray, name: str, options: DataTable) -> pa.ChunkedArray:
    """What says who somebody is, as text to the last digit; white space around it never tells two people apart.

    Floating-point numbers come from tools that keep integers with gaps so: as long as float64 holds them exactly they are written
    as integers.
    """
    values = _plain(values, name)
    if pa.types.is_floating(values.type):
        values = _whole(values)
        if pa.types.is_floating(values.type):
            large = pc.fill_null(pc.greater_equal(pc.abs(values), pa.scalar(EXACT[values.type.bit_width], values.type)), False)
            if pc.any(large).as_py():
                raise DataError(
                    f"column {name!r} identifies somebody and is stored as floating-point numbers too large to be exact: "
                    f"{rows_text(np.flatnonzero(large.to_numpy()))}",
                    hint="export it as text or as integers: digits are lost, and two people may have become one",
                )
    return _text(pc.utf8_trim_whitespace(values.cast(pa.string())), options)


def _plain(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of single values, dictionaries resolved; DataError when it holds anything else."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(f"column {name!r} holds bytes that are not UTF-8 text", hint="convert the file to UTF-8")
    if pa.types.is_nested(kind):
        raise DataError(f"column {name!r} is nested ({kind})", hint="flatten it before")
    return values


def _typed(values: pa.ChunkedArray, name: str, options: DataTable, findings: list[Finding]) -> pa.ChunkedArray:
    column = options.column(name)
    values = _plain(values, name)
    kind = values.type
    if name in options.targets:
        if options.task == "classification":
            return _target(values, options)
        if pa.types.is_temporal(kind) or column.type not in (None, "number"):
            raise _no_quantity(name)
    if pa.types.is_temporal(kind):
        return values if column.type in (None, "time") else _text(values.cast(pa.string()), options)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_text(values.cast(pa.string()), name, column, options, findings)
    if column.type in ("category", "text"):
        return values.cast(pa.string())
    numbers = values.cast(pa.float64(), safe=False)
    infinite = pc.fill_null(pc.is_inf(numbers), False)
    if pc.any(infinite).as_py():
        rows = np.flatnonzero(infinite.to_numpy())
        raise DataError(f"column {name!r} holds infinite numbers in {rows_text(rows)}", hint="correct the source")
    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _no_quantity(name: str) -> DataError:
    return DataError(f"the target {name!r} is no number", hint='[data] task = "classification" predicts classes')


def _target(values: pa.ChunkedArray, options: DataTable) -> pa.ChunkedArray:
    return _text(_whole(values).cast(pa.string()), options)


def _whole(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floating-point numbers without NaN, as integers where all are whole and exact; anything else as it is."""
    if not pa.types.is_floating(values.type):
        return values
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    exact = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), pa.scalar(EXACT[values.type.bit_width], values.type)))
    return values.cast(pa.int64()) if pc.all(exact).as_py() is not False else values


def _text(values: pa.ChunkedArray, options: DataTable) -> pa.ChunkedArray:
    if options.trim:
        values = pc.utf8_trim_whitespace(values)
    missing = pc.is_in(values, pa.array(options.null_values, pa.string()))
    return pc.if_else(pc.fill_null(missing, True), pa.scalar(None, pa.string()), values)


def _from_text(values: pa.ChunkedArray, name: str, column: ColumnTable, options: DataTable, findings: list[Finding]) -> pa.ChunkedArray:
    text = _text(values, options)
    if column.type in ("category", "text"):
        return text
    written = pc.is_valid(values)
    numeric = pc.fill_null(pc.match_substring_regex(text, NUMBER), False)
    count, total = pc.sum(numeric).as_py() or 0, pc.sum(written).as_py() or 0
    if column.type is None and (count == 0 or count < MOSTLY_NUMBERS * total):
        if name in options.targets:
            raise _no_quantity(name)
        return text
    # A cell of blanks is not the empty cell that `null_values` declares missing, nor is a word.
    declared = pc.fill_null(pc.and_(pc.is_null(text), pc.not_equal(pc.utf8_trim_whitespace(values), "")), True)
    wrong = pc.and_not(pc.and_not(written, numeric), declared)
    rows = np.flatnonzero(wrong.to_numpy())
    if len(rows) and not column.coerce:
        raise MixedColumn(
            f"column {name!r} is numeric but {len(rows)} cells are blank or text: {rows_text(rows)}",
            hint=f'to read them as missing: [data.columns] {name} = {{ type = "number", coerce = true }}; '
            f'if the column is text: {{ type = "category" }}',
            column=name,
        )
    if len(rows):
        findings.append(
            Finding(
                id="data.coerced",
                severity="low",
                confidence="high",
                message=f"{len(rows)} cells of {name!r} that are no numbers were read as missing",
                location=rows_text(rows),
            )
        )
    return pc.if_else(numeric, text, pa.scalar(None, pa.string())).cast(pa.float64())
