"""What a catalogue promises, whatever database holds it.

Each domain declares its tables on `METADATA` in its own module; `migrations/versions` creates and
changes them. `Store.transaction` is the only way to write: writers wait for one another, and what
it committed survives power loss. A step's result, its audit entry, its outbox rows and its registry
row go through one of them.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from json import JSONDecodeError
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from casemate.core.digest import sha256
from casemate.core.errors import BackendError, Error, TransientError, VerificationError
from casemate.core.store.migrations import Seal, migrate
from casemate.core.store.rowdigests import CHECKED, RowDigests
from casemate.core.store.schema import METADATA, every_table

__all__ = ["METADATA", "MOVED", "REVISION", "Store", "Unsettled", "decode"]
REVISION = "0021"
"""The newest migration: what this casemate reads and writes."""
MOVED = "moved"
T = TypeVar("T", bound=Any)


class Unsettled(BackendError):
    """A commit was asked for, and no answer came: it may have been done."""

    def __init__(self, message: str, ask: Callable[[], bool]) -> None:
        super().__init__(message, hint="see that the database server runs, then look what is there")
        self.was_done = ask
        """Whether it was; raises BackendError while that cannot be told."""


class Store(ABC):
    """A catalogue. Opening one never changes it; `upgrade` creates or migrates it."""

    name: str
    """The database, for people; without secrets."""
    engine: sa.Engine

    @cached_property
    def row_digests(self) -> RowDigests:
        """Binds the rows that give rights to the audit log, once that is attached."""
        return RowDigests(self.engine, self.strange)

    def check(self) -> None:
        """Refuse a catalogue that is damaged, was moved elsewhere or was written by another
        version.

        Raises:
            BackendError: with what to do.
        """
        found = self.revision()
        if found == REVISION:
            return
        if found == MOVED:
            raise BackendError(
                f"{self.name} was moved to another database",
                hint=(
                    "`casemate store migrate URL` with the URL of that database again finishes an"
                    " interrupted move"
                ),
            )
        if found is not None and found < REVISION:
            raise BackendError(
                f"{self.name} was written by an older casemate (revision {found})",
                hint="casemate store upgrade",
            )
        raise BackendError(
            f"{self.name} has revision {found or 'none'}, this casemate reads {REVISION}",
            hint="use the casemate version that wrote it",
        )

    def revision(self) -> str | None:
        """The migration that the catalogue is at; None for a database that holds none."""
        with self.reading() as tx:
            if not sa.inspect(tx).has_table("alembic_version"):
                return self._unstamped(tx)
            return tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()

    def _unstamped(self, tx: sa.Connection) -> str | None:
        return None

    def upgrade(self, seal: Seal | None = None) -> None:
        """Create the tables or bring them to `REVISION`, in one transaction.

        Args:
            seal: seals the audit bodies that casemate 0.1 kept in clear.
        """
        with self.transaction() as tx:
            found = None if sa.inspect(tx).has_table("alembic_version") else self._unstamped(tx)
            migrate(tx, stamped=found, seal=seal)
            self.renumber(tx)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A write transaction: all of it, durably, or nothing. One writer at a time.

        Raises:
            Unsettled: the connection was lost while it was being committed, and whether it was
                could not be found out yet.
            BackendError: nothing of it was done.
        """
        number = None
        try:
            with self.engine.begin() as tx:
                yield tx
                self.row_digests.finish(tx)
                number = self._number(tx)
        except sa.exc.IntegrityError:
            raise
        except sa.exc.DBAPIError as error:
            if number is None or not error.connection_invalidated:
                raise self._fault(error) from error
            if not self._settled(number, error):
                raise self._fault(error) from error

    def _number(self, tx: sa.Connection) -> str | None:
        """What the database calls a transaction; None where a commit fails or is done, and nothing
        can be lost between.
        """
        return None

    def _settled(self, number: str, error: sa.exc.DBAPIError) -> bool:
        """Whether a transaction was committed whose connection was lost meanwhile."""
        raise NotImplementedError

    def _fault(self, error: sa.exc.DBAPIError) -> Error:
        """What a failed write means; a lost connection may be tried again, a full or broken disk
        may not.
        """
        text = f"{self.name} could not be written: {error.orig}".strip()
        if error.connection_invalidated:
            return TransientError(text, hint="see that the database server runs, then run again")
        return BackendError(text, hint="free disk space or stop the other process, then run again")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent state, without waiting for writers."""
        try:
            with self.engine.connect().execution_options(read_only=True) as tx:
                yield tx
        except (sa.exc.DatabaseError, UnicodeDecodeError, JSONDecodeError) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            raise BackendError(
                f"{self.name} cannot be read: {cause}".strip(), hint=self.repair
            ) from error

    repair = "restore it from a backup: casemate backup restore"

    def counts(self) -> dict[str, int]:
        """How many rows each table has, by its name."""
        with self.reading() as tx:
            counted = {
                table.name: sa.select(sa.func.count()).select_from(table) for table in every_table()
            }
            return {
                name: int(tx.execute(query, execution_options=CHECKED).scalar_one())
                for name, query in counted.items()
            }

    def behind(self) -> list[str]:
        """Columns that the database numbers and would give a number again that a row has
        already.
        """
        return []

    def renumber(self, tx: sa.Connection) -> None:  # noqa: B027 - most databases ask the table itself
        """Let the database go on numbering behind the rows that are there: it does not see numbers
        that were copied in.
        """

    @abstractmethod
    def strange(self, tx: sa.Connection) -> list[str]:
        """What in the database would change or hide rows by itself; casemate makes plain tables
        only.
        """

    @abstractmethod
    def damage(self) -> list[str]:
        """What the database itself finds wrong with its pages, indexes and references."""

    def close(self) -> None:
        """Close all connections to the catalogue."""
        self.engine.dispose()


def decode(content: bytes, kind: type[T], digest: str | None = None) -> T:
    """A record that was stored in the catalogue; VerificationError when it is damaged or does not
    match its SHA-256 `digest`.
    """
    try:
        if digest is not None and sha256(content) != digest:
            raise ValueError("it does not match its digest")
        decoded: T = msgspec.json.decode(content, type=kind)
        return decoded
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise VerificationError(
            f"a {kind.__name__} in the catalogue is damaged: {error}",
            hint="restore the catalogue from a backup",
        ) from error
