"""Keys as files: the key store and its backup, sealed files and their recipients, certificates, the
login at a key server; what is refused, and that a refusal changes nothing.
"""

import datetime
import gc
import json
import os
import threading

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.conftest import wait_for
from tests.unit.conftest import make_log, refused
from tests.unit.controls.test_access import Fixed

from casemate.config import KeysTable
from casemate.controls.keys import (
    certificates,
    keyfile,
    pki,
    recipients,
    savedkeys,
    sealedfile,
    secrets,
    slots,
)
from casemate.controls.keys.certificates import MAX_DAYS, Certificates
from casemate.controls.keys.compromises import Compromises
from casemate.controls.keys.file import FileKeys
from casemate.controls.keys.identity import IDENTITY
from casemate.controls.keys.interface import PURPOSES
from casemate.controls.keys.keepers import file_keys, master_key, open_keeper, overdue_keys
from casemate.controls.keys.login import FRESH, WORN, Login
from casemate.controls.keys.recipients import MAX_NAME, MOST, Recipients
from casemate.controls.keys.sealedfile import Opener, opening, sealing
from casemate.controls.keys.store import KeyStore
from casemate.controls.keys.upgrade import upgrade_keys
from casemate.core.errors import BackendError, ConfigError
from casemate.core.store.sqlite import SqliteStore

NOW = datetime.datetime.now(datetime.UTC)
HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def store(tmp_path):
    return KeyStore.create(tmp_path / "p-1", "p-1")


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A key store under `PASSPHRASE`, and `[keys]` that opens it."""
    monkeypatch.setenv("KEYS", PASSPHRASE)
    return KeyStore.create(tmp_path / "p-1", "p-1", PASSPHRASE), KeysTable(passphrase="env:KEYS")


@pytest.fixture
def catalogue(tmp_path):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    return store


def edit(store, change):
    """Change the JSON of the key store's file."""
    path = store.folder / keyfile.FILE
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


# The key store's file


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: path.unlink(), "is not on this machine"),
        (lambda path: path.chmod(0o640), "is open to other users"),
        (lambda path: path.write_text("{"), "is damaged"),
        (lambda path: path.write_text('{"version":2}'), "is damaged"),
        (
            lambda path: path.write_text('{"version":9}'),
            "has format 9, this casemate reads 1 and 2",
        ),
    ],
)
def test_a_key_store_that_cannot_be_trusted_is_not_opened(store, change, said):
    change(store.folder / keyfile.FILE)
    with refused("CM-BACKEND", said):
        KeyStore.open(store.folder)


def test_a_key_store_that_this_user_may_not_read_says_so(store, monkeypatch):
    def denied(path):
        raise PermissionError(path)

    monkeypatch.setattr(os, "stat", denied)  # root may read everything
    with refused("CM-BACKEND", "this user may not read the key store"):
        keyfile.read(store.folder)


def test_a_key_store_is_not_made_over_another_one(store):
    before = (store.folder / keyfile.FILE).read_bytes()
    with refused("CM-BACKEND", "a key store exists already"):
        KeyStore.create(store.folder, "p-1")
    assert (store.folder / keyfile.FILE).read_bytes() == before


def test_keys_of_another_provider_are_not_taken_for_those_of_the_configured_one(store):
    with refused("CM-CONFIG", "are with the file provider"):
        KeyStore.open(store.folder, KeysTable(provider="vault", address="https://v.example"))


def test_a_store_under_a_passphrase_does_not_open_without_it(locked, monkeypatch):
    store, table = locked
    assert KeyStore.open(store.folder, table).signer.verifier.pems == store.signer.verifier.pems
    with refused("CM-DENIED", "the key store is under a passphrase"):
        KeyStore.open(store.folder)
    monkeypatch.setenv("KEYS", "another passphrase")
    with refused("CM-DENIED", "passphrase"):
        KeyStore.open(store.folder, table)
    assert master_key(KeyStore.create(store.folder.parent / "q", "q").document, table) is None


def test_a_store_whose_private_keys_were_changed_signs_nothing(store):
    for change in (
        lambda content: content.update(identity=None),
        lambda content: content["identity"].update(content="AAAA"),
        lambda content: content.update(project="p-2"),
    ):
        before = (store.folder / keyfile.FILE).read_bytes()
        edit(store, change)
        with refused("CM-VERIFY"):
            _ = KeyStore.open(store.folder).signer
        (store.folder / keyfile.FILE).write_bytes(before)


