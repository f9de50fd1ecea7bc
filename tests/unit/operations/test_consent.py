"""Consent: the newest record counts, nobody else's rows are taken, and models of those who withdrew
say so.
"""

import dataclasses
import datetime
import json

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import often
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS, release

import casemate
from casemate.config import parse
from casemate.controls.keys.identifiers import PSEUDONYM
from casemate.controls.keys.subjects import Root
from casemate.controls.privacy.consents import CONSENTS, Consent, Consents, Usable, instant
from casemate.core.errors import ConfigError, DataError, Error, UnexplainedRow
from casemate.core.store import open_store
from casemate.core.types import SealedDataset
from casemate.operations import runs
from casemate.stages.data.consented import allowed
from casemate.supply.inputs import inputs_of

HEAD = "subject,purpose,time,status,text,source\n"
CONSENT = "[privacy.basis.unspecified]\nlegal = 'consent'\n"
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


@pytest.fixture
def ward(home, tmp_path):
    return Ward(tmp_path / "ward", PERSONS)


def line(person, status="given", time="2026-01-01T00:00:00Z", purpose="unspecified", text="v1"):
    return f"{person},{purpose},{time},{status},{text if status == 'given' else ''},form"


def written(path, *lines):
    path.write_text(HEAD + "\n".join(lines) + "\n")
    return path


def sealed(project):
    """Whose rows the newest version has, and its record."""
    record = project.engine.newest_step("data", SealedDataset)
    table = project.datasets[f"{record.name}@{record.version}"].to_arrow(["person", PSEUDONYM])
    return sorted(set(table["person"].to_pylist())), record


RECORDS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans(), st.sampled_from(["v1", "v2"])),
    max_size=25,
)


