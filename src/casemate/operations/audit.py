"""The log: read it, check it, prove an entry of it, let others see it."""

from collections.abc import Iterator
from pathlib import Path

from casemate.controls.audit.publication import AuditReport
from casemate.controls.audit.query import Query
from casemate.core.entry import Entry
from casemate.core.errors import ConfigError, Error
from casemate.core.files import write_atomic
from casemate.operations.acting import Noun, operation, reading
from casemate.wiring import Wiring


@reading("audit:read")
def entries(project: Wiring, query: Query | None = None, last: int = 0) -> tuple[int, list[Entry]]:
    """(size of the log, entries, oldest first), once the whole log was verified.

    Args:
        project: whose log.
        query: which ones; default: all.
        last: only so many, the newest; 0: all.

    Raises:
        AccessDenied: policy. VerificationError: the log does not hold.
    """
    size = project.log.check().checkpoint.size
    return size, (query or Query({})).last(project.log.entries(), last)


@reading("audit:read")
def since(project: Wiring, index: int) -> Iterator[Entry]:
    """Entries from this index on; AccessDenied: policy."""
    return project.log.entries(index)


@reading("audit:read")
def verify(project: Wiring, checkpoints: list[Path] | None = None) -> AuditReport:
    """Check tree, signatures and every body; ask the witnesses; hold copies and former checkpoints
    against the log.

    Raises:
        AccessDenied: policy. VerificationError, HistoryError: something does not hold.
    """
    return project.publication.check(checkpoints or [])


@reading("audit:read")
def prove(project: Wiring, index: int, out: Path) -> int:
    """Write a stand-alone proof that the log has this entry; it discloses nothing else. Returns its
    bytes.

    Raises:
        AccessDenied: policy. ConfigError: there is no such entry.
    """
    content = project.log.prove(index)
    write_atomic(out, content, mode=0o644)
    return len(content)


@reading("audit:publish")
def cosign(project: Wiring) -> dict[str, Error | None]:
    """Ask every witness to cosign; what kept each from it, if anything. AccessDenied: policy."""
    return project.publication.cosign()


@reading("audit:publish")
def copy(project: Wiring) -> list[str]:
    """Write the checkpoint to every place of `[audit] copies`; the places. AccessDenied: policy."""
    return project.publication.copy()


@operation("audit:resolve")
def resolve(project: Wiring, reason: str) -> int:
    """Say that another history of the log, which was met earlier, is explained: this one counts.
    Returns how many were met.

    Args:
        project: whose log.
        reason: what happened, for the record.

    Raises:
        AccessDenied: policy does not permit it. ConfigError: no reason, or nothing was met.
    """
    if not reason.strip():
        raise ConfigError("a fork is explained by words", hint="--reason TEXT")
    acting = resolve.ask(project)
    forks = project.publication.heads.read().forks
    if not forks:
        raise ConfigError(
            "no other history of this log was met", hint="`casemate audit verify` says how it is"
        )
    met = [{"time": fork.time, "message": fork.message} for fork in forks[-20:]]
    acting.record(
        "audit:resolved", 'Project::"log"', reason=reason.strip(), met=met, count=len(forks)
    )
    return len(project.publication.resolve())


class Audit(Noun):
    """The log of a project, by its verbs."""

    entries = entries
    since = since
    verify = verify
    prove = prove
    cosign = cosign
    copy = copy
    resolve = resolve
