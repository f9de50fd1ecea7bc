"""Causes: what an alert is about, and what that depends on.

Every alert has a chain: its subject first, then everything upstream of it that could be the cause,
nearest first. Two alerts have one cause if the subject of one stands in the chain of the other. The
table of kinds is in docs/how-to/incidents.md; a test compares them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from casemate.core.types import Record
from casemate.respond.alerts import Alert

Level = Literal["low", "medium", "high", "critical"]
LEVELS: tuple[Level, ...] = ("low", "medium", "high", "critical")
Nature = Literal[
    "input",
    "quality",
    "endpoint",
    "service",
    "machine",
    "key",
    "key-care",
    "log",
    "access",
    "watch",
    "budget",
    "certificate",
    "delivery",
    "run",
    "rule",
    "sink",
    "tracker",
    "finding",
    "scan",
    "other",
]
GATEWAY, MACHINE, LOG = "gateway:gateway", "machine:machine", "log:log"
WATCHER, OUTBOX, RUNS = "watch:watcher", "delivery:outbox", "run:newest"
SCANS = "scan:schedule"
SIGNER = "key:signer"
SEALING = "key:objects"
"""Key-encryption key of models' files."""
DATA_KEYS = ("key:footer", "key:general", "key:sensitive", "key:identifier")
"""Key-encryption keys of data sets."""


@dataclass(frozen=True)
class Kind:
    """What alerts of one name are."""

    nature: Nature
    level: Level
    """Severity of an incident that such a page opens; a note's is low."""


_INPUT, _QUALITY = Kind("input", "medium"), Kind("quality", "high")
_ENDPOINT, _SERVICE = Kind("endpoint", "high"), Kind("service", "high")
_WATCH, _SINK = Kind("watch", "medium"), Kind("sink", "medium")
KINDS: dict[str, Kind] = {
    "drift": _INPUT,
    "schema": _INPUT,
    "CasemateGuardedRows": _INPUT,
    "quality-estimated": _QUALITY,
    "quality-realised": _QUALITY,
    "relation-changed": _QUALITY,
    "model-old": _QUALITY,
    "model-canary-failed": _QUALITY,
    "CasemateQualityLow": _QUALITY,
    "CasemateModelOld": _QUALITY,
    "anomaly": _ENDPOINT,
    "model-withdrawn": _ENDPOINT,
    "model-not-loaded": _ENDPOINT,
    "CasemateDown": _SERVICE,
    "CasemateNotReady": _SERVICE,
    "CasemateFault": _SERVICE,
    "CasemateBudgetBurnsFast": _SERVICE,
    "CasemateBudgetBurnsSlowly": _SERVICE,
    "disk-full": Kind("machine", "high"),
    "runs-out": Kind("machine", "medium"),
    "signer-compromised": Kind("key", "critical"),
    "key-overdue": Kind("key-care", "medium"),
    "certificate-ends": Kind("certificate", "medium"),
    "log-forked": Kind("log", "critical"),
    "verification-failed": Kind("log", "critical"),
    "access-anomaly": Kind("access", "high"),
    "break-glass": Kind("access", "high"),
    "budget-spent": Kind("budget", "medium"),
    "outbox-dead": Kind("delivery", "medium"),
    "run-failed": Kind("run", "medium"),
    "sandbox-refused": Kind("run", "high"),
    "log-rule": Kind("rule", "high"),
    "sink-away": _SINK,
    "sink-refused": _SINK,
    "sink-dropped": _SINK,
    "tracker-away": Kind("tracker", "medium"),
    "finding-critical": Kind("finding", "critical"),
    "finding-high": Kind("finding", "high"),
    "finding-medium": Kind("finding", "medium"),
    "finding-low": Kind("finding", "low"),
    "finding-overdue": Kind("finding", "high"),
    "scan-late": Kind("scan", "medium"),
    "logs-unwritten": _WATCH,
    "log-rule-broken": _WATCH,
    "unseen": _WATCH,
    "unjudged": _WATCH,
    "CasemateWatcherSilent": _WATCH,
    "AlertsTruncated": _WATCH,
}
"""Names of casemate's own alerts, as the watcher, the log and the rendered rules of Prometheus give
them -> what they are."""
OTHER = Kind("other", "medium")


class Origin(Record, frozen=True, kw_only=True):
    """Where a model version came from."""

    reference: str
    """`NAME@VERSION`."""
    run: str
    dataset: str
    version: str
    """Of the data set."""
    source: str
    """Digest of the table that was read."""


class Lineages(Protocol):
    """Knows where models came from."""

    def origin(self, model: str) -> Origin | None:
        """Of `NAME@VERSION`, or of the live version of `NAME`; None: there is none."""

    def served(self) -> list[str]:
        """References of the live versions."""


def named(alert: Alert) -> tuple[str, dict[str, str]]:
    """(name, labels) of what an alert is about: a rule of Prometheus may only pass on an alarm of
    the watcher.
    """
    labels = alert.labels
    if alert.name not in ("CasemateAlarm", "CasemateNote") or "alarm" not in labels:
        return alert.name, labels
    name, of = labels["alarm"], labels.get("of", "")
    key = {"key-overdue": "key", "certificate-ends": "certificate", "budget-spent": "dataset"}
    found = {"model": labels.get("model", "")}
    if name in key:
        found[key[name]] = of.partition(", ")[0]  # the others behind it, in the order of their keys
    if name == "finding-overdue":
        found["finding"], _, found["package"] = of.partition(", ")
    return name, {label: value for label, value in found.items() if value}


