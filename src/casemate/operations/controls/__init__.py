"""Controls: what laws, standards and lists of threats ask for, the checks of this project's own
facts that look at it, when each last passed, and packs of evidence that others verify.

A check can fail: for each there is a test that breaks its control and sees that. A control that no
check covers says who answers for it. What holds is told, never what that means in law.
"""

from casemate.operations.acting import Noun
from casemate.operations.controls.packing import pack
from casemate.operations.controls.verbs import check, listing, show


class ControlsOf(Noun):
    """The controls of a project, by their verbs."""

    list = listing
    check = check
    show = show
    pack = pack
