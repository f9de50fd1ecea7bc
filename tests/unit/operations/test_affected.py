"""What was made of one person's data: everything, nothing else, and where lineage ends is said."""

import shutil

import pyarrow as pa
import pyarrow.csv
import pytest
import sqlalchemy as sa
from bench.privacy import affected as bench
from tests.conftest import write_csv
from tests.unit.controls.test_subjects import Ward

import casemate
from casemate.controls.keys.subjectrows import ROWS, VERSIONS
from casemate.core.errors import AccessDenied
from casemate.core.types import Lineage, Release, Verdict
from casemate.operations.fsck import examine

PERSONS = [f"person-{n:03d}" for n in range(40)]


@pytest.fixture
def ward(home, tmp_path):
    return Ward(tmp_path / "ward", PERSONS)


def release(project, version, **more):
    """A model of the newest sealed version."""
    record = next(iter(project.datasets.values())).record
    digests = {
        f"{one}_digest": "0" * 64
        for one in ("source", "code", "config", "environment", "train", "assess")
    }
    found = Release(
        model="ward",
        model_version=version,
        verdict=Verdict(outcome="passed", gates=[]),
        lineage=Lineage(
            run=f"r{version}", dataset=record.name, dataset_version=record.version, **digests
        ),
        files={},
        bundle=None,
    )
    with project.database.transaction() as tx:
        project.registry.register(tx, found, "2026-11-01T00:00:00+00:00")
    return found


@pytest.mark.slow
@pytest.mark.secured
def test_everything_in_a_generated_catalogue_is_found_and_nothing_else(home, tmp_path):
    truth = bench.build(tmp_path, rows=400, sets=6, models=15, people=60)
    with casemate.open(tmp_path) as project:
        for person in range(60):
            found = project.privacy.affected(bench.name_of(person))
            assert bench.wrong(found, truth, person) == []
            assert found.unknown == []
        nobody = project.privacy.affected("somebody else")
        assert (nobody.versions, nobody.models, nobody.key) == ([], [], "unknown")


def test_rows_runs_models_exports_and_feedback_follow_from_the_identifier(ward):
    project = ward.sealed()
    release(project, 1)
    with project.database.transaction() as tx:
        who, made = "x", 'Model::"ward"'
        project.log.append(tx, who, "model:export", made, "allowed", {"version": 1})
        project.log.append(tx, who, "model:export", made, "denied", {"version": 1})
        project.log.append(tx, who, "model:export", made, "allowed", {"version": 2})
        project.log.append(tx, who, "feedback:added", 'Model::"ward@1"', "done", {})
        project.log.append(
            tx, who, "note", "x", "done", {}, subject=PERSONS[3], personal={"text": "called"}
        )
    found = project.privacy.affected(PERSONS[3])
    assert [(one.rows, one.of) for one in found.versions] == [(2, 80)]
    assert found.runs == [project.engine.runs()[0].id]
    (model,) = found.models
    assert (model.model, len(model.exports), model.feedback) == ("ward@1", 1, 1)
    assert len(found.entries) == 1
    assert found.key == "live"
    assert PERSONS[3] not in found.to_json().decode()
    (asked,) = [one for one in project.log.entries() if one.action == "subject:traced"]
    assert asked.resource == f'Subject::"{found.subject}"'
    assert PERSONS[3] not in str(asked)


def test_a_version_of_before_the_index_is_taken_in_when_somebody_asks(ward):
    project = ward.sealed()
    with project.database.transaction() as tx:
        tx.execute(ROWS.delete())
        tx.execute(VERSIONS.delete())
    assert [one.rows for one in project.privacy.affected(PERSONS[0]).versions] == [2]
    with project.database.reading() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(ROWS)).scalar() == 40


def test_what_was_half_indexed_counts_for_nothing_and_is_done_anew(ward):
    project = ward.sealed()
    with project.database.transaction() as tx:
        tx.execute(VERSIONS.update().values(subjects=None))
        tx.execute(ROWS.delete().where(ROWS.c.subject > b"\x80"))
    for person in PERSONS:
        assert [one.rows for one in project.privacy.affected(person).versions] == [2]


def test_an_index_in_which_somebody_is_missing_is_found_and_made_anew(ward):
    project = ward.sealed()
    assert examine(project).damage == []
    with project.database.transaction() as tx:
        tx.execute(ROWS.delete().where(ROWS.c.subject > b"\x80"))
    (damage,) = examine(project).damage
    assert damage.subject.startswith("index of people in ward@")
    examine(project, repair=True)
    assert examine(project).damage == []
    for person in PERSONS:
        assert [one.rows for one in project.privacy.affected(person).versions] == [2]


def test_a_version_without_subjects_or_that_cannot_be_read_is_unknown_and_not_unaffected(ward):
    project = ward.seal(subject="")
    (unknown,) = project.privacy.affected(PERSONS[0]).unknown
    assert "without [data] subject" in unknown.reason
    project.close()
    project = ward.seal()
    assert len(project.privacy.affected(PERSONS[0]).versions) == 1
    with project.database.transaction() as tx:
        tx.execute(VERSIONS.delete())
    for folder in (ward.root / ".casemate" / "datasets").glob("*/*"):
        shutil.rmtree(folder)
    found = project.privacy.affected(PERSONS[0])
    assert found.versions == []
    assert len(found.unknown) == 2
    assert all("cannot be read" in one.reason for one in found.unknown)


def test_rows_that_a_version_adds_are_counted_with_those_that_it_shares(ward):
    ward.sealed().close()
    rows = pa.csv.read_csv(ward.root / "t.csv")
    more = rows.slice(rows.num_rows - 1).set_column(
        rows.column_names.index("person"), "person", [[PERSONS[0]]]
    )
    write_csv(ward.root / "t.csv", pa.concat_tables([rows, more]))
    project = ward.seal()
    assert sorted(one.rows for one in project.privacy.affected(PERSONS[0]).versions) == [2, 3]


def test_whoever_may_not_ask_is_denied_before_anybody_is_named(ward):
    project = ward.sealed()
    project.access.add_user("eva", ["scientist"], "four or five words")
    project.logins.login("eva", "four or five words", None)
    with casemate.open(ward.root) as asked, pytest.raises(AccessDenied):
        asked.privacy.affected(lambda: pytest.fail("asked for the identifier"))


def test_a_shredded_person_is_still_traced_by_pseudonym(ward, cli):
    project = ward.sealed()
    assert ward.shred(cli, PERSONS[5]).code == 0
    found = project.privacy.affected(PERSONS[5])
    assert (found.key, [one.rows for one in found.versions]) == ("shredded", [2])


def test_the_command_reads_the_identifier_from_a_reference_and_never_shows_it(ward, cli, tmp_path):
    ward.sealed()
    (tmp_path / "who").write_text(PERSONS[7] + "\n")
    said = cli("privacy", "affected", f"file:{tmp_path / 'who'}", "--config", ward.root)
    assert said.code == 0, said.err
    assert "2 rows" in said.out
    assert PERSONS[7] not in said.out + said.err
    assert cli("privacy", "affected", PERSONS[7], "--config", ward.root).code == 2


def test_a_table_of_pseudonyms_is_of_its_versions_alone(ward):
    project = ward.sealed()
    held = project.identifiers.rows
    held.note("other", "v", [bytes(32)] * 3)
    assert ("other", "v") in held.known()
    with project.database.transaction() as tx:
        held.drop(tx, [("other", "v")])
    assert held.of("00" * 32) == []
    assert len(project.privacy.affected(PERSONS[0]).versions) == 1
