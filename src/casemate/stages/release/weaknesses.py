"""The gate that goes by findings of scans: what was not looked at, not wholly, or too long ago is
inconclusive, and inconclusive is not passed.
"""

from casemate.config import GateTable
from casemate.config.figures import SCAN
from casemate.core.types import GateResult, Outcome
from casemate.core.types.scan import GRADES, ScanStanding

MOST_TOLD = 3
TO_DO = (
    "casemate scan all; mend what `casemate scan list` shows, or an approver lets one finding stand"
    " for a time: casemate scan waive FINDING --until DATE --reason WHY"
)


def judged(gate: GateTable, standing: ScanStanding | None, code: str = "") -> GateResult:
    """What the gate says: a scan of other inputs than the run's says nothing about its model.

    Args:
        gate: with `max_severity`.
        standing: how the project stands by its last scans; None: nobody can say.
        code: digest of the training code that the model learnt by; empty: nobody asks.
    """
    most = gate.max_severity or "none"
    limit = "no finding" if most == "none" else f"no finding graver than {most}"
    if standing is None:
        return _result("inconclusive", None, limit, "scan is inconclusive: nothing was looked at")
    over = GRADES if most == "none" else GRADES[: GRADES.index(most)]
    count = sum(standing.open.get(grade, 0) for grade in over)
    if count:
        grave = [text for text in standing.told if text.split(" ", 1)[0] in over]
        named = "; ".join(grave[:MOST_TOLD])
        reason = f"{count} findings that nobody waived, required {limit}: {named}"
        return _result("refused", count, limit, reason)
    unknown = [*standing.unknown, *_of_other_code(standing, code), *standing.others]
    if unknown:
        named = "; ".join(unknown[:MOST_TOLD])
        more = len(unknown) - MOST_TOLD
        reason = f"scan is inconclusive: {named}" + (f"; and {more} more" if more > 0 else "")
        return _result("inconclusive", None, limit, reason)
    return _result("passed", 0, limit, f"scan: {limit}")


def _of_other_code(standing: ScanStanding, code: str) -> list[str]:
    """Why scans say nothing about a model: it learnt by other code than they looked at."""
    kinds = [kind for kind, digest in standing.code.items() if code and digest != code]
    if not kinds:
        return []
    named = f" ({', '.join(standing.changed[:MOST_TOLD])})" if standing.changed else ""
    of = " and ".join(kinds)
    told = f"{of}: this model learnt by other training code than was looked at{named}"
    return [f"{told}; casemate scan all, then casemate run"]


def _result(outcome: Outcome, count: int | None, limit: str, reason: str) -> GateResult:
    value = None if count is None else float(count)
    return GateResult(gate=SCAN, outcome=outcome, value=value, limit=limit, reason=reason)
