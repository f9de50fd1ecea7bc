"""Requests of people: in time by the controller's calendar, told of before it is over, and done as
granted or not at all.
"""

import csv
import datetime
import json
import shutil
import time

import pytest
import sqlalchemy as sa
from tests.unit.controls import test_subjects
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS, release

import casemate
from casemate.core.errors import AccessDenied, ConfigError, RefusedError, VerificationError
from casemate.core.lease import RUNS
from casemate.operations import models
from casemate.operations.fsck import examine
from casemate.operations.keys.erasure import erase
from casemate.operations.rights.kept import require_kept
from casemate.operations.rights.requests import remind
from casemate.respond.requests.tables import REQUESTS

day = datetime.date.fromisoformat
HERE = "[privacy]\nholidays = ['2026-12-25']\nremind_days = 3\n"
ZONE = "[access]\ntimezone = 'Europe/Berlin'\n"


class Now:
    """A clock that somebody sets."""

    def __init__(self, text):
        self.set(text)

    def set(self, text):
        self.time = datetime.datetime.fromisoformat(text)

    def now(self):
        return self.time

    def monotonic(self):
        return time.monotonic()


@pytest.fixture
def ward(home, tmp_path):
    made = Ward(tmp_path / "ward", PERSONS)
    made.sealed(columns=HERE + ZONE + NOTICE).close()
    return made


ONE_CLASS = """@id("one-class")
forbid (principal, action == Action::"dataset:read-rows", resource)
unless { resource.hasTag("y") && resource.getTag("y") == "0" };
"""
NOTICE = "[notices.desk]\nkind = 'folder'\nto = 'out'\non = ['request:due', 'request:overdue']\n"


@pytest.fixture
def asked(ward):
    """(project, its clock) on a day of 2027: what is sealed now was sealed before."""
    project = casemate.open(ward.root)
    project.clock = Now("2027-03-05T10:00:00+00:00")
    project.log.clock = project.clock
    return project, project.clock


def told(project):
    found = [project.outbox.message(one["id"]) for one in project.outbox.messages()]
    return [(one.event, one.content["due"]) for one in found if one.event.startswith("request:")]


def test_days_are_the_controllers_and_an_hour_that_comes_twice_moves_none(asked):
    project, clock = asked
    clock.set("2027-03-04T23:30:00+00:00")  # half past midnight in Berlin
    found = project.privacy.requests.begin(PERSONS[0], "access")
    assert found.request.received == "2027-03-05"
    assert [one.due for one in found.clocks] == ["2027-04-05"]
    clock.set("2027-10-31T00:30:00+00:00")  # summer time ends: 02:30 comes twice
    assert project.privacy.requests.begin(PERSONS[0], "access").request.received == "2027-10-31"
    with pytest.raises(ConfigError, match="lies ahead"):
        project.privacy.requests.begin(PERSONS[0], "access", received=day("2027-11-01"))


def test_people_are_told_before_a_term_ends_once_and_when_it_ended_once(asked):
    project, clock = asked
    requests = project.privacy.requests
    requests.begin(PERSONS[0], "know", law="ccpa")
    assert remind(project) == 0
    clock.set("2027-03-17T10:00:00+00:00")  # two days before the tenth working day
    assert (remind(project), remind(project)) == (1, 0)
    requests.decide(1, "confirm")
    clock.set("2027-03-30T10:00:00+00:00")
    assert remind(project) == 0, "confirmed: nothing is late"
    clock.set("2027-04-18T21:59:00+00:00")
    requests.decide(1, "extend", "two systems")
    clock.set("2027-04-20T10:00:00+00:00")
    assert remind(project) == 0, "extended"
    clock.set("2027-06-01T10:00:00+00:00")
    assert (remind(project), remind(project)) == (1, 0)
    clock.set("2027-06-03T21:59:00+00:00")  # the last minute of the last day in Berlin
    assert remind(project) == 0
    clock.set("2027-06-03T22:01:00+00:00")
    assert (remind(project), remind(project)) == (1, 0)
    assert requests.show(1).request.overdue == ("ccpa-answer/2027-06-03",)
    assert sorted(told(project)) == [
        ("request:due", "2027-03-19"),
        ("request:due", "2027-06-03"),
        ("request:overdue", "2027-06-03"),
    ]