@given(
    RECORDS,
    st.sampled_from([(), ("v2",)]),
    st.lists(st.integers(0, 7), max_size=12),
    st.frozensets(st.integers(0, 7)),
)
@settings(
    max_examples=often(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_row_of_anybody_whose_consent_does_not_count_is_ever_taken(
    tmp_path_factory, records, texts, rows, restricted
):
    store = open_store("", tmp_path_factory.mktemp("c") / "c.db")
    store.upgrade()
    register, root = Consents(store), Root(bytes(64))
    told = [
        Consent(
            subject=root.pseudonym(str(person)),
            purpose="p",
            time=instant(NOW + datetime.timedelta(hours=hour)),
            given=is_given,
            text=text if is_given else "",
            source="",
        )
        for person, hour, is_given, text in records
    ]
    for one in told:  # in any order, and again
        with store.transaction() as tx:
            register.add(tx, [one, one])
    with store.transaction() as tx:
        assert register.add(tx, told)[1] == 0
    may = set()
    for person in range(8):
        mine = [record for record in records if record[0] == person]
        if not mine:
            continue
        newest = max(hour for _, hour, _, _ in mine)
        last = [record for record in mine if record[1] == newest]
        if all(is_given for _, _, is_given, _ in last):
            ours = [one for one in told if one.subject == root.pseudonym(str(person))]
            said = max(ours, key=lambda one: one.order)
            if not texts or said.text in texts:
                may.add(str(person))
    covered = register.covered("p", texts)
    assert covered.subjects == {root.pseudonym(person) for person in may}
    assert register.covered("q", texts).subjects == frozenset()
    config = parse(
        '[project]\nname = "p"\nid = "p"\n[data]\nsource = "t"\ntarget = "y"\nsubject = "who"\n'
        '[train]\nentry = "t.py:b"\n'
    )
    table = pa.table({"who": pa.array([str(row) for row in rows], pa.string())})
    barred = frozenset(root.pseudonym(str(person)) for person in restricted)
    kept = allowed(table, config, Usable(covered, barred), root)
    taken = [row for row in rows if row not in restricted]
    assert kept.table["who"].to_pylist() == [str(row) for row in taken if str(row) in may]
    assert kept.restricted == len(rows) - len(taken)
    assert kept.unconsented == len(taken) - kept.table.num_rows
    free = allowed(table, config, Usable(None, barred), root)
    assert free.table["who"].to_pylist() == [str(row) for row in taken]
    assert (free.unconsented, free.restricted_people) == (0, len(set(rows) & restricted))
    store.close()


def test_rows_of_those_who_have_not_consented_are_in_no_version_and_are_counted(ward, tmp_path):
    project = ward.say(columns=CONSENT)
    lines = [line(one) for one in PERSONS[:36]]
    lines += [line(PERSONS[0], "withdrawn", "2026-02-01T00:00:00Z")]
    done = project.privacy.consent.add(written(tmp_path / "c.csv", *lines))
    assert (done.records, done.new, done.people) == (37, 37, 36)
    assert project.privacy.consent.add(tmp_path / "c.csv").new == 0
    project.close()
    project = ward.seal(columns=CONSENT)
    people, record = sealed(project)
    assert people == PERSONS[1:36]
    assert (record.rows, record.basis.left_out, record.basis.people) == (70, 10, 5)
    (finding,) = [one for one in record.findings if one.id == "data.no-consent"]
    assert finding.message.startswith("10 of 80 rows were left out: 5 people")
    assert not any(
        one in msg for msg in [finding.message, record.to_json().decode()] for one in PERSONS
    )


def test_a_withdrawal_between_two_runs_takes_rows_from_the_next_and_marks_the_model(
    ward, cli, tmp_path, monkeypatch
):
    project = ward.say(columns=CONSENT)
    project.privacy.consent.add(written(tmp_path / "c.csv", *map(line, PERSONS)))
    project.close()
    project = ward.seal(columns=CONSENT)
    release(project, 1)
    assert (sealed(project)[0], project.privacy.consent.withdrawn("ward@1")) == (PERSONS, 0)
    before = inputs(project)
    monkeypatch.setenv("WHO", PERSONS[4])
    project.close()
    said = cli("privacy", "consent", "withdraw", "env:WHO", "--config", ward.root)
    assert said.code == 0, said.err
    assert "NOT COVERED for unspecified" in said.out
    project = casemate.open(ward.root)
    assert project.privacy.consent.withdrawn("ward@1") == 1
    assert inputs(project) != before
    shown = cli("model", "show", "ward@1", "--config", ward.root)
    assert "withdrawn consent of 1 subjects since" in shown.out
    found = project.privacy.affected(PERSONS[4])
    assert [one.withdrawn for one in found.models] == [1]
    assert [one.given for one in found.consent] == [True, False]
    project.close()
    project = ward.seal(columns=CONSENT)
    assert sealed(project)[0] == [one for one in PERSONS if one != PERSONS[4]]
    for entry in project.log.entries():
        assert PERSONS[4] not in str(entry)
        if entry.action.startswith("consent:w"):
            assert found.subject not in str(entry), "the log tells of nobody, not by pseudonym"


def inputs(project):
    context = runs.run_context(project)
    return inputs_of(context, project.root / project.config.data.source, None)["data"]


def test_what_stops_a_run_says_the_true_reason(ward, tmp_path):
    with pytest.raises(ConfigError, match="no column of the table says whose a row is"):
        ward.seal(subject="", columns=CONSENT)
    with pytest.raises(DataError, match="none of the 40 people in the table is covered"):
        ward.seal(columns=CONSENT)
    with pytest.raises(ConfigError, match="has none for the purpose 'unspecified'"):
        ward.seal(columns=CONSENT.replace("unspecified", "research"))
    with pytest.raises(ConfigError, match="public-task needs its record"):
        ward.seal(columns=CONSENT.replace("consent", "public-task"))


def test_another_basis_takes_every_row_and_is_recorded(ward):
    text = CONSENT.replace("'consent'", "'public-task'\nrecord = 'act 7, section 2'")
    people, record = sealed(ward.seal(columns=text))
    assert people == PERSONS
    assert (record.basis.legal, record.basis.record) == ("public-task", "act 7, section 2")


def test_further_tables_and_rows_of_feedback_are_no_way_round(ward, tmp_path):
    project = ward.say(columns=CONSENT)
    project.privacy.consent.add(written(tmp_path / "c.csv", *map(line, PERSONS[:20])))
    context = runs.run_context(project)
    root = project.identifiers.candidate()
    with pytest.raises(ConfigError, match=r"no column of later\.csv"):
        allowed(pa.table({"a": [1]}), project.config, context.usable, root, "later.csv")
    kept = allowed(
        pa.table({"person": [PERSONS[1], PERSONS[30], None]}),
        project.config,
        context.usable,
        root,
    )
    assert (kept.table["person"].to_pylist(), kept.unconsented_people) == ([PERSONS[1]], 1)
    told = dataclasses.replace(context, usable=Usable(None, frozenset(["a"])))
    assert told.usable.digest != context.usable.digest


def test_every_wrong_line_is_named_and_nothing_is_kept(ward, tmp_path):
    project = ward.say()
    path = written(
        tmp_path / "c.csv",
        line("a"),
        line("b", time="2026-01-01T00:00:00"),
        line("c", time="2999-01-01T00:00:00Z"),
        line("d", "perhaps"),
        line("e", text=""),
        line("", "withdrawn"),
        "f,x",
    )
    with pytest.raises(DataError) as caught:
        project.privacy.consent.add(path)
    text = caught.value.message
    assert "6 lines are wrong" in text
    reasons = ("zone", "ahead", "status", "text", "subject", "cells")
    for number, reason in enumerate(reasons, 3):
        assert any(f"line {number}:" in one and reason in one for one in text.splitlines()), text
    assert project.consents.all() == []
    path.write_text("who,what\n1,2\n")
    with pytest.raises(DataError, match="header lacks or does not know"):
        project.privacy.consent.add(path)


def test_a_consent_that_nobody_recorded_opens_nothing(ward, tmp_path):
    project = ward.say(columns=CONSENT)
    project.privacy.consent.add(written(tmp_path / "c.csv", *map(line, PERSONS[:30])))
    project.close()
    store = open_store("", ward.root / ".casemate" / "catalog.db")
    with store.transaction() as tx:
        who = sa.select(CONSENTS.c.subject).where(CONSENTS.c.row == 0).scalar_subquery()
        row = {"row": 99, "batch": 1, "purpose": "unspecified", "time": "3", "given": True}
        tx.execute(CONSENTS.insert().values(**row, subject=who, text="v1", source=""))
    store.close()
    with pytest.raises(UnexplainedRow):
        ward.seal(columns=CONSENT)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('"subject"x,purpose,time,status', "line 1: "),
        # how long a field may be is of the whole process: other readers move it
        ("subject,purpose,time,status," + "x" * 131_073, r"line 1: |does not know x{40}$"),
        ("status,subject,purpose,time,status", "more than one column status"),
    ],
)
def test_a_header_that_is_no_header_is_refused_in_words(ward, tmp_path, head, message):
    path = tmp_path / "c.csv"
    path.write_text(f"{head}\ngiven,a,p,2026-01-01T00:00:00Z,withdrawn\n")
    with pytest.raises(DataError, match=message):
        ward.say().privacy.consent.add(path)


