"""Erasure that is real: it reaches backups and tables that come again, waits for holds and laws, and
is closed once it was seen.
"""

import base64
import copy
import datetime
import json
import shutil

import msgspec
import pyarrow as pa
import pyarrow.csv
import pytest
from tests.conftest import write_csv
from tests.unit.controls.test_subjects import Ward, readable
from tests.unit.operations.test_affected import PERSONS, release
from tests.unit.operations.test_requests import Now

import casemate
from casemate.controls.audit.erasure import CERTIFICATE, PREDICATE, PROOF
from casemate.controls.keys.sealedfile import Opener
from casemate.controls.privacy import erasures
from casemate.controls.privacy.erasures import FILE
from casemate.core.digest import sha256
from casemate.core.errors import (
    BusyError,
    ConfigError,
    DataError,
    RefusedError,
    VerificationError,
    WrongSigner,
)
from casemate.core.files import shared_lock
from casemate.operations import backup, images, models
from casemate.operations.fsck import examine
from casemate.operations.keys import erasure
from casemate.operations.rights import erasing
from casemate.operations.rights.kept import require_kept
from casemate.serve import loading
from casemate.stages.data.erased import others
from casemate.stages.release.trust import SIGNER_FILES

SECRET = "correct horse battery"
day = datetime.date.fromisoformat


pytestmark = pytest.mark.secured


@pytest.fixture(scope="module")
def sealed(home, tmp_path_factory):
    """A sealed ward, and its key store."""
    made = Ward(tmp_path_factory.mktemp("sealed") / "ward", PERSONS)
    with made.seal() as project:
        keys = project.keystore.folder
    shutil.copytree(keys, made.root.parent / "keys")
    return made, keys


@pytest.fixture
def ward(sealed, tmp_path):
    made, keys = copy.copy(sealed[0]), sealed[1]
    shutil.copytree(made.root, tmp_path / "ward")
    shutil.rmtree(keys)
    shutil.copytree(made.root.parent / "keys", keys)
    made.root = tmp_path / "ward"
    return made


@pytest.fixture
def project(ward):
    with casemate.open(ward.root) as found:
        yield found


def saved(project, path):
    backup.add_recipient(project, "me", passphrase=SECRET, keys=True)
    backup.create(project, path, with_keys=True)


def restored(path, folder):
    found, _ = backup.restore(path, folder, Opener(SECRET))
    found.close()
    return casemate.open(folder)


def newest(project):
    return next(iter(project.datasets.values()))


def people_in(project):
    return set(newest(project).to_arrow(["person"])["person"].to_pylist())


def proven(folder):
    """The entry that a certificate's proof is of."""
    (line,) = [one for one in (folder / PROOF).read_text().split("\n") if one.startswith("index")]
    return int(line.removeprefix("index "))


def told(project, action):
    return [one for one in project.log.entries() if one.action == action]


def test_a_restore_of_an_old_backup_erases_people_again_and_nobody_else(ward, project, tmp_path):
    saved(project, tmp_path / "old")
    for person in PERSONS[:3]:
        assert project.privacy.erase(person).request.request.state == "fulfilled"
    old = restored(tmp_path / "old", tmp_path / "again")
    assert [old.privacy.affected(one).key for one in PERSONS[:4]] == ["shredded"] * 3 + ["live"]
    assert people_in(old) == {None, *PERSONS[3:]}
    (entry,) = told(old, "erasure:repeated")
    assert entry.detail == {"records": 3, "people": 3, "cells": 0}
    assert backup.erased_again(old).people == 3
    assert examine(old).damage == []
    old.close()
    assert not any(readable(tmp_path / "again", one) for one in PERSONS[:3])
    assert readable(tmp_path / "again", PERSONS[3])


