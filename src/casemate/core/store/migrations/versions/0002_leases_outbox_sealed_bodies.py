"""Runs get leases and idempotency keys, steps their origin; the outbox; audit bodies are sealed."""

from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
BATCH = 1024


def upgrade() -> None:
    """Change runs and steps, add the outbox and subject keys, seal every audit body."""
    for column in (
        sa.Column("key", sa.String),
        sa.Column("start", sa.String),
        sa.Column("owner", sa.String, nullable=False, server_default=""),
        sa.Column("token", sa.Integer, nullable=False, server_default="0"),
        sa.Column("beat", sa.Integer, nullable=False, server_default="0"),
        sa.Column("place", sa.String, nullable=False, server_default=""),
    ):
        op.add_column("run", column)
    op.create_index("run_key", "run", ["key"], unique=True)
    op.add_column("step", sa.Column("attempts", sa.Integer, nullable=False, server_default="1"))
    op.add_column("step", sa.Column("origin", sa.String))
    op.add_column("model", sa.Column("digest", sa.String, nullable=False, server_default=""))
    tx = op.get_bind()
    for name, version, release in tx.exec_driver_sql(
        "SELECT name, version, release FROM model"
    ).all():
        values = {"digest": sha256(release).hexdigest(), "name": name, "version": version}
        tx.execute(
            sa.text("UPDATE model SET digest = :digest WHERE name = :name AND version = :version"),
            values,
        )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.String, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("ended", sa.String),
    )
    op.create_table(
        "subject_key",
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("wrapped", sa.LargeBinary),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("shredded", sa.String),
    )
    op.create_table(
        "audit_key",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
    )
    _seal_bodies()


def _seal_bodies() -> None:
    tx, seal = op.get_bind(), op.get_context().opts["seal"]
    sealed = op.create_table(
        "audit_sealed",
        sa.Column(
            "index",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    start = 0
    while True:
        query = sa.text(
            'SELECT "index", salt, body, leaf FROM audit_entry WHERE "index" >= :start ORDER BY'
            ' "index" LIMIT :batch'
        )
        rows = tx.execute(query, {"start": start, "batch": BATCH}).all()
        if not rows:
            break
        bodies = seal(tx, [(row[0], row[1], row[2]) for row in rows])
        tx.execute(
            sealed.insert(),
            [
                {"index": row[0], "leaf": row[3], "sealed": body}
                for row, body in zip(rows, bodies, strict=True)
            ],
        )
        start = rows[-1][0] + 1
    op.drop_table("audit_entry")
    op.rename_table("audit_sealed", "audit_entry")
