"""What an outsider checks, from public keys alone, on small artifacts that are signed here: which
keys are trusted, what is refused, and that a wrong signer is never passed over in silence.
"""

import base64
import datetime
import json
import time

import msgspec
import pytest
from tests.unit.bills import BILL
from tests.unit.conftest import grow, make_log, refused

from casemate.controls.audit.checkpoint import CheckpointSigner, Cosigner, parse_head
from casemate.controls.audit.note import parse_note
from casemate.controls.audit.signing import SignatureLog
from casemate.controls.audit.verify import WITNESSED
from casemate.controls.keys import manifests, signers
from casemate.controls.keys.signers import SignerRecord
from casemate.core.digest import sha256
from casemate.core.signatures import Signer
from casemate.core.types import Schema
from casemate.ml.own import code
from casemate.stages.release import bundle, drill, evidence
from casemate.stages.release.bom import files as bills
from casemate.stages.release.trust import trusted_keys
from casemate.verification import bill_of, require_of, verify_path

SIGNER, OTHER = Signer.generate(), Signer.generate()


def published(folder, signer=SIGNER, vkeys=None, history=None):
    """A folder of public keys, as a project publishes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pem in zip(("signer.pub", "signer-mldsa65.pub"), signer.verifier.pems, strict=True):
        (folder / name).write_bytes(pem)
    if vkeys is not None:
        (folder / "log.vkey").write_text(vkeys)
    if history is not None:
        (folder / signers.FILE).write_bytes(history)
    return folder


@pytest.fixture
def keys(tmp_path):
    return [published(tmp_path / "keys")]


def table(folder, signer=SIGNER):
    folder.mkdir()
    (folder / "part.parquet").write_bytes(b"sealed")
    said = {"name": "wdbc", "version": "3", "rows": 9}
    (folder / manifests.MANIFEST).write_bytes(
        signer.sign_statement({"part.parquet": sha256(b"sealed")}, manifests.PREDICATE, said)
    )
    (folder / "_KEY_MATERIAL_FOR_part.parquet.json").write_text("{}")
    return folder


def run_folder(folder, signer=SIGNER):
    folder.mkdir(parents=True)
    (folder / "1-data.json").write_bytes(b"{}")
    said = {"run": "r1", "project": "p", "model": "m@1", "outcome": "passed"}
    (folder / evidence.EVIDENCE).write_bytes(
        signer.sign_statement({"1-data.json": sha256(b"{}")}, evidence.PREDICATE, said)
    )
    return folder


def model(folder, signer=SIGNER, own=None, named=None):
    own = own or {}
    card = bundle.Card(
        name="m",
        model_version=2,
        inputs=Schema(target="y", classes=["0", "1"], columns=[]),
        serve_format="onnx",
        purpose="care",
        lineage={},
        metrics={},
        code=named or {name: sha256(content) for name, content in own.items()},
    )
    files = {bundle.CARD: card.to_json(), "model.onnx": b"graph", **own}
    (folder / "model").mkdir(parents=True)
    for name, content in files.items():
        (folder / "model" / name).parent.mkdir(exist_ok=True)
        (folder / "model" / name).write_bytes(content)
    (folder / bundle.BUNDLE).write_bytes(bundle.sign(files, signer))
    return folder


def test_a_model_with_code_of_its_own_says_so_and_may_name_no_other(tmp_path, keys):
    name, text = f"{code.FOLDER}/steps.py", b"x = 1"
    found = verify_path(model(tmp_path / "m", own={name: text}), keys)
    assert "with code of its own: " in found.summary
    assert "steps.py" in found.summary
    other = model(tmp_path / "other", own={name: text}, named={name: sha256(b"x = 2")})
    with refused("CM-VERIFY", "names other code"):
        verify_path(other, keys)


def drilled(folder, signer=SIGNER, **said):
    folder.mkdir()
    (folder / drill.REPORT).write_bytes(b"{}")
    said = {"project": "p", "drill": "d1", "whole": True, "broken": []} | said
    (folder / drill.SIGNATURE).write_bytes(
        signer.sign_statement({drill.REPORT: sha256(b"{}")}, drill.PREDICATE, said)
    )
    return folder


MADE = {"table": table, "runs/r1": run_folder, "model": model, "drill": drilled}
SAID = {
    "drill": ("drill", "d1 of p, every attack as expected"),
    "table": ("data set", "wdbc@3, 9 rows"),
    "runs/r1": ("evidence", "run r1 of p: m@1 passed"),
    "model": ("model", "m@2 for production, 2 files"),
}


@pytest.mark.parametrize("name", MADE)
def test_what_was_signed_says_what_it_is_and_by_whom(tmp_path, keys, name):
    found = verify_path(MADE[name](tmp_path / name), keys)
    assert (found.kind, found.summary) == SAID[name]
    assert found.signer == f"keys from --key, SHA-256 {SIGNER.verifier.fingerprint}"


@pytest.mark.parametrize("name", MADE)
def test_what_a_stranger_signed_is_refused_also_with_his_keys_beside_it(tmp_path, keys, name):
    path = MADE[name](tmp_path / name, OTHER)
    with refused("CM-SIGNER"):
        verify_path(path, keys)
    if name == "model":
        published(path, OTHER)
    with refused("CM-SIGNER", "none of the keys trusted here"):
        verify_path(path)


@pytest.mark.parametrize("name", MADE)
def test_a_changed_file_is_refused(tmp_path, keys, name):
    path = MADE[name](tmp_path / name)
    victim = next(
        path / name
        for name in ("part.parquet", "1-data.json", "model/model.onnx", drill.REPORT)
        if (path / name).is_file()
    )
    victim.write_bytes(victim.read_bytes() + b" ")
    with refused("CM-VERIFY", "was changed"):
        verify_path(path, keys)


def test_without_keys_those_of_the_readers_own_projects_are_tried_in_turn(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = table(tmp_path / "table")
    with refused("CM-SIGNER", "none of the keys trusted here"):
        verify_path(path)
    own = tmp_path / "home/.config/casemate"
    published(own / "a/public", OTHER)
    (own / "b/public").mkdir(parents=True)  # a project that was never made
    with refused("CM-SIGNER", "none of the keys trusted here"):
        verify_path(path)
    published(own / "c/public")
    assert verify_path(path).signer.startswith("keys from c, ")


def test_half_of_a_signers_keys_in_a_project_trusts_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    public = published(tmp_path / "home/.config/casemate/a/public", history=b"x")
    (public / "signer-mldsa65.pub").unlink()
    (found,) = trusted_keys([])
    assert (found.verifier, found.history, found.log_vkeys) == (None, None, None)
    with refused("CM-SIGNER", "none of the keys"):
        verify_path(table(tmp_path / "table"))


def test_a_damaged_artifact_is_not_passed_on_to_the_next_key(tmp_path, monkeypatch):
    """Only a wrong signer means `try the next`: any other fault ends the search."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    own = tmp_path / "home/.config/casemate"
    published(own / "a/public")
    published(own / "b/public", OTHER)
    path = table(tmp_path / "table")
    (path / "part.parquet").write_bytes(b"other")
    with refused("CM-VERIFY", "changed or swapped"):
        verify_path(path)


