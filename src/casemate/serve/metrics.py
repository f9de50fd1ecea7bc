"""What the gateway counts, in OpenMetrics (https://prometheus.io/docs/specs/om/open_metrics_spec/)."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from casemate import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The registry of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("casemate_requests", "HTTP requests by route and status.", ["route", "status"], registry=self.registry)
        self.seconds = Histogram("casemate_request_seconds", "Time from request to reply.", ["route"], registry=self.registry, buckets=BUCKETS)
        self.rows = Counter("casemate_rows", "Rows predicted.", ["model", "version"], registry=self.registry)
        self.labels = Counter("casemate_labels", "Predictions by class.", ["model", "version", "label"], registry=self.registry)
        self.denied = Counter("casemate_denied", "Requests refused by identity or policy.", ["reason"], registry=self.registry)
        self.models = Gauge("casemate_model", "Models being served.", ["model", "version"], registry=self.registry)
        build = Gauge("casemate_build", "The running version.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)

    def render(self) -> bytes:
        """The page."""
        render: Any = generate_latest
        return bytes(render(self.registry))
