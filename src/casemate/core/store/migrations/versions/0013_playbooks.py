"""Holds, playbooks in force, and their runs."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "hold",
        sa.Column("what", sa.String, primary_key=True),
        sa.Column("of", sa.String, primary_key=True),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_table(
        "playbook",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.Column("applied", sa.String, nullable=False),
    )
    op.create_table(
        "playbook_run",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("playbook", sa.String, nullable=False),
        sa.Column("incident", sa.Integer, nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("playbook", "incident", "turn"),
        sa.Index("playbook_run_open", "open"),
    )
