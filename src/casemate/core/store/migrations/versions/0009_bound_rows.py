"""Digests of the rows that give rights, their root beside the audit log's head, who did a step, and
who can open backups.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "row_digest",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("rows", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
    )
    op.add_column("audit_head", sa.Column("rows", sa.String))
    op.add_column("step", sa.Column("principal", sa.String))
    op.create_table(
        "backup_recipient",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("keys", sa.Boolean, nullable=False),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("locked", sa.LargeBinary),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("since", sa.String, nullable=False),
    )
