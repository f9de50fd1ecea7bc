"""Waivers of gates, decisions about quarantined rows, and the privacy budget's ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "waiver",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("gate", sa.String, primary_key=True),
        sa.Column("since", sa.String, primary_key=True),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
        sa.Column("withdrawn", sa.String),
    )
    op.create_table(
        "review",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("row", sa.String, primary_key=True),
        sa.Column("decision", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_table(
        "spending",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("dataset", sa.String, nullable=False, index=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("epsilon", sa.Float, nullable=False),
        sa.Column("delta", sa.Float, nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
    )
