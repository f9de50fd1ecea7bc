"""Findings become incidents, which follow them; waivers hold for a severity; scans come in time."""

import datetime

import pytest
from msgspec import structs
from tests.unit.operations.test_scans import DAY, NOW, Clock, Fake, hit

import casemate
from casemate.core.errors import VerificationError
from casemate.operations.controls.facts import Facts
from casemate.operations.controls.ofscans import looked
from casemate.operations.incidents import offindings
from casemate.operations.lateness import late, period
from casemate.operations.scanned import blocking, standing_of
from casemate.operations.scans import looking
from casemate.operations.watching import levels
from casemate.respond.telling import ticket_of


@pytest.fixture
def configured(tiny_project):
    """The project, with more in its `[scan]`."""

    def open_(text=""):
        with (tiny_project / "casemate.toml").open("a") as file:
            file.write(f"\n[scan]\n{text}\n")
        project = casemate.open(tiny_project)
        project.clock = Clock()
        return project

    return open_


@pytest.fixture
def scan(monkeypatch):
    def scan(project, *hits, kind="code", **fake):
        fakes = [Fake(*hits, name="fake", kind=kind, **fake)]
        monkeypatch.setattr(
            looking, "scanners", lambda _, kind: [one for one in fakes if one.kind == kind]
        )
        return project.scans.scan([kind])

    return scan


def later(project, **span):
    project.clock.time += datetime.timedelta(**span)


def only(project):
    (listed,) = project.incidents.list("all")
    return listed.incident


GRAVE = hit(severity="high")


def test_a_grave_finding_is_one_incident_however_often_it_is_seen(configured, scan):
    project = configured()
    for _ in range(3):
        scan(project, GRAVE, hit(material="light"))
        later(project, hours=1)
    assert (only(project).severity, only(project).state, only(project).alerts) == ("high", "new", 1)


def test_a_look_at_which_nothing_is_to_be_told_keeps_nobody_from_writing(
    configured, scan, monkeypatch
):
    project = configured()
    scan(project, GRAVE)
    monkeypatch.setattr(project.database, "transaction", None)
    assert offindings.tell(project) == 0


@pytest.mark.parametrize(
    ("least", "count"), [("critical", 0), ("high", 1), ("medium", 2), ("none", 0)]
)
def test_what_is_an_incident_says_the_configuration(least, count, configured, scan):
    project = configured(f'incidents = "{least}"')
    scan(project, GRAVE, hit(material="medium"), hit(material="low", severity="low"))
    assert len(project.incidents.list("all")) == count


def test_an_incident_is_closed_when_its_finding_is_mended_and_open_again_when_it_is_back(
    configured, scan
):
    project = configured()
    scan(project, GRAVE)
    later(project, hours=1)
    scan(project, unseen={"a.py": "x"})
    assert only(project).state == "new", "who could not look has not seen that it is gone"
    scan(project)
    assert only(project).state == "closed"
    later(project, days=3)
    scan(project, hit(severity="critical"))
    assert (only(project).state, only(project).severity) == ("acknowledged", "critical")
    later(project, hours=1)
    scan(project)
    assert only(project).state == "closed"


def test_what_was_reviewed_is_over_and_its_finding_opens_another_incident(configured, scan):
    project = configured()
    scan(project, GRAVE)
    later(project, hours=1)
    scan(project)
    project.incidents.review(1, "mended by ana")
    later(project, days=3)
    scan(project, GRAVE)
    newest = project.incidents.list("open")[0].incident
    assert (newest.id, newest.follows) == (2, 1)


def test_what_people_open_again_is_theirs_to_close(configured, scan):
    project = configured()
    scan(project, GRAVE)
    later(project, hours=1)
    scan(project)
    project.incidents.reopen(1, "where else is it?")
    later(project, hours=1)
    scan(project)
    assert only(project).state == "acknowledged"


def test_where_data_of_people_may_be_concerned_nobody_but_people_closes(configured, scan):
    project = configured()
    scan(project, GRAVE)
    project.incidents.acknowledge(1, personal_data=True)
    later(project, hours=1)
    scan(project)
    assert only(project).state == "recovered"


def test_a_waiver_closes_an_incident_until_it_ends(configured, scan):
    project = configured()
    print_ = scan(project, GRAVE).blocking[0]
    later(project, hours=1)
    project.scans.waive(print_, project.clock.now() + DAY, "an example")
    assert only(project).state == "closed"
    later(project, days=2)
    assert offindings.tell(project) == 1
    assert only(project).state == "acknowledged"
    assert offindings.tell(project) == 0


def test_a_waiver_that_is_ended_opens_its_incident_again(configured, scan):
    project = configured()
    print_ = scan(project, GRAVE).blocking[0]
    project.scans.waive(print_, project.clock.now() + DAY, "an example")
    later(project, hours=1)
    assert project.scans.unwaive(print_) == 1
    assert only(project).state == "acknowledged"


