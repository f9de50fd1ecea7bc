"""Backups are for those whom an owner has set, and give nobody a right."""

import base64
import io
import os
import tarfile

import msgspec
import pytest
from cryptography.cobblestone import Cobblestone256Encryptor

import casemate
from casemate.controls.access.identity.factors import STEP, codes_at
from casemate.controls.access.identity.principals import current_name
from casemate.controls.keys import recipients, sealedfile
from casemate.controls.keys.sealedfile import Opener
from casemate.controls.keys.slots import Kdf
from casemate.core.digest import sha256
from casemate.core.errors import AccessDenied, ConfigError, VerificationError
from casemate.core.files import DRAFT
from casemate.operations import backup, scaffold
from casemate.operations.backup import archive
from casemate.operations.keys import custody

pytestmark = pytest.mark.slow

SECRET, PASSWORD = "correct horse battery", "four or five words"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a key store of its own; the owner's passphrase opens everything, an operator's
    key file the data.
    """
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    scaffold.create(tmp_path / "p", scaffold.clinical())
    project = casemate.open(tmp_path / "p")
    backup.add_recipient(project, "safe", passphrase=SECRET, keys=True)
    private, public = recipients.generate()
    backup.add_recipient(project, "operator", public=public)
    (tmp_path / "operator.key").write_text(private)
    return project


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another machine: no key store, and another user."""

    def go(name="mallory"):
        home = tmp_path / f"home-{name}"
        home.mkdir(exist_ok=True)
        monkeypatch.setenv("HOME", str(home))
        for module in ("controls.access.identity.principals", "operations.backup.restoration"):
            monkeypatch.setattr(f"casemate.{module}.current_name", lambda: name)
        return home

    return go


def operator(project, role="operator"):
    project.access.add_user("olga", [role], PASSWORD)
    project.logins.login("olga", PASSWORD, None)
    return casemate.open(project.root)


def key(tmp_path):
    return Opener(identities=[(tmp_path / "operator.key").read_text()])


@pytest.mark.parametrize("role", ["operator", "steward"])
def test_a_backup_that_an_operator_makes_holds_no_keys_and_opens_nothing_elsewhere(
    project, tmp_path, elsewhere, role
):
    theirs = operator(project, role)
    backup.create(theirs, tmp_path / "b")
    assert not backup.keys_of(tmp_path / "b").exists()
    names = []
    backup.read(tmp_path / "b", key(tmp_path), lambda name, _: names.append(name))
    assert names
    assert not [name for name in names if not name.startswith("project/")]
    with pytest.raises(AccessDenied):
        backup.create(theirs, tmp_path / "c", with_keys=True)
    assert not list(tmp_path.glob("c*"))
    home = elsewhere()
    with pytest.raises(ConfigError, match="keys of this project are not"):
        backup.restore(tmp_path / "b", tmp_path / "r", key(tmp_path))
    assert not list(home.rglob("keystore.json"))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("role", ["operator", "steward", "scientist", "auditor", "custodian"])
def test_nobody_but_an_owner_says_who_can_open_backups(project, role):
    theirs = operator(project, role)
    before = project.log.size()
    for attempt in (
        lambda: backup.add_recipient(theirs, "x", passphrase=SECRET, keys=True),
        lambda: backup.remove_recipient(theirs, "safe"),
    ):
        with pytest.raises(AccessDenied):
            attempt()
    assert [(e.principal, e.action, e.outcome) for e in project.log.entries(before)] == [
        ('User::"olga"', "backup:recipients", "denied")
    ] * 2
    assert [one.name for one in project.recipients.all()] == ["operator", "safe"]


def test_a_custodian_holds_all_keys_and_every_backup_and_opens_none_that_an_owner_did_not_mean_for_them(
    project, tmp_path
):
    theirs = operator(project, "custodian")
    backup.create(theirs, tmp_path / "b", with_keys=True)
    custody.save(theirs, tmp_path / "keys", PASSWORD)
    for path, kind in ((tmp_path / "b", "data"), (backup.keys_of(tmp_path / "b"), "keys")):
        with (
            pytest.raises(AccessDenied, match="sealed to others"),
            sealedfile.opening(path, kind, Opener(PASSWORD)) as stream,
        ):
            stream.rest()
    with pytest.raises(AccessDenied, match="backup:restore"):
        backup.restore(tmp_path / "b", tmp_path / "r", Opener(SECRET))
    assert not (tmp_path / "r").exists()


