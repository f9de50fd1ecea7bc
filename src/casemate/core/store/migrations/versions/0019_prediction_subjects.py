"""Whom recorded predictions are about, by pseudonym."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "prediction_subject",
        sa.Column("subject", sa.LargeBinary, primary_key=True),
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_index("prediction_subject_index", "prediction_subject", ["index"])
