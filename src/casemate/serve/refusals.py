"""What a gateway refuses, and how it says so: nothing about the inside leaves."""

import time
from typing import Any

from casemate.controls.audit.commit import GroupCommit
from casemate.core.errors import AccessDenied, Error, RequestError
from casemate.serve.admission import Unauthenticated
from casemate.serve.bodies import Scope
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import MOST_TOLD
from casemate.serve.metrics import Metrics
from casemate.serve.quota import TooMany
from casemate.serve.routes import Found
from casemate.serve.types import JSON, Headers, Reply, json_of

WITHDRAWN = {
    "stuck": "the model is withdrawn, because it came to no end again and again",
    "code": "the model is withdrawn, because its own code tried what no model may",
    "signature": "the model is withdrawn, because it does not verify any more",
    "held": "the model is withdrawn until a person lifts the hold on its answers",
}
"""By kind of fault; of several the first is told, so that nobody lifts a hold in vain."""


class NotFound(RequestError):
    """No such path or model."""

    code = "CM-NOT-FOUND"
    http_status = 404


class WrongMethod(RequestError):
    """The path exists, the method does not."""

    code = "CM-METHOD"
    http_status = 405

    def __init__(self, *methods: str) -> None:
        super().__init__(f"{methods[0]} is offered here")
        self.allowed = ", ".join(methods)
        """What `Allow` says (RFC 9110, 15.5.6)."""


class WaiverEnded(RequestError):
    """The model passed by a waiver, and that has ended while it was served."""

    code = "CM-WAIVER"
    http_status = 503
    who = "the model's owner"


class Withdrawn(RequestError):
    """The model is not served any more, because it does not verify or stands still."""

    code = "CM-WITHDRAWN"
    http_status = 503
    who = "the model's owner"


class Overloaded(RequestError):
    """The gateway holds as many requests as it can."""

    code = "CM-OVERLOAD"
    http_status = 503
    who = "the gateway's operator, if it happens often"


class Refusals:
    """Turns what went wrong into replies, and counts it."""

    def __init__(self, metrics: Metrics, audit: GroupCommit) -> None:
        self.metrics, self.audit = metrics, audit
        self._refused_since = 0
        self._refused_told = 0.0

    def reply(self, error: Exception) -> Reply:
        """What is said to whoever asked."""
        if isinstance(error, Unauthenticated):
            return self._stranger()
        if isinstance(error, AccessDenied):
            self.metrics.count("casemate_denied", "policy")
            return Reply(403, JSON, b'{"error":"not permitted"}', error.code)
        headers = JSON
        if isinstance(error, TooMany):
            self.metrics.count("casemate_limited", error.limit)
            headers = [*JSON, (b"retry-after", b"%d" % error.wait)]
        elif isinstance(error, Error) and error.http_status == 503:
            self.metrics.count("casemate_limited", error.code)
            headers = [*JSON, (b"retry-after", b"1")]
        return told_of(error, headers)

    def _stranger(self) -> Reply:
        self.metrics.count("casemate_denied", "identity")
        self._refused_since += 1
        now = time.monotonic()
        # one entry a second at most, so that strangers cannot fill the log
        if now - self._refused_told >= 1.0:
            count, self._refused_since, self._refused_told = self._refused_since, 0, now
            self.audit.append(
                "anonymous", "access:authenticate", "Gateway", "denied", {"requests": count}
            )
        return Reply(
            401,
            [*JSON, (b"www-authenticate", b"Bearer")],
            b'{"error":"authentication required"}',
            Unauthenticated.code,
        )


def told_of(error: Exception, headers: Headers = JSON) -> Reply:
    """What whoever asked is told of a fault: of their own request what is wrong, else nothing."""
    if not isinstance(error, Error):
        return Reply(500, JSON, b'{"error":"the model could not answer these rows"}', "CM-MODEL")
    if isinstance(error, WrongMethod):
        headers = [*headers, (b"allow", error.allowed.encode())]
    if isinstance(error, RequestError):
        told: dict[str, Any] = {"error": error.message, "code": error.code}
        if error.rows:
            told["rows"] = error.rows[:MOST_TOLD]
        return Reply(error.http_status, headers, json_of(told), error.code)
    return Reply(
        error.http_status, headers, b'{"error":"the gateway cannot answer now"}', error.code
    )


def require_method(scope: Scope, found: Found) -> None:
    """WrongMethod where the path does not offer it."""
    method = scope["method"]
    offered = ("GET", "HEAD") if found.route.method == "GET" else (found.route.method,)
    if method not in offered:
        raise WrongMethod(*offered)


def require_fit(endpoint: Endpoint) -> None:
    """Withdrawn, or WaiverEnded, where a model may not answer."""
    if endpoint.withdrawn:
        raise Withdrawn(next(text for kind, text in WITHDRAWN.items() if kind in endpoint.faults))
    if endpoint.ends <= time.time():
        raise WaiverEnded("the waiver by which this model passed has ended")
