"""Where alerts and incidents are kept in the catalogue."""

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from casemate.core.errors import ConfigError, VerificationError
from casemate.core.store import METADATA, decode, explained
from casemate.core.types import Record
from casemate.respond.alerts import Alert, moment
from casemate.respond.causes import common
from casemate.respond.states import OPEN, Incident

INDEX = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ALERTS = sa.Table(
    "alert",
    METADATA,
    sa.Column("fingerprint", sa.String, primary_key=True),
    sa.Column("alert", sa.LargeBinary, nullable=False),
    sa.Column("began", sa.String, nullable=False),
    sa.Column("stands", sa.Boolean, nullable=False),
    sa.Column("waiting", sa.Boolean, nullable=False),
    sa.Column("incident", sa.Integer),
    sa.Column("heard", INDEX, nullable=False),
    sa.Column("first", sa.String, nullable=False),
    sa.Column("last", sa.String, nullable=False),
    sa.Index("alert_of_incident", "incident", "stands"),
    sa.Index("alert_waiting", "waiting"),
)
INCIDENTS = sa.Table(
    "incident",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("root", sa.String, nullable=False),
    sa.Column("common", sa.String, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Index("incident_by_root", "root", "state"),
    sa.Index("incident_by_kind", "kind", "state"),
    sa.Index("incident_by_common", "common", "state"),
)
LINES = sa.Table(
    "incident_line",
    METADATA,
    sa.Column("incident", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("entry", INDEX, primary_key=True, autoincrement=False),
)
MUTES = sa.Table(
    "incident_mute",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("until", sa.String, nullable=False),
    sa.Column("matching", sa.JSON, nullable=False),
    # whoever could add one would silence the project
    info=explained(),
)
AT_ONCE = 500
"""Values in one statement: SQLite takes 32766 and PostgreSQL more, and plans stay small."""


class NoIncident(ConfigError):
    """There is no incident of this number."""

    code = "CM-NO-INCIDENT"
    http_status = 404
    who = "whoever asks: casemate incident list"


class Known(Record, frozen=True, kw_only=True):
    """What is kept of an alert."""

    alert: Alert
    heard: int
    """Messages about it."""
    first: str
    """When the first of them came."""
    last: str
    incident: int | None = None
    """To which it belongs, or belonged in its last episode."""
    waiting: bool = False
    """Whether it came in a window of maintenance and is judged when that is over."""


class Mute(Record, frozen=True, kw_only=True):
    """A window of maintenance."""

    id: int
    since: str
    until: str
    matching: dict[str, str]
    """What an alert must have: `name`, `source` or a label -> its value; empty: every alert."""

    def covers(self, alert: Alert, now: str) -> bool:
        """Whether it holds an alert back now."""
        of = {**alert.labels, "name": alert.name, "source": alert.source}
        return self.since <= now < self.until and all(
            of.get(key) == value for key, value in self.matching.items()
        )


def _known(row: Any) -> Known:
    return Known(
        alert=decode(bytes(row.alert), Alert),
        heard=row.heard,
        first=row.first,
        last=row.last,
        incident=row.incident,
        waiting=row.waiting,
    )


def known(tx: sa.Connection, fingerprints: list[str]) -> dict[str, Known]:
    """What is kept of these alerts, by fingerprint."""
    found = {}
    for part in _parts(fingerprints):
        for row in tx.execute(sa.select(ALERTS).where(ALERTS.c.fingerprint.in_(part))):
            found[row.fingerprint] = _known(row)
    return found


def _parts(values: Iterable[Any]) -> Iterator[list[Any]]:
    every = list(values)
    for start in range(0, len(every), AT_ONCE):
        yield every[start : start + AT_ONCE]


def keep(tx: sa.Connection, alerts: dict[str, Known], before: Iterable[str]) -> None:
    """Write what is known of alerts.

    Args:
        tx: a write transaction.
        alerts: by fingerprint.
        before: fingerprints of those that have a row.
    """
    old = set(before)
    rows = [_row(key, one) for key, one in alerts.items() if key not in old]
    if rows:
        tx.execute(ALERTS.insert(), rows)
    changed = [_row(key, one) for key, one in alerts.items() if key in old]
    if changed:
        values: dict[Any, Any] = {
            name: sa.bindparam(f"new_{name}") for name in changed[0] if name != "fingerprint"
        }
        update = ALERTS.update().where(ALERTS.c.fingerprint == sa.bindparam("new_fingerprint"))
        tx.execute(
            update.values(**values),
            [{f"new_{name}": value for name, value in row.items()} for row in changed],
        )


def _row(fingerprint: str, one: Known) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "alert": msgspec.json.encode(one.alert),
        "began": one.alert.began,
        "stands": one.alert.stands,
        "waiting": one.waiting,
        "incident": one.incident,
        "heard": one.heard,
        "first": one.first,
        "last": one.last,
    }


def some_alerts(tx: sa.Connection, *where: Any, most: int) -> dict[str, Known]:
    """Alerts by fingerprint, the newest first.

    Args:
        tx: any.
        where: conditions on `ALERTS`.
        most: how many at most.
    """
    query = sa.select(ALERTS).where(*where).order_by(ALERTS.c.began.desc(), ALERTS.c.fingerprint)
    return {row.fingerprint: _known(row) for row in tx.execute(query.limit(most))}


def standing(tx: sa.Connection, incident: int) -> int:
    """How many alerts of an incident stand."""
    query = sa.select(sa.func.count()).select_from(ALERTS)
    mine = (ALERTS.c.incident == incident, ALERTS.c.stands.is_(True))
    return int(tx.execute(query.where(*mine)).scalar_one())


def incident(tx: sa.Connection, number: int) -> Incident:
    """An incident as its row says it.

    Raises:
        NoIncident: there is none. VerificationError: the row contradicts itself.
    """
    found = tx.execute(sa.select(INCIDENTS).where(INCIDENTS.c.id == number)).mappings().first()
    if found is None:
        raise NoIncident(f"there is no incident {number}", hint="casemate incident list")
    row = {**found, "content": bytes(found["content"])}
    made = decode(row["content"], Incident)
    if row != {"id": made.id, **row_of(made)}:
        raise VerificationError(
            f"the row of incident {number} contradicts itself", hint="casemate fsck"
        )
    return made


def lasting(tx: sa.Connection, number: int) -> Incident:
    """An incident, or the one that it became part of; as `incident`."""
    found = incident(tx, number)
    while found.merged is not None:  # into one that was open then, so this ends
        found = incident(tx, found.merged)
    return found


def incidents(tx: sa.Connection, *where: Any, most: int | None = None) -> list[Incident]:
    """Incidents, the newest first.

    Args:
        tx: any.
        where: conditions on `INCIDENTS`.
        most: how many at most.
    """
    query = sa.select(INCIDENTS.c.content).where(*where).order_by(INCIDENTS.c.id.desc())
    if most is not None:
        query = query.limit(most)
    return [decode(bytes(content), Incident) for (content,) in tx.execute(query)]


def open_at(tx: sa.Connection, roots: Iterable[str]) -> list[Incident]:
    """Open incidents whose cause is one of these, or has one of them in common with others."""
    found = []
    for part in _parts(roots):
        # two statements, each with its index
        for column in (INCIDENTS.c.root, INCIDENTS.c.common):
            found += incidents(tx, column.in_(part), INCIDENTS.c.state.in_(OPEN))
    return found


def open_of(tx: sa.Connection, kinds: Iterable[str]) -> list[Incident]:
    """Open incidents whose cause is of one of these kinds."""
    return incidents(tx, INCIDENTS.c.kind.in_(list(kinds)), INCIDENTS.c.state.in_(OPEN))


def put(tx: sa.Connection, found: Incident, *, is_new: bool) -> None:
    """Write the row of an incident."""
    row = row_of(found)
    if is_new:
        tx.execute(INCIDENTS.insert().values(id=found.id, **row))
    else:
        tx.execute(INCIDENTS.update().where(INCIDENTS.c.id == found.id).values(**row))


def row_of(found: Incident) -> dict[str, Any]:
    """Everything in the row of an incident but its number."""
    return {
        "state": found.state,
        "kind": found.root.partition(":")[0],
        "root": found.root,
        "common": common(found.chain),
        "content": msgspec.json.encode(found),
    }


def next_number(tx: sa.Connection, column: Any) -> int:
    """The number that the next row gets; writers wait for one another."""
    return int(tx.execute(sa.select(sa.func.max(column))).scalar() or 0) + 1


def mutes(tx: sa.Connection, now: datetime.datetime) -> list[Mute]:
    """Windows that are not over."""
    query = sa.select(MUTES).where(MUTES.c.until > moment(now)).order_by(MUTES.c.id)
    return [Mute(**row) for row in tx.execute(query).mappings()]
