"""Sessions of people: opaque, kept in the catalogue, short; made by logging in, changed for others
at every step-up.

A session is two secrets: one that acts for a quarter of an hour, one that fetches the next pair,
once. Whoever uses a fetching secret a second time has copied it, or was copied from: the whole
family ends. Nothing lasts longer than the cap, counted from the login, and nothing that was not
used for an hour can be renewed.
"""

import datetime
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from casemate.controls.access.identity.principals import Directory
from casemate.controls.access.identity.registered import touch
from casemate.controls.access.identity.tokens import hashed, new_secret
from casemate.controls.access.types import Principal
from casemate.core.errors import AccessDenied
from casemate.core.store import METADATA, explained
from casemate.core.store.rowdigests import CHECKED
from casemate.core.types import Record

LIFE = datetime.timedelta(minutes=15)
IDLE = datetime.timedelta(minutes=45)
"""After its end a session can be renewed for so long: whoever was away for an hour logs in
again.
"""
CAP = datetime.timedelta(hours=8)
STAYS = ("family", "name", "method", "started", "cap", "device", "network", "certificate")
"""What all pairs of a login have in common."""
SESSIONS = sa.Table(
    "session",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("family", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("method", sa.String, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("refresh", sa.LargeBinary, nullable=False),
    sa.Column("refreshed", sa.String),
    sa.Column("started", sa.String, nullable=False),
    sa.Column("until", sa.String, nullable=False),
    sa.Column("cap", sa.String, nullable=False),
    sa.Column("mfa", sa.String),
    sa.Column("network", sa.String),
    sa.Column("certificate", sa.String),
    sa.Column("device", sa.String),
    sa.Column("revoked", sa.String),
    sa.Index("session_family", "family"),
    info=explained("name"),
)


class LiveSession(Record, frozen=True, kw_only=True):
    """A session that could still act or be renewed, without its secrets."""

    id: str
    """Names it."""
    family: str
    """Shared by all that were renewed from one login."""
    name: str
    """Who."""
    method: str
    """How it was proven who that is."""
    started: str
    """When."""
    until: str
    """Until when it acts."""
    cap: str
    """Until when it can be renewed."""
    mfa: str | None
    """When a second factor was used."""
    network: str | None
    """Where from."""
    certificate: str | None
    """SHA-256 of the client certificate that it is bound to."""
    device: str | None
    """What it runs on."""


_SECRET = re.compile(r"cs_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
DENIED = "the session has ended or is not known"
_moment = datetime.datetime.fromisoformat


@dataclass(frozen=True)
class Session:
    """A person whose login was verified; made by `Sessions.authenticate` only."""

    principal: Principal
    id: str
    method: str
    """`machine`, `password` or the provider's name."""
    started: datetime.datetime
    until: datetime.datetime
    mfa: datetime.datetime | None
    """When a second factor was used last."""
    network: str | None
    """From where the login came."""
    device: str | None
    """Posture of the device at the login."""


@dataclass(frozen=True, repr=False)
class Bearer:
    """What somebody shows who acts in a session: a secret, so it says nothing of itself."""

    access: str
    certificate: str | None = None
    """SHA-256 of the client certificate that it came with."""


@dataclass(frozen=True)
class Pair:
    """The two secrets, given away once."""

    access: str
    refresh: str
    until: datetime.datetime


class Sessions:
    """Begins, renews, checks and ends."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.store, self.clock = directory.store, directory.clock

    def begin(
        self,
        tx: sa.Connection,
        name: str,
        method: str,
        *,
        mfa: datetime.datetime | None = None,
        device: str | None = None,
        network: str | None = None,
        certificate: str | None = None,
    ) -> Pair:
        """A new session of a person who has just proved who they are.

        Args:
            tx: a write transaction.
            name: who.
            method: how they proved it.
            mfa: when a second factor was used, if one was.
            device: posture of the device; a change of it ends the session.
            network: the address it came from, where there is one.
            certificate: SHA-256 of the client certificate that must come with every use.
        """
        now = self.clock.now()
        # nothing can come of them any more
        tx.execute(
            SESSIONS.delete().where(SESSIONS.c.name == name, SESSIONS.c.cap < now.isoformat())
        )
        stays = {
            "family": secrets.token_hex(8),
            "name": name,
            "method": method,
            "started": now.isoformat(),
            "cap": (now + CAP).isoformat(),
        }
        return self._insert(
            tx, stays | {"device": device, "network": network, "certificate": certificate}, mfa
        )

    def _insert(
        self, tx: sa.Connection, stays: dict[str, Any], mfa: datetime.datetime | None
    ) -> Pair:
        """A pair of the family that `stays` describes."""
        identifier, access, refresh = secrets.token_hex(8), new_secret(), new_secret()
        until = min(self.clock.now() + LIFE, _moment(stays["cap"]))
        made = {"id": identifier, "until": until.isoformat(), "mfa": mfa and mfa.isoformat()}
        tx.execute(
            SESSIONS.insert().values(
                **stays, **made, hash=hashed(access, "session"), refresh=hashed(refresh, "refresh")
            )
        )
        return Pair(f"cs_{identifier}_{access}", f"cs_{identifier}_{refresh}", until)

    def authenticate(self, access: str, certificate: str | None = None) -> Session:
        """The session behind a secret; AccessDenied, with one text for every reason, when it is not
        good.

        Args:
            access: the acting secret.
            certificate: SHA-256 of the client certificate that it came with.
        """
        row = self._row(access, "hash", "session")
        now = self.clock.now()
        bound = row is not None and (
            row.certificate is None or hmac.compare_digest(row.certificate, certificate or "")
        )
        if (
            row is None
            or not bound
            or row.revoked is not None
            or row.refreshed is not None
            or now >= _moment(row.until)
        ):
            raise AccessDenied(DENIED, hint="casemate access login")
        principal = self.directory.find("User", row.name)
        if principal is None:
            raise AccessDenied(DENIED, hint="casemate access login")
        mfa = None if row.mfa is None else _moment(row.mfa)
        return Session(
            principal,
            row.id,
            row.method,
            _moment(row.started),
            _moment(row.until),
            mfa,
            row.network,
            row.device,
        )

    def renew(self, refresh: str, certificate: str | None = None) -> Pair:
        """The next pair, once; using the secret again ends the whole family. AccessDenied when it
        is not good.
        """
        return self._next(refresh, "refresh", certificate, mfa=False)

    def step_up(self, access: str, certificate: str | None = None) -> Pair:
        """A new pair, in exchange for the acting secret, for a person who has just used a second
        factor.
        """
        self.authenticate(access, certificate)
        return self._next(access, "hash", certificate, mfa=True)

    def _next(self, secret: str, column: str, certificate: str | None, *, mfa: bool) -> Pair:
        row = self._row(secret, column, "refresh" if column == "refresh" else "session")
        now = self.clock.now()
        if row is None or (
            row.certificate is not None
            and not hmac.compare_digest(row.certificate, certificate or "")
        ):
            raise AccessDenied(DENIED, hint="casemate access login")
        with self.store.transaction() as tx:
            live = (
                SESSIONS.c.id == row.id,
                SESSIONS.c.refreshed.is_(None),
                SESSIONS.c.revoked.is_(None),
            )
            over = min(_moment(row.cap), _moment(row.until) + IDLE)
            fresh = (
                now < over
                and tx.execute(
                    SESSIONS.update().where(*live).values(refreshed=now.isoformat())
                ).rowcount
                == 1
            )
            if fresh:
                used = now if mfa else None if row.mfa is None else _moment(row.mfa)
                return self._insert(tx, {name: getattr(row, name) for name in STAYS}, used)
            self._revoke(
                tx,
                SESSIONS.c.family == row.family,
                "a secret was used twice" if row.refreshed else "it was over",
            )
        raise AccessDenied(DENIED, hint="casemate access login")

    def _row(self, secret: str, column: str, use: str) -> sa.Row[Any] | None:
        match = _SECRET.fullmatch(secret)
        identifier, given = match.groups() if match else ("", "")
        with self.store.reading() as tx:
            row = tx.execute(
                sa.select(SESSIONS).where(SESSIONS.c.id == identifier), execution_options=CHECKED
            ).first()
            self.store.row_digests.require_row(tx, SESSIONS, row)
        same = hmac.compare_digest(getattr(row, column) if row else bytes(32), hashed(given, use))
        return row if same else None

    def _revoke(self, tx: sa.Connection, where: sa.ColumnElement[bool], why: str) -> int:
        count = tx.execute(
            SESSIONS.update().where(where, SESSIONS.c.revoked.is_(None)).values(revoked=why)
        ).rowcount
        touch(tx)
        return count

    def end(self, tx: sa.Connection, identifier: str, why: str = "ended") -> int:
        """End a session and its whole family; returns how many rows that were."""
        family = tx.execute(
            sa.select(SESSIONS.c.family).where(SESSIONS.c.id == identifier)
        ).scalar()
        return 0 if family is None else self._revoke(tx, SESSIONS.c.family == family, why)

    def end_all(self, tx: sa.Connection, name: str, why: str) -> int:
        """End every session of a person."""
        return self._revoke(tx, SESSIONS.c.name == name, why)

    def live(self) -> list[LiveSession]:
        """Sessions that could still act or be renewed, newest first, without secrets."""
        now = self.clock.now().isoformat()
        columns = [
            column
            for column in SESSIONS.c
            if column.name not in {"hash", "refresh", "revoked", "refreshed"}
        ]
        query = sa.select(*columns).where(
            SESSIONS.c.revoked.is_(None), SESSIONS.c.refreshed.is_(None), SESSIONS.c.cap > now
        )
        with self.store.reading() as tx:
            return [
                LiveSession(**row)
                for row in tx.execute(query.order_by(SESSIONS.c.started.desc())).mappings()
            ]