def test_a_time_before_the_first_year_of_utc_is_refused_in_words(ward, tmp_path):
    project, time = ward.say(), "0001-01-01T00:00:00+01:00"
    with pytest.raises(DataError, match="line 2: the time lies before the year 1 in UTC"):
        project.privacy.consent.add(written(tmp_path / "c.csv", line("a", time=time)))
    with pytest.raises(ConfigError, match="the time lies before the year 1 in UTC"):
        project.privacy.consent.withdraw("a", at=datetime.datetime.fromisoformat(time))
    assert project.consents.all() == []


@pytest.mark.parametrize("subject", ["", " \t\n", "x" * 501])
def test_nobody_is_no_subject(ward, subject):
    project = ward.say()
    privacy = project.privacy
    for ask in (
        privacy.consent.withdraw,
        privacy.consent.show,
        privacy.affected,
        lambda one: privacy.requests.begin(one, "erasure"),
    ):
        with pytest.raises(DataError, match="a subject has 1 to 500 characters"):
            ask(subject)
    assert project.consents.all() == []
    assert privacy.requests.list("all") == []


def test_the_register_leaves_as_json_ld_that_says_what_it_lacks(ward, cli, tmp_path):
    project = ward.say(columns=CONSENT)
    lines = [line("a"), line("a", "withdrawn", "2026-02-01T00:00:00+01:00"), line("b")]
    project.privacy.consent.add(written(tmp_path / "c.csv", *lines))
    project.close()
    out = tmp_path / "out.json"
    assert cli("privacy", "consent", "export", out, "--config", ward.root).code == 0
    assert out.stat().st_mode & 0o077 == 0
    found = json.loads(out.read_text())
    assert found["casemate:notCovered"]
    assert len(found["@graph"]) == 2
    (record,) = [one for one in found["@graph"] if len(one["dpv:hasConsentStatus"]) == 2]
    kinds = [one["@type"] for one in record["dpv:hasConsentStatus"]]
    assert kinds == ["dpv:ConsentGiven", "dpv:ConsentWithdrawn"]
    assert record["dpv:hasConsentStatus"][1]["dpv:isIndicatedAtTime"]["@value"].startswith(
        "2026-01-31T23:00"
    )
    with pytest.raises(Error, match="exists already"):
        casemate.open(ward.root).privacy.consent.export(out)
