"""Parquet, Arrow (Feather) and ORC: typed columns of other tools, each type read or refused by its
name.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding
from casemate.stages.data.files import naming
from casemate.stages.data.files.content import Content, File
from casemate.stages.data.files.evenly import Numbers

CELLS, LEAST_ROWS = 1 << 20, 1 << 10
"""Of a piece, about: what is looked at together."""


def read_parquet(content: Content) -> pa.Table:
    """All row groups; the checksums of its pages are compared where the file has them."""
    with (
        explained(content.path, "Parquet"),
        pq.ParquetFile(_source(content), page_checksum_verification=True) as file,
    ):
        return file.read()


def count_parquet(content: Content) -> int:
    """How many rows the file says it has."""
    with explained(content.path, "Parquet"), pq.ParquetFile(_source(content)) as file:
        return int(file.metadata.num_rows)


def some_of_parquet(content: Content, numbers: Numbers) -> pa.Table:
    """The rows of these numbers, int64 [k] from 0, ascending; of the others a piece at a time."""
    with (
        explained(content.path, "Parquet"),
        pq.ParquetFile(_source(content), page_checksum_verification=True) as file,
    ):
        place, found = 0, []
        for batch in file.iter_batches():
            low, high = np.searchsorted(numbers, [place, place + batch.num_rows])
            found.append(batch.take(pa.array(numbers[low:high] - place)))
            place += batch.num_rows
        return pa.Table.from_batches(found, file.schema_arrow)


def pieces_of_parquet(content: Content) -> Iterator[pa.Table]:
    """All rows, a piece at a time."""
    with (
        explained(content.path, "Parquet"),
        pq.ParquetFile(_source(content), page_checksum_verification=True) as file,
    ):
        rows = max(LEAST_ROWS, CELLS // max(1, len(file.schema_arrow)))
        for batch in file.iter_batches(rows):
            yield pa.Table.from_batches([batch])


def read_arrow(content: Content) -> pa.Table:
    """An Arrow file or stream, which Feather is too."""
    import pyarrow.feather

    with explained(content.path, "Arrow"):
        head = content.head(8)
        if head.startswith(b"FEA1"):
            return pyarrow.feather.read_table(_source(content))
        opened = pa.ipc.open_file if head.startswith(b"ARROW1") else pa.ipc.open_stream
        with opened(_source(content)) as reader:
            return reader.read_all()


def read_orc(content: Content) -> pa.Table:
    """The table of an ORC file, all of its stripes."""
    import pyarrow.orc

    with explained(content.path, "ORC"):
        return pyarrow.orc.ORCFile(_source(content)).read()


def parquet_names(content: Content) -> list[str]:
    """The columns' names, without a row; none where the file cannot be read."""
    with contextlib.suppress(DataError), explained(content.path, "Parquet"):
        return naming.cleaned(pq.read_schema(_source(content)).names)
    return []


def _source(content: Content) -> Any:
    if content.data is not None:
        return pa.BufferReader(content.data)
    if isinstance(content.path, Path):
        return pa.OSFile(str(content.path))
    return pa.PythonFile(content.path.open(buffering=0), mode="r")


@contextlib.contextmanager
def explained(path: File, what: str) -> Iterator[None]:
    """Whatever a reader raises in the block, as what is wrong with the file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        said = str(error).split("\n", maxsplit=1)[0][:200]
        raise DataError(
            f"{path} is not a readable {what} file: {said}",
            hint="it may be truncated: export it again",
        ) from error


def settled(table: pa.Table, path: File, findings: list[Finding]) -> pa.Table:
    """The same columns in the types that casemate reads: booleans, numbers, decimals, text and
    moments.

    Raises:
        DataError: a column is nested, holds bytes, or has a type that has no meaning here; the
            message names column and type.
    """
    names = naming.cleaned(table.column_names)
    naming.require_distinct(names, path)
    findings += naming.told(table.column_names, names)
    columns = [_settled(table[at], name, findings) for at, name in enumerate(names)]
    return pa.Table.from_arrays(columns, names=names)


def _settled(values: pa.ChunkedArray, name: str, findings: list[Finding]) -> pa.ChunkedArray:
    kind = values.type
    for _ in range(4):  # an extension over a dictionary over a view is as deep as it gets
        values = _peeled(values)
        if values.type == kind:
            break
        kind = values.type
    if pa.types.is_nested(kind):
        raise DataError(
            f"column {name!r} is nested ({kind})",
            hint="flatten it: one column for each of its fields",
        )
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return values.cast(pa.string())
    if (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or kind == pa.binary_view()
    ):
        return _text_of(values, name)
    if pa.types.is_float16(kind):
        return values.cast(pa.float32())
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        # what is reckoned with moments is reckoned in microseconds
        return values.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_duration(kind):
        message = f"column {name!r} holds durations, which are read as seconds"
        findings.append(
            Finding(
                id="data.duration",
                severity="low",
                confidence="high",
                message=message,
                location=name,
            )
        )
        ticks = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        return pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), ticks)
    if pa.types.is_interval(kind):
        raise DataError(
            f"column {name!r} holds calendar intervals ({kind}), which have no fixed length",
            hint="export days or seconds as a number",
        )
    if isinstance(kind, pa.BaseExtensionType):
        raise DataError(
            f"column {name!r} has the type {kind}, which is not read here",
            hint="export it as numbers or text",
        )
    return values


def _peeled(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """One layer less: the values of a dictionary, the storage of a known extension."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        return pa.chunked_array(
            [chunk.dictionary_decode() for chunk in values.chunks], kind.value_type
        )
    if pa.types.is_run_end_encoded(kind):
        return pa.chunked_array(
            [pc.run_end_decode(chunk) for chunk in values.chunks], kind.value_type
        )
    if isinstance(kind, pa.UuidType):
        return pa.chunked_array(
            [
                pa.array(
                    [None if cell is None else str(cell) for cell in values.to_pylist()],
                    pa.string(),
                )
            ]
        )
    if isinstance(kind, (pa.JsonType, pa.Bool8Type)):
        stored = pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type)
        return stored.cast(pa.bool_()) if isinstance(kind, pa.Bool8Type) else stored
    return values


def _text_of(values: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Bytes are text where all of them are UTF-8: older tools do not mark it."""
    try:
        return values.cast(pa.binary()).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"column {name!r} holds bytes that are not UTF-8 text ({values.type})",
            hint="export it as text, numbers or not at all",
        ) from error


def from_memory(table: Any) -> pa.Table:
    """A pandas, polars or pyarrow table, or whatever else gives Arrow data (`__arrow_c_stream__`).

    Raises:
        ConfigError: it is none. DataError: a column holds values that are no column of one type.
    """
    try:
        if type(table).__module__.partition(".")[0] == "pandas" and hasattr(table, "columns"):
            plain = all(isinstance(name, str) for name in table.columns)
            named = table if plain else table.rename(columns=str)
            made = pa.Table.from_pandas(named)
            return made.rename_columns(
                [
                    "index" if name.startswith("__index_level_") else name
                    for name in made.column_names
                ]
            )
        if isinstance(table, pa.Table):
            return table
        if hasattr(table, "__arrow_c_stream__"):
            return pa.table(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        said = str(error).split("\n", maxsplit=1)[0][:200]
        raise DataError(
            f"the table cannot be read: {said}",
            hint="each column needs values of one type and a name of its own",
        ) from error
    raise ConfigError(
        f"a {type(table).__name__} is no table",
        hint="give a path, or a pandas, polars or pyarrow table",
    )


def to_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())
