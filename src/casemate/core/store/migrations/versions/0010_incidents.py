"""Alerts, the incidents that they belong to, their entries in the log, and windows of
maintenance.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "alert",
        sa.Column("fingerprint", sa.String, primary_key=True),
        sa.Column("alert", sa.LargeBinary, nullable=False),
        sa.Column("began", sa.String, nullable=False),
        sa.Column("stands", sa.Boolean, nullable=False),
        sa.Column("waiting", sa.Boolean, nullable=False),
        sa.Column("incident", sa.Integer),
        sa.Column("heard", INDEX, nullable=False),
        sa.Column("first", sa.String, nullable=False),
        sa.Column("last", sa.String, nullable=False),
    )
    op.create_index("alert_of_incident", "alert", ["incident", "stands"])
    op.create_index("alert_waiting", "alert", ["waiting"])
    op.create_table(
        "incident",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("root", sa.String, nullable=False),
        sa.Column("common", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("incident_by_root", "incident", ["root", "state"])
    op.create_index("incident_by_kind", "incident", ["kind", "state"])
    op.create_index("incident_by_common", "incident", ["common", "state"])
    op.create_table(
        "incident_line",
        sa.Column("incident", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("entry", INDEX, primary_key=True, autoincrement=False),
    )
    op.create_table(
        "incident_mute",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("matching", sa.JSON, nullable=False),
    )
