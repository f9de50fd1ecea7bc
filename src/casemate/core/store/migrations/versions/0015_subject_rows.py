"""Whose rows are in which sealed version."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "subject_version",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("subjects", sa.Integer),
    )
    op.create_table(
        "subject_rows",
        sa.Column("subject", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
