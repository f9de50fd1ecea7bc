"""How a catalogue gets from one revision to the next: `versions/` holds one Alembic script a
revision.

A released script is never edited. A new revision gets a script here, a new `REVISION` in
`store/interface.py`, and a test that opens a catalogue of the revision before.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

Seal = Callable[[sa.Connection, list[tuple[int, bytes, bytes]]], list[bytes]]
"""Seals audit bodies of an old catalogue: (index, salt, body) rows to sealed bodies."""


def migrate(
    tx: sa.Connection, *, stamped: str | None = None, seal: Seal | None = None, to: str = "head"
) -> None:
    """Bring the database behind `tx` to the newest revision, inside the caller's transaction.

    Args:
        tx: a write transaction.
        stamped: the revision that an unstamped catalogue is at.
        seal: seals the audit bodies that casemate 0.1 kept in clear.
        to: the revision to stop at.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(Path(__file__).parent))

    def steps(current: tuple[str, ...], _context: Any) -> Any:
        return scripts._upgrade_revs(to, current)  # type: ignore[arg-type] # noqa: SLF001 - what Alembic's own command does

    context = MigrationContext.configure(tx, opts={"fn": steps, "seal": seal})
    if stamped is not None:
        context.stamp(scripts, stamped)
    with Operations.context(context):
        context.run_migrations()