def test_a_signing_key_of_another_kind_signs_nothing(store):
    from cryptography.hazmat.primitives.asymmetric import ed25519

    foreign = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    identity = store._identity
    store.keep(msgspec.structs.replace(identity, signer_ecdsa=foreign.decode()))
    with refused("CM-BACKEND", "is not an ECDSA key"):
        _ = KeyStore.open(store.folder).signer
    with pytest.raises(TypeError, match="not an elliptic curve key"):
        pki.Authority.from_pem(foreign, identity.ca_certificate.encode())


def test_a_store_that_another_process_put_under_a_passphrase_is_not_written_over(store):
    other = KeyStore.open(store.folder)
    other.protect(PASSPHRASE)
    before = (store.folder / keyfile.FILE).read_bytes()
    with refused("CM-BUSY", "another process changed the passphrase"):
        store.reload()
    with refused("CM-BUSY", "another process changed the passphrase"):
        store.keep(other._identity)
    with refused("CM-BACKEND", "under another passphrase or provider meanwhile"):
        store.provider.wrap("objects", bytes(32))
    assert (store.folder / keyfile.FILE).read_bytes() == before


def test_a_rotation_of_another_process_is_seen_and_a_new_signer_too(store):
    other = KeyStore.open(store.folder)
    wrapped = other.provider.wrap("objects", bytes(32))
    store.provider.rotate("objects")
    assert other.provider.version_of(other.provider.wrap("objects", bytes(32))) == 2
    assert other.provider.unwrap("objects", wrapped) == bytes(32)
    before = other.signer.verifier.fingerprint
    store.rotate_signer(NOW)
    other.reload()
    assert other.signer.verifier.fingerprint == store.signer.verifier.fingerprint != before


def test_of_a_former_signer_an_earlier_compromise_counts_and_never_a_later_one(store):
    for number, said in ((1, "this is the present signer"), (9, "there is no signer 9")):
        with refused("CM-CONFIG", said):
            store.distrust(number, NOW)
    store.rotate_signer(NOW)
    store.distrust(1, NOW - HOUR)
    for later in (NOW - HOUR, NOW):
        with refused("CM-CONFIG", "is declared compromised since"):
            store.distrust(1, later)
    store.distrust(1, NOW - DAY)
    first, second = KeyStore.open(store.folder).signers
    assert first.compromised == (NOW - DAY).isoformat()
    assert second.compromised is None


def test_a_store_is_put_under_a_passphrase_and_every_key_with_it(store):
    wrapped = store.provider.wrap("objects", b"x" * 32)
    assert store.protection == "file, 0600, no passphrase"
    material = store.provider._material("objects", 1)
    with refused("CM-CONFIG", "shorter than 12"):
        store.protect("short")
    store.protect(PASSPHRASE)
    content = (store.folder / keyfile.FILE).read_bytes()
    assert msgspec.json.encode(material)[1:-1] not in content
    assert "under a passphrase" in store.protection
    assert store.provider.unwrap("objects", wrapped) == b"x" * 32
    first = store.recovery
    store.protect(PASSPHRASE + "2")
    assert store.recovery == first
    store.protect(PASSPHRASE + "3", new_recovery=True)
    assert store.recovery not in (None, first)
    assert store.provider.unwrap("objects", wrapped) == b"x" * 32
    with refused("CM-DENIED"):
        savedkeys.recover(store.folder, first, PASSPHRASE)
    savedkeys.recover(store.folder, store.recovery, PASSPHRASE + "4")


def test_a_store_without_a_passphrase_has_nothing_to_recover(store):
    with refused("CM-CONFIG", "is under no passphrase"):
        savedkeys.recover(store.folder, "x", PASSPHRASE)


# Keys of the file provider


def test_a_key_that_is_not_there_disabled_or_destroyed_says_what_to_do(store):
    keys = store.provider
    first = keys.wrap("objects", bytes(32))
    assert keys.rotate("objects") == 2
    for work, said in (
        (lambda: keys.wrap("nonsense", bytes(32)), "has no key 'nonsense'"),
        (lambda: keys.unwrap("objects", b"\x02" + (9).to_bytes(4, "big") + bytes(60)), "is not in"),
    ):
        with refused("CM-BACKEND", said):
            work()
    for work, said in (
        (lambda: keys.disable("objects", 9), "there is no version 9"),
        (lambda: keys.destroy("objects", 2), "is the active one"),
    ):
        with refused("CM-CONFIG", said):
            work()
    keys.disable("objects", 1)
    with refused("CM-BACKEND", "`casemate keys enable objects 1` allows it again"):
        keys.unwrap("objects", first)
    assert keys.rewrap("objects", [keys.wrap("objects", bytes(32))])
    keys.enable("objects", 1)
    assert keys.unwrap("objects", first) == bytes(32)
    keys.destroy("objects", 1)
    keys.enable("objects", 1)
    with refused("CM-BACKEND", "what it protected is lost"):
        keys.unwrap("objects", first)
    assert keys.login_state is None
    assert "material" not in repr(keys)


