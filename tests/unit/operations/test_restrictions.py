"""Restriction and objection take rows out by themselves: from the next run on, until they are
lifted.
"""

import pytest
import sqlalchemy as sa
from tests.unit.controls.test_subjects import Ward
from tests.unit.operations.test_affected import PERSONS, release
from tests.unit.operations.test_consent import inputs, sealed

import casemate
from casemate.core.errors import ConfigError, DataError, RefusedError, VerificationError
from casemate.operations.rights.restricted import count_of, restrictions
from casemate.respond.requests.tables import REQUESTS
from casemate.serve.barred import Barred, RestrictedSubject

pytestmark = pytest.mark.slow


@pytest.fixture
def ward(home, tmp_path):
    return Ward(tmp_path / "ward", PERSONS)


def granted(project, person, kind="restriction", law="gdpr"):
    asked = project.privacy.requests.begin(person, kind, law=law).request.id
    return project.privacy.requests.decide(asked, "grant").request.id


def test_a_granted_restriction_takes_rows_out_marks_the_model_and_gives_them_back(
    ward, cli, monkeypatch
):
    project = ward.sealed()
    release(project, 1)
    before = inputs(project)
    requests = project.privacy.requests
    asked = requests.begin(PERSONS[4], "restriction").request.id
    assert inputs(project) == before, "to ask is not to be granted"
    requests.decide(asked, "grant")
    objecting = granted(project, PERSONS[5], "objection")
    refused = requests.begin(PERSONS[6], "objection").request.id
    requests.decide(refused, "refuse", "archiving, section 4")
    assert inputs(project) != before
    assert requests.restricted("ward@1") == 2
    assert [one.restricted for one in project.privacy.affected(PERSONS[0]).models] == [2]
    shown = cli("model", "show", "ward@1", "--config", ward.root)
    assert "the processing of 2 subjects is restricted since" in shown.out
    project.close()
    project = ward.seal()
    people, record = sealed(project)
    assert people == [one for one in PERSONS if one not in (PERSONS[4], PERSONS[5])]
    assert (record.restricted.left_out, record.restricted.people) == (4, 2)
    (finding,) = [one for one in record.findings if one.id == "data.restricted"]
    assert finding.message.startswith("4 of 80 rows were left out: the processing of 2 people")
    assert not any(one in record.to_json().decode() for one in PERSONS)
    requests = project.privacy.requests
    with pytest.raises(RefusedError, match="needs its reason"):
        requests.decide(objecting, "lift")
    with pytest.raises(RefusedError, match="nothing is to be lifted"):
        requests.decide(refused, "lift", "agreed")
    requests.fulfil(asked, text="rows are left out from run 2 on")
    for one in (objecting, asked):
        assert requests.decide(one, "lift", "agreed on 3 May").request.state == "lifted"
    with pytest.raises(RefusedError, match="nothing is to be lifted"):
        requests.decide(asked, "lift", "again")
    project.close()
    project = ward.seal()
    people, record = sealed(project)
    assert (people, record.restricted) == (PERSONS, None)
    assert inputs(project) == before


@pytest.mark.parametrize(("law", "kind"), [("ccpa", "opt-out"), ("ccpa", "limit")])
def test_an_opt_out_and_a_limit_take_rows_out_too(ward, law, kind):
    project = ward.say()
    granted(project, PERSONS[0], kind, law)
    project.close()
    assert sealed(ward.seal())[0] == PERSONS[1:]


def test_what_cannot_be_told_apart_is_refused_and_so_is_a_table_of_nobody(ward):
    project = ward.say(subject="")
    granted(project, PERSONS[0])
    project.close()
    with pytest.raises(ConfigError, match="people are to be left out, and no column"):
        ward.seal(subject="")
    project = ward.say()
    for one in PERSONS[1:]:
        granted(project, one)
    project.close()
    with pytest.raises(DataError, match="the processing of all 40 people in the table"):
        ward.seal()


def test_a_restriction_that_somebody_takes_out_of_the_catalogue_stops_the_run(ward):
    project = ward.sealed()
    asked = granted(project, PERSONS[4])
    with project.database.transaction() as tx:
        row = tx.execute(REQUESTS.select()).mappings().one()
        content = row["content"].replace(b'"granted"', b'"refused"')
        tx.execute(REQUESTS.update().values(state="refused", content=content))
    project.close()
    with pytest.raises(VerificationError, match=f"something else of request {asked}"):
        ward.seal()
    assert casemate.open(ward.root).engine.runs()


def test_a_restriction_counts_under_every_identifier_of_a_person(ward):
    project = ward.sealed()
    release(project, 1)
    barred = Barred(project)
    granted(project, PERSONS[4])
    granted(project, PERSONS[4], "objection")
    barred.follow()
    project.privacy.alias(PERSONS[5], PERSONS[4])
    barred.follow()
    with pytest.raises(RestrictedSubject):
        barred.people_of([PERSONS[5]])
    assert project.privacy.requests.restricted("ward@1") == 2
    assert count_of(restrictions(project)) == 1
    project.close()
    assert sealed(ward.seal())[0] == [one for one in PERSONS if one not in PERSONS[4:6]]


def test_reading_who_is_restricted_asks_the_catalogue_no_question_a_person(ward):
    project = ward.seal()
    asked = []
    sa.event.listen(project.database.engine, "before_cursor_execute", lambda *_: asked.append(_[2]))

    def questions():
        asked.clear()
        found = restrictions(project)
        return len(found), len(asked)

    granted(project, PERSONS[0])
    _, of_one = questions()
    for person in PERSONS[1:8]:
        granted(project, person)
    assert questions() == (8, of_one)
