"""Predictions about a person: their callers say whom, records keep it by pseudonym alone, and every
right of that person reaches them.
"""

import json

import msgspec
import numpy as np
import pytest
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS, release
from tests.unit.operations.test_erasure import restored, saved

from casemate.controls.audit import predictions
from casemate.controls.audit.predictions import PEOPLE, Committer, Prediction, request_id
from casemate.core.errors import ConfigError, RefusedError, VerificationError
from casemate.operations.fsck import examine

pytestmark = pytest.mark.slow
WRITER = "abcdefabcdef"
ME, OTHER, THIRD = PERSONS[:3]


@pytest.fixture
def ward(home, tmp_path):
    return Ward(tmp_path / "ward", PERSONS)


@pytest.fixture
def project(ward):
    project = ward.seal()
    release(project, 1)
    return project


def told(project, number, *people, part="live", by='Service::"desk"'):
    """One recorded prediction about these people, a row each; the entry of its group."""
    root = project.identifiers.root()
    whose = tuple(bytes.fromhex(root.pseudonym(one)) if one else b"" for one in people)
    count = max(len(people), 1)
    made = Prediction(
        id=request_id(WRITER, number),
        time=1_750_000_000.0 + number,
        principal=by,
        token="t",
        model="ward@1",
        part=part,
        rows=count,
        input="i",
        labels=np.arange(count, dtype="<u2").tobytes(),
        probabilities=np.full((count, 2), 0.5, "<f4").tobytes(),
        shown="all",
        guards={},
        micros=1,
        people=whose,
    )
    group = [Committer()(number, msgspec.json.encode(made), b"rows", whose)]
    with project.database.transaction() as tx:
        return predictions.append(project.log, tx, WRITER, group)


def is_there(project, number):
    try:
        return project.decisions.find(request_id(WRITER, number))[0] is not None
    except ConfigError:
        return False


def test_a_person_is_told_who_got_which_predictions_about_them(project, cli, tmp_path, monkeypatch):
    told(project, 1, ME)
    told(project, 2, OTHER, ME)
    told(project, 3, OTHER)
    told(project, 4)
    told(project, 5, ME, part="shadow")
    found = project.privacy.affected(ME).predictions
    assert [(one.model, one.part, one.by, one.count) for one in found] == [
        ("ward@1", "live", 'Service::"desk"', 2),
        ("ward@1", "shadow", 'Service::"desk"', 1),
    ]
    assert found[0].first == "2025-06-15T15:06:41+00:00"
    assert project.privacy.affected(THIRD).predictions == []
    asked = project.privacy.requests.begin(ME, "access").request.id
    project.privacy.requests.decide(asked, "grant")
    project.privacy.requests.fulfil(asked, folder=tmp_path / "copy")
    said = json.loads((tmp_path / "copy" / "predictions.json").read_text())["predictions"]
    assert [(one["request"], one["by"], one["rows"]) for one in said] == [
        (request_id(WRITER, number), "a service", rows) for number, rows in ((1, 1), (2, 2), (5, 1))
    ]
    assert [len(one["told"]) for one in said] == [1, 1, 1], "of other people's rows nothing"
    page = (tmp_path / "copy" / "about.html").read_text()
    assert "What models said of you" in page
    assert OTHER not in page + json.dumps(said)
    monkeypatch.setenv("WHOM", ME)
    shown = cli("privacy", "affected", "env:WHOM", "--config", project.root)
    assert "ward@1 (shadow)" in shown.out


def test_a_request_that_names_two_identifiers_of_one_person_is_told_to_them_once(project, tmp_path):
    told(project, 1, ME, OTHER)
    told(project, 2, OTHER)
    project.privacy.alias(OTHER, ME)
    asked = project.privacy.requests.begin(ME, "access").request.id
    project.privacy.requests.decide(asked, "grant")
    project.privacy.requests.fulfil(asked, folder=tmp_path / "copy")
    each, about = (
        json.loads((tmp_path / "copy" / name).read_text())["predictions"]
        for name in ("predictions.json", "about.json")
    )
    assert [len(one["told"]) for one in each] == [2, 1]
    assert [one["count"] for one in about] == [2]


