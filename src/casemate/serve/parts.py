"""What a gateway is made of, and how the parts are put together."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.predictions import new_writer
from casemate.operations.gateways import incident
from casemate.operations.logs.ingest import is_there
from casemate.serve.admission import Admission
from casemate.serve.aggregates import Aggregates
from casemate.serve.app import Gateway
from casemate.serve.batch import Job
from casemate.serve.endpoint import Endpoint
from casemate.serve.errands import Errands
from casemate.serve.health import Health
from casemate.serve.heartbeat import Heartbeat
from casemate.serve.logged import RequestLines
from casemate.serve.login import Login
from casemate.serve.metrics import Metrics
from casemate.serve.model_set import ModelSet
from casemate.serve.quota import Quota
from casemate.serve.telemetry import RequestLog, Traces, observers
from casemate.serve.types import Array
from casemate.serve.worker import FOLDER, Place
from casemate.watch.logs.incoming import FOLDER as INCOMING
from casemate.watch.logs.store import FOLDER as FOLDER_OF_LOGS
from casemate.wiring import Wiring

Observer = RequestLog | RequestLines | Traces


@dataclass(frozen=True)
class Parts:
    """A gateway and what it is made of."""

    gateway: Gateway
    model_set: ModelSet
    quota: Quota
    metrics: Metrics
    audit: GroupCommit
    observers: list[Observer]
    proxy: "GatewayProxy"
    health: Health
    heartbeat: Heartbeat

    def close(self) -> None:
        """Write what is left, and end the sandboxes of models that have one."""
        for served in self.model_set.served.values():
            for version in served.versions():
                version.endpoint.close()
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
    shared = project.state / FOLDER if table.workers > 1 and place is not None else None
    metrics = Metrics(shared, project.state)
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
    writer = new_writer()
    told: list[Observer] = [*observers(table, project.root, metrics)]
    if project.config.logs.requests and is_there():  # else nobody would read them
        where, most = project.state / FOLDER_OF_LOGS / INCOMING, project.config.logs.max_megabytes
        told.append(RequestLines(where, most, writer, metrics))
    audit = GroupCommit(project.log, writer, lazy=table.audit == "batched", release=proxy.release)
    most_said = int(table.max_body_mb * 2**20)
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
            Errands(project.decisions, Login(project.point), project, most_said),
            aggregates,
            health,
            told,
        )
    except BaseException:
        audit.close()
        raise
    return Parts(proxy.gateway, model_set, quota, metrics, audit, told, proxy, health, heartbeat)


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
        """See `Recording.answered`."""
        self.gateway.recording.answered(endpoint, job, codes, probabilities, noticed)

    def failed(
        self, endpoint: Endpoint, job: Job, fault: Exception, noticed: dict[str, int]
    ) -> None:
        """See `Recording.failed`."""
        self.gateway.recording.failed(endpoint, job, fault, noticed)

    def release(self, waiting: list[Any], fault: Exception | None) -> None:
        """Called from the log's thread."""
        if self.loop is not None and not self.loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed just now: nobody waits any more
                self.loop.call_soon_threadsafe(self.gateway.recording.release, waiting, fault)
