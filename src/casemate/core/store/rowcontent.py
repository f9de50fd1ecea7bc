"""Rows and groups of them as bytes, the same from every database, and their digests."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.digest import sha256
from casemate.core.store.schema import APART, SCOPE, every_table

Scope = tuple[Any, ...]
Group = tuple[str, str]
"""(table, scope as JSON)."""
EMPTY_ROOT = sha256(b"")


def tables() -> list[sa.Table]:
    """Every table whose rows must be explained."""
    return [table for table in every_table() if SCOPE in table.info]


def root_of(digests: dict[Group, str]) -> str:
    """SHA-256 over all groups."""
    return sha256(
        b"".join(
            msgspec.json.encode([*group, digest]) + b"\n"
            for group, digest in sorted(digests.items())
        )
    )


def columns_of(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns that are bound to the log."""
    return [column for column in table.columns if column.name not in table.info[APART]]


def reader(column: sa.Column[Any]) -> Callable[[Any], Any] | None:
    """What makes of a driver's value the one that SQLAlchemy gives."""
    if isinstance(column.type, sa.JSON):
        return lambda value: (
            msgspec.json.decode(value) if isinstance(value, (str, bytes)) else value
        )
    if isinstance(column.type, sa.Boolean):
        return lambda value: None if value is None else bool(value)
    return (
        (lambda value: None if value is None else float(value))
        if isinstance(column.type, sa.Float)
        else None
    )


def text_of(values: Iterable[Any]) -> str:
    """Values as JSON."""
    return msgspec.json.encode(list(values)).decode()


def content_of(values: list[Any]) -> bytes:
    """A row, the same from every database."""
    return msgspec.json.encode(values, order="deterministic")


def blob(rows: dict[str, str]) -> bytes:
    """The digests of the rows of a group, as bytes."""
    return msgspec.json.encode(rows, order="deterministic")


def digest_of(rows: dict[str, str]) -> str | None:
    """SHA-256 over them; None for a group without rows."""
    return sha256(blob(rows)) if rows else None


def tables_of(statement: Any) -> list[sa.Table]:
    """The tables of a query, nested ones included, that must be explained."""
    parts = dict.fromkeys(
        part for part in sa.sql.visitors.iterate(statement) if isinstance(part, sa.Table)
    )
    return [table for table in parts if SCOPE in table.info]


def rows_in(
    tx: sa.Connection, table: sa.Table, scope: Scope | None
) -> tuple[dict[Group, dict[str, str]], set[bytes]]:
    """(SHA-256 of each row by its key, by group; the rows themselves)."""
    names, parts = [column.name for column in columns_of(table)], table.info[SCOPE]
    read = [reader(column) for column in columns_of(table)]
    keys = [names.index(column.name) for column in table.primary_key.columns]
    groups = [names.index(name) for name in parts]
    text, values = _query(tx, table, scope), None if scope is None else tuple(scope)
    found: dict[Group, dict[str, str]] = {}
    rows = set()
    for raw in tx.exec_driver_sql(text, values or None):
        row = [value if one is None else one(value) for one, value in zip(read, raw, strict=True)]
        content = content_of(row)
        rows.add(content)
        group = (str(table.name), text_of(row[at] for at in groups))
        found.setdefault(group, {})[text_of(row[at] for at in keys)] = sha256(content)
    return found, rows


def _query(tx: sa.Connection, table: sa.Table, scope: Scope | None) -> str:
    """SQL for the driver itself: to compile nine queries anew in every process would take
    longer than to run them.
    """
    quote, mark = (
        tx.dialect.identifier_preparer.quote,
        ("?" if tx.dialect.paramstyle == "qmark" else "%s"),
    )
    columns = ", ".join(quote(column.name) for column in columns_of(table))
    where = " AND ".join(f"{quote(name)} = {mark}" for name in table.info[SCOPE]) if scope else ""
    return f"SELECT {columns} FROM {quote(table.name)}" + (f" WHERE {where}" if where else "")  # noqa: S608 - names of our own tables
