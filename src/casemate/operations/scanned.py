"""How findings stand: who sees to each, until when, who waived it; and what a gate is told."""

import datetime
from collections.abc import Iterable, Sequence

from msgspec import structs

from casemate.config.figures import SCAN
from casemate.core.types import Record, Waived
from casemate.core.types.scan import GRADES, REPORT, Grade, ScanKind, ScanStanding, graver
from casemate.operations.runinputs import compared
from casemate.respond.findings import FILES, Kept, due, moment, tool_of
from casemate.wiring import Wiring

BOOK = "scan:findings"
"""Under which waivers of findings are kept beside those of models, none of which can be called
so.
"""
OWNERS: dict[ScanKind, str] = {
    "code": "scientist",
    "secrets": "custodian",
    "dependencies": "operator",
    "artifacts": "scientist",
    "configuration": "owner",
    "endpoint": "operator",
}
"""Shipped roles that see to findings where `[scan] owners` says nobody else."""
MOST_TOLD = 5


class Standing(Record, frozen=True, kw_only=True):
    """A finding, and what is to become of it."""

    kept: Kept
    owner: str
    """Who sees to it: as `[scan] owners` says, else a shipped role."""
    due: str
    """The day by which it is to be mended."""
    overdue: bool
    waiver: Waived | None = None
    """Who lets it stand until when and why."""
    outgrown: Grade | None = None
    """The severity at which somebody let it stand, where it is graver by now and that holds no
    more.
    """

    @property
    def open(self) -> bool:
        """Whether it is there and nobody waived it."""
        return not self.kept.gone and self.waiver is None

    @property
    def is_reported(self) -> bool:
        """Whether somebody else's report says so."""
        return any(name.startswith(REPORT) for name in self.kept.finding.scanners)


def standing_of(project: Wiring, all_: bool = False) -> list[Standing]:
    """Findings, the gravest first.

    Args:
        project: whose.
        all_: also those that are gone.
    """
    table, now = project.config.scan, project.clock.now()
    waivers: dict[str, list[Waived]] = {}
    for given in project.waivers.in_force(BOOK):
        waivers.setdefault(given.gate.partition(":")[2], []).append(given)
    days: dict[Grade, int] = {grade: getattr(table.due, grade) for grade in GRADES}
    found = []
    for one in project.findings_kept.all():
        if one.gone and not all_:
            continue
        until = due(one, days)
        finding = one.finding
        waiver, outgrown = _held(waivers.get(finding.fingerprint, ()), finding.severity)
        found.append(
            Standing(
                kept=one,
                owner=table.owners.get(finding.kind, OWNERS[finding.kind]),
                due=until,
                overdue=not one.gone and until < now.date().isoformat(),
                waiver=waiver,
                outgrown=outgrown,
            )
        )
    return sorted(found, key=_rank)


def waiver_name(print_: str, grade: Grade) -> str:
    """Under which a waiver of a finding is signed: it is of the severity that it was given at."""
    return f"{grade}:{print_}"


def _held(given: Iterable[Waived], grade: Grade) -> tuple[Waived | None, Grade | None]:
    """(the waiver that holds longest, the gravest severity of those that hold no more because the
    finding is graver now), where there is one.
    """
    waiver, outgrown = None, None
    for one in given:  # the one that ends last is the last
        print_ = one.gate.partition(":")[2]
        at = next(known for known in GRADES if one.gate == waiver_name(print_, known))
        if not graver(grade, at):
            waiver = structs.replace(one, gate=print_)
        elif outgrown is None or graver(at, outgrown):
            outgrown = at
    return waiver, outgrown if waiver is None else None


def _rank(one: Standing) -> tuple[object, ...]:
    finding = one.kept.finding
    return (
        *(bool(one.kept.gone), one.waiver is not None, GRADES.index(finding.severity)),
        *(finding.kind, finding.path, finding.cell, finding.line, finding.fingerprint),
    )


def most_of(project: Wiring) -> Grade | None:
    """The gravest finding that may stand, as `[gates] scan` says; without it low ones may."""
    gate = project.config.gates.get(SCAN)
    if gate is None or gate.max_severity is None:
        return "low"
    return None if gate.max_severity == "none" else gate.max_severity


def blocking(found: Sequence[Standing], most: Grade | None) -> list[Standing]:
    """Those of `found` that are open and graver than may stand."""
    return [
        one
        for one in found
        if one.open and (most is None or graver(one.kept.finding.severity, most))
    ]


def standing(project: Wiring, *, of_run: bool = False) -> ScanStanding:
    """What a gate is told: by the last scan of each kind that `[scan] kinds` asks for.

    Args:
        project: whose.
        of_run: also whether what these looked at is what a run is made of now.
    """
    table = project.config.scan
    newest = project.findings_kept.newest()
    oldest = moment(project.clock.now() - datetime.timedelta(days=table.within_days))
    unknown = []
    for kind in table.kinds:
        scan = newest.get(kind)
        if scan is None:
            unknown.append(f"{kind} was never looked at")
            continue
        if scan.time < oldest:
            unknown.append(f"{kind} was looked at on {scan.time[:10]}, too long ago")
        unknown += [
            f"{part.scanner} could not look at {name or kind}: {why}"
            for part in scan.parts
            if part.kind == kind or part.scanner == FILES
            for name, why in part.unseen.items()
        ]
    unknown += _unknown_of_reports(project, oldest)
    found = [
        one
        for one in standing_of(project)
        if one.open and (one.kept.finding.kind in table.kinds or one.is_reported)
    ]
    counts: dict[str, int] = {}
    for one in found:
        grade = one.kept.finding.severity
        counts[grade] = counts.get(grade, 0) + 1
    looked = {kind: newest[kind] for kind in table.kinds if kind in newest}
    code, changed, others = compared(project, looked) if of_run else ({}, [], [])
    return ScanStanding(
        code=code,
        changed=changed,
        others=others,
        unknown=list(dict.fromkeys(unknown)),
        open=counts,
        told=[told(one) for one in found[:MOST_TOLD]],
    )


def _unknown_of_reports(project: Wiring, oldest: str) -> list[str]:
    """What cannot be said by reports of others: those that `[scan] reports` asks for are there and
    young, and of each the newest that came in was whole.
    """
    newest = project.findings_kept.reports()
    unknown = []
    for tool in project.config.scan.reports:
        times = [scan.time for scan, part in newest.values() if tool_of(part.scanner) == tool]
        if not times:
            unknown.append(f"no report of {tool} was ever imported")
        elif max(times) < oldest:
            unknown.append(f"a report of {tool} was imported on {max(times)[:10]}, too long ago")
    unknown += [
        f"{part.scanner} says nothing about {name or 'anything'}: {why}"
        for _, part in newest.values()
        for name, why in part.unseen.items()
    ]
    return unknown


def told(one: Standing) -> str:
    """A finding in a few words, without what it quotes."""
    finding = one.kept.finding
    place = finding.path + (f":{finding.line}" if finding.line else "")
    return f"{finding.severity} {finding.rule} in {place} ({finding.fingerprint[:12]})"
