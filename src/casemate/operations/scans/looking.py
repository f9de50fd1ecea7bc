"""`casemate scan`: look, and keep what was found."""

import functools
from collections.abc import Callable, Sequence

from msgspec import structs

from casemate.core.digest import sha256_record
from casemate.core.errors import ConfigError, Error
from casemate.core.files import scratch_folder
from casemate.core.types import Record
from casemate.core.types.scan import SCANS, TRAINING_CODE, Grade, ScanKind, Weakness
from casemate.operations.acting import Acting, operation
from casemate.operations.incidents import offindings
from casemate.operations.runinputs import trained_by, with_inputs
from casemate.operations.scanned import Standing, blocking, most_of, standing_of
from casemate.operations.scans.endpoint.looking import endpoint_answers
from casemate.operations.scans.endpoint.remote import Remote
from casemate.operations.scans.scanners import scanners
from casemate.respond.findings import FILES, Part, Scanned
from casemate.supply.scanners.identity import MOST_FINDINGS, same, weaknesses
from casemate.supply.scanners.interface import Looked, Place, looked
from casemate.supply.scanners.place import listed
from casemate.wiring import Wiring

UNASKED = {
    "keys.passphrase", "scan.seconds", "scan.endpoint.seconds", "scan.endpoint.requests",
    "scan.endpoint.rate", "scan.endpoint.start_seconds",
}  # fmt: skip
"""Options that change nothing of what is looked at."""


class Result(Record, frozen=True, kw_only=True):
    """What a scan came to."""

    scan: Scanned
    found: list[Standing]
    """What it saw, the gravest first, with who waived what."""
    new: list[str]
    """Fingerprints of what no earlier scan had seen, or what had gone and is back."""
    blocking: list[str]
    """Fingerprints of findings that are graver than may stand and that nobody waived."""
    threshold: Grade | None
    """The gravest that may stand; None: none may."""
    incidents: int
    """How many incidents opened, changed or were closed by what it saw."""
    untold: str = ""
    """Why findings are no incidents yet; empty: they are."""

    @property
    def unseen(self) -> list[str]:
        """What could not be looked at, each with its scanner and why."""
        return [
            f"{part.scanner}: {place + ': ' if place else ''}{why}"
            for part in self.scan.parts
            for place, why in part.unseen.items()
        ]


@operation("scan:run", also=("scan:target",))
def scan(
    project: Wiring,
    kinds: Sequence[str] = ("all",),
    progress: Callable[[str], None] = lambda _: None,
    *,
    remote: Remote | None = None,
) -> Result:
    """Look for weaknesses, and keep what was found.

    Args:
        project: whose.
        kinds: of `code`, `secrets`, `dependencies`, `artifacts`, `configuration` and `endpoint`;
            `all`: those of `[scan] kinds`.
        progress: hears which scanner looks.
        remote: a gateway that others use, for `endpoint` alone, instead of a scratch copy.

    Raises:
        AccessDenied: policy. ConfigError: there is no such kind, or `-s` sets what is looked at.
    """
    require_said(project)
    wanted = _wanted(project, kinds)
    acting = scan.ask(project, kinds=list(wanted))
    if remote is not None:
        if wanted != ("endpoint",):
            raise ConfigError(
                f"a gateway has nothing to do with {', '.join(wanted)}",
                hint="casemate scan endpoint --target URL",
            )
        remote.require()
        who = sorted(remote.callers)
        scan.ask(project, also="scan:target", url=remote.url, consent=remote.consent, callers=who)
    answers = _answers(project, wanted, progress, remote)
    return keep(project, acting, "scan:done", answers)


def keep(
    project: Wiring, acting: Acting, action: str, answers: Sequence[Looked], **detail: str
) -> Result:
    """Keep what was seen, with an entry of the log.

    Args:
        project: whose.
        acting: who may.
        action: what was done.
        answers: of those who looked.
        detail: more for the log.
    """
    known = [one.finding for one in project.findings_kept.all()]
    found = same(known, weaknesses(answers))
    parts = [_part(answer) for answer in answers]
    if len(found) > MOST_FINDINGS:
        found, parts = found[:MOST_FINDINGS], [_overfull(part) for part in parts]
    with acting.transaction() as tx:
        kept, new = project.findings_kept.record(tx, acting.uid, parts, found)
        acting.append(
            tx,
            action,
            f'Scan::"{kept.number}"',
            answers={part.scanner: part.answer for part in parts},
            findings=len(found),
            new=len(new),
            sha256=sha256_record((kept, found)),
            **detail,
        )
    incidents, untold = 0, ""
    try:
        incidents = offindings.tell(project)
    except Error as error:  # what was seen is kept, and said, whoever cannot be told
        untold = error.sentence
    made = _result(project, kept, found, new)
    return structs.replace(made, incidents=incidents, untold=untold)


