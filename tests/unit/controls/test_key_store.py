"""The key store: passphrase and recovery key, rotation, destruction, migration, and what the log
says about all of it.
"""

import base64
import json
import os
import shutil

import msgspec
import pytest
from tests.contract.conftest import aws, openbao  # noqa: F401 - fixtures

import casemate
from casemate.controls.keys import keyfile, manifests, slots, tables
from casemate.controls.keys.interface import PURPOSES
from casemate.controls.keys.keepers import overdue_keys
from casemate.controls.keys.objects import MAGIC_V1, ObjectStore, name_of
from casemate.controls.keys.savedkeys import recover
from casemate.controls.keys.store import KeyStore
from casemate.core.blobs import FileBlobs
from casemate.core.errors import (
    AccessDenied,
    BackendError,
    BusyError,
    ConfigError,
    Error,
    RefusedError,
    VerificationError,
)
from casemate.core.files import shared_lock
from casemate.core.home import keystore_folder
from casemate.operations.fsck import examine
from casemate.operations.keys import rotation

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def own(own, monkeypatch):
    """The same, with a passphrase at hand."""
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE)
    return own


def everything(root):
    """Every file of the state and what is in it, but the log's and the catalogue's."""
    state = root / ".casemate"
    return {
        path: path.read_bytes()
        for name in ("objects", "datasets")
        for path in (state / name).rglob("*")
        if path.is_file()
    }


def works(root, overrides=None):
    """The project reads its table, verifies its model and its log."""
    project = casemate.open(root, overrides)
    assert project.datasets["wdbc"].to_arrow().num_rows == 569
    project.models["wdbc"].verify()
    assert examine(project).outcome == "intact"
    return project


def test_a_rotation_rewraps_everything_and_touches_no_data_byte(own):
    before = everything(own)
    project = casemate.open(own)
    done = rotation.rotate(project, [])
    assert done.keys == dict.fromkeys(PURPOSES, 2)
    assert done.rewrapped["tables"] == 1
    assert done.rewrapped["objects"] >= 6
    assert done.rewrapped["audit log"] == done.rewrapped["private keys"] == 1
    after = everything(own)
    changed = {path for path in before if before[path] != after[path]}
    assert set(before) == set(after)
    assert all(path.suffix == ".key" or path.name.startswith("_KEY_MATERIAL") for path in changed)
    assert {number for _, number in rotation.uses(project)} == {2}
    works(own)


def test_an_old_version_is_destroyed_once_nothing_is_under_it(own):
    project = casemate.open(own)
    with pytest.raises(ConfigError, match="is the active one"):
        rotation.destroy(project, "subjects", 1)
    project.keystore.provider.rotate("objects")
    with pytest.raises(RefusedError, match="still under version 1"):
        rotation.destroy(project, "objects", 1)
    rotation.rotate(project, ["objects"], resume=True)
    rotation.destroy(project, "objects", 1)
    assert [version.state for version in project.keystore.provider.versions()["objects"]] == [
        "destroyed",
        "active",
    ]
    works(own)


@pytest.mark.parametrize("at", [1, 2, 5, 7])
def test_an_interrupted_rotation_leaves_a_working_project_and_is_finished_by_resume(
    own, monkeypatch, at
):
    """Stopped at the `at`th wrapped key of an object."""
    real, count = FileBlobs.replace, 0

    def failing(blobs, name, before, after):
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt
        real(blobs, name, before, after)

    monkeypatch.setattr(FileBlobs, "replace", failing)
    with pytest.raises(KeyboardInterrupt):
        rotation.rotate(casemate.open(own), [])
    monkeypatch.setattr(FileBlobs, "replace", real)
    project = works(own)
    rotation.rotate(project, [], resume=True)
    assert set(rotation.uses(project)) == {(key, 2) for key in PURPOSES}
    works(own)


def test_with_compromised_keys_the_data_itself_is_encrypted_again(own):
    before = everything(own)
    project = casemate.open(own)
    entries = project.log.size()
    done = rotation.rotate(project, [], compromised=True)
    assert done.sealed_anew["tables"] == 1
    assert done.sealed_anew["audit log entries"] >= entries
    after = everything(own)
    assert not set(before.values()) & set(after.values())
    assert {path for path in before if path.suffix != ".key"} == {
        path for path in after if path.suffix != ".key"
    }
    for key in PURPOSES:
        rotation.destroy(project, key, 1)
    works(own)


