"""The signer's history: what a former signer signed stays valid, but for a compromise; and who may
sign for which stage.
"""

import datetime
import json
import shutil

import pytest

import casemate
from casemate.controls.keys import manifests, signers
from casemate.core.errors import (
    AccessDenied,
    BusyError,
    CompromisedSigner,
    ConfigError,
    RefusedError,
    VerificationError,
    WrongSigner,
)
from casemate.core.files import shared_lock
from casemate.core.signatures import Signer, Verifier
from casemate.operations.fsck import examine
from casemate.operations.keys import rotation
from casemate.serve.server import serve
from casemate.stages.release import bundle
from casemate.verification import verify_path

HOUR = datetime.timedelta(hours=1)


def signed_things(root):
    """The newest run's evidence and the table."""
    state = root / ".casemate"
    return [
        max((state / "runs").iterdir()),
        next(path.parent for path in (state / "datasets").rglob("manifest.dsse.json")),
    ]


@pytest.fixture
def project(own):
    """The finished project."""
    return casemate.open(own)


def moment_of(project, action):
    """Time of the newest entry of this action."""
    return datetime.datetime.fromisoformat(
        [entry.time for entry in project.log.entries() if entry.action == action][-1]
    )


def test_what_a_former_signer_signed_stays_valid_and_new_signatures_are_the_new_ones(
    project, tmp_path
):
    before = project.signer
    exported = project.models["wdbc"].export(tmp_path / "old")
    number = rotation.new_signer(project).number
    again = casemate.open(project.root)
    assert (number, len(again.keystore.signers)) == (2, 2)
    for path in (tmp_path / "old", *signed_things(project.root)):
        assert casemate.verify(str(path)).signer
        assert verify_path(path, [project.root / ".casemate" / "public"])
    assert (
        again.models["wdbc"].verify().fingerprint
        == exported.fingerprint
        == before.verifier.fingerprint
    )
    result = again.run()
    assert result.model.reference == "wdbc@2"
    assert (
        result.model.verify().fingerprint
        == again.keystore.signer.verifier.fingerprint
        != before.verifier.fingerprint
    )
    assert examine(again).damage == []


def test_the_private_keys_of_a_former_signer_are_gone(project):
    old = project.keystore.signer
    rotation.new_signer(project)
    identity = casemate.open(project.root).keystore._identity
    assert old.quantum.private_bytes_raw() not in (identity.signer_mldsa65, identity.log_mldsa44)
    assert identity.signer_ecdsa not in {record.ecdsa for record in identity.former_signers}
    assert all(
        "PUBLIC" in record.ecdsa and "PUBLIC" in record.mldsa65
        for record in identity.former_signers
    )


def test_after_a_compromise_only_what_the_log_shows_to_be_older_counts(project, tmp_path):
    project.models["wdbc"].export(tmp_path / "model")
    signed = moment_of(project, "signature:make")
    later = signed + datetime.timedelta(microseconds=1)
    rotation.new_signer(project, compromised=later)
    public = [project.root / ".casemate" / "public"]
    again = casemate.open(project.root)
    assert again.models["wdbc"].verify()
    assert again.datasets["wdbc"].to_arrow().num_rows
    assert verify_path(tmp_path / "model", public), "signature.proof shows that it is older"
    for path in signed_things(project.root):
        with pytest.raises(CompromisedSigner, match="shows no earlier"):
            verify_path(path, public)
    again.keys.distrust(1, later - 24 * HOUR)
    with pytest.raises(CompromisedSigner, match="was signed at"):
        again.models["wdbc"].verify()
    with pytest.raises(CompromisedSigner):
        again.datasets["wdbc"].to_arrow()
    with pytest.raises(CompromisedSigner):
        verify_path(tmp_path / "model", public)
    damage = examine(casemate.open(project.root)).damage
    assert {"casemate run" in found.remedy for found in damage if "compromised" in found.state} == {
        True
    }


def test_the_proof_of_a_signature_can_be_asked_for_and_counts_for_that_signature_only(
    project, tmp_path
):
    later = moment_of(project, "signature:make") + datetime.timedelta(microseconds=1)
    rotation.new_signer(project, compromised=later)
    public, (evidence, table) = [project.root / ".casemate" / "public"], signed_things(project.root)
    envelope = json.loads((table / manifests.MANIFEST).read_bytes())
    digest = bundle.payload_digest(json.dumps({"dsseEnvelope": envelope}).encode())
    proof = tmp_path / "table.proof"
    proof.write_bytes(project.signatures.prove(digest))
    assert verify_path(table, public, proof=proof)
    with pytest.raises(CompromisedSigner):
        verify_path(evidence, public, proof=proof)
    with pytest.raises(WrongSigner, match="no log key"):
        verify_path(
            table,
            [public[0] / name for name in ("signer.pub", "signer-mldsa65.pub", "signers.json")],
            proof=proof,
        )
    with pytest.raises(ConfigError, match="no such proof"):
        verify_path(table, public, proof=tmp_path / "absent")
    content = proof.read_bytes()
    for where in range(0, len(content), 37):
        proof.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
        with pytest.raises(VerificationError):
            verify_path(table, public, proof=proof)


