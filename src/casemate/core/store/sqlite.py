"""The default catalogue: one SQLite file in WAL mode with synchronous=FULL, so that a commit survives power loss."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from casemate.core.store.interface import Store

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "mmap_size=0", "secure_delete=ON", "cell_size_check=ON")
VERSION_0_1 = 1


class SqliteStore(Store):
    """A catalogue in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"the catalogue {path}"
        self._writing = threading.Lock()
        self.engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30.0, "check_same_thread": False})
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """See `Store.transaction`; threads of this process queue up here, because SQLite would let them poll with growing pauses."""
        with self._writing, super().transaction() as tx:
            yield tx

    def _unstamped(self, tx: sa.Connection) -> str | None:
        """Casemate 0.1 stamped the file with `user_version`."""
        version = tx.exec_driver_sql("PRAGMA user_version").scalar()
        return {0: None, VERSION_0_1: "0001"}.get(int(version or 0), f"user_version {version}")

    def damage(self) -> list[str]:
        """See `Store.damage`."""
        with self.reading() as tx:
            found = [str(row[0]) for row in tx.exec_driver_sql("PRAGMA integrity_check(20)") if row[0] != "ok"]
            found += [f"{row[0]}: row {row[1]} refers to a missing row of {row[2]}" for row in tx.exec_driver_sql("PRAGMA foreign_key_check")]
        return found

    def snapshot(self, target: Path) -> None:
        """A consistent copy of the file while others write (SQLite's online backup)."""
        with contextlib.closing(sqlite3.connect(self.path)) as source, contextlib.closing(sqlite3.connect(target)) as copy:
            source.backup(copy)


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("read_only") else "BEGIN IMMEDIATE")
