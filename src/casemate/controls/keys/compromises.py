"""Compromises of signers as the catalogue knows them: in force on every host that shares it, at
once.

The key store is a file of each host, and a process that runs has read it already. So a declaration
goes into the catalogue too, together with the entry of the log that explains it. It only ever takes
trust away: of two times the earlier one holds.
"""

import datetime
from typing import Any, Protocol

import sqlalchemy as sa

from casemate.controls.keys.signers import SignerRecord
from casemate.core.store import METADATA, Store, explained

COMPROMISES = sa.Table(
    "signer_compromise",
    METADATA,
    sa.Column("fingerprint", sa.String, primary_key=True),
    sa.Column("since", sa.String, nullable=False),
    sa.Column("index", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    info=explained(),
)
ACTION = "signer:compromised"
"""Of the entry that explains a row; its detail has the row's fingerprint and time."""


class Log(Protocol):
    """What explains a row: the audit log, which lies above this layer."""

    def append(
        self,
        tx: sa.Connection,
        principal: str,
        action: str,
        resource: str,
        outcome: str,
        detail: dict[str, Any],
    ) -> int:
        """The entry's index, once the transaction is done."""

    def publish(self) -> Any:
        """Show what was appended."""


class Compromises:
    """The signers that were declared compromised, and since when."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def all(self) -> dict[str, datetime.datetime]:
        """Per fingerprint of a signer, since when its keys may have been in other hands."""
        with self.store.reading() as tx:
            rows = tx.execute(sa.select(COMPROMISES.c.fingerprint, COMPROMISES.c.since)).all()
        return {row.fingerprint: datetime.datetime.fromisoformat(row.since) for row in rows}

    def explained(self) -> list[tuple[str, str, int]]:
        """(fingerprint, time, index of the log's entry) of every row."""
        with self.store.reading() as tx:
            return [
                tuple(row)
                for row in tx.execute(sa.select(COMPROMISES).order_by(COMPROMISES.c.index))
            ]

    def declare(
        self, log: Log, principal: str, record: SignerRecord, since: datetime.datetime
    ) -> None:
        """Tell every host of the catalogue, and the log, in one transaction; an earlier declaration
        stays.

        Args:
            log: of the project.
            principal: who was permitted to.
            record: the signer whose keys may have been in other hands.
            since: when that may have begun.
        """
        fingerprint = record.verifier.fingerprint
        detail = {"number": record.number, "since": since.isoformat(), "fingerprint": fingerprint}
        with self.store.transaction() as tx:
            self._keep(
                tx,
                fingerprint,
                since,
                log.append(tx, principal, ACTION, 'Key::"signer"', "done", detail),
            )
        log.publish()

    def _keep(
        self, tx: sa.Connection, fingerprint: str, since: datetime.datetime, index: int
    ) -> None:
        known = tx.execute(
            sa.select(COMPROMISES.c.since).where(COMPROMISES.c.fingerprint == fingerprint)
        ).scalar()
        if known is not None and datetime.datetime.fromisoformat(known) <= since:
            return
        tx.execute(COMPROMISES.delete().where(COMPROMISES.c.fingerprint == fingerprint))
        tx.execute(
            COMPROMISES.insert().values(
                fingerprint=fingerprint, since=since.isoformat(), index=index
            )
        )
