"""The default catalogue: one SQLite file in WAL mode with synchronous=FULL, so that a commit
survives power loss.

This is the only module that imports a driver of SQLite. Libraries from 3.7.0 to 3.51.2 can lose
commits or damage indexes when one connection checkpoints a write-ahead log that another one resets
(https://sqlite.org/changes.html, 3.51.3), so a driver that brings a fixed library is taken before
Python's own; what happens where there is none stands in docs/adr/0033. Two libraries must never
have one file open in a process: closing it in one of them drops the locks of the other
(https://sqlite.org/howtocorrupt.html, section 2.2.1).
"""

import contextlib
import importlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from casemate.core.errors import BackendError
from casemate.core.store.interface import Store
from casemate.core.store.migrations import Seal

PRAGMAS = (
    "synchronous=FULL",
    "foreign_keys=ON",
    "mmap_size=0",
    "secure_delete=ON",
    "cell_size_check=ON",
)
EXTRA = "synchronous=EXTRA"
"""Of a rollback journal the folder must be synced too: with FULL the last commit may come
undone.
"""
VERSION_0_1 = 1
CHECKPOINT_COMMITS = 200
"""Commits of this process between two guarded checkpoints: a log of some megabytes."""


def affected(version: tuple[int, ...]) -> bool:
    """Whether a SQLite of this version has the WAL-reset fault (3.52.0 was withdrawn)."""
    fixed = version >= (3, 53) or (3, 51, 3) <= version < (3, 52)
    backported = (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51)
    return not (fixed or backported)


def _choose() -> Any:
    """The first driver with a sound library; Python's own where none has."""
    with contextlib.suppress(ImportError):
        bundled = importlib.import_module("pysqlite3.dbapi2")
        if not affected(bundled.sqlite_version_info):
            return bundled
    return sqlite3


driver: Any = _choose()
"""The DB-API module that opens every SQLite file of this process."""


class SqliteStore(Store):
    """A catalogue in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"the catalogue {path}"
        self._writing = threading.Lock()
        self._commits = 0
        self.engine = sa.create_engine(
            f"sqlite:///{path}",
            module=driver,
            connect_args={"timeout": 30.0, "check_same_thread": False},
        )
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """See `Store.transaction`; threads of this process queue up here, because SQLite would let
        them poll with growing pauses.
        """
        with self._writing:
            with super().transaction() as tx:
                yield tx
            if affected(driver.sqlite_version_info):
                self._commits += 1
                if self._commits >= CHECKPOINT_COMMITS:
                    self._commits = 0
                    self._checkpoint()

    def _checkpoint(self) -> None:
        """Move committed pages into the file while nobody can commit: nothing resets the log
        meanwhile.
        """
        locked = driver.OperationalError
        with (
            contextlib.suppress(locked),  # another process writes or checkpoints: the next time
            contextlib.closing(driver.connect(self.path, timeout=0, isolation_level=None)) as guard,
            contextlib.closing(
                driver.connect(self.path, timeout=0, isolation_level=None)
            ) as worker,
        ):
            for connection in (guard, worker):
                connection.execute("PRAGMA wal_autocheckpoint=0")
            if _mode(worker) == "wal":
                guard.execute("BEGIN IMMEDIATE")
                worker.execute("PRAGMA synchronous=FULL")
                worker.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                guard.execute("ROLLBACK")

    def upgrade(self, seal: Seal | None = None) -> None:
        """See `Store.upgrade`; a file that an affected library made goes over to WAL under a sound
        one.
        """
        super().upgrade(seal)
        if affected(driver.sqlite_version_info):
            return
        with self.engine.connect() as connection:
            raw: Any = connection.connection
            if _mode(raw) == "wal":
                return
            try:
                raw.execute("PRAGMA journal_mode=WAL")
            except driver.OperationalError as error:
                text = f"{self.name} is in use and cannot go over to WAL: {error}"
                raise BackendError(
                    text, hint="stop gateways and runs, then upgrade again"
                ) from error
        self.engine.dispose()  # pooled connections are set up for the former mode

    def library(self) -> tuple[str, bool]:
        """(library, driver and journal mode for people, whether its WAL-reset fault needs care)."""
        with self.reading() as tx:
            mode = tx.exec_driver_sql("PRAGMA journal_mode").scalar()
        text = (
            f"SQLite {driver.sqlite_version} ({driver.__name__.partition('.')[0]}), journal mode"
            f" {mode}"
        )
        return text, affected(driver.sqlite_version_info)

    def _unstamped(self, tx: sa.Connection) -> str | None:
        """Casemate 0.1 stamped the file with `user_version`."""
        version = tx.exec_driver_sql("PRAGMA user_version").scalar()
        return {0: None, VERSION_0_1: "0001"}.get(int(version or 0), f"user_version {version}")

    def strange(self, tx: sa.Connection) -> list[str]:
        """See `Store.strange`."""
        query = (
            "SELECT type || ' ' || name FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER"
            " BY name LIMIT 20"
        )
        return [str(row[0]) for row in tx.exec_driver_sql(query)]

    def damage(self) -> list[str]:
        """See `Store.damage`."""
        with self.reading() as tx:
            found = [
                str(row[0])
                for row in tx.exec_driver_sql("PRAGMA integrity_check(20)")
                if row[0] != "ok"
            ]
            found += [
                f"{row[0]}: row {row[1]} refers to a missing row of {row[2]}"
                for row in tx.exec_driver_sql("PRAGMA foreign_key_check")
            ]
        return found

    def snapshot(self, target: Path) -> None:
        """A consistent copy of the file while others write (SQLite's online backup)."""
        with (
            contextlib.closing(driver.connect(self.path)) as source,
            contextlib.closing(driver.connect(target)) as copy,
        ):
            source.execute("PRAGMA wal_autocheckpoint=0")  # a reader has nothing to checkpoint
            source.backup(copy)


def vacuum(path: Path) -> None:
    """Write the file anew, so that nothing that was deleted stays in its free pages; nobody else
    may use it.
    """
    with contextlib.closing(driver.connect(path, isolation_level=None)) as connection:
        if affected(driver.sqlite_version_info):
            # the last one to close it checkpoints alone
            connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("VACUUM")


def _mode(connection: Any) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    risky = affected(driver.sqlite_version_info)
    mode = _mode(connection)
    # The mode is a property of the file: chosen when it is made, never changed under others.
    if mode != "wal" and not risky and not connection.execute("PRAGMA page_count").fetchone()[0]:
        mode = str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    if mode != "wal":
        connection.execute(f"PRAGMA {EXTRA}")
    elif risky:
        connection.execute("PRAGMA wal_autocheckpoint=0")


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "BEGIN" if connection.get_execution_options().get("read_only") else "BEGIN IMMEDIATE"
    )
