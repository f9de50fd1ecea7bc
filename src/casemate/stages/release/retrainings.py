"""What became of each retraining: one goes on at a time, and the catalogue knows which, so that a
process which was killed is followed by one that goes on with the same rows.
"""

from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.errors import BusyError
from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Record

State = Literal[
    "running", "refused", "failed", "waiting", "passed", "released", "go-on", "demanded"
]
"""`waiting`: signed, and somebody else has to do something before it is served. No retraining, but
what somebody said: `go-on`: it may be tried again; `demanded`: it is time for one.
"""
SAID: tuple[State, ...] = ("go-on", "demanded")
RETRAININGS = sa.Table(
    "retraining",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("open", sa.Integer, unique=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("began", sa.String, nullable=False),
    sa.Column("ended", sa.String),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("because", sa.String, nullable=False),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("lessons", sa.String, nullable=False),
    sa.Column("incumbent", sa.String, nullable=False),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("epsilon", sa.Float, nullable=False),
    sa.Column("text", sa.String, nullable=False),
    info=explained(),
)
OPEN = 1
"""In the column `open` of the one that goes on; others have none, so that two can never be."""


class Retraining(Record, frozen=True, kw_only=True):
    """One retraining."""

    id: int
    """They are numbered in order."""
    state: State
    began: str
    """ISO 8601, as `ended`."""
    ended: str | None
    principal: str
    because: str
    """Why it was due, or the reason that a person gave."""
    rows: int
    """Rows of feedback that it learns from."""
    lessons: str
    """Object digest of these; empty: none, or it ended without a signed model."""
    incumbent: str
    """The model that it is compared with, `NAME@VERSION`."""
    run: str = ""
    model: str = ""
    """What came of it, `NAME@VERSION`."""
    seconds: float = 0.0
    """That its stages took."""
    epsilon: float = 0.0
    """Privacy that it spent."""
    text: str = ""
    """How it ended, in words."""


class Retrainings:
    """Reads and writes what became of them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    def all(self) -> list[Retraining]:
        """Every one, newest first."""
        query = sa.select(RETRAININGS).order_by(RETRAININGS.c.id.desc())
        with self.store.reading() as tx:
            return [_read(row) for row in tx.execute(query).mappings()]

    def begin(self, tx: sa.Connection, **said: Any) -> Retraining:
        """A new one, which goes on from now; BusyError while another does."""
        if tx.execute(sa.select(RETRAININGS.c.id).where(RETRAININGS.c.open == OPEN)).first():
            raise BusyError("a retraining goes on", hint="casemate retrain plan")
        made = self._made(tx, "running", **said)
        tx.execute(RETRAININGS.insert().values(open=OPEN, **msgspec.structs.asdict(made)))
        return made

    def end(self, tx: sa.Connection, one: Retraining, state: State, **found: Any) -> Retraining:
        """It has ended, or something has become of one that waited."""
        ended = msgspec.structs.replace(one, state=state, ended=self._now(), **found)
        values = msgspec.structs.asdict(ended)
        tx.execute(
            RETRAININGS.update().where(RETRAININGS.c.id == one.id).values(open=None, **values)
        )
        return ended

    def go_on(self, tx: sa.Connection, principal: str, reason: str) -> None:
        """A person says that it may be tried again after refusals."""
        self._say(tx, "go-on", principal, reason)

    def demand(self, tx: sa.Connection, principal: str, reason: str) -> None:
        """Somebody says that it is time for one."""
        self._say(tx, "demanded", principal, reason)

    def _say(self, tx: sa.Connection, state: State, principal: str, reason: str) -> None:
        said = {"principal": principal, "because": reason, "rows": 0, "lessons": ""}
        made = self._made(tx, state, incumbent="", **said)
        tx.execute(RETRAININGS.insert().values(**msgspec.structs.asdict(made)))

    def _made(self, tx: sa.Connection, state: State, **said: Any) -> Retraining:
        last = tx.execute(sa.select(sa.func.max(RETRAININGS.c.id))).scalar() or 0
        return Retraining(id=last + 1, state=state, began=self._now(), ended=None, **said)

    def _now(self) -> str:
        return self.clock.now().isoformat(timespec="microseconds")


def trainings(found: list[Retraining]) -> list[Retraining]:
    """Those that trained, newest first: without what people said between them."""
    return [one for one in found if one.state not in SAID]


def demands(found: list[Retraining]) -> list[str]:
    """Reasons that were given since the newest that trained began, oldest first."""
    last = next((one.id for one in trainings(found)), 0)
    return [one.because for one in found if one.state == "demanded" and one.id > last][::-1]


def refused_in_a_row(found: list[Retraining]) -> int:
    """How many of the newest were refused since one was not, or since a person said go on."""
    count = 0
    for one in found:
        if one.state in ("running", "failed", "demanded"):
            continue
        if one.state != "refused":
            return count
        count += 1
    return count


def _read(row: Any) -> Retraining:
    return Retraining(**{name: row[name] for name in row if name != "open"})
