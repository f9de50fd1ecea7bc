"""The gateway as a bare ASGI application: authenticate, decide, answer, record.

Every request needs a valid token before anything is said, unknown paths and health included. What is behind a
door is a Cedar decision (`guard`), and a prediction is only sent once its audit entry is durable.
"""

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from casemate import __version__
from casemate.controls.access.policy import Resource
from casemate.controls.audit.log import GroupCommit
from casemate.core.errors import AccessDenied, Error, RequestError
from casemate.serve import oip
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import Caller, Guard, TooMany, Unauthenticated
from casemate.serve.login import MAX_BODY, Login
from casemate.serve.metrics import CONTENT_TYPE, Metrics

BODY_SECONDS = 30.0
INLINE_BYTES = 64 * 1024
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_JSON = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
_BINARY = [(b"content-type", b"application/octet-stream"), (b"cache-control", b"no-store")]
LEAST_DEFLATED = 1024
"""Bytes from which a reply is compressed for a caller who takes it."""
CODINGS = {b"gzip": 31, b"deflate": 15}
"""Content codings (RFC 9110 section 8.4.1) and zlib's `wbits` of each."""


@dataclass(frozen=True)
class Route:
    """A door: what it is called in the metrics, its path with `{names}`, its method and the action that policy decides on."""

    name: str
    path: tuple[str, ...]
    method: str
    action: str


_MODEL = ("v2", "models", "{name}")
_VERSION = (*_MODEL, "versions", "{version}")
ROUTES = (
    Route("metrics", ("metrics",), "GET", "metrics:read"),
    Route("server", ("v2",), "GET", "gateway:read"),
    Route("live", ("v2", "health", "live"), "GET", "gateway:read"),
    Route("ready", ("v2", "health", "ready"), "GET", "gateway:read"),
    *(Route("model", path, "GET", "model:read") for path in (_MODEL, _VERSION)),
    *(Route("model-ready", (*path, "ready"), "GET", "model:read") for path in (_MODEL, _VERSION)),
    *(Route("infer", (*path, "infer"), "POST", "model:infer") for path in (_MODEL, _VERSION)),
    Route("login-session", ("access", "session"), "GET", "access:self"),
    Route("login-renew", ("access", "session", "renew"), "POST", "access:self"),
    Route("login-end", ("access", "session", "end"), "POST", "access:self"),
    Route("login-passkey-options", ("access", "passkey", "options"), "POST", "access:self"),
    Route("login-passkey", ("access", "passkey"), "POST", "access:self"),
    Route("login-step-up-options", ("access", "step-up", "options"), "POST", "access:self"),
    Route("login-step-up", ("access", "step-up"), "POST", "access:self"),
)
"""Every door of the gateway; what is not here is not there."""


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


class WaiverEnded(RequestError):
    """The model passed by a waiver, and that has ended while it was served."""

    code = "CM-WAIVER"
    http_status = 503
    who = "the model's owner"