def test_the_newest_version_can_be_disabled_and_enabled_and_is_active_again(store):
    keys = store.provider
    keys.rotate("objects")
    keys.disable("objects", 2)
    assert [one.state for one in keys.versions()["objects"]] == ["disabled", "disabled"]
    with refused("CM-BACKEND", "is disabled"):
        keys.wrap("objects", bytes(32))
    keys.enable("objects", 1)
    assert [one.state for one in keys.versions()["objects"]] == ["decrypt-only", "active"]
    keys.disable("objects", 2)
    assert keys.rotate("objects") == 3
    assert [one.state for one in keys.versions()["objects"]] == ["disabled", "disabled", "active"]


def test_a_wrapped_key_that_was_changed_or_is_anothers_is_refused(store):
    keys = store.provider
    wrapped = keys.wrap("objects", bytes(32))
    for changed in (b"", b"\x07" + wrapped[1:], wrapped[:30]):
        with refused("CM-VERIFY", "is malformed, or another key provider"):
            keys.unwrap("objects", changed)
    for key, changed in (("objects", wrapped[:-1] + bytes([wrapped[-1] ^ 1])), ("audit", wrapped)):
        with refused("CM-VERIFY", "was changed, or belongs to another key or project"):
            keys.unwrap(key, changed)


def test_under_a_passphrase_a_key_that_was_changed_in_the_file_is_refused(locked):
    store, table = locked
    wrapped = store.provider.wrap("objects", bytes(32))
    edit(store, lambda content: content["keks"]["objects"]["1"].update(state="decrypt-only"))
    with refused("CM-VERIFY", "the key 'objects' version 1 in the key store was changed"):
        KeyStore.open(store.folder, table).provider.unwrap("objects", wrapped)


def test_keys_whose_file_is_gone_are_not_used_from_memory(store):
    keys = KeyStore.open(store.folder).provider
    assert keys.wrap("objects", bytes(32))
    (store.folder / keyfile.FILE).unlink()
    with refused("CM-BACKEND", "is not on this machine"):
        keys.wrap("objects", bytes(32))


def test_private_keys_are_wrapped_anew_only_when_their_key_was_rotated(store):
    before = store.signer.verifier.fingerprint
    assert not store.rewrap_identity()
    store.provider.rotate(IDENTITY)
    assert store.rewrap_identity()
    assert not store.rewrap_identity()
    store.provider.destroy(IDENTITY, 1)
    assert KeyStore.open(store.folder).signer.verifier.fingerprint == before
    store.document.identity = None
    assert not store.rewrap_identity()
    with refused("CM-VERIFY", "holds no private keys"):
        store.switch("vault", store.provider)


def test_keys_are_overdue_the_day_after_their_age(store):
    made = datetime.datetime.fromisoformat(store.provider.versions()["objects"][0].created)
    assert overdue_keys(store.provider, 30, made + 30 * DAY) == []
    found = overdue_keys(store.provider, 30, made + 31 * DAY)
    assert {one.location for one in found} == set(PURPOSES)
    assert "casemate keys rotate objects" in " ".join(one.message for one in found)


def test_only_keys_in_a_file_have_a_passphrase(store):
    assert isinstance(file_keys(store.provider), FileKeys)
    keeper = open_keeper(KeysTable(provider="vault", address="https://v.example"), "p-1")
    with refused("CM-CONFIG", "only the file provider has a passphrase"):
        file_keys(keeper)
    assert repr(keeper) == "VaultKeys('https://v.example')"
    assert repr(open_keeper(KeysTable(provider="aws", region="eu-central-1"), "p-1"))


def test_a_key_server_is_not_asked_over_a_line_that_others_read():
    with refused("CM-CONFIG", "must use https"):
        open_keeper(KeysTable(provider="vault", address="http://v.example"), "p-1")


