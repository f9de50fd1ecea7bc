"""Every check that there is, in the order in which they are shown."""

from casemate.operations.controls import (
    ofdata,
    ofkeys,
    ofmodels,
    ofpeople,
    ofscans,
    ofservice,
    ofthelog,
)
from casemate.operations.controls.kinds import Check

CHECKS: dict[str, Check] = {
    check.id: check
    for module in (ofthelog, ofmodels, ofdata, ofpeople, ofkeys, ofservice, ofscans)
    for check in module.CHECKS
}
