"""A table as a file, all of it or nothing."""

import contextlib
import csv
import gzip
import io
from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from casemate.core.digest import sha256
from casemate.core.errors import ConfigError
from casemate.core.files import write_atomic


def _csv(table: pa.Table) -> bytes:
    """Quoted only where it must be; what is missing is nothing."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(table.column_names)
    for batch in table.to_batches(max_chunksize=10_000):
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return sink.getvalue().encode()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def _arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {
    ".csv": _csv,
    ".csv.gz": lambda table: gzip.compress(_csv(table), mtime=0),
    ".parquet": _parquet,
    ".arrow": _arrow,
}
"""By the end of the file's name."""


def require_free(source: Path, out: Path, *, force: bool) -> None:
    """The place of the new file, before any work is done.

    Raises:
        ConfigError: it exists, is the source, or its name says no format.
    """
    if not _format(out):
        raise ConfigError(
            f"{out} has no ending that says how it is written", hint=f"one of {', '.join(FORMATS)}"
        )
    if out.exists() and source.exists() and out.samefile(source):
        raise ConfigError(f"{out} is the table itself", hint="name a new file")
    if out.is_dir() or (out.exists() and not force):
        raise ConfigError(f"{out} exists", hint="name a new file, or write over it with --force")


def as_it_was(table: pa.Table, source: Path, names: Collection[str]) -> pa.Table:
    """`table` with the types that a Parquet file has for these columns, where the reader took
    plainer ones: categories, long text.
    """
    try:
        schema = pa.parquet.read_schema(source)
    except (pa.ArrowException, OSError):
        return table
    for name in names:
        at = table.column_names.index(name)
        if name in schema.names and schema.field(name).type != table[name].type:
            with contextlib.suppress(pa.ArrowException):
                table = table.set_column(at, name, table[name].cast(schema.field(name).type))
    return table


def write(table: pa.Table, out: Path) -> str:
    """Write it; its SHA-256."""
    make = FORMATS[_format(out)]
    content = make(table)
    write_atomic(out, content)
    return sha256(content)


def _format(out: Path) -> str:
    endings = sorted(FORMATS, key=len, reverse=True)
    return next((one for one in endings if out.name.lower().endswith(one)), "")
