"""SQL over lines: DuckDB in this process, over a view that Arrow reads, without a way to a file, to
the network or to a setting.

DuckDB itself opens nothing: Arrow reads the Parquet files, so that `enable_external_access` can be
off altogether. With its `allowed_paths` instead, `COPY ... TO` could write over the files.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from casemate.core.errors import BackendError, ConfigError
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.watch.logs.day import Day, schema
from casemate.watch.logs.store import LogStore

MOST_SQL = 20_000
"""Characters of a statement."""
MOST_ROWS = 10_000
"""Rows of an answer."""
MOST_BYTES = 64 * 2**20
"""Of their cells as text."""
PORTION = 100
"""Rows that are fetched before their size is looked at."""
SECONDS = 60.0
"""Of a statement before it is interrupted."""
MEMORY = "1GB"
"""Of DuckDB; it may write nothing to disk instead."""
Cell = str | int | float | bool | None


class Answer(Record, frozen=True, kw_only=True):
    """What a statement came to."""

    columns: list[str]
    rows: list[list[Cell]]
    more: bool
    """Whether there were more rows than are answered."""


def ask(store: LogStore, statement: str, hidden: str = "") -> Answer:
    """Answer one SELECT over the view `logs`.

    Args:
        store: whose lines.
        statement: one, of SQL.
        hidden: a data set whose lines are not in the view.

    Raises:
        ConfigError: it is not one SELECT, or wrong. BackendError: it takes too long or too much
            memory.
    """
    if len(statement) > MOST_SQL:
        raise ConfigError(f"the statement has more than {MOST_SQL} characters", hint="write less")
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError("SQL needs DuckDB", hint="pip install 'casemate[logs]'") from error
    with contextlib.closing(duckdb.connect(":memory:")) as connection:
        connection.register("lines", _lines(store, hidden))
        connection.execute("CREATE VIEW logs AS SELECT * FROM lines")
        for name, value in (
            ("memory_limit", f"'{MEMORY}'"),
            ("temp_directory", "''"),
            ("python_enable_replacements", "false"),  # else names of our variables are tables
            ("enable_external_access", "false"),
            ("autoload_known_extensions", "false"),
            ("autoinstall_known_extensions", "false"),
            ("lock_configuration", "true"),
        ):
            connection.execute(f"SET {name} = {value}")
        try:
            statements = connection.extract_statements(statement)
            kinds = [one.type for one in statements]
        except duckdb.Error as error:
            raise _wrong(error) from error
        if kinds != [duckdb.StatementType.SELECT]:
            raise ConfigError(
                "one SELECT statement is answered, nothing else",
                hint="such as: select code, count(*) from logs group by code",
            )
        with _bounded(connection) as over:
            try:
                found = connection.execute(statements[0])
                columns = [str(column[0]) for column in found.description or []]
                rows = _fetched(found)
            except duckdb.InterruptException as error:
                if not over.is_set():
                    raise
                raise BackendError(
                    f"the statement took more than {SECONDS:.0f} s",
                    hint="ask about less: where time > now() - interval 1 day",
                ) from error
            except duckdb.OutOfMemoryException as error:
                raise BackendError(
                    f"the statement needs more than {MEMORY} of memory", hint="ask about less"
                ) from error
            except duckdb.Error as error:
                raise _wrong(error) from error
    cells = [[_cell(value) for value in row] for row in rows[:MOST_ROWS]]
    return Answer(columns=columns, rows=cells, more=len(rows) > MOST_ROWS)


def _fetched(found: Any) -> list[tuple[Any, ...]]:
    """The first rows, at most `MOST_ROWS` and one.

    Raises:
        BackendError: they are longer than people read.
    """
    rows: list[tuple[Any, ...]] = []
    size = 0
    while len(rows) <= MOST_ROWS and (some := found.fetchmany(PORTION)):
        rows += some
        size += sum(len(str(value)) for row in some for value in row)
        if size > MOST_BYTES:
            raise BackendError(
                f"the answer is longer than {MOST_BYTES // 2**20} MiB",
                hint="ask for fewer columns or rows: select left(message, 100) ... limit 100",
            )
    return rows[: MOST_ROWS + 1]


def _wrong(error: Exception) -> ConfigError:
    said = clean(str(error), 600, lines=True)
    return ConfigError(
        f"the statement cannot be answered: {said}",
        hint="columns of logs are in docs/how-to/search-logs.md; select * from logs limit 1",
    )


def _cell(value: Any) -> Cell:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


@contextlib.contextmanager
def _bounded(connection: Any) -> Iterator[threading.Event]:
    over = threading.Event()

    def end() -> None:
        over.set()
        connection.interrupt()

    timer = threading.Timer(SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _lines(store: LogStore, hidden: str) -> Any:
    """All lines as one Arrow data set: Parquet files, and of each day what is in none yet."""
    import pyarrow
    import pyarrow.dataset

    days = [Day(store.folder / "days" / name) for name in store.days()]
    files = [(day, *day.sealed()) for day in days]
    paths = [str(path) for _, found, _ in files for path in found]
    tail = [table for day, _, block in files for table in day.tables(block)]
    parts = [
        pyarrow.dataset.dataset(
            pyarrow.Table.from_batches([], schema()) if not tail else pyarrow.concat_tables(tail)
        )
    ]
    if paths:
        parts.append(pyarrow.dataset.dataset(paths, schema=schema(), format="parquet"))
    found = pyarrow.dataset.dataset(parts)
    if hidden:
        found = found.filter(pyarrow.dataset.field("dataset") != hidden)
    return found