def test_the_way_back_to_a_file_seals_what_lies_there_in_clear(store, monkeypatch):
    monkeypatch.setenv("KEYS", PASSPHRASE)
    clear = store.open_target(KeysTable())
    assert clear.unwrap("objects", clear.wrap("objects", bytes(32))) == bytes(32)
    target = store.open_target(KeysTable(passphrase="env:KEYS"))
    assert store.recovery
    assert store.document.slots is not None
    assert target.master is not None
    again = store.open_target(KeysTable(passphrase="env:KEYS"))
    assert again.master == target.master, "of a migration that was interrupted"
    keeper = store.open_target(KeysTable(provider="vault", address="https://v.example"))
    assert not isinstance(keeper, FileKeys)


def test_a_key_store_of_this_version_gets_what_it_lacks_and_is_else_left_alone(store):
    path = store.folder / keyfile.FILE
    before = path.read_bytes()
    upgrade_keys(store.folder, "p-1", KeysTable())
    assert path.read_bytes() == before
    edit(store, lambda content: content["keks"].pop("objects"))
    with refused("CM-BACKEND", "`casemate store upgrade`"):
        KeyStore.open(store.folder).provider.wrap("objects", bytes(32))
    made = upgrade_keys(store.folder, "p-1", KeysTable())
    assert set(made.provider.versions()) == set(PURPOSES)


def old_store(folder, store):
    """The key store as casemate 0.1 wrote it."""
    identity = store._identity
    document = keyfile.DocumentV1(
        1,
        {
            key: {number: kek.material for number, kek in versions.items()}
            for key, versions in store.document.keks.items()
            if key in {"objects", "audit"}
        },
        identity.signer_ecdsa,
        identity.signer_mldsa65,
        identity.log_ed25519,
        identity.log_mldsa44,
        identity.ca_key,
        identity.ca_certificate,
    )
    (folder / keyfile.FILE).write_bytes(msgspec.json.encode(document))


def test_a_key_store_of_casemate_0_1_opens_after_an_upgrade_and_not_before(store):
    wrapped = store.provider.wrap("objects", b"x" * 32)
    pems = store.signer.verifier.pems
    old_store(store.folder, store)
    with refused("CM-BACKEND", "the key store is of casemate 0.1"):
        KeyStore.open(store.folder)
    with refused("CM-CONFIG", "is under no passphrase"):
        savedkeys.recover(store.folder, "x", PASSPHRASE)
    with refused("CM-BUSY"):
        store.reload()
    upgrade_keys(store.folder, "p-1", KeysTable())
    again = KeyStore.open(store.folder)
    assert again.signer.verifier.pems == pems
    assert again.provider.unwrap("objects", wrapped) == b"x" * 32
    assert set(again.provider.versions()) == set(PURPOSES)


# The backup of the key store


def test_a_backup_of_the_keys_brings_them_back_and_nothing_else(store, tmp_path):
    content = savedkeys.backup(store.document, PASSPHRASE)
    with refused("CM-CONFIG", "shorter than 12"):
        savedkeys.backup(store.document, "short")
    target = tmp_path / "other" / "p-1"
    for changed, passphrase in (
        (content, "another passphrase"),
        (content[:-1] + bytes([content[-1] ^ 1]), PASSPHRASE),
        (b"casemate-keys/v9" + content[16:], PASSPHRASE),
        (content[:40], PASSPHRASE),
        (b"", PASSPHRASE),
    ):
        with refused("CM-VERIFY", "was changed, or the passphrase is wrong"):
            savedkeys.restore(target, changed, passphrase)
    with refused("CM-VERIFY", "these are the keys of p-1, not of p-2"):
        savedkeys.restore(tmp_path / "other" / "p-2", content, PASSPHRASE)
    assert not (tmp_path / "other").exists()
    savedkeys.restore(target, content, PASSPHRASE)
    assert KeyStore.open(target).signer.verifier.pems == store.signer.verifier.pems
    before = (target / keyfile.FILE).read_bytes()
    with refused("CM-CONFIG", "exists already"):
        savedkeys.restore(target, content, PASSPHRASE)
    assert (target / keyfile.FILE).read_bytes() == before


# Sealed files and their recipients


@pytest.fixture
def people(catalogue):
    """(private key of ana, who may open keys; recipients ana and ben, who has a passphrase)."""
    private, public = recipients.generate()
    register = Recipients(catalogue, Fixed())
    locked_public, locked = recipients.generate_locked(PASSPHRASE)
    with catalogue.transaction() as tx:
        register.add(tx, "ana", recipients.read_public(public), "root", keys=True)
        register.add(tx, "ben", locked_public, "root", keys=False, locked=locked)
    return private, register


