"""A pack of a project in which nothing has run yet: what it says is verified, and only with the
keys of its signer and of its log.
"""

import shutil

import msgspec
import pytest
from tests.conftest import write_csv

import casemate
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError, WrongSigner
from casemate.core.signatures import Signer, read_envelope, subjects_of
from casemate.operations import scaffold
from casemate.stages.release.pack import PACK, PREDICATE, RESULTS, Results
from casemate.verification import verify_path


@pytest.fixture
def packed(home, tiny, tmp_path):
    """(a pack, its public keys)."""
    root = tmp_path / "p"
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", tiny), "y"))
    with casemate.open(root) as project:
        done = project.controls.pack(tmp_path / "pack")
        assert done.models == []
        keys = shutil.copytree(project.keystore.folder / "public", tmp_path / "keys")
    return tmp_path / "pack", keys, root


def signed_anew(packed, change):
    """The pack as whoever has the signing key, and not the log's, could make it."""
    folder, _, root = packed
    results = msgspec.json.decode((folder / RESULTS).read_bytes(), type=Results)
    (folder / RESULTS).write_bytes(msgspec.json.encode(change(results)))
    with casemate.open(root) as project:
        envelope = read_envelope((folder / PACK).read_bytes())
        statement = project.signer.verifier.verify_statement(envelope, PREDICATE)
        listed = subjects_of(statement) | {RESULTS: sha256((folder / RESULTS).read_bytes())}
        signed = project.signer.sign_statement(listed, PREDICATE, statement["predicate"])
    (folder / PACK).write_bytes(signed)


def without_a_framework(results):
    return msgspec.structs.replace(results, frameworks=results.frameworks[1:])


def without_a_control(results):
    first, *others = results.frameworks
    first = msgspec.structs.replace(first, controls=first.controls[1:])
    return msgspec.structs.replace(results, frameworks=[first, *others])


def with_another_word(results):
    first, *others = results.frameworks
    control, *rest = first.controls
    control = msgspec.structs.replace(control, outside="")
    first = msgspec.structs.replace(first, controls=[control, *rest])
    return msgspec.structs.replace(results, frameworks=[first, *others])


@pytest.mark.parametrize("change", [without_a_framework, without_a_control, with_another_word])
def test_whoever_signs_leaves_no_framework_or_control_out_that_the_log_recorded(packed, change):
    signed_anew(packed, lambda results: results)
    assert verify_path(packed[0], keys=[packed[1]]).kind == "evidence pack"
    signed_anew(packed, change)
    with pytest.raises(VerificationError, match="recorded other controls than the pack has: gdpr"):
        verify_path(packed[0], keys=[packed[1]])


def test_a_pack_says_how_many_checks_passed_and_of_how_many_entries(packed):
    folder, keys, _ = packed
    found = verify_path(folder, keys=[keys])
    assert found.kind == "evidence pack"
    assert "0 models" in found.summary


def test_without_the_logs_key_nothing_shows_when_checks_were_done(packed):
    folder, keys, _ = packed
    (keys / "log.vkey").unlink()
    with pytest.raises(WrongSigner, match="no log key was given"):
        verify_path(folder, keys=[keys])


def test_a_changed_result_and_a_foreign_signer_are_refused(packed):
    folder, keys, _ = packed
    results = folder / "controls.json"
    results.write_bytes(results.read_bytes().replace(b'"failed"', b'"passed"', 1))
    with pytest.raises(VerificationError):
        verify_path(folder, keys=[keys])
    for name, pem in zip(
        ("signer.pub", "signer-mldsa65.pub"), Signer.generate().verifier.pems, strict=True
    ):
        (keys / name).write_bytes(pem)
    with pytest.raises(VerificationError):
        verify_path(folder, keys=[keys])
