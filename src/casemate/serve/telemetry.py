"""What operators see of every request besides the metrics: one line of JSON in a log, and a span at
an OpenTelemetry collector.

Neither holds rows or answers. Both are told after the reply is made, and neither can fail a
request: lines that cannot be written are counted as `casemate_untold` and forgotten, spans are what
the SDK makes of them.
"""

import asyncio
import datetime
import logging
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from casemate import __version__
from casemate.config import ServeTable
from casemate.core.errors import ConfigError
from casemate.serve.metrics import Metrics

MOST_WAITING = 100_000
"""Lines that wait for a file; what comes on top is lost."""
WRITE_SECONDS = 0.5
"""Between writes: what a killed worker loses of its counts at most."""
SEND_SECONDS = 3.0
"""How long a collector may take, also when the gateway ends."""


class Seen(NamedTuple):
    """One request, as a log line tells it."""

    time: float
    """When it came, in seconds since 1970."""
    id: str
    """`x-request-id` of the reply."""
    trace: str
    """`traceparent` of the caller (W3C Trace Context)."""
    principal: str
    """Who asked; empty for a stranger."""
    method: str
    route: str
    """Name of the route, as in the metrics."""
    model: str
    """What the caller called it; empty where no model is asked."""
    status: int
    code: str
    """Code of the refusal."""
    micros: int
    size: int
    """Bytes of the reply's body."""


Tell = Callable[[Seen], None]


class Queue(ABC):
    """Requests that are written down twice a second: a request does no more than queue what was
    seen of it.
    """

    def __init__(self, kind: str, metrics: Metrics) -> None:
        """Nothing waits yet.

        Args:
            kind: of what is lost, in `casemate_untold`.
            metrics: where that is counted.
        """
        self._kind, self._metrics = kind, metrics
        self._seen: list[Seen] = []

    def __call__(self, seen: Seen) -> None:
        """Queue a request."""
        if len(self._seen) >= MOST_WAITING:
            self._metrics.count("casemate_untold", self._kind)
            return
        self._seen.append(seen)

    def write(self) -> None:
        """Write down what waits."""
        waiting, self._seen = self._seen, []
        if not waiting:
            return
        try:
            self._append([self._line(seen) for seen in waiting])
        except OSError:
            self._metrics.count("casemate_untold", self._kind, by=len(waiting))

    @abstractmethod
    def _line(self, seen: Seen) -> bytes:
        """A request as a line, without its end."""

    @abstractmethod
    def _append(self, lines: list[bytes]) -> None:
        """Write lines; OSError where that fails."""

    async def watch(self) -> None:
        """Write what waits, again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await asyncio.to_thread(self.write)

    def close(self) -> None:
        """Write what is left."""
        self.write()


class RequestLog(Queue):
    """Lines of JSON in a file, which is opened anew each time, so that it may be moved away."""

    def __init__(self, target: str, root: Path, metrics: Metrics) -> None:
        """Try the target.

        Args:
            target: a file, relative to `root`; `-` is standard output.
            root: the project's folder.
            metrics: where lost lines are counted.

        Raises:
            ConfigError: the file cannot be written.
        """
        super().__init__("log", metrics)
        self._path = None if target == "-" else root / target
        self._encoder = msgspec.json.Encoder()
        try:
            self._append([])
        except OSError as error:
            raise ConfigError(
                f"[serve] request_log = {target!r} cannot be written: {error.strerror}",
                hint="name a file in a folder that exists",
            ) from error

    def _line(self, seen: Seen) -> bytes:
        told = seen._asdict()
        told["time"] = datetime.datetime.fromtimestamp(seen.time, datetime.UTC).isoformat(
            timespec="milliseconds"
        )
        return self._encoder.encode(told)

    def _append(self, lines: list[bytes]) -> None:
        content = b"".join(line + b"\n" for line in lines)
        if self._path is None:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
            return
        with open(self._path, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(content)


class Traces:
    """A server span a request, sent by a thread of the OpenTelemetry SDK; the caller's
    `traceparent` is its parent.

    Attributes are those of the semantic conventions for HTTP
    (https://opentelemetry.io/docs/specs/semconv/http/http-spans/).
    """

    def __init__(self, url: str, share: float) -> None:
        """Start the thread.

        Args:
            url: of a collector that takes OTLP over HTTP; its headers come from
                `OTEL_EXPORTER_OTLP_HEADERS`.
            share: of the requests without a `traceparent`; a caller's own decision holds for
                theirs.

        Raises:
            ConfigError: the extra is not installed.
        """
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise ConfigError(
                "[serve] traces needs OpenTelemetry", hint="pip install 'casemate[traces]'"
            ) from error
        self._provider: Any = TracerProvider(
            resource=Resource.create({"service.name": "casemate", "service.version": __version__}),
            sampler=ParentBased(TraceIdRatioBased(share)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=SEND_SECONDS))
        )
        # what failed for good is said, not every try
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        self._tracer = self._provider.get_tracer("casemate", __version__)
        self._parent = TraceContextTextMapPropagator().extract
        self._kind, self._error = trace.SpanKind.SERVER, trace.Status(trace.StatusCode.ERROR)

    def __call__(self, seen: Seen) -> None:
        """Queue a span."""
        began = int(seen.time * 1e9)
        span = self._tracer.start_span(
            f"{seen.method} {seen.route}",
            context=self._parent({"traceparent": seen.trace}),
            kind=self._kind,
            start_time=began,
        )
        if span.is_recording():
            span.set_attributes(
                {
                    "http.request.method": seen.method,
                    "http.route": seen.route,
                    "http.response.status_code": seen.status,
                    "http.response.body.size": seen.size,
                    "casemate.model": seen.model,
                    "casemate.request_id": seen.id,
                    **({"error.type": seen.code} if seen.code else {}),
                }
            )
            if seen.status >= 500:
                span.set_status(self._error)
        span.end(began + seen.micros * 1000)

    async def watch(self) -> None:
        """The SDK has a thread of its own."""

    def close(self) -> None:
        """Send what is left."""
        # the SDK would wait 30 s for a collector that is not there
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(SEND_SECONDS)


def observers(table: ServeTable, root: Path, metrics: Metrics) -> list[RequestLog | Traces]:
    """Whoever is told of every request, as `[serve]` says."""
    found: list[RequestLog | Traces] = []
    if table.request_log:
        found.append(RequestLog(table.request_log, root, metrics))
    if table.traces:
        found.append(Traces(table.traces, table.traces_share))
    return found
