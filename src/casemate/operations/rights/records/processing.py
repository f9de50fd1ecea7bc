"""The record of processing activities (Regulation (EU) 2016/679, Art. 30(1)) and the notice that
people get (Art. 13 and 14).
"""

from casemate.operations.rights.records import stated
from casemate.operations.rights.records.document import OFFICER, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.records.stated import point

LAW = "Regulation (EU) 2016/679 (GDPR)"
STATE = (
    "in force since 25 May 2018, as of November 2026; that more enterprises need no such record was"
    " proposed in 2025 and is no law"
)
RIGHTS = (
    "you can ask for a copy of your data, for correction, erasure, restriction and portability",
    "you can object; a granted restriction or objection takes your rows out of later trainings",
    "consent can be taken back at any time: from then on no training takes your rows",
    "you can ask that no decision is made about you by a model alone",
    "you can complain to a supervisory authority",
)
"""Art. 15 to 22 and 77 in plain words, as far as casemate can carry them out."""
NOTICE_STATE = "in force since 25 May 2018, as of November 2026"


def record(facts: Facts) -> list[Point]:
    """Art. 30(1), (a) to (g)."""
    name = "processing"
    categories, no_people = stated.words(facts, "people", "categories of people in the data")
    transfers, no_transfers = stated.words(
        facts, "transfers", "third countries with safeguards, or that there are none"
    )
    return [
        point(facts, name, "30(1)(a)", "Who is answerable", *stated.who(facts)),
        point(facts, name, "30(1)(b)", "Purposes", *stated.purpose(facts)),
        point(
            facts,
            name,
            "30(1)(c)",
            "Categories of people and of personal data",
            categories + stated.data(facts),
            no_people,
        ),
        point(facts, name, "30(1)(d)", "Categories of recipients", *stated.recipients(facts)),
        point(facts, name, "30(1)(e)", "Transfers to third countries", transfers, no_transfers),
        point(facts, name, "30(1)(f)", "Time limits for erasure", *stated.kept(facts)),
        point(
            facts,
            name,
            "30(1)(g)",
            "Security measures (Art. 32(1))",
            stated.measures(facts),
            "measures outside of casemate: buildings, devices, staff, processors",
        ),
    ]


def notice(facts: Facts) -> list[Point]:
    """Art. 13(1) and (2), with what Art. 14 adds where data comes from elsewhere."""
    name = "notice"
    categories, no_people = stated.words(facts, "people", "categories of people in the data")
    transfers, no_transfers = stated.words(
        facts, "transfers", "whether data goes to third countries, with the safeguards"
    )
    officer, no_officer = stated.words(
        facts, "officer", "contact of the data protection officer, or that there is none"
    )
    answerable, no_controller = stated.several(
        facts,
        name="name of the controller",
        contact="contact details",
        representative="representative, or that none is needed",
    )
    authority, no_authority = stated.words(
        facts, "authority", "the supervisory authority that people can complain to"
    )
    origin, no_origin = stated.words(
        facts, "origin", "where the data comes from, or that it comes from the people themselves"
    )
    known, missing = stated.purpose(facts)
    why, no_basis = stated.basis(facts)
    interests = _interests(facts)
    return [
        point(facts, name, "13(1)(a)", "Who is answerable", answerable, no_controller),
        point(facts, name, "13(1)(b)", "Data protection officer", officer, no_officer),
        point(
            facts,
            name,
            "13(1)(c)",
            "Purposes and legal basis",
            known + why,
            "; ".join(text for text in (missing, no_basis) if text),
        ),
        point(facts, name, "13(1)(d)", "Legitimate interests", [], interests),
        point(facts, name, "13(1)(e)", "Who receives the data", *stated.recipients(facts)),
        point(facts, name, "13(1)(f)", "Transfers to third countries", transfers, no_transfers),
        point(facts, name, "13(2)(a)", "How long data is kept", *stated.kept(facts)),
        point(
            facts,
            name,
            "13(2)(b)",
            "Your rights",
            [Known(text=text, source="what casemate can carry out") for text in RIGHTS],
            "where to ask: an address or a form",
            OFFICER,
        ),
        point(facts, name, "13(2)(c)", "Taking consent back", *_withdrawal(facts)),
        point(facts, name, "13(2)(d)", "Complaints", authority, no_authority),
        point(
            facts,
            name,
            "13(2)(e)",
            "Whether you must provide the data",
            [],
            "whether a law or a contract demands it, and what follows if it is not provided",
        ),
        point(facts, name, "13(2)(f)", "Automated decisions", *_decisions(facts)),
        point(
            facts,
            name,
            "14(1)(d)",
            "Categories of people and of personal data",
            categories + stated.data(facts),
            no_people,
        ),
        point(facts, name, "14(2)(f)", "Where the data comes from", origin, no_origin),
    ]


def _interests(facts: Facts) -> str:
    table = facts.config.privacy.basis.get(facts.config.project.purpose)
    if table is None or table.legal == "legitimate-interests":
        return "the legitimate interests, if they are the basis"
    return ""


def _withdrawal(facts: Facts) -> tuple[list[Known], str]:
    table = facts.config.privacy.basis.get(facts.config.project.purpose)
    if table is None or table.legal != "consent":
        return [], "" if table else "whether consent is the basis"
    text = "consent can be taken back at any time; from then on no training takes your rows"
    return [facts.said(f"[privacy.basis] {facts.config.project.purpose}", text)], ""


def _decisions(facts: Facts) -> tuple[list[Known], str]:
    missing = "whether decisions are made by the model alone, what they mean for people"
    if facts.model is None or facts.dataset is None:
        return [], missing
    target = ", ".join(facts.dataset.schema.targets)
    features = ", ".join(one.name for one in facts.dataset.schema.features)
    text = f"the model {facts.model.reference} predicts {target} from {features}"
    return [facts.measured("data", text)], missing
