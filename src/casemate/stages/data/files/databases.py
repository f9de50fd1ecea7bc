"""A table of an SQLite or DuckDB file, or what a PostgreSQL server answers to a query. Everything
is opened for reading only.
"""

import contextlib
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate.config import DataTable
from casemate.core.errors import BackendError, ConfigError, DataError
from casemate.core.secrets import read_secret
from casemate.core.store.sqlite import driver
from casemate.stages.data.files import values
from casemate.stages.data.files.content import Content

AT_ONCE = 50_000
"""Rows that are fetched from a server at a time: memory is bounded, and a round trip costs little
beside them.
"""
_TABLES = (
    r"SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%'"
    r" ESCAPE '\' ORDER BY 1"
)
WAITS = 10
"""Seconds until a server that does not answer is away."""
_VALUE = 64
"""Bytes that a cell counts against `[data] max_bytes`, about what Python keeps for it."""


def is_url(source: object) -> bool:
    """Whether `[data] source` is a server."""
    return isinstance(source, str) and re.match(r"[a-z][a-z0-9+.]*://", source) is not None


def read_sqlite(content: Content, options: DataTable) -> pa.Table:
    """One table or view of the file; a column with cells of several kinds is text.

    Raises:
        ConfigError: it is not clear which table is meant. DataError: the file is damaged.
    """
    address = f"{_file(content).resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(driver.connect(address, uri=True)) as base:
            base.execute("PRAGMA trusted_schema = OFF")
            base.execute("PRAGMA query_only = ON")
            known = [row[0] for row in base.execute(_TABLES)]
            answer = base.execute(f"SELECT * FROM {_quoted(_chosen(known, content, options))}")  # noqa: S608 - quoted, and among the known ones
            return values.table([column[0] for column in answer.description], answer.fetchall())
    except driver.Error as error:
        raise DataError(
            f"{content.path} is not a readable SQLite file: {error}",
            hint="it may be damaged or in use: copy it again",
        ) from error


def read_duckdb(content: Content, options: DataTable) -> pa.Table:
    """One table or view of the file, by DuckDB's own types; a view cannot read other files.

    Raises:
        ConfigError: the extra is not installed, or it is not clear which table is meant. DataError:
            the file is damaged.
    """
    file = _file(content)
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError(
            f"{content.path} is a DuckDB file",
            hint='pip install "casemate[duckdb]", or export the table as Parquet',
        ) from error
    try:
        with duckdb.connect(
            str(file), read_only=True, config={"enable_external_access": "false"}
        ) as base:
            known = [
                row[0]
                for row in base.execute(
                    "SELECT table_name FROM information_schema.tables ORDER BY 1"
                ).fetchall()
            ]
            table = _quoted(_chosen(known, content, options))
            kinds = base.execute(f"DESCRIBE {table}").fetchall()
            # Arrow has no unsigned integers of 128 bits: from 2^127 on DuckDB 2.0 gives negative
            # ones away
            wide = [_quoted(row[0]) for row in kinds if row[1] == "UHUGEINT"]
            safe = ", ".join(f"CAST({name} AS DECIMAL(38, 0)) AS {name}" for name in wide)
            columns = f"* REPLACE ({safe})" if wide else "*"
            return base.sql(f"SELECT {columns} FROM {table}").to_arrow_table()  # noqa: S608 - quoted, and known
    except duckdb.Error as error:
        said = str(error).split("\n", maxsplit=1)[0][:200]
        raise DataError(
            f"{content.path} is not a readable DuckDB file: {said}",
            hint="it may be damaged, or in use by another program",
        ) from error


def _file(content: Content) -> Path:
    if not isinstance(content.path, Path):
        raise DataError(f"{content.path} is a database in a bucket", hint="copy it here first")
    if content.data is not None:
        raise DataError(f"{content.path} is a compressed database", hint="unpack it first")
    return content.path


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _chosen(known: list[str], content: Content, options: DataTable) -> str:
    if options.table in known:
        return options.table
    shown = ", ".join(known[:12])
    if options.table is not None:
        raise ConfigError(
            f"[data] table: {content.path.name} has no table {options.table!r}",
            hint=f"the tables are: {shown}",
        )
    if len(known) != 1:
        raise ConfigError(
            f"{content.path.name} has {len(known)} tables: {shown}",
            hint='say which one: --from-table NAME, or [data] table = "NAME"',
        )
    return known[0]


def read_server(url: str, options: DataTable) -> pa.Table:
    """What the server answers to `[data] query`, in one transaction that can write nothing.

    Raises:
        ConfigError: the address, the query or the password's reference is wrong. BackendError: the
            server is away or refuses.
        DataError: the answer is larger than `[data] max_bytes`.
    """
    connection = _connected(url, options)
    import psycopg

    try:
        with connection, connection.cursor("casemate") as cursor:
            cursor.itersize = AT_ONCE
            cursor.execute(options.query)
            names = [column.name for column in cursor.description or []]
            rows: list[Any] = []
            while part := cursor.fetchmany(AT_ONCE):
                rows += part
                if len(rows) * len(names) * _VALUE > options.max_bytes:
                    raise DataError(
                        "the query's answer is larger than [data] max_bytes",
                        hint="raise max_bytes if this is intended, or ask for less",
                    )
    except psycopg.OperationalError as error:
        raise BackendError(
            f"the database {_shown(url)} went away: {_first(error)}",
            hint="run again when it answers",
        ) from error
    except psycopg.Error as error:
        raise ConfigError(
            f"[data] query: {_first(error)}",
            hint="try it with psql: it must be one SELECT, and nothing is written",
        ) from error
    return values.table(names, rows)


def _connected(url: str, options: DataTable) -> Any:
    from urllib.parse import parse_qs, urlsplit

    try:
        import psycopg
    except ImportError as error:
        raise BackendError(
            "the PostgreSQL driver is not installed", hint='pip install "casemate[postgres]"'
        ) from error
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ConfigError(
            f"[data] source: no reader for {parts.scheme}://",
            hint="postgresql://USER@HOST:PORT/DATABASE, s3://BUCKET/KEY, or a file",
        )
    if parts.password or "password" in parse_qs(parts.query):
        raise ConfigError(
            "[data] source holds a password",
            hint=(
                'take it out and set [data] password = "env:NAME" or "file:PATH"; or use ~/.pgpass'
            ),
        )
    if not options.query:
        raise ConfigError(
            "[data] source is a database without [data] query",
            hint='query = "SELECT …": --query for casemate init',
        )
    given: dict[str, Any] = {"password": read_secret(options.password)} if options.password else {}
    settings = "-c default_transaction_read_only=on"
    try:
        return psycopg.connect(url, connect_timeout=WAITS, options=settings, **given)
    except psycopg.OperationalError as error:
        raise BackendError(
            f"the database {_shown(url)} does not answer: {_first(error)}",
            hint="see that it runs and lets this user in",
        ) from error
    except psycopg.Error as error:
        raise ConfigError(
            f"[data] source is not a database URL: {_first(error)}",
            hint="postgresql://USER@HOST:PORT/DATABASE",
        ) from error


def _shown(url: str) -> str:
    return url.split("?", maxsplit=1)[0]


def _first(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:200]
