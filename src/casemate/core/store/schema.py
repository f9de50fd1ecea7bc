"""Where every domain declares its tables, and how one says that its rows give rights."""

from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
SCOPE, APART = "casemate-scope", "casemate-apart"


def explained(*scope: str, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """`info` of a table whose rows give or take rights: casemate refuses rows there that the audit
    log does not explain.

    Args:
        scope: columns that part the rows into groups which are checked and written by themselves;
            none for small tables.
        apart: columns that count or are derived, and give no right.
    """
    return {SCOPE: scope, APART: apart}
