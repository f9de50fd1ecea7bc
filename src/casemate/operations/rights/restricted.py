"""Whose rows may be used: the one place that decides it, for runs, models and answers.

Nobody's whose restriction or objection was granted and not lifted, under whichever identifier of
theirs (`privacy alias`); with consent as the basis only
those of people who are covered. A restriction counts from the day on which it is granted.
"""

from collections.abc import Iterable

from casemate.controls.privacy.consents import Usable
from casemate.operations.acting import reading
from casemate.operations.rights.register import REQUESTS
from casemate.respond.requests import states, tables
from casemate.stages.release.registry import Registered
from casemate.wiring import Wiring


def usable(project: Wiring) -> Usable:
    """Whose rows may be used now.

    Raises:
        ConfigError: `[privacy.basis]` names none for the project's purpose. VerificationError: the
            catalogue says something else of a restriction than the log.
    """
    purpose = project.config.project.purpose
    table = project.config.privacy.basis_of(purpose)
    covered = None
    if table is not None and table.legal == "consent":
        covered = project.consents.covered(purpose, table.texts)
    return Usable(covered, frozenset(restrictions(project)))


def restrictions(project: Wiring) -> dict[str, list[int]]:
    """Every pseudonym of people whose processing is restricted, with the requests that say so: of
    one person it is the same list.

    Raises:
        VerificationError: the catalogue says something else of a request than the log: a
            restriction that somebody takes out of the catalogue does not end.
    """
    found: dict[str, list[int]] = {}
    with project.database.reading() as tx:
        asked = tables.requests(tx, tables.REQUESTS.c.kind.in_(states.RESTRICTING))
        REQUESTS.require_held(project, tx, asked)
        people = project.aliases.everybodys(tx)
        for one in asked:
            if one.state in states.BINDING:
                mine = found.setdefault(one.subject, [])
                mine.append(one.id)
                found |= dict.fromkeys(people.get(one.subject, []), mine)
    return found


def count_of(barred: dict[str, list[int]]) -> int:
    """How many people these are."""
    return len({min(numbers) for numbers in barred.values()})


def restricted_since(
    project: Wiring, model: Registered, barred: Iterable[str] | None = None
) -> int | None:
    """How many people whose rows a model was made of have a restriction or an objection now; None
    where it is not known whose rows those are.

    Args:
        project: whose.
        model: which.
        barred: what `restrictions` said, where it was asked already.
    """
    lineage = model.release.lineage
    version = (lineage.dataset, lineage.dataset_version)
    if version not in project.identifiers.rows.known():
        return None
    barred = restrictions(project) if barred is None else barred
    return project.identifiers.rows.among(*version, barred)


@reading("model:list")
def restricted(project: Wiring, model: str) -> int | None:
    """How many people whose rows a model was made of have had their processing restricted, or have
    objected to it, since; None where it is not known whose they are.

    Args:
        project: whose.
        model: `NAME@VERSION`, or `NAME` for the newest that passed.

    Raises:
        AccessDenied: policy. ConfigError: there is no such model.
    """
    return restricted_since(project, project.registry.get(model))
