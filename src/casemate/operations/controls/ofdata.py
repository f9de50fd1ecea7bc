"""Checks of what concerns the people in the data."""

from casemate.core.types import SealedDataset
from casemate.operations.calendar import today
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.kinds import Seen, check, judged
from casemate.operations.privacy import sums
from casemate.operations.rights.consent import withdrawn_since
from casemate.operations.rights.register import REQUESTS
from casemate.operations.rights.requests import clocks_of
from casemate.operations.rights.restricted import count_of, restricted_since, restrictions
from casemate.operations.terms import planned
from casemate.respond.requests import tables

NO_PEOPLE = Seen("not-applicable", "no table in service names people", {"datasets": []})


def _of_people(facts: Facts) -> dict[str, SealedDataset]:
    """Versions behind models in service that have identifiers of people, by `NAME@VERSION`."""
    found = {}
    for model in facts.serving:
        record = facts.record(model, "data", SealedDataset)
        if record is None:
            continue
        kinds = {column.column_class for column in record.schema.columns}
        if record.subject is not None or "identifier" in kinds:
            found[f"{record.name}@{record.version}"] = record
    return found


@check(
    "privacy.basis",
    "Every table that names people was sealed on a declared legal basis, which still stands",
    answers="privacy-officer",
    mend="[privacy.basis.PURPOSE] in casemate.toml, then casemate run",
)
def basis(facts: Facts) -> Seen:
    """Of versions that models in service were made of. Whether the basis is the right one is for
    people to say.
    """
    meant = _of_people(facts)
    if not meant:
        return NO_PEOPLE
    bases = facts.config.privacy.basis
    faults, seen = [], {}
    for name, record in meant.items():
        seen[name] = None if record.basis is None else record.basis.legal
        if record.basis is None:
            faults.append(f"{name} was sealed without a basis")
            continue
        purpose = record.basis.purpose
        now = bases.get(purpose)
        if now is None or now.legal != record.basis.legal:
            faults.append(f"{name} was sealed for {purpose!r}; [privacy.basis] says otherwise now")
    return judged("; ".join(faults), f"they have one: {', '.join(meant)}", basis=seen)


@check(
    "privacy.withdrawn",
    "No model in service was made of rows of people who have withdrawn their consent since",
    answers="privacy-officer",
    mend="casemate run: their rows are left out; casemate retrain demand",
)
def withdrawn(facts: Facts) -> Seen:
    """Counted by pseudonym; a model of which it is not known whose rows it has stays open."""
    by_consent = {
        (one.name, one.version)
        for one in _of_people(facts).values()
        if one.basis is not None and one.basis.legal == "consent"
    }
    meant = [
        one
        for one in facts.serving
        if (one.release.lineage.dataset, one.release.lineage.dataset_version) in by_consent
    ]
    if not meant:
        return Seen("not-applicable", "no model in service stands on consent", {"people": {}})
    counts = {one.reference: withdrawn_since(facts.project, one) for one in meant}
    unknown = [model for model, count in counts.items() if count is None]
    if unknown:
        text = f"whose rows {', '.join(unknown)} was made of is not known"
        return Seen("inconclusive", text, {"people": counts})
    late = [f"{model}: {count}" for model, count in counts.items() if count]
    fault = f"people who have withdrawn are in {', '.join(late)}" if late else ""
    return judged(fault, "nobody has withdrawn since", people=counts)


@check(
    "privacy.restricted",
    "No model in service was made of rows of people who restricted or objected to it since",
    answers="privacy-officer",
    mend="casemate run: their rows are left out; casemate retrain demand",
)
def restricted(facts: Facts) -> Seen:
    """Restrictions that were granted and not lifted, each held against the log."""
    if not _of_people(facts):
        return NO_PEOPLE
    barred = restrictions(facts.project)
    counts = {one.reference: restricted_since(facts.project, one, barred) for one in facts.serving}
    unknown = [model for model, count in counts.items() if count is None]
    if unknown and barred:
        text = f"whose rows {', '.join(unknown)} was made of is not known"
        return Seen("inconclusive", text, {"people": counts})
    late = [f"{model}: {count}" for model, count in counts.items() if count]
    fault = f"people whose processing is restricted are in {', '.join(late)}" if late else ""
    return judged(fault, f"of {count_of(barred)} people who are restricted none", people=counts)


@check(
    "privacy.retention",
    "A term is named for data, and nothing is kept that is over a term of `[privacy.retention]`",
    answers="privacy-officer",
    mend="[privacy.retention] in casemate.toml; casemate privacy retention apply",
)
def retention(facts: Facts) -> Seen:
    """What a hold or a released model keeps does not count: that it stays is on record."""
    found = planned(facts.project)
    over = {one.name: one.due for one in found.going}
    faults = ["no term is named for data"] if "data" in found.without else []
    if over:
        faults.append(f"over the term: {', '.join(sorted(over)[:5])}")
    seen = {"over": over, "kept": len(found.staying), "without": sorted(found.without)}
    return judged("; ".join(faults), f"nothing is over a term on {found.day}", **seen)


@check(
    "privacy.requests",
    "No request of a person is past the day that the law gives",
    answers="privacy-officer",
    mend="casemate privacy request list",
)
def requests(facts: Facts) -> Seen:
    """Every request that is not over, held against the log."""
    project = facts.project
    with project.database.reading() as tx:
        running = [REQUESTS.history(project, tx, one.id)[0] for one in tables.running(tx)]
    day = today(project)
    late = {
        one.id: clock.id
        for one in running
        for clock in clocks_of(project, one)
        if not clock.done and clock.left(day) < 0
    }
    fault = f"late: {', '.join(f'request {number}' for number in late)}" if late else ""
    return judged(
        fault, f"of {len(running)} that are open none is late", running=len(running), late=len(late)
    )


@check(
    "privacy.budget",
    "No data set has spent more epsilon for a purpose than `[privacy] budget`",
    answers="privacy-officer",
    mend="nothing takes it back: raise [privacy] budget only with a reason on record",
)
def budget(facts: Facts) -> Seen:
    """All private trainings and statistics together."""
    spent = sums(facts.project, facts.project.ledger.of())
    if not spent:
        return Seen("not-applicable", "nothing was spent of any privacy budget", {"spent": {}})
    most = facts.config.privacy.budget
    seen = {f"{one.dataset} for {one.purpose}": round(one.epsilon, 6) for one in spent}
    over = sorted(name for name, epsilon in seen.items() if epsilon > most)
    fault = f"{', '.join(over)}: more than epsilon {most:g}" if over else ""
    return judged(fault, f"each is within epsilon {most:g}", spent=seen, budget=most)


CHECKS = (basis, withdrawn, restricted, retention, requests, budget)
