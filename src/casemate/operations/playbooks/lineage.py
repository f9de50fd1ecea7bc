"""What variables of playbooks stand for, about one incident."""

from casemate.operations.incidents.lineages import Lineages
from casemate.respond import tables
from casemate.respond.causes import named
from casemate.respond.states import Incident
from casemate.respond.trouble import pseudonym
from casemate.wiring import Wiring

MODELS = ("endpoint", "model")
MOST_ALERTS = 1_000
"""Whose names are looked at: the newest; a thousand equal ones have one name."""


def variables_of(project: Wiring, incident: Incident) -> dict[str, str]:
    """`$NAME` -> value, for those that the incident's lineage gives.

    Args:
        project: whose.
        incident: about which one.
    """
    found: dict[str, str] = {}
    for step in (incident.root, *incident.chain):
        kind, _, name = step.partition(":")
        if kind in MODELS:
            found.setdefault("$model", name)
            found.setdefault("$name", name.partition("@")[0])
        elif kind in ("key", "key-care"):
            found.setdefault("$key", name)
        elif kind == "run":
            found.setdefault("$run", name)
        elif kind in ("person", "access"):
            known = {pseudonym(row.uid): row.uid for row in project.point.directory.rows()}
            if name in known:
                found.setdefault("$principal", known[name])
    if "$model" not in found:
        _from_data(project, incident, found)
    origin = Lineages(project).origin(found["$model"]) if "$model" in found else None
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
            found["$model"], found["$name"] = reference, reference.partition("@")[0]
            return


def alerts_of(project: Wiring, number: int) -> tuple[list[str], int]:
    """(names of an incident's alerts, how many of them stand or have no end)."""
    mine = tables.ALERTS.c.incident == number
    with project.database.reading() as tx:
        rows = tables.some_alerts(tx, mine, most=MOST_ALERTS).values()
        standing = tables.standing(tx, number)
    moments = sum(one.alert.is_moment for one in rows)
    return sorted({named(one.alert)[0] for one in rows}), standing + moments
