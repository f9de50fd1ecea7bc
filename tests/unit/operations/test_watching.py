"""Watching a project: answers on record, outcomes, windows, levels, and alarms that are told once."""

import datetime
import shutil
import sqlite3

import msgspec
import numpy as np
import pytest
from bench.watch import traffic
from tests.unit.operations.people import BEGAN, ask, population

from casemate.controls.audit.feedback import Said
from casemate.core.errors import BackendError, BusyError
from casemate.core.files import alone
from casemate.operations.serving import in_service
from casemate.operations.watching import alarms, looking
from casemate.operations.watching.alarms import EVERY, Alarm, Cause
from casemate.watch.telemetry import DAY, HOUR, Series, Telemetry


@pytest.fixture
def root(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "p")
    return tmp_path / "p"


def told(project, identifier, outcome):
    prediction, _ = project.decisions.find(identifier)
    project.feedback_kept.tell("root", Said(identifier, "outcome", [outcome]), prediction)


def look(root, days: float, overrides=()):
    return traffic.opened(root, BEGAN + days * DAY, overrides).watch.once()


def names(seen) -> list[tuple[str, str]]:
    return [(one.cause.name, one.cause.severity) for one in seen.alarms]


def test_a_day_like_the_training_rows_is_judged_once_and_raises_no_alarm(root):
    ask(root, population(600, 1), 0)
    first = look(root, 0.5)
    assert (first.answers, first.judgements) == (600, [])
    second = look(root, 1.1)
    (judged,) = second.judgements
    assert (judged.rows, judged.inputs, judged.drift.findings) == (600, "", [])
    assert judged.drift.quality == "holds"
    assert second.answers == 0
    assert names(second) == []
    assert look(root, 1.2).judgements == []


def test_a_shift_of_an_important_feature_is_found_named_and_ends_with_the_next_good_day(root):
    ask(root, population(600, 1, older=8), 0)
    seen = look(root, 1.1)
    (judged,) = seen.judgements
    assert judged.drift.findings[0].feature == "age"
    assert ("drift", "note") in names(seen) or ("drift", "page") in names(seen)
    ask(root, population(600, 2), 1)
    after = look(root, 2.1)
    assert "drift" not in dict(names(after))


def test_without_kept_rows_only_answers_are_judged_and_the_reason_is_told(root):
    ask(root, population(600, 1, older=15), 0, keeps_rows=False)
    (judged,) = look(root, 1.1).judgements
    assert "inputs" in judged.inputs
    assert {one.feature for one in judged.drift.findings} == {"(answers)"}
    assert [one.feature for one in judged.shapes] == ["(answers)"]


def test_a_window_goes_on_until_it_has_enough_rows(root):
    ask(root, population(60, 1), 0)
    ask(root, population(60, 2), 1)
    assert look(root, 1.1).judgements == []
    (judged,) = look(root, 2.1).judgements
    assert judged.rows == 120


def test_an_early_look_judges_what_there_is_and_the_whole_window_is_judged_later(root):
    morning, evening = population(300, 1, older=8), population(300, 2, older=8)
    times = BEGAN + np.linspace(60, DAY / 3, 300)
    traffic.answer(traffic.opened(root, BEGAN), "t@1", morning, times)
    assert look(root, 0.5).judgements == []
    (early,) = traffic.opened(root, BEGAN + 0.5 * DAY).watch.once(early=True).judgements
    assert early.rows == 300
    assert "age" in {one.feature for one in early.drift.findings}
    traffic.answer(traffic.opened(root, BEGAN), "t@1", evening, times + DAY / 2)
    seen = look(root, 1.1)
    (whole,) = seen.judgements
    assert (whole.rows, whole.began) == (600, early.began)
    assert "drift" in dict(names(seen))


def test_outcomes_are_joined_to_their_answers_and_a_turned_relation_is_told(root):
    frame = population(900, 1, turned=True)
    ids = ask(root, frame, 0)
    project = traffic.opened(root, BEGAN + 1.5 * DAY)
    for identifier, outcome in zip(ids, frame["outcome"], strict=True):
        told(project, identifier, outcome)
    seen = look(root, 1.6)
    assert seen.outcomes == 900
    assert ("relation-changed", "page") in names(seen)
    assert ("quality-realised", "page") in names(seen)
    (realised,) = traffic.opened(root, BEGAN + 2 * DAY).watch.show().realised
    assert (realised.rows, realised.share) == (900, 1.0)
    right = realised.figures["accuracy"].value
    assert realised.chunk.figures[0].realised is not None
    assert right < 0.5
    assert 0.5 * DAY < realised.delay < 1.5 * DAY


