"""Who was erased, by keyed digest, and identifiers that are one person's."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "erasure",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("barred", sa.String, nullable=False),
    )
    op.create_table(
        "person_alias",
        sa.Column("subject", sa.String, primary_key=True),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
    )
    op.create_index("alias_of_person", "person_alias", ["person"])
