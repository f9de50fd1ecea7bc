"""The catalogue: what a project knows, in SQLite or PostgreSQL, behind one interface."""

from collections.abc import Callable
from pathlib import Path

from casemate.core.secrets import read_secret
from casemate.core.store.interface import METADATA, Store, Unsettled, decode
from casemate.core.store.schema import declared_by, every_table, explained

__all__ = [
    "METADATA",
    "Store",
    "Unsettled",
    "declared_by",
    "decode",
    "every_table",
    "explained",
    "open_store",
]


def open_store(
    url: str, file: Path, password: str | None = None, read: Callable[[str], str] = read_secret
) -> Store:
    """The catalogue at `url`, or the SQLite database `file` when `url` is empty.

    Args:
        url: "" or `postgresql://USER@HOST:PORT/DATABASE`; a password inside it is refused.
        file: the SQLite database of the project.
        password: reference to the server's password (`env:NAME`, `file:PATH`).
        read: what gives the secret behind a reference.

    Raises:
        ConfigError: the URL is of no known kind.
        BackendError: the driver is not installed.
    """
    if not url:
        from casemate.core.store.sqlite import SqliteStore

        return SqliteStore(file)
    from casemate.core.store.postgres import PostgresStore

    return PostgresStore(url, read(password) if password else None)
