"""Places for sealed objects: a folder, moto's S3 and a real SeaweedFS, all with one behaviour."""

import json
import os
import threading
from dataclasses import replace

import pytest
from tests.contract.key_servers import s3_client

import casemate
from casemate.controls.audit.copies import open_copies
from casemate.controls.keys.objects import ObjectStore, name_of
from casemate.controls.keys.sealedfile import Opener
from casemate.controls.keys.store import KeyStore
from casemate.core.blobs import S3Blobs, S3Place, require_conditions
from casemate.core.blobs.client import PART, split_url
from casemate.core.errors import (
    BackendError,
    BusyError,
    ConfigError,
    TransientError,
    VerificationError,
)
from casemate.operations import backup, models
from casemate.operations.fsck import examine
from casemate.operations.keys import rotation


@pytest.fixture
def store(blobs, tmp_path):
    """A store of sealed objects there."""
    return ObjectStore(blobs, KeyStore.create(tmp_path / "keys", "p").provider)


def put(blobs, name, content, *, over=False):
    with blobs.draft() as draft:
        draft.file.write(content)
        return draft.commit(name, replace=over)


def overwrite(blobs, name, content):
    """As somebody with access to the place would."""
    assert put(blobs, name, content, over=True)


def test_what_is_committed_is_there_whole_and_what_is_not_never_was(blobs):
    assert blobs.names() == []
    content = os.urandom(PART + 12345)
    assert put(blobs, "ab/cdef", content)
    blobs.create("ab/cdef.0.key", b"wrapped")
    with blobs.draft() as draft:
        draft.file.write(b"never committed")
    assert blobs.names() == ["ab/cdef", "ab/cdef.0.key"]
    assert blobs.has("ab/cdef")
    assert not blobs.has("ab/other")
    with blobs.open("ab/cdef") as file:
        assert file.read(7) + file.read() == content
    assert blobs.read("ab/cdef.0.key") == b"wrapped"
    blobs.remove("ab/cdef")
    blobs.remove("ab/cdef")
    assert blobs.names() == ["ab/cdef.0.key"]
    with pytest.raises(FileNotFoundError):
        blobs.read("ab/cdef")


@pytest.mark.parametrize("size", [3, PART + 1])
def test_nothing_is_written_over_unless_it_is_said(blobs, size):
    first, second = os.urandom(size), os.urandom(size)
    assert put(blobs, "ab/c", first)
    assert not put(blobs, "ab/c", second)
    assert blobs.read("ab/c") == first
    assert put(blobs, "ab/c", second, over=True)
    assert blobs.read("ab/c") == second
    with pytest.raises(BusyError):
        blobs.create("ab/c", b"third")


def test_a_change_that_another_one_overtook_is_refused(blobs):
    blobs.create("ab/c.key", b"one")
    blobs.replace("ab/c.key", b"one", b"two")
    with pytest.raises(BusyError):
        blobs.replace("ab/c.key", b"one", b"three")
    assert blobs.read("ab/c.key") == b"two"


def test_a_change_that_another_one_overtakes_after_a_look_is_refused(
    s3_place, tmp_path, monkeypatch
):
    blobs, other = S3Blobs(s3_place, tmp_path), S3Blobs(s3_place, tmp_path)
    blobs.create("ab/c.key", b"one")
    called = blobs.call

    def late(method, name=None, **words):
        answer = called(method, name, **words)
        if method == "get_object":
            monkeypatch.setattr(blobs, "call", called)
            other.replace(name, b"one", b"theirs")
        return answer

    monkeypatch.setattr(blobs, "call", late)
    with pytest.raises(BusyError):
        blobs.replace("ab/c.key", b"one", b"ours")
    assert blobs.read("ab/c.key") == b"theirs"