def test_every_use_of_a_key_is_in_the_log(own):
    project = casemate.open(own)
    start = project.log.size()
    project.datasets["wdbc"].to_arrow()
    entries = list(project.log.entries(start))
    unwrapped = {entry.resource for entry in entries if entry.action == "key:unwrap"}
    assert unwrapped == {
        f'Key::"{key}"' for key in ("footer", "general", "sensitive", "identifier", "subjects")
    }
    assert {entry.detail["for"] for entry in entries if entry.action == "key:unwrap"} == {
        "table wdbc",
        "identifiers",
    }
    assert {entry.principal for entry in entries} == {project.point.identify().principal.uid}


def test_a_refused_use_of_a_key_is_in_the_log_and_exit_code_5(own, cli):
    project = casemate.open(own)
    project.keystore.provider.rotate("objects")
    project.keystore.provider.disable("objects", 1)
    answer = cli("model", "export", "wdbc", own / "out", "--config", own)
    assert answer.code == 5
    assert "version 1 is disabled" in answer.err
    assert "casemate keys enable objects 1" in answer.err
    assert not (own / "out").exists()
    *_, last = [entry for entry in project.log.entries() if entry.action == "key:unwrap"]
    assert (last.outcome, last.resource) == ("denied", 'Key::"objects"')


def test_a_key_store_under_a_passphrase_opens_with_it_only(tmp_path, monkeypatch):
    store = KeyStore.create(tmp_path / "k", "k", PASSPHRASE)
    assert store.recovery.startswith("casemate-recovery-1")
    content = (tmp_path / "k" / "keystore.json").read_bytes()
    for purpose in PURPOSES:
        assert base64.b64encode(store.provider._material(purpose, 1)) not in content
    assert base64.b64encode(store._identity.log_ed25519) not in content
    with pytest.raises(AccessDenied, match="is under a passphrase"):
        KeyStore.open(tmp_path / "k")
    for value, fault in ((PASSPHRASE, None), (PASSPHRASE + "x", AccessDenied)):
        monkeypatch.setenv("TEST_PASSPHRASE", value)
        table = casemate.config.KeysTable(passphrase="env:TEST_PASSPHRASE")
        if fault is None:
            again = KeyStore.open(tmp_path / "k", table)
            assert again.signer.verifier.fingerprint == store.signer.verifier.fingerprint
        else:
            with pytest.raises(fault, match="does not open"):
                KeyStore.open(tmp_path / "k", table)


def test_the_recovery_key_sets_a_new_passphrase_and_a_mistyped_one_is_named(tmp_path, monkeypatch):
    store = KeyStore.create(tmp_path / "k", "k", PASSPHRASE)
    other = KeyStore.create(tmp_path / "o", "o", PASSPHRASE)
    with pytest.raises(AccessDenied, match="does not open this key store"):
        recover(tmp_path / "k", other.recovery, "a brand new passphrase")
    for wrong in (
        "",
        "nonsense",
        store.recovery[:-3],
        store.recovery.replace("casemate-recovery-1", "x"),
        store.recovery.replace("A", "B", 1),
    ):
        with pytest.raises(ConfigError, match="recovery key"):
            recover(tmp_path / "k", wrong, "a brand new passphrase")
    recover(tmp_path / "k", " ".join(store.recovery.lower().split()), "a brand new passphrase")
    monkeypatch.setenv("TEST_PASSPHRASE", "a brand new passphrase")
    again = KeyStore.open(
        tmp_path / "k", casemate.config.KeysTable(passphrase="env:TEST_PASSPHRASE")
    )
    assert again.provider.unwrap("objects", store.provider.wrap("objects", bytes(32))) == bytes(32)