def test_an_erasure_takes_them_out_and_counts_them_and_the_log_still_verifies(project):
    told(project, 1, ME)
    told(project, 2, ME, OTHER)
    told(project, 3, OTHER)
    done = project.privacy.erase(ME, models="withdraw")
    assert done.waiting == []
    assert (done.request.request.closing.predictions, done.request.request.closing.shared) == (2, 1)
    assert [is_there(project, number) for number in (1, 2, 3)] == [False, False, True]
    assert project.told.count([done.request.request.subject]) == 0
    assert [one.id for one in project.decisions.newest(9)] == [request_id(WRITER, 3)]
    assert project.decisions.check() == 3, "the log's commitments stay"
    assert [one for one in examine(project).damage if "prediction" in str(one)] == []
    assert [body for _, body in project.decisions.contents()].count(b"rows") == 1
    again = project.privacy.erase(ME, models="withdraw")
    assert again.request.request.id == done.request.request.id
    told(project, 4, ME)
    anew = project.privacy.erase(ME, models="withdraw")
    assert anew.request.request.id != done.request.request.id, "what was told since is erased too"
    assert anew.request.request.closing.predictions == 1
    assert not is_there(project, 4)


def test_of_whom_only_predictions_are_kept_they_are_erased_and_it_is_not_said_that_nothing_was(
    project,
):
    told(project, 1, "somebody else")
    done = project.privacy.erase("somebody else")
    closing = done.request.request.closing
    assert (closing.held, closing.predictions, closing.keys) == (True, 1, 0)


def test_an_old_backup_brings_no_prediction_back_but_what_was_told_of_others(project, tmp_path):
    told(project, 1, ME)
    told(project, 2, OTHER)
    saved(project, tmp_path / "old")
    project.privacy.erase(ME, models="withdraw")
    old = restored(tmp_path / "old", tmp_path / "again")
    assert [is_there(old, number) for number in (1, 2)] == [False, True]
    assert old.decisions.check() == 2


def test_retention_forgets_whom_they_were_about_with_them(project):
    told(project, 1, ME)
    assert project.decisions.forget("2999-01-01", "2999-01-01") == 2
    with project.database.reading() as tx:
        assert tx.execute(PEOPLE.select()).all() == []
    assert project.privacy.affected(ME).predictions == []


def test_a_hold_on_predictions_or_on_somebody_else_in_one_keeps_them(project):
    told(project, 1, ME, OTHER)
    project.holds.place("deletion", "predictions", "trial")
    with pytest.raises(RefusedError, match="keeps the data of predictions"):
        project.privacy.erase(ME, models="withdraw")
    project.holds.lift("deletion", "predictions", "over")
    project.holds.place("erasure", OTHER, "trial")
    with pytest.raises(RefusedError, match="about somebody else too, whom a hold keeps"):
        project.privacy.erase(ME, models="withdraw")
    assert is_there(project, 1)
    project.holds.lift("erasure", OTHER, "over")
    assert project.privacy.erase(ME, models="withdraw").waiting == []


def test_nobody_takes_a_prediction_out_or_says_whom_it_is_about_without_a_word(project):
    index = told(project, 1, ME)
    theirs = PEOPLE.c.index == index
    with project.database.transaction() as tx:
        tx.execute(PEOPLE.update().where(theirs).values(subject=b"x" * 32))
    with pytest.raises(VerificationError, match="is not what they say"):
        project.decisions.check()
    with pytest.raises(VerificationError, match="is about somebody else"):
        list(project.told.about([(b"x" * 32).hex()]))
    with project.database.transaction() as tx:
        tx.execute(PEOPLE.delete().where(theirs))
        project.told._blank(tx, index, [0])
    with pytest.raises(VerificationError, match="1 predictions are gone, and no erasure"):
        project.decisions.check()
