"""The gateway: who calls, may they, what do they ask, what does the model say, what is recorded; a
request is bytes, so is its reply.

`infer` is the hot path, and reads as the list of its layers; `python bench/run.py layers` prints
what each of them costs. Every request needs valid credentials before anything is said, unknown
paths included; but whoever watches over the process may ask without any whether it lives and is
ready (`PROBES`), and hears no more than that.
"""

import asyncio
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from casemate import __version__
from casemate.config import OutputsTable, ServeTable
from casemate.controls.access.policy import Resource
from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.decisions import Decisions, Prediction, nobodys, request_id
from casemate.core.digest import sha256
from casemate.core.errors import AccessDenied, BackendError, ConfigError, Error, RequestError, Wrong
from casemate.ml.frame import rows_bytes
from casemate.serve import bodies, openapi, outputs
from casemate.serve.admission import Admission, Caller, Unauthenticated
from casemate.serve.aggregates import Aggregates
from casemate.serve.batch import Job
from casemate.serve.bodies import Receive, Scope
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import MOST_TOLD, Unfit
from casemate.serve.health import Health
from casemate.serve.login import MAX_BODY, Login
from casemate.serve.metrics import CONTENT_TYPE, Metrics
from casemate.serve.model_set import ModelSet
from casemate.serve.protocols import invocations, oip, oip_grpc
from casemate.serve.protocols.interface import Asked
from casemate.serve.quota import Quota, TooMany
from casemate.serve.routes import Found, Router
from casemate.serve.telemetry import Seen, Tell
from casemate.serve.types import JSON, Answer, Array, FeedbackBody, Reply
from casemate.serve.versions import Statistics, Version

EXTENSIONS = ["binary_tensor_data"]
MOST_TRACE = 64
"""Characters of a caller's trace, or request id, that are kept: a W3C `traceparent` has 55."""
LARGE_BODY = 128 * 1024
"""Bytes from which a body is read in a thread."""
PROBES = {"/v2/health/live": "live", "/v2/health/ready": "ready", "/ping": "ping"}
"""Paths that answer without credentials, catalogue or key server, and the names of their routes."""
SLOW_COMMIT_SECONDS = 5.0
"""After so long a commit that is going on counts as one that fails: those who wait for it would not
wait longer.
"""
TURN_AWAY_SECONDS = 0.25
"""How long a caller waits to hear that there is no room."""


_WITHDRAWN = {
    "signature": "the model is withdrawn, because it does not verify any more",
    "stuck": "the model is withdrawn, because it came to no end again and again",
}


class NotFound(RequestError):
    """No such path or model."""

    code = "CM-NOT-FOUND"
    http_status = 404


class WrongMethod(RequestError):
    """The path exists, the method does not."""

    code = "CM-METHOD"
    http_status = 405


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


@dataclass(slots=True)
class _Asking:
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


