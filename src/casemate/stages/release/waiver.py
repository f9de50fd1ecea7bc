"""Waivers: somebody who may, and who did not train the model, lets it pass without one gate, for a
time and with a reason.

A waiver is a signed statement; a gate that it covers still shows its figure and outcome in the
verdict. What was signed under a waiver is served only until the waiver ends.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from casemate.core.clock import Clock
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import Signer, Verifier, read_envelope, subjects_of
from casemate.core.store import METADATA, Store, explained
from casemate.core.types import Waived

PREDICATE = "https://casemate.dev/waiver/v1"
MAX_REASON = 500
"""Characters: a reason is a sentence, and every reader of the log gets it."""
LONGEST = timedelta(days=366)
"""From now: an exception that nobody renews within a year (of any length) ends. Chosen."""
WAIVERS = sa.Table(
    "waiver",
    METADATA,
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("gate", sa.String, primary_key=True),
    sa.Column("since", sa.String, primary_key=True),
    sa.Column("until", sa.String, nullable=False),
    sa.Column("principal", sa.String, nullable=False),
    sa.Column("statement", sa.LargeBinary, nullable=False),
    sa.Column("withdrawn", sa.String),
    info=explained("model"),
)


class Waivers:
    """Signs, stores and verifies waivers."""

    def __init__(self, store: Store, clock: Clock, verifier: Verifier) -> None:
        self.store, self.clock, self.verifier = store, clock, verifier

    def sign(
        self, signer: Signer, model: str, gate: str, until: datetime, principal: str, reason: str
    ) -> tuple[str, bytes]:
        """(time, signed statement); signing is logged, so it is done outside of transactions.

        Raises:
            ConfigError: the reason is missing or too long, or the end lies in the past or more than
                a year ahead.
        """
        now = self.clock.now()
        if not reason.strip() or len(reason) > MAX_REASON:
            raise ConfigError(
                f"a reason of 1 to {MAX_REASON} characters is needed", hint="--reason '...'"
            )
        if not now < until <= now + LONGEST:
            raise ConfigError(
                "a waiver ends in the future, within a year", hint="--until 2027-01-31"
            )
        said = {
            "model": model,
            "gate": gate,
            "since": now.isoformat(),
            "until": until.isoformat(),
            "approver": principal,
            "reason": reason.strip(),
        }
        return said["since"], signer.sign_statement(
            {gate: sha256(f"{model}/{gate}".encode())}, PREDICATE, said
        )

    def add(
        self,
        tx: sa.Connection,
        model: str,
        gate: str,
        since: str,
        until: datetime,
        principal: str,
        statement: bytes,
    ) -> None:
        """Store a signed waiver."""
        row = {
            "model": model,
            "gate": gate,
            "since": since,
            "until": until.isoformat(),
            "principal": principal,
        }
        tx.execute(WAIVERS.insert().values(**row, statement=statement))

    def withdraw(self, tx: sa.Connection, model: str, gate: str) -> int:
        """End every waiver of a gate now; returns how many there were."""
        now = self.clock.now().isoformat()
        mine = (
            WAIVERS.c.model == model,
            WAIVERS.c.gate == gate,
            WAIVERS.c.withdrawn.is_(None),
            WAIVERS.c.until > now,
        )
        return int(tx.execute(WAIVERS.update().where(*mine).values(withdrawn=now)).rowcount)

    def in_force(self, model: str, without: str | None = None) -> list[Waived]:
        """The waivers of a model that hold now, verified; those of the principal `without` do not
        count.

        Raises:
            VerificationError: one was changed.
        """
        now = self.clock.now().isoformat()
        query = sa.select(WAIVERS).where(
            WAIVERS.c.model == model, WAIVERS.c.withdrawn.is_(None), WAIVERS.c.until > now
        )
        with self.store.reading() as tx:
            rows = tx.execute(query.order_by(WAIVERS.c.until)).all()
        return [self._verified(row) for row in rows if row.principal != without]

    def _verified(self, row: sa.Row[tuple[object, ...]]) -> Waived:
        statement = self.verifier.verify_statement(read_envelope(row.statement), PREDICATE)
        said = statement["predicate"]
        told = tuple(said.get(name) for name in ("model", "gate", "since", "until", "approver"))
        fits = subjects_of(statement) == {row.gate: sha256(f"{row.model}/{row.gate}".encode())}
        if not fits or told != (row.model, row.gate, row.since, row.until, row.principal):
            raise VerificationError(
                f"a waiver of {row.gate} for {row.model} was changed", hint="treat it as tampering"
            )
        return Waived(gate=row.gate, until=row.until, by=row.principal, reason=str(said["reason"]))
