"""Splunk's HTTP Event Collector. Written to its documentation and never tried with a real one:
https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector.
"""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.interface import Item, Kind, Sent, SinkAway
from casemate.watch.sinks.wire import Place, request, taken

INDEXED = ("event.id", "event.dataset", "event.action", "event.outcome", "log.level")
"""Fields that are found without reading events: `event.id` tells what was sent twice."""


class _Answer(msgspec.Struct, frozen=True):
    code: int


class Splunk:
    """Sends to one collector; its acknowledgements of indexers are not asked for."""

    takes: frozenset[Kind] = frozenset({"lines"})

    def __init__(self, to: Place, host: str, source: str, secret: Callable[[], str]) -> None:
        self.to, self.host, self.source, self.secret = to, host, source, secret

    def send(self, batch: Sequence[Item]) -> Sent:
        """See `Sender`."""
        events = [self._event(item.content) for item in batch if isinstance(item.content, LogLine)]
        reply = request(
            self.to,
            "POST",
            "/services/collector/event",
            b"\n".join(msgspec.json.encode(event) for event in events),
            {"authorization": f"Splunk {self.secret()}", "content-type": "application/json"},
        )
        answer = taken(self.to, reply)
        try:
            code = msgspec.json.decode(answer, type=_Answer).code
        except msgspec.DecodeError as error:
            raise SinkAway(f"{self.to.name} did not answer as a collector does") from error
        if code != 0:
            raise SinkAway(f"{self.to.name} answered with code {code}")
        return Sent(accepted=len(batch))

    def _event(self, line: LogLine) -> dict[str, Any]:
        event: dict[str, Any] = msgspec.to_builtins(line)
        return {
            "event": event,
            "time": datetime.datetime.fromisoformat(line.time).timestamp(),
            "host": line.node or self.host,
            "source": self.source,
            "fields": {name: event[name] for name in INDEXED if name in event},
        }
