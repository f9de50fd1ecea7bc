"""Every request as a line for the log store: a file of this process that whoever keeps the store
reads and removes.
"""

import functools
import time
from pathlib import Path

import msgspec

from casemate.serve.metrics import Metrics
from casemate.serve.telemetry import Queue, Seen
from casemate.watch.logs.incoming import Writer
from casemate.watch.logs.line import Level, LogLine

SHARE = 4
"""Lines that wait for the store may take a quarter of what the store may."""


class RequestLines(Queue):
    """Lines for the log store."""

    def __init__(self, folder: Path, megabytes: int, node: str, metrics: Metrics) -> None:
        """Nothing is written yet.

        Args:
            folder: where lines come in.
            megabytes: that the store may take.
            node: this process's name.
            metrics: where lost lines are counted.
        """
        super().__init__("lines", metrics)
        self._writer = Writer(folder, megabytes * 1_000_000 // SHARE)
        self._node = node
        self._encoder = msgspec.json.Encoder()

    def write(self) -> None:
        """Append what waits."""
        super().write()
        if self._writer.lost:
            self._metrics.count("casemate_untold", "lines", by=self._writer.lost)
            self._writer.lost = 0

    def _line(self, seen: Seen) -> bytes:
        return self._encoder.encode(line(seen, self._node))

    def _append(self, lines: list[bytes]) -> None:
        self._writer.append(lines)


def line(seen: Seen, node: str) -> LogLine:
    """A request as a line; whoever reads it makes it `tidy`, which would cost a request as much as
    all else that is done here.

    Args:
        seen: of it.
        node: which process answered.
    """
    level: Level = "error" if seen.status >= 500 else "warning" if seen.status >= 400 else "info"
    of = f" of {seen.model}" if seen.model else ""
    code = f" {seen.code}" if seen.code else ""
    who = seen.principal or "a stranger"
    milliseconds = int(seen.time * 1000)
    return LogLine(
        time=f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03}Z",
        level=level,
        message=f"{who} asked for {seen.route}{of}: {seen.status}{code}",
        id=seen.id,
        dataset="casemate.request",
        action=seen.route,
        outcome="success" if seen.status < 400 else "failure",
        reason="answered" if seen.status < 400 else "refused",
        duration=seen.micros * 1000,
        user=seen.principal,
        node=node,
        trace=_trace(seen.trace),
        request=seen.id,
        method=seen.method,
        status=seen.status,
        size=seen.size,
        code=seen.code,
        model=seen.model,
    )


@functools.lru_cache(maxsize=4)
def _second(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(number))


def _trace(parent: str) -> str:
    """The trace id of a `traceparent` (W3C Trace Context); "" where it is none."""
    if not parent:
        return ""
    parts = parent.split("-")
    is_one = len(parts) >= 4 and len(parts[1]) == 32 and set(parts[1]) <= set("0123456789abcdef")
    return parts[1] if is_one else ""
