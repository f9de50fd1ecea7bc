"""What variables of playbooks stand for, about one incident."""

from casemate.operations.incidents.lineages import Lineages
from casemate.respond import tables
from casemate.respond.causes import named
from casemate.respond.readers import OWN
from casemate.respond.states import Incident
from casemate.respond.tables import Known
from casemate.respond.trouble import pseudonym
from casemate.wiring import Wiring

MODELS = ("endpoint", "model")
OURS = ("person", "access", "key", "key-care", "log", "certificate")
"""Causes about which nobody else is believed."""
MOST_ALERTS = 1_000
"""Whose names are looked at: the newest; a thousand equal ones have one name."""


def variables_of(project: Wiring, incident: Incident) -> dict[str, str]:
    """`$NAME` -> value, for those that the incident's lineage gives.

    Args:
        project: whose.
        incident: about which one.
    """
    found: dict[str, str] = {}
    kind, _, name = incident.root.partition(":")
    if kind in ("key", "key-care"):
        found["$key"], found["$name"] = name, project.config.project.name
    elif kind in ("person", "access"):
        known = {pseudonym(row.uid): row.uid for row in project.point.directory.rows()}
        if name in known:
            found["$principal"] = known[name]
    for step in (incident.root, *incident.chain):
        kind, _, name = step.partition(":")
        if kind in MODELS:
            found.setdefault("$model", name)
        elif kind == "run":
            found.setdefault("$run", name)
    if "$model" not in found:
        _from_data(project, incident, found)
    if "$model" not in found:
        labels = (one.alert.labels.get("model") for one in _trusted(project, incident))
        if model := next(filter(None, labels), ""):
            found["$model"] = model
    if "$model" in found:
        origin = Lineages(project).origin(found["$model"])
        found.setdefault("$name", found["$model"].partition("@")[0])
        if origin is not None:
            found["$model"] = origin.reference
            found.setdefault("$run", origin.run)
    return found


def _from_data(project: Wiring, incident: Incident, found: dict[str, str]) -> None:
    """The live model that was trained on the data set that the incident is about."""
    lineages, upstream = Lineages(project), {incident.root}
    for reference in lineages.served():
        origin = lineages.origin(reference)
        if origin is None:
            continue
        of = {
            f"dataset:{origin.dataset}",
            f"dataset:{origin.dataset}@{origin.version}",
            f"source:{origin.source}",
            f"run:{origin.run}",
        }
        if of & upstream:
            found["$model"] = reference
            return


def alerts_of(project: Wiring, incident: Incident) -> tuple[list[str], int]:
    """(names of an incident's alerts, how many of them stand or have no end). About people, keys
    and the log only casemate's own count: whoever may report alerts must not be able to have
    somebody suspended.
    """
    found = _trusted(project, incident)
    standing = sum(one.alert.stands or one.alert.is_moment for one in found)
    return sorted({named(one.alert)[0] for one in found}), standing


def _trusted(project: Wiring, incident: Incident) -> list[Known]:
    mine = tables.ALERTS.c.incident == incident.id
    with project.database.reading() as tx:
        rows = tables.some_alerts(tx, mine, most=MOST_ALERTS).values()
    only_own = incident.root.partition(":")[0] in OURS
    return [one for one in rows if not only_own or one.alert.source == OWN]
