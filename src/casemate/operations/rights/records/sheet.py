"""The data sheet of a data set: what it is, how it came to be, what it is for.

Source of the form: Gebru et al., Datasheets for Datasets (Communications of the ACM 64(12), 2021).
"""

from casemate.core import figures
from casemate.operations.rights.records import stated
from casemate.operations.rights.records.document import CONTROLLER, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.records.stated import point

LAW = "Datasheets for Datasets (Gebru et al. 2021); Croissant 1.1 beside it"
STATE = "as published in 2021"
NAME = "data-sheet"


def sheet(facts: Facts) -> list[Point]:
    """Motivation, composition, collection, cleaning, uses, distribution, maintenance."""
    known, missing = stated.purpose(facts)
    owner, no_owner = stated.words(facts, "name", "who made the data set")
    origin, no_origin = stated.words(facts, "origin", "where the data comes from")
    people, no_people = stated.words(facts, "people", "categories of people in the data")
    licence, no_licence = stated.words(facts, "licence", "under which terms others may use it")
    contact, no_contact = stated.words(facts, "contact", "who answers questions about it")
    kept, no_kept = stated.kept(facts)
    screens, unmeasured = facts.groups([figures.DATA])
    return [
        _point(facts, "1", "Motivation", known + owner, _and(missing, no_owner)),
        _point(
            facts,
            "2",
            "Composition",
            stated.data(facts) + people + _columns(facts),
            _and(no_people, "what a row stands for, and what is not in the table"),
        ),
        _point(
            facts,
            "3",
            "Collection",
            origin + stated.basis(facts)[0],
            _and(no_origin, "how it was collected, by whom, when, and with whose knowledge"),
        ),
        point(
            facts,
            NAME,
            "4",
            "Checks, cleaning and labels",
            screens + _findings(facts),
            "how labels were given, and what was done before casemate read the table",
            CONTROLLER,
            unmeasured,
        ),
        _point(
            facts,
            "5",
            "Uses",
            _models(facts),
            "what it should not be used for",
        ),
        _point(facts, "6", "Distribution", licence, no_licence),
        _point(facts, "7", "Maintenance", contact + kept, _and(no_contact, no_kept)),
    ]


def _and(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def _point(facts: Facts, number: str, title: str, known: list[Known], missing: str) -> Point:
    return point(facts, NAME, number, title, known, missing)


def _columns(facts: Facts) -> list[Known]:
    if facts.dataset is None:
        return []
    schema, found = facts.dataset.schema, []
    for one in schema.columns:
        use = "target" if one.name in schema.targets else "feature" if one.use else "not used"
        if one.column_class == "identifier":
            use = "identifier, never a feature"
        text = f"column {one.name}: {one.type}, {one.column_class}, {use}"
        found.append(facts.measured("data", text + (", may be missing" if one.nullable else "")))
    return found


def _findings(facts: Facts) -> list[Known]:
    if facts.dataset is None:
        return []
    return [
        facts.measured("data", f"{one.severity}: {one.message}") for one in facts.dataset.findings
    ]


def _models(facts: Facts) -> list[Known]:
    if facts.dataset is None:
        return []
    name = facts.dataset.name
    return [
        Known(
            text=f"{one.reference} was made of {name}@{one.release.lineage.dataset_version}",
            source=f"registry, run {one.release.lineage.run}",
        )
        for one in facts.project.registry.list()
        if one.release.lineage.dataset == name
    ]