def sealed(path, people, kind="data", content=b"secret" * 1000):
    with sealing(path, kind, "p-1", people[1].all()) as stream:
        assert stream.write(content) == len(content)
    return content


def test_every_recipient_opens_a_sealed_file_and_nobody_else(tmp_path, people):
    path = tmp_path / "backup"
    content = sealed(path, people)
    assert b"secret" not in path.read_bytes()
    for opener, name in (
        (Opener(identities=[people[0]]), "ana"),
        (Opener(passphrase=PASSPHRASE), "ben"),
    ):
        with opening(path, "data", opener) as opened:
            assert opened.recipient == name
            assert opened.read(6) == b"secret"
            assert opened.rest() == content[6:]
    stranger, _ = recipients.generate()
    for opener in (Opener(), Opener("another passphrase"), Opener(identities=[stranger])):
        with refused("CM-DENIED", "is sealed to others (ana, ben)"), opening(path, "data", opener):
            pass
    assert people[1].all()[0].fingerprint == recipients.fingerprint(people[1].all()[0].public)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: b"x" + content, "is no casemate backup"),
        (lambda content: content[:19] + b"x" + content[19:], "was changed"),
        (lambda content: content[:-1], "was changed or cut"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "was changed or cut"),
        (lambda content: content.split(b"\n")[0] + b"\n", "was changed"),
        (lambda content: content.replace(b'"p-1"', b'"p-2"', 1), "is sealed to others"),
    ],
)
def test_a_sealed_file_that_was_changed_gives_nothing(tmp_path, people, change, said):
    path = tmp_path / "backup"
    sealed(path, people)
    path.write_bytes(change(path.read_bytes()))
    with (
        pytest.raises(Exception, match="backup") as caught,
        opening(path, "data", Opener(identities=[people[0]])) as opened,
    ):
        opened.rest()
    assert said in caught.value.message
    assert caught.value.code in {"CM-VERIFY", "CM-DENIED"}


def test_a_backup_of_the_keys_does_not_pass_for_one_of_the_data(tmp_path, people):
    path = tmp_path / "backup"
    sealed(path, people, "keys")
    opener = Opener(identities=[people[0]])
    with refused("CM-VERIFY", "is a backup of keys, not of data"), opening(path, "data", opener):
        pass


def test_a_sealed_file_is_there_whole_or_not_at_all_and_replaces_nothing(tmp_path, people):
    path = tmp_path / "backup"
    with pytest.raises(RuntimeError), sealing(path, "data", "p-1", people[1].all()) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert [one.name for one in tmp_path.iterdir() if not one.name.startswith("catalog.db")] == []
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        sealed(path, people)
    assert path.read_bytes() == b"mine"


def old_sealed(path, passphrase, content):
    """As casemate 0.1 wrote it."""
    from cryptography.cobblestone import Cobblestone256Encryptor

    kdf = slots.Kdf(salt=bytes(16), iterations=1, lanes=1, memory_kib=64)
    head = sealedfile._OldHeader("argon2id", kdf.salt, kdf.iterations, kdf.lanes, kdf.memory_kib)
    line = msgspec.json.encode(head)
    stream = Cobblestone256Encryptor(kdf.derive(passphrase), line)
    sealed_content = stream.update(content) + stream.finalize()
    path.write_bytes(sealedfile.OLD_MAGIC["data"] + line + b"\n" + sealed_content)


def test_a_file_of_the_first_version_opens_with_its_passphrase_only(tmp_path):
    path = tmp_path / "old"
    old_sealed(path, PASSPHRASE, b"rows")
    with opening(path, "data", Opener(PASSPHRASE)) as opened:
        assert (opened.rest(), opened.recipient) == (b"rows", None)
    with refused("CM-DENIED", "is under a passphrase"), opening(path, "data", Opener()):
        pass
    with (
        refused("CM-VERIFY", "the passphrase is wrong"),
        opening(path, "data", Opener("another")) as opened,
    ):
        opened.rest()
    with refused("CM-VERIFY", "is no casemate backup"), opening(path, "keys", Opener(PASSPHRASE)):
        pass
    path.write_bytes(sealedfile.OLD_MAGIC["data"] + b"{}\nx")
    with refused("CM-VERIFY", "was changed"), opening(path, "data", Opener(PASSPHRASE)):
        pass


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is not a name"),
        ("x" * (MAX_NAME + 1), "is not a name"),
        ("a\nb", "is not a name"),
        ("ana", "there is a recipient 'ana' already"),
    ],
)
def test_a_recipient_has_a_name_of_its_own(people, name, said):
    before = people[1].all()
    with people[1].store.transaction() as tx, refused("CM-CONFIG", said):
        people[1].add(tx, name, b"x", "root", keys=False)
    assert people[1].all() == before


