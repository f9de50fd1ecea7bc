"""The table that keeps the digests of rows, and what it says of a group."""

import msgspec
import sqlalchemy as sa

from casemate.core.store.rowcontent import Group, blob, digest_of
from casemate.core.store.schema import METADATA

ROW_DIGESTS = sa.Table(
    "row_digest",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("rows", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
)


def stored(tx: sa.Connection) -> dict[Group, str]:
    """The digest of every group."""
    query = sa.select(ROW_DIGESTS.c.name, ROW_DIGESTS.c.scope, ROW_DIGESTS.c.digest)
    return {(row.name, row.scope): row.digest for row in tx.execute(query)}


def differences(tx: sa.Connection, group: Group, found: dict[str, str]) -> list[str]:
    """What is not as it was written, row by row."""
    query = sa.select(ROW_DIGESTS.c.rows).where(
        ROW_DIGESTS.c.name == group[0], ROW_DIGESTS.c.scope == group[1]
    )
    stored = tx.execute(query).scalar()
    try:
        before = {} if stored is None else msgspec.json.decode(stored, type=dict[str, str])
    except msgspec.MsgspecError:
        before = {}
    named = [f"{key} was added" for key in sorted(found.keys() - before.keys())]
    named += [f"{key} is gone" for key in sorted(before.keys() - found.keys())]
    named += [
        f"{key} was changed"
        for key in sorted(found.keys() & before.keys())
        if found[key] != before[key]
    ]
    return named or [f"the digests of {group[1]} were changed"]


def write(tx: sa.Connection, digests: dict[Group, str], group: Group, rows: dict[str, str]) -> None:
    """Keep the digests of the rows of a group; `digests` follows."""
    new = digest_of(rows)
    if digests.get(group) == new:
        return
    tx.execute(
        ROW_DIGESTS.delete().where(ROW_DIGESTS.c.name == group[0], ROW_DIGESTS.c.scope == group[1])
    )
    digests.pop(group, None)
    if new is not None:
        tx.execute(
            ROW_DIGESTS.insert().values(name=group[0], scope=group[1], rows=blob(rows), digest=new)
        )
        digests[group] = new