def test_on_another_machine_the_newest_register_beside_any_backup_is_enough(
    ward, project, tmp_path, monkeypatch
):
    saved(project, tmp_path / "old")
    project.privacy.erase(PERSONS[0])
    backup.create(project, tmp_path / "new")
    assert PERSONS[0].encode() not in (tmp_path / "new.erased").read_bytes()
    assert (
        project.identifiers.root().pseudonym(PERSONS[0]).encode()
        not in (tmp_path / "new.erased").read_bytes()
    )
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "folder.erased").mkdir()  # no register, and in nobody's way
    register = (tmp_path / "new.erased").read_bytes()
    (tmp_path / "new.erased").write_bytes(register.replace(b'"erased"', b'"lifted"'))
    with pytest.raises(VerificationError, match="was changed or damaged"):
        restored(tmp_path / "old", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    (tmp_path / "new.erased").write_bytes(register)
    old = restored(tmp_path / "old", tmp_path / "again")
    assert old.privacy.affected(PERSONS[0]).key == "shredded"
    assert (old.keystore.folder / FILE).is_file()
    assert people_in(old) == {None, *PERSONS[1:]}


def test_who_was_erased_is_left_out_of_a_table_that_has_them_again_and_the_others_are_not(
    ward, project
):
    for person in PERSONS[:2]:
        project.privacy.erase(person)
    before = newest(project).to_arrow(["person", "a"]).to_pylist()
    ward.seal().close()
    with casemate.open(ward.root) as after:
        sealed = newest(after)
        assert sealed.to_arrow(["person", "a"]).to_pylist() == before[4:]
        (finding,) = [one for one in sealed.record.findings if one.id == "data.erased-people"]
        assert finding.message.startswith("4 of 80 rows were left out")
        version = sealed.reference
    ward.seal().close()
    assert newest(casemate.open(ward.root)).reference == version
    with pytest.raises(DataError, match="4 rows of the table are of people who were erased"):
        ward.seal(columns="[privacy]\nerased = 'refuse'\n")
    with casemate.open(ward.root) as after:
        spaced = pa.table({"person": [f" {PERSONS[0]} ", PERSONS[2], None]})
        erased, root = after.erased(), after.identifiers.root()
        assert others(spaced, after.config, erased, root, [])[1] == [0]


def test_without_a_subject_identifiers_are_asked_and_where_there_are_none_it_is_said(ward, project):
    project.privacy.erase(PERSONS[0])
    ward.seal(subject="").close()
    with casemate.open(ward.root) as named:
        assert newest(named).record.rows == 78
    table = pa.csv.read_csv(ward.root / "t.csv")
    write_csv(ward.root / "t.csv", table.drop_columns(["person"]))
    (ward.root / project.config.data.schema).unlink()
    ward.seal(subject="").close()
    with casemate.open(ward.root) as nameless:
        assert newest(nameless).record.rows == 80
        found = [one.id for one in newest(nameless).record.findings]
        assert "data.erased-not-known" in found


def test_of_whom_nothing_is_held_the_request_is_closed_and_nobody_of_that_name_is_kept_out(
    ward, project
):
    done = project.privacy.erase("stranger-77")
    closing = done.request.request.closing
    assert (closing.held, closing.keys, closing.rows, closing.identifiers) == (False, 0, 0, 1)
    assert closing.looked["log entries"] > 0
    assert done.request.lines[-1].change.text == "nothing is held of this person"
    assert project.erasures.all() == []
    assert project.privacy.affected("stranger-77").key == "unknown"


def test_the_same_words_again_change_nothing(ward, project):
    first = project.privacy.erase(PERSONS[0])
    size = len(told(project, "subject:shred"))
    again = project.privacy.erase(PERSONS[0])
    assert (again.request.request, again.erased) == (first.request.request, None)
    assert len(told(project, "subject:shred")) == size
    assert [one.id for one, _ in project.privacy.requests.list("all")] == [1]


def test_a_new_consent_lets_rows_in_again_on_record_and_brings_no_key_back(ward, project, tmp_path):
    saved(project, tmp_path / "old")
    project.privacy.erase(PERSONS[0])
    purpose = project.config.project.purpose
    record = {"subject": PERSONS[0], "purpose": purpose, "text": "1", "source": "desk"}
    project.privacy.consent.add([{**record, "time": "2026-01-01T00:00:00Z", "status": "given"}])
    assert project.erased() is not None, "a consent from before says nothing"
    project.clock = Now("2027-03-05T10:00:00+00:00")
    project.erasures.clock = project.clock
    project.privacy.consent.add([{**record, "time": "2027-02-01T00:00:00Z", "status": "withdrawn"}])
    assert project.erased() is not None
    added = project.privacy.consent.add(
        [{**record, "time": "2027-03-01T00:00:00Z", "status": "given"}]
    )
    assert added.taken_again == 1
    assert project.erased() is None
    assert [one.what for one in project.erasures.all()] == ["erased", "lifted"]
    assert told(project, "consent:imported")[-1].detail["taken_again"] == 1
    ward.seal().close()
    with casemate.open(ward.root) as after:
        assert newest(after).record.rows == 80
        assert people_in(after) == {None, *PERSONS[1:]}
    assert restored(tmp_path / "old", tmp_path / "again").privacy.affected(PERSONS[0]).key == (
        "shredded"
    )


def test_a_hold_on_one_identifier_of_a_person_keeps_them_under_all(ward, project):
    assert project.privacy.alias(PERSONS[1], PERSONS[0]).identifiers == 2
    assert project.privacy.alias(PERSONS[0], PERSONS[1]).new is False
    project.privacy.alias("MRN-4711", PERSONS[1])
    project.holds.place("erasure", lambda: "MRN-4711", "case 7 of 2026")
    for _ in range(2):
        with pytest.raises(RefusedError, match="keeps this person since .*: case 7 of 2026"):
            project.privacy.erase(PERSONS[0])
    for person in (PERSONS[0], PERSONS[1]):
        with pytest.raises(RefusedError, match="case 7"):
            erasure.erase(project, person)
    (held,) = told(project, "request:held")
    assert "case 7" in held.detail["text"]
    assert [one.outcome for one in told(project, "subject:erased")] == ["denied"] * 2
    assert erasing.complete(project) == []
    assert project.privacy.affected(PERSONS[0]).key == "live"
    (hold,) = project.holds.list()
    assert not any(one in str(list(project.log.entries())) for one in (*PERSONS[:2], "MRN-4711"))
    project.holds.lift("erasure", hold.of, "case 7 is over")
    done = project.privacy.erase(PERSONS[0])
    closing = done.request.request.closing
    assert (closing.identifiers, closing.keys, closing.rows) == (3, 3, 4)
    ward.seal().close()
    assert people_in(casemate.open(ward.root)) == set(PERSONS[2:])
    assert not any(readable(ward.root, one) for one in (*PERSONS[:2], "MRN-4711"))


def test_a_hold_on_the_only_copy_of_the_data_keeps_the_people_in_it(ward, project):
    run = project.engine.runs()[0].id
    for held in (run, "ward", newest(project).reference):
        project.holds.place("deletion", held, "the court has it")
        with pytest.raises(RefusedError, match=f"the data of {held}"):
            project.privacy.erase(PERSONS[0])
        project.holds.lift("deletion", held, "it has seen it")
    project.holds.place("deletion", "predictions", "the court wants them")
    assert project.privacy.affected(PERSONS[0]).key == "live"
    assert project.privacy.erase("stranger-77").request.request.state == "fulfilled"


def test_what_a_law_keeps_is_erased_by_itself_afterwards_and_not_a_day_before(ward, project):
    project.clock = project.log.clock = clock = Now("2027-03-05T10:00:00+00:00")
    with pytest.raises(ConfigError, match="the day has passed"):
        project.privacy.erase(PERSONS[0], until=day("2027-03-05"), reason="tax law, section 3")
    project.privacy.alias(PERSONS[0], PERSONS[1])
    done = project.privacy.erase(PERSONS[0], until=day("2027-12-31"), reason="tax law, section 3")
    assert done.waiting == ["the data is kept until 2027-12-31 because of tax law, section 3"]
    with pytest.raises(RefusedError, match="is kept until 2027-12-31 because of tax law"):
        project.privacy.requests.fulfil(1, subject=PERSONS[0])
    clock.set("2027-12-31T10:00:00+00:00")
    with pytest.raises(RefusedError, match="is kept until 2027-12-31"):
        project.privacy.requests.fulfil(1, subject=PERSONS[0])
    assert project.privacy.requests.fulfil_due() == []
    clock.set("2028-01-01T10:00:00+00:00")
    project.watch.once()
    asked = project.privacy.requests.show(1).request
    assert (asked.state, asked.closing.keys) == ("fulfilled", 2)
    assert not any(readable(ward.root, one) for one in PERSONS[:2])
    with pytest.raises(RefusedError, match="has no key under which"):
        project.privacy.erase("stranger-77", until=day("2029-01-01"), reason="tax law")


def test_other_identifiers_that_are_not_kept_must_be_given(ward, project):
    project.privacy.requests.begin(PERSONS[0], "erasure")
    project.privacy.requests.decide(1, "grant")
    with pytest.raises(ConfigError, match="not whom request 1 is about"):
        project.privacy.requests.fulfil(1, subject=PERSONS[1])
    assert erasing.complete(project) == [], "whoever granted it carries it out"
    assert project.privacy.erase(PERSONS[0], aliases=[PERSONS[1]]).request.request.id == 1
    with pytest.raises(ConfigError, match="both identifiers are the same"):
        project.privacy.alias(PERSONS[2], PERSONS[2])


def test_while_something_else_goes_on_nothing_is_erased_and_afterwards_all_is(ward, project):
    with (
        shared_lock(project.state / "lock", lambda: None),  # as a run and a backup have it
        pytest.raises(BusyError),
    ):
        project.privacy.erase(PERSONS[0])
    assert project.privacy.affected(PERSONS[0]).key == "live"
    assert project.erasures.all() == []
    project.keys.rotate(["subjects", "identity"])
    assert erasing.complete(project) == [1], "it was granted, and completes by itself"
    assert not readable(ward.root, PERSONS[0])


def test_models_are_withdrawn_or_trained_without_them_before_it_is_closed(ward, project):
    release(project, 1)
    release(project, 2)
    done = project.privacy.erase(PERSONS[0])
    assert (done.request.request.state, done.erased.key) == ("erased", True)
    assert [one.partition(":")[0] for one in done.waiting] == ["ward@1", "ward@2"]
    assert "no newer version was trained without them" in done.waiting[0]
    with pytest.raises(RefusedError, match="is erased: a certificate is of"):
        project.privacy.requests.certificate(1, ward.root / "early")
    requests = project.privacy.requests
    requests.decide_model(1, "keep", "ward@1", reason="small")
    requests.decide_model(1, "withdraw", "ward@2")
    with project.database.transaction() as tx:
        project.rollouts.promote(tx, "ward", 2, "shadow", 1.0, [], "x", project.clock.now())
    keep, served = requests.fulfil(1).waiting
    assert keep.endswith("decide retrain or withdraw")
    assert "still served (shadow)" in served
    with project.database.transaction() as tx:
        project.rollouts.rollback(tx, "ward", "x", project.clock.now())
    ward.seal().close()
    with casemate.open(ward.root) as after:
        release(after, 3)
        after.privacy.requests.decide_model(1, "retrain", "ward@1", by=day("2099-01-01"))
        assert after.privacy.requests.fulfil_due() == [1]
        outcomes = after.privacy.requests.show(1).request.closing.models
    assert [(one.model, one.how, one.instead, one.membership) for one in outcomes] == [
        ("ward@1", "retrain", "ward@3", "inconclusive"),
        ("ward@2", "withdraw", "", "not measured"),
    ]


def put_out(project, version, part="live"):
    """Release a version, as it was before anybody was erased."""
    with project.database.transaction() as tx:
        now = project.clock.now()
        project.rollouts.promote(tx, "ward", version, part, 1.0, [], "x", now)


def test_a_version_that_is_withdrawn_for_an_erasure_gets_to_serve_on_no_way(
    ward, project, tmp_path, monkeypatch
):
    for version in (1, 2, 3):
        release(project, version)
    for version in (1, 2):
        put_out(project, version)
    project.privacy.requests.begin(PERSONS[0], "erasure")
    project.privacy.requests.decide(1, "grant")
    project.privacy.requests.decide_model(1, "withdraw", "ward@1")
    for ways in (models, loading, images):
        monkeypatch.setattr(ways, "require_approved", lambda *_: None)
    monkeypatch.setattr(models, "verify", lambda *_: None)
    before = project.rollouts.all()
    for way in (
        lambda: project.models.promote("ward@1"),
        lambda: project.models.promote("ward@1", "canary"),
        lambda: project.models.promote("ward@1", "shadow"),
        lambda: project.models.rollback("ward", "worse"),
        lambda: project.models.take_back("ward@2", "worse"),
        lambda: project.models.export("ward@1", tmp_path / "out"),
        lambda: loading.loaded(project, "ward@1"),
        lambda: images.require_startable(project, project.registry.get("ward@1").release),
    ):
        with pytest.raises(RefusedError, match="ward@1 is withdrawn: it was made of rows of"):
            way()
    assert project.rollouts.all() == before
    assert [one.reference for one in before] == ["ward@2"]
    assert not told(project, "model:rolled-back")
    with pytest.raises(RefusedError) as caught:
        project.models.rollback("ward", "worse")
    assert "hold place answers ward" in caught.value.hint
    put_out(project, 3, "canary")
    assert project.models.rollback("ward", "the trial is over") == ("ward@3", None), (
        "what brings no withdrawn version back goes on"
    )


def test_a_restore_brings_no_model_back_that_was_withdrawn_for_an_erasure(project, tmp_path):
    release(project, 1)
    release(project, 2)
    saved(project, tmp_path / "old")
    project.privacy.erase(PERSONS[0], models="withdraw")
    old = restored(tmp_path / "old", tmp_path / "again")
    with pytest.raises(RefusedError, match="ward@1 was made of rows of a person who was erased"):
        require_kept(old, "ward@1")
    release(old, 3)
    require_kept(old, "ward@3")


def test_a_certificate_is_checked_without_the_project_and_names_nobody(ward, project, tmp_path):
    project.privacy.erase(PERSONS[0])
    project.privacy.erase(PERSONS[1])
    for number in (1, 2):
        project.privacy.requests.certificate(number, tmp_path / str(number))
    assert examine(project).damage == []  # handing it out is no change of the request
    folder = tmp_path / "1"
    public = project.state / "public"
    shutil.copytree(public, tmp_path / "keys")
    said = casemate.verify(folder, [tmp_path / "keys"])
    assert (said.kind, "1 keys destroyed, 2 rows" in said.summary) == (
        "certificate of erasure",
        True,
    )
    pseudonym = project.identifiers.root().pseudonym(PERSONS[0])
    envelope = json.loads((folder / CERTIFICATE).read_bytes())
    (extra,) = [
        line for line in (folder / PROOF).read_text().split("\n") if line.startswith("extra")
    ]
    entry = base64.b64decode(json.loads(base64.b64decode(extra[6:]))["body"])
    everything = f"{base64.b64decode(envelope['payload'])!r}{entry!r}"
    assert "request:fulfilled" in everything
    for secret in (PERSONS[0], pseudonym, pseudonym[:16], project.erasures.digest(pseudonym)):
        assert secret not in everything
    other = project.privacy.requests.show(1).request.closing
    forged = msgspec.structs.replace(other, keys=7)
    said = {"project": "p", "request": 1, "entry": proven(folder), "closed": "", "closing": forged}
    proof = sha256((folder / PROOF).read_bytes())
    signed = project.signer.sign_statement({PROOF: proof}, PREDICATE, msgspec.to_builtins(said))
    shutil.copytree(folder, tmp_path / "forged")
    with pytest.raises(WrongSigner, match="no log key"):
        casemate.verify(folder, [tmp_path / "keys" / name for name in SIGNER_FILES])
    (tmp_path / "forged" / CERTIFICATE).write_bytes(
        project.signer.sign_statement({PROOF: proof}, PREDICATE, {"project": "p"})
    )
    with pytest.raises(VerificationError, match="does not say what was erased"):
        casemate.verify(tmp_path / "forged", [tmp_path / "keys"])
    (tmp_path / "forged" / CERTIFICATE).write_bytes(signed)
    with pytest.raises(VerificationError, match="says something else"):
        casemate.verify(tmp_path / "forged", [tmp_path / "keys"])
    (tmp_path / "forged" / PROOF).unlink()
    with pytest.raises(VerificationError, match="holds no whole certificate"):
        casemate.verify(tmp_path / "forged", [tmp_path / "keys"])
    shutil.copy(tmp_path / "2" / PROOF, folder / PROOF)
    with pytest.raises(VerificationError, match="another proof"):
        casemate.verify(folder, [tmp_path / "keys"])
    with pytest.raises(RefusedError, match="erasure that was closed"):
        project.privacy.requests.begin(PERSONS[3], "access")
        project.privacy.requests.certificate(3, tmp_path / "3")


def test_the_register_is_completed_from_the_catalogue_and_believed_only_if_it_is_whole(
    ward, project, monkeypatch
):
    project.privacy.erase(PERSONS[0])
    file = project.keystore.folder / FILE
    kept = file.read_bytes()
    file.unlink()
    project.erasures.save()
    assert file.read_bytes() == kept
    file.write_bytes(kept.replace(b'"erased"', b'"lifted"'))
    with pytest.raises(VerificationError, match="was changed or damaged"):
        ward.seal()
    own = json.loads(kept)["project"]
    for content, why in (
        (b"{", "was changed or damaged"),
        (kept.replace(own.encode(), b"another", 1), "is the register of another project"),
    ):
        file.write_bytes(content)
        with pytest.raises(VerificationError, match=why):
            project.erasures.beside()
    file.write_bytes(kept)
    with monkeypatch.context() as patch:
        patch.setattr(erasures, "MOST", 10)
        with pytest.raises(VerificationError, match="was changed or damaged"):
            project.erasures.beside()
    assert project.erasures.ever() == {one.digest for one in project.erasures.beside()}
    assert examine(project).damage == []


def test_a_catalogue_that_was_put_back_by_hand_is_caught_up_by_the_next_run(ward, project):
    project.log.publish()
    project.close()
    state = ward.root / ".casemate"
    shutil.copytree(state, ward.root.parent / "kept")
    with casemate.open(ward.root) as later:
        later.privacy.erase(PERSONS[0])
    shutil.rmtree(state)
    shutil.copytree(ward.root.parent / "kept", state)
    with casemate.open(ward.root) as old:
        assert old.privacy.affected(PERSONS[0]).key == "live"
        with pytest.raises(casemate.Error):
            old.run(start="nowhere")
        from casemate.operations.rights import again

        assert again.catch_up(old).people == 1
        assert again.catch_up(old) is None
        assert old.privacy.affected(PERSONS[0]).key == "shredded"


def test_the_commands_erase_and_certify_and_say_no_name(ward, cli, tmp_path, monkeypatch):
    monkeypatch.setenv("WHO", PERSONS[2])
    monkeypatch.setenv("OTHER", PERSONS[3])

    def privacy(*words):
        said = cli("privacy", *words, "--config", ward.root)
        assert not any(one in said.out + said.err for one in (PERSONS[2], PERSONS[3]))
        return said

    hold = cli(
        *("hold", "place", "erasure", "env:OTHER", "--reason", "case 7"), "--config", ward.root
    )
    assert hold.code == 0, hold.err
    assert PERSONS[3] not in hold.out
    assert "2 identifiers" in privacy("alias", "env:WHO", "env:OTHER").out
    assert privacy("erase", "env:WHO").code == 1
    lifted = cli(
        *("hold", "lift", "erasure", "env:OTHER", "--reason", "over"), "--config", ward.root
    )
    assert lifted.code == 0, lifted.err
    said = privacy("erase", "env:WHO")
    assert "2 keys destroyed, 4 rows without their identifier" in said.out, said.err
    assert "request 1 is fulfilled" in privacy("erase", "env:WHO").out
    assert privacy("request", "fulfil", "--due").out.strip() == "nothing is due"
    assert privacy("request", "fulfil").code == 2
    assert privacy("request", "certificate", "1", "--out", tmp_path / "c").code == 0
    assert "certificate of erasure request 1" in cli("verify", tmp_path / "c").out


def test_an_erasure_that_waits_ends_with_another_code_than_one_that_is_closed(
    project, cli, monkeypatch
):
    release(project, 1)
    monkeypatch.setenv("WHO", PERSONS[0])

    def privacy(*words):
        return cli("privacy", *words, "--config", project.root)

    until = privacy("erase", "env:WHO", "--until", "2099-01-01", "--reason", "tax law")
    assert (until.code, "NOT CLOSED: the data is kept until" in until.out) == (6, True)
    monkeypatch.setenv("WHO", PERSONS[2])
    first = privacy("erase", "env:WHO")
    assert (first.code, "NOT CLOSED: ward@1: no newer version" in first.out) == (6, True)
    assert privacy("request", "fulfil", "2").code == 6
    assert privacy("request", "model", "2", "withdraw", "ward@1").code == 0
    assert privacy("request", "fulfil", "2").code == 0


def test_another_identifier_that_is_said_after_it_was_closed_is_erased_too(ward, project):
    project.privacy.erase(PERSONS[0])
    done = project.privacy.erase(PERSONS[0], aliases=[PERSONS[1]])
    assert (done.request.request.id, done.request.request.state) == (2, "fulfilled")
    assert project.privacy.affected(PERSONS[1]).key == "shredded"
    assert project.privacy.erase(PERSONS[0], aliases=[PERSONS[1]]).request.request.id == 2


def test_a_hold_that_is_placed_while_the_person_is_looked_for_keeps_them(
    ward, project, monkeypatch
):
    left = erasing.Search.left

    def slow(self, versions, look):
        if not project.holds.list():
            project.holds.place("erasure", PERSONS[0], "case 7 of 2026")
        return left(self, versions, look)

    monkeypatch.setattr(erasing.Search, "left", slow)
    with pytest.raises(RefusedError, match="case 7 of 2026"):
        project.privacy.erase(PERSONS[0])
    assert project.privacy.affected(PERSONS[0]).key == "live"
    assert (project.erasures.all(), told(project, "subject:erased")) == ([], [])
    assert project.privacy.requests.show(1).request.state == "granted"


def test_an_identifier_that_is_written_almost_like_one_that_is_sealed_is_not_closed_as_nobody(
    ward, project
):
    misspelt = PERSONS[3].upper()
    with pytest.raises(RefusedError, match="differs in leading zeros, case or white space") as no:
        project.privacy.erase(misspelt)
    assert PERSONS[3] not in f"{no.value}{no.value.hint}"
    assert "request fulfil 1 --subject REF --reason TEXT" in no.value.hint
    assert project.privacy.requests.show(1).request.state == "granted"
    done = project.privacy.requests.fulfil(1, subject=misspelt, text="that one is somebody else")
    assert not done.request.request.closing.held
    assert project.privacy.affected(PERSONS[3]).key == "live"


def test_only_a_consent_to_this_purpose_lets_somebody_in_again_and_its_withdrawal_keeps_them_out(
    project,
):
    project.privacy.erase(PERSONS[0])
    project.clock = project.erasures.clock = Now("2027-03-05T10:00:00+00:00")
    record = {"subject": PERSONS[0], "text": "1", "source": "desk", "status": "given"}
    told = {**record, "time": "2027-03-01T00:00:00Z"}
    project.privacy.consent.add([{**told, "purpose": "newsletter"}])
    assert project.erased() is not None
    purpose = project.config.project.purpose
    project.privacy.consent.add([{**told, "purpose": purpose}])
    assert project.erased() is None
    project.privacy.consent.withdraw(PERSONS[0], "newsletter")
    assert project.erased() is None
    project.privacy.consent.withdraw(PERSONS[0])
    assert project.erased() is not None
    project.clock = project.erasures.clock = Now("2027-03-07T10:00:00+00:00")
    again = {**record, "purpose": purpose, "time": "2027-03-06T00:00:00Z"}
    assert project.privacy.consent.add([again]).taken_again == 1
    again |= {"time": "2027-03-06T01:00:00Z", "status": "withdrawn", "text": ""}
    project.privacy.consent.add([again])
    assert [one.what for one in project.erasures.all()] == ["erased", "lifted"] * 2 + ["erased"]


def test_a_clock_that_is_set_back_lets_nobody_in_again(project):
    who = [project.identifiers.root().pseudonym(PERSONS[0])]
    for now, what in (("2027-03-05", "erased"), ("2027-03-06", "lifted"), ("2027-03-01", "erased")):
        kept = project.erasures
        kept.clock = Now(f"{now}T10:00:00+00:00")
        with project.database.transaction() as tx:
            assert kept.add(tx, who, what, "request 1") == 1
        kept.save()
    assert project.erased().has(who[0])