@pytest.mark.long
def test_what_a_version_did_that_answers_nobody_any_more_is_no_alarm(root):
    frame = population(900, 1, turned=True)
    ids = ask(root, frame, 0)
    project = traffic.opened(root, BEGAN + 1.5 * DAY)
    for identifier, outcome in zip(ids, frame["outcome"], strict=True):
        told(project, identifier, outcome)
    assert ("quality-realised", "page") in names(look(root, 1.6))
    (live,) = {one.reference for one in project.registry.list()}
    assert in_service(project) == {live}
    project.holds.place("answers", live, "it is wrong")
    assert in_service(project) == set()
    assert "quality-realised" not in dict(names(look(root, 1.7)))
    project.holds.lift("answers", live, "it is not")
    assert ("quality-realised", "page") in names(look(root, 1.8))


def test_outcomes_that_no_model_could_have_said_are_counted_and_teach_nothing(root):
    ids = ask(root, population(5, 1), 0)
    project = traffic.opened(root, BEGAN + DAY)
    told(project, ids[0], "green")
    seen = look(root, 1.2)
    assert (seen.outcomes, seen.left_out) == (1, 1)


def test_nothing_is_counted_twice_when_a_look_dies_before_it_ends(root, monkeypatch):
    ask(root, population(300, 1), 0)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(looking.alarms, "update", dies)
        with pytest.raises(KeyboardInterrupt):
            look(root, 0.5)
    assert look(root, 0.6).answers == 300
    with Telemetry(root / ".casemate" / "telemetry" / "series.db") as telemetry:
        (series,) = telemetry.series("casemate_rows")
        assert sum(point.total for point in telemetry.points(series)) == 300


def told_in_log(root) -> list[tuple[str, str]]:
    project = traffic.opened(root, BEGAN)
    return [
        (entry.action, entry.detail["alarm"])
        for entry in project.log.entries()
        if entry.action in (alarms.ALARM, alarms.WELL)
    ]


def test_an_alarm_is_told_once_when_it_begins_and_once_when_it_ends(root):
    certificate = ["watch.certificate_days=366"]
    with_certificate(root, 300)
    for hours in (1, 2, 3):
        assert ("certificate-ends", "note") in names(look(root, hours / 24, certificate))
    assert told_in_log(root) == [(alarms.ALARM, "certificate-ends")]
    look(root, 1.0)
    look(root, 1.1)
    assert told_in_log(root) == [
        (alarms.ALARM, "certificate-ends"),
        (alarms.WELL, "certificate-ends"),
    ]


def with_certificate(root, days: int) -> None:
    project = traffic.opened(root, BEGAN)
    with project.database.transaction() as tx:
        project.certificates.issue(tx, "server", ["localhost"], days, "p256")


@pytest.mark.parametrize("dies_after", ["the catalogue heard", "nothing"])
def test_an_alarm_is_told_once_though_the_watcher_dies_while_it_tells(
    root, monkeypatch, dies_after
):
    with_certificate(root, 300)
    certificate = ["watch.certificate_days=366"]
    hear = alarms._hear

    def dies(*told):
        if dies_after == "the catalogue heard":
            hear(*told)
        raise KeyboardInterrupt

    for hours in (1, 2):  # twice: the second one begins by telling what the first one did not
        with monkeypatch.context() as patch:
            patch.setattr(alarms, "_hear", dies)
            try:
                look(root, hours / 24, certificate)
            except KeyboardInterrupt:
                continue
    look(root, 3 / 24, certificate)
    assert told_in_log(root) == [(alarms.ALARM, "certificate-ends")]


def test_what_could_not_be_looked_at_is_an_alarm_and_ends_none(root, monkeypatch):
    with_certificate(root, 300)
    certificate = ["watch.certificate_days=366"]
    look(root, 0.1, certificate)

    def away(*_):
        raise BackendError("the key server is away")
        yield

    monkeypatch.setitem(looking.levels.LOOKERS, "certificates", (away, ("certificate-ends",)))
    seen = look(root, 5.0, certificate)
    assert {("unseen", "page"), ("certificate-ends", "note")} <= set(names(seen))


def test_a_second_watcher_is_told_that_one_looks_already(root):
    (root / ".casemate" / "telemetry").mkdir()
    with (
        alone(root / ".casemate" / "telemetry" / "lock", "this"),
        pytest.raises(BusyError, match="a look"),
    ):
        look(root, 0.1)