@pytest.mark.slow
@pytest.mark.secured
@pytest.mark.parametrize("with_passphrase", [False, True])
def test_every_flipped_bit_of_a_key_store_is_refused_or_harmless(
    tmp_path, monkeypatch, with_passphrase
):
    """In every byte of the file one bit: it does not open, or it gives the same keys."""
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(
        slots.Kdf,
        "derive",
        lambda self, passphrase: (passphrase.encode() + self.salt + bytes(32))[:32],
    )
    table = casemate.config.KeysTable(passphrase="env:TEST_PASSPHRASE") if with_passphrase else None
    store = KeyStore.create(tmp_path / "k", "k", PASSPHRASE if with_passphrase else None)
    path = tmp_path / "k" / "keystore.json"
    content = path.read_bytes()
    wrapped = store.provider.wrap("objects", bytes(32))
    refused = 0
    for at in range(0, len(content), 1 if len(content) < 9000 else 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        try:
            again = KeyStore.open(tmp_path / "k", table)
            same = again.provider.unwrap("objects", wrapped) == bytes(32)
            assert same and again.signer.verifier.fingerprint == store.signer.verifier.fingerprint
        except Error:
            refused += 1
    assert refused > 1000


def test_a_store_is_put_under_a_passphrase_later_and_the_passphrase_changed(own, cli, monkeypatch):
    first = cli("keys", "protect", "env:TEST_PASSPHRASE", "--config", own)
    assert first.code == 0, first.err
    assert "casemate-recovery-1" in first.out
    recovery = "casemate-recovery-1" + first.out.partition("casemate-recovery-1")[2]
    project = works(own)
    assert "passphrase" in project.keystore.protection
    monkeypatch.setenv("NEXT_PASSPHRASE", "another good passphrase")
    second = cli("keys", "protect", "env:NEXT_PASSPHRASE", "--config", own)
    assert "casemate-recovery-1" not in second.out
    monkeypatch.delenv("TEST_PASSPHRASE")
    works(own)
    monkeypatch.delenv("NEXT_PASSPHRASE")
    lost = cli("keys", "list", "--config", own)
    assert lost.code == 2 and "NEXT_PASSPHRASE" in lost.err
    monkeypatch.setenv("RECOVERY", recovery)
    monkeypatch.setenv("FRESH", "yet another passphrase")
    assert cli("keys", "recover", "env:RECOVERY", "env:FRESH", "--config", own).code == 0
    works(own)


def test_a_new_recovery_key_replaces_the_old_one(own, cli, monkeypatch):
    recovery = [cli("keys", "protect", "env:TEST_PASSPHRASE", *words, "--config", own).value["recovery"]
                for words in (("--format", "json"), ("--format", "json", "--new-recovery"))]  # fmt: skip
    assert recovery[0] != recovery[1]
    works(own)
    monkeypatch.setenv("FRESH", "yet another passphrase")
    monkeypatch.setenv("RECOVERY", recovery[0])
    assert cli("keys", "recover", "env:RECOVERY", "env:FRESH", "--config", own).code == 3
    monkeypatch.setenv("RECOVERY", recovery[1])
    assert cli("keys", "recover", "env:RECOVERY", "env:FRESH", "--config", own).code == 0
    works(own)


def test_the_key_store_of_casemate_0_1_is_upgraded_and_everything_still_opens(own):
    project = casemate.open(own)
    keys = project.keystore
    identity = keys._identity
    old = keyfile.DocumentV1(
        1,
        {
            key: {n: kek.material for n, kek in versions.items()}
            for key, versions in keys.document.keks.items()
            if key != "identity"
        },
        **{
            name: getattr(identity, name)
            for name in keyfile.DocumentV1.__struct_fields__
            if hasattr(identity, name)
        },
    )
    (keys.folder / "keystore.json").write_bytes(msgspec.json.encode(old))
    with pytest.raises(BackendError, match=r"casemate 0\.1"):
        KeyStore.open(keys.folder)
    casemate.open(own).store.upgrade()
    again = works(own)
    assert again.keystore.signer.verifier.fingerprint == keys.signer.verifier.fingerprint
    assert {
        finding.location
        for finding in overdue_keys(again.keystore.provider, 365, again.clock.now())
    } == set(PURPOSES) - {"identity"}


def test_objects_of_casemate_0_1_are_read_and_sealed_anew_by_a_rotation(tmp_path):
    keys = KeyStore.create(tmp_path / "k", "k")
    store = ObjectStore(FileBlobs(tmp_path / "objects"), keys.provider)
    digest = _store_as_0_1(store, keys, b"old content" * 1000)
    assert store.get(digest) == b"old content" * 1000
    assert [found for found, _ in store.inline()] == [digest]
    store.seal_anew(digest)
    assert store.get(digest) == b"old content" * 1000
    assert not list(store.inline())


def _store_as_0_1(store, keys, content):
    from cryptography.cobblestone import Cobblestone256Encryptor

    from casemate.core.digest import sha256

    digest, data_key = sha256(content), Cobblestone256Encryptor.generate_key()
    wrapped = base64.b64encode(keys.provider.wrap("objects", data_key)).decode()
    line = json.dumps(
        {"key": "objects", "wrapped": wrapped, "digest": digest, "size": len(content)}
    ).encode()
    stream = Cobblestone256Encryptor(data_key, line)
    store.blobs.path(name_of(digest)).parent.mkdir(parents=True)
    store.blobs.path(name_of(digest)).write_bytes(
        MAGIC_V1 + line + b"\n" + stream.update(content) + stream.finalize()
    )
    return digest


def test_a_file_larger_than_its_buffers_is_stored_and_copied_back(tmp_path):
    keys = KeyStore.create(tmp_path / "k", "k")
    store = ObjectStore(FileBlobs(tmp_path / "objects"), keys.provider)
    source = tmp_path / "large"
    source.write_bytes(os.urandom(5_300_000))
    digest = store.put_file(source)
    store.copy_to(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    with store.blobs.path(name_of(digest)).open("r+b") as file:
        file.truncate(4_000_000)
    with pytest.raises(VerificationError):
        store.copy_to(digest, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


@pytest.mark.parametrize("provider", ["vault", "aws"])
def test_a_project_moves_to_another_provider_and_back(own, cli, request, monkeypatch, provider):
    if provider == "vault":
        server = request.getfixturevalue("openbao")
        monkeypatch.setenv("TEST_VAULT_TOKEN", server.token)
        words = ("--address", server.address, "--secret", "env:TEST_VAULT_TOKEN")
    else:
        words = ("--region", "eu-central-1", "--endpoint", request.getfixturevalue("aws").endpoint)
    before = everything(own)
    moved = cli("keys", "migrate", provider, *words, "--config", own)
    assert moved.code == 0, moved.err
    project = works(own)
    assert project.keystore.document.provider == provider
    assert project.keystore.document.keks == {}
    assert cli("keys", "rotate", "objects", "--config", own).code == 0
    assert cli("run", "--config", own).code == 0
    assert cli("keys", "migrate", provider, *words, "--config", own).code == 2
    back = cli("keys", "migrate", "file", "--passphrase", "env:TEST_PASSPHRASE", "--config", own)
    assert back.code == 0, back.err
    assert "casemate-recovery-1" in back.out
    project = works(own)
    assert project.keystore.document.provider == "file"
    data = {path for path in before if path.suffix != ".key" and not path.name.startswith("_KEY")}
    assert {path: path.read_bytes() for path in data} == {path: before[path] for path in data}


def test_a_provider_that_is_away_is_exit_code_5_with_the_reason(own, cli, monkeypatch):
    monkeypatch.setenv("TEST_VAULT_TOKEN", "x")
    words = ("--address", "http://127.0.0.1:9", "--secret", "env:TEST_VAULT_TOKEN", "--config", own)
    answer = cli("keys", "migrate", "vault", *words)
    assert answer.code == 5
    assert "127.0.0.1 is not available" in answer.err
    works(own)
    answer = cli(
        "keys", "migrate", "vault", "--address", "http://vault.example.org", "--config", own
    )
    assert answer.code == 2 and "https" in answer.err


def test_a_token_without_rights_is_exit_code_5_with_the_reason(own, cli, request, monkeypatch):
    server = request.getfixturevalue("openbao")
    monkeypatch.setenv("TEST_VAULT_TOKEN", "s.no-such-token")
    answer = cli(
        "keys",
        "migrate",
        "vault",
        "--address",
        server.address,
        "--secret",
        "env:TEST_VAULT_TOKEN",
        "--config",
        own,
    )
    assert answer.code == 5
    assert "denied" in answer.err
    works(own)


@pytest.mark.parametrize(
    "at", [(KeyStore, "switch"), (rotation, "_point_there"), (tables, "rewrap")]
)
def test_an_interrupted_migration_is_finished_by_the_same_command(
    own, cli, request, monkeypatch, at
):
    server = request.getfixturevalue("openbao")
    monkeypatch.setenv("TEST_VAULT_TOKEN", server.token)
    words = (
        "keys",
        "migrate",
        "vault",
        "--address",
        server.address,
        "--secret",
        "env:TEST_VAULT_TOKEN",
        "--config",
        own,
    )
    real = getattr(*at)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(*at, stop)
    assert cli(*words).code != 0
    half = cli("model", "export", "wdbc", own / "out", "--config", own)
    if at[1] != "rewrap":  # nothing had moved yet
        assert half.code in {2, 4}
        assert "casemate keys migrate" in half.err
    monkeypatch.setattr(*at, real)
    again = cli(*words)
    assert again.code == 0, again.err
    works(own)


def test_the_keys_are_saved_and_brought_back_without_the_data(own, cli, tmp_path, monkeypatch):
    file = tmp_path / "keys.backup"
    assert cli("keys", "backup", file, "env:TEST_PASSPHRASE", "--config", own).code == 0
    assert cli("keys", "backup", file, "env:TEST_PASSPHRASE", "--config", own).code == 2
    folder = keystore_folder(casemate.open(own).config.project.id)
    assert cli("keys", "restore", file, "env:TEST_PASSPHRASE", "--config", own).code == 2
    shutil.rmtree(folder)
    monkeypatch.setenv("WRONG", "not the passphrase")
    assert cli("keys", "restore", file, "env:WRONG", "--config", own).code == 4
    content = file.read_bytes()
    file.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
    assert cli("keys", "restore", file, "env:TEST_PASSPHRASE", "--config", own).code == 4
    assert not (folder / "keystore.json").exists()
    file.write_bytes(content)
    answer = cli("keys", "restore", file, "env:TEST_PASSPHRASE", "--config", own)
    assert answer.code == 0, answer.err
    works(own)


def test_what_the_keys_verb_shows_and_refuses(own, cli):
    shown = json.loads(cli("keys", "list", "--config", own, "--format", "json").out)
    assert [version["number"] for version in shown["keys"]["objects"]] == [1]
    assert shown["overdue"] == []
    assert cli("keys", "rotate", "sensitive", "--config", own).code == 0
    rows = json.loads(cli("keys", "show", "sensitive", "--config", own, "--format", "json").out)
    assert [(row["number"], row["state"]) for row in rows] == [(1, "decrypt-only"), (2, "active")]
    assert cli("keys", "disable", "sensitive", "1", "--config", own).code == 0
    assert cli("keys", "enable", "sensitive", "1", "--config", own).code == 0
    assert cli("keys", "destroy", "sensitive", "1", "--config", own).code == 0
    assert cli("keys", "enable", "sensitive", "1", "--config", own).code == 0
    rows = json.loads(cli("keys", "show", "sensitive", "--config", own, "--format", "json").out)
    assert rows[0]["state"] == "destroyed"
    for words in (
        ("show", "nothing"),
        ("rotate", "nothing"),
        ("destroy", "nothing", "1"),
        ("destroy", "objects", "1"),
        ("disable", "objects", "9"),
    ):
        answer = cli("keys", *words, "--config", own)
        assert answer.code == 2, (words, answer.err)
    short = cli("keys", "protect", "file:/dev/null", "--config", own)
    assert short.code == 2


def test_a_swapped_wrapped_key_of_a_column_is_refused(own):
    project = casemate.open(own)
    (folder,) = (
        path.parent for path in (own / ".casemate/datasets").glob(f"*/*/{manifests.MANIFEST}")
    )
    (path,) = folder.glob("_KEY_MATERIAL*")
    material = {name: json.loads(text) for name, text in json.loads(path.read_text()).items()}
    first, last = (
        next(name for name, item in material.items() if item["masterKeyID"] == purpose)
        for purpose in ("general", "identifier")
    )
    for field in ("wrappedDEK", "wrappedKEK"):
        swapped = json.loads(json.dumps(material))
        swapped[first][field], swapped[last][field] = swapped[last][field], swapped[first][field]
        path.write_text(json.dumps({name: json.dumps(value) for name, value in swapped.items()}))
        with pytest.raises(VerificationError):
            project.datasets["wdbc"].to_arrow()


def test_what_would_pull_a_key_from_under_a_run_waits_for_its_end(own, cli):
    project = casemate.open(own)
    rotation.rotate(project, ["objects"])
    with shared_lock(own / ".casemate" / "lock", lambda: None):  # as a run holds it
        for words in (
            ("destroy", "objects", "1"),
            ("rotate", "objects", "--compromised"),
            ("migrate", "vault", "--address", "http://127.0.0.1:9"),
        ):
            answer = cli("keys", *words, "--config", own)
            assert answer.code == 5, words
            assert "while a run" in answer.err
    assert cli("keys", "destroy", "objects", "1", "--config", own).code == 0


def test_what_was_wrapped_while_keys_were_rotated_and_destroyed_opens(own):
    early = casemate.open(own)
    early.objects.put(b"before")
    project = casemate.open(own)
    rotation.rotate(project, ["objects"])
    rotation.destroy(project, "objects", 1)
    digest = early.objects.put(b"by a process that was started before")
    assert casemate.open(own).objects.get(digest).startswith(b"by a process")


def test_two_passphrases_at_once_do_not_lose_the_keys(own, monkeypatch):
    first, second = casemate.open(own).keystore, casemate.open(own).keystore
    assert first.provider.wrap("objects", bytes(32)) and second.provider.wrap("objects", bytes(32))
    second.protect("the second passphrase")
    with pytest.raises(BusyError, match="meanwhile"):
        first.protect("the first passphrase")
    for call in (
        lambda: first.provider.rotate("objects"),
        lambda: first.provider.wrap("objects", bytes(32)),
    ):
        with pytest.raises(BackendError, match="meanwhile"):
            call()
    monkeypatch.setenv("SECOND", "the second passphrase")
    casemate.open(own).keys.remember_passphrase("env:SECOND")
    works(own)


@pytest.mark.parametrize("key", ["identity", "audit"])
def test_a_key_without_which_nobody_could_enable_it_again_is_not_disabled(own, cli, key):
    answer = cli("keys", "disable", key, "1", "--config", own)
    assert answer.code == 1
    assert "still under version 1" in answer.err
    assert cli("keys", "rotate", key, "--config", own).code == 0
    assert cli("keys", "disable", key, "1", "--config", own).code == 0
    works(own)
    assert cli("keys", "enable", "nothing", "1", "--config", own).code == 2


def test_an_interrupted_way_back_to_the_file_is_finished_with_a_passphrase(
    own, cli, request, monkeypatch
):
    server = request.getfixturevalue("openbao")
    monkeypatch.setenv("TEST_VAULT_TOKEN", server.token)
    assert (
        cli(
            "keys",
            "migrate",
            "vault",
            "--address",
            server.address,
            "--secret",
            "env:TEST_VAULT_TOKEN",
            "--config",
            own,
        ).code
        == 0
    )

    def stop(*_):
        raise KeyboardInterrupt

    real = KeyStore.switch
    monkeypatch.setattr(KeyStore, "switch", stop)
    assert cli("keys", "migrate", "file", "--config", own).code != 0
    monkeypatch.setattr(KeyStore, "switch", real)
    answer = cli("keys", "migrate", "file", "--passphrase", "env:TEST_PASSPHRASE", "--config", own)
    assert answer.code == 0, answer.err
    works(own)


def test_an_object_that_cannot_be_opened_now_is_not_removed_when_it_is_stored_again(tmp_path):
    keys = KeyStore.create(tmp_path / "k", "k")
    store = ObjectStore(FileBlobs(tmp_path / "objects"), keys.provider)
    digest = store.put(b"content")
    (wrapped,) = store.blobs.path(name_of(digest)).parent.glob("*.key")
    kept = wrapped.read_bytes()
    wrapped.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    real = store.keys.wrap
    store.keys.wrap = lambda *_: (_ for _ in ()).throw(BackendError("away"))
    with pytest.raises(BackendError):
        store.put(b"content")
    store.keys.wrap = real
    wrapped.write_bytes(kept)
    assert store.get(digest) == b"content"


def test_a_passphrase_costs_64_mib_three_passes_and_four_lanes(monkeypatch, real_costs):
    monkeypatch.setattr(slots, "COST", real_costs.passphrase)
    made, _ = slots.create(bytes(32), PASSPHRASE, "p")
    assert (made.kdf.memory_kib, made.kdf.iterations, made.kdf.lanes) == (1 << 16, 3, 4)
    assert slots.open_with_passphrase(made, PASSPHRASE, "p") == bytes(32)


def test_impossible_recovery_keys_and_salts_are_refused(tmp_path):
    store = KeyStore.create(tmp_path / "k", "k", PASSPHRASE)
    with pytest.raises(ConfigError, match="recovery key"):
        recover(tmp_path / "k", store.recovery[:-9] + "ä2345678", "a brand new passphrase")
    with pytest.raises(VerificationError, match="out of bounds"):
        slots.Kdf(salt=b"short").derive("x")


def test_nobody_without_the_passphrase_enables_a_disabled_key(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_PASSPHRASE", PASSPHRASE)
    store = KeyStore.create(tmp_path / "k", "k", PASSPHRASE)
    wrapped = store.provider.wrap("objects", bytes(32))
    store.provider.rotate("objects")
    store.provider.disable("objects", 1)
    path = tmp_path / "k" / "keystore.json"
    path.write_text(path.read_text().replace('"disabled"', '"decrypt-only"'))
    again = KeyStore.open(
        tmp_path / "k", casemate.config.KeysTable(passphrase="env:TEST_PASSPHRASE")
    )
    with pytest.raises(VerificationError, match="was changed"):
        again.provider.unwrap("objects", wrapped)
    store.provider.reload()