def test_a_waiver_holds_no_more_when_its_finding_becomes_graver(configured, scan):
    project = configured()
    print_ = scan(project, hit(severity="medium")).blocking[0]
    project.scans.waive(print_, NOW + 30 * DAY, "an example")
    assert scan(project, hit(severity="low")).blocking == []
    assert scan(project, hit(severity="medium")).blocking == []
    graver = scan(project, GRAVE)
    assert graver.blocking == [print_]
    assert (graver.found[0].waiver, graver.found[0].outgrown) == (None, "medium")
    assert only(project).state == "new"
    project.scans.waive(print_, NOW + 20 * DAY, "an example still")
    (one,) = scan(project, GRAVE).found
    assert (one.waiver.reason, one.outgrown) == ("an example still", None)
    assert scan(project, hit(severity="critical")).blocking == [print_]
    assert project.scans.unwaive(print_) == 2


def test_a_waiver_says_the_severity_in_what_is_signed(configured, scan):
    import sqlalchemy as sa

    from casemate.stages.release.waiver import WAIVERS

    project = configured()
    print_ = scan(project, hit(severity="low")).found[0].kept.finding.fingerprint
    project.scans.waive(print_, NOW + DAY, "r")
    with project.database.transaction() as tx:
        tx.execute(sa.update(WAIVERS).values(gate=f"critical:{print_}"))
    with pytest.raises(VerificationError):
        standing_of(project)


def test_an_incident_has_the_day_and_the_owner_of_its_finding(configured, scan):
    project = configured("owners = { code = 'ana' }\n[scan.due]\nhigh = 3")
    project.access.add_user("ana", ["scientist"], "four or five words")
    scan(project, GRAVE)
    found = only(project)
    assert found.owner == 'User::"ana"'
    assert found.due == (NOW + 3 * DAY).date().isoformat()
    assert f"To be mended by: {found.due}\n" in ticket_of(found).body
    scan(project, hit(severity="critical"))
    assert only(project).due == (NOW + 2 * DAY).date().isoformat()


def test_advisories_about_one_package_are_one_incident(configured, scan):
    project = configured()
    of = {"kind": "dependencies", "path": ""}
    vulnerable = [
        hit(rule="dependency.vulnerable", path="", material=f"CVE-{n}", severity="high", package=p)
        for n, p in enumerate(["leaky", "leaky", "other"])
    ]
    scan(project, *vulnerable, kind=of["kind"])
    assert {one.incident.root: one.incident.alerts for one in project.incidents.list("all")} == {
        "package:leaky": 2,
        "package:other": 1,
    }
    later(project, hours=1)
    scan(project, vulnerable[0], kind=of["kind"])
    states = {one.incident.root: one.incident.state for one in project.incidents.list("all")}
    assert states == {"package:leaky": "new", "package:other": "closed"}


def test_what_comes_later_drives_no_finding_out_of_its_incident(configured, scan, monkeypatch):
    monkeypatch.setattr(offindings, "MOST", 2)
    project = configured()
    many = [hit(material=str(number), severity="high") for number in range(3)]
    scan(project, *many)
    assert len(project.incidents.list("all")) == 2
    later(project, hours=1)
    scan(project, *many, hit(material="worst", severity="critical"))
    assert [one.incident.state for one in project.incidents.list("all")] == ["new", "new"]
    scan(project, many[2])
    assert {one.incident.state for one in project.incidents.list("all")} >= {"new", "closed"}


def test_an_overdue_finding_alarms_whatever_its_severity(configured, scan):
    project = configured()
    scan(project, hit(severity="low"))
    later(project, days=180)
    assert not alarms(project, "finding-overdue")
    later(project, days=1)
    (cause,) = alarms(project, "finding-overdue")
    assert cause.severity == "page" and "scientist" in cause.hint
    print_ = standing_of(project)[0].kept.finding.fingerprint
    project.scans.waive(print_, project.clock.now() + DAY, "r")
    assert not alarms(project, "finding-overdue")


def alarms(project, name):
    look = levels.look(project, project.clock.now())
    assert not [one for one in look.causes if one.name == "unseen"]
    return [one for one in look.causes if one.name == name]


def test_a_scan_that_did_not_happen_in_time_is_an_alarm_and_a_failed_control(configured, scan):
    project = configured('every = "2 days"\nkinds = ["code"]')
    assert "never looked at" in alarms(project, "scan-late")[0].text
    scan(project)
    later(project, hours=52)
    assert not alarms(project, "scan-late") and looked(Facts(project)).outcome == "passed"
    later(project, hours=1)
    assert "is to be every 2 days" in alarms(project, "scan-late")[0].text
    fact = looked(Facts(project))
    assert fact.outcome == "failed" and "every 2 days" in fact.said


def test_nobody_is_late_where_no_schedule_is(configured):
    project = configured()
    assert late(project, project.clock.now()) == []


@pytest.mark.parametrize(("text", "hours"), [("1 week", 168), ("3 days", 72), ("12 hours", 12)])
def test_a_schedule_is_in_hours_days_or_weeks(text, hours):
    assert period(text) == datetime.timedelta(hours=hours)


def test_a_gate_is_not_told_of_a_waiver_that_holds_no_more(configured, scan):
    project = configured()
    print_ = scan(project, hit(severity="medium")).blocking[0]
    project.scans.waive(print_, NOW + DAY, "r")
    scan(project, GRAVE)
    found = standing_of(project)
    assert [structs.replace(one, outgrown=None).open for one in blocking(found, "medium")] == [True]
