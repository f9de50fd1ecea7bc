"""Starting the gateway: verify and load the models, issue a certificate, listen with TLS 1.3 only."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from casemate.controls.audit.log import GroupCommit
from casemate.controls.keys.pki import SERVER_DAYS, Authority, client_of
from casemate.core.digest import sha256
from casemate.core.errors import BackendError, ConfigError, RefusedError
from casemate.project import Project
from casemate.serve.app import Gateway
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import Guard
from casemate.stages.release.bundle import VerifiedModel
from casemate.stages.release.registry import Registry

RENEW_SECONDS = SERVER_DAYS * 24 * 3600 * 2 / 3
RENEW_RETRY_SECONDS = 3600.0
MAX_CONNECTIONS = 1000
MAX_HEAD = 64 * 1024
HEAD_SECONDS = 10.0


def _signed_for(stage: str, registry: Registry, reference: str) -> VerifiedModel:
    found = registry.get(reference).reference
    model = registry.verify(found)
    if model.card.stage != stage:
        raise RefusedError(
            f"{found} is signed for the stage {model.card.stage!r}, this gateway serves {stage!r}",
            hint="set [release] stage and run, or [serve] stage",
        )
    return model


def serve(project: Project, announce: Callable[[str, list[str]], None]) -> None:
    """Serve until SIGTERM or SIGINT; every model is verified before the port is opened.

    Args:
        project: whose models.
        announce: called with (URL, model references) once the port answers.

    Raises:
        RefusedError: a named model was never signed. VerificationError: it was changed.
        BackendError: the port is taken.
    """
    options = project.config.serve
    references = options.models or [project.config.project.name]
    for reference in references:
        project.require_approved(reference)
    endpoints = [Endpoint.load(_signed_for(options.stage, project.registry, reference)) for reference in references]
    names = [endpoint.reference for endpoint in endpoints]
    if len(set(names)) != len(names):
        raise ConfigError(f"[serve] models names one model twice: {names}", hint="list each once")
    principal = project.authorise("gateway:start", models=names)
    context = tls_context(project.keys.authority, options.names, project.keys.folder, clients=options.client_certificates == "require")
    listener = listen(options.host, options.port)
    audit = GroupCommit(project.audit)
    revocations = Revocations(project.certificates.revoked, audit) if options.client_certificates == "require" else None
    guard = Guard(project.access, audit)
    gateway = Gateway(
        endpoints,
        guard,
        audit,
        max_body=int(options.max_body_mb * 2**20),
        max_rows=options.max_rows,
    )
    config = uvicorn.Config(
        gateway,
        http=type("Guarded", (Bounded,), {"revocations": revocations}),
        ws="none",
        loop="uvloop",
        interface="asgi3",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
        limit_concurrency=MAX_CONNECTIONS,
        ssl_context_factory=lambda _config, _default: context,
    )
    url = f"https://{options.host}:{listener.getsockname()[1]}"
    renew = lambda: _load(context, project.keys.authority, options.names, project.keys.folder)  # noqa: E731
    # uvicorn stops on these signals and then raises them again: what must still be written needs a quiet handler.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        _Server(config, lambda: announce(url, names), renew, guard, revocations).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listener.close()
        audit.close()
        project.audit.record(principal.uid, "gateway:stop", f'Project::"{project.config.project.id}"', "done")


class Revocations:
    """Which client certificates are no longer good; looked up twice a second."""

    LOOK_SECONDS = 0.5
    BLIND_SECONDS = 10.0
    """After so long without a list, every new connection is refused."""

    def __init__(self, look: Callable[[], frozenset[int]], audit: GroupCommit) -> None:
        self._look = look
        self._audit = audit
        self._serials = look()
        self._blind = 0

    def refuses(self, serial: int | None) -> bool:
        """Whether a connection with this certificate must end; the refusal is recorded."""
        if serial is not None and serial not in self._serials and self._blind * self.LOOK_SECONDS < self.BLIND_SECONDS:
            return False
        shown = "none" if serial is None else format(serial, "x")
        self._audit.append(f'Certificate::"{shown}"', "gateway:connect", 'Project::"gateway"', "denied", {"reason": "revoked"})
        return True

    async def watch(self, connections: Any) -> None:
        """Keep the list fresh, and end open connections whose certificate was revoked."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.LOOK_SECONDS)
            try:
                found = await loop.run_in_executor(None, self._look)
            except Exception:  # noqa: BLE001 - whatever it was: without a list nobody new gets in
                self._blind += 1
                continue
            self._blind = 0
            fresh, self._serials = found - self._serials, found
            for connection in [connection for connection in connections if getattr(connection, "serial", None) in fresh]:
                self.refuses(connection.serial)
                connection.transport.abort()


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol with a limit on the size of a request's head and on the time that it may take."""

    revocations: Revocations | None = None
    serial: int | None = None
    """Serial number of the client's certificate."""
    thumbprint: str | None = None
    """SHA-256 of the client's certificate."""
    service: str | None = None
    """The name that the certificate gives its client."""

    def connection_made(self, transport: Any) -> None:
        """Start the clock for the first head; a client whose certificate was revoked goes no further."""
        super().connection_made(transport)
        if self.revocations is not None:
            presented = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            if presented:
                certificate = x509.load_der_x509_certificate(presented)
                self.serial, self.thumbprint, self.service = certificate.serial_number, sha256(presented), client_of(certificate)
            if self.revocations.refuses(self.serial):
                transport.abort()
        self._head_bytes, self._heads, self._in_head = 0, 0, True
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head that is still not complete."""
        heads, in_head = self._heads, self._in_head
        super().data_received(data)
        if in_head and self._heads == heads:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """Start the clock for a further head."""
        self._head_timer.cancel()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        super().on_message_begin()
        self.scope["certificate"] = self.thumbprint  # type: ignore[typeddict-unknown-key] # what the application binds tokens to
        self.scope["service"] = self.service  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        """Stop counting: what follows is the body, which the application bounds."""
        self._head_timer.cancel()
        self._head_bytes, self._heads, self._in_head = 0, self._heads + 1, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are a head again."""
        super().on_message_complete()
        self._in_head = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._head_timer.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """uvicorn's server that says when it answers and renews its certificate."""

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], renew: Callable[[], None], guard: Guard, revocations: "Revocations | None"
    ) -> None:
        super().__init__(config)
        self._guard = guard
        self._revocations = revocations
        self._watches: list[asyncio.Task[None]] = []
        self._announce = started
        self._renew = renew

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watches = [asyncio.create_task(self._keep_fresh()), asyncio.create_task(self._guard.watch())]
        if self._revocations is not None:
            self._watches.append(asyncio.create_task(self._revocations.watch(self.server_state.connections)))
        self._announce()

    async def _keep_fresh(self) -> None:
        wait = RENEW_SECONDS
        while True:
            await asyncio.sleep(wait)
            try:
                self._renew()
                wait = RENEW_SECONDS
            except Exception:  # noqa: BLE001 - a third of its life is left to try again
                wait = RENEW_RETRY_SECONDS


def tls_context(authority: Authority, names: list[str], folder: Path, *, clients: bool = False) -> ssl.SSLContext:
    """The gateway's TLS settings with a fresh certificate for `names`.

    Args:
        authority: issues it.
        names: what clients call this server.
        folder: private; takes two files for a moment.
        clients: demand a certificate of the same authority from every client.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=authority.pem.decode())
    _load(context, authority, names, folder)
    return context


def _load(context: ssl.SSLContext, authority: Authority, names: list[str], folder: Path) -> None:
    """Issue a certificate and load it; the files that Python's ssl needs exist for a moment, 0600."""
    chain, key = authority.issue_server(names)
    with _moment(folder, chain) as chain_file, _moment(folder, key) as key_file:
        context.load_cert_chain(chain_file, key_file)


@contextlib.contextmanager
def _moment(folder: Path, content: bytes) -> Iterator[str]:
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".tls-") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        yield file.name


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; BackendError when the port is taken."""
    family: Any = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise BackendError(f"cannot listen on {host}:{port}: {error.strerror}", hint="stop the other server or set [serve] port") from error
