"""Copying a catalogue from one database into another, row by row, and checking that both then say
the same.
"""

import hashlib
from typing import Any

import sqlalchemy as sa

from casemate.core.errors import BackendError, VerificationError
from casemate.core.store.interface import METADATA, MOVED, Store
from casemate.core.store.rowdigests import CHECKED
from casemate.core.store.schema import every_table

BATCH = 1024


def copy_rows(source: Store, target: Store, *, fence: bool = False) -> dict[str, int]:
    """Copy every row of `source` into the empty, upgraded `target`; returns the rows per table.

    Args:
        source: read in one consistent state.
        target: must hold no row.
        fence: hold the source's write lock meanwhile and mark it as moved in the end, so that
            nobody goes on writing to it.

    Raises:
        BackendError: the target holds rows already.
        VerificationError: the copy differs from the source, or a table is not known.
    """
    opened = source.transaction() if fence else source.reading()
    with opened as old:
        with target.transaction() as new:
            every = _declared(old, new)
            for table in every:
                if new.execute(sa.select(sa.literal(1)).select_from(table)).first() is not None:
                    raise BackendError(
                        f"{target.name} holds data already ({table.name})",
                        hint="move into an empty database or schema",
                    )
                result = old.execute(
                    sa.select(table).order_by(*table.primary_key.columns), execution_options=CHECKED
                )
                while rows := result.fetchmany(BATCH):
                    new.execute(table.insert(), [dict(row._mapping) for row in rows])  # noqa: SLF001 - SQLAlchemy's public name
            target.renumber(new)
            counts = {}
            for table in every:
                before, after = _digest(old, table), _digest(new, table)
                if before != after:
                    raise VerificationError(
                        f"the copy of table {table.name} differs from the original",
                        hint="report this as a defect",
                    )
                counts[table.name] = before[0]
        if fence:
            old.execute(
                sa.text("UPDATE alembic_version SET version_num = :moved"), {"moved": MOVED}
            )
            old.execute(METADATA.tables["audit_head"].delete())
            # shredding one there would not reach this copy
            old.execute(METADATA.tables["subject_key"].update().values(wrapped=None))
    return counts


def _declared(old: sa.Connection, new: sa.Connection) -> list[sa.Table]:
    """Every table, if the migrations made no other one: what no module that is imported declares
    would be left behind, and the comparison would not see it either.
    """
    every = every_table()
    made = set(sa.inspect(old).get_table_names()) & set(sa.inspect(new).get_table_names())
    if unknown := sorted(made - {"alembic_version", *(table.name for table in every)}):
        raise VerificationError(
            f"nothing declares the tables {', '.join(unknown)} of the catalogue",
            hint="report this as a defect; nothing was moved",
        )
    return every


def _digest(tx: sa.Connection, table: sa.Table) -> tuple[int, str]:
    """(rows, SHA-256 over all rows in the order of their keys as text)."""
    count, state = 0, hashlib.sha256()
    rows: Any = tx.execute(sa.select(table), execution_options=CHECKED)
    for line in sorted(repr(tuple(row)) for row in rows):
        state.update(line.encode() + b"\n")
        count += 1
    return count, state.hexdigest()
