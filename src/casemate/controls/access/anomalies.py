"""Access that is not as usual: new networks, travel that nobody can make, reading in bulk, probing
of models, storms of failures.

What is seen becomes a finding about a principal, with a risk from 0 to 100 that every decision
knows (`context.risk`) until the finding ends or is closed by a reviewer. Shipped policy asks for a
second factor from 50 on and lets nothing through from 80 on, where sessions end too. Addresses are
kept as networks (/24, /48), because nothing finer is needed.
"""

import datetime
import ipaddress
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.config import PlaceTable
from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.registered import touch
from casemate.core.errors import ConfigError
from casemate.core.store import METADATA, explained
from casemate.core.store.rowdigests import CHECKED

FACTOR_RISK, STOP_RISK = 50, 80
"""From which risk on shipped policy wants a second factor, and stops everything."""
WINDOW = 600
"""Seconds; failures and denials are counted over this window and the one before it."""
STORM = {"failed": 10, "denied": 100}
"""So many of a kind within it are a storm."""
DAY = 86400
USUAL = 10
"""Reading so many times the rows of the best day of the last 30 is bulk."""
FASTEST, NEAR = 1000.0, 100.0
"""Kilometres an hour that somebody can travel; kilometres that are no travel."""
# mean radius in km
EARTH = 6371.0
SEEN = sa.Table(
    "access_seen",
    METADATA,
    sa.Column("principal", sa.String, primary_key=True),
    sa.Column("network", sa.String, primary_key=True),
    sa.Column("first", sa.String, nullable=False),
    sa.Column("last", sa.String, nullable=False),
)
COUNTS = sa.Table(
    "access_count",
    METADATA,
    sa.Column("principal", sa.String, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("window", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
)
FINDINGS = sa.Table(
    "access_finding",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("risk", sa.Integer, nullable=False),
    sa.Column("message", sa.String, nullable=False),
    sa.Column("time", sa.String, nullable=False),
    sa.Column("until", sa.String, nullable=False),
    sa.Column("closed", sa.String),
    sa.Index("access_finding_principal", "principal"),
    info=explained("principal"),
)
"""Bound to the log: without its finding somebody whose risk is high would go on."""
_HOUR, _DAY, _WEEK = (
    datetime.timedelta(hours=1),
    datetime.timedelta(days=1),
    datetime.timedelta(days=7),
)
KINDS = {
    "new-network": (FACTOR_RISK, _HOUR),
    "impossible-travel": (STOP_RISK, _WEEK),
    "bulk-reading": (FACTOR_RISK, _DAY),
    "failed-storm": (0, _DAY),
    "guessed-secret": (FACTOR_RISK, _DAY),
    "denied-storm": (FACTOR_RISK, _HOUR),
    "model-probing": (FACTOR_RISK, _DAY),
}
"""Kind -> risk, and for how long it counts."""
HERE = ("bulk-reading", "denied-storm")
"""What also counts against the user of the machine."""


@dataclass(frozen=True)
class AccessFinding:
    """Something unusual about a principal."""

    id: str
    principal: str
    kind: str
    risk: int
    message: str
    time: datetime.datetime
    until: datetime.datetime
    closed: str | None
    """Who closed it and why."""


Told = Callable[[sa.Connection, AccessFinding], None]


class Anomalies:
    """Counts, compares, and tells."""

    def __init__(
        self, directory: Directory, places: dict[str, PlaceTable], bulk_rows: int, told: Told
    ) -> None:
        """Read nothing yet.

        Args:
            directory: whose catalogue and clock.
            places: where networks are; without them no travel is seen.
            bulk_rows: rows that anybody may read in a day.
            told: hears of a new finding, within its transaction.
        """
        self._store, self._clock = directory.store, directory.clock
        self._places = [
            (ipaddress.ip_network(network), name, place)
            for name, place in places.items()
            for network in place.networks
        ]
        self._bulk_rows = bulk_rows
        self._told = told
        self._lately: dict[tuple[str, str], float] = {}

    def seen(self, uid: str, address: str) -> None:
        """Somebody acts from an address; looked at once a minute and network at most."""
        network, now = _network_of(address), self._clock.now()
        if now.timestamp() - self._lately.get((uid, network), -math.inf) < 60.0:
            return
        if len(self._lately) > 10_000:
            self._lately.clear()
        with self._store.transaction() as tx:
            rows = tx.execute(
                sa.select(SEEN).where(SEEN.c.principal == uid).order_by(SEEN.c.last.desc()).limit(1)
            ).all()
            same = (SEEN.c.principal == uid, SEEN.c.network == network)
            if tx.execute(SEEN.update().where(*same).values(last=now.isoformat())).rowcount == 0:
                tx.execute(
                    SEEN.insert().values(
                        principal=uid, network=network, first=now.isoformat(), last=now.isoformat()
                    )
                )
                if rows:
                    self._found(tx, uid, "new-network", f"first call from the network {network}")
            if rows and (
                told := self._travel(
                    rows[0].network, datetime.datetime.fromisoformat(rows[0].last), network, now
                )
            ):
                self._found(tx, uid, "impossible-travel", told)
        # once it is on record: who cannot be watched must be looked at again
        self._lately[uid, network] = now.timestamp()

    def _travel(
        self, before: str, since: datetime.datetime, after: str, now: datetime.datetime
    ) -> str | None:
        here, there = self._place(before), self._place(after)
        if here is None or there is None or here[0] == there[0]:
            return None
        distance = _kilometres(here[1], there[1])
        hours = max((now - since).total_seconds(), 1.0) / 3600
        if distance <= NEAR or distance / hours <= FASTEST:
            return None
        return f"from {here[0]} to {there[0]}, {distance:.0f} km, within {hours * 60:.0f} minutes"

    def _place(self, network: str) -> tuple[str, PlaceTable] | None:
        address = ipaddress.ip_network(network).network_address
        return next(
            ((name, place) for within, name, place in self._places if address in within), None
        )

    def count(self, uid: str, kind: str, amount: int = 1) -> None:
        """So many failures (`failed`) or denials (`denied`) of somebody just now."""
        window = int(self._clock.now().timestamp()) // WINDOW
        with self._store.transaction() as tx:
            self._add(tx, uid, kind, window, amount)
            total = self._total(tx, uid, kind, window - 1)
            if total >= STORM[kind]:
                self._found(
                    tx,
                    uid,
                    f"{kind}-storm",
                    f"{total} times {kind} within {2 * WINDOW // 60} minutes",
                )

    def probing(self, uid: str, message: str) -> None:
        """Somebody asks a model as one does who wants to copy it or to turn it inside out."""
        with self._store.transaction() as tx:
            self._found(tx, uid, "model-probing", message)

    def entered(self, uid: str, *, second_factor: bool) -> None:
        """Somebody logged in; after a storm of failures that looks like a guessed secret.

        Args:
            uid: who.
            second_factor: they have one to answer with; for others it is only told, or strangers
                who fail could lock them out.
        """
        window = int(self._clock.now().timestamp()) // WINDOW
        with self._store.reading() as tx:
            total = self._total(tx, uid, "failed", window - 1)
        if total >= STORM["failed"]:
            with self._store.transaction() as tx:
                self._found(
                    tx,
                    uid,
                    "guessed-secret",
                    f"a login after {total} failures",
                    risk=None if second_factor else 0,
                )

    def read(self, uid: str, rows: int) -> None:
        """Somebody has read so many rows of a sealed table."""
        day = int(self._clock.now().timestamp()) // DAY
        with self._store.transaction() as tx:
            self._add(tx, uid, "rows", day, rows)
            month = (COUNTS.c.principal == uid, COUNTS.c.kind == "rows", COUNTS.c.window > day - 30)
            days = {
                row.window: row.amount
                for row in tx.execute(sa.select(COUNTS.c.window, COUNTS.c.amount).where(*month))
            }
            today = days.pop(day)
            if today > max(self._bulk_rows, USUAL * max(days.values(), default=0)):
                self._found(tx, uid, "bulk-reading", f"{today} rows in a day")

    def _add(self, tx: sa.Connection, uid: str, kind: str, window: int, amount: int) -> None:
        where = (COUNTS.c.principal == uid, COUNTS.c.kind == kind, COUNTS.c.window == window)
        if (
            tx.execute(
                COUNTS.update().where(*where).values(amount=COUNTS.c.amount + amount)
            ).rowcount
            == 0
        ):
            tx.execute(
                COUNTS.insert().values(principal=uid, kind=kind, window=window, amount=amount)
            )
            oldest = window - (60 if kind == "rows" else 2)
            tx.execute(
                COUNTS.delete().where(
                    COUNTS.c.principal == uid, COUNTS.c.kind == kind, COUNTS.c.window < oldest
                )
            )

    def _total(self, tx: sa.Connection, uid: str, kind: str, since: int) -> int:
        where = (COUNTS.c.principal == uid, COUNTS.c.kind == kind, COUNTS.c.window >= since)
        return int(
            tx.execute(
                sa.select(sa.func.coalesce(sa.func.sum(COUNTS.c.amount), 0)).where(*where)
            ).scalar_one()
        )

    def _found(
        self, tx: sa.Connection, uid: str, kind: str, message: str, risk: int | None = None
    ) -> None:
        """A finding, unless one of its kind is open already."""
        now, (usual, lasts) = self._clock.now(), KINDS[kind]
        risk = usual if risk is None else risk
        if any(found.kind == kind for found in self._open(tx, uid)):
            return
        made = AccessFinding(secrets.token_hex(4), uid, kind, risk, message, now, now + lasts, None)
        tx.execute(
            FINDINGS.insert().values(
                **{**vars(made), "time": now.isoformat(), "until": made.until.isoformat()}
            )
        )
        touch(tx)
        self._told(tx, made)

    def _open(self, tx: sa.Connection, uid: str) -> list[AccessFinding]:
        where = (
            FINDINGS.c.principal == uid,
            FINDINGS.c.closed.is_(None),
            FINDINGS.c.until > self._clock.now().isoformat(),
        )
        self._store.row_digests.require(tx, FINDINGS, (uid,))
        return [
            _finding(row)
            for row in tx.execute(
                sa.select(FINDINGS).where(*where), execution_options=CHECKED
            ).mappings()
        ]

    def risk(self, uid: str, *, at_machine: bool = False) -> int:
        """The highest risk of what is open about somebody, 0 to 100.

        Args:
            uid: who.
            at_machine: the kernel of this machine says who it is: what speaks of stolen sessions
                does not count.
        """
        with self._store.reading() as tx:
            return max(
                (
                    found.risk
                    for found in self._open(tx, uid)
                    if not at_machine or found.kind in HERE
                ),
                default=0,
            )

    def list(self, *, closed: bool = False) -> list[AccessFinding]:
        """What is open, newest first; with `closed` everything that ever was."""
        query = sa.select(FINDINGS).order_by(FINDINGS.c.time.desc())
        if not closed:
            query = query.where(
                FINDINGS.c.closed.is_(None), FINDINGS.c.until > self._clock.now().isoformat()
            )
        with self._store.reading() as tx:
            return [_finding(row) for row in tx.execute(query).mappings()]

    def close(
        self, tx: sa.Connection, identifier: str, reviewer: str, reason: str
    ) -> AccessFinding:
        """Say that it was harmless, or was dealt with; ConfigError when there is no such open
        finding.
        """
        row = (
            tx.execute(
                sa.select(FINDINGS).where(FINDINGS.c.id == identifier, FINDINGS.c.closed.is_(None))
            )
            .mappings()
            .first()
        )
        if row is None:
            raise ConfigError(
                f"no open finding {identifier!r}", hint="`casemate access finding list`"
            )
        tx.execute(
            FINDINGS.update()
            .where(FINDINGS.c.id == identifier)
            .values(closed=f"{reviewer}: {reason}")
        )
        touch(tx)
        return _finding(row)


def _finding(row: Any) -> AccessFinding:
    moment = datetime.datetime.fromisoformat
    return AccessFinding(**{**row, "time": moment(row["time"]), "until": moment(row["until"])})


def _network_of(address: str) -> str:
    found = ipaddress.ip_address(address)
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False))


def _kilometres(one: PlaceTable, other: PlaceTable) -> float:
    """Along a great circle, by the haversine formula (R. W. Sinnott, Sky and Telescope 68,
    1984).
    """
    north, south = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude)
    chord = (
        math.sin((south - north) / 2) ** 2
        + math.cos(north) * math.cos(south) * math.sin(across / 2) ** 2
    )
    return 2 * EARTH * math.asin(min(1.0, math.sqrt(chord)))
