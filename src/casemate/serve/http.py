"""The HTTP edge: uvicorn's protocol with limits on heads, client certificates told to the
application, and the ASGI adapter.
"""

import asyncio
import time
from typing import Any, cast

import uvicorn
from cryptography import x509
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from casemate.controls.audit.commit import GroupCommit
from casemate.controls.keys.pki import client_of
from casemate.core.digest import sha256
from casemate.serve.app import Gateway
from casemate.serve.bodies import BODY_SECONDS, Receive, Scope
from casemate.serve.connections import Connections, Entry
from casemate.serve.health import Health

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers. Chosen: several times what tokens and traces take."""
HEAD_SECONDS = 10.0
"""How long a request's head may take to arrive. Chosen."""
IDLE_SECONDS = 5.0
"""How long a connection may be idle on which nobody has shown who it is."""
SWEEP_SECONDS = 1.0
"""Between looks for connections that are over their time: limits are seconds, so a second more does
not matter.
"""
ANSWERS_ARE_DATA = [
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-frame-options", "DENY"),
]
"""What every answer says to a browser: it is no page, however it looks, and none shows it in a
frame. Source: OWASP REST Security Cheat Sheet, Security Headers.
"""
SAGEMAKER, SAGEMAKER_ATTRIBUTES = "sagemaker", b"x-amzn-sagemaker-custom-attributes"
Send = Any


class App:
    """The gateway as an ASGI application."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        reply = await self.gateway.handle(scope, receive)
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else reply.body}
        )


class SageMakerApp(App):
    """The same behind SageMaker, which authenticates callers itself, probes without credentials and
    drops most of their headers.

    A token may come as the caller's custom attributes (`CustomAttributes` of InvokeEndpoint);
    without one a call is that of the service that has the client certificate name `sagemaker`, if
    the project knows it.
    Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["path"] == "/ping" and scope["method"] == "GET":
            status = 200 if self.gateway.ready() else 503
            await send(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": [(b"content-length", b"0")],
                }
            )
            await send({"type": "http.response.body", "body": b""})
            return
        given = [
            value
            for name, value in scope["headers"]
            if name == SAGEMAKER_ATTRIBUTES and value[:7].lower() == b"bearer "
        ]
        if given and not any(name == b"authorization" for name, _ in scope["headers"]):
            scope["headers"] = [*scope["headers"], (b"authorization", given[0])]
        scope["service"] = SAGEMAKER
        await super().__call__(scope, receive, send)