def test_without_a_signers_keys_nothing_signed_is_checked(tmp_path):
    key = tmp_path / "log.vkey"
    key.write_text("")
    with refused("CM-SIGNER", "no signer's keys were given"):
        verify_path(table(tmp_path / "table"), [key])


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda path: None, "CM-CONFIG", "no such file or folder"),
        (lambda path: path.mkdir(parents=True), "CM-CONFIG", "is nothing that casemate signs"),
        (lambda path: (path / "model").mkdir(parents=True), "CM-VERIFY", "it is unsigned"),
        (
            lambda path: (path / "1-data").mkdir(parents=True),
            "CM-VERIFY",
            "evidence without a signature",
        ),
        (
            lambda path: path.parent.mkdir() or path.write_bytes(b"c2sp"),
            "CM-CONFIG",
            "is nothing that casemate signs",
        ),
    ],
)
def test_what_is_not_signed_is_told_apart_from_what_casemate_never_signs(
    tmp_path, keys, make, code, said
):
    make(tmp_path / "runs" / "x")
    with refused(code, said):
        verify_path(tmp_path / "runs" / "x", keys)


def test_a_folder_with_numbered_things_that_lies_elsewhere_is_no_run(tmp_path, keys):
    (tmp_path / "other" / "x" / "1-data").mkdir(parents=True)
    with refused("CM-CONFIG", "is nothing that casemate signs"):
        verify_path(tmp_path / "other" / "x", keys)


