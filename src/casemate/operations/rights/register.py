"""What a request of a person is: what its entries of the log say of it, folded."""

import datetime

from casemate.operations.calendar import today
from casemate.operations.folded import Kind
from casemate.respond.requests import states, tables
from casemate.respond.requests.states import Change
from casemate.wiring import Wiring

REQUESTS = Kind(
    "request",
    'Request::"',
    Change,
    states.applied,
    tables.LINES,
    tables.put,
    tables.request,
    tables.requests,
)


def change_of(project: Wiring, **more: object) -> Change:
    """A change that happens now.

    Args:
        project: whose.
        more: fields of the change.
    """
    now = project.clock.now().astimezone(datetime.UTC).isoformat(timespec="seconds")
    return Change(at=now, day=today(project).isoformat(), **more)  # type: ignore[arg-type]
