"""Starting the gateway: verify and load the models, issue a certificate, listen with TLS 1.3 only,
end without losing a request.
"""

import asyncio
import contextlib
import datetime
import functools
import gc
import os
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.decisions import new_writer
from casemate.controls.keys.pki import SERVER_DAYS, Authority
from casemate.core.errors import ConfigError, Error, HistoryError
from casemate.core.files import make_folder
from casemate.operations.gateways import incident
from casemate.serve.admission import Admission
from casemate.serve.aggregates import Aggregates
from casemate.serve.app import Gateway
from casemate.serve.batch import Job
from casemate.serve.connections import Acceptor, Connections
from casemate.serve.endpoint import Endpoint
from casemate.serve.health import Health
from casemate.serve.heartbeat import Heartbeat
from casemate.serve.http import App, Bounded, Revocations, SageMakerApp, settings, sweep
from casemate.serve.metrics import Metrics
from casemate.serve.model_set import ModelSet
from casemate.serve.ports import begin
from casemate.serve.quota import Quota
from casemate.serve.standby import stand_by
from casemate.serve.telemetry import RequestLog, Traces, observers
from casemate.serve.types import Array
from casemate.serve.workers import FOLDER, Announce, Place, supervise
from casemate.wiring import Wiring

RENEW_SECONDS = SERVER_DAYS * 24 * 3600 * 2 / 3
RENEW_RETRY_SECONDS = 3600.0
BEAT_SECONDS = 0.25
RETRY_SECONDS = 1.0
PROBE_SECONDS, PROBE_BYTES = 0.5, 64 * 1024
DRAIN_SECONDS = 10
SWITCH_SECONDS = 0.001
"""How long another thread may keep Python to itself while a request waits; five milliseconds, the
default, is seen in the 99th percentile.
"""
FORGET_SECONDS, FORGET_RETRY_SECONDS = 3600.0, 10.0
VOUCH_SECONDS = 5.0
"""Between two looks whether checkpoints are due; one process of the machine does it."""


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


@dataclass(frozen=True)
class Parts:
    """A gateway and what it is made of."""

    gateway: Gateway
    model_set: ModelSet
    quota: Quota
    metrics: Metrics
    audit: GroupCommit
    observers: list[RequestLog | Traces]
    proxy: "GatewayProxy"
    health: Health
    heartbeat: Heartbeat

    def close(self) -> None:
        """Write what is left."""
        self.audit.close()
        for observer in self.observers:
            observer.close()


def assemble(project: Wiring, place: Place | None = None) -> Parts:
    """Verify and load what is served, and wire a gateway around it; it must be closed.

    Args:
        project: whose models.
        place: among the other workers; None for a gateway that nobody watches over.
    """
    table, proxy = project.config.serve, GatewayProxy()
    metrics = Metrics(project.state / FOLDER if table.workers > 1 and place is not None else None)
    health, heartbeat = Health(metrics), place.heartbeat if place is not None else Heartbeat.alone()
    model_set = ModelSet(
        project,
        metrics,
        proxy,
        lambda *told: incident(project, *told),
        health,
        None if place is None else place.board,
        heartbeat,
    )
    model_set.load()
    quota = Quota(project.usage, project.clock, table.limits, project.point.anomalies.probing)
    told = observers(table, project.root, metrics)
    audit = GroupCommit(
        project.log, new_writer(), lazy=table.audit == "batched", release=proxy.release
    )
    aggregates = Aggregates(project.engine, project.ledger, table.aggregates)
    try:
        admission = Admission(project.point, audit, quota, health)
        proxy.gateway = Gateway(
            table,
            admission,
            quota,
            metrics,
            model_set,
            audit,
            project.decisions,
            aggregates,
            health,
            told,
        )
    except BaseException:
        audit.close()
        raise
    return Parts(proxy.gateway, model_set, quota, metrics, audit, told, proxy, health, heartbeat)


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
        _beat(parts.heartbeat),
        parts.gateway.admission.watch(),
        parts.quota.watch(parts.health),
        parts.model_set.watch(),
        *[observer.watch() for observer in parts.observers],
        sweep(server.server_state.connections),
        _look(project, parts, connections),
        _probe_disk(project.state / FOLDER / f"{os.getpid()}.probe", parts.health),
        _share(parts, project.keystore.provider),
        *(
            [_vouch(project)]
            if project.config.audit.witnesses or project.config.audit.copies
            else []
        ),
        _forget(project, parts.health),
        *([_renew(context, project, beside, parts.health)] if context is not None else []),
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


class GatewayProxy:
    """Stands for the gateway where something is wired before it: the queues of models, and the
    log's thread.
    """

    gateway: Gateway
    loop: asyncio.AbstractEventLoop | None = None

    def answered(
        self,
        endpoint: Endpoint,
        job: Job,
        codes: list[int],
        probabilities: Array,
        noticed: dict[str, int],
    ) -> None:
        """See `Gateway.answered`."""
        self.gateway.answered(endpoint, job, codes, probabilities, noticed)

    def failed(
        self, endpoint: Endpoint, job: Job, fault: Exception, noticed: dict[str, int]
    ) -> None:
        """See `Gateway.failed`."""
        self.gateway.failed(endpoint, job, fault, noticed)

    def release(self, waiting: list[Any], fault: Exception | None) -> None:
        """Called from the log's thread."""
        if self.loop is not None and not self.loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed just now: nobody waits any more
                self.loop.call_soon_threadsafe(self.gateway.release, waiting, fault)