def test_a_key_or_proof_that_is_not_there_is_a_mistake_of_the_command(tmp_path, keys):
    path = table(tmp_path / "table")
    with refused("CM-CONFIG", "no such public key"):
        verify_path(path, [tmp_path / "absent.pub"])
    with refused("CM-CONFIG", "no such proof"):
        verify_path(path, keys, proof=tmp_path / "absent.proof")


def test_keys_are_taken_file_by_file_as_well_as_by_folder(tmp_path, keys):
    path = table(tmp_path / "table")
    files = sorted(keys[0].iterdir())
    assert verify_path(path, files) == verify_path(path, keys)
    with refused("CM-VERIFY", "is missing"):
        verify_path(path, files[:1])


@pytest.mark.parametrize(
    "said", [{}, {"run": "r1"}, {"run": 1, "project": 2, "model": 3, "outcome": 4}]
)
def test_evidence_that_says_nothing_of_its_run_is_refused(tmp_path, keys, said):
    path = run_folder(tmp_path / "runs/r1")
    (path / evidence.EVIDENCE).write_bytes(
        SIGNER.sign_statement({"1-data.json": sha256(b"{}")}, evidence.PREDICATE, said)
    )
    with refused("CM-VERIFY", "says nothing of its run"):
        verify_path(path, keys)


# The log


@pytest.fixture
def own_log(log):
    grow(log, 3)
    return log