def test_an_extension_comes_in_time_with_a_reason_and_once(asked):
    project, clock = asked
    requests = project.privacy.requests
    requests.begin(PERSONS[0], "access")  # until Monday 5 April 2027
    with pytest.raises(RefusedError, match="needs its reason"):
        requests.decide(1, "extend")
    clock.set("2027-04-06T08:00:00+00:00")
    with pytest.raises(RefusedError, match="too late to extend"):
        requests.decide(1, "extend", "many")
    clock.set("2027-04-05T21:59:00+00:00")
    found = requests.decide(1, "extend", "many")
    assert [one.due for one in found.clocks] == ["2027-06-07"]
    with pytest.raises(RefusedError, match="can be once"):
        requests.decide(1, "extend", "more")
    requests.begin(PERSONS[0], "opt-out", law="ccpa")
    with pytest.raises(RefusedError, match="gives no longer time"):
        requests.decide(2, "extend", "many")


def test_refusing_needs_a_reason_and_ends_it(asked):
    project, _ = asked
    requests = project.privacy.requests
    requests.begin(PERSONS[0], "objection")
    with pytest.raises(RefusedError, match="needs its reason"):
        requests.decide(1, "refuse")
    found = requests.decide(1, "refuse", "public interest, section 4")
    assert (found.request.state, found.clocks[0].done) == ("refused", True)
    with pytest.raises(RefusedError, match="is refused"):
        requests.decide(1, "grant")
    assert requests.list() == []
    assert [one.id for one, _ in requests.list("all")] == [1]
    with pytest.raises(ConfigError, match="there is no request 7"):
        requests.show(7)


@pytest.mark.parametrize(
    ("law", "kind"),
    [
        ("lgpd", "erasure"),
        ("lgpd", "rectification"),
        ("lgpd", "portability"),
        ("hipaa", "restriction"),
    ],
)
def test_a_request_without_a_term_in_the_law_is_kept_and_says_so(asked, cli, law, kind):
    project, clock = asked
    found = project.privacy.requests.begin(PERSONS[0], kind, law=law)
    assert (found.request.kind, found.clocks) == (kind, [])
    clock.set("2029-01-01T00:00:00+00:00")
    assert remind(project) == 0
    for words in (("list",), ("show", "1")):
        said = cli("privacy", "request", *words, "--config", project.root)
        assert "no term known" in said.out, said.err


@pytest.mark.parametrize(
    ("law", "kind", "own"),
    [
        ("gdpr", "delete", "erasure"),
        ("gdpr", "know", "access, portability"),
        ("ccpa", "portability", "know"),
        ("ccpa", "objection", "opt-out"),
        ("hipaa", "correct", "rectification"),
    ],
)
def test_another_laws_word_does_not_lose_the_term_that_the_law_has(asked, law, kind, own):
    with pytest.raises(ConfigError, match=f"{law} knows no {kind}") as refused:
        asked[0].privacy.requests.begin(PERSONS[0], kind, law=law)
    assert refused.value.hint == f"there it is {own}"


