"""An incident for others: readable by machines and people, safe to show, and about nobody."""

import datetime
import json

import pytest

from casemate.config import IncidentsTable
from casemate.core.text import clean
from casemate.respond import states
from casemate.respond.alerts import Alert
from casemate.respond.clocks import DUTIES, clocks
from casemate.respond.ocsf import finding
from casemate.respond.report import HEADINGS, Facts, Line, drafts, markdown
from casemate.respond.states import Change, applied

NOW = datetime.datetime(2026, 11, 29, 8, tzinfo=datetime.UTC)
BEGAN = "2026-11-29T08:00:00.000000+00:00"
TITLE = "x | `y` <b>[z](javascript:1)</b> \x1b[2J"
HISTORY = (
    (states.OPENED, Change(at=BEGAN, text=TITLE, root="model:m", severity="high", joined=1)),
    (
        states.ACKNOWLEDGED,
        Change(at=BEGAN, owner='User::"mallory"', aware=BEGAN, personal=True),
    ),
    (states.CONTAINED, Change(at=BEGAN, text="taken off")),
    (states.RECOVERED, Change(at=BEGAN)),
)
REQUIRED = {
    *("activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id"),
    *("metadata", "finding_info_list", "status_id"),
}
"""Of class 2005 in OCSF 1.1.0, with those of the base event."""


def facts(steps: int = len(HISTORY)) -> Facts:
    incident, lines = None, []
    for number, (action, change) in enumerate(HISTORY[:steps]):
        incident = applied(incident, 1, action, change)
        lines.append(
            Line(entry=number, time=BEGAN, who='User::"mallory"', action=action, change=change)
        )
    alert = Alert(source="s", name="n|", severity="page", text="t", began=BEGAN)
    table = IncidentsTable(laws=["gdpr", "hipaa", "ai-act", "cra"])
    return Facts(
        project="p",
        project_id="p-1",
        incident=incident,
        standing=1,
        clocks=clocks(incident, table),
        lines=lines,
        alerts=[alert],
    ).impersonal()


@pytest.mark.parametrize(("steps", "activity", "status"), [(1, 1, 1), (2, 2, 2), (4, 2, 4)])
def test_an_incident_finding_has_what_its_class_requires(steps, activity, status):
    event = json.loads(finding(facts(steps), NOW))
    assert set(event) >= REQUIRED
    assert (event["class_uid"], event["category_uid"]) == (2005, 2)
    assert (event["activity_id"], event["status_id"], event["severity_id"]) == (activity, status, 4)
    assert event["type_uid"] == 200500 + activity
    assert event["assignee_group"]["name"], "one of assignee and assignee_group is there"
    assert {"version", "product"} <= set(event["metadata"])
    assert all({"uid", "title"} <= set(one) for one in event["finding_info_list"])
    assert event["time"] == 1795939200000


def test_nothing_for_others_names_who_did_what_or_drives_a_terminal():
    found = facts()
    for text in (
        markdown(found),
        finding(found, NOW).decode(),
        found.to_json().decode(),
        drafts(found, ["gdpr"]),
    ):
        assert "mallory" not in text
        assert clean(text, lines=True) == text
    page = markdown(found)
    assert "<b>" not in page.replace("\\<b\\>", "")
    assert "[z]" not in page.replace("\\[z\\]", "")


def test_drafts_have_every_heading_and_say_who_fills_the_gaps():
    text = drafts(facts(), ["gdpr", "hipaa", "ai-act", "cra"])
    for title, headings in HEADINGS.values():
        assert f"# DRAFT: {title}" in text
        for heading, content in headings:
            part = text.partition(f"## {heading}\n\n")[2].partition("\n#")[0].strip()
            assert part, heading
            assert "to be filled in by" in part or "Not applicable" in part, (heading, content)
    assert "due 2026-12-02T08:00:00+00:00" in text, "72 hours"
    assert "(Known since" not in text


def test_every_duty_has_a_source_and_a_state_and_counts_from_when_somebody_was_aware():
    assert len({duty.id for duty in DUTIES}) == len(DUTIES)
    assert all(duty.source and duty.state and duty.hours > 0 for duty in DUTIES)
    due = {clock.id: clock.due[:10] for clock in facts().clocks}
    assert due["hipaa-404"] == "2027-01-28"
    assert due["ai-act-73-15"] == "2026-12-14"
    assert due["cra-14-24h"] == "2026-11-30"
    assert due["cra-14-14d"] == "2026-12-13"
    assert {clock.id for clock in facts(1).clocks} == {"acknowledge", "contain"}
