"""OpenTelemetry over HTTP in JSON: log lines as log records, the watcher's gauges as metrics
(https://opentelemetry.io/docs/specs/otlp, stable; no library is needed for JSON).
"""

import datetime
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from casemate.watch.levels import TOLD
from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.interface import (
    Item,
    Kind,
    Levels,
    Refusal,
    Sent,
    SinkAway,
    reason_of,
)
from casemate.watch.sinks.wire import Place, request, taken

SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17}
"""https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber"""
APART = ("@timestamp", "log.level", "message", "trace.id", "event.id", "ecs.version")
"""Fields of a line that have a place of their own in a log record, or none."""


class _Partial(msgspec.Struct, frozen=True, rename="camel"):
    rejected_log_records: int | str = 0
    rejected_data_points: int | str = 0
    error_message: str = ""


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    partial_success: _Partial | None = None


class Otlp:
    """Sends to one collector."""

    takes: frozenset[Kind] = frozenset({"lines", "gauges"})

    def __init__(
        self, to: Place, resource: dict[str, str], secret: Callable[[], str] | None
    ) -> None:
        """`resource` says what all of it comes from; the secret is a bearer token."""
        self.to, self.secret = to, secret
        self.resource = {"attributes": _attributes(resource)}

    def send(self, batch: Sequence[Item]) -> Sent:
        """See `Sender`. A collector that takes a part does not say which: its number is counted,
        and nothing is sent again (as the protocol demands).
        """
        lines = [item.content for item in batch if isinstance(item.content, LogLine)]
        levels = [item.content for item in batch if isinstance(item.content, Levels)]
        if lines:
            path, body = "/v1/logs", self._logs(lines)
        else:
            path, body = "/v1/metrics", self._metrics(levels)
        headers = {"content-type": "application/json"}
        if self.secret is not None:
            headers["authorization"] = f"Bearer {self.secret()}"
        reply = request(self.to, "POST", path, msgspec.json.encode(body), headers)
        return self._judged(batch, taken(self.to, reply))

    def _judged(self, batch: Sequence[Item], answer: bytes) -> Sent:
        try:
            partial = msgspec.json.decode(answer or b"{}", type=_Answer).partial_success
            rejected = 0 if partial is None else _count(partial)
        except (msgspec.DecodeError, ValueError) as error:
            raise SinkAway(f"{self.to.name} did not answer as a collector does") from error
        if partial is None or not rejected:
            return Sent(accepted=len(batch))
        ids = f"one of {batch[0].id} to {batch[-1].id}" if batch[0].id else "gauges"
        reason = reason_of(f"{ids}, it does not say which: {partial.error_message}")
        # of gauges it counts points, of which a look has many
        number = min(rejected, len(batch))
        refused = [Refusal(id="", reason=reason)] * number
        return Sent(accepted=len(batch) - number, refused=refused)

    def _logs(self, lines: Sequence[LogLine]) -> dict[str, Any]:
        scope = {"scope": {"name": "casemate"}, "logRecords": [_record(line) for line in lines]}
        return {"resourceLogs": [{"resource": self.resource, "scopeLogs": [scope]}]}

    def _metrics(self, looks: Sequence[Levels]) -> dict[str, Any]:
        points: dict[str, list[dict[str, Any]]] = {}
        for look in looks:
            for gauge in look.gauges:
                if math.isfinite(gauge.value):  # JSON has no other numbers
                    point = {
                        "timeUnixNano": _nanoseconds(look.time),
                        "asDouble": gauge.value,
                        "attributes": _attributes(gauge.labels),
                    }
                    points.setdefault(gauge.name, []).append(point)
        metrics = [
            {"name": name, "description": TOLD.get(name, ""), "gauge": {"dataPoints": of}}
            for name, of in points.items()
        ]
        scope = {"scope": {"name": "casemate"}, "metrics": metrics}
        return {"resourceMetrics": [{"resource": self.resource, "scopeMetrics": [scope]}]}


def _count(partial: _Partial) -> int:
    """Of items that were rejected; 64-bit numbers are strings in this JSON."""
    return int(partial.rejected_log_records) + int(partial.rejected_data_points)


def _record(line: LogLine) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(line)
    attributes = {"log.record.uid": line.id}
    attributes |= {name: value for name, value in fields.items() if name not in APART}
    time = _nanoseconds(line.time)
    record = {
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": SEVERITY[line.level],
        "severityText": line.level,
        "body": {"stringValue": line.message},
        "attributes": _attributes(attributes),
    }
    return record | ({"traceId": line.trace} if len(line.trace) == 32 else {})


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "key": name,
            "value": {"intValue": str(value)}
            if isinstance(value, int)
            else {"stringValue": str(value)},
        }
        for name, value in values.items()
    ]


def _nanoseconds(time: str) -> str:
    moment = datetime.datetime.fromisoformat(time)
    seconds = int(moment.replace(microsecond=0).timestamp())
    return str(seconds * 10**9 + moment.microsecond * 1000)
