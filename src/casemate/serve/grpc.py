"""The Open Inference Protocol and feedback over gRPC: an adapter that hands each call to
`Gateway.handle`, so that every layer and limit is the same.

gRPC's own library decides about TLS: 1.2 with forward secrecy is its least (docs/adr/0023).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote, unquote

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf import json_format

from casemate.config import ServeTable
from casemate.controls.keys.pki import Authority, client_of
from casemate.core.digest import sha256
from casemate.core.errors import BackendError
from casemate.serve.app import Gateway
from casemate.serve.bodies import BODY_SECONDS, Scope
from casemate.serve.connections import Connections, room
from casemate.serve.http import MAX_HEAD, Revocations
from casemate.serve.metrics import Metrics
from casemate.serve.protocols import told_grpc
from casemate.serve.protocols.oip_grpc import SERVICE, described, message, parsed
from casemate.serve.types import Reply

HEADERS = ("authorization", "traceparent", "x-request-id", "sec-gpc")
"""Metadata that mean here what they mean as HTTP headers."""
MOST_CERTIFICATES = 1000
"""Client certificates whose parsed form is kept; then all are forgotten, so that strangers cannot
fill memory.
"""
MOST_STREAMS = 128
"""Calls at once on one connection."""
HANDSHAKE_MS = 10_000
"""The same as over HTTP: `HANDSHAKE_SECONDS` in `connections`."""
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_MODEL_CALLS = {"ModelReady": "/ready", "ModelMetadata": "", "ModelInfer": "/infer"}
_SERVER_CALLS = {
    "ServerLive": "/v2/health/live",
    "ServerReady": "/v2/health/ready",
    "ServerMetadata": "/v2",
}


class Certificates:
    """What gRPC shows to clients and demands of them."""

    def __init__(self, authority: Authority, names: list[str], *, clients: bool) -> None:
        """Issue the first certificate.

        Args:
            authority: issues it.
            names: what clients call this server.
            clients: demand a certificate of the same authority from every client.
        """
        self._authority, self._names = authority, names
        self._clients = clients
        self._fresh: Any = None
        first = self._issued()
        self.credentials = grpc.dynamic_ssl_server_credentials(
            first, self._newest, require_client_authentication=clients
        )

    def _issued(self) -> Any:
        chain, key = self._authority.issue_server(self._names)
        return grpc.ssl_server_certificate_configuration(
            [(key, chain)], root_certificates=self._authority.pem if self._clients else None
        )

    def _newest(self) -> Any:
        fresh, self._fresh = self._fresh, None
        return fresh

    def renew(self) -> None:
        """Issue another one, for the connections to come."""
        self._fresh = self._issued()


class Calls:
    """Calls whose message has not come yet: strangers', bounded and displaced as connections of
    HTTP are.

    gRPC's library tells nothing of a connection, and holds a place for every call from its head on;
    so calls are taken as streams, of which the first message is the request, and a call is known
    here before it is whole.
    """

    def __init__(self, table: ServeTable, metrics: Metrics) -> None:
        """Nobody calls.

        Args:
            table: the `[serve]` table.
            metrics: where those that gave way are counted.
        """
        self._strangers = Connections(table, metrics)

    @property
    def open(self) -> int:
        """How many there are."""
        return self._strangers.waiting

    async def message(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """The call's message; aborts a call that has none or several, takes too long, or must give
        its place to a newcomer.
        """
        address = _address(context.peer())
        entry, gave_way = self._strangers.admit(address[0] if address else ""), False
        found: list[bytes] = []
        try:
            async with asyncio.timeout(BODY_SECONDS) as limit:

                def end() -> None:
                    """Give the place to a newcomer."""
                    nonlocal gave_way
                    gave_way = True
                    limit.reschedule(0.0)

                entry.end = end
                async for one in requests:
                    found.append(one)
                    if len(found) > 1:
                        break
        except TimeoutError:
            if gave_way:
                await context.abort(
                    grpc.StatusCode.UNAVAILABLE,
                    "the gateway has as many strangers as it can",
                    (("retry-after", "1"),),
                )
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the message did not arrive within {BODY_SECONDS:g} s",
            )
        finally:
            self._strangers.gone(entry)
        if len(found) != 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call has one message")
        return found[0]


class GrpcServer:
    """The Open Inference Protocol over gRPC, before the same layers as HTTP."""

    def __init__(
        self,
        gateway: Gateway,
        table: ServeTable,
        port: int,
        certificates: Certificates | None,
        revocations: Revocations | None,
    ) -> None:
        """Wire it; `start` listens.

        Args:
            gateway: answers.
            table: the `[serve]` table.
            port: to listen on; 0 takes a free one.
            certificates: None for plain HTTP/2 behind a proxy.
            revocations: which clients' certificates are no longer good.
        """
        self.certificates = certificates
        self._gateway, self._table, self._port, self._revocations = (
            gateway,
            table,
            port,
            revocations,
        )
        self._calls = Calls(table, gateway.metrics)
        self._clients: dict[bytes, tuple[str, int, str | None]] = {}
        self._server: Any = None

    async def start(self) -> str:
        """Listen; returns the URL. BackendError when the port is taken."""
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=2 * self._table.max_waiting + self._table.strangers,
            options=(
                ("grpc.max_receive_message_length", self._gateway.max_body),
                ("grpc.max_metadata_size", MAX_HEAD),
                ("grpc.max_concurrent_streams", MOST_STREAMS),
                ("grpc.max_connection_idle_ms", int(self._table.keep_alive * 1000)),
                ("grpc.max_allowed_incoming_connections", room(self._table)[1]),
                ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
                # each worker has a listener of its own, and the kernel spreads connections
                ("grpc.so_reuseport", 1),
            ),
        )
        calls = {
            name: grpc.stream_unary_rpc_method_handler(self._call(name))
            for name in (*_SERVER_CALLS, *_MODEL_CALLS)
        }
        tell = {told_grpc.TELL: grpc.stream_unary_rpc_method_handler(self._tell)}
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, calls),
                grpc.method_handlers_generic_handler(told_grpc.SERVICE, tell),
            )
        )
        host = f"[{self._table.host}]" if ":" in self._table.host else self._table.host
        try:
            if self.certificates is None:
                port = self._server.add_insecure_port(f"{host}:{self._port}")
            else:
                port = self._server.add_secure_port(
                    f"{host}:{self._port}", self.certificates.credentials
                )
        except RuntimeError as error:
            raise BackendError(
                f"cannot listen on {host}:{self._port}",
                hint="stop the other server or set [serve] grpc_port",
            ) from error
        await self._server.start()
        return f"{'grpc' if self.certificates is None else 'grpcs'}://{host}:{port}"

    async def stop(self, grace: float) -> None:
        """Take no new calls, and give those that are open `grace` seconds."""
        await self._server.stop(grace)

    def _call(self, name: str) -> Callable[[AsyncIterator[bytes], Any], Awaitable[bytes]]:
        kind, answers = message(f"{name}Request"), message(f"{name}Response")

        async def call(requests: AsyncIterator[bytes], context: Any) -> bytes:
            body = await self._calls.message(requests, context)
            scope = self._scope(context)
            if name in _SERVER_CALLS:
                scope["method"], scope["path"] = "GET", _SERVER_CALLS[name]
            else:
                scope["method"] = "POST" if name == "ModelInfer" else "GET"
                scope["locate"] = lambda: _located(scope, name, parsed(kind, body))
            reply = await self._gateway.handle(scope, _no_body)
            if name == "ServerReady" and reply.body.startswith(b'{"ready":'):
                return bytes(answers(ready=reply.status == 200).SerializeToString())
            await _settle(reply, context)
            if name == "ModelInfer":
                return reply.body
            if name == "ModelMetadata":
                return described(reply.body)
            return bytes(
                json_format.Parse(
                    reply.body, answers(), ignore_unknown_fields=True
                ).SerializeToString()
            )

        return call

    async def _tell(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        told = told_grpc.Told(await self._calls.message(requests, context))
        scope = self._scope(context)
        scope["method"], scope["locate"] = "POST", told.path
        reply = await self._gateway.handle(scope, told.receive)
        await _settle(reply, context)
        return told_grpc.answer(reply.body)

    def _scope(self, context: Any) -> Scope:
        """What `Gateway.handle` wants to know of a call."""
        headers = [
            (key.encode(), _bytes(value))
            for key, value in context.invocation_metadata() or ()
            if key in HEADERS
        ]
        scope: Scope = {"headers": headers, "client": _address(context.peer()), "whole": True}
        presented = (
            context.auth_context().get("x509_pem_cert") if self.certificates is not None else None
        )
        if presented:
            thumbprint, serial, service = self._client(presented[0])
            if self._revocations is not None and self._revocations.revoked(serial):
                scope["headers"] = []  # nobody, from now on
            else:
                scope["certificate"], scope["service"] = thumbprint, service
        return scope

    def _client(self, pem: bytes) -> tuple[str, int, str | None]:
        found = self._clients.get(pem)
        if found is None:
            if len(self._clients) >= MOST_CERTIFICATES:
                self._clients.clear()
            certificate = x509.load_pem_x509_certificate(pem)
            found = self._clients[pem] = (
                sha256(certificate.public_bytes(Encoding.DER)),
                certificate.serial_number,
                client_of(certificate),
            )
        return found


async def _settle(reply: Reply, context: Any) -> None:
    """Abort a call that was refused; else only tell what stands beside an answer."""
    told = tuple(
        (key.decode(), value.decode())
        for key, value in reply.headers
        if key in (b"x-request-id", b"retry-after")
    )
    if reply.status != 200:
        code = _CODES.get(reply.status, grpc.StatusCode.INTERNAL)
        await context.abort(code, _text(reply), told)
    context.set_trailing_metadata(told)


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _located(scope: Scope, call: str, asked: Any) -> str:
    """The path of a call about a model; what it asks is kept for later."""
    scope["message"] = asked
    name, version = (
        (asked.model_name, asked.model_version)
        if call == "ModelInfer"
        else (asked.name, asked.version)
    )
    versions = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(name, safe='')}{versions}{_MODEL_CALLS[call]}" if name else ""


def _address(peer: str) -> tuple[str, int] | None:
    """("127.0.0.1", 50000) of `ipv4:127.0.0.1:50000`."""
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") else None


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "replace")


def _text(reply: Reply) -> str:
    return str(json.loads(reply.body)["error"])