def test_a_copy_has_every_row_of_the_person_nobody_elses_and_what_was_made_of_them(asked, tmp_path):
    project, _ = asked
    release(project, 1)
    with project.database.transaction() as tx:
        about = 'Model::"ward"'
        project.log.append(tx, 'User::"x"', "model:export", about, "allowed", {"version": 1})
    requests = project.privacy.requests
    requests.begin(PERSONS[3], "access")
    out = tmp_path / "copy"
    with pytest.raises(RefusedError, match="it is fulfilled after it was granted"):
        requests.fulfil(1, folder=out)
    requests.decide(1, "grant")
    with pytest.raises(ConfigError, match="needs a new folder"):
        requests.fulfil(1)
    done = requests.fulfil(1, folder=out)
    assert (done.rows, done.withheld, done.request.request.state) == (2, [], "fulfilled")
    files = {path.name for path in out.iterdir()}
    assert files == {"about.json", "about.html", "disclosures.csv", "ward.json", "ward.csv"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [out, *out.iterdir()])
    said = json.loads((out / "ward.json").read_text())
    assert [row["person"] for row in said["rows"]] == [PERSONS[3]] * 2
    assert said["schema"]["a"] == "double"
    with (out / "ward.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["a"]) for row in rows] == [row["a"] for row in said["rows"]]
    about = json.loads((out / "about.json").read_text())
    assert [one["model"] for one in about["models"]] == ["ward@1"]
    assert [one["by"] for one in about["recipients"]] == ['User::"x"']
    assert [(one["what"], one["by"]) for one in about["seen"]] == [
        ("a model was exported", "a person of the controller")
    ]
    page = (out / "about.html").read_text()
    assert "a model was exported" in page and "ward@1" in page
    everything = "".join(path.read_text() for path in out.iterdir())
    assert not any(one in everything for one in PERSONS if one != PERSONS[3])
    with pytest.raises(RefusedError, match="is fulfilled"):
        requests.fulfil(1, folder=tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_rows_that_policy_keeps_from_a_copy_are_named_in_it_and_in_the_answer(ward, cli, tmp_path):
    with casemate.open(ward.root) as project:
        version = next(iter(project.datasets.values())).reference
        for number, person in enumerate((PERSONS[1], PERSONS[2]), 1):
            project.privacy.requests.begin(person, "access")
            project.privacy.requests.decide(number, "grant")
    ward.say(columns=HERE + ZONE + "rows = ['y']\n").close()
    (ward.root / "policies").mkdir(exist_ok=True)
    (ward.root / "policies" / "rows.cedar").write_text(ONE_CLASS)
    said = cli(
        *("privacy", "request", "fulfil", "1", "--out", tmp_path / "1", "--config", ward.root)
    )
    assert f"WITHHELD by policy from the copy: 2 of their rows in {version}" in said.out, said.err
    about = json.loads((tmp_path / "1" / "about.json").read_text())
    assert about["withheld_rows"] == {version: 2}
    with casemate.open(ward.root) as project:
        done = project.privacy.requests.fulfil(2, folder=tmp_path / "2")
    assert (done.rows, done.withheld_rows) == (2, {})


def test_erasure_waits_for_a_decision_about_each_model_and_promotion_for_it(asked):
    project, clock = asked
    release(project, 1)
    release(project, 2)
    requests = project.privacy.requests
    requests.begin(PERSONS[5], "erasure")
    requests.decide(1, "grant")
    with pytest.raises(RefusedError, match="nothing is decided about ward@"):
        requests.fulfil(1, subject=PERSONS[5])
    assert project.privacy.affected(PERSONS[5]).key == "live"
    with pytest.raises(RefusedError, match="until when"):
        requests.decide_model(1, "retrain", "ward@1")
    with pytest.raises(RefusedError, match="ward@1 cannot be unlearnt exactly"):
        requests.decide_model(1, "unlearn", "ward@1", by=day("2027-04-04"))
    requests.decide_model(1, "retrain", "ward@1", by=day("2027-04-04"))
    with pytest.raises(RefusedError, match="needs its reason"):
        requests.decide_model(1, "keep", "ward@2")
    requests.decide_model(1, "keep", "ward@2", reason="epsilon 0.5, assessment 12")
    with pytest.raises(ConfigError, match="not whom request 1 is about"):
        requests.fulfil(1, subject=PERSONS[6])
    with pytest.raises(ConfigError, match="identifier once more"):
        requests.fulfil(1)
    done = requests.fulfil(1, subject=PERSONS[5])
    assert (done.erased.key, done.rows) == (True, 2)
    assert project.privacy.affected(PERSONS[5]).key == "shredded"
    require_kept(project, "ward@1")
    clock.set("2027-04-05T10:00:00+00:00")
    with pytest.raises(RefusedError, match="was to be trained anew by 2027-04-04"):
        require_kept(project, "ward@1")
    require_kept(project, "ward@2")
    requests.decide_model(1, "withdraw", "ward@2")
    with pytest.raises(RefusedError, match="is withdrawn"):
        require_kept(project, "ward@2")
    assert PERSONS[5] not in str(list(project.log.entries()))


def test_a_request_that_was_not_granted_keeps_no_model_back(asked):
    project, _ = asked
    release(project, 1)
    requests = project.privacy.requests
    for number in (1, 2):
        requests.begin(PERSONS[5], "erasure")
        requests.decide_model(number, "withdraw", "ward@1")
    require_kept(project, "ward@1")
    requests.decide(1, "refuse", "a legal duty to keep them")
    require_kept(project, "ward@1")
    requests.decide(2, "grant")
    with pytest.raises(RefusedError, match="request 2"):
        require_kept(project, "ward@1")


def test_an_erasure_is_fulfilled_whose_key_was_destroyed_before(asked):
    project, _ = asked
    requests = project.privacy.requests
    for number, person in enumerate(PERSONS[:2], 1):
        erase(project, person)
        requests.begin(person, "erasure")
        requests.decide(number, "grant")
    done = requests.fulfil(1, subject=PERSONS[0])
    assert (done.request.request.state, done.erased.key, done.rows) == ("fulfilled", False, 2)
    with project.database.transaction() as tx:
        project.log.append(tx, "x", "x", f'Note::"{PERSONS[1]}"', "allowed", {})
    with pytest.raises(RefusedError, match="shredded before"):
        requests.fulfil(2, subject=PERSONS[1])
    assert requests.show(2).request.state == "granted"


def test_nothing_is_granted_before_it_was_checked_who_asks_where_that_is_wanted(ward):
    asking = HERE + "identity = true\n" + ZONE + NOTICE
    with ward.say(columns=asking) as project:
        requests = project.privacy.requests
        requests.begin(PERSONS[5], "access")
        with pytest.raises(RefusedError, match="how it was checked who sent request 1") as caught:
            requests.decide(1, "grant")
        assert "decide 1 identify" in caught.value.hint
        with pytest.raises(RefusedError, match="say how it was checked"):
            requests.decide(1, "identify")
        requests.decide(1, "identify", "passport, seen at the desk")
        assert requests.decide(1, "grant").request.state == "granted"
        requests.begin(PERSONS[6], "access")
        assert requests.decide(2, "refuse", "somebody else asked").request.state == "refused"
        with pytest.raises(RefusedError, match="who sent request 3"):
            project.privacy.erase(PERSONS[7])
        assert project.privacy.affected(PERSONS[7]).key == "live"


def correct(ward, person, value):
    """The source says something else of the person, and is sealed again."""
    lines = (ward.root / "t.csv").read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f'"{person}"'))
    name, _, *rest = lines[at].split(",")
    lines[at] = ",".join([name, str(value), *rest])
    (ward.root / "t.csv").write_text("\n".join(lines) + "\n")
    ward.seal(columns=HERE + ZONE + NOTICE).close()


