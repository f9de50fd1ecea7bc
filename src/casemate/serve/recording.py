"""What happens once a model has spoken: its answer is encoded, counted, recorded, and let go when
the record is durable.
"""

import asyncio
import struct
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from casemate.config import OutputsTable, ServeTable
from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.predictions import Prediction, request_id
from casemate.core.digest import sha256
from casemate.core.errors import BackendError, Error, RequestError, Wrong
from casemate.ml.frame import rows_bytes
from casemate.serve import outputs
from casemate.serve.admission import Caller
from casemate.serve.aggregates import Aggregates
from casemate.serve.batch import Job
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import Unfit
from casemate.serve.metrics import Metrics
from casemate.serve.quota import Quota
from casemate.serve.refusals import Refusals
from casemate.serve.types import Answer, Array, Reply
from casemate.serve.versions import Version
from casemate.watch.canary import Statistics

_ENCODER = msgspec.json.Encoder()


@dataclass(slots=True)
class Asking:
    """Whose a job is, until it is answered."""

    caller: Caller
    number: int
    began: float
    """`time.perf_counter()` when the request came."""
    trace: str
    shown: OutputsTable
    version: Version
    seen: Statistics
    """Where it counts for the version; nowhere when the caller chose the version."""
    future: asyncio.Future[Reply] | None = None
    """None for a shadow: nobody waits for its answer."""


class Recording:
    """Hears what models say, and records it before it is told."""

    def __init__(
        self,
        table: ServeTable,
        quota: Quota,
        metrics: Metrics,
        audit: GroupCommit,
        aggregates: Aggregates,
        refusals: Refusals,
    ) -> None:
        self.quota, self.metrics, self.audit = quota, metrics, audit
        self.aggregates, self.refusals = aggregates, refusals
        self._keeps_rows = table.inputs == "sealed"
        self._durable = table.audit == "durable"

    def answered(
        self,
        endpoint: Endpoint,
        job: Job,
        codes: list[int],
        probabilities: Array,
        noticed: dict[str, int],
    ) -> None:
        """The model has spoken: encode, record, and let go what may leave."""
        asking: Asking = job.context
        if not np.isfinite(probabilities).all():
            rows = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
            raise Unfit.rows_of(
                [
                    Wrong(int(row), "", "the model has no finite answer for these rows")
                    for row in rows
                ]
            )
        told = self._told_of(endpoint, codes, probabilities, asking.shown)
        headers, body = job.asked.encode(endpoint, Answer(told, noticed))
        now = time.perf_counter()
        seconds = now - asking.began
        self._counted(endpoint, asking, job.asked.count, codes, noticed, now - job.began)
        if endpoint.regression:
            asking.seen.summed(probabilities)
        labels, recorded = (
            struct.pack(f"<{len(codes)}H", *codes),
            probabilities.astype(endpoint.wire, copy=False).tobytes(),
        )
        self._record(
            endpoint, job, labels, recorded, noticed, "", seconds, Reply(200, headers, body)
        )

    def _told_of(
        self, endpoint: Endpoint, codes: list[int], probabilities: Array, shown: OutputsTable
    ) -> dict[str, Any]:
        if shown.show == "aggregate":
            return {"label": endpoint.classes, "count": self.aggregates.counted(endpoint, codes)}
        return outputs.shown(endpoint, codes, probabilities, shown)

    def failed(
        self, endpoint: Endpoint, job: Job, fault: Exception, noticed: dict[str, int]
    ) -> None:
        """A guard refused the rows, or the model raised: that is recorded too, before it is
        told.
        """
        asking: Asking = job.context
        code = fault.code if isinstance(fault, Error) else "CM-MODEL"
        self.metrics.count("casemate_failed", endpoint.name, endpoint.version, code)
        seen = asking.seen
        if isinstance(fault, RequestError) and fault.http_status < 500:
            seen.refusals += 1
            seen.refused += job.asked.count
        else:
            seen.failures += 1
        self._notice(endpoint, noticed)
        self._record(
            endpoint,
            job,
            b"",
            b"",
            noticed,
            code,
            time.perf_counter() - asking.began,
            self.refusals.reply(fault),
        )

    def _counted(
        self,
        endpoint: Endpoint,
        asking: Asking,
        count: int,
        codes: list[int],
        noticed: dict[str, int],
        seconds: float,
    ) -> None:
        seen, metrics = asking.seen, self.metrics
        seen.answers += 1
        seen.rows += count
        seen.seconds += seconds
        # who reads metrics must not learn more than who asked
        told = asking.future is not None and asking.shown.show != "aggregate"
        for code in codes:
            seen.labels[code] = seen.labels.get(code, 0) + 1
            for name in endpoint.carried(code) if told else []:
                metrics.count("casemate_labels", endpoint.name, endpoint.version, name)
        metrics.count(
            "casemate_rows", endpoint.name, endpoint.version, asking.version.part, by=count
        )
        metrics.count("casemate_answers", endpoint.name, endpoint.version)
        metrics.count("casemate_model_seconds", endpoint.name, endpoint.version, by=seconds)
        self._notice(endpoint, noticed)

    def _notice(self, endpoint: Endpoint, noticed: dict[str, int]) -> None:
        for guard, rows in noticed.items():
            self.metrics.count("casemate_guarded", endpoint.name, endpoint.version, guard, by=rows)

    def _record(
        self,
        endpoint: Endpoint,
        job: Job,
        labels: bytes,
        probabilities: bytes,
        noticed: dict[str, int],
        refused: str,
        seconds: float,
        reply: Reply,
    ) -> None:
        asking: Asking = job.context
        now = time.time()
        if asking.future is not None:
            self.quota.served(
                asking.caller.principal.uid,
                endpoint.name,
                job.asked.rows,
                job.asked.count,
                sum(noticed.values()),
                now,
            )
        # The digest is always kept, the rows only on request: with either the answer can be given
        # again and compared.
        rows = rows_bytes(job.asked.rows)
        prediction = Prediction(
            id=request_id(self.audit.writer, asking.number),
            time=round(now, 3),
            principal=asking.caller.principal.uid,
            token=asking.caller.token,
            model=endpoint.reference,
            part=asking.version.part,
            rows=job.asked.count,
            input=sha256(rows),
            labels=labels,
            probabilities=probabilities,
            shown=asking.shown.show,
            guards=noticed,
            refused=refused,
            micros=int(seconds * 1e6),
            trace=asking.trace,
            people=job.asked.people,
        )
        waiting = (asking.future, reply)
        self.audit.predicted(
            asking.number,
            _ENCODER.encode(prediction),
            rows if self._keeps_rows else None,
            waiting if self._durable else None,
            job.asked.people,
        )
        # A durable answer waits in `release` until its record is on the disk; this one goes now,
        # but never while nothing can be recorded.
        if not self._durable:
            if self.audit.fault is not None or self.audit.failing is not None:
                reply = self.refusals.reply(BackendError("predictions cannot be recorded"))
            _give(asking.future, reply)

    def release(
        self,
        waiting: list[tuple[asyncio.Future[Reply] | None, Reply] | None],
        fault: Exception | None,
    ) -> None:
        """Records are durable, or could not be made so: let the answers go, or say so. Called in
        the event loop.
        """
        if fault is not None and not isinstance(fault, Error):
            fault = BackendError(f"predictions cannot be recorded: {fault}")
        for one in waiting:
            if one is not None:
                _give(one[0], one[1] if fault is None else self.refusals.reply(fault))


def _give(future: asyncio.Future[Reply] | None, reply: Reply) -> None:
    if future is not None and not future.done():
        future.set_result(reply)