class Gateway:
    """The gateway's application, without its protocol: a request's way through all layers."""

    def __init__(
        self,
        table: ServeTable,
        admission: Admission,
        quota: Quota,
        metrics: Metrics,
        model_set: ModelSet,
        audit: GroupCommit,
        decisions: Decisions,
        aggregates: Aggregates,
        health: Health,
        observers: Sequence[Tell] = (),
    ) -> None:
        """Wire it.

        Args:
            table: the `[serve]` table.
            admission: who calls, and what they may.
            quota: what callers may use.
            metrics: what is counted.
            model_set: what is served.
            audit: where predictions and refusals are recorded.
            decisions: finds earlier predictions.
            aggregates: counts with noise for who may see no more.
            health: what does not work just now.
            observers: told of every request.
        """
        self.table = table
        self.admission, self.quota, self.metrics, self.model_set, self.audit = (
            admission,
            quota,
            metrics,
            model_set,
            audit,
        )
        self.decisions, self.aggregates, self.health = decisions, aggregates, health
        self._observers = observers
        self.login = Login(admission.point)
        self.max_body = int(self.table.max_body_mb * 2**20)
        self.draining = False
        # What policy is asked, best first, and what each of them shows.
        own = self.table.outputs
        self._shown = {
            "model:infer": own,
            "model:infer-label": outputs.LABEL_ONLY if own.show != "aggregate" else own,
            "model:infer-aggregate": outputs.AGGREGATE,
        }
        self._keeps_rows = self.table.inputs == "sealed"
        self._durable = self.table.audit == "durable"
        self._find = Router()
        self._number = 0
        self._in_flight = self._turned_away = 0
        self._refused_since = 0
        self._refused_told = 0.0

    async def handle(self, scope: Scope, receive: Receive) -> Reply:
        """The reply to one HTTP request (an ASGI scope), or to what `serve.grpc` makes look like
        one; never raises.
        """
        began = time.perf_counter()
        self._number = number = self._number + 1
        self._in_flight += 1
        name, caller, found = "refused", None, None
        try:
            probe = PROBES.get(scope.get("path", ""))
            if probe is not None and scope["method"] in ("GET", "HEAD"):
                name, reply = probe, self._probed(probe)
            else:
                caller = self._caller(scope)
                found = self._find(scope["locate"]() if "locate" in scope else scope["path"])
                if found is None:
                    raise NotFound("no such path")
                name = found.route.name
                if name in ("infer", "invocations"):
                    reply = await self.infer(scope, receive, caller, found, number, began)
                else:
                    reply = await self._other(scope, receive, caller, found)
        except Error as error:
            reply = self._refusal(error)
            name = "refused" if isinstance(error, AccessDenied | NotFound) else name
        except Exception as error:  # noqa: BLE001 - the HTTP edge: nothing about the inside leaves
            reply = Reply(500, JSON, b'{"error":"internal error"}', type(error).__name__)
        finally:  # a caller over gRPC who gives up cancels this
            self._in_flight -= 1
        seconds = time.perf_counter() - began
        self.metrics.count("casemate_requests", name, str(reply.status))
        self.metrics.observe(name, seconds)
        identifier = request_id(self.audit.writer, number)
        if self._observers:
            self._told(scope, identifier, caller, name, found, reply, seconds)
        if reply.status == 401:  # one answer for all strangers, to the last header
            return reply
        return reply._replace(headers=[*reply.headers, (b"x-request-id", identifier.encode())])

    def _caller(self, scope: Scope) -> Caller:
        """Who calls. The metrics are there for whoever was allowed to read them lately, also while
        the catalogue is away.
        """
        try:
            caller = self.admission.authenticate(scope)
        except Error as error:
            known = (
                None
                if isinstance(error, AccessDenied | RequestError) or scope.get("path") != "/metrics"
                else self.admission.remembered(scope)
            )
            if known is None:
                raise
            return known
        known = scope.get("known")
        if known is not None and not known():
            raise Overloaded("the gateway has as many callers as it can")
        return caller

    def _told(
        self,
        scope: Scope,
        identifier: str,
        caller: Caller | None,
        route: str,
        found: Found | None,
        reply: Reply,
        seconds: float,
    ) -> None:
        trace = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        seen = Seen(
            time=time.time() - seconds,
            id=identifier,
            trace=trace[:MOST_TRACE].decode("ascii", "replace"),
            principal="" if caller is None else caller.principal.uid,
            method=scope["method"],
            route=route,
            model="" if found is None else found.model,
            status=reply.status,
            code=reply.code,
            micros=int(seconds * 1e6),
            size=len(reply.body),
        )
        for tell in self._observers:
            tell(seen)

    async def infer(
        self,
        scope: Scope,
        receive: Receive,
        caller: Caller,
        found: Found,
        number: int,
        began: float,
    ) -> Reply:
        """A prediction: from bytes to bytes."""
        headers = dict(scope["headers"])
        await self._require_room()
        alias = self._alias(found)
        # What policy forbids is refused before a body is read, so that nobody without a right makes
        # the gateway work.
        shown = self._permitted(caller, alias)
        self._require_method(scope, found)
        self.quota.enter(uid := caller.principal.uid)
        model, rows = "", 0
        try:
            whole = scope.get("whole")
            body = await bodies.read(scope, headers, receive, self.max_body)
            if not whole:  # a body takes its time, and much may have changed meanwhile
                caller = self.admission.authenticate(scope, counted=False)
                shown = self._permitted(caller, alias)
            version = self._chosen(alias, found.version, caller)
            asked = await self._understood(version.endpoint, alias, found, scope, headers, body)
            # Rows count only now: how many there are is known from the body alone.
            self.quota.reserve(uid, version.endpoint.name, asked.count)
            model, rows = version.endpoint.name, asked.count
            if shown.show == "aggregate":
                await asyncio.to_thread(
                    self.aggregates.pay, uid, version.endpoint, asked.rows, asked.count
                )
            seen = version.seen if found.version is None else Statistics()
            reply = await self._asked(
                _Asking(caller, number, began, _trace(headers), shown, version, seen), alias, asked
            )
        # Also where it went wrong: a place that is never given back would shut its caller out.
        finally:
            self.quota.leave(uid, model, rows)
        return bodies.deflated(reply, headers.get(b"accept-encoding", b""))

    async def _require_room(self) -> None:
        if not self._full and not self.draining:
            return
        if not self.draining:  # who asks again at once must not take the time of those who are in
            self._turned_away += 1
            try:
                await asyncio.sleep(TURN_AWAY_SECONDS)
            finally:
                self._turned_away -= 1
        raise Overloaded("the gateway holds as many requests as it can")

    @property
    def _full(self) -> bool:
        return self._in_flight - self._turned_away > self.table.max_waiting

    def _alias(self, found: Found) -> str:
        if found.model:
            return found.model
        if len(self.model_set.served) != 1:
            raise NotFound("several models are served here: ask /v2/models/NAME/invocations")
        return next(iter(self.model_set.served))

    def _permitted(self, caller: Caller, alias: str) -> OutputsTable:
        """How much of an answer policy lets the caller see; AccessDenied when it is nothing."""
        served = self.model_set.served.get(alias)
        resource = Resource("Model", served.model if served is not None else alias)
        for action, shown in self._shown.items():
            if self.admission.allows(caller, action, resource):
                return shown
        raise self.admission.denied(caller, "model:infer", resource)

    def _require_method(self, scope: Scope, found: Found) -> None:
        method = scope["method"]
        if method != found.route.method and not (method == "HEAD" and found.route.method == "GET"):
            raise WrongMethod(f"{found.route.method} is offered here")

    def _chosen(self, alias: str, number: str | None, caller: Caller) -> Version:
        served = self.model_set.served.get(alias)
        version = None
        if served is not None:
            version = (
                served.choose(caller.principal.uid) if number is None else served.version(number)
            )
        if version is None:
            raise NotFound("no such model or path")
        self._require_fit(version.endpoint)
        return version

    def _require_fit(self, endpoint: Endpoint) -> None:
        if endpoint.withdrawn:
            raise Withdrawn(_WITHDRAWN["stuck" if "stuck" in endpoint.faults else "signature"])
        if endpoint.ends <= time.time():
            raise WaiverEnded("the waiver by which this model passed has ended")

    async def _understood(
        self,
        endpoint: Endpoint,
        alias: str,
        found: Found,
        scope: Scope,
        headers: dict[bytes, bytes],
        body: bytes,
    ) -> Asked:
        """The rows in a body; what takes long is read beside the other requests."""

        def read() -> Asked:
            if "message" in scope:
                return oip_grpc.read(endpoint, alias, scope["message"], self.table.max_rows)
            plain = bodies.inflated(headers, body, self.max_body)
            if found.route.name == "infer":
                return oip.read(
                    endpoint,
                    alias,
                    plain,
                    _length(headers.get(b"inference-header-content-length")),
                    self.table.max_rows,
                )
            kind, accept = (
                headers.get(b"content-type", b"application/json"),
                headers.get(b"accept", b""),
            )
            return invocations.read(endpoint, plain, kind, self.table.max_rows, accept)

        # Features of raw columns take milliseconds to make, even of one row.
        small = "message" in scope or (
            len(body) < LARGE_BODY and b"content-encoding" not in headers
        )
        return read() if small and endpoint.raw is None else await asyncio.to_thread(read)

    async def _asked(self, asking: _Asking, alias: str, asked: Asked) -> Reply:
        """Queue the rows before the model, and those for a shadow too; the reply comes once it may
        leave.
        """
        loop, now = asyncio.get_running_loop(), time.perf_counter()
        future: asyncio.Future[Reply] = loop.create_future()
        asking.future = future
        asking.version.batcher.submit(Job(asked, now, asking, future))
        shadow = self.model_set.served[alias].shadow
        if (
            shadow is not None
            and not shadow.endpoint.withdrawn
            and shadow.batcher.waiting < self.table.max_waiting
        ):
            unheard = _Asking(
                asking.caller,
                asking.number,
                asking.began,
                asking.trace,
                asking.shown,
                shadow,
                shadow.seen,
            )
            shadow.batcher.submit(Job(asked, now, unheard, loop.create_future()))
        return await future

    def answered(
        self,
        endpoint: Endpoint,
        job: Job,
        codes: list[int],
        probabilities: Array,
        noticed: dict[str, int],
    ) -> None:
        """The model has spoken: encode, record, and let go what may leave."""
        asking: _Asking = job.context
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
        asking: _Asking = job.context
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
            self._refusal(fault),
        )

    def _counted(
        self,
        endpoint: Endpoint,
        asking: _Asking,
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
            if told:
                metrics.count(
                    "casemate_labels", endpoint.name, endpoint.version, endpoint.classes[code]
                )
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
        asking: _Asking = job.context
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
        )
        waiting = (asking.future, reply)
        self.audit.predicted(
            asking.number,
            _ENCODER.encode(prediction),
            rows if self._keeps_rows else None,
            waiting if self._durable else None,
        )
        if not self._durable:
            if self.audit.fault is not None or self.audit.failing is not None:
                reply = self._refusal(BackendError("predictions cannot be recorded"))
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
                _give(one[0], one[1] if fault is None else self._refusal(fault))

    def _refusal(self, error: Exception) -> Reply:
        if not isinstance(error, Error):
            return Reply(
                500, JSON, b'{"error":"the model could not answer these rows"}', "CM-MODEL"
            )
        if isinstance(error, Unauthenticated):
            return self._stranger()
        if isinstance(error, AccessDenied):
            self.metrics.count("casemate_denied", "policy")
            return Reply(403, JSON, b'{"error":"not permitted"}', error.code)
        headers = JSON
        if isinstance(error, TooMany):
            self.metrics.count("casemate_limited", error.limit)
            headers = [*JSON, (b"retry-after", b"%d" % error.wait)]
        elif error.http_status == 503:
            self.metrics.count("casemate_limited", error.code)
            headers = [*JSON, (b"retry-after", b"1")]
        if isinstance(error, RequestError):
            told: dict[str, Any] = {"error": error.message, "code": error.code}
            if error.rows:
                told["rows"] = error.rows[:MOST_TOLD]
            return Reply(error.http_status, headers, _json(told), error.code)
        return Reply(
            error.http_status, headers, b'{"error":"the gateway cannot answer now"}', error.code
        )

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

    async def _other(self, scope: Scope, receive: Receive, caller: Caller, found: Found) -> Reply:
        route, name = found.route, found.model
        served = self.model_set.served.get(name)
        try:
            self.admission.require(
                caller,
                route.action,
                (
                    Resource("Model", served.model if served is not None else name)
                    if name
                    else Resource()
                ),
            )
        except Error as error:
            if (
                isinstance(error, AccessDenied | RequestError)
                or route.name != "metrics"
                or self.admission.remembered(scope) is None
            ):
                raise
        else:
            if route.name == "metrics":
                self.admission.remember(scope, caller)
        self._require_method(scope, found)
        if route.name.startswith("login"):
            return Reply(200, JSON, await self._own_login(route.name, route.method, scope, receive))
        if not name:
            return self._about_the_gateway(route.name)
        if route.name == "feedback":
            return await self._feedback(
                scope, receive, caller, served.model if served is not None else name
            )
        if (
            served is None
            or (version := served.live if found.version is None else served.version(found.version))
            is None
        ):
            raise NotFound("no such model or path")
        self._require_fit(version.endpoint)
        if route.name == "model-ready":
            return Reply(200, JSON, _json({"name": name, "ready": True}))
        return Reply(
            200,
            JSON,
            _json(
                oip.metadata(
                    version.endpoint,
                    name,
                    [one.endpoint.version for one in served.versions() if one.part != "shadow"],
                )
            ),
        )

    def _about_the_gateway(self, route: str) -> Reply:
        if route == "metrics":
            self.gauge()
            return Reply(200, [(b"content-type", CONTENT_TYPE.encode())], self.metrics.render())
        if route == "openapi":
            return Reply(200, JSON, openapi.document())
        if route == "server":
            return Reply(
                200,
                JSON,
                _json({"name": "casemate", "version": __version__, "extensions": EXTENSIONS}),
            )
        if route == "mlflow-version":
            return Reply(
                200, [(b"content-type", b"text/plain; charset=utf-8")], __version__.encode()
            )
        return self._probed(route)

    def _probed(self, route: str) -> Reply:
        """What anybody may know of the gateway: that it lives, and whether it is ready."""
        if route == "live":
            return Reply(200, JSON, b'{"live":true}')
        ready = self.ready()
        headers = JSON if ready else [*JSON, (b"retry-after", b"1")]
        return Reply(200 if ready else 503, headers, _json({"ready": ready}))

    def gauge(self) -> None:
        """Put what changes all the time where the metrics show it."""
        self.metrics.gauges[("casemate_in_flight",)] = self._in_flight
        self.metrics.gauges[("casemate_unwritten",)] = self.audit.waiting
        self.metrics.gauges[("casemate_ready",)] = int(self.ready())

    def ready(self) -> bool:
        """Whether answers can be given now: records can be written, a model can be asked, there is
        room, and the gateway is not ending.
        """
        self.look()
        return self.health.ready

    def look(self) -> None:
        """See what of this worker does not work."""
        audit, check = self.audit, self.health.check
        slow = audit.committing and time.monotonic() - audit.committing > SLOW_COMMIT_SECONDS
        fault = audit.fault or audit.failing
        if fault is not None:
            self.health.failed("log", fault)
        else:
            check("log", f"a commit takes more than {SLOW_COMMIT_SECONDS:g} s" if slow else "")
        check("models", "" if self.model_set.answering else "no model can be asked")
        check("queue", f"{self.table.max_waiting} requests wait" if self._full else "")
        check("ending", "it was told to end" if self.draining else "")

    async def _feedback(self, scope: Scope, receive: Receive, caller: Caller, model: str) -> Reply:
        """What really was, for an earlier request of the same caller."""
        try:
            headers = dict(scope["headers"])
            body = await bodies.read(scope, headers, receive, self.max_body)
            said = msgspec.json.decode(
                bodies.inflated(headers, body, self.max_body), type=FeedbackBody
            )
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RequestError(f"the body is not as expected: {error}") from error
        uid = caller.principal.uid

        def attach() -> None:
            found, _ = self.decisions.find(said.id)
            if found.principal != uid or found.model.partition("@")[0] != model:
                raise ConfigError(nobodys(said.id))
            self.decisions.feedback(
                uid, said.id, said.outcome if isinstance(said.outcome, list) else [said.outcome]
            )

        try:
            await asyncio.to_thread(attach)
        except ConfigError as error:
            raise RequestError(error.message) from error
        return Reply(200, JSON, _json({"id": said.id, "recorded": True}))

    async def _own_login(self, route: str, method: str, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        body = await bodies.read(scope, headers, receive, MAX_BODY) if method == "POST" else b""
        bearer = headers.get(b"authorization", b"")[7:].decode("ascii", "replace")
        return _json(
            await asyncio.to_thread(
                self.login.answer, route, bearer, scope.get("certificate"), body
            )
        )


_ENCODER = msgspec.json.Encoder()


def _give(future: asyncio.Future[Reply] | None, reply: Reply) -> None:
    if future is not None and not future.done():
        future.set_result(reply)


def _trace(headers: dict[bytes, bytes]) -> str:
    """The trace id of W3C Trace Context, else the request id that the caller sent."""
    given = headers.get(b"traceparent")
    if given is not None:
        parts = given.split(b"-")
        return (
            parts[1].decode("ascii", "replace") if len(parts) >= 4 and len(parts[1]) == 32 else ""
        )
    given = headers.get(b"x-request-id")
    return "" if given is None else given[:MOST_TRACE].decode("ascii", "replace")


def _length(header: bytes | None) -> int | None:
    if header is None:
        return None
    if not header.isdigit() or len(header) > 12:
        raise RequestError("Inference-Header-Content-Length is no number")
    return int(header)


def _json(value: Any) -> bytes:
    return _ENCODER.encode(value)