def test_the_key_of_the_data_does_not_open_the_keys_beside_it(project, tmp_path, elsewhere):
    backup.create(project, tmp_path / "b", with_keys=True)
    home = elsewhere()
    with pytest.raises(AccessDenied, match="sealed to others"):
        backup.restore(tmp_path / "b", tmp_path / "r", key(tmp_path))
    assert not list(home.rglob("keystore.json"))
    assert [path.name for path in tmp_path.glob(f"{DRAFT}*")] == []


def test_who_restores_elsewhere_is_recorded_and_is_nobody(project, tmp_path, elsewhere):
    backup.create(project, tmp_path / "b", with_keys=True)
    owner = current_name()
    elsewhere()
    restored, _ = backup.restore(tmp_path / "b", tmp_path / "r", Opener(SECRET))
    (entry,) = [entry for entry in restored.log.entries() if entry.action == "backup:restored"]
    assert entry.detail["recipient"] == entry.detail["keys"] == "safe"
    assert entry.detail["user"] == "mallory"
    assert [(p.name, p.roles) for p in restored.point.directory.principals()] == [
        (owner, ("owner",))
    ]
    with pytest.raises(AccessDenied, match="not known"):
        restored.point.identify()


def test_whoever_may_open_the_keys_can_become_owner_where_nobody_is_known_and_nobody_else(
    project, tmp_path, elsewhere
):
    backup.create(project, tmp_path / "b", with_keys=True)
    elsewhere()
    restored, _ = backup.restore(tmp_path / "b", tmp_path / "r", Opener(SECRET), owner=True)
    assert restored.point.identify().principal.roles == ("owner",)
    assert any(e.action == "user:add" and e.detail["restored"] for e in restored.log.entries())
    # the key store is there now; that is not enough
    with pytest.raises(AccessDenied, match="may not open its keys"):
        elsewhere("mallory")
        monkey = elsewhere("eve")
        (monkey / ".config").symlink_to(tmp_path / "home-mallory" / ".config")
        backup.restore(tmp_path / "b", tmp_path / "s", key(tmp_path), owner=True)
    assert not (tmp_path / "s").exists()


def test_an_operator_known_to_the_project_may_not_restore_it_with_a_key_of_the_data(
    project, tmp_path
):
    operator(project)
    backup.create(casemate.open(project.root), tmp_path / "b")
    with pytest.raises(AccessDenied, match="backup:restore"):
        backup.restore(tmp_path / "b", tmp_path / "r", key(tmp_path))
    assert not (tmp_path / "r").exists()


