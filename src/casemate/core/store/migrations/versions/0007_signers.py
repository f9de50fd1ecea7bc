"""Declared compromises of signers, so that every host of the catalogue knows of them although the
key store is a file of each.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "signer_compromise",
        sa.Column("fingerprint", sa.String, primary_key=True),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("index", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    )
