"""The register of consent."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "consent",
        sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("given", sa.Boolean, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
    )
    op.create_index("consent_of_subject", "consent", ["subject"])