def test_a_correction_is_done_once_the_rows_are_others_and_models_of_the_wrong_ones_are_decided(
    asked, ward
):
    project, clock = asked
    release(project, 1)
    requests = project.privacy.requests
    assert requests.begin(PERSONS[4], "rectification").request.versions != ()
    requests.decide(1, "grant")
    with pytest.raises(RefusedError, match="are what they were when request 1 came"):
        requests.fulfil(1, text="the value was mistyped")
    correct(ward, PERSONS[5], 7.25)  # somebody else's
    with pytest.raises(RefusedError, match="are what they were"):
        requests.fulfil(1, text="the value was mistyped")
    correct(ward, PERSONS[4], 0.5)
    with pytest.raises(RefusedError, match="nothing is decided about ward@1"):
        requests.fulfil(1, text="the value was mistyped")
    requests.decide_model(1, "retrain", "ward@1", by=day("2027-04-04"))
    release(project, 2)  # of the corrected rows: nothing is to be decided about it
    with pytest.raises(ConfigError, match="say what was done"):
        requests.fulfil(1)
    done = requests.fulfil(1, text="the value was mistyped")
    assert (done.rows, done.request.request.state) == (2, "fulfilled")
    clock.set("2027-04-05T10:00:00+00:00")
    with pytest.raises(RefusedError, match="rows of a person that were wrong"):
        require_kept(project, "ward@1")
    require_kept(project, "ward@2")