class Revocations:
    """Which client certificates are no longer good; looked up twice a second."""

    LOOK_SECONDS = 0.5
    BLIND_SECONDS = 10.0
    """After so long without a list, every new connection is refused."""

    def __init__(self, look: Any, audit: GroupCommit) -> None:
        self._look = look
        self._audit = audit
        self._serials: frozenset[int] = look()
        self._blind = 0

    def revoked(self, serial: int | None) -> bool:
        """Whether this certificate is no longer good, or nobody can say."""
        return (
            serial is None
            or serial in self._serials
            or self._blind * self.LOOK_SECONDS >= self.BLIND_SECONDS
        )

    def refuses(self, serial: int | None) -> bool:
        """Whether a connection with this certificate must end; the refusal is recorded."""
        if not self.revoked(serial):
            return False
        shown = "none" if serial is None else format(serial, "x")
        self._audit.append(
            f'Certificate::"{shown}"',
            "gateway:connect",
            'Project::"gateway"',
            "denied",
            {"reason": "revoked"},
        )
        return True

    async def watch(self, connections: Any, health: Health) -> None:
        """Keep the list fresh, and end open connections whose certificate was revoked; `health`
        hears when nobody new is let in.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.LOOK_SECONDS)
            try:
                found = await loop.run_in_executor(None, self._look)
            except Exception as error:  # noqa: BLE001 - whatever it was: without a list nobody new gets in
                self._blind += 1
                if self._blind * self.LOOK_SECONDS >= self.BLIND_SECONDS:
                    health.failed("revocations", error)
                continue
            self._blind = 0
            health.well("revocations")
            fresh, self._serials = found - self._serials, found
            for connection in [
                connection
                for connection in connections
                if getattr(connection, "serial", None) in fresh
            ]:
                self.refuses(connection.serial)
                connection.transport.abort()


class OneWrite:
    """A transport that sends the head of an answer together with what follows it: one system call
    less an answer.
    """

    __slots__ = ("_held", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._held: bytes | None = None

    def write(self, data: bytes) -> None:
        """Send, or keep the head until the body comes."""
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held + data)
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._held = data
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that no body follows."""
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)

    def close(self) -> None:
        """Send what is kept, then close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol with limits on the size of a request's head, on the time that head and
    body may take, and on idling.
    """

    connections_of: Connections | None = None
    """Where callers are told from strangers."""
    entry: Entry | None = None
    """This connection there."""
    keep_alive: float = IDLE_SECONDS
    """Seconds that a caller's connection may be idle."""
    revocations: Revocations | None = None
    serial: int | None = None
    """Serial number of the client's certificate."""
    thumbprint: str | None = None
    """SHA-256 of the client's certificate."""
    service: str | None = None
    """The name that the certificate gives its client."""
    late: float = 0.0
    """`time.monotonic()` from which `sweep` ends the connection; 0 while nothing is due."""

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first head; a client whose certificate was revoked goes no
        further.
        """
        super().connection_made(OneWrite(transport))  # type: ignore[arg-type] # it has all that uvicorn asks a transport for
        if self.revocations is not None:
            presented = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if presented:
                certificate = x509.load_der_x509_certificate(presented)
                self.serial, self.thumbprint, self.service = (
                    certificate.serial_number,
                    sha256(presented),
                    client_of(certificate),
                )
            if self.revocations.refuses(self.serial):
                transport.abort()
        self._head_bytes, self._heads, self._in_head, self._tail = 0, 0, True, b""
        if self.entry is not None:
            self.entry.end = transport.abort
        self.late = time.monotonic() + HEAD_SECONDS

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that is still not complete."""
        heads, in_head = self._heads, self._in_head
        # what comes at once is no shorter: the parser would take all of it
        if in_head and len(data) > MAX_HEAD - self._head_bytes:
            most = len(self._tail) + MAX_HEAD - self._head_bytes
            if (self._tail + data).find(b"\r\n\r\n", 0, most) < 0:
                self.transport.abort()
                return
        super().data_received(data)
        if in_head and self._heads == heads:
            self._head_bytes += len(data)
            self._tail = data[-3:]
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Start the clock for a further head."""
        self.late = time.monotonic() + HEAD_SECONDS
        super().on_message_begin()
        scope = self._scope
        scope["certificate"], scope["service"] = self.thumbprint, self.service
        if self.entry is not None and not self.entry.known:
            scope["known"] = self._known

    @property
    def _scope(self) -> Scope:
        """The scope of the request that arrives, with what the application is told beside ASGI."""
        return cast(Scope, self.scope)

    def _known(self) -> bool:
        """The caller has shown who it is; False when there is no room for another one."""
        if (
            self.entry is None
            or self.connections_of is None
            or self.connections_of.know(self.entry)
        ):
            return True
        self.cycle.keep_alive = False
        return False

    def on_headers_complete(self) -> None:
        """Stop counting: what follows is the body, whose size the application bounds."""
        self.late = time.monotonic() + BODY_SECONDS + HEAD_SECONDS
        self._head_bytes, self._heads, self._in_head = 0, self._heads + 1, False
        self._tail = b""
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are a head again."""
        self._scope["whole"] = True
        super().on_message_complete()
        self._in_head = True
        if self.cycle.response_complete:
            self._rest()
        else:
            self.late = 0.0

    def on_response_complete(self) -> None:
        """Nothing more belongs to this answer. As uvicorn's, but that `sweep` ends what is idle: a
        timer for every answer costs more.
        """
        self.transport.flush()  # type: ignore[attr-defined] # `OneWrite`
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._in_head:
            self._rest()

    def _rest(self) -> None:
        """Nothing is going on: keep nothing of the last request, and not for ever."""
        self.cycle = self.scope = self.headers = None  # type: ignore[assignment] # as before the first request
        self.late = time.monotonic() + (
            self.keep_alive if self.entry is not None and self.entry.known else IDLE_SECONDS
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended: make room for another one."""
        if self.entry is not None and self.connections_of is not None:
            self.connections_of.gone(self.entry)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets the same kind of answer as all else."""
        body = b'{"error":"this is no HTTP request"}'
        head = (
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length:"
            b" %d\r\nconnection: close\r\n\r\n" % len(body)
        )
        self.transport.write(head)
        self.transport.write(body)
        self.transport.close()

    def end_late(self) -> None:
        """End a connection that kept nobody waiting but itself."""
        if (
            self.entry is not None
            and self.entry.known
            and self.cycle is None
            and not self._head_bytes
        ):
            self.transport.close()
        else:
            self.transport.abort()


async def sweep(connections: Any) -> None:
    """End connections whose head or body takes too long, for ever. One look a second costs less
    than a timer a request.
    """
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        now = time.monotonic()
        for connection in [
            connection for connection in connections if connection.late and connection.late < now
        ]:
            connection.end_late()


def settings(app: Any, protocol: type[Bounded], **more: Any) -> uvicorn.Config:
    """What every server of casemate tells uvicorn."""
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="uvloop",
        interface="asgi3",
        access_log=False,
        log_level="error",
        server_header=False,
        headers=ANSWERS_ARE_DATA,
        proxy_headers=False,
        **more,
    )