def test_there_are_only_so_many_recipients_and_who_is_removed_is_no_more(people):
    register = people[1]
    with register.store.transaction() as tx:
        for number in range(MOST - 2):
            register.add(tx, f"p{number}", b"x", "root", keys=False)
    with register.store.transaction() as tx, refused("CM-CONFIG", f"there are {MOST} recipients"):
        register.add(tx, "one more", b"x", "root", keys=False)
    with register.store.transaction() as tx:
        register.remove(tx, "ben")
    with register.store.transaction() as tx, refused("CM-CONFIG", "there is no recipient 'ben'"):
        register.remove(tx, "ben")
    assert len(register.all()) == MOST - 1


def test_what_is_no_key_of_a_recipient_is_refused():
    private, public = recipients.generate()
    for read, text in (
        (recipients.read_public, private),
        (recipients.read_private, public),
        (recipients.read_public, "nonsense"),
        (recipients.read_public, slots.to_text(recipients.PUBLIC, b"x" * 1215)),
    ):
        with refused("CM-CONFIG"):
            read(text)


@pytest.mark.parametrize(
    "changed",
    [{"memory_kib": recipients.MOST_MEMORY + 1}, {"iterations": recipients.MOST_PASSES + 1}],
)
def test_a_locked_key_that_asks_for_too_much_is_not_tried(changed, monkeypatch):
    _, content = recipients.generate_locked(PASSPHRASE)
    assert recipients.unlock(content, PASSPHRASE)
    found = json.loads(content)
    found["kdf"].update(changed)
    monkeypatch.setattr(slots.Kdf, "derive", lambda *_: pytest.fail("it was tried"))
    assert recipients.unlock(json.dumps(found).encode(), PASSPHRASE) is None


def test_a_locked_key_opens_with_its_passphrase_only():
    with refused("CM-CONFIG", "shorter than 12"):
        recipients.generate_locked("short")
    _, content = recipients.generate_locked(PASSPHRASE)
    for wrong, passphrase in ((content, "another one of them"), (b"{}", PASSPHRASE)):
        assert recipients.unlock(wrong, passphrase) is None
    found = json.loads(content)
    found["kdf"]["lanes"] = 10**6
    assert recipients.unlock(json.dumps(found).encode(), PASSPHRASE) is None


# Certificates


@pytest.fixture
def register(catalogue, store):
    return Certificates(catalogue, store.authority, Fixed())


def issue(register, kind="server", names=("a.example",), days=1, algorithm="p256"):
    with register.store.transaction() as tx:
        return register.issue(tx, kind, list(names), days, algorithm)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"days": 0}, f"is valid for 1 to {MAX_DAYS} days"),
        ({"days": MAX_DAYS + 1}, f"is valid for 1 to {MAX_DAYS} days"),
        ({"names": []}, "cannot be names"),
        ({"names": [""]}, "cannot be names"),
        ({"names": ["a b"]}, "cannot be names"),
        ({"names": ["a\nb"]}, "cannot be names"),
        ({"names": ["x" * 254]}, "cannot be names"),
        ({"names": ["ä.example"]}, "in their ASCII form"),
    ],
)
def test_a_certificate_of_impossible_names_or_times_is_not_issued(register, changed, said):
    with refused("CM-CONFIG", said):
        issue(register, **changed)
    assert register.list() == []


@pytest.mark.parametrize("algorithm", ["p256", "mldsa65"])
@pytest.mark.parametrize("kind", ["server", "client", "node"])
def test_a_certificate_is_for_what_it_was_asked_for(register, kind, algorithm):
    names = ["ward 7/ä".replace(" ", "-")] if kind == "client" else ["a.example", "10.1.2.3"]
    if kind != "client":
        names = ["a.example", "10.1.2.3"]
    serial, chain, _ = issue(register, kind, names, algorithm=algorithm)
    certificate = x509.load_pem_x509_certificate(chain)
    certificate.verify_directly_issued_by(register.authority.certificate)
    assert pki.client_of(certificate) == (names[0] if kind == "client" else None)
    assert pki.client_of(register.authority.certificate) is None
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == pki.USES[kind]
    (row,) = register.list()
    assert (row["serial"], row["names"], row["revoked"]) == (serial, names, None)


