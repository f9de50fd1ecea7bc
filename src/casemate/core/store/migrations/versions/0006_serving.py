"""Predictions of served models, what really was, releases of models and what callers have used."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "decision_group",
        sa.Column("index", INDEX, primary_key=True, autoincrement=False),
        sa.Column("writer", sa.String, nullable=False),
        sa.Column("first", INDEX, nullable=False),
        sa.Column("last", INDEX, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("commitments", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("inputs", sa.LargeBinary),
    )
    op.create_index("decision_group_writer", "decision_group", ["writer", "first"])
    op.create_table(
        "decision_outcome",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("index", INDEX, nullable=False),
    )
    op.create_table(
        "model_release",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("part", sa.String, nullable=False),
        sa.Column("share", sa.Float, nullable=False),
        sa.Column("principals", sa.JSON, nullable=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("former", sa.Integer),
    )
    op.create_table(
        "serving_use",
        sa.Column("principal", sa.String, primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("span", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("window", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("odd", sa.BigInteger, nullable=False),
    )
