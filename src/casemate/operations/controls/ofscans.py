"""Checks of what was looked at for weaknesses, and of what was found."""

from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged
from casemate.operations.lateness import late
from casemate.operations.scanned import standing, standing_of


@check(
    "scan.looked",
    "Everything that `[scan] kinds` names was looked at for weaknesses, wholly, within"
    " `[scan] within_days`, and as often as `[scan] every` says",
    answers="operator",
    mend="casemate scan all",
)
def looked(facts: Facts) -> Seen:
    """By the rows of scans, which the log explains."""
    found = standing(facts.project)
    newest = {kind: scan.number for kind, scan in facts.project.findings_kept.newest().items()}
    missed = late(facts.project, facts.now)
    return judged("; ".join([*missed, *found.unknown][:3]), "all of it was", scans=newest)


@check(
    "scan.mended",
    "No finding of a scan stands past the day by which it is to be mended, unless somebody waived"
    " it",
    answers="operator",
    mend="mend what casemate scan list shows as overdue, or casemate scan waive FINDING",
)
def mended(facts: Facts) -> Seen:
    """Days are those of `[scan.due]`, by severity."""
    found = standing_of(facts.project)
    late = [one for one in found if one.open and one.overdue]
    named = ", ".join(one.kept.finding.fingerprint[:12] for one in late[:5])
    fault = f"{len(late)} are overdue: {named}" if late else ""
    well = f"of {len(found)} findings none is overdue"
    return judged(fault, well, findings=len(found), overdue=len(late))


CHECKS = (looked, mended)
