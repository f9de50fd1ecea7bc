"""What a request of a person is: what its entries of the log say of it, folded."""

from casemate.operations.folded import Kind
from casemate.respond.requests import states, tables
from casemate.respond.requests.states import Change

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
