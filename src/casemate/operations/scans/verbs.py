"""What can be asked of findings: list, show, waive."""

import datetime
from pathlib import Path

from casemate.core.errors import ConfigError
from casemate.core.files import write_atomic
from casemate.core.types import Record
from casemate.core.types.scan import GRADES
from casemate.operations.acting import operation, reading
from casemate.operations.incidents import offindings
from casemate.operations.scanned import BOOK, Standing, standing_of, waiver_name
from casemate.operations.scans import exports, paper
from casemate.operations.scans.exports import Form
from casemate.respond.findings import Scanned
from casemate.wiring import Wiring


class Listed(Record, frozen=True, kw_only=True):
    """What is known."""

    scans: list[Scanned]
    """The last scan of each kind, and the last report about each thing, the newest first."""
    found: list[Standing]


@reading("scan:read")
def listing(project: Wiring, *, gone: bool = False) -> Listed:
    """Findings, the gravest first, and the scans that they are of.

    Args:
        project: whose.
        gone: also those that are not there any more.

    Raises:
        AccessDenied: policy. VerificationError: rows that the log does not explain.
    """
    return Listed(scans=newest(project), found=standing_of(project, gone))


def newest(project: Wiring) -> list[Scanned]:
    """The last scan of each kind, and the last report about each thing, the newest first."""
    found = {one.number: one for one in project.findings_kept.newest().values()}
    found |= {one.number: one for one, _ in project.findings_kept.reports().values()}
    return [found[number] for number in sorted(found, reverse=True)]


@reading("scan:read")
def export(project: Wiring, file: Path, form: Form) -> int:
    """Write the findings that stand to a file, in a form that other people's tools take; returns
    how many stand.

    Args:
        project: whose.
        file: to write.
        form: `sarif`: waived ones are suppressed; `sarif-github`: they are left out, because
            GitHub ignores suppressions; `junit`; `sonar`: generic issues of SonarQube 10.3
            and later, without waived ones, `sonar-old`: of earlier ones; `vex`: of dependencies,
            CycloneDX 1.6; `json`; `html`: a page for people.

    Raises:
        AccessDenied: policy. ConfigError: there is no such form, or nothing was scanned.
    """
    if form not in exports.FORMS:
        raise ConfigError(
            f"there is no form {form[:80]!r}", hint=f"one of {', '.join(exports.FORMS)}"
        )
    known = Listed(scans=newest(project), found=standing_of(project))
    if not known.scans:
        raise ConfigError("nothing was scanned, which is no clean report", hint="casemate scan all")
    content = (
        paper.drawn(project.config.project.name, known.scans, known.found)
        if form == "html"
        else exports.written(known.scans, known.found, form)
    )
    write_atomic(file, content, 0o644)
    return len(known.found)


@reading("scan:read")
def show(project: Wiring, fingerprint: str) -> Standing:
    """One finding, by the beginning of its fingerprint.

    Raises:
        AccessDenied: policy. ConfigError: none is called so, or several are.
    """
    print_ = project.findings_kept.one(fingerprint).finding.fingerprint
    found = standing_of(project, all_=True)
    return next(one for one in found if one.kept.finding.fingerprint == print_)


@operation("scan:waive")
def waive(project: Wiring, fingerprint: str, until: datetime.datetime, reason: str) -> Standing:
    """Let a finding stand until a time, at the severity that it has now: one that becomes graver
    needs another waiver.

    Args:
        project: whose.
        fingerprint: its beginning, six characters at least.
        until: end, with time zone, within a year.
        reason: why, for the record.

    Raises:
        AccessDenied: policy does not permit it. ConfigError: no such finding, no reason, or an
            impossible end.
    """
    acting = waive.ask(project, fingerprint=fingerprint[:64])
    finding = project.findings_kept.one(fingerprint).finding
    print_, name = finding.fingerprint, waiver_name(finding.fingerprint, finding.severity)
    since, statement = project.waivers.sign(project.signer, BOOK, name, until, acting.uid, reason)
    with acting.transaction() as tx:
        project.waivers.add(tx, BOOK, name, since, until, acting.uid, statement)
        until_, grade = until.isoformat(), finding.severity
        detail = {"severity": grade, "until": until_, "reason": reason.strip()}
        acting.append(tx, "scan:waived", f'Finding::"{print_}"', **detail)
    offindings.tell(project)
    return show(project, print_)


@operation("scan:waive")
def unwaive(project: Wiring, fingerprint: str) -> int:
    """End every waiver of a finding; returns how many held.

    Raises:
        AccessDenied: policy. ConfigError: no such finding.
    """
    acting = unwaive.ask(project, fingerprint=fingerprint[:64])
    print_ = project.findings_kept.one(fingerprint).finding.fingerprint
    with acting.transaction() as tx:
        count = sum(
            project.waivers.withdraw(tx, BOOK, waiver_name(print_, grade)) for grade in GRADES
        )
        acting.append(tx, "scan:unwaived", f'Finding::"{print_}"', waivers=count)
    offindings.tell(project)
    return count
