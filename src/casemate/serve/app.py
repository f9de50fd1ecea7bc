"""The gateway: who calls, may they, what do they ask, what does the model say, what is recorded; a
request is bytes, so is its reply.

`infer` is the hot path, and reads as the list of its layers; `python bench/run.py layers` prints
what each of them costs. Every request needs valid credentials before anything is said, unknown
paths included; but whoever watches over the process may ask without any whether it lives and is
ready (`OPEN`), and hears no more than that.
"""

import asyncio
import time
from collections.abc import Sequence

from casemate import __version__
from casemate.config import OutputsTable, ServeTable
from casemate.controls.access.policy import Resource
from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.predictions import request_id
from casemate.core.errors import AccessDenied, Error, RequestError
from casemate.serve import bodies, openapi, outputs
from casemate.serve.admission import Admission, Caller
from casemate.serve.aggregates import Aggregates
from casemate.serve.batch import Job
from casemate.serve.bodies import Receive, Scope
from casemate.serve.errands import Errands
from casemate.serve.health import Health
from casemate.serve.metrics import Metrics
from casemate.serve.model_set import ModelSet
from casemate.serve.protocols import oip
from casemate.serve.protocols.interface import Asked
from casemate.serve.quota import Quota
from casemate.serve.reading import understood
from casemate.serve.recording import Asking, Recording
from casemate.serve.refusals import (
    NotFound,
    Overloaded,
    Refusals,
    WrongMethod,
    require_fit,
    require_method,
)
from casemate.serve.routes import OPEN, Found, Router
from casemate.serve.seen import tell, trace_of
from casemate.serve.telemetry import Tell
from casemate.serve.types import JSON, NO_STORE, TEXT, Reply, json_of
from casemate.serve.versions import Version
from casemate.watch.canary import Statistics

