"""The gateway as a bare ASGI application: authenticate, decide, answer, record.

Every request needs a valid token before anything is said, unknown paths and health included. Every decision about a
model is a Cedar decision, and a prediction is only sent once its audit entry is durable. Token and decision caches
live for `CACHE_SECONDS`, so a revocation holds within that time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from casemate import __version__
from casemate.controls.access.policy import Decision, Policy
from casemate.controls.access.principals import Directory, Session
from casemate.controls.audit.log import GroupCommit
from casemate.core.errors import AccessDenied, Error, RequestError
from casemate.serve import oip
from casemate.serve.endpoint import Endpoint
from casemate.serve.metrics import CONTENT_TYPE, Metrics

CACHE_SECONDS = 0.5
CACHE_SIZE = 10_000
BODY_SECONDS = 30.0
INLINE_BYTES = 64 * 1024
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class NotFound(RequestError):
    """No such path or model."""

    code = "CM-NOT-FOUND"
    http_status = 404


class WrongMethod(RequestError):
    """The path exists, the method does not."""

    code = "CM-METHOD"
    http_status = 405


class TooLarge(RequestError):
    """The body is larger than allowed."""

    code = "CM-TOO-LARGE"
    http_status = 413


class TooSlow(RequestError):
    """The body did not arrive in time."""

    code = "CM-TOO-SLOW"
    http_status = 408


class Gateway:
    """The application."""

    def __init__(
        self,
        endpoints: list[Endpoint],
        directory: Directory,
        policy: Policy,
        audit: GroupCommit,
        *,
        max_body: int,
        max_rows: int,
    ) -> None:
        self.by_version = {(e.card.name, str(e.card.model_version)): e for e in endpoints}
        self.newest: dict[str, Endpoint] = {}
        for endpoint in sorted(endpoints, key=lambda e: e.card.model_version):
            self.newest[endpoint.card.name] = endpoint
        self.directory = directory
        self.policy = policy
        self.audit = audit
        self.max_body = max_body
        self.max_rows = max_rows
        self.metrics = Metrics()
        for endpoint in endpoints:
            self.metrics.models.labels(endpoint.card.name, str(endpoint.card.model_version)).set(1)
        self._sessions: dict[str, tuple[float, Session]] = {}
        self._decisions: dict[tuple[str, str, str, str], tuple[float, Decision]] = {}
        self._refused_since = 0
        self._refused_told = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        route = "refused"
        try:
            session = self._authenticate(scope)
            route, status, headers, body = await self._route(scope, receive, session)
        except Error as error:
            status, headers, body = error.http_status, _JSON, _fault(error)
            if isinstance(error, AccessDenied):
                status, headers, body = await self._denied(error)
        except Exception:  # noqa: BLE001 - the HTTP edge: nothing about the inside leaves
            status, headers, body = 500, _JSON, b'{"error":"internal error"}'
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _authenticate(self, scope: Scope) -> Session:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not given[0].lower().startswith(b"bearer ") or len(given[0]) > 200:
            raise Unauthenticated("authentication required")
        token = given[0][7:].decode("ascii", "replace")
        now = time.monotonic()
        cached = self._sessions.get(token)
        if cached and cached[0] > now:
            return cached[1]
        try:
            session = self.directory.authenticate(token)
        except AccessDenied as error:
            raise Unauthenticated("authentication required") from error
        if len(self._sessions) >= CACHE_SIZE:
            self._sessions.clear()
        self._sessions[token] = (now + CACHE_SECONDS, session)
        return session

    def _decide(self, session: Session, action: str, kind: str, name: str) -> None:
        principal = session.principal
        key = (principal.uid, action, kind, name)
        now = time.monotonic()
        cached = self._decisions.get(key)
        if not cached or cached[0] <= now:
            if len(self._decisions) >= CACHE_SIZE:
                self._decisions.clear()
            cached = self._decisions[key] = (now + CACHE_SECONDS, self.policy.decide(principal, action, kind, name))
        if not cached[1].allowed:
            self.audit.append(principal.uid, action, f'{kind}::"{name}"', "denied", {"policies": list(cached[1].reasons)})
            raise AccessDenied(f"{action} is not permitted")

    async def _denied(self, error: AccessDenied) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        if not isinstance(error, Unauthenticated):
            self.metrics.denied.labels("policy").inc()
            return 403, _JSON, b'{"error":"not permitted"}'
        self.metrics.denied.labels("identity").inc()
        self._refused_since += 1
        now = time.monotonic()
        if now - self._refused_told >= 1.0:  # one entry a second at most, so that strangers cannot fill the log
            count, self._refused_since, self._refused_told = self._refused_since, 0, now
            self.audit.append("anonymous", "access:authenticate", "Gateway", "denied", {"requests": count})
        return 401, [*_JSON, (b"www-authenticate", b"Bearer")], b'{"error":"authentication required"}'

    async def _route(self, scope: Scope, receive: Receive, session: Session) -> tuple[str, int, list[tuple[bytes, bytes]], bytes]:
        parts = [part for part in scope["path"].split("/") if part]
        method = scope["method"]
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            return await self._model(parts[2:], scope, receive, session)
        if method not in ("GET", "HEAD"):
            raise WrongMethod("only GET is offered here") if _known(parts) else NotFound("no such path")
        if parts == ["metrics"]:
            self._decide(session, "metrics:read", "Project", self.policy.project)
            return "metrics", 200, [(b"content-type", CONTENT_TYPE.encode())], self.metrics.render()
        if parts == ["v2"]:
            return "server", 200, _JSON, _json({"name": "casemate", "version": __version__, "extensions": []})
        if parts == ["v2", "health", "live"]:
            return "health", 200, _JSON, b'{"live":true}'
        if parts == ["v2", "health", "ready"]:
            ready = self.audit.fault is None
            return "health", 200 if ready else 503, _JSON, _json({"ready": ready})
        raise NotFound("no such path")

    async def _model(self, parts: list[str], scope: Scope, receive: Receive, session: Session) -> tuple[str, int, list[tuple[bytes, bytes]], bytes]:
        name, rest = parts[0], parts[1:]
        version = None
        if len(rest) >= 2 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        method = scope["method"]
        infer = rest == ["infer"]
        self._decide(session, "model:infer" if infer else "model:read", "Model", name[:200])
        endpoint = self.newest.get(name) if version is None else self.by_version.get((name, version))
        if endpoint is None or rest not in ([], ["ready"], ["infer"]):
            raise NotFound("no such model or path")
        if (method == "POST") != infer or method not in ("GET", "HEAD", "POST"):
            raise WrongMethod("POST is for infer, GET for the rest")
        if rest == ["ready"]:
            return "model", 200, _JSON, _json({"name": name, "ready": True})
        if not infer:
            return "model", 200, _JSON, _json(oip.metadata(endpoint))
        return "infer", 200, _JSON, await self._infer(endpoint, scope, receive, session)

    async def _infer(self, endpoint: Endpoint, scope: Scope, receive: Receive, session: Session) -> bytes:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity" or b"inference-header-content-length" in headers:
            raise RequestError("only JSON tensors without compression are offered; with tritonclient use binary_data=False")
        body = await self._body(headers, receive)
        request = oip.decode(body)
        if len(body) > INLINE_BYTES:
            reply, rows = await asyncio.to_thread(oip.infer, endpoint, request, self.max_rows)
        else:
            reply, rows = oip.infer(endpoint, request, self.max_rows)
        resource = f'Model::"{endpoint.reference}"'
        detail = {"rows": rows, "token": session.token_id, "signer": endpoint.fingerprint[:16]}
        durable = self.audit.append(session.principal.uid, "model:infer", resource, "allowed", detail)
        await asyncio.wrap_future(durable)
        version = str(endpoint.card.model_version)
        self.metrics.rows.labels(endpoint.card.name, version).inc(rows)
        for output in reply["outputs"]:
            if output["name"] == "label":
                for label in output["data"]:
                    self.metrics.labels.labels(endpoint.card.name, version, label).inc()
        return _json(reply)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self.max_body:
            raise TooLarge(f"the body is larger than {self.max_body} bytes")
        chunks, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestError("the caller hung up")
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > self.max_body:
                        raise TooLarge(f"the body is larger than {self.max_body} bytes")
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError as error:
            raise TooSlow(f"the body did not arrive within {BODY_SECONDS:g} s") from error


class Unauthenticated(AccessDenied):
    """No valid token came with the request."""

    code = "CM-TOKEN"
    http_status = 401


def _known(parts: list[str]) -> bool:
    return parts in (["metrics"], ["v2"], ["v2", "health", "live"], ["v2", "health", "ready"])


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _fault(error: Error) -> bytes:
    return _json({"error": error.message if isinstance(error, RequestError) else "the gateway cannot answer now"})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