def level(alert: Alert) -> Level:
    """How severe an incident is for this alert alone."""
    return KINDS.get(named(alert)[0], OTHER).level if alert.severity == "page" else "low"


def worst(*levels: Level) -> Level:
    """The most severe."""
    return max(levels, key=LEVELS.index)


def chain(alert: Alert, lineages: Lineages) -> list[str]:
    """The alert's subject, and what it depends on, nearest first; each as `KIND:NAME`.

    Args:
        alert: of any source.
        lineages: of the project.
    """
    name, labels = named(alert)
    nature = KINDS.get(name, OTHER).nature
    fixed = {"log": LOG, "watch": WATCHER, "delivery": OUTBOX, "run": RUNS, "scan": SCANS}
    if nature in fixed:
        return [fixed[nature]]
    if nature == "service":
        return _of_gateway(lineages)
    if "model" in labels and nature in ("input", "quality", "endpoint"):
        return _of_nature(nature, labels["model"], lineages)
    if nature == "finding" and "package" in labels:  # what mends one advisory may mend another
        return [f"package:{labels['package']}"]
    if nature in PLACES:
        kind, label = PLACES[nature]
        return _of_key(labels.get(label, "")) if kind == "key-care" else _named(kind, label, labels)
    return _foreign(alert, lineages)


PLACES: dict[Nature, tuple[str, str]] = {
    "machine": ("machine", "machine"),
    "key": ("key", "key"),
    "key-care": ("key-care", "key"),
    "access": ("person", "person"),
    "budget": ("budget", "dataset"),
    "certificate": ("certificate", "certificate"),
    "rule": ("rule", "rule"),
    "sink": ("sink", "sink"),
    "tracker": ("tracker", "tracker"),
    "finding": ("finding", "finding"),
}
"""Nature -> kind of the subject, and the label that names it."""
PARTS = ("instance", "job")
"""Labels of foreign alerts that say which of many is meant. Where two of them fail in the same way,
what they have in common is taken for the cause, so that a fleet that fails is one incident.
"""
UNNAMED = {"key": "signer", "machine": "machine"}
"""Kind -> name of the subject where no label has it."""


def _named(kind: str, label: str, labels: dict[str, str]) -> list[str]:
    if kind == "machine" and "dataset" in labels:  # a privacy budget runs out, not a disk
        return [f"budget:{labels['dataset']}"]
    return [f"{kind}:{labels.get(label) or UNNAMED.get(kind, 'unknown')}"]


def _of_nature(nature: Nature, model: str, lineages: Lineages) -> list[str]:
    """Of what a model is asked, how good it is, or whether it answers."""
    origin = lineages.origin(model)
    if nature == "input" and origin is not None:
        return _of_dataset(origin)
    steps = _of_model(model, lineages)
    if nature != "endpoint":
        return steps
    return [f"endpoint:{model if origin is None else origin.reference}", *steps]


def _of_gateway(lineages: Lineages) -> list[str]:
    return [GATEWAY, MACHINE, *(f"endpoint:{one}" for one in lineages.served())]


def _foreign(alert: Alert, lineages: Lineages) -> list[str]:
    """By its labels, the most telling first; else by its name."""
    labels = alert.labels
    if "model" in labels:
        return _of_model(labels["model"], lineages)
    if "dataset" in labels:
        return [f"dataset:{labels['dataset']}"]
    if "key" in labels:  # nobody knows that it is lost
        return _of_key(labels["key"])
    if labels.get("job") == "casemate":
        return _of_gateway(lineages)
    for label in PARTS:
        if label in labels:
            return [f"{label}:{labels[label]}", f"name:{alert.name}"]
    return [f"name:{alert.name}"]


def _of_key(key: str) -> list[str]:
    """A key that wants care spoils nothing; but one that is lost explains it."""
    return [f"key-care:{key}", f"key:{key}"]


def _of_model(model: str, lineages: Lineages) -> list[str]:
    origin = lineages.origin(model)
    if origin is None:
        return [f"model:{model}"]
    steps = [f"model:{origin.reference}", f"run:{origin.run}", *_of_dataset(origin)]
    return [*steps, SIGNER, SEALING]


def _of_dataset(origin: Origin) -> list[str]:
    versions = [f"dataset:{origin.dataset}@{origin.version}", f"dataset:{origin.dataset}"]
    return [*versions, f"source:{origin.source}", *DATA_KEYS]


def common(steps: Sequence[str]) -> str:
    """What a cause has in common with those of other parts; empty where it is no such part."""
    return steps[-1] if steps[0].partition(":")[0] in PARTS else ""


def is_spreading(subject: str) -> bool:
    """Whether anything can lie downstream of it, so that an incident may turn out to be its."""
    return subject.partition(":")[0] in DOWNSTREAM


DOWNSTREAM: dict[str, tuple[str, ...]] = {
    "source": ("dataset", "run", "model", "endpoint"),
    "dataset": ("dataset", "run", "model", "endpoint"),
    "run": ("model", "endpoint"),
    "model": ("endpoint",),
    "endpoint": ("gateway",),
    "machine": ("gateway",),
    "key": ("key-care", "dataset", "run", "model", "endpoint"),
}
"""Kind of a subject -> kinds of what may depend on it."""