def test_a_model_signed_without_a_baseline_is_said_to_be_unmeasured(root, monkeypatch):
    ask(root, population(200, 1), 0)
    read = looking.Catalogue._read

    def without(self, reference):
        found = read(self, reference)
        return found.__class__(**{**vars(found), "baseline": None})

    monkeypatch.setattr(looking.Catalogue, "_read", without)
    (judged,) = look(root, 1.1).judgements
    assert "without a baseline" in judged.unmeasured
    assert judged.drift is None


def test_the_page_holds_no_cell_that_few_rows_have(root, tmp_path):
    frame = population(600, 1, older=8)
    frame.loc[0, "town"] = "xanadu"
    frame.loc[1, "age"] = 8888
    ask(root, frame, 0)
    look(root, 1.1)
    project = traffic.opened(root, BEGAN + 1.2 * DAY)
    project.watch.report(tmp_path / "w.html")
    page = (tmp_path / "w.html").read_text()
    assert "age" in page
    assert "drift" in page
    for text in (page, msgspec.json.encode(project.watch.show()).decode()):
        assert "xanadu" not in text
        assert "8888" not in text


def test_a_damaged_telemetry_file_is_said_to_be_safe_to_delete(root):
    look(root, 0.1)
    path = root / ".casemate" / "telemetry" / "series.db"
    path.write_bytes(b"nothing of the kind" * 500)
    with pytest.raises(BackendError) as caught:
        look(root, 0.2)
    assert "delete" in caught.value.hint
    path.unlink()
    assert look(root, 0.3).answers == 0


def cause(name: str, **labels: str) -> Cause:
    return Cause(name=name, labels=labels, severity="note", text="t", is_settled=True)


def test_what_was_not_looked_at_stays_as_it_was(tmp_path):
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with Telemetry(tmp_path / "t.db") as telemetry, telemetry.transaction():
        both = [cause("drift", model="a@1"), cause("drift", model="b@1")]
        alarms.update(telemetry, both, {("drift", "a@1"), ("drift", "b@1")}, now)
        standing = alarms.update(telemetry, [], {("drift", "a@1")}, now)
        assert [one.cause.labels["model"] for one in standing] == ["b@1"]
        assert alarms.update(telemetry, [], {("drift", EVERY)}, now) == []


def test_an_alarm_that_flaps_is_one(tmp_path):
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    flapping = Cause(name="x", labels={}, severity="note", text="t")
    began = set()
    with Telemetry(tmp_path / "t.db") as telemetry, telemetry.transaction():
        for minute in range(60):
            causes = [flapping] if minute % 2 else []
            moment = now + datetime.timedelta(minutes=minute)
            alarms.update(telemetry, causes, {("x", EVERY)}, moment)
            began |= {one.began for one in telemetry.all_kept(alarms.PREFIX, Alarm).values()}
        assert len(began) == 1


def test_telemetry_is_not_readable_by_others(root):
    look(root, 0.1)
    path = root / ".casemate" / "telemetry" / "series.db"
    assert path.stat().st_mode & 0o077 == 0


def test_the_store_of_series_keeps_its_sums_when_it_is_thinned(tmp_path):
    with Telemetry(tmp_path / "t.db") as telemetry:
        flow, level = Series.flow("f", a="1"), Series.level("l")
        drawn = np.random.default_rng(0)
        times = np.sort(drawn.uniform(BEGAN, BEGAN + 100 * DAY, 5_000))
        values = drawn.uniform(0, 10, 5_000)
        with telemetry.transaction():
            telemetry.add(
                traffic.samples(flow, times, values) + traffic.samples(level, times, values)
            )
        for days in (50, 100, 130):
            with telemetry.transaction():
                telemetry.thin(BEGAN + days * DAY)
            points = telemetry.points(flow)
            assert sum(one.total for one in points) == pytest.approx(values.sum())
            assert sum(one.count for one in telemetry.points(level)) == 5_000
            assert min(one.low for one in points) == values.min()
        assert {one.step for one in points} == {900, 6 * HOUR}
        with telemetry.transaction():
            telemetry.thin(BEGAN + 3000 * DAY)
        assert telemetry.series() == []


def test_a_label_without_end_cannot_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("casemate.watch.telemetry.MOST_SERIES", 10)
    with Telemetry(tmp_path / "t.db") as telemetry, telemetry.transaction():
        telemetry.add(
            one
            for number in range(50)
            for one in traffic.samples(Series.flow("f", caller=str(number)), [BEGAN], [1.0])
        )
        assert len(telemetry.series()) == 10
        assert telemetry.left_out == 40


def test_a_file_of_another_version_is_not_touched(tmp_path):
    with sqlite3.connect(tmp_path / "t.db") as base:
        base.execute("PRAGMA user_version = 99")
    with pytest.raises(BackendError, match="another version"):
        Telemetry(tmp_path / "t.db")
