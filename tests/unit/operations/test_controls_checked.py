"""Controls: every check can fail, and is seen to; a sound project passes all of them; results are
in the log.
"""

import base64
import contextlib
import dataclasses
import json
import os
import re
import resource
import shutil
import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from tests.unit.conftest import refused
from tests.unit.operations.breakings import (
    BREAKINGS,
    Copy,
    a_gate_is_removed,
    an_object_is_changed,
)
from tests.unit.operations.sound import PASSPHRASE, PERSONS, build, edit, opened
from tests.unit.operations.test_operations import PASSWORD, secret_of

from casemate.cli.commands import COMMANDS
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import Signer
from casemate.operations.controls import catalogue, oscal
from casemate.operations.controls.checks import CHECKS
from casemate.operations.controls.facts import Facts
from casemate.operations.watching import alarms
from casemate.stages.release import mlbom
from casemate.stages.release import pack as packs
from casemate.stages.release.pack import CHECKED
from casemate.verification import verify_path
from casemate.watch.levels import FILE, FOLDER
from casemate.watch.telemetry import Telemetry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sound(home, tmp_path_factory):
    """The folder with the sound project, its key store, copies and backups."""
    folder = tmp_path_factory.mktemp("sound")
    before = os.environ["HOME"]
    with pytest.MonkeyPatch.context() as patch:
        (folder / "home").mkdir()
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv(PASSPHRASE, PASSWORD)
        patch.setitem(sys.modules, "matplotlib", None)  # no pictures: they take a third of the time
        build(folder / "ward")
    assert os.environ["HOME"] == before
    return folder


def remember(root):
    """A machine remembers a log by the folder that it lies in, and this one is another."""
    project = opened(root)
    project.publication.heads.remember((project.log.folder / "checkpoint").read_bytes())


