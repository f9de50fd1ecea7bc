"""The data protection impact assessment (Regulation (EU) 2016/679, Art. 35(7)), pre-filled with
what attacks and checks measured.
"""

import msgspec

from casemate.core import figures
from casemate.core.digest import sha256
from casemate.core.text import clean
from casemate.operations.rights.records import stated
from casemate.operations.rights.records.document import CONTROLLER, OFFICER, Known, Point
from casemate.operations.rights.records.facts import Facts
from casemate.operations.rights.records.stated import point
from casemate.stages.data.identifiers.deidentify import Deidentified
from casemate.stages.data.identifiers.groups import Groups

LAW = "Regulation (EU) 2016/679 (GDPR), Art. 35(7) and 36"
STATE = "in force since 25 May 2018, as of November 2026"
NAME = "dpia"
GROUP_SIZE = (
    "k, l and t of de-identification: `[controller] deidentified` names no report of `casemate"
    " privacy deidentify`"
)
MOST = 16 << 20
"""Bytes of a report."""


def assessment(facts: Facts) -> list[Point]:
    """Art. 35(7)(a) to (d), and whom it wants to be asked."""
    known, missing = stated.purpose(facts)
    why, no_basis = stated.basis(facts)
    categories, no_people = stated.words(facts, "people", "categories of people in the data")
    return [
        point(
            facts,
            NAME,
            "35(1)",
            "Why an assessment is made",
            [],
            "whether a high risk is likely, and by which criterion",
        ),
        point(
            facts,
            NAME,
            "35(7)(a)",
            "The processing and its purposes",
            known + categories + stated.data(facts) + _model(facts),
            "; ".join(text for text in (missing, no_people) if text),
        ),
        point(
            facts,
            NAME,
            "35(7)(b)",
            "Necessity and proportionality",
            why,
            "; ".join(
                text
                for text in (
                    no_basis,
                    "why each column is needed, and why no milder means reaches the purpose",
                )
                if text
            ),
        ),
        _risk(facts, "1", "Risk: what the model gives away of people", [figures.PRIVATE]),
        _risk(facts, "2", "Risk: groups of people are served worse", [figures.WHOM]),
        _risk(facts, "3", "Risk: wrong answers", [figures.GOOD, figures.SURE]),
        _risk(facts, "4", "Risk: manipulated or changed inputs", [figures.ROBUST]),
        _risk(facts, "5", "Risk: the data itself", [figures.DATA]),
        point(
            facts,
            NAME,
            "35(7)(c) consequences",
            "What these risks mean for people",
            stated.handled(facts),
            "severity and likelihood of harm for people, risk by risk",
        ),
        point(
            facts,
            NAME,
            "35(7)(d)",
            "Measures against the risks",
            _gates(facts) + stated.measures(facts),
            "measures outside of casemate, and whether what remains is acceptable",
        ),
        point(
            facts, NAME, "35(2)", "Advice of the data protection officer", [], "the advice", OFFICER
        ),
        point(
            facts,
            NAME,
            "35(9)",
            "Views of the people concerned",
            [],
            "their views, or why they were not asked",
        ),
        point(
            facts,
            NAME,
            "35(11)",
            "Review",
            facts.counted("run:assess", "assessments of models"),
            "when this assessment is looked at again",
        ),
        point(
            facts,
            NAME,
            "36(1)",
            "Prior consultation",
            [],
            "whether the authority is to be consulted, because a high risk remains",
        ),
    ]


def _risk(facts: Facts, number: str, title: str, groups: list[figures.Group]) -> Point:
    known, unmeasured = facts.groups(groups)
    if figures.PRIVATE in groups:
        spent, not_spent = stated.spent(facts)
        known += spent
        unmeasured = [one for one in unmeasured if not one.startswith("epsilon")] + not_spent
        hidden, not_hidden = _hidden(facts)
        known, unmeasured = known + hidden, unmeasured + not_hidden
    return point(
        facts,
        NAME,
        f"35(7)(c) {number}",
        title,
        known,
        unmeasured=unmeasured,
        by=CONTROLLER,
    )


def _hidden(facts: Facts) -> tuple[list[Known], list[str]]:
    """(how people hide among others in the source, why that is not known)."""
    name = facts.controller.deidentified
    if not name:
        return [], [GROUP_SIZE]
    try:
        with (facts.project.root / name).open("rb") as file:
            content = file.read(MOST + 1)
        if len(content) > MOST:
            return [], [f"k, l and t of de-identification: {name} is too large for a report"]
        report = msgspec.json.decode(content, type=Deidentified)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return [], [f"k, l and t of de-identification: {name} cannot be read ({error})"]
    if facts.dataset is None or report.sha256 != facts.dataset.source_digest:
        return [], [f"k, l and t of de-identification: {name} is of another table than the source"]
    if report.before is None or report.after is None:
        return [], [f"k, l and t of de-identification: {name} names no quasi-identifiers"]
    source = f"{name} SHA-256 {sha256(content)}, of the source with SHA-256 {report.sha256}"
    left_out = f"; {report.suppressed} rows were left out" if report.suppressed else ""
    return [
        Known(text=f"the source was de-identified by {report.method}{left_out}", source=source),
        Known(text=f"before: {_figures(report.before)}", source=source),
        Known(text=f"after: {_figures(report.after)}", source=source),
    ], ["whether others hold more of the quasi-identifiers than the report names"]


def _figures(found: Groups) -> str:
    parts = [
        f"k = {found.k} over {found.people} people in {found.groups} groups",
        *(f"l = {value} ({name})" for name, value in found.l.items()),
        *(f"t = {value:.3f} ({name})" for name, value in found.t.items()),
        f"{found.unique:.1%} are alone in their group",
    ]
    return clean(", ".join(parts))


def _model(facts: Facts) -> list[Known]:
    if facts.model is None or facts.trained is None:
        return []
    text = f"model {facts.model.reference}: {facts.trained.estimator[:200]}"
    return [facts.measured("train", f"{text}, trained {facts.trained.mode}")]


def _gates(facts: Facts) -> list[Known]:
    if facts.model is None:
        return []
    return [
        Known(
            text=f"gate {one.gate} ({one.limit}): {one.outcome}"
            + (f", waived: {one.waiver}" if one.waiver else ""),
            source=f"release of {facts.model.reference}, {facts.evidence('release')}",
        )
        for one in facts.model.release.verdict.gates
    ]