def test_of_many_writers_of_one_name_one_wins(blobs):
    wins = []
    threads = [
        threading.Thread(target=lambda n=n: wins.append(put(blobs, "ab/c", b"%d" % n)))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 8
    assert any(wins)
    if isinstance(blobs, S3Blobs):
        assert wins.count(True) == 1


def test_sealed_objects_come_back_and_never_leave_in_clear(store):
    content = b"a very secret model " * 1000
    digest = store.put(content)
    assert store.put(content) == digest
    assert store.get(digest) == content
    assert store.digests() == [digest]
    assert all(b"secret" not in store.blobs.read(name) for name in store.blobs.names())
    assert len(store.blobs.names()) == 2


def test_a_large_object_travels_in_pieces(store, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(2 * PART + 99))
    digest = store.put_file(path)
    store.copy_to(digest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_changed_cut_swapped_and_missing_objects_are_refused_and_mended_when_stored_again(store):
    one, other = store.put(b"one" * 100), store.put(b"other" * 100)
    name = name_of(one)
    sealed = store.blobs.read(name)
    (key,) = [found for found in store.blobs.names() if found.startswith(name + ".")]
    wrapped, foreign = (
        store.blobs.read(key),
        next(f for f in store.blobs.names() if f.startswith(name_of(other) + ".")),
    )
    for changed in (sealed[:-1], sealed[:40], b"", bytes([sealed[0] ^ 1]) + sealed[1:], sealed[:-5] + bytes([sealed[-5] ^ 1]) + sealed[-4:],
                    store.blobs.read(name_of(other))):  # fmt: skip
        overwrite(store.blobs, name, changed)
        with pytest.raises(VerificationError):
            store.get(one)
    assert store.put(b"one" * 100) == one, "whoever has the content seals it anew"
    assert store.get(one) == b"one" * 100
    overwrite(store.blobs, name, sealed)
    overwrite(store.blobs, key, store.blobs.read(foreign))
    with pytest.raises(VerificationError):
        store.get(one)
    store.blobs.remove(key)
    with pytest.raises(VerificationError, match="missing"):
        store.get(one)
    store.blobs.create(key, wrapped)
    assert store.get(one) == b"one" * 100


def test_sealing_anew_keeps_the_address_and_leaves_one_key(store):
    digest = store.put(b"content")
    before = store.blobs.names()
    store.seal_anew(digest)
    assert store.get(digest) == b"content"
    assert len(store.blobs.names()) == 2
    assert store.blobs.names() != before


def test_a_server_that_is_away_or_refuses_is_said(s3_server, s3_place, tmp_path):
    cases = [
        (replace(s3_place, endpoint="http://127.0.0.1:9"), TransientError, "did not answer"),
        (replace(s3_place, bucket="nosuchbucket"), BackendError, "create it"),
    ]
    if hasattr(s3_server, "KEYS"):  # moto takes any keys
        cases += [
            (replace(s3_place, secret_key="wrong"), BackendError, "secret key is wrong"),
            (replace(s3_place, access_key="nobody"), BackendError, "unknown to the server"),
            (replace(s3_place, access_key="RK", secret_key="RS"), BackendError, "no right"),
        ]
    for place, kind, said in cases:
        blobs = S3Blobs(place, tmp_path)
        with pytest.raises(kind) as caught:
            blobs.names()
            blobs.create("ab/c", b"x")
        assert said in f"{caught.value.message} {caught.value.hint}"
        assert "SK" not in repr(place) + str(caught.value)


def test_a_server_that_ignores_conditions_is_found_out(s3_place, tmp_path, monkeypatch):
    blobs = S3Blobs(s3_place, tmp_path)
    require_conditions(blobs)
    assert blobs.call("list_objects_v2", Prefix=s3_place.prefix).get("Contents", []) == []
    called = blobs.call
    monkeypatch.setattr(
        blobs,
        "call",
        lambda method, name=None, IfNoneMatch=None, **words: called(method, name, **words),
    )
    with pytest.raises(BackendError, match="ignores If-None-Match"):
        require_conditions(blobs)


def test_an_upload_that_breaks_off_leaves_nothing(s3_place, tmp_path, monkeypatch):
    blobs = S3Blobs(s3_place, tmp_path)
    called = blobs.call

    def failing(method, name=None, **words):
        if words.get("PartNumber") == 2:
            raise TransientError("away", hint="")
        return called(method, name, **words)

    monkeypatch.setattr(blobs, "call", failing)
    with pytest.raises(TransientError):
        put(blobs, "ab/c", os.urandom(2 * PART))
    assert blobs.names() == []
    assert not blobs.call("list_multipart_uploads").get("Uploads")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_is_no_object(s3_place, tmp_path, monkeypatch):
    store = ObjectStore(
        S3Blobs(s3_place, tmp_path), KeyStore.create(tmp_path / "keys", "p").provider
    )
    digest = store.put(os.urandom(4_000_000))
    called = store.blobs.call

    def cut(method, name=None, **words):
        answer = called(method, name, **words)
        if method == "get_object" and not name.endswith(".key"):
            read = answer["Body"].read
            answer["Body"].read = lambda amount=None: (
                read(min(amount, 1000)) if answer["Body"].tell() < 2_000_000 else b""
            )
        return answer

    monkeypatch.setattr(store.blobs, "call", cut)
    with pytest.raises((VerificationError, TransientError)):
        store.get(digest)


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:bucket",
        "http://bucket/x",
        "s3://bucket/../x",
        "s3://user@bucket/",
        "s3://bucket/x?y",
    ],
)
def test_impossible_places_are_refused(url):
    with pytest.raises(ConfigError, match="no place for objects"):
        split_url(url)


