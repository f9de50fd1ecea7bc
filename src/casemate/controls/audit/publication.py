"""What keeps the log honest from outside: witnesses that cosign its checkpoints, and copies that
its operator cannot change.
"""

import datetime
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from casemate.config import AuditTable
from casemate.controls.audit import tiles
from casemate.controls.audit.checkpoint import VerifiedCheckpoint, verify_checkpoint
from casemate.controls.audit.copies import Copies, open_copies
from casemate.controls.audit.cosign import WitnessPeer, collect
from casemate.controls.audit.heads import Fork, Heads
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.merkle import consistency_proof, verify_consistency
from casemate.controls.audit.note import parse_keys, signed_by
from casemate.controls.audit.verify import WITNESSED, VerifiedLog
from casemate.core.errors import Error, HistoryError, TransientError, VerificationError


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
    cosigned: str = ""
    """When the oldest of these cosignatures was made, RFC 3339 in UTC."""
    away: dict[str, str] = field(default_factory=dict)
    """Witnesses that could not be asked just now, and why."""


class Publication:
    """The witnesses and places of `[audit]`, for one log."""

    def __init__(
        self, log: AuditLog, table: AuditTable, root: Path, timeout: float, heads: Heads
    ) -> None:
        self.log = log
        self.table = table
        self.root = root
        """Relative places lie below it."""
        self.timeout = timeout
        """Seconds for one request."""
        self.heads = heads
        """What this machine remembers of the log."""

    @cached_property
    def copies(self) -> list[Copies]:
        """The places of `[audit] copies`."""
        return [
            open_copies(_anchored(where, self.root), self.table.retain_days)
            for where in self.table.copies
        ]

    @property
    def witnesses(self) -> list[WitnessPeer]:
        """The witnesses of `[audit] witnesses`."""
        return [
            WitnessPeer(name, peer.url, parse_keys("\n".join(peer.keys)))
            for name, peer in self.table.witnesses.items()
        ]

    def copy(self) -> list[str]:
        """Keep the published checkpoint at every place; returns the places.

        Raises:
            HistoryError: a place holds another history; this one is kept beside it, as proof.
            BackendError: a place cannot be written; the others were.
        """
        checkpoint = self._published()
        faults: list[Error] = []
        for place in self.copies:
            try:
                newest = place.newest(self.log.signer.vkeys)
                if newest is not None and not self._grew(newest, checkpoint):
                    place.put_beside(checkpoint)
                    raise HistoryError(
                        f"{place.where} holds a checkpoint of {newest.size} entries that is no"
                        " former state of this log",
                        hint=(
                            "the log was rolled back or forked: treat it as tampering until"
                            " explained"
                        ),
                    )
                place.put(checkpoint)
            except Error as error:
                self._remember_fork(error, checkpoint)
                faults.append(error)
        if faults:
            raise next(
                (fault for fault in faults if isinstance(fault, VerificationError)), faults[0]
            )
        self.heads.remember(checkpoint)
        return [place.where for place in self.copies]

    def _published(self) -> bytes:
        """The published checkpoint, if it goes on from the newest one that this machine
        remembers.
        """
        self.log.publish()
        checkpoint = (self.log.folder / "checkpoint").read_bytes()
        known = self.heads.newest(self.log.signer.vkeys)
        if known is not None and not self._grew(known, checkpoint):
            error = HistoryError(
                f"this machine has seen {known.size} entries of this log that are no former state"
                " of it",
                hint="the log was rolled back or forked: treat it as tampering until explained",
            )
            self._remember_fork(error, checkpoint)
            raise error
        return checkpoint

    def _grew(self, old: VerifiedCheckpoint, checkpoint: bytes) -> bool:
        """Whether the published log contains an earlier head."""
        new = verify_checkpoint(checkpoint, self.log.signer.vkeys)
        try:
            proof = (
                consistency_proof(old.size, new.size, tiles.nodes_of(self.log.folder, new.size))
                if old.size <= new.size
                else []
            )
            verify_consistency(old.size, new.size, proof, old.root, new.root)
        except VerificationError:
            return False
        return True

    def _remember_fork(self, error: Error, checkpoint: bytes) -> None:
        if isinstance(error, HistoryError):
            self.heads.met(error.message, checkpoint)

    def cosign(self) -> dict[str, Error | None]:
        """Ask every witness to cosign the published checkpoint: per name None, or why it
        did not.
        """
        checkpoint = self._published()
        answers = collect(self.log.folder, self.log.signer.vkeys, self.witnesses, self.timeout)
        for fault in answers.values():
            if fault is not None:
                self._remember_fork(fault, checkpoint)
        return answers

    def judge(self, answers: dict[str, Error | None]) -> None:
        """Whether these answers are enough.

        Raises:
            VerificationError: a witness knows another history.
            TransientError: fewer than `[audit] quorum` (at least one of those that are configured)
                cosigned.
        """
        faults = {name: fault for name, fault in answers.items() if fault is not None}
        for fault in faults.values():
            if isinstance(fault, VerificationError):
                raise fault
        quorum = max(1 if answers else 0, self.table.quorum)
        if len(answers) - len(faults) < quorum:
            why = "; ".join(f"{name}: {fault.message}" for name, fault in faults.items())
            raise TransientError(
                f"{len(answers) - len(faults)} of {quorum} witnesses cosigned ({why})",
                hint="`casemate audit cosign` asks again",
            )

    def keep(self, every: float) -> bool:
        """Copy and cosign, unless a process of this machine did within the last `every` seconds;
        whether it was done now.

        Raises:
            HistoryError: another history was met. BackendError: a place or too many witnesses are
                away.
        """
        last, now = self.heads.read().kept, self.heads.clock.now()
        if last and datetime.timedelta(0) <= now - datetime.datetime.fromisoformat(
            last
        ) < datetime.timedelta(seconds=every):
            return False
        self.copy()
        self.judge(self.cosign())
        self.heads.remember((self.log.folder / "checkpoint").read_bytes(), kept=True)
        return True

    def check(self, checkpoints: list[Path] | None = None) -> AuditReport:
        """Verify log, bodies, cosignatures, and that every copy and every checkpoint that was kept
        is a former state of this log.

        Witnesses are asked for the newest head that they know: each is shown this one, and what it
        knows must be a former state.

        Args:
            checkpoints: files with further checkpoints that somebody kept.

        Raises:
            HistoryError: another history was met, now or earlier, and nobody has explained it.
            VerificationError: something does not hold, fewer witnesses than `[audit] quorum`
                cosigned, or too long ago.
        """
        log, vkeys = self.log.check(), self.log.signer.vkeys
        checkpoint = (self.log.folder / "checkpoint").read_bytes()
        try:
            answers = self.cosign()
            for fault in answers.values():
                if isinstance(fault, VerificationError):
                    raise fault
            for path in checkpoints or []:
                log.require_prefix(verify_checkpoint(path.read_bytes(), vkeys), str(path))
            kept = {place.where: self._all_former(place, log) for place in self.copies}
        except HistoryError as error:
            self._remember_fork(error, checkpoint)
            raise
        self.heads.require_explained()
        report = self._cosigned(
            log, kept, {name: fault.message for name, fault in answers.items() if fault is not None}
        )
        self.heads.remember((self.log.folder / "checkpoint").read_bytes())
        return report

    def _all_former(self, place: Copies, log: VerifiedLog) -> int:
        """Entries in the newest copy, after comparing every one that is there."""
        size = 0
        for name in place.names():
            copy = verify_checkpoint(place.read(name), self.log.signer.vkeys)
            log.require_prefix(copy, f"the copy {name} in {place.where}")
            size = max(size, copy.size)
        return size

    def _cosigned(
        self, log: VerifiedLog, kept: dict[str, int], away: dict[str, str]
    ) -> AuditReport:
        witnessed, names, oldest = 0, list[str](), 0
        if (self.log.folder / WITNESSED).exists():
            content, peers = (
                (self.log.folder / WITNESSED).read_bytes(),
                {peer.name: peer.keys for peer in self.witnesses},
            )
            witnessed, names = log.cosigned(content, self.log.signer.vkeys, peers)
            seen = verify_checkpoint(content, self.log.signer.vkeys)
            signed = [
                signed_by(key, seen.note, seen.origin, seen.size, seen.root)
                for name in names
                for key in peers[name]
            ]
            oldest = min([when for when in signed if when is not None], default=0)
        if len(names) < self.table.quorum:
            raise VerificationError(
                f"{len(names)} of {self.table.quorum} witnesses cosigned the log",
                hint="casemate audit cosign; see `casemate outbox list`",
            )
        when = datetime.datetime.fromtimestamp(oldest, datetime.UTC)
        if self.table.quorum:
            self._require_young(when, witnessed, log.checkpoint.size, away)
        return AuditReport(
            log.checkpoint.size,
            log.checkpoint.origin,
            witnessed,
            names,
            kept,
            when.isoformat() if names else "",
            away,
        )

    def _require_young(
        self, when: datetime.datetime, witnessed: int, size: int, away: dict[str, str]
    ) -> None:
        """A cosignature vouches for what came before it, and only for so long: an old state of the
        log has an old one.
        """
        age = self.heads.clock.now() - when
        if age > datetime.timedelta(hours=self.table.max_age_hours):
            why = "; ".join(f"{name}: {text}" for name, text in away.items())
            raise VerificationError(
                f"{witnessed} of {size} entries are cosigned, the last ones"
                f" {age.total_seconds() / 3600:.0f} hours ago; at most {self.table.max_age_hours:g}"
                " are allowed" + (f" ({why})" if why else ""),
                hint="casemate audit cosign, once the witnesses answer",
            )

    def resolve(self) -> list[Fork]:
        """Take the published log as the one that counts on this machine; returns what was met.
        Copies and witnesses keep what they know.
        """
        self.log.publish()
        return self.heads.explained((self.log.folder / "checkpoint").read_bytes())


def _anchored(where: str, root: Path) -> str:
    """A relative folder in `where` means one below the project."""
    kind, _, place = where.partition(":")
    return f"{kind}:{root / place}" if kind in {"file", "git"} and place else where
