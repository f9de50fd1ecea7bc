"""Drafts of the notices that follow a breach of personal data: to the authority and to people
(Regulation (EU) 2016/679, Art. 33(3) and 34(2)), and to individuals (45 CFR 164.404(c)(1)), with
how many people lineage says are concerned.
"""

from casemate.controls.keys.manifests import MANIFEST
from casemate.core.entry import Entry
from casemate.operations.incidents.books import KIND
from casemate.operations.rights.records import stated
from casemate.operations.rights.records.document import (
    CONTROLLER,
    ENTITY,
    OFFICER,
    Known,
    Point,
)
from casemate.operations.rights.records.facts import Facts, people_in
from casemate.operations.rights.records.stated import point
from casemate.respond.clocks import DUTIES
from casemate.respond.states import Incident

LAW = "Regulation (EU) 2016/679 (GDPR), Art. 33(3) and 34(2); 45 CFR 164.404(c)(1)"
STATE = "as of November 2026: 72 hours after becoming aware, 60 days under HIPAA"
NAME = "breach"


def notices(facts: Facts, number: int) -> list[Point]:
    """Every point of the notices about one incident.

    Args:
        facts: of the project.
        number: of the incident.

    Raises:
        ConfigError: there is no such incident. VerificationError: the catalogue says something else
            of it than the log.
    """
    with facts.project.database.reading() as tx:
        incident, entries = KIND.history(facts.project, tx, number)
    concerned = _concerned(facts, incident)
    nature, done = _nature(incident, entries), _measures(incident, entries)
    officer, no_officer = stated.words(facts, "officer", "contact for more information")
    consequences = "likely consequences for the people concerned"
    data = stated.data(facts)
    return [
        point(
            facts,
            NAME,
            "33(1)",
            "Aware since, and the clock",
            _clock(incident, entries),
            "reasons for a delay, if the notice comes after 72 hours",
        ),
        point(
            facts,
            NAME,
            "33(3)(a)",
            "Nature of the breach; how many people and records",
            nature + concerned,
            "whether people outside got to see, change or destroy data",
            OFFICER,
        ),
        point(facts, NAME, "33(3)(b)", "Contact", officer, no_officer),
        point(facts, NAME, "33(3)(c)", "Likely consequences", [], consequences, OFFICER),
        point(facts, NAME, "33(3)(d)", "Measures taken or proposed", done, "what more is done"),
        point(
            facts,
            NAME,
            "34(2)",
            "To the people concerned, in plain words",
            nature,
            "the letter; not needed where data was unreadable for others, or no high risk remains"
            " (Art. 34(3)): whether that holds",
            CONTROLLER,
        ),
        point(facts, NAME, "164.404(c)(1)(A)", "What happened, and when", nature, "", ENTITY),
        point(
            facts,
            NAME,
            "164.404(c)(1)(B)",
            "Kinds of health information involved",
            data,
            "which of these were unsecured",
            ENTITY,
        ),
        point(
            facts,
            NAME,
            "164.404(c)(1)(C)",
            "What individuals should do",
            [],
            "steps against harm",
            ENTITY,
        ),
        point(
            facts,
            NAME,
            "164.404(c)(1)(D)",
            "What is done",
            done,
            "what is done to investigate, to mitigate, and against the next one",
            ENTITY,
        ),
        point(
            facts,
            NAME,
            "164.404(c)(1)(E)",
            "Whom to ask",
            officer,
            "a toll-free number, an e-mail address, a web site or a postal address",
            ENTITY,
        ),
    ]


def versions_of(facts: Facts, incident: Incident) -> tuple[list[tuple[str, str]], bool]:
    """(data set versions that an incident's causes lead to, whether causes name them); where they
    name none, every version.
    """
    named: list[tuple[str, str]] = []
    registered = {one.reference: one for one in facts.project.registry.list()}
    every = _sealed(facts)
    for cause in dict.fromkeys((incident.root, *incident.chain)):
        kind, _, name = cause.partition(":")
        if kind in ("model", "endpoint") and name in registered:
            lineage = registered[name].release.lineage
            named.append((lineage.dataset, lineage.dataset_version))
        elif kind == "dataset":
            dataset, _, version = name.partition("@")
            named += [one for one in every if one[0] == dataset and version in ("", one[1])]
    return (sorted(set(named)), True) if named else (sorted(every), False)


def _sealed(facts: Facts) -> set[tuple[str, str]]:
    """Every version whose rows are here, and every one that is in the index."""
    folders = (path.parent for path in (facts.project.state / "datasets").glob(f"*/*/{MANIFEST}"))
    here = {(one.parent.name, one.name) for one in folders if not one.name.startswith(".")}
    return here | facts.project.identifiers.rows.known()


def _concerned(facts: Facts, incident: Incident) -> list[Known]:
    versions, is_named = versions_of(facts, incident)
    index = facts.project.identifiers.rows.known()
    told = [one for one in versions if one in index]
    people = people_in(facts.project, told)
    how = (
        "by the incident's causes" if is_named else "of every sealed version, the causes name none"
    )
    source = "lineage: index of subjects, by pseudonym"
    if people is None:
        text = "people concerned: not known, because a version says not whose its rows are"
        return [Known(text=text, source=source)]
    untold = len(versions) - len(told)
    count = f"people concerned at most: {people}, {how}"
    if untold:
        count = (
            f"people concerned: {people} of {len(told)} versions, {how}, and those of {untold}"
            " others, of which it is not known whose their rows are"
        )
    names = ", ".join("@".join(one) for one in versions[:20])
    return [
        Known(text=count, source=source),
        Known(text=f"data set versions concerned: {len(versions)} ({names})", source=source),
    ]


def _nature(incident: Incident, entries: list[Entry]) -> list[Known]:
    source = f"incident {incident.id}, log entry {entries[0].index}"
    text = f"{incident.title}; opened {incident.opened[:16]}, severity {incident.severity}"
    return [
        Known(text=text, source=source),
        Known(text=f"cause {incident.root}, {incident.alerts} alerts", source=source),
    ]


def _clock(incident: Incident, entries: list[Entry]) -> list[Known]:
    source = f"incident {incident.id}, log entry {entries[-1].index}"
    if incident.aware is None:
        return [Known(text="nobody has said since when it is known", source=source)]
    known = [Known(text=f"known since {incident.aware[:16]}", source=source)]
    known += [
        Known(text=f"{one.article}: {one.what}, within {one.hours} hours", source=one.source)
        for one in DUTIES
        if one.law in ("gdpr", "hipaa")
    ]
    return known


def _measures(incident: Incident, entries: list[Entry]) -> list[Known]:
    steps = ("contained", "recovered", "closed")
    return [
        Known(
            text=f"{step} {time[:16]}",
            source=f"incident {incident.id}, log entry {entries[-1].index}",
        )
        for step in steps
        if (time := getattr(incident, step))
    ]