class Gateway:
    """The application."""

    def __init__(
        self,
        endpoints: list[Endpoint],
        guard: Guard,
        audit: GroupCommit,
        *,
        max_body: int,
        max_rows: int,
    ) -> None:
        self.by_version = {(e.card.name, str(e.card.model_version)): e for e in endpoints}
        self.newest: dict[str, Endpoint] = {}
        for endpoint in sorted(endpoints, key=lambda e: e.card.model_version):
            self.newest[endpoint.card.name] = endpoint
        self.guard = guard
        self.login = Login(guard.point)
        self.audit = audit
        self.max_body = max_body
        self.max_rows = max_rows
        self.metrics = Metrics()
        for endpoint in endpoints:
            self.metrics.models.labels(endpoint.card.name, str(endpoint.card.model_version)).set(1)
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
            caller = self.guard.authenticate(scope)
            route, status, headers, body = await self._route(scope, receive, caller)
        except Error as error:
            status, headers, body = error.http_status, _JSON, _fault(error)
            if isinstance(error, TooMany):
                headers = [*_JSON, (b"retry-after", b"1")]
            if isinstance(error, AccessDenied):
                status, headers, body = await self._denied(error)
        except Exception:  # noqa: BLE001 - the HTTP edge: nothing about the inside leaves
            status, headers, body = 500, _JSON, b'{"error":"internal error"}'
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.seconds.labels(route).observe(time.perf_counter() - began)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

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

    async def _route(self, scope: Scope, receive: Receive, caller: Caller) -> tuple[str, int, list[tuple[bytes, bytes]], bytes]:
        parts = tuple(part for part in scope["path"].split("/") if part)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        found = _find(parts)
        if found is None:
            raise NotFound("no such path")
        route, named = found
        name = named.get("name", "")[:200]
        self.guard.require(caller, route.action, Resource("Model", name) if name else Resource())
        if method != route.method:
            raise WrongMethod(f"{route.method} is offered here")
        if route.name.startswith("login"):
            return "login", 200, _JSON, await self._own_login(route, scope, receive)
        if not name:
            return self._about_the_gateway(route)
        version = named.get("version")
        endpoint = self.newest.get(name) if version is None else self.by_version.get((name, version))
        if endpoint is None:
            raise NotFound("no such model or path")
        if endpoint.ends <= time.time():
            raise WaiverEnded("the waiver by which this model passed has ended")
        if route.name == "infer":
            return "infer", 200, *await self._infer(endpoint, scope, receive, caller)
        body = {"name": name, "ready": True} if route.name == "model-ready" else oip.metadata(endpoint)
        return "model", 200, _JSON, _json(body)

    def _about_the_gateway(self, route: Route) -> tuple[str, int, list[tuple[bytes, bytes]], bytes]:
        if route.name == "metrics":
            return "metrics", 200, [(b"content-type", CONTENT_TYPE.encode())], self.metrics.render()
        if route.name == "server":
            return "server", 200, _JSON, _json({"name": "casemate", "version": __version__, "extensions": []})
        if route.name == "live":
            return "health", 200, _JSON, b'{"live":true}'
        ready = self.audit.fault is None
        return "health", 200 if ready else 503, _JSON, _json({"ready": ready})

    async def _infer(self, endpoint: Endpoint, scope: Scope, receive: Receive, caller: Caller) -> tuple[list[tuple[bytes, bytes]], bytes]:
        headers = dict(scope["headers"])
        body = _inflated(headers.get(b"content-encoding", b"identity"), await self._body(headers, receive, self.max_body), self.max_body)
        request = oip.decode(body, _length(headers.get(b"inference-header-content-length")))
        if len(body) > INLINE_BYTES:
            answer = await asyncio.to_thread(oip.infer, endpoint, request, self.max_rows)
        else:
            answer = oip.infer(endpoint, request, self.max_rows)
        resource = f'Model::"{endpoint.reference}"'
        detail = {"rows": len(answer.labels), "token": caller.token, "signer": endpoint.fingerprint[:16]}
        durable = self.audit.append(caller.principal.uid, "model:infer", resource, "allowed", detail)
        await asyncio.wrap_future(durable)
        version = str(endpoint.card.model_version)
        self.metrics.rows.labels(endpoint.card.name, version).inc(len(answer.labels))
        for label, count in Counter(answer.labels).items():
            self.metrics.labels.labels(endpoint.card.name, version, label).inc(count)
        content, told = oip.encode(endpoint, answer)
        reply = _JSON if told is None else [*_BINARY, (b"inference-header-content-length", str(told).encode())]
        coding = _accepted(headers.get(b"accept-encoding", b"")) if len(content) >= LEAST_DEFLATED else None
        if coding is None:
            return reply, content
        return [*reply, (b"content-encoding", coding)], _deflated(coding, content)

    async def _own_login(self, route: Route, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        body = await self._body(headers, receive, MAX_BODY) if route.method == "POST" else b""
        bearer = headers.get(b"authorization", b"")[7:].decode("ascii", "replace")
        return _json(await asyncio.to_thread(self.login.answer, route.name, bearer, scope.get("certificate"), body))

    async def _body(self, headers: dict[bytes, bytes], receive: Receive, most: int) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > most:
            raise TooLarge(f"the body is larger than {most} bytes")
        chunks, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RequestError("the caller hung up")
                    chunks.append(message.get("body", b""))
                    size += len(chunks[-1])
                    if size > most:
                        raise TooLarge(f"the body is larger than {most} bytes")
                    if not message.get("more_body"):
                        return b"".join(chunks)
        except TimeoutError as error:
            raise TooSlow(f"the body did not arrive within {BODY_SECONDS:g} s") from error


def _find(parts: tuple[str, ...]) -> tuple[Route, dict[str, str]] | None:
    """The route of a path, and what stands for its `{names}`."""
    for route in ROUTES:
        if len(route.path) == len(parts) and all(want == have or want.startswith("{") for want, have in zip(route.path, parts, strict=True)):
            return route, {want[1:-1]: have for want, have in zip(route.path, parts, strict=True) if want.startswith("{")}
    return None


def _length(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not header.isdigit() or len(header) > 12:
        raise RequestError("Inference-Header-Content-Length is no number")
    return int(header)


def _inflated(coding: bytes, body: bytes, most: int) -> bytes:
    """The body without its content coding; never more than `most` bytes of it are made."""
    if coding == b"identity":
        return body
    if coding not in CODINGS:
        raise RequestError("content codings that are read: gzip, deflate")
    inflater = zlib.decompressobj(CODINGS[coding])
    try:
        found = inflater.decompress(body, most)
    except zlib.error as error:
        raise RequestError(f"the body is no {coding.decode()}") from error
    if inflater.unconsumed_tail:
        raise TooLarge(f"the body inflates to more than {most} bytes")
    if not inflater.eof or inflater.unused_data:
        raise RequestError(f"the body is not one whole {coding.decode()} stream")
    return found


def _accepted(header: bytes) -> bytes | None:
    """The first coding of ours that the caller takes (`q=0` refuses it)."""
    for item in header.lower().split(b","):
        coding, _, weight = item.partition(b";")
        if coding.strip() in CODINGS and weight.replace(b" ", b"") not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}:
            return coding.strip()
    return None


def _deflated(coding: bytes, body: bytes) -> bytes:
    deflater = zlib.compressobj(1, wbits=CODINGS[coding])
    return deflater.compress(body) + deflater.flush()


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
