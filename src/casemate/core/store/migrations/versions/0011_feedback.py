"""What people and callers said of answers, and retrainings."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "feedback",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("request", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("contradicts", sa.Boolean, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
    )
    op.create_index("feedback_request", "feedback", ["request"])
    op.create_table(
        "retraining",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("open", sa.Integer, unique=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("began", sa.String, nullable=False),
        sa.Column("ended", sa.String),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("because", sa.String, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("lessons", sa.String, nullable=False),
        sa.Column("incumbent", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("epsilon", sa.Float, nullable=False),
        sa.Column("text", sa.String, nullable=False),
    )