def test_a_correction_that_was_made_before_the_request_was_written_down_counts(asked, ward):
    project, _ = asked
    with project.database.transaction() as tx:  # what is there was sealed in February
        tx.execute(sa.update(RUNS).values(started="2027-02-01T10:00:00+00:00"))
    correct(ward, PERSONS[4], 0.5)
    with project.database.transaction() as tx:
        newest = sa.select(RUNS.c.id).where(RUNS.c.started < "2027-01-01")
        tx.execute(
            sa.update(RUNS).where(RUNS.c.id.in_(newest)).values(started="2027-03-03T10:00:00+00:00")
        )
    requests = project.privacy.requests
    late = requests.begin(PERSONS[4], "correct", law="ccpa").request.id
    early = requests.begin(PERSONS[4], "correct", law="ccpa", received=day("2027-03-03")).request.id
    for number in (late, early):
        requests.decide(number, "grant")
    assert requests.fulfil(early, text="done").rows == 2
    with pytest.raises(RefusedError, match="are what they were"):
        requests.fulfil(late, text="done")


def test_promotion_asks_what_was_decided_about_the_model(asked, monkeypatch):
    project, _ = asked
    release(project, 1)
    for one in ("verify", "require_approved"):  # it is not signed: nothing was trained
        monkeypatch.setattr(models, one, lambda *_: None)
    requests = project.privacy.requests
    requests.begin(PERSONS[5], "delete", law="ccpa")
    project.models["ward@1"].promote("shadow")
    requests.decide_model(1, "withdraw", "ward@1")
    requests.decide(1, "grant")
    with pytest.raises(RefusedError, match="ward@1 is withdrawn"):
        project.models["ward@1"].promote()


def test_what_the_catalogue_says_and_the_log_does_not_is_refused_and_found(asked):
    project, _ = asked
    requests = project.privacy.requests
    requests.begin(PERSONS[0], "access")
    assert examine(project).damage == []
    other = requests.begin(PERSONS[1], "access").request
    with project.database.transaction() as tx:
        content = sa.select(REQUESTS.c.content).where(REQUESTS.c.id == 2).scalar_subquery()
        tx.execute(REQUESTS.update().where(REQUESTS.c.id == 1).values(content=content))
    with pytest.raises(VerificationError):
        requests.show(1)
    assert other.id == 2
    assert "request 1" in str(examine(project).damage)


def test_whoever_may_not_handle_requests_is_denied(ward):
    project = casemate.open(ward.root)
    project.access.add_user("eva", ["scientist"], "four or five words")
    project.logins.login("eva", "four or five words", None)
    with casemate.open(ward.root) as own:
        for ask in (
            lambda: own.privacy.requests.begin(lambda: pytest.fail("asked whom"), "access"),
            own.privacy.requests.list,
            lambda: own.privacy.requests.fulfil(1),
        ):
            with pytest.raises(AccessDenied):
                ask()


