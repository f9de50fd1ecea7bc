"""Starting the gateway: verify and load the models, issue a certificate, listen with TLS 1.3 only,
end without losing a request.
"""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn

from casemate.controls.keys.tls import tls_context
from casemate.core.errors import ConfigError
from casemate.serve.connections import Acceptor, Connections
from casemate.serve.http import App, Bounded, Revocations, SageMakerApp, settings, sweep
from casemate.serve.parts import Parts, assemble
from casemate.serve.ports import begin
from casemate.serve.standby import stand_by
from casemate.serve.tls import RENEW_SECONDS, renew
from casemate.serve.watches import beat, forgetting, keys, look, probe_disk, share, vouch
from casemate.serve.worker import FOLDER, Announce, Place
from casemate.serve.workers import supervise
from casemate.wiring import Wiring

DRAIN_SECONDS = 10
"""For answers that have begun. A judgement: what takes longer would keep a deployment waiting."""
SWITCH_SECONDS = 0.001
"""How long another thread may keep Python to itself while a request waits; five milliseconds, the
default, is seen in the 99th percentile.
"""


def serve(project: Wiring, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT; every model is verified before anybody is listened to.

    Args:
        project: whose models.
        announce: called with (URL, model references) once the port answers.

    Raises:
        RefusedError: a named model was never signed. VerificationError: it was changed.
        BackendError: the port is taken.
    """
    table = project.config.serve
    if table.client_certificates == "require" and table.tls == "proxy":
        raise ConfigError(
            '[serve] client_certificates = "require" needs tls = "own"',
            hint="behind a proxy nobody shows us a certificate",
        )
    supervise(project, announce, work, _standby)


def work(project: Wiring, place: Place, announce: Announce) -> None:
    """Serve as a worker."""
    if place.after:
        project.reload_signers()  # what the supervisor knew when it began may be old
    parts = assemble(project, place)
    try:
        _run(project, parts, place, announce)
    finally:
        parts.close()


def _standby(project: Wiring, place: Place, _announce: Announce) -> None:
    table = project.config.serve
    required = table.client_certificates == "require"
    context = (
        None
        if table.tls == "proxy"
        else tls_context(
            project.keystore.authority, table.names, project.keystore.folder, clients=required
        )
    )
    stand_by(table, place, context, RENEW_SECONDS)


def _run(project: Wiring, parts: Parts, place: Place, announce: Announce) -> None:
    table, context, revocations = project.config.serve, None, None
    if table.tls == "own":
        context = tls_context(
            project.keystore.authority,
            table.names,
            project.keystore.folder,
            clients=table.client_certificates == "require",
        )
    if context is not None and table.client_certificates == "require":
        revocations = Revocations(project.certificates.revoked, parts.audit)
    connections = Connections(table, parts.metrics)
    config = settings(
        (SageMakerApp if table.platform == "sagemaker" else App)(parts.gateway),
        type(
            "Guarded",
            (Bounded,),
            {
                "revocations": revocations,
                "connections_of": connections,
                "keep_alive": table.keep_alive,
            },
        ),
        lifespan="off",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        **(
            {"ssl_context_factory": lambda _config, _default: context}
            if context is not None
            else {}
        ),
    )
    url = (
        f"{'http' if context is None else 'https'}://{table.host}:{place.listener.getsockname()[1]}"
    )
    beside = (
        None if place.grpc_port is None else _grpc(project, parts, revocations, place.grpc_port)
    )
    server = _Server(
        config,
        lambda more: announce(url + more, parts.model_set.references),
        parts,
        beside,
        lambda make: _accepting(place, connections, make, context),
    )
    server.watches = lambda: [
        beat(parts.heartbeat),
        parts.gateway.admission.watch(),
        parts.quota.watch(parts.health),
        parts.model_set.watch(),
        *[observer.watch() for observer in parts.observers],
        sweep(server.server_state.connections),
        look(project, parts, connections),
        probe_disk(project.state / FOLDER / f"{os.getpid()}.probe", parts.health),
        share(parts, project.keystore.provider),
        *(
            [vouch(project)]
            if project.config.audit.witnesses or project.config.audit.copies
            else []
        ),
        forgetting(project, parts.health),
        keys(project, parts.health),
        *([renew(context, project, beside, parts.health)] if context is not None else []),
        *(
            [revocations.watch(server.server_state.connections, parts.health)]
            if revocations is not None
            else []
        ),
    ]
    # uvicorn stops on these signals and then raises them again: what must still be written needs a
    # quiet handler.
    before = {
        number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)
    }
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    # what is loaded stays: no collection looks through it again (50 ms in the middle of a request)
    gc.freeze()
    try:
        server.run()
    finally:
        parts.heartbeat.ending()
        for number, handler in before.items():
            signal.signal(number, handler)


def _grpc(project: Wiring, parts: Parts, revocations: Revocations | None, port: int) -> Any:
    """The same protocol over gRPC (`serve.grpc.GrpcServer`); ConfigError when the extra is not
    installed.
    """
    # else it writes a line for every stranger's handshake
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        from casemate.serve.grpc import Certificates, GrpcServer
    except ImportError as error:
        raise ConfigError(
            "[serve] grpc_port needs gRPC", hint="pip install 'casemate[grpc]'"
        ) from error
    table = project.config.serve
    required = table.client_certificates == "require"
    certificates = (
        Certificates(project.keystore.authority, table.names, clients=required)
        if table.tls == "own"
        else None
    )
    return GrpcServer(parts.gateway, table, port, certificates, revocations)


def _accepting(
    place: Place,
    connections: Connections,
    protocol: Callable[[], Any],
    context: ssl.SSLContext | None,
) -> Acceptor:
    begin(place.listener)
    return Acceptor(place.listener, connections, protocol, context)


class _Server(uvicorn.Server):
    """uvicorn's server that says when it answers, watches over what changes, and stops taking
    requests before it ends.
    """

    watches: Callable[[], list[Coroutine[Any, Any, None]]]

    def __init__(
        self,
        config: uvicorn.Config,
        started: Callable[[str], None],
        parts: Parts,
        beside: Any,
        accepting: Callable[[Callable[[], Any]], Acceptor],
    ) -> None:
        """Wire it.

        Args:
            config: of uvicorn.
            started: called with what else answers, once the port does.
            parts: the gateway.
            beside: the server of gRPC, if there is one.
            accepting: begins to take connections, given what makes their protocols.
        """
        super().__init__(config)
        self._accepting = accepting
        self._announce = started
        self._parts = parts
        self._beside = beside
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.proxy.loop = asyncio.get_running_loop()
        protocol: Any = self.config.http_protocol_class
        make = functools.partial(
            protocol, config=self.config, server_state=self.server_state, app_state={}
        )
        self.servers = [self._accepting(make)]  # type: ignore[list-item] # all that uvicorn asks of a server is to close
        self.started = True
        more = "" if self._beside is None else f" and {await self._beside.start()}"
        self._tasks = [asyncio.create_task(watch) for watch in self.watches()]
        self._announce(more)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._parts.gateway.draining = True
        if self._beside is not None:
            await self._beside.stop(DRAIN_SECONDS)
        await super().shutdown(sockets)
        for task in self._tasks:
            task.cancel()
        # what cannot be written now is forgiven with the process
        with contextlib.suppress(Exception):
            await self._parts.quota.flush(asyncio.get_running_loop())
