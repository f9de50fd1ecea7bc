"""What keeps the log honest from outside: witnesses that cosign its checkpoints, and copies that its operator cannot change."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from casemate.config import AuditTable
from casemate.controls.audit.checkpoint import verify_checkpoint
from casemate.controls.audit.copies import Copies, open_copies
from casemate.controls.audit.cosign import WitnessPeer, collect
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.note import parse_keys
from casemate.controls.audit.verify import WITNESSED
from casemate.core.errors import Error, TransientError, VerificationError


@dataclass(frozen=True)
class AuditReport:
    """A log that holds."""

    entries: int
    origin: str
    witnessed: int
    """Entries in the newest cosigned checkpoint."""
    witnesses: list[str]
    """Who cosigned it."""
    copies: dict[str, int]
    """Per place, the entries in its newest copy."""


class Outside:
    """The witnesses and places of `[audit]`, for one log."""

    def __init__(self, log: AuditLog, table: AuditTable, root: Path, timeout: float) -> None:
        self.log = log
        self.table = table
        self.root = root
        """Relative places lie below it."""
        self.timeout = timeout
        """Seconds for one request."""

    @cached_property
    def copies(self) -> list[Copies]:
        """The places of `[audit] copies`."""
        return [open_copies(_anchored(where, self.root), self.table.retain_days) for where in self.table.copies]

    @property
    def witnesses(self) -> list[WitnessPeer]:
        """The witnesses of `[audit] witnesses`."""
        return [WitnessPeer(name, peer.url, parse_keys("\n".join(peer.keys))) for name, peer in self.table.witnesses.items()]

    def copy(self) -> list[str]:
        """Keep the published checkpoint at every place; returns the places.

        Raises:
            VerificationError: a place holds another history.
            BackendError: a place cannot be written.
        """
        self.log.publish()
        checkpoint = (self.log.folder / "checkpoint").read_bytes()
        for place in self.copies:
            place.put(checkpoint)
        return [place.where for place in self.copies]

    def cosign(self) -> dict[str, Error | None]:
        """Ask every witness to cosign the published checkpoint: per name None, or why it did not."""
        self.log.publish()
        return collect(self.log.folder, self.log.signer.vkeys, self.witnesses, self.timeout)

    def judge(self, answers: dict[str, Error | None]) -> None:
        """Whether these answers are enough.

        Raises:
            VerificationError: a witness knows another history.
            TransientError: fewer than `[audit] quorum` (at least one of those that are configured) cosigned.
        """
        faults = {name: fault for name, fault in answers.items() if fault is not None}
        for fault in faults.values():
            if isinstance(fault, VerificationError):
                raise fault
        quorum = max(1 if answers else 0, self.table.quorum)
        if len(answers) - len(faults) < quorum:
            why = "; ".join(f"{name}: {fault.message}" for name, fault in faults.items())
            raise TransientError(f"{len(answers) - len(faults)} of {quorum} witnesses cosigned ({why})", hint="`casemate audit cosign` asks again")

    def check(self, checkpoints: list[Path] | None = None) -> AuditReport:
        """Verify log, bodies, cosignatures, and that every copy and every checkpoint that was kept is a former state of this log.

        Args:
            checkpoints: files with further checkpoints that somebody kept.

        Raises:
            VerificationError: something does not hold, or fewer witnesses than `[audit] quorum` cosigned.
        """
        log, vkeys = self.log.check(), self.log.signer.vkeys
        for path in checkpoints or []:
            log.require_prefix(verify_checkpoint(path.read_bytes(), vkeys), str(path))
        kept = {}
        for place in self.copies:
            newest = place.newest(vkeys)
            if newest is not None:
                log.require_prefix(newest, f"the copy in {place.where}")
            kept[place.where] = newest.size if newest else 0
        witnessed, names = 0, list[str]()
        if (self.log.folder / WITNESSED).exists():
            peers = {peer.name: peer.keys for peer in self.witnesses}
            witnessed, names = log.cosigned((self.log.folder / WITNESSED).read_bytes(), vkeys, peers)
        if len(names) < self.table.quorum:
            raise VerificationError(
                f"{len(names)} of {self.table.quorum} witnesses cosigned the log", hint="casemate audit cosign; see `casemate outbox list`"
            )
        return AuditReport(log.checkpoint.size, log.checkpoint.origin, witnessed, names, kept)


def _anchored(where: str, root: Path) -> str:
    """A relative folder in `where` means one below the project."""
    kind, _, place = where.partition(":")
    return f"{kind}:{root / place}" if kind in {"file", "git"} and place else where
