"""The log's tables in the catalogue: its entries, and the head that says how many there are."""

import sqlalchemy as sa

from casemate.core.store import METADATA
from casemate.core.store.prepared import Prepared

INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ENTRIES = sa.Table(
    "audit_entry",
    METADATA,
    sa.Column("index", INDEX, primary_key=True, autoincrement=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
HEAD = sa.Table(
    "audit_head",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", INDEX, nullable=False),
    sa.Column("roots", sa.LargeBinary, nullable=False),
    sa.Column("rows", sa.String),
)
READ_HEAD = Prepared(sa.select(HEAD.c.size, HEAD.c.roots, HEAD.c.rows))
MOVE_HEAD = Prepared(
    HEAD.update().values(
        size=sa.bindparam("new_size"),
        roots=sa.bindparam("new_roots"),
        rows=sa.bindparam("new_rows"),
    )
)
NEWEST = Prepared(
    sa.select(HEAD.c.size, HEAD.c.rows, ENTRIES.c.sealed).outerjoin_from(
        HEAD, ENTRIES, ENTRIES.c.index == sa.literal_column("audit_head.size - 1")
    )
)
ADD = Prepared(ENTRIES.insert())
