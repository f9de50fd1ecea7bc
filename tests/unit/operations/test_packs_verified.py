"""A pack of a project in which nothing has run yet: what it says is verified, and only with the
keys of its signer and of its log.
"""

import shutil

import pytest
from tests.conftest import write_csv

import casemate
from casemate.core.errors import VerificationError, WrongSigner
from casemate.core.signatures import Signer
from casemate.operations import scaffold
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
    return tmp_path / "pack", keys


def test_a_pack_says_how_many_checks_passed_and_of_how_many_entries(packed):
    folder, keys = packed
    found = verify_path(folder, keys=[keys])
    assert found.kind == "evidence pack"
    assert "0 models" in found.summary


def test_without_the_logs_key_nothing_shows_when_checks_were_done(packed):
    folder, keys = packed
    (keys / "log.vkey").unlink()
    with pytest.raises(WrongSigner, match="no log key was given"):
        verify_path(folder, keys=[keys])


def test_a_changed_result_and_a_foreign_signer_are_refused(packed):
    folder, keys = packed
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
