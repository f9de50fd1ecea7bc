"""Where every domain declares its tables, and how one says that its rows give rights."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()
SCOPE, APART = "casemate-scope", "casemate-apart"
_sources: list[Callable[[], None]] = []


def explained(*scope: str, apart: tuple[str, ...] = ()) -> dict[str, Any]:
    """`info` of a table whose rows give or take rights: casemate refuses rows there that the audit
    log does not explain.

    Args:
        scope: columns that part the rows into groups which are checked and written by themselves;
            none for small tables.
        apart: columns that count or are derived, and give no right.
    """
    return {SCOPE: scope, APART: apart}


def declared_by(source: Callable[[], None]) -> Callable[[], None]:
    """Remember what declares all tables of the catalogue; `every_table` calls it.

    Args:
        source: imports every module that has a table. Only a layer that knows them all can name
            them.
    """
    _sources.append(source)
    return source


def every_table() -> list[sa.Table]:
    """All tables of the catalogue, those first that others refer to.

    A module that nobody has imported yet has declared nothing on `METADATA`: whoever copies, counts
    or searches the whole catalogue asks here, or leaves out rows without a word.
    """
    for source in _sources:
        source()
    return METADATA.sorted_tables