@pytest.fixture
def copy(sound, tmp_path, monkeypatch):
    """A copy to break."""
    folder = tmp_path / "broken"
    shutil.copytree(sound, folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv(PASSPHRASE, PASSWORD)
    remember(folder / "ward")
    mlbom.environment.cache_clear()
    yield Copy(folder / "ward", monkeypatch)
    mlbom.environment.cache_clear()


def strict(document):
    """What the sound project leaves out, so that people can be played in it without a login."""
    document.setdefault("access", {}).update(local=False, mfa="required")


LATER = ("access.login", "access.factors")


def test_every_check_has_somebody_who_makes_it_fail():
    assert set(BREAKINGS) == set(CHECKS)


def test_a_sound_project_passes_every_check(copy):
    facts = Facts(opened(copy.root))
    found = {name: check(facts) for name, check in CHECKS.items()}
    odd = {name: fact.said for name, fact in found.items() if fact.outcome != "passed"}
    assert set(odd) == set(LATER), odd
    edit(copy.root, strict)
    facts = Facts(opened(copy.root))
    assert {CHECKS[name](facts).outcome for name in LATER} == {"passed"}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_fails_once_its_control_is_broken(name, copy):
    spoil, words = BREAKINGS[name]
    fact = CHECKS[name](Facts(spoil(copy)))
    assert fact.outcome == "failed", fact
    assert words in fact.said


@pytest.fixture(scope="module")
def packed(sound, tmp_path_factory):
    """A pack of a copy of the sound project, and the public keys."""
    folder = tmp_path_factory.mktemp("packed") / "copy"
    shutil.copytree(sound, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv(PASSPHRASE, PASSWORD)
        remember(folder / "ward")
        opened(folder / "ward").controls.pack(folder / "pack")
    return folder / "pack", folder / "ward" / ".casemate" / "public"


@pytest.fixture
def pack(packed, tmp_path):
    """A copy of it to change."""
    shutil.copytree(packed[0], tmp_path / "pack")
    return tmp_path / "pack"


@pytest.fixture
def keys(packed):
    return [packed[1]]


def refuses(pack, keys):
    """Whether nobody takes this pack."""
    try:
        verify_path(pack, keys)
    except VerificationError:
        return True
    return False


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_results_are_in_the_log_and_say_when_a_check_last_passed(copy, cli):
    def check(*names):
        return cli("controls", "check", *names, "--config", copy.root, "--format", "json")

    assert check("release.gates", "gateway.limits").code == 0
    project = opened(copy.root)
    (first,) = [one for one in project.log.entries() if one.action == CHECKED]
    a_gate_is_removed(copy)
    found = check("soc2")
    assert found.code == 1
    assert {one["check"] for one in found.value["facts"]} > {"gateway.limits", "log.verifies"}
    assert check("release.gates").code == 1
    past = opened(copy.root).controls.show("release.gates").past
    assert (past.outcome, past.passed, past.passed_entry) == ("failed", first.time, first.index)
    listed = {one.control.section: one for one in opened(copy.root).controls.list("nist-ai-rmf")}
    assert listed["MEASURE 2.3"].past["release.gates"] == past
    assert listed["MEASURE 2.10"].past["privacy.budget"] is None
    assert "never checked" in cli("controls", "list", "--config", copy.root).out
    assert "last passed: 20" in cli("controls", "show", "release.gates", "--config", copy.root).out
    with refused("CM-CONFIG", "casemate controls list"):
        project.controls.check(["log.verify"])
    with refused("CM-CONFIG", "gdpr"):
        project.controls.list("dsgvo")
    with refused("CM-CONFIG", "no check"):
        project.controls.show("gdpr")


def test_who_may_not_read_controls_learns_nothing(copy):
    project = opened(copy.root)
    project.access.add_user("kim", ["scientist"], PASSWORD)
    kim = project.acting(secret_of(project, "kim"))
    for ask in (kim.controls.list, kim.controls.check, lambda: kim.controls.show("log.rows")):
        with refused("CM-DENIED"):
            ask()
    with refused("CM-DENIED"):
        kim.controls.pack(copy.root / "pack")
    assert not (copy.root / "pack").exists()
    project.access.add_user("aud", ["auditor"], PASSWORD)
    project.acting(secret_of(project, "aud")).controls.pack(copy.root / "pack")


def test_a_watcher_that_could_not_judge_a_model_has_not_looked(copy):
    project = opened(copy.root)
    cause = alarms.Cause(
        name="unjudged", labels={"model": "t@1"}, severity="page", text="x", hint="y"
    )
    now = project.clock.now()
    with Telemetry(project.state / FOLDER / FILE) as telemetry, telemetry.transaction():
        alarms.update(telemetry, [cause], set(), now)
    fact = CHECKS["watch.looked"](Facts(project))
    assert (fact.outcome, fact.said) == ("failed", "could not be judged: t@1")


def test_where_somebody_lives_is_not_said(copy):
    project = opened(copy.root)

    def look(_facts):
        raise ConfigError(f"no such file: {Path.home()}/copies")

    check = dataclasses.replace(CHECKS["log.rows"], look=look)
    assert check(Facts(project)).said == "no such file: HOME/copies"


NOBODY = """
[[expect]]
principal = "quirin"
action = "model:approve"
resource = "Model::t"
allow = false
"""


def test_what_cannot_be_seen_is_inconclusive_and_that_is_not_passed(copy):
    project = copy.says(lambda document: document["serve"].update(tls="proxy"))
    found = project.controls.check(["gateway.tls"])
    assert [one.outcome for one in found.facts] == ["inconclusive"]
    project = copy.says(lambda document: document["controls"].remove("backups"))
    assert CHECKS["backup.whole"](Facts(project)).outcome == "inconclusive"
    assert project.controls.show("gateway.tls").past.passed == ""
    expected = copy.root / "expected.toml"
    expected.write_text(expected.read_text() + NOBODY)
    fact = CHECKS["access.policies"](Facts(project))
    assert (fact.outcome, "quirin" in fact.said) == ("inconclusive", False)
    project.publication.heads.file.unlink()
    assert CHECKS["log.one-history"](Facts(project)).outcome == "inconclusive"
    (copy.root / "expected.toml").unlink()
    assert CHECKS["access.policies"](Facts(project)).outcome == "inconclusive"


def test_what_a_command_line_sets_for_once_is_no_fact_of_the_project(copy, cli, tmp_path):
    size = opened(copy.root).log.size()
    lie = ("-s", "sandbox.mode=require", "-s", "controls.owners=9")
    for words in (("controls", "check"), ("evidence", tmp_path / "p")):
        answer = cli(*words, "--config", copy.root, *lie)
        assert (answer.code, "controls.owners, sandbox.mode" in answer.err) == (2, True), answer
    assert opened(copy.root).log.size() == size
    assert not (tmp_path / "p").exists()
    own = ("-s", f"keys.passphrase=env:{PASSPHRASE}")
    assert cli("controls", "check", "log.rows", "--config", copy.root, *own).code == 0


def test_a_log_that_does_not_hold_lets_nothing_be_proven(copy):
    """An old catalogue is put back beside a log that went on."""
    with sqlite3.connect(copy.state / "catalog.db") as now:
        now.backup(old := sqlite3.connect(copy.root.parent / "old.db"))
        old.close()
    opened(copy.root).log.record('User::"eva"', "run:start", "x", "done")
    for path in copy.state.glob("catalog.db*"):
        path.unlink()
    shutil.copy(copy.root.parent / "old.db", copy.state / "catalog.db")
    project = opened(copy.root)
    found = project.controls.check(["log.verifies", "gateway.limits"])
    assert [one.outcome for one in found.facts] == ["failed", "passed"]
    assert found.entry is None
    with refused("CM-REFUSED", "does not hold"):
        project.controls.pack(copy.root / "pack")
    assert not (copy.root / "pack").exists()


def test_a_pack_verifies_from_public_keys_alone(pack, keys):
    found = verify_path(pack, keys)
    assert found.kind == "evidence pack"
    assert "43 checks passed, 2 failed, 0 inconclusive" in found.summary
    assert "1 models" in found.summary


def test_whatever_is_changed_removed_or_added_in_a_pack_is_seen(pack, keys):
    for path in files_of(pack):
        content = path.read_bytes()
        for at in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[at] ^= 1
            path.write_bytes(bytes(changed))
            assert refuses(pack, keys), (path, at)
        path.unlink()
        with pytest.raises((VerificationError, ConfigError)):
            verify_path(pack, keys)
        path.write_bytes(content)
    assert not refuses(pack, keys)
    for name in ("more.json", "facts/log.more.json", "models/t@1/model/model.onnx"):
        (pack / name).write_bytes(b"{}")
        assert refuses(pack, keys), name
        (pack / name).unlink()
    (pack / "link").symlink_to(pack / "index.html")
    assert refuses(pack, keys)
    (pack / "link").unlink()
    index = (pack / "index.html").read_bytes()
    (pack.parent / "index.html").write_bytes(index)
    (pack / "index.html").unlink()
    (pack / "index.html").symlink_to(pack.parent / "index.html")
    assert refuses(pack, keys)


def test_who_else_signs_is_not_taken_even_with_the_log_keys(pack, keys, tmp_path):
    strangers = tmp_path / "keys"
    shutil.copytree(keys[0], strangers)
    signer = Signer.generate()
    names = ("signer.pub", "signer-mldsa65.pub")
    for name, pem in zip(names, signer.verifier.pems, strict=True):
        (strangers / name).write_bytes(pem)
    (strangers / "signers.dsse.json").unlink(missing_ok=True)
    assert refuses(pack, [strangers])
    resign(pack, signer)
    assert refuses(pack, keys)
    with refused("CM-SIGNER", "no log key"):
        verify_path(pack, [keys[0] / name for name in names])


def resign(pack, signer):
    """Sign what is there now, as whoever has these keys could."""
    listed = {
        path.relative_to(pack).as_posix(): sha256(path.read_bytes())
        for path in files_of(pack)
        if path.name != packs.PACK
    }
    results = msgspec.json.decode((pack / packs.RESULTS).read_bytes(), type=packs.Results)
    said = {"project": results.project, "time": results.time, "entry": results.entry}
    content = signer.sign_statement(listed, packs.PREDICATE, said)
    (pack / packs.PACK).write_bytes(content)


def test_who_has_the_signing_keys_still_cannot_tell_other_results_than_the_log(
    pack, packed, keys, monkeypatch
):
    """The signer alone can neither turn a failure into a pass, nor date a pass as it likes."""
    monkeypatch.setenv("HOME", str(packed[0].parent / "home"))
    monkeypatch.setenv(PASSPHRASE, PASSWORD)
    signer = opened(packed[0].parent / "ward").keystore.signer
    resign(pack, signer)
    assert not refuses(pack, keys)
    path = pack / packs.RESULTS
    honest = path.read_bytes()
    results = msgspec.json.decode(honest, type=packs.Results)
    checks = {one.id: one for one in results.checks}
    failed, passed = checks["access.login"], checks["log.rows"]
    fact = pack / "facts" / "access.login.json"
    said = fact.read_bytes().replace(b'"failed"', b'"passed"')
    lies = [
        {failed.id: structs.replace(failed, outcome="passed")},
        {failed.id: structs.replace(failed, passed=results.time, passed_entry=results.entry)},
        {passed.id: structs.replace(passed, passed="2020-01-01T00:00:00.000Z")},
        {failed.id: structs.replace(failed, outcome="passed", digest=sha256(said))},
    ]
    for lie in lies:
        told = [lie.get(one.id, one) for one in results.checks]
        path.write_bytes(structs.replace(results, checks=told).to_json())
        resign(pack, signer)
        assert refuses(pack, keys), lie
    twice = [structs.replace(failed, passed=""), *results.checks]
    (first, *others), well = results.frameworks, structs.replace(failed, said="all is well")
    stray = structs.replace(first.controls[0], checks=["no.such"])
    for lie in (
        {"checks": twice},
        {"checks": [well if one.id == failed.id else one for one in results.checks]},
        {"frameworks": [structs.replace(first, controls=[stray]), *others]},
    ):
        path.write_bytes(structs.replace(results, **lie).to_json())
        resign(pack, signer)
        assert refuses(pack, keys), list(lie)
    path.write_bytes(honest)
    (model,) = (pack / packs.MODELS).iterdir()
    model.rename(model.with_name("other@9"))
    resign(pack, signer)
    assert refuses(pack, keys)
    model.with_name("other@9").rename(model)
    told = [lies[-1].get(one.id, one) for one in results.checks]
    path.write_bytes(structs.replace(results, checks=told).to_json())
    fact.write_bytes(said)  # with the last lie: fact and result agree, the log does not
    resign(pack, signer)
    assert refuses(pack, keys)


def test_no_byte_of_a_pack_names_anybody_in_the_data(packed):
    """Who acted is named where the log's proofs and model cards do: who waives a gate stands for it
    by name.
    """
    whole = b""
    for path in files_of(packed[0]):
        content = path.read_bytes()
        whole += content
        for text in re.findall(rb"[A-Za-z0-9+/=]{40,}", content):
            with contextlib.suppress(ValueError):
                inner = base64.b64decode(text, validate=True)
                whole += inner
                for deeper in re.findall(rb"[A-Za-z0-9+/=]{40,}", inner):
                    with contextlib.suppress(ValueError):
                        whole += base64.b64decode(deeper, validate=True)
    assert b"controls:checked" in whole  # or nothing was opened
    for name in (*PERSONS, "Zelda", str(packed[0].parent)):
        assert name.encode() not in whole, name
    files = [path.name for path in files_of(packed[0])]
    assert not {"model.onnx", "model.skops", "model.json"} & set(files)


def test_a_pack_says_plainly_what_failed_and_what_nothing_covers(packed):
    text = (packed[0] / "index.html").read_text()
    assert "whoever is a user of this machine acts without a login" in text
    assert "they are finished and shown by people" in text
    assert "not covered here" in text
    assert "compliant" not in text.lower()
    assert "<script" not in text
    assert "http-equiv" in text or "src=" not in text


def test_results_are_oscal_that_says_no_more_than_the_checks(packed):
    document = json.loads((packed[0] / packs.OSCAL).read_text())["assessment-results"]
    (result,) = document["results"]
    seen = {one["uuid"]: one for one in result["observations"]}
    assert {one["props"][0]["value"] for one in seen.values()} == set(CHECKS)
    found = {one["target"]["target-id"]: one for one in result["findings"]}
    state = found["gdpr_art.-32-1-b-32-4_checks"]["target"]["status"]
    assert state == {"state": "not-satisfied", "reason": "fail"}
    state = found["gdpr_art.-32-1-a_checks"]["target"]["status"]
    assert state == {"state": "satisfied", "reason": "pass"}
    for one in found.values():
        assert {other["observation-uuid"] for other in one["related-observations"]} <= set(seen)
    (gdpr, *_) = result["reviewed-controls"]["control-selections"]
    assert {"control-id": "gdpr_art.-28"} in gdpr["exclude-controls"]
    assert "gdpr_art.-28_checks" not in found
    for one in seen.values():
        (evidence,) = one["relevant-evidence"]
        path = (packed[0] / "oscal" / evidence["href"]).resolve()
        assert sha256(path.read_bytes()) == evidence["props"][0]["value"]


def test_other_peoples_reader_of_oscal_takes_it(packed):
    trestle = pytest.importorskip("trestle.oscal.assessment_results")
    found = trestle.AssessmentResults.oscal_read(packed[0] / packs.OSCAL)
    assert len(found.results[0].observations) == len(CHECKS)


def test_the_bill_of_materials_in_a_pack_is_the_signed_one(packed):
    path = packed[0] / "models" / "t@1" / "model" / "mlbom.cdx.json"
    document = json.loads(path.read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "t"


def test_a_pack_takes_no_folder_that_has_something_in_it(copy):
    folder = copy.root.parent / "there"
    folder.mkdir()
    (folder / "mine").write_text("x")
    with refused("CM-CONFIG", "new folder"):
        opened(copy.root).controls.pack(folder)
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_what_is_killed_while_it_writes_leaves_nothing(copy):
    """The disk is full once the pack's files come: no file of this process may grow any more."""
    project = opened(copy.root)
    kept = {path.name for path in copy.root.parent.iterdir()}
    sign = project.signer.sign_statement
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def then_full(*args):
        content = sign(*args)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        return content

    copy.monkeypatch.setattr(project.signer, "sign_statement", then_full)
    try:
        with pytest.raises(OSError, match="too large"):
            project.controls.pack(copy.root.parent / "pack")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in copy.root.parent.iterdir()} == kept


def test_a_damaged_model_is_left_out_of_the_pack_and_its_check_says_why(copy):
    an_object_is_changed(copy)
    project = opened(copy.root)
    packed = project.controls.pack(copy.root.parent / "pack")
    assert packed.models == []
    facts = json.loads((copy.root.parent / "pack" / "facts" / "models.signed.json").read_text())
    assert facts["outcome"] == "failed"
    found = verify_path(copy.root.parent / "pack", [project.state / "public"])
    assert "0 models" in found.summary


def test_the_catalogue_says_of_every_control_who_answers_and_where_it_is_written():
    used = set()
    for framework, control in catalogue.controls():
        used |= set(control.checks)
        assert set(control.checks) <= set(CHECKS), control
        assert control.checks or control.outside, control
        assert bool(control.outside) == bool(control.answers), control
        assert bool(control.title) != framework.numbers_only, control
        assert control.owners
    assert used == set(CHECKS)
    names = [oscal.identifier(one.id, control.section) for one, control in catalogue.controls()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_.-]+", name) for name in names)


def test_nothing_that_ships_says_that_a_law_is_kept():
    folder = Path(catalogue.__file__).parent
    for path in [*folder.glob("*.py"), *folder.glob("frameworks/*.toml")]:
        assert not re.search(r"\bcomplian(t|tly)\b", path.read_text(), re.IGNORECASE), path


def test_what_mends_a_check_names_commands_that_there_are():
    for one in CHECKS.values():
        for text in re.findall(r"casemate ([a-z][a-z -]*)", one.mend):
            words = text.split()
            assert any(" ".join(words[:count]) in COMMANDS for count in (1, 2, 3)), (one.id, text)
