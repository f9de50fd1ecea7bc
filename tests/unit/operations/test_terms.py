"""What is over its term goes, by the calendar and whole; what is held stays; the log has both."""

import datetime
import shutil
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import tree
from tests.unit.controls.test_audit_refusals import kept, predicted
from tests.unit.operations.test_requests import Now

import casemate
from casemate.config.terms import TermTable
from casemate.controls.audit.feedback import Said
from casemate.controls.audit.predictions import GROUPS
from casemate.core.errors import BusyError, ConfigError, VerificationError
from casemate.core.outbox import OUTBOX
from casemate.operations import terms
from casemate.operations.calendar import begins
from casemate.operations.fsck import examine
from casemate.operations.logs.ingest import ingest, store_of
from casemate.operations.rights.register import REQUESTS
from casemate.operations.termed import versions
from casemate.respond.requests.states import OPENED, Change
from casemate.serve.watches import forget
from casemate.watch.levels import FILE, FOLDER
from casemate.watch.telemetry import Sample, Series, Telemetry

day = datetime.date.fromisoformat
BERLIN = ZoneInfo("Europe/Berlin")
YEARS = """
[access]
timezone = "Europe/Berlin"
[notices.desk]
kind = "folder"
to = "out"
on = ["request:due"]
[privacy.retention.data]
months = 12
reason = "agreement of 2026"
[privacy.retention.model]
months = 24
reason = "our own decision"
"""
RECORDS = "".join(
    f'[privacy.retention.{kind}]\ndays = 30\nreason = "r"\n'
    for kind in ("predictions", "outbox", "logs", "telemetry")
)


def opened(root, at):
    """(project, its clock)."""
    project = casemate.open(root)
    project.clock = project.log.clock = Now(at)
    return project, project.clock


@pytest.fixture
def old(aged, tmp_path):
    root, ids = aged
    shutil.copytree(root, tmp_path / "p")
    file = tmp_path / "p" / "casemate.toml"
    file.write_text(file.read_text() + YEARS + RECORDS)
    return tmp_path / "p", ids


def removed(project):
    return [entry for entry in project.log.entries() if entry.action == versions.ACTION]


@pytest.mark.parametrize(
    ("begins", "months", "goes"),
    [
        ("2027-01-31", 1, "2027-03-01"),  # February's last day is the last day
        ("2028-02-29", 12, "2029-03-01"),  # no such day a year later
        ("2027-02-28", 12, "2028-02-29"),
        ("2026-03-28", 12, "2027-03-29"),  # over the day on which the clock goes ahead
    ],
)
def test_a_month_is_one_of_the_calendar_and_its_last_day_is_kept_whole(begins, months, goes):
    assert terms._ends(TermTable(months=months, reason="r"), day(begins)) == day(goes)


@given(
    today=st.dates(day("2000-01-01"), day("2100-01-01")),
    months=st.none() | st.integers(1, 240),
    days=st.integers(1, 4000),
)
def test_what_is_over_today_is_what_lies_before_one_day(today, months, days):
    term = TermTable(months=months, reason="r") if months else TermTable(days=days, reason="r")
    cut = terms._cut(term, today)
    one = datetime.timedelta(days=1)
    assert terms._ends(term, cut) > today >= terms._ends(term, cut - one)


@pytest.mark.parametrize(
    ("text", "hours"), [("2027-03-28", 23), ("2027-10-31", 25), ("2027-06-01", 24)]
)
def test_a_day_begins_at_midnight_however_long_it_is(text, hours):
    one = datetime.timedelta(days=1)
    length = begins(day(text) + one, BERLIN) - begins(day(text), BERLIN)
    assert length == datetime.timedelta(hours=hours)


def test_a_plan_says_what_goes_when_and_why_and_changes_nothing(old, cli):
    root, _ = old
    before = tree(root / ".casemate")
    said = cli("privacy", "retention", "plan", "--config", root)
    assert said.code == 0, said.err
    assert "0 would go" in said.out
    assert "no term is named for inputs, feedback" in said.out
    assert tree(root / ".casemate") == before


def test_rows_go_at_once_and_the_log_says_what_they_were(old, cli):
    root, _ = old
    project, _ = opened(root, "2028-06-01T00:00:00+00:00")
    made = {one.name: one for one in versions.find_data(project, BERLIN)}
    assert len(made) == 3
    found = project.privacy.retention.apply()
    gone = [one.name for one in found.going if one.what == "data"]
    assert len(gone) == 2
    assert [one.kept for one in found.staying if one.what == "data"] == [versions.NEWEST]
    told = {entry.resource: entry for entry in removed(project)}
    for name in gone:
        entry = told[f'Retention::"{name}"']
        assert (entry.detail["digest"], entry.detail["count"]) == (made[name].digest, 200)
        assert entry.detail["reason"] == "agreement of 2026"
        folder = root / ".casemate" / "datasets" / name.replace("@", "/")
        assert [path.name for path in folder.iterdir()] == ["removed.json"]
        with pytest.raises(VerificationError, match="removed when their term ended"):
            project.datasets[name].to_arrow()
    assert examine(project).damage == []
    again = project.privacy.retention.apply()
    assert again.going == []
    assert len(removed(project)) == len(told)
    project.database.close()
    assert cli("audit", "verify", "--config", root).code == 0


