"""Tickets that casemate has made."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "ticket",
        sa.Column("tracker", sa.String, primary_key=True),
        sa.Column("mark", sa.String, primary_key=True),
        sa.Column("begun", sa.String, nullable=False),
        sa.Column("id", sa.String),
        sa.Column("url", sa.String),
        sa.Column("title", sa.String),
        sa.Column("body", sa.String),
    )
