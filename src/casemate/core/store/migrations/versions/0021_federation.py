"""Charters of owners who train together, and their rounds."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "federation",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
    )
    op.create_table(
        "federation_round",
        sa.Column("charter", sa.String, primary_key=True),
        sa.Column("job", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("site", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("question", sa.String, nullable=False),
        sa.Column("content", sa.String, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.Column("time", sa.String, nullable=False),
    )
