"""What people did with tickets."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns and tables."""
    for name in ("state", "assignee", "cursor", "newest", "settled", "looked"):
        op.add_column("ticket", sa.Column(name, sa.String))
    for name in ("moves", "closings"):
        op.add_column("ticket", sa.Column(name, sa.Integer))
    op.add_column("ticket", sa.Column("lost", sa.Boolean))
    op.create_table(
        "ticket_comment",
        sa.Column("tracker", sa.String, primary_key=True),
        sa.Column("ticket", sa.String, primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("incident", sa.Integer, nullable=False),
        sa.Column("entry", INDEX, nullable=False),
        sa.Column("account", sa.String),
        sa.Column("created", sa.String),
        sa.Column("text", sa.String),
        sa.Column("salt", sa.String),
        sa.Column("digest", sa.String, nullable=False),
    )
    op.create_index("ticket_comment_of_incident", "ticket_comment", ["incident", "entry"])
    op.create_table(
        "tracker_fault",
        sa.Column("tracker", sa.String, primary_key=True),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
    )
