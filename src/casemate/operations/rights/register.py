"""What a request of a person is: what its entries of the log say of it, folded."""

import datetime
from zoneinfo import ZoneInfo

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


def today(project: Wiring) -> datetime.date:
    """The day in the controller's calendar."""
    zone = ZoneInfo(project.config.access.timezone)
    return project.clock.now().astimezone(zone).date()
