"""Certificates that the project's authority issued, and which of them were revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "certificate",
        sa.Column("serial", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("names", sa.JSON, nullable=False),
        sa.Column("algorithm", sa.String, nullable=False),
        sa.Column("issued", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("revoked", sa.String),
    )
