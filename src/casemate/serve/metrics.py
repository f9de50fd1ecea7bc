"""What the gateway counts, in OpenMetrics (https://prometheus.io/docs/specs/om/open_metrics_spec/).

Counting is a dictionary's; prometheus-client writes the page. Where several workers share a port
each of them leaves its counts in a file, and whichever is asked adds them up.
"""

import bisect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as plain
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as open_metrics

from casemate import __version__
from casemate.config import LATENCIES
from casemate.core.files import write_atomic
from casemate.watch import levels

BUCKETS = LATENCIES
COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "casemate_requests": ("HTTP requests by route and status.", ("route", "status")),
    "casemate_rows": ("Rows predicted.", ("model", "version", "part")),
    "casemate_labels": ("Predictions by class.", ("model", "version", "label")),
    "casemate_guarded": ("Rows that a guard noticed.", ("model", "version", "guard")),
    "casemate_failed": (
        "Requests to a model that were not answered, by code.",
        ("model", "version", "code"),
    ),
    "casemate_model_seconds": ("Time from request to answer, summed.", ("model", "version")),
    "casemate_answers": ("Requests to a model that were answered.", ("model", "version")),
    "casemate_denied": ("Requests refused by identity or policy.", ("reason",)),
    "casemate_untold": ("Requests that a request log lost.", ("where",)),
    "casemate_key_login_faults": ("Tries to renew the login at the key server that failed.", ()),
    "casemate_limited": ("Requests refused by a limit.", ("limit",)),
    "casemate_connections_ended": (
        "Connections of strangers, and calls of gRPC without a message, that gave way to others.",
        ("reason",),
    ),
}
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "casemate_in_flight": ("Requests being answered.", ()),
    "casemate_unwritten": ("Records of predictions that are not on disk yet.", ()),
    "casemate_key_login_failing": (
        "Workers whose login at the key server was not renewed and ends.",
        (),
    ),
    "casemate_model": ("Models being served; 0 when withdrawn.", ("model", "version", "part")),
    "casemate_withdrawn": (
        "Model versions that are not answered any more, by why.",
        ("model", "version", "reason"),
    ),
    "casemate_ready": ("Workers that can answer.", ()),
    "casemate_fault": ("What does not work; 1 while it does not.", ("reason",)),
    "casemate_connections": ("Open connections of callers, and of strangers.", ("of",)),
    "casemate_workers_replaced": (
        "Workers that were replaced since the gateway started.",
        ("reason",),
    ),
}
ONE_FOR_ALL = {
    "casemate_model",
    "casemate_withdrawn",
    "casemate_fault",
    "casemate_workers_replaced",
}
"""Gauges that are not added up over workers."""


class Metrics:
    """The counts of one gateway."""

    def __init__(self, folder: Path | None = None, state: Path | None = None) -> None:
        """Start at zero.

        Args:
            folder: where the workers of one gateway leave their counts for one another.
            state: the project's state folder, where a watcher may leave what it knows.
        """
        self._state = state
        self.counts: dict[tuple[str, ...], float] = {}
        self.times: dict[str, list[float]] = {}
        """Per route: requests per bucket, above the last, and the sum of seconds."""
        self.gauges: dict[tuple[str, ...], float] = {}
        self._file = None if folder is None else folder / f"{os.getpid()}.json"
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def count(self, *key: str, by: float = 1) -> None:
        """Add to a counter: its name and the values of its labels."""
        self.counts[key] = self.counts.get(key, 0) + by

    def observe(self, route: str, seconds: float) -> None:
        """A request was answered."""
        row = self.times.get(route)
        if row is None:
            row = self.times[route] = [0.0] * (len(BUCKETS) + 2)
        row[bisect.bisect_left(BUCKETS, seconds)] += 1
        row[-1] += seconds

    def snapshot(self) -> bytes:
        """The counts, for the other workers."""
        return msgspec.json.encode(
            {
                "counts": list(self.counts.items()),
                "times": self.times,
                "gauges": list(self.gauges.items()),
            }
        )

    def share(self, snapshot: bytes) -> None:
        """Leave a snapshot where the other workers find it; waits for the disk."""
        if self._file is not None:
            write_atomic(self._file, snapshot)

    def _others(self) -> list[dict[str, Any]]:
        found = []
        for file in [] if self._file is None else self._file.parent.glob("*.json"):
            if file != self._file:
                found.append(msgspec.json.decode(file.read_bytes()))
                if not Path(f"/proc/{file.stem}").exists():
                    found[-1]["gauges"] = []  # of a worker that ended only its counts are left
        return found

    def collect(self) -> Iterator[Metric]:
        """Every metric with its samples, as prometheus-client asks for them."""
        counts, gauges, times = (
            dict(self.counts),
            dict(self.gauges),
            {route: list(row) for route, row in self.times.items()},
        )
        for other in self._others():
            for told, mine in ((other["counts"], counts), (other["gauges"], gauges)):
                for key, value in told:
                    name = tuple(key)
                    mine[name] = (
                        max(mine.get(name, 0), value)
                        if name[0] in ONE_FOR_ALL
                        else mine.get(name, 0) + value
                    )
            for route, row in other["times"].items():
                times[route] = [
                    one + another
                    for one, another in zip(times.get(route, [0.0] * len(row)), row, strict=True)
                ]
        yield from _families(COUNTERS, CounterMetricFamily, counts)
        yield from _families(GAUGES, GaugeMetricFamily, gauges)
        seconds = HistogramMetricFamily(
            "casemate_request_seconds", "Time from request to reply.", labels=["route"]
        )
        for route, row in times.items():
            total, buckets = 0.0, []
            for limit, value in zip((*BUCKETS, float("inf")), row, strict=False):
                total += value
                buckets.append((str(limit) if limit < float("inf") else "+Inf", total))
            seconds.add_metric([route], buckets, row[-1])
        yield seconds
        build = GaugeMetricFamily("casemate_build", "The running version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._watched()

    def _watched(self) -> Iterator[Metric]:
        """What the watcher of this machine knows."""
        families: dict[str, GaugeMetricFamily] = {}
        for one in [] if self._state is None else levels.read(self._state):
            labels = dict(sorted(one.labels.items()))
            if one.name not in families:
                text = levels.TOLD[one.name]
                families[one.name] = GaugeMetricFamily(one.name, text, labels=list(labels))
            families[one.name].add_metric(list(labels.values()), one.value)
        yield from families.values()

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """(content type, the page that Prometheus reads).

        OpenMetrics 1.0 for whoever asks for it, in whatever version, else the text format 0.0.4
        (https://prometheus.io/docs/instrumenting/exposition_formats/): prometheus-client would
        write 1.0 and call it what was asked for.

        Args:
            accept: header of the request.
        """
        kinds = {part.partition(";")[0].strip() for part in accept.split(",")}
        if "application/openmetrics-text" in kinds:
            render: Any = open_metrics
            return CONTENT_TYPE_LATEST, bytes(render(self._registry))
        return CONTENT_TYPE_PLAIN_0_0_4, bytes(plain(self._registry))


def _families(
    told: dict[str, tuple[str, tuple[str, ...]]], kind: Any, values: dict[tuple[str, ...], float]
) -> Iterator[Metric]:
    for name, (text, labels) in told.items():
        family = kind(name, text, labels=labels)
        for key, value in values.items():
            if key[0] == name:
                family.add_metric(list(key[1:]), value)
        yield family
