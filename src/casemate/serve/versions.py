"""Versions of the models that are served: their queues, and what stands under one name."""

from dataclasses import dataclass

from casemate.serve.batch import Batcher, BatchListener
from casemate.serve.endpoint import Endpoint
from casemate.serve.heartbeat import Heartbeat
from casemate.serve.metrics import Metrics
from casemate.stages.release.rollout import Part
from casemate.watch.canary import Statistics

KINDS = ("signature", "stuck", "code", "held")
"""Why a model can be withdrawn."""


class Version:
    """One version with its queue."""

    def __init__(
        self,
        endpoint: Endpoint,
        part: Part,
        deadline: float,
        listener: BatchListener,
        heartbeat: Heartbeat,
    ) -> None:
        self.endpoint = endpoint
        self.part: Part = part
        self.batcher = Batcher(endpoint, deadline, listener, heartbeat.lane(endpoint.reference))
        self.seen = Statistics()


def show(metrics: Metrics, version: Version) -> None:
    """Let whoever scrapes see whether it answers, and why not."""
    endpoint = version.endpoint
    metrics.gauges["casemate_model", endpoint.name, endpoint.version, version.part] = (
        0 if endpoint.withdrawn else 1
    )
    for kind in KINDS:
        key = ("casemate_withdrawn", endpoint.name, endpoint.version, kind)
        if kind in endpoint.faults:
            metrics.gauges[key] = 1
        else:
            metrics.gauges.pop(key, None)


@dataclass
class Served:
    """What stands under one name."""

    alias: str
    model: str
    """The model's own name: what policy decides on."""
    pinned: int | None
    """The version that configuration names."""
    live: Version | None = None
    canary: Version | None = None
    shadow: Version | None = None
    share: float = 0.0
    principals: frozenset[str] = frozenset()
    turn: float = 0.0
    """Adds up the canary's share; each time it passes 1 the canary answers."""

    def choose(self, uid: str) -> Version | None:
        """The version that answers this caller now; never a canary that is withdrawn, for its share
        of the callers has the live version.
        """
        if self.canary is not None and not self.canary.endpoint.withdrawn:
            if uid in self.principals:
                return self.canary
            self.turn += self.share
            if self.turn >= 1.0:
                self.turn -= 1.0
                return self.canary
        return self.live

    def version(self, number: str) -> Version | None:
        """A version by its number, if callers may ask for it."""
        for version in (self.live, self.canary):
            if version is not None and version.endpoint.version == number:
                return version
        return None

    def versions(self) -> list[Version]:
        """All versions that are loaded under this name: live, canary and shadow."""
        return [version for version in (self.live, self.canary, self.shadow) if version is not None]