def vkey(tmp_path, text, name="log.vkey"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_a_log_is_checked_with_its_own_keys_and_nothing_else(tmp_path, own_log, keys):
    found = verify_path(own_log.folder, [vkey(tmp_path, own_log.signer.vkeys)])
    assert (found.kind, found.summary) == ("audit log", "3 entries of casemate/test")
    with refused("CM-SIGNER", "no log key was given"):
        verify_path(own_log.folder, keys)


def test_a_log_of_the_readers_own_project_needs_no_key_to_be_named(tmp_path, own_log, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    public = published(tmp_path / "home/.config/casemate/mine/public")
    with refused("CM-SIGNER", "none of the keys trusted here"):
        verify_path(own_log.folder)
    (public / "log.vkey").write_text(own_log.signer.vkeys)
    assert verify_path(own_log.folder).signer == "log keys from mine"


def test_a_kept_checkpoint_must_be_a_former_state_of_the_log(tmp_path, own_log, log_keys):
    key = [vkey(tmp_path, own_log.signer.vkeys)]
    kept = tmp_path / "kept"
    kept.write_bytes((own_log.folder / "checkpoint").read_bytes())
    grow(own_log, 2)
    assert verify_path(own_log.folder, key, [kept]).summary.startswith("5 entries")
    (tmp_path / "other").mkdir()
    other = make_log(tmp_path / "other", log_keys)
    grow(other, 2)
    with refused("CM-HISTORY", "rolled back or cut"):
        verify_path(other.folder, key, [kept])
    grow(other, 2)
    with refused("CM-HISTORY", "history was rewritten"):
        verify_path(other.folder, key, [kept])


def test_every_witness_whose_key_was_given_must_have_cosigned(tmp_path, own_log):
    from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

    one, two = (
        Cosigner(name, ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA44PrivateKey.generate())
        for name in ("witness/one", "witness/two")
    )
    log_key = vkey(tmp_path, own_log.signer.vkeys)
    first, both = (
        vkey(tmp_path, one.vkeys, "w.vkey"),
        vkey(tmp_path, one.vkeys + two.vkeys, "b.vkey"),
    )
    with refused("CM-VERIFY", "has no cosigned checkpoint"):
        verify_path(own_log.folder, [log_key, first])
    content = (own_log.folder / "checkpoint").read_bytes()
    note = parse_note(content)
    (own_log.folder / WITNESSED).write_bytes(
        content + one.cosign(parse_head(note), note.text).encode()
    )
    found = verify_path(own_log.folder, [log_key, first])
    assert found.summary == "3 entries of casemate/test, cosigned by witness/one"
    with refused("CM-VERIFY", "the witness witness/two did not cosign this log"):
        verify_path(own_log.folder, [log_key, both])


def test_a_proof_of_one_entry_is_checked_with_the_log_keys(tmp_path, own_log, log_keys, keys):
    proof = tmp_path / "entry.proof"
    proof.write_bytes(own_log.prove(1))
    found = verify_path(proof, [vkey(tmp_path, own_log.signer.vkeys)])
    assert found.kind == "entry"
    assert found.summary.startswith("1 of casemate/test: ")
    assert found.summary.endswith(" p act:1 r done")
    with refused("CM-SIGNER", "no log key was given"):
        verify_path(proof, keys)
    from casemate.controls.keys.store import KeyStore

    foreign = CheckpointSigner(
        "casemate/test", *KeyStore.create(tmp_path / "foreign", "test").log_keys
    )
    with refused("CM-VERIFY", "missing or wrong"):
        verify_path(proof, [vkey(tmp_path, foreign.vkeys)])


# A signer that was compromised


@pytest.fixture
def after(tmp_path, own_log):
    """(public keys, proof) after `SIGNER` was declared compromised and `OTHER` took over; the log
    shows that the table of `table()` was signed before.
    """
    signatures = SignatureLog(own_log, lambda: 'User::"ana"')
    path = table(tmp_path / "table")
    payload = base64.b64decode(json.loads((path / manifests.MANIFEST).read_bytes())["payload"])
    signatures.record(sha256(payload))
    signed = (model(tmp_path / "exported") / bundle.BUNDLE).read_bytes()
    signatures.record(bundle.payload_digest(signed))
    own_log.publish()
    time.sleep(0.001)
    now = datetime.datetime.now(datetime.UTC).isoformat()
    pems = [pem.decode() for pem in SIGNER.verifier.pems]
    record = SignerRecord(
        number=1, ecdsa=pems[0], mldsa65=pems[1], since="", retired=now, compromised=now
    )
    proof = tmp_path / "table.proof"
    proof.write_bytes(signatures.prove(sha256(payload)))
    history = signers.publish("p", [record], OTHER)
    public = published(tmp_path / "public", OTHER, own_log.signer.vkeys, history)
    return public, path, proof


def test_what_a_compromised_signer_signed_needs_the_logs_proof_that_it_is_older(after):
    public, path, proof = after
    with refused("CM-COMPROMISED", "shows no earlier signature"):
        verify_path(path, [public])
    assert verify_path(path, [public], proof=proof).summary == "wdbc@3, 9 rows"


def test_the_proof_of_another_entry_shows_nothing(after, own_log):
    public, path, proof = after
    proof.write_bytes(own_log.prove(0))
    with refused("CM-COMPROMISED", "shows no earlier signature"):
        verify_path(path, [public], proof=proof)


def test_a_proof_without_the_logs_key_shows_nothing(after):
    public, path, proof = after
    (public / "log.vkey").unlink()
    with refused("CM-SIGNER", "no log key was given, so the proof shows nothing"):
        verify_path(path, [public], proof=proof)


def test_a_proof_beside_a_model_is_found_by_itself_and_one_that_is_named_goes_before_it(
    after, tmp_path, own_log
):
    public, _, another = after
    path = tmp_path / "exported"
    with refused("CM-COMPROMISED", "shows no earlier"):
        verify_path(path, [public])
    index = [entry.index for entry in own_log.entries()][-1]
    (path / "signature.proof").write_bytes(own_log.prove(index))
    assert verify_path(path, [public]).kind == "model"
    with refused("CM-COMPROMISED", "shows no earlier"):
        verify_path(path, [public], proof=another)


def test_a_history_that_the_present_signer_did_not_sign_is_refused(after):
    public, path, proof = after
    (public / signers.FILE).write_bytes(signers.publish("p", [], SIGNER))
    with refused("CM-SIGNER"):
        verify_path(path, [public], proof=proof)


def test_a_history_of_a_later_format_or_none_at_all_is_refused(after):
    public, path, _ = after
    for payload, said in (
        (b'{"version":2,"project":"p","signers":[]}', "has format 2"),
        (b'{"version":1}', "is malformed"),
        (b"\xff", "is malformed"),
    ):
        (public / signers.FILE).write_text(json.dumps(OTHER.sign(payload, signers.PAYLOAD_TYPE)))
        with refused("CM-VERIFY", said):
            verify_path(path, [public])


def test_the_end_of_a_waiver_is_a_time_whatever_its_zone_and_one_that_nobody_can_read_has_come():
    east = "2027-01-01T00:30:00+14:00"  # 2026-12-31T10:30Z
    card = bundle.Card(
        name="m",
        model_version=1,
        inputs=Schema(target="y", classes=["0", "1"], columns=[]),
        serve_format="onnx",
        purpose="care",
        lineage={},
        metrics={},
        waived={"roc_auc": east, "accuracy": "soon"},
    )
    at = datetime.datetime.fromisoformat("2026-12-31T10:00:00+00:00")
    assert card.ended(at) == ["accuracy"]
    assert card.ended(at + datetime.timedelta(minutes=30)) == ["accuracy", "roc_auc"]


def test_a_drill_says_which_attacks_did_not_end_as_expected_and_whether_all_were_asked_for(
    tmp_path, keys
):
    found = verify_path(drilled(tmp_path / "a", broken=["extraction"]), keys)
    assert found.summary == "d1 of p, not as expected: extraction"
    found = verify_path(drilled(tmp_path / "b", whole=False), keys)
    assert found.summary == "d1 of p, every attack that was asked for as expected"


def test_a_bill_is_verified_by_the_signature_beside_it_and_against_the_model_that_it_is_of(
    tmp_path, keys
):
    content = bills.written(BILL, "cyclonedx-1.7")
    folder = tmp_path / "m"
    (folder / "model").mkdir(parents=True)
    plain = model(tmp_path / "plain")
    files = {
        bundle.CARD: (plain / "model" / bundle.CARD).read_bytes(),
        "model.onnx": b"graph",
        bills.NAME: content,
    }
    for name, text in files.items():
        (folder / "model" / name).write_bytes(text)
    (folder / bundle.BUNDLE).write_bytes(bundle.sign(files, SIGNER))
    path = tmp_path / "bill.json"
    path.write_bytes(content)
    with refused("CM-CONFIG", "is nothing that casemate signs"):
        verify_path(path, keys)
    said = bills.Signed(project="p", reference=BILL.reference, run="r1", model="")
    bills.signature_of(path).write_bytes(bills.sign(content, said, SIGNER))
    found = verify_path(path, keys)
    assert found.kind == "bill of materials"
    assert "run r1 of p: 1 models, 1 data sets, 3 components" in found.summary
    assert bill_of(folder, keys).reference == BILL.reference
    assert require_of(path, folder, keys).signer == f"the model {folder}"
    path.write_bytes(bills.written(msgspec.structs.replace(BILL, producer="X"), "cyclonedx-1.7"))
    with refused("CM-VERIFY", "changed after signing"):
        verify_path(path, keys)
    with refused("CM-VERIFY", f"is not the bill of {BILL.reference}"):
        require_of(path, folder, keys)
    with refused("CM-CONFIG", "has no bill of materials"):
        bill_of(plain, keys)