def test_rows_that_are_gone_without_a_word_of_the_log_are_found(old):
    root, _ = old
    project, _ = opened(root, "2028-06-01T00:00:00+00:00")
    project.privacy.retention.apply()
    marker = next((root / ".casemate" / "datasets").glob("*/*/removed.json"))
    text = marker.read_text()
    marker.write_text(text.replace('"manifest": "', '"manifest": "0'))
    assert marker.read_text() != text
    (damage,) = examine(project).damage
    assert "the log says nothing of it" in damage.state


def test_a_model_goes_with_its_run_unless_it_is_served_or_the_newest(old):
    root, ids = old
    project, _ = opened(root, "2032-01-01T00:00:00+00:00")
    name = project.config.project.name
    project.models[f"{name}@1"].promote("live")
    data = project.registry.get(f"{name}@1").release.lineage
    found = project.privacy.retention.apply()
    assert [one.name for one in found.going if one.what == "model"] == [f"{name}@2"]
    assert {one.kept for one in found.staying if one.what == "model"} == {
        versions.SERVED,
        versions.NEWEST,
    }
    (rows,) = [one for one in found.going if one.name.endswith(data.dataset_version)]
    assert rows.needs == [f"{name}@1"]  # said, and its card stays
    assert project.models[f"{name}@1"].verify()
    assert {run.id for run in project.engine.runs()} == {ids[0], ids[2]}
    assert examine(project).damage == []


@pytest.mark.parametrize("kind", ["run", "version", "data set", "table"])
def test_a_hold_wins_and_that_is_recorded(old, kind):
    root, _ = old
    project, _ = opened(root, "2028-06-01T00:00:00+00:00")
    first = project.privacy.retention.plan().going[0]
    run = next(run for run, _, one in _sealed(project) if f"{one.name}@{one.version}" == first.name)
    of = {"run": run, "version": first.name, "data set": first.name.split("@")[0]}
    if kind == "table":
        project.database.close()
        file = root / "casemate.toml"
        file.write_text(f'{file.read_text()}\n[retention]\nhold = ["{first.name}"]\n')
        project, _ = opened(root, "2028-06-01T00:00:00+00:00")
    else:
        project.holds.place("deletion", of[kind], "a court asks")
    found = project.privacy.retention.apply()
    assert first.name not in [one.name for one in found.going]
    assert "a hold on" in next(one.kept for one in found.staying if one.name == first.name)
    kept_back = [one.resource for one in project.log.entries() if one.action == terms.HELD]
    assert f'Retention::"{first.name}"' in kept_back
    project.datasets[first.name].to_arrow()
    if kind == "version":
        project.holds.lift("deletion", first.name, "it is over")
        assert first.name in [one.name for one in project.privacy.retention.apply().going]


def _sealed(project):
    with project.database.reading() as tx:
        return versions._sealed(tx)


def test_a_hold_that_comes_after_the_plan_keeps_what_it_names(old, monkeypatch):
    root, _ = old
    project, _ = opened(root, "2028-06-01T00:00:00+00:00")
    planned = terms.planned

    def look(*given):
        found = planned(*given)
        project.holds.place("deletion", found.going[0].name, "just now")
        return found

    monkeypatch.setattr(terms, "planned", look)
    with pytest.raises(BusyError, match="placed while it was about to go"):
        project.privacy.retention.apply()
    assert removed(project) == []


