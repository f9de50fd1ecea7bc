"""What callers have used of models, in windows of time: one row a caller, model and window."""

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from casemate.core.store import METADATA, Store

USE = sa.Table(
    "serving_use",
    METADATA,
    sa.Column("principal", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("span", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("window", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("odd", sa.BigInteger, nullable=False),
)
KEPT = 367
"""Windows before the newest that are kept of a caller and model."""


@dataclass(frozen=True)
class Used:
    """How much of a limit was used in one window of time."""

    requests: int = 0
    rows: int = 0
    odd: int = 0
    """Rows that look like probing."""


Window = tuple[str, str, int, int]
"""Principal or token, model (empty for all), length in seconds, number since 1970."""


class Usage:
    """Reads and adds up."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def of(self, principal: str, model: str, span: int, since: int) -> dict[int, Used]:
        """Per window from `since` on what was used."""
        with self.store.reading() as tx:
            return _of(tx, principal, model, span, since)

    def add(
        self, used: Iterable[tuple[Window, Used]], windows: int
    ) -> dict[Window, dict[int, Used]]:
        """Add to windows; returns for each of them what all have used in it and in the `windows`
        before it.
        """
        totals = {}
        with self.store.transaction() as tx:
            for (principal, model, span, window), more in used:
                where = (
                    USE.c.principal == principal,
                    USE.c.model == model,
                    USE.c.span == span,
                    USE.c.window == window,
                )
                added = {
                    "requests": USE.c.requests + more.requests,
                    "rows": USE.c.rows + more.rows,
                    "odd": USE.c.odd + more.odd,
                }
                if tx.execute(USE.update().where(*where).values(**added)).rowcount == 0:
                    new = {"principal": principal, "model": model, "span": span, "window": window}
                    tx.execute(USE.insert().values(**new, **vars(more)))
                    tx.execute(USE.delete().where(*where[:3], USE.c.window < window - KEPT))
                totals[principal, model, span, window] = _of(
                    tx, principal, model, span, window - windows
                )
        return totals


def _of(tx: sa.Connection, principal: str, model: str, span: int, since: int) -> dict[int, Used]:
    where = (
        USE.c.principal == principal,
        USE.c.model == model,
        USE.c.span == span,
        USE.c.window >= since,
    )
    return {
        row.window: Used(int(row.requests), int(row.rows), int(row.odd))
        for row in tx.execute(sa.select(USE).where(*where))
    }
