"""What Prometheus knows of two revisions of what serves, for the judgement of a canary.

Pods of a Deployment begin with its name, so that `pod` and `namespace`, which a PodMonitor or
`kubernetes_sd_configs` give every series, tell the revisions apart whatever they serve.
https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import math
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

import msgspec

from casemate.config import CanaryTable
from casemate.core.errors import ConfigError, Error
from casemate.core.http import get, is_private
from casemate.core.types import Record
from casemate.watch.canary import Statistics, worse

SECONDS = 10.0
MOST = 1024 * 1024
REFUSALS = ("CM-REQUEST", "CM-INPUT", "CM-AGGREGATE", "CM-SPENT", "CM-RESTRICTED")
"""Codes of requests that guards or the protocol refused: whoever asked is to blame."""
COUNTED = (
    "(increase({series}[{span}s]) and {series} offset {span}s)"
    " or (max_over_time({series}[{span}s]) unless {series} offset {span}s)"
)
"""What was counted in a span: `increase` alone calls the first value of a new series nothing, and
all that a new pod, or a class that was never answered before, has by then would be lost.
"""
Outcome = Literal["passed", "worse", "inconclusive"]


class Judgement(Record, frozen=True, kw_only=True):
    """What was found out about a new revision."""

    outcome: Outcome
    reason: str = ""


class _Sample(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Vector(msgspec.Struct):
    result: list[_Sample]
    resultType: str = "vector"  # noqa: N815 - as Prometheus writes it


class _Answer(msgspec.Struct):
    status: str
    data: _Vector


class Prometheus:
    """Instant queries."""

    def __init__(self, url: str, ca: Path | None = None, token: str = "") -> None:
        """Who is asked.

        Args:
            url: of the server, https, or http on this machine.
            ca: PEM file of its authority; None: those of the system.
            token: bearer token; empty: none.

        Raises:
            ConfigError: others could read what is asked.
        """
        if not is_private(url):
            raise ConfigError(f"{url} can be read on the way", hint="https://...")
        self.url, self.ca = url.rstrip("/"), ca
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, query: str, by: str) -> dict[str, float]:
        """One number for each value of a label; those that are no number are left out.

        Raises:
            TransientError, ValueError: no answer that can be used.
        """
        where = f"{self.url}/api/v1/query?{urlencode({'query': query})}"
        status, body = get(where, self.headers, SECONDS, MOST, self.ca)
        if status != 200:
            raise ValueError(f"it answers {status}")
        found = msgspec.json.decode(body, type=_Answer)
        if found.status != "success" or found.data.resultType != "vector":
            raise ValueError("it answers no vector")
        numbers = {one.metric.get(by, ""): float(one.value[1]) for one in found.data.result}
        return {name: number for name, number in numbers.items() if math.isfinite(number)}


class Judge:
    """Compares a new revision with the live one by the limits of `[serve.canary]`."""

    def __init__(self, source: Prometheus, limits: CanaryTable, model: str) -> None:
        """What is compared.

        Args:
            source: of figures.
            limits: of the project.
            model: its name, without a version.
        """
        self.source, self.limits, self.model = source, limits, model

    def look(self, namespace: str, new: list[str], live: list[str], seconds: float) -> Judgement:
        """What can be said after so many seconds.

        Args:
            namespace: of the pods.
            new: Deployments of the new revision.
            live: of the one that serves.
            seconds: since both get requests.
        """
        span = max(math.ceil(seconds), 1)
        try:
            canary = self._seen(namespace, new, span)
            other = self._seen(namespace, live, span)
        except (Error, ValueError) as error:
            return Judgement(outcome="inconclusive", reason=f"Prometheus: {str(error)[:200]}")
        if why := worse(self.limits, canary, other):
            return Judgement(outcome="worse", reason=why)
        return self._enough(canary, other)

    def _enough(self, canary: Statistics, live: Statistics) -> Judgement:
        for name, seen in (("the new version", canary), ("the live version", live)):
            if seen.answers < self.limits.requests:
                return Judgement(
                    outcome="inconclusive",
                    reason=f"Prometheus knows {seen.answers} answers of {name},"
                    f" {self.limits.requests} are needed",
                )
        if not canary.labels or not live.labels:
            return Judgement(
                outcome="inconclusive",
                reason="what both answer cannot be compared: there is no casemate_labels",
            )
        return Judgement(outcome="passed")

    def _seen(self, namespace: str, deployments: list[str], span: int) -> Statistics:
        pods = "|".join(f"{name}-[a-z0-9]+-[a-z0-9]+" for name in deployments)
        where = f'{{namespace="{namespace}",pod=~"{pods}",model="{self.model}"}}'

        def total(metric: str, by: str = "model") -> dict[str, float]:
            inner = COUNTED.format(series=f"{metric}_total{where}", span=span)
            return self.source.ask(f"sum by ({by}) ({inner})", by)

        def one(metric: str) -> float:
            return sum(total(metric).values())

        failed = total("casemate_failed", "code")
        refusals = sum(count for code, count in failed.items() if code in REFUSALS)
        answers, rows = one("casemate_answers"), one("casemate_rows")
        labels = total("casemate_labels", "label")
        return Statistics(
            answers=round(answers),
            failures=round(sum(failed.values()) - refusals),
            refusals=round(refusals),
            rows=round(rows),
            # of refused requests rows are not counted: as many as answered ones have
            refused=round(refusals * rows / answers) if answers else round(refusals),
            seconds=one("casemate_model_seconds"),
            labels={name: round(count) for name, count in labels.items()},
        )
