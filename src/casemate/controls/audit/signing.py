"""Signatures in the log: a signature is recorded before it is given away, so the log says when it
was made.
"""

import datetime
from collections.abc import Callable
from functools import cached_property

from casemate.controls.audit.entry import SIGNED, signature, signed_by
from casemate.controls.audit.log import AuditLog
from casemate.core.entry import Entry


class SignatureLog:
    """Records signatures, and answers when one was made."""

    def __init__(self, log: AuditLog, principal: Callable[[], str]) -> None:
        self.log = log
        self.principal = principal

    def record(self, digest: str) -> None:
        """A signature over the payload with this SHA-256 is about to be given away."""
        with self.log.store.transaction() as tx:
            self.log.append(tx, self.principal(), SIGNED, signature(digest), "done", {})

    def signed_at(self, digest: str) -> datetime.datetime | None:
        """When this payload was first signed; VerificationError when the log does not hold."""
        entry = self._first.get(digest)
        return None if entry is None else datetime.datetime.fromisoformat(entry.time)

    def prove(self, digest: str) -> bytes | None:
        """The log's stand-alone proof of the first signature over this payload; None when it knows
        of none.
        """
        found = next((entry for entry in self.log.entries() if signed_by(entry) == digest), None)
        return None if found is None else self.log.prove(found.index)

    @cached_property
    def _first(self) -> dict[str, Entry]:
        self.log.check()
        self.log.check_bodies()
        first: dict[str, Entry] = {}
        for entry in self.log.entries():
            if (digest := signed_by(entry)) is not None:
                first.setdefault(digest, entry)
        return first