def test_the_commands_take_a_request_from_its_receipt_to_its_copy(ward, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("WHO", PERSONS[2])

    def request(*words):
        said = cli("privacy", "request", *words, "--config", ward.root)
        assert PERSONS[2] not in said.out + said.err
        return said

    assert request("open", "env:WHO", "--kind", "portability").code == 0
    assert "portability" in request("list").out
    assert request("decide", "1", "refuse").code == 1
    assert request("decide", "1", "grant").code == 0
    said = request("fulfil", "1", "--out", tmp_path / "copy")
    assert said.code == 0, said.err
    assert "2 rows" in said.out
    assert "fulfilled by" in request("show", "1").out
    assert request("list").out.strip() == "no requests"


def test_a_copy_that_is_sealed_to_somebody_lies_nowhere_in_the_clear(
    ward, cli, tmp_path, monkeypatch
):
    def said(*words):
        return cli(*words, "--config", ward.root)

    assert cli("backup", "keygen", tmp_path / "eva").code == 0
    assert cli("backup", "keygen", tmp_path / "other").code == 0
    monkeypatch.setenv("WHO", PERSONS[2])
    said("privacy", "request", "open", "env:WHO", "--kind", "access")
    said("privacy", "request", "decide", "1", "grant")
    out = tmp_path / "out"
    done = said(
        "privacy", "request", "fulfil", "1", "--out", out / "copy", "--to", tmp_path / "eva.pub"
    )
    assert done.code == 0, done.err
    assert "sealed to" in done.out
    assert [one.name for one in out.iterdir()] == ["copy"]
    sealed = (out / "copy").read_bytes()
    assert PERSONS[2].encode() not in sealed and b"about" not in sealed
    at = tmp_path / "opened"
    wrong = cli("privacy", "unseal", out / "copy", at, "--identity", f"file:{tmp_path}/other")
    assert wrong.code == 3 and not at.exists()
    (out / "changed").write_bytes(sealed[:-40] + bytes(40))
    broken = cli("privacy", "unseal", out / "changed", at, "--identity", f"file:{tmp_path}/eva")
    assert broken.code == 4 and not at.exists()
    assert (
        cli("privacy", "unseal", out / "copy", at, "--identity", f"file:{tmp_path}/eva").code == 0
    )
    assert {row["person"] for row in json.loads((at / "ward.json").read_text())["rows"]} == {
        PERSONS[2]
    }


def left(ward, person):
    """The source has no row of the person any more, and is sealed again."""
    lines = (ward.root / "t.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f'"{person}"')]
    (ward.root / "t.csv").write_text("\n".join(kept) + "\n")
    ward.seal(columns=HERE + ZONE + NOTICE).close()


def test_rows_that_were_taken_out_are_corrected_and_rows_that_wait_are_not(asked, ward):
    project, _ = asked
    requests = project.privacy.requests
    for person in (PERSONS[4], PERSONS[5]):
        number = requests.begin(person, "rectification").request.id
        requests.decide(number, "grant")
    waits = requests.begin(PERSONS[5], "restriction").request.id
    requests.decide(waits, "grant")
    release(project, 1)
    left(ward, PERSONS[4])
    with pytest.raises(RefusedError, match="nothing is decided about ward@1"):
        requests.fulfil(1, text="they were another person's")
    requests.decide_model(1, "withdraw", "ward@1")
    done = requests.fulfil(1, text="they were another person's")
    assert (done.rows, done.request.request.state) == (0, "fulfilled")
    with pytest.raises(RefusedError, match="are what they were when request 2 came"):
        requests.fulfil(2, text="their rows are in no new version: they are restricted")


def named(ward, name):
    """Seal the source once more, as another data set."""
    say = ward.say

    def renamed(*given, **more):
        say(*given, **more).close()
        path = ward.root / "casemate.toml"
        path.write_text(path.read_text().replace('name = "ward"', f'name = "{name}"'))
        return casemate.open(ward.root)

    ward.say = renamed
    try:
        return ward.seal(columns=HERE + ZONE + NOTICE)
    finally:
        ward.say = say


def test_of_several_data_sets_each_is_corrected_before_the_request_is_done(asked, ward):
    project, _ = asked
    named(ward, "second").close()
    requests = project.privacy.requests
    asked_ = requests.begin(PERSONS[4], "rectification").request
    assert [one.partition("@")[0] for one in asked_.versions] == ["second", "ward"]
    requests.decide(asked_.id, "grant")
    correct(ward, PERSONS[4], 0.5)
    with pytest.raises(RefusedError, match="their rows in second@[0-9a-f]+ are what they were"):
        requests.fulfil(asked_.id, text="mistyped")
    named(ward, "second").close()
    assert requests.fulfil(asked_.id, text="mistyped").rows == 4


def test_what_is_to_be_compared_is_kept_and_nothing_is_believed_without_it(asked, ward, cli):
    project, _ = asked
    requests = project.privacy.requests
    first = requests.begin(PERSONS[4], "rectification").request
    requests.decide(first.id, "grant")
    (version,) = first.versions
    folder = project.state / "datasets" / version.replace("@", "/")
    correct(ward, PERSONS[4], 0.5)
    path = ward.root / "casemate.toml"
    path.write_text(path.read_text() + "\n[retention]\nkeep_runs = 1\nkeep_days = 1\n")
    with project.database.transaction() as tx:
        tx.execute(sa.update(RUNS).values(ended="2026-01-01T10:00:00+00:00"))
    said = cli("gc", "--apply", "--config", ward.root)
    assert (said.code, "removed: 0 runs" in said.out, folder.exists()) == (0, True, True), said.err
    shutil.move(folder, ward.root / "aside")
    with pytest.raises(RefusedError, match="is gone: nobody can tell whether"):
        requests.fulfil(first.id, text="mistyped")
    shutil.move(ward.root / "aside", folder)
    assert requests.fulfil(first.id, text="mistyped").rows == 2
    said = cli("gc", "--apply", "--config", ward.root)
    assert "removed: 1 runs" in said.out, said.err


def test_a_copy_and_a_correction_are_of_every_identifier_of_the_person(asked, ward, tmp_path):
    project, _ = asked
    requests = project.privacy.requests
    project.privacy.alias(PERSONS[4], PERSONS[5])
    for kind in ("access", "rectification"):
        requests.decide(requests.begin(PERSONS[4], kind).request.id, "grant")
    done = requests.fulfil(1, folder=tmp_path / "copy")
    assert (done.rows, done.withheld_rows, done.affected.rows) == (4, {}, 4)
    said = json.loads((tmp_path / "copy" / "ward.json").read_text())
    assert {row["person"] for row in said["rows"]} == set(PERSONS[4:6])
    correct(ward, PERSONS[5], 0.5)
    assert requests.fulfil(2, text="the value was mistyped").rows == 4


@pytest.mark.parametrize("name", ["about", "disclosures"])
def test_a_data_set_that_is_called_like_a_page_of_the_copy_has_its_rows_in_it(
    home, tmp_path, monkeypatch, name
):
    named = test_subjects.WARD.replace("[data]\n", f'[data]\nname = "{name}"\n', 1)
    monkeypatch.setattr(test_subjects, "WARD", named)
    with Ward(tmp_path / "ward", PERSONS).seal() as project:
        assert [one.record.name for one in project.datasets.values()] == [name]
        requests = project.privacy.requests
        requests.decide(requests.begin(PERSONS[3], "access").request.id, "grant")
        assert requests.fulfil(1, folder=tmp_path / "copy").rows == 2
    rows = json.loads((tmp_path / "copy" / f"{name}-rows.json").read_text())["rows"]
    assert [row["person"] for row in rows] == [PERSONS[3]] * 2
    assert json.loads((tmp_path / "copy" / "about.json").read_text())["kind"] == "access"
