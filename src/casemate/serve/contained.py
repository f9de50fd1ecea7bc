"""One verified model in a container of SageMaker, without a project and without a way out: `/ping`
and `/invocations` on port 8080.

Who may ask is IAM's to decide, before a request comes here. There is no log of the project's: of
each request a line goes to standard output, which SageMaker takes to CloudWatch, without rows and
answers; those are in what SageMaker captures, if the endpoint says so.
Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import asyncio
import signal
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import uvicorn

from casemate.config import ServeTable
from casemate.config.container import SETTING, ContainerTable
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, Wrong
from casemate.serve import bodies, outputs
from casemate.serve.batch import Batcher, Job
from casemate.serve.bodies import Receive, Scope
from casemate.serve.connections import Entry
from casemate.serve.endpoint import Endpoint
from casemate.serve.guard import Unfit
from casemate.serve.http import Bounded, settings, sweep
from casemate.serve.ports import listen
from casemate.serve.protocols import invocations
from casemate.serve.refusals import NotFound, Overloaded, WrongMethod, require_fit, told_of
from casemate.serve.types import Answer, Array, Reply
from casemate.stages.release.bundle import VerifiedModel

MOST_WAITING = 1000
KEEP_ALIVE, DRAIN = 75.0, 25
"""Seconds: of a connection that is idle, and between SIGTERM and the end; SageMaker kills after
30.
"""


class Line(msgspec.Struct, frozen=True):
    """What is told of a request."""

    time: float
    """Seconds since 1970."""
    id: str
    model: str
    status: int
    code: str
    """Of a refusal."""
    rows: int
    body: str
    """Its SHA-256, in hexadecimal."""
    seconds: float
    noticed: dict[str, int]
    """Rows that each guard noticed."""


def told(text: str | None) -> ContainerTable:
    """What the container was told of the project.

    Raises:
        ConfigError: nothing, or nothing that can be read.
    """
    try:
        return msgspec.json.decode(text or "", type=ContainerTable)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ConfigError(
            f"{SETTING} does not say which model is meant",
            hint="give the container what `casemate deploy sagemaker` rendered for it",
        ) from None


def require_meant(digest: str, table: ContainerTable) -> None:
    """RefusedError when the model's signature is not the one that the container is for."""
    if digest != table.bundle:
        raise RefusedError(
            f"the model's signature is sha256:{digest}, this container is for"
            f" sha256:{table.bundle}",
            hint="put the model there that was rendered, or render again",
        )


class Contained:
    """The application."""

    def __init__(
        self, endpoint: Endpoint, table: ContainerTable, tell: Callable[[bytes], None]
    ) -> None:
        """Wire it.

        Args:
            endpoint: the model.
            table: what the container was told.
            tell: takes a line of JSON for each request.
        """
        self.endpoint, self.table, self._tell = endpoint, table, tell
        self._most = int(table.max_body_mb * 2**20)
        self._batcher = Batcher(endpoint, table.deadline, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Any) -> None:
        """One request."""
        reply = await self._reply(scope, receive)
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive) -> Reply:
        try:
            if scope["path"] == "/ping":
                _require(scope, "GET")
                require_fit(self.endpoint)
                return Reply(200, [], b"")
            if scope["path"] != "/invocations":
                raise NotFound("there are /ping and /invocations")
            _require(scope, "POST")
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever asked gets an answer
            return told_of(error)
        return await self._invoked(scope, receive)

    async def _invoked(self, scope: Scope, receive: Receive) -> Reply:
        began, body, job = time.perf_counter(), b"", None
        try:
            require_fit(self.endpoint)
            if self._batcher.waiting >= MOST_WAITING:
                raise Overloaded("too many requests wait")
            headers = dict(scope["headers"])
            body = await bodies.read(scope, headers, receive, self._most)
            body = bodies.inflated(headers, body, self._most)
            asked = invocations.read(
                self.endpoint,
                body,
                headers.get(b"content-type", b""),
                self.table.max_rows,
                headers.get(b"accept", b""),
            )
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            job = Job(asked, time.perf_counter(), {}, done)
            self._batcher.submit(job)
            reply: Reply = await done
        except Exception as error:  # noqa: BLE001 - whatever it was, whoever asked gets an answer
            reply = told_of(error)
        line = Line(
            time.time(),
            str(uuid.uuid4()),
            self.endpoint.reference,
            reply.status,
            reply.code,
            0 if job is None else job.asked.count,
            sha256(body),
            round(time.perf_counter() - began, 6),
            {} if job is None else job.context,
        )
        self._tell(msgspec.json.encode(line) + b"\n")
        return reply

    def answered(
        self,
        endpoint: Endpoint,
        job: Job,
        codes: list[int],
        probabilities: Array,
        noticed: dict[str, int],
    ) -> None:
        """See `BatchListener`."""
        if not np.isfinite(probabilities).all():
            rows = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
            raise Unfit.rows_of(
                [Wrong(int(row), "", "the model has no finite answer") for row in rows]
            )
        shown = outputs.shown(endpoint, codes, probabilities, self.table.outputs)
        headers, body = job.asked.encode(endpoint, Answer(shown, noticed))
        job.context.update(noticed)
        _done(job, Reply(200, headers, body))

    def failed(
        self, endpoint: Endpoint, job: Job, fault: Exception, noticed: dict[str, int]
    ) -> None:
        """See `BatchListener`."""
        job.context.update(noticed)
        _done(job, told_of(fault))


def _done(job: Job, reply: Reply) -> None:
    if not job.done.done():
        job.done.set_result(reply)


def _require(scope: Scope, method: str) -> None:
    if scope["method"] != method:
        raise WrongMethod(method)


def load(model: VerifiedModel, table: ContainerTable) -> Endpoint:
    """The model behind its guards.

    Raises:
        ConfigError: callers shall see noisy counts, which a project's ledger pays for.
    """
    if table.outputs.show == "aggregate":
        raise ConfigError(
            "noisy counts need the ledger of a project, and a container has none",
            hint='[serve.outputs] show = "label" tells least without one',
        )
    served = ServeTable(
        guard=table.guard, outputs=table.outputs, extra=table.extra, deadline=table.deadline
    )
    return Endpoint.load(model, served, table.missing)


def serve(endpoint: Endpoint, table: ContainerTable, port: int) -> None:
    """Answer until SIGTERM; begun requests are answered first. BackendError: the port is taken."""

    def tell(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    config = settings(
        Contained(endpoint, table, tell),
        _Kept,
        lifespan="off",
        timeout_graceful_shutdown=DRAIN,
    )
    # uvicorn ends on the signal and then raises it again: an end that was asked for is a good one
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with listen("0.0.0.0", port, "--port") as listener:  # noqa: S104 - SageMaker asks from outside
            _Server(config).run([listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        endpoint.close()


class _Kept(Bounded):
    """A connection of SageMaker's own: nobody else reaches the port."""

    keep_alive = KEEP_ALIVE

    def connection_made(self, transport: Any) -> None:
        self.entry = Entry("")
        self.entry.known = True
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """uvicorn's server, which ends connections that take too long."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._sweeping = asyncio.create_task(sweep(self.server_state.connections))

    async def shutdown(self, sockets: Any = None) -> None:
        await super().shutdown(sockets)
        self._sweeping.cancel()