def test_a_revoked_certificate_is_in_the_list_that_servers_and_others_ask(register):
    serial, _, _ = issue(register)
    other, _, _ = issue(register)
    with register.store.transaction() as tx:
        register.revoke(tx, serial)
    assert register.revoked() == {int(serial, 16)}
    listed = x509.load_pem_x509_crl(register.crl())
    assert listed.is_signature_valid(register.authority.key.public_key())
    assert {one.serial_number for one in listed} == {int(serial, 16)}
    assert listed.get_revoked_certificate_by_serial_number(int(other, 16)) is None
    for wrong in (serial, "0", "nonsense"):
        with register.store.transaction() as tx, refused("CM-CONFIG", "no valid certificate"):
            register.revoke(tx, wrong)


def test_a_certificates_folder_is_written_whole_and_replaced_only_when_told_to(
    register, tmp_path, monkeypatch
):
    _, chain, key = issue(register)
    folder = tmp_path / "tls" / "node"
    certificates.write(folder, chain, key, register.authority.pem)
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    _, chain, key = issue(register)
    with refused("CM-CONFIG", "exists already"):
        certificates.write(folder, chain, key, register.authority.pem)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    certificates.write(folder, chain, key, register.authority.pem, replace=True)
    assert (folder / "cert.pem").read_bytes() == chain
    monkeypatch.setattr(certificates, "fsync_tree", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        certificates.write(tmp_path / "tls" / "new", chain, key, b"")
    assert [path.name for path in (tmp_path / "tls").iterdir()] == ["node"]


def test_a_certificate_is_renewed_by_whoever_holds_its_key_while_it_is_good(register, tmp_path):
    _, chain, key = issue(register, days=3)
    folder = tmp_path / "node"
    certificates.write(folder, chain, key, register.authority.pem)
    assert not certificates.due(folder, NOW, register.authority)[1]
    assert not certificates.due(folder, NOW + 1.9 * DAY, register.authority)[1]
    assert certificates.due(folder, NOW + 2.1 * DAY, register.authority)[1]
    with refused("CM-REFUSED", "has expired"):
        certificates.due(folder, NOW + 3.1 * DAY, register.authority)
    stranger = KeyStore.create(tmp_path / "stranger", "p-2").authority
    with refused("CM-VERIFY", "is not of this project"):
        certificates.due(folder, NOW, stranger)
    _, _, other = issue(register)
    (folder / "key.pem").write_bytes(other)
    with refused("CM-CONFIG", "is not the certificate's"):
        certificates.due(folder, NOW, register.authority)
    (folder / "key.pem").write_bytes(b"nonsense")
    with refused("CM-CONFIG", "holds no certificate with its key"):
        certificates.due(folder, NOW, register.authority)
    with refused("CM-CONFIG", "holds no certificate with its key"):
        certificates.due(tmp_path / "absent", NOW, register.authority)


# A compromise, as every host of the catalogue knows it


def test_of_two_declared_compromises_the_earlier_one_holds_and_both_are_in_the_log(
    tmp_path, log_keys
):
    log = make_log(tmp_path, log_keys)
    known, record = Compromises(log.store), log_keys.signers[-1]
    fingerprint = record.verifier.fingerprint
    assert known.all() == {}
    for since, kept in ((NOW, NOW), (NOW + HOUR, NOW), (NOW, NOW), (NOW - HOUR, NOW - HOUR)):
        known.declare(log, 'User::"ana"', record, since)
        assert known.all() == {fingerprint: kept}
    assert [entry.action for entry in log.entries()] == ["signer:compromised"] * 4
    assert known.explained() == [(fingerprint, (NOW - HOUR).isoformat(), 3)]


# Secrets that a server keeps


@pytest.mark.parametrize(
    "where", ["", "a", "a/b", "a#b", "/b#c", "a/#c", "a/b#", "a/../b#c", "../a/b#c"]
)
def test_a_reference_to_a_secret_that_names_no_place_is_refused_before_anybody_is_asked(where):
    with refused("CM-CONFIG", "is not vault:MOUNT/PATH#KEY"):
        secrets.secret_servers(KeysTable(provider="vault", address="https://v.example"))["vault"](
            where
        )


@pytest.mark.parametrize(
    ("kept", "where", "code", "said"),
    [
        ('{"password":"x"}', "db#password", None, "x"),
        ("plain", "db", None, "plain"),
        ("plain", "db#password", "CM-BACKEND", "is not a JSON object"),
        ("[]", "db#password", "CM-BACKEND", "is not a JSON object"),
        ('{"password":7}', "db#password", "CM-CONFIG", "there is no text at aws-sm:db#password"),
        ("{}", "db#password", "CM-CONFIG", "there is no text at aws-sm:db#password"),
    ],
)
def test_a_secret_of_a_server_is_the_text_that_was_named_or_none(
    monkeypatch, kept, where, code, said
):
    from casemate.controls.keys.aws import AwsKeys
    from casemate.controls.keys.vault import VaultKeys

    monkeypatch.setattr(AwsKeys, "secret", lambda self, name: kept)
    servers = secrets.secret_servers(KeysTable(provider="aws", region="eu-central-1"))
    if code is None:
        assert servers["aws-sm"](where) == said
    else:
        with refused(code, said):
            servers["aws-sm"](where)
    monkeypatch.setattr(VaultKeys, "read", lambda self, path: None)
    vault = secrets.secret_servers(KeysTable(provider="vault", address="https://v.example"))
    with refused("CM-CONFIG", "there is no text at vault:s/db#password"):
        vault["vault"]("s/db#password")


# The login at a key server


class Server:
    """A key server's tokens, without the server."""

    def __init__(self, life=100.0, renewable=True):
        self.life, self.renewable, self.number, self.renewed = life, renewable, 0, 0
        self.fault = self.renew_fault = None
        self.gives = life

    def enter(self):
        if self.fault:
            raise self.fault
        self.number += 1
        return self.life, self.renewable

    def renew(self):
        if self.renew_fault:
            raise self.renew_fault
        self.renewed += 1
        return self.gives

    def login(self):
        return Login("the server", self.enter, self.renew, lambda: f"t{self.number}")


def test_a_token_is_renewed_while_that_gives_it_a_life_and_else_fetched_anew():
    server = Server()
    login = server.login()
    assert 0 < login.due() <= 50
    assert login.renew()
    assert (server.number, server.renewed) == (1, 1)
    server.gives = WORN * server.life - 1
    assert login.renew()
    assert server.number == 2, "it comes near to its longest life"
    server.gives, server.renew_fault = server.life, BackendError("revoked")
    assert login.renew()
    assert server.number == 3
    once = Server(renewable=False)
    assert once.login().renew()
    assert (once.number, once.renewed) == (2, 0)
    assert Server(life=0.0).login().due() == FRESH


def test_a_login_that_fails_is_told_once_and_so_is_its_end(capsys):
    server = Server()
    login = server.login()
    server.renew_fault = server.fault = BackendError("away")
    assert not login.renew()
    assert not login.renew()
    assert (login.faults, login.failing) == (2, True)
    said = capsys.readouterr().err
    assert said.count("was not renewed and ends in") == 1
    assert ": away" in said
    server.fault = None
    assert login.renew()
    assert not login.failing
    assert "holds again" in capsys.readouterr().err


def test_a_refused_token_is_fetched_anew_once_and_not_when_it_was_just_fetched(capsys):
    server = Server()
    login = server.login()
    assert login.anew("another"), "somebody else has fetched one meanwhile"
    assert not login.anew("t1"), "what is refused with a new token is refused by policy"
    login._since -= FRESH
    assert login.anew("t1")
    assert server.number == 2
    assert "refused the token; logging in again" in capsys.readouterr().err
    login._since -= FRESH
    server.fault = ConfigError("no secret")
    with refused("CM-CONFIG", "no secret"):
        login.anew("t2")
    assert (login.faults, login.failing) == (1, True)


def test_a_thread_renews_the_token_of_an_idle_process_and_goes_with_it():
    def threads():
        return [one for one in threading.enumerate() if one.name == "casemate-login"]

    server = Server(life=0.01)
    server.gives = 0.01
    login = server.login()
    Server(life=0.0).login().keep()
    assert threads() == []
    login.keep()
    login.keep()
    assert len(threads()) == 1
    wait_for(lambda: server.renewed > 2)
    del login
    gc.collect()
    wait_for(lambda: not threads())