def test_there_is_no_hold_on_what_nobody_knows(old):
    project, _ = opened(old[0], "2028-06-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match="no run, model, data set or kind of records"):
        project.holds.place("deletion", "nothing@1", "r")
    assert project.holds.place("deletion", "predictions", "r")


def test_records_before_the_day_go_and_others_stay(old):
    root, _ = old
    project, clock = opened(root, "2027-03-27T22:59:59+00:00")  # a second before midnight there
    project.outbox.clock = clock
    for number in (1, 2):
        kept(project.log, predicted(number))
        with project.database.transaction() as tx:
            project.outbox.enqueue(tx, "request:due", f"k/{number}", {"who": f"n{number}"})
        clock.set("2027-03-27T23:00:00+00:00")
    project.outbox.send()
    with project.database.transaction() as tx:
        project.outbox.enqueue(tx, "request:due", "k/3", {"who": "waits"})
        tx.execute(OUTBOX.update().where(OUTBOX.c.key == "k/3/desk").values(created="2027-01-01"))
    with Telemetry(root / ".casemate" / FOLDER / FILE) as telemetry, telemetry.transaction():
        for text in ("2027-03-27T22:59:00+00:00", "2027-03-27T23:00:00+00:00"):
            at = datetime.datetime.fromisoformat(text).timestamp()
            telemetry.add([Sample(Series.level("x"), at, 1.0)])
    ingest(project, store_of(project))
    clock.set("2027-04-26T21:59:59+00:00")
    assert not [one for one in project.privacy.retention.plan().going if "@" not in one.name]
    clock.set("2027-04-26T22:00:00+00:00")  # midnight, and it is summer time
    found = project.privacy.retention.apply()
    going = {one.name: one.count for one in found.going}
    assert going == {"predictions": 1, "outbox": 1, "telemetry": 1}
    with project.database.reading() as tx:
        sealed = list(tx.execute(sa.select(GROUPS.c.sealed).order_by(GROUPS.c.index)).scalars())
    assert (sealed[0], sealed[1] is None) == (None, False)
    said = [project.outbox.message(one["id"]).content for one in project.outbox.messages()]
    assert said == [{}, {"who": "n2"}, {"who": "waits"}]
    with Telemetry(root / ".casemate" / FOLDER / FILE) as telemetry:
        assert len(telemetry.points(Series.level("x"))) == 1
    assert store_of(project).days()[0] == "2027-03-27"
    clock.set("2027-04-27T22:00:00+00:00")  # that day of UTC ended on the 28th here
    logs = [one for one in project.privacy.retention.apply().going if one.name == "logs"]
    assert [one.count for one in logs] == [1]
    assert store_of(project).days() == []
    assert examine(project).damage == []
    again = project.privacy.retention.plan().going
    assert [one.name for one in again if "@" not in one.name] == []


@pytest.mark.parametrize("of", ["predictions", "inputs", "feedback", "logs"])
def test_what_is_held_is_not_taken_by_terms_of_other_tables_either(old, of):
    root, _ = old
    project, clock = opened(root, "2027-03-01T10:00:00+00:00")
    kept(project.log, predicted(1))
    project.feedback_kept.tell("x", Said(predicted(1).id, "outcome", [1]), predicted(1))
    store = store_of(project)
    with store.writing():
        ingest(project, store)
    project.holds.place("deletion", of, "a court asks")
    clock.set("2030-01-01T00:00:00+00:00")
    forget(project)
    with store.writing():
        ingest(project, store)
    project.privacy.retention.apply()
    with project.database.reading() as tx:
        (row,) = tx.execute(sa.select(GROUPS)).mappings()
    there = {
        "predictions": row["sealed"] is not None,
        "inputs": row["inputs"] is not None,
        "feedback": next(iter(project.feedback_kept.all())).value is not None,
        "logs": "2027-03-01" in store.days(),
    }
    goes = {"predictions": {"inputs"}, "inputs": set()}.get(of, {"predictions", "inputs"})
    assert there[of]
    assert not any(there[one] for one in goes)


def test_a_term_of_nothing_or_of_no_length_is_refused(old, cli):
    root, _ = old
    file, text = root / "casemate.toml", (root / "casemate.toml").read_text()
    for name, term, said in (
        ("visitors", "days = 3", "one of data, model"),
        ('"outbox:x"', "days = 3", "one of data, model"),
        ("feedback", "days = 3\nmonths = 1", "either days or months"),
        ("feedback", "", "either days or months"),
    ):
        file.write_text(f'{text}\n[privacy.retention.{name}]\nreason = "r"\n{term}\n')
        done = cli("privacy", "retention", "plan", "--config", root)
        assert (done.code != 0, said in done.err) == (True, True), done.err


def test_rows_that_somebody_says_are_wrong_stay_until_that_was_answered(old):
    root, _ = old
    project, _ = opened(root, "2028-06-01T00:00:00+00:00")
    wrong = terms.planned(project).going[0].name
    told = Change(
        at="2028-06-01T00:00:00+00:00",
        day="2028-06-01",
        subject="0" * 64,
        kind="rectification",
        law="gdpr",
        received="2028-06-01",
        versions=(wrong,),
    )
    with project.database.transaction() as tx:
        REQUESTS.written(project, tx, "x", 1, OPENED, told)
    staying = {one.name: one.kept for one in terms.planned(project).staying}
    assert staying[wrong] == "it has the rows of which request 1 says that they are wrong"
    project.privacy.requests.decide(1, "refuse", "they are right")
    assert wrong in [one.name for one in terms.planned(project).going]
