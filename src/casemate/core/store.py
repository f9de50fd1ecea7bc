"""The catalogue: one SQLite database in WAL mode with synchronous=FULL, reached through SQLAlchemy Core.

Each domain declares its tables on `METADATA` in its own module. `Store.transaction` is the only way to write; a
step's result, its audit entry and its registry row go through one of them.
"""

import contextlib
from collections.abc import Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.core.errors import BackendError, VerificationError

METADATA = sa.MetaData()
CATALOG_VERSION = 1
T = TypeVar("T")


class Store:
    """A catalogue on disk. Creating one never changes an existing file of another version."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30.0, "check_same_thread": False})
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)

    def create(self) -> None:
        """Create the tables and stamp the version."""
        with self.transaction() as tx:
            METADATA.create_all(tx)
            tx.exec_driver_sql(f"PRAGMA user_version = {CATALOG_VERSION}")

    def check(self) -> None:
        """Refuse a catalogue that is damaged or was written by another version."""
        with self.reading() as tx:
            version = tx.exec_driver_sql("PRAGMA user_version").scalar()
        if version != CATALOG_VERSION:
            raise BackendError(
                f"the catalogue {self.path} has version {version}, this casemate reads {CATALOG_VERSION}",
                hint="use the casemate version that wrote it",
            )

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A write transaction: all of it, durably, or nothing."""
        try:
            with self.engine.begin() as tx:
                yield tx
        except sa.exc.OperationalError as error:
            raise BackendError(
                f"the catalogue could not be written: {error.orig}", hint="free disk space or stop the other process, then run again"
            ) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A consistent read without taking the write lock."""
        try:
            with self.engine.connect().execution_options(read_only=True) as tx:
                yield tx
        except (sa.exc.DatabaseError, UnicodeDecodeError, JSONDecodeError) as error:
            raise BackendError(f"the catalogue {self.path} cannot be read: {error}", hint="restore it from a backup") from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "mmap_size=0", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("read_only") else "BEGIN IMMEDIATE")


def decode(content: bytes, kind: type[T]) -> T:
    """A record that was stored in the catalogue; VerificationError when it is damaged."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise VerificationError(f"a {kind.__name__} in the catalogue is damaged: {error}", hint="restore the catalogue from a backup") from error
