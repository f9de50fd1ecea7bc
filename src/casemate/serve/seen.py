"""What is told of a request to whoever observes the gateway."""

import time
from collections.abc import Sequence

from casemate.serve.admission import Caller
from casemate.serve.bodies import Scope
from casemate.serve.routes import Found
from casemate.serve.telemetry import Seen, Tell
from casemate.serve.types import Reply

MOST_TRACE = 64
"""Characters of a caller's trace, or request id, that are kept: a W3C `traceparent` has 55."""


def tell(
    observers: Sequence[Tell],
    scope: Scope,
    identifier: str,
    caller: Caller | None,
    route: str,
    found: Found | None,
    reply: Reply,
    seconds: float,
) -> None:
    """Tell all of them of one request."""
    trace = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    seen = Seen(
        time=time.time() - seconds,
        id=identifier,
        trace=trace[:MOST_TRACE].decode("ascii", "replace"),
        principal="" if caller is None else caller.principal.uid,
        method=scope["method"],
        route=route,
        model="" if found is None else found.model,
        status=reply.status,
        code=reply.code,
        micros=int(seconds * 1e6),
        size=len(reply.body),
    )
    for told in observers:
        told(seen)


def trace_of(headers: dict[bytes, bytes]) -> str:
    """The trace id of W3C Trace Context, else the request id that the caller sent."""
    given = headers.get(b"traceparent")
    if given is not None:
        parts = given.split(b"-")
        return (
            parts[1].decode("ascii", "replace") if len(parts) >= 4 and len(parts[1]) == 32 else ""
        )
    given = headers.get(b"x-request-id")
    return "" if given is None else given[:MOST_TRACE].decode("ascii", "replace")
