"""Accounts, factors, sessions, own roles, grants with an end, applied policies, approvals; limits
of service tokens.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the tables and columns."""
    for column in (
        sa.Column("created", sa.String, nullable=False, server_default=""),
        sa.Column("disabled", sa.String),
        sa.Column("outside", sa.String),
    ):
        op.add_column("principal", column)
    op.create_index("principal_outside", "principal", ["outside"], unique=True)
    narrowed: tuple[sa.Column[Any], ...] = (
        sa.Column("actions", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("networks", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("rate", sa.Integer),
        sa.Column("certificate", sa.String),
        sa.Column("created", sa.String, nullable=False, server_default=""),
    )
    for limit in narrowed:
        op.add_column("token", limit)
    op.create_table(
        "role",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("includes", sa.JSON, nullable=False),
    )
    op.create_table(
        "role_grant",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("reviewer", sa.String),
        sa.Column("review", sa.String),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("password", sa.String, nullable=False),
        sa.Column("changed", sa.String, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked", sa.String),
    )
    op.create_table(
        "factor",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("counter", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("confirmed", sa.String),
        sa.Column("tries", sa.JSON, nullable=False),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("family", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("refresh", sa.LargeBinary, nullable=False),
        sa.Column("refreshed", sa.String),
        sa.Column("started", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("cap", sa.String, nullable=False),
        sa.Column("mfa", sa.String),
        sa.Column("network", sa.String),
        sa.Column("certificate", sa.String),
        sa.Column("device", sa.String),
        sa.Column("revoked", sa.String),
    )
    op.create_index("session_family", "session", ["family"])
    op.create_table(
        "policy_set",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("texts", sa.JSON, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
    )
    op.create_table(
        "approval",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("stage", sa.String, primary_key=True),
        sa.Column("principal", sa.String, primary_key=True),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("statement", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "access_seen",
        sa.Column("principal", sa.String, primary_key=True),
        sa.Column("network", sa.String, primary_key=True),
        sa.Column("first", sa.String, nullable=False),
        sa.Column("last", sa.String, nullable=False),
    )
    op.create_table(
        "access_count",
        sa.Column("principal", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("window", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "access_finding",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("risk", sa.Integer, nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("closed", sa.String),
    )
    op.create_index("access_finding_principal", "access_finding", ["principal"])
    op.create_table(
        "challenge",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("purpose", sa.String, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("until", sa.String, nullable=False),
    )
    op.create_table(
        "access_epoch",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
    )