EXTENSIONS = ["binary_tensor_data"]
SLOW_COMMIT_SECONDS = 5.0
"""After so long a commit that is going on counts as one that fails: those who wait for it would not
wait longer.
"""
TURN_AWAY_SECONDS = 0.25
"""How long a caller waits to hear that there is no room."""


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
        errands: Errands,
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
            errands: does what callers do beside asking models.
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
        self.errands, self.aggregates, self.health = errands, aggregates, health
        self._observers = observers
        self.max_body = int(self.table.max_body_mb * 2**20)
        self.draining = False
        # What policy is asked, best first, and what each of them shows.
        own = self.table.outputs
        self._shown = {
            "model:infer": own,
            "model:infer-label": outputs.LABEL_ONLY if own.show != "aggregate" else own,
            "model:infer-aggregate": outputs.AGGREGATE,
        }
        self.refusals = Refusals(metrics, audit)
        self.recording = Recording(table, quota, metrics, audit, aggregates, self.refusals)
        self._find = Router()
        self._number = self._in_flight = self._turned_away = 0

    async def handle(self, scope: Scope, receive: Receive) -> Reply:
        """The reply to one HTTP request (an ASGI scope), or to what `serve.grpc` makes look like
        one; never raises.
        """
        began = time.perf_counter()
        self._number = number = self._number + 1
        self._in_flight += 1
        name, caller, found = "refused", None, None
        try:
            probe = OPEN.get(scope.get("path", ""))
            if probe is not None and scope["method"] in ("GET", "HEAD"):
                name, reply = probe, self._probed(probe)
            else:
                caller = self._caller(scope)
                found = self._find(scope["locate"]() if "locate" in scope else scope["path"])
                if found is None:
                    raise NotFound("no such path") if probe is None else WrongMethod("GET", "HEAD")
                name = found.route.name
                if name in ("infer", "invocations"):
                    reply = await self.infer(scope, receive, caller, found, number, began)
                else:
                    reply = await self._other(scope, receive, caller, found)
        except Error as error:
            reply = self.refusals.reply(error)
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
            tell(self._observers, scope, identifier, caller, name, found, reply, seconds)
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
        has_room = scope.get("known")
        if has_room is not None and not has_room():
            raise Overloaded("the gateway has as many callers as it can")
        return caller

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
        require_method(scope, found)
        self.quota.enter(uid := caller.principal.uid)
        model, rows = "", 0
        try:
            whole = scope.get("whole")
            body = await bodies.read(scope, headers, receive, self.max_body)
            if not whole:  # a body takes its time, and much may have changed meanwhile
                caller = self.admission.authenticate(scope, counted=False)
                shown = self._permitted(caller, alias)
            version = self._chosen(alias, found.version, caller)
            shown = outputs.within(version.endpoint, shown)
            asked = await understood(
                self.table, self.max_body, version.endpoint, alias, found, scope, headers, body
            )
            await self.errands.signals.heed(headers, asked.people)
            # Rows count only now: how many there are is known from the body alone.
            self.quota.reserve(uid, version.endpoint.name, asked.count)
            model, rows = version.endpoint.name, asked.count
            if shown.show == "aggregate":
                await asyncio.to_thread(
                    self.aggregates.pay, uid, version.endpoint, asked.rows, asked.count
                )
            seen = version.seen if found.version is None else Statistics()
            reply = await self._asked(
                Asking(caller, number, began, trace_of(headers), shown, version, seen), alias, asked
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

    def _chosen(self, alias: str, number: str | None, caller: Caller) -> Version:
        served = self.model_set.served.get(alias)
        version = None
        if served is not None:
            version = (
                served.choose(caller.principal.uid) if number is None else served.version(number)
            )
        if version is None:
            raise NotFound("no such model or path")
        require_fit(version.endpoint)
        return version

    async def _asked(self, asking: Asking, alias: str, asked: Asked) -> Reply:
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
            unheard = Asking(
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
            # The catalogue is away: who was let in a moment ago may still see how the gateway is,
            # for that is when it is looked at.
            if (
                isinstance(error, AccessDenied | RequestError)
                or route.name != "metrics"
                or self.admission.remembered(scope) is None
            ):
                raise
        else:
            if route.name == "metrics":
                self.admission.remember(scope, caller)
        require_method(scope, found)
        if route.name.startswith("login"):
            return Reply(
                200, JSON, await self.errands.own_login(route.name, route.method, scope, receive)
            )
        if route.name.startswith("incident"):
            return await self.errands.incidents.answer(found, scope, receive, caller)
        if route.name.startswith("consent"):
            return await self.errands.consent(route.name, scope, receive)
        if not name:
            return self._about_the_gateway(route.name, scope)
        if route.name == "feedback":
            return await self.errands.feedback(
                scope, receive, caller, served.model if served is not None else name
            )
        if (
            served is None
            or (version := served.live if found.version is None else served.version(found.version))
            is None
        ):
            raise NotFound("no such model or path")
        require_fit(version.endpoint)
        if route.name == "model-ready":
            return Reply(200, JSON, json_of({"name": name, "ready": True}))
        return Reply(
            200,
            JSON,
            json_of(
                oip.metadata(
                    version.endpoint,
                    name,
                    [one.endpoint.version for one in served.versions() if one.part != "shadow"],
                )
            ),
        )

    def _about_the_gateway(self, route: str, scope: Scope) -> Reply:
        if route == "metrics":
            self.gauge()
            accepted = [value for name, value in scope["headers"] if name == b"accept"]
            kind, page = self.metrics.render(b",".join(accepted).decode("latin-1"))
            return Reply(200, [(b"content-type", kind.encode()), NO_STORE], page)
        if route == "openapi":
            return Reply(200, JSON, openapi.document())
        if route == "server":
            return Reply(
                200,
                JSON,
                json_of(oip.server(__version__, EXTENSIONS, self.admission.epoch)),
            )
        if route == "mlflow-version":
            return Reply(200, TEXT, __version__.encode())
        return self._probed(route)

    def _probed(self, route: str) -> Reply:
        """What anybody may know of the gateway: that it lives, and whether it is ready."""
        if route == "gpc":
            return self.errands.signals.support()
        if route == "live":
            return Reply(200, JSON, b'{"live":true}')
        ready = self.ready()
        headers = JSON if ready else [*JSON, (b"retry-after", b"1")]
        return Reply(200 if ready else 503, headers, json_of({"ready": ready}))

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