def require_said(project: Wiring) -> None:
    """What a scan leaves out is what casemate.toml says, which others see: never what somebody
    wanted for once.
    """
    said = sorted(set(project.overridden) - UNASKED)
    if said:
        raise ConfigError(
            f"-s sets {', '.join(said)}: findings are of what casemate.toml says",
            hint="leave -s out, or change casemate.toml",
        )


def _wanted(project: Wiring, kinds: Sequence[str]) -> tuple[ScanKind, ...]:
    own = {kind: kind for kind in SCANS}
    for kind in kinds:
        if kind != "all" and kind not in own:
            raise ConfigError(
                f"there is nothing called {kind[:80]!r} to look at",
                hint=f"one of {', '.join((*SCANS, 'all'))}",
            )
    named = set(project.config.scan.kinds if "all" in kinds else ()) | set(kinds)
    return tuple(kind for kind in SCANS if kind in named)


def _answers(
    project: Wiring,
    kinds: Sequence[ScanKind],
    progress: Callable[[str], None],
    remote: Remote | None,
) -> list[Looked]:
    table = project.config.scan
    # whose keys are not there is told now, not once the others have looked for minutes
    chosen = {kind: scanners(project, kind) for kind in kinds}
    files, unseen, left = listed(project.root, table.exclude)
    answers: list[Looked] = []
    before = trained_by(project, files)
    with scratch_folder(project.state / "tmp") as work:
        place = Place(
            root=project.root,
            files=tuple(files),
            unseen=unseen,
            work=work,
            tools=None if table.tools is None else project.root / table.tools,
            seconds=table.seconds,
            veil=project.identifiers.root().pseudonym,
        )
        for kind, those in chosen.items():
            if not those:
                answers.append(Looked(scanner="none", kind=kind, unseen={"": "nobody looks at it"}))
            told = functools.partial(_told, progress, kind)
            if kind == "endpoint":
                answers += endpoint_answers(project, place, those, told, remote)
                continue
            for scanner in those:
                told(scanner.id)
                answers.append(looked(scanner, place))
    if trained_by(project, files) != before:
        why = "the training code changed while it was looked at: scan again"
        unseen = {**unseen, TRAINING_CODE: why}
    answers = [with_inputs(project, answer, before) for answer in answers]
    if unseen or left:
        tree = Looked(scanner=FILES, kind=kinds[0], count=len(files), unseen=unseen, notes=left)
        answers.append(tree)
    return answers


def _told(progress: Callable[[str], None], kind: ScanKind, what: str) -> None:
    progress(f"{kind}: {what}")


def _part(answer: Looked) -> Part:
    return Part(
        scanner=answer.scanner,
        kind=answer.kind,
        version=answer.version,
        answer=answer.answer,
        found=len(answer.hits),
        count=answer.count,
        unseen=answer.unseen,
        notes=answer.notes,
        source=answer.source,
        told=answer.told,
        inputs=answer.inputs,
    )


def _overfull(part: Part) -> Part:
    why = f"there are more than {MOST_FINDINGS} findings; [scan] exclude leaves files out"
    unseen = {**part.unseen, "": why}
    return structs.replace(part, unseen=unseen, answer="could-not-look")


def _result(project: Wiring, kept: Scanned, found: Sequence[Weakness], new: list[str]) -> Result:
    prints = {one.fingerprint for one in found}
    standing = [one for one in standing_of(project) if one.kept.finding.fingerprint in prints]
    threshold = most_of(project)
    return Result(
        scan=kept,
        found=standing,
        new=new,
        blocking=[one.kept.finding.fingerprint for one in blocking(standing, threshold)],
        threshold=threshold,
        incidents=0,
    )
