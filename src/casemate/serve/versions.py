"""Versions of the models that are served: their queues, what each of them did, and what stands
under one name.
"""

from dataclasses import dataclass, field

import numpy as np

from casemate.serve.batch import Batcher, BatchListener
from casemate.serve.endpoint import Endpoint
from casemate.serve.heartbeat import Heartbeat
from casemate.serve.metrics import Metrics
from casemate.serve.types import Array
from casemate.stages.release.rollout import Part

KINDS = ("signature", "stuck", "code", "held")
"""Why a model can be withdrawn."""


@dataclass(slots=True)
class Statistics:
    """What one version did since it was put here."""

    answers: int = 0
    failures: int = 0
    refusals: int = 0
    """Requests that guards refused."""
    rows: int = 0
    refused: int = 0
    """Their rows."""
    seconds: float = 0.0
    labels: dict[int, int] = field(default_factory=dict)
    told: int = 0
    """Rows whose quantities are in what follows."""
    mean: Array | None = None
    """Of a regressor's quantities, [m]."""
    squares: Array | None = None
    """Their squared distances from it, summed, [m]."""

    def summed(self, quantities: Array) -> None:
        """Count a regressor's answers, float64 [n, m]; Chan, Golub, LeVeque, Algorithms for
        Computing the Sample Variance (1983).
        """
        count, mean = len(quantities), quantities.mean(axis=0)
        squares = ((quantities - mean) ** 2).sum(axis=0)
        if self.mean is None or self.squares is None:
            self.told, self.mean, self.squares = count, mean, squares
            return
        apart, total = mean - self.mean, self.told + count
        self.squares = self.squares + squares + apart**2 * (self.told * count / total)
        self.mean, self.told = self.mean + apart * (count / total), total

    @property
    def deviation(self) -> Array:
        """Standard deviation of the quantities, [m]."""
        return np.sqrt(self.squares / self.told) if self.squares is not None else np.zeros(0)


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
