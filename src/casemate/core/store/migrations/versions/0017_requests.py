"""Requests of people."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "request",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("request_state", "request", ["state"])
    op.create_table(
        "request_line",
        sa.Column("request", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("entry", INDEX, primary_key=True, autoincrement=False),
    )