def test_an_endpoint_in_clear_text_elsewhere_is_refused(s3_place, tmp_path):
    with pytest.raises(ConfigError, match="https"):
        S3Blobs(replace(s3_place, endpoint="http://s3.example.org"), tmp_path)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_an_endpoint_in_clear_text_that_this_machine_names_is_refused_too(
    monkeypatch, tmp_path, variable
):
    pytest.importorskip("boto3")
    monkeypatch.setenv(variable, "http://s3.example.org")
    place = S3Place("ready", "", None, "us-east-1", "AK", "SK")
    with pytest.raises(ConfigError, match="AWS settings must use https"):
        S3Blobs(place, tmp_path)
    with pytest.raises(ConfigError, match="AWS settings must use https"):
        open_copies("s3:audit/log", 7)


def test_a_project_moves_its_objects_to_a_bucket_works_there_and_comes_back(
    own, cli, s3_server, s3_place, monkeypatch, tmp_path
):
    monkeypatch.setenv("S3_ACCESS", s3_place.access_key)
    monkeypatch.setenv("S3_SECRET", s3_place.secret_key)
    words = (
        "--endpoint",
        s3_place.endpoint,
        "--region",
        "us-east-1",
        "--access-key",
        "env:S3_ACCESS",
        "--secret-key",
        "env:S3_SECRET",
    )
    where = ("--config", str(own))
    answer = cli("store", "objects", s3_place.url, *words, *where)
    assert answer.code == 0, answer.err
    assert [path for path in (own / ".casemate" / "objects").rglob("*") if path.is_file()] == []
    assert s3_place.secret_key not in (own / "casemate.toml").read_text()
    assert cli("store", "objects", s3_place.url, *words, *where).code == 2
    project = casemate.open(own)
    assert isinstance(project.objects.blobs, S3Blobs)
    assert project.models["wdbc"].verify()
    sealed = {
        name: project.objects.blobs.read(name)
        for name in project.objects.blobs.names()
        if not name.endswith(".key")
    }
    rotation.rotate(project, ["objects"])
    assert {name: project.objects.blobs.read(name) for name in sealed} == sealed
    rotation.destroy(project, "objects", 1)
    project = casemate.open(own)
    result = project.run(start="release")
    assert result.model.verify()
    rotation.rotate(project, ["objects"], compromised=True)
    assert examine(casemate.open(own)).damage == []
    text = (own / "casemate.toml").read_text()
    (own / "casemate.toml").write_text(text.replace(s3_place.endpoint, "http://127.0.0.1:9"))
    away = cli("fsck", *where)
    assert away.code == 5 and "UNKNOWN" in away.out and "backup restore" not in away.out
    assert "see the server and the network" in away.out
    (own / "casemate.toml").write_text(text)
    monkeypatch.setenv("S3_SECRET", "wrong")
    if hasattr(s3_server, "KEYS"):  # moto takes any keys
        refused = cli("fsck", *where)
        assert refused.code == 5 and "the secret key is wrong" in refused.out
    monkeypatch.setenv("S3_SECRET", s3_place.secret_key)
    assert any(
        c["subject"] == "objects" and c["mark"] == "ok"
        for c in json.loads(cli("doctor", "--format", "json", *where).out)
    )
    backup.add_recipient(casemate.open(own), "me", passphrase="four or five words", keys=True)
    backup.create(casemate.open(own), tmp_path / "all.backup", with_keys=True)
    restored, _ = backup.restore(
        tmp_path / "all.backup", tmp_path / "again", Opener("four or five words")
    )
    assert models.verify(restored, "wdbc")
    blobs = casemate.open(own).objects.blobs
    name = next(name for name in blobs.names() if not name.endswith(".key"))
    s3_client(s3_server).put_object(
        Bucket=s3_place.bucket, Key=s3_place.prefix + name, Body=b"changed"
    )
    assert len(examine(casemate.open(own)).damage) >= 1
    with pytest.raises(VerificationError):
        casemate.open(own).store.move_objects({})
    overwrite(blobs, name, (tmp_path / "again" / ".casemate" / "objects" / name).read_bytes())
    assert cli("store", "objects", "files", *where).code == 0
    project = casemate.open(own)
    assert project.models["wdbc"].verify()
    assert project.config.store.objects == ""
    assert blobs.names() == []