def _accepting(
    place: Place,
    connections: Connections,
    protocol: Callable[[], Any],
    context: ssl.SSLContext | None,
) -> Acceptor:
    begin(place.listener)
    return Acceptor(place.listener, connections, protocol, context)


async def _beat(heartbeat: Heartbeat) -> None:
    """Show that the event loop turns."""
    while True:
        heartbeat.beat()
        await asyncio.sleep(BEAT_SECONDS)


async def _look(project: Wiring, parts: Parts, connections: Connections) -> None:
    """See what does not work, also while nobody asks; while records cannot be written, try once a
    second to write that they can be again.
    """
    tried, attempt, since = 0.0, None, 0.0
    where = f'Project::"{project.config.project.id}"'

    def told(fault: Exception) -> Any:
        detail = {
            "fault": fault.code if isinstance(fault, Error) else type(fault).__name__,
            "seconds": round(time.monotonic() - since, 1),
        }
        return parts.audit.append("casemate", "gateway:recovered", where, "done", detail)

    last: Exception | None = None
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        parts.gateway.look()
        connections.gauge()
        failing, now = parts.audit.failing, time.monotonic()
        if failing is None:
            if last is not None and (
                attempt is None or (attempt.done() and attempt.exception() is not None)
            ):
                told(last)  # another record went through before ours
            last, attempt, since = None, None, 0.0
            continue
        last, since = failing, since or now
        if now - tried >= RETRY_SECONDS and (attempt is None or attempt.done()):
            tried, attempt = now, told(failing)


async def _probe_disk(path: Path, health: Health) -> None:
    """Notice a disk that is full or broken before a request does."""
    while True:
        await asyncio.sleep(PROBE_SECONDS)
        try:
            await asyncio.to_thread(_write, path)
            health.well("disk")
        except OSError as error:
            health.failed("disk", error.strerror or str(error))


def _write(path: Path) -> None:
    try:
        make_folder(path.parent)
        path.write_bytes(bytes(PROBE_BYTES))
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


async def _share(parts: Parts, keys: Any) -> None:
    """Leave the counts where the other workers find them."""
    while True:
        await asyncio.sleep(1.0)
        count_login(parts.metrics, keys)
        parts.gateway.gauge()
        with contextlib.suppress(OSError):  # the next turn tells the others the same and more
            await asyncio.to_thread(parts.metrics.share, parts.metrics.snapshot())


async def _vouch(project: Wiring) -> None:
    """Copy and cosign the log's checkpoints while predictions are recorded: what nobody outside has
    seen could be rewritten.
    """
    every, told = project.config.audit.every_minutes * 60, ""
    while True:
        await asyncio.sleep(min(every, VOUCH_SECONDS))
        try:
            await asyncio.to_thread(project.publication.keep, every)
            told = ""
        except HistoryError as error:
            if error.message != told:
                # the machine's memory of the log has it in any case
                with contextlib.suppress(Error):
                    await asyncio.to_thread(incident, project, "log", "audit:fork", error.message)
                told = error.message
        except Exception:  # noqa: BLE001, S112 - a witness may be away for a moment; `audit verify` says when it was too long
            continue


def count_login(metrics: Metrics, keys: Any) -> None:
    """How the login at the key server is, where there is one."""
    login = keys.login_state
    if login is not None:
        metrics.counts[("casemate_key_login_faults",)] = login.faults
        metrics.gauges[("casemate_key_login_failing",)] = int(login.failing)


async def _forget(project: Wiring, health: Health) -> None:
    """Delete records of predictions when their time is over."""
    while True:
        try:
            await asyncio.to_thread(forget, project)
            health.well("retention")
            wait = FORGET_SECONDS
        except Exception as error:  # noqa: BLE001 - the catalogue may be away for a moment; what is too old must go all the same
            health.failed("retention", error)
            wait = FORGET_RETRY_SECONDS
        await asyncio.sleep(wait)


def forget(project: Wiring) -> int:
    """Delete what `[serve] keep_days` and `inputs_days` no longer allow; returns how many groups of
    predictions changed.
    """
    now, table = project.clock.now(), project.config.serve
    old, older = (
        now - datetime.timedelta(days=days) for days in (table.inputs_days, table.keep_days)
    )
    return project.decisions.forget(older.isoformat(), old.isoformat())


async def _renew(context: ssl.SSLContext, project: Wiring, beside: Any, health: Health) -> None:
    """Keep the server's certificates young."""
    wait = RENEW_SECONDS
    while True:
        await asyncio.sleep(wait)
        try:
            _load(
                context,
                project.keystore.authority,
                project.config.serve.names,
                project.keystore.folder,
            )
            if beside is not None:
                beside.certificates.renew()
            health.well("certificate")
            wait = RENEW_SECONDS
        except Exception as error:  # noqa: BLE001 - a third of its life is left to try again
            health.failed("certificate", error)
            wait = RENEW_RETRY_SECONDS


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


def tls_context(
    authority: Authority, names: list[str], folder: Path, *, clients: bool = False
) -> ssl.SSLContext:
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
    """Issue a certificate and load it; the files that Python's ssl needs exist for a
    moment, 0600.
    """
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