def test_a_thief_of_former_keys_cannot_sign_a_model_that_anybody_accepts(project, tmp_path):
    thief = Signer(project.keystore.signer.classical, project.keystore.signer.quantum)
    stolen = datetime.datetime.now(datetime.UTC)
    project.models["wdbc"].export(tmp_path / "model")
    rotation.new_signer(project, compromised=stolen)
    folder = tmp_path / "model"
    files = bundle.read_folder(folder / "model")
    files["model.json"] = files["model.json"].replace(b'"wdbc"', b'"evil"')
    (folder / "model.sig").write_bytes(bundle.sign(files, thief))
    (folder / "model" / "model.json").write_bytes(files["model.json"])
    with pytest.raises(CompromisedSigner, match="shows no earlier"):
        verify_path(folder, [project.root / ".casemate" / "public"])
    with pytest.raises(CompromisedSigner):
        verify_path(folder)


def test_a_mixture_of_two_signers_is_refused(project):
    old = Signer(project.keystore.signer.classical, project.keystore.signer.quantum)
    rotation.new_signer(project)
    new, ring = project.keystore.signer, project.signer.verifier
    mixed = old.sign(b"{}")
    mixed["signatures"][1] = new.sign(b"{}")["signatures"][1]
    with pytest.raises(VerificationError):
        ring.verify(mixed)
    assert ring.verify(old.sign(b"{}")) == ring.verify(new.sign(b"{}")) == b"{}"


def test_a_changed_or_foreign_history_is_refused(project, tmp_path):
    rotation.new_signer(project)
    public = tmp_path / "public"
    shutil.copytree(project.root / ".casemate" / "public", public)
    path, evidence = public / "signers.json", signed_things(project.root)[0]
    content = path.read_bytes()
    for where in range(0, len(content), 211):
        path.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
        with pytest.raises(VerificationError):
            verify_path(evidence, [public])
    stranger = Signer.generate()
    path.write_bytes(signers.publish("other", project.keystore.signers, stranger))
    with pytest.raises(VerificationError):
        verify_path(evidence, [public])
    path.unlink()
    with pytest.raises(WrongSigner):
        verify_path(evidence, [public])


def test_a_declared_compromise_seals_the_data_again_at_the_next_run(project):
    rotation.new_signer(project, compromised=moment_of(project, "project:create"))
    again = casemate.open(project.root)
    with pytest.raises(CompromisedSigner):
        again.datasets["wdbc"].to_arrow()
    result = again.run()
    assert result.model.verify().fingerprint == again.keystore.signer.verifier.fingerprint
    assert again.datasets["wdbc"].to_arrow().num_rows


def test_changing_the_signer_waits_for_the_end_of_a_run_and_refuses_nonsense(own, cli):
    with shared_lock(own / ".casemate" / "lock", lambda: None), pytest.raises(BusyError):
        rotation.new_signer(casemate.open(own))
    assert "signer 2" in cli("keys", "signer", "rotate", "--config", str(own)).out
    for words, said in (
        (("distrust", "2", "1h"), "present signer"),
        (("distrust", "9", "1h"), "no signer 9"),
        (("distrust", "1", "soon"), "is no time"),
        (("distrust", "1", "2999-01-01"), "future"),
    ):
        answer = cli("keys", "signer", *words, "--config", str(own))
        assert (answer.code, said in answer.err) == (2, True), answer.err
    assert cli("keys", "signer", "distrust", "1", "1h", "--config", str(own)).code == 0
    answer = cli("keys", "signer", "distrust", "1", "1m", "--config", str(own))
    assert (answer.code, "only an earlier time" in answer.err) == (2, True)
    listed = json.loads(cli("keys", "signer", "list", "--format", "json", "--config", str(own)).out)
    assert [item["number"] for item in listed] == [1, 2]
    assert listed[0]["compromised"]
    assert not listed[1]["compromised"]


def test_published_keys_that_are_not_those_in_use_are_found_and_written_anew(own):
    rotation.new_signer(casemate.open(own))
    stranger = Verifier.from_pem(*Signer.generate().verifier.pems)
    (own / ".casemate" / "public" / "signer.pub").write_bytes(stranger.pems[0])
    (own / ".casemate" / "public" / "signers.json").unlink()
    (found,) = examine(casemate.open(own)).damage
    assert "signer.pub, signers.json" in found.state
    assert examine(casemate.open(own), repair=True).damage[0].repaired
    assert examine(casemate.open(own)).damage == []


def test_a_policy_says_who_may_sign_which_model_for_which_stage(own, cli):
    (own / "policies" / "stages.cedar").write_text(
        '@id("production-is-signed-elsewhere") forbid (principal, action == Action::"model:sign",'
        ' resource is Model)\nwhen { context.stage == "production" && resource.name like "wd*" };\n'
    )
    answer = cli("run", "--fresh", "--config", str(own))
    assert (answer.code, "production-is-signed-elsewhere" in answer.err) == (3, True)
    newest = list(casemate.open(own).log.entries())[-1]
    assert (newest.action, newest.outcome) == ("model:sign", "denied")
    project = casemate.open(own, ["release.stage=staging"])
    with pytest.raises(AccessDenied):
        casemate.open(own).run()
    model = project.run().model.verify()
    assert model.card.stage == "staging"
    with pytest.raises(RefusedError, match="signed for the stage 'staging'"):
        serve(project, lambda *_: None)
