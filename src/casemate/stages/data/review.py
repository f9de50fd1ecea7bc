"""What people decided about rows under suspicion: released (the row is fine) or dropped (it stays
out of training).

A decision belongs to a row's content, not to its number, so it holds in later versions of the table
too. The catalogue keeps a keyed digest of the row only; nobody reads values from it.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import ConfigError
from casemate.core.store import METADATA, Store, explained
from casemate.ml.frame import row_hashes

if TYPE_CHECKING:
    import pandas as pd

MAX_REASON = 500
"""Characters of a reason. A judgement: a paragraph; it stands in a row for each row that it is
about.
"""
Decision = Literal["released", "dropped"]
REVIEWS = sa.Table(
    "review",
    METADATA,
    sa.Column("dataset", sa.String, primary_key=True),
    sa.Column("row", sa.String, primary_key=True),
    sa.Column("decision", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    info=explained("dataset"),
)


@dataclass(frozen=True)
class Review:
    """One decision of a person about a suspicious row."""

    decision: str
    principal: str
    time: str
    reason: str


class Reviews:
    """Keeps decisions; the newest one about a row counts."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def of(self, dataset: str) -> dict[str, Review]:
        """Every decision about rows of a data set, by row digest."""
        with self.store.reading() as tx:
            rows = tx.execute(
                sa.select(REVIEWS).where(REVIEWS.c.dataset == dataset).order_by(REVIEWS.c.row)
            ).all()
        return {row.row: Review(row.decision, row.principal, row.time, row.reason) for row in rows}

    def decide(
        self,
        tx: sa.Connection,
        dataset: str,
        rows: list[str],
        decision: Decision,
        principal: str,
        reason: str,
    ) -> None:
        """Record a decision about rows; ConfigError when the reason is missing or too long."""
        if not reason.strip() or len(reason) > MAX_REASON:
            raise ConfigError(
                f"a reason of 1 to {MAX_REASON} characters is needed", hint="--reason '...'"
            )
        time = self.clock.now().isoformat()
        tx.execute(REVIEWS.delete().where(REVIEWS.c.dataset == dataset, REVIEWS.c.row.in_(rows)))
        told = {
            "dataset": dataset,
            "decision": decision,
            "principal": principal,
            "time": time,
            "reason": reason.strip(),
        }
        tx.execute(REVIEWS.insert(), [{**told, "row": row} for row in rows])


def dropped(reviews: dict[str, Review]) -> list[str]:
    """Digests of the rows that people took out, in order."""
    return sorted(digest for digest, review in reviews.items() if review.decision == "dropped")


def row_digests(
    frame: "pd.DataFrame", target: np.ndarray[Any, Any], key: bytes, rows: np.ndarray[Any, Any]
) -> list[str]:
    """Keyed digests of the given rows: of all features, the target, and how many equal rows come
    before.

    Args:
        frame: feature frame of the whole table.
        target: class numbers, or quantities, of the whole table.
        key: secret of the project.
        rows: row numbers.
    """
    import pandas as pd  # pandas is slow to import, and most verbs need none of it

    hashes = row_hashes(frame, target)
    copies = pd.Series(hashes).groupby(hashes).cumcount().to_numpy()
    return [
        hmac.new(key, hashes[row].tobytes() + copies[row].tobytes(), hashlib.sha256).hexdigest()
        for row in rows
    ]