def test_where_a_second_factor_is_enrolled_a_fresh_one_is_asked_for_and_a_restore_takes_a_code(
    project, tmp_path
):
    secret = base64.b32decode(project.access.add_factor()[0])
    operator(project, "owner").logins.logout()
    (_, first), (_, second), _ = codes_at(secret, int(project.clock.now().timestamp()) // STEP)
    project.access.confirm_factor(first)
    for attempt in (
        lambda: backup.create(project, tmp_path / "c"),
        lambda: backup.add_recipient(project, "x", passphrase=SECRET),
        lambda: backup.remove_recipient(project, "safe"),
    ):
        with pytest.raises(AccessDenied, match="fresh-second-factor"):
            attempt()
    assert not (tmp_path / "c").exists()
    project.logins.login("olga", PASSWORD, None)  # who has none
    backup.create(casemate.open(project.root), tmp_path / "d")
    project.logins.logout()
    for wrong in (None, first):
        with pytest.raises(AccessDenied):
            backup.restore(tmp_path / "d", tmp_path / "r", Opener(SECRET), code=wrong)
        assert not (tmp_path / "r").exists()
    backup.restore(tmp_path / "d", tmp_path / "r", Opener(SECRET), code=second)


def test_nobody_backs_up_for_nobody(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    scaffold.create(tmp_path / "p", scaffold.clinical())
    project = casemate.open(tmp_path / "p")
    with pytest.raises(ConfigError, match="no recipients"):
        backup.create(project, tmp_path / "b")
    backup.add_recipient(project, "data", passphrase=SECRET)
    with pytest.raises(ConfigError, match="keys of this backup"):
        backup.create(project, tmp_path / "b", with_keys=True)


def test_who_was_removed_opens_no_later_backup_and_still_the_earlier_ones(project, tmp_path):
    backup.create(project, tmp_path / "early")
    backup.remove_recipient(project, "operator")
    backup.create(project, tmp_path / "late")
    backup.read(tmp_path / "early", key(tmp_path))
    with pytest.raises(AccessDenied):
        backup.read(tmp_path / "late", key(tmp_path))


def test_what_is_no_key_is_refused_with_its_name(project):
    private, public = recipients.generate()
    for wrong in (private, public.replace("A", "B", 1), "", "x y z"):
        with pytest.raises(ConfigError, match="public key of a recipient"):
            backup.add_recipient(project, "x", public=wrong)
    with pytest.raises(ConfigError, match="private key of a recipient"):
        Opener(identities=[public])
    with pytest.raises(ConfigError, match="already"):
        backup.add_recipient(project, "safe", public=public)


def test_a_head_that_asks_for_the_memory_of_the_machine_gets_none(project, tmp_path):
    backup.create(project, tmp_path / "b")
    magic, line, rest = (tmp_path / "b").read_bytes().split(b"\n", 2)
    header = msgspec.json.decode(line)
    for slot in header["slots"]:
        if slot["locked"]:
            locked = msgspec.json.decode(base64.b64decode(slot["locked"]))
            locked["kdf"]["memory_kib"] = 1 << 21
            slot["locked"] = base64.b64encode(msgspec.json.encode(locked)).decode()
    (tmp_path / "c").write_bytes(b"\n".join([magic, msgspec.json.encode(header), rest]))
    with pytest.raises(AccessDenied):
        backup.read(tmp_path / "c", Opener(SECRET))


def old_format(project, path):
    """A backup as casemate 0.1 to 0.3 wrote it: under a passphrase, keys inside."""
    backup.create(project, path.with_name("new"), with_keys=True)
    files = {}
    for kind, file in (("data", path.with_name("new")), ("keys", path.with_name("new.keys"))):
        files |= dict(archive.members(file, kind, Opener(SECRET), lambda _: None))
    manifest = msgspec.json.decode(files.pop("MANIFEST.json"))
    manifest["files"] = {name: sha256(content) for name, content in files.items()}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in [*files.items(), ("MANIFEST.json", msgspec.json.encode(manifest))]:
            archive.add(tar, name, content)
    salt = os.urandom(16)
    line = msgspec.json.encode(
        {"kdf": "argon2id", "salt": salt, "iterations": 3, "lanes": 4, "memory_kib": 1 << 16}
    )
    stream = Cobblestone256Encryptor(Kdf(salt=salt).derive(PASSWORD), line)
    path.write_bytes(
        sealedfile.OLD_MAGIC["data"]
        + line
        + b"\n"
        + stream.update(packed.getvalue())
        + stream.finalize()
    )


def test_a_backup_of_an_older_casemate_is_still_read_and_restored(project, tmp_path, elsewhere):
    old_format(project, tmp_path / "old")
    with pytest.raises(AccessDenied, match="under a passphrase"):
        backup.read(tmp_path / "old", key(tmp_path))
    with pytest.raises(VerificationError):
        backup.read(tmp_path / "old", Opener(SECRET))
    elsewhere()
    restored, _ = backup.restore(tmp_path / "old", tmp_path / "r", Opener(PASSWORD))
    assert any(
        e.action == "backup:restored" and e.detail["keys"] == "passphrase"
        for e in restored.log.entries()
    )
