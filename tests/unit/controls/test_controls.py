import datetime
import os
import random
import shutil
import threading
import time

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder
from cryptography.x509.verification import Store as Anchors
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.controls.audit.bodies import Bodies
from casemate.controls.audit.checkpoint import CheckpointSigner, verify_checkpoint
from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.merkle import Frontier, leaf_hash
from casemate.controls.audit.tiles import bundle, tile_path, unbundle
from casemate.controls.audit.verify import verify_log
from casemate.controls.keys import manifests, tables
from casemate.controls.keys.objects import ObjectStore, name_of
from casemate.controls.keys.store import KeyStore
from casemate.controls.keys.subjects import SubjectKeys
from casemate.core.blobs import FileBlobs
from casemate.core.clock import SystemClock
from casemate.core.errors import BackendError, DataError, HistoryError, VerificationError
from casemate.core.store.sqlite import SqliteStore


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return KeyStore.create(tmp_path_factory.mktemp("keys") / "store", "test")


def test_the_key_store_is_private_and_opens_again(keys):
    assert os.stat(keys.folder / "keystore.json").st_mode & 0o777 == 0o600
    assert os.stat(keys.folder).st_mode & 0o777 == 0o700
    again = KeyStore.open(keys.folder)
    assert again.provider.unwrap("objects", keys.provider.wrap("objects", b"k" * 32)) == b"k" * 32
    assert again.signer.verifier.fingerprint == keys.signer.verifier.fingerprint
    assert "secret" not in repr(again).lower()


def test_a_key_store_is_never_overwritten(keys):
    with pytest.raises(BackendError, match="exists already"):
        KeyStore.create(keys.folder, "test")


@given(content=st.binary(max_size=5000))
def test_objects_round_trip_and_storing_twice_is_a_no_op(keys, tmp_path_factory, content):
    store = ObjectStore(FileBlobs(tmp_path_factory.mktemp("objects")), keys.provider)
    digest = store.put(content)
    before = store.blobs.path(name_of(digest)).read_bytes()
    assert store.put(content) == digest
    assert store.blobs.path(name_of(digest)).read_bytes() == before
    assert store.get(digest) == content
    if len(content) > 20:
        assert content not in before


def test_every_flipped_byte_of_an_object_is_detected(keys, tmp_path):
    store = ObjectStore(FileBlobs(tmp_path), keys.provider)
    digest = store.put(b"some content" * 10)
    original = store.blobs.path(name_of(digest)).read_bytes()
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1
        store.blobs.path(name_of(digest)).write_bytes(bytes(changed))
        with pytest.raises((VerificationError, BackendError)):
            store.get(digest)
    store.blobs.path(name_of(digest)).write_bytes(original)
    (key,) = store.blobs.path(name_of(digest)).parent.glob("*.key")
    wrapped = key.read_bytes()
    for position in range(len(wrapped)):
        key.write_bytes(
            wrapped[:position] + bytes([wrapped[position] ^ 1]) + wrapped[position + 1 :]
        )
        with pytest.raises((VerificationError, BackendError)):
            store.get(digest)


def test_a_damaged_object_is_replaced_when_stored_again(keys, tmp_path):
    store = ObjectStore(FileBlobs(tmp_path), keys.provider)
    digest = store.put(b"content")
    store.blobs.path(name_of(digest)).write_bytes(b"garbage")
    assert store.put(b"content") == digest
    assert store.get(digest) == b"content"


@pytest.fixture
def sealed(keys, tmp_path):
    table = pa.table(
        {"ssn": ["111-22-3333", "444-55-6666"], "x": [1.5, 2.5], "hiv status": ["no", "yes"]}
    )
    classes = {"ssn": "identifier", "x": "general", "hiv status": "sensitive"}
    tables.seal(
        table,
        tmp_path / "t" / "v1",
        keys.provider,
        keys.signer,
        classes,
        {"name": "t", "version": "v1"},
    )
    return table, tmp_path / "t" / "v1"


def test_a_sealed_table_reads_back_and_shows_nothing_in_clear(keys, sealed):
    table, folder = sealed
    assert tables.read(folder, keys.provider, keys.signer.verifier).equals(table)
    stored = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"111-22-3333" not in stored
    assert b"hiv status" not in stored


def test_columns_of_a_withheld_class_stay_sealed_and_the_others_open(keys, sealed):
    _, folder = sealed
    withheld = frozenset({"identifier"})
    assert tables.read(
        folder, keys.provider, keys.signer.verifier, ["x", "hiv status"], withheld
    ).column_names == ["x", "hiv status"]
    with pytest.raises(DataError, match="withheld"):
        tables.read(folder, keys.provider, keys.signer.verifier, ["ssn"], withheld)


def test_sealing_again_keeps_an_intact_version_and_replaces_a_damaged_one(keys, sealed):
    table, folder = sealed
    classes = {"ssn": "identifier", "x": "general", "hiv status": "sensitive"}
    before = (folder / tables.PART).read_bytes()
    about = {"name": "t", "version": "v1"}
    tables.seal(table, folder, keys.provider, keys.signer, classes, about)
    assert (folder / tables.PART).read_bytes() == before
    (folder / tables.PART).write_bytes(before[:-1])
    tables.seal(table, folder, keys.provider, keys.signer, classes, about)
    assert tables.read(folder, keys.provider, keys.signer.verifier).equals(table)


def test_a_version_put_in_the_place_of_another_is_refused(keys, sealed):
    table, folder = sealed
    classes = {"ssn": "identifier", "x": "general", "hiv status": "sensitive"}
    newer = folder.parent / "v2"
    tables.seal(
        table.slice(1), newer, keys.provider, keys.signer, classes, {"name": "t", "version": "v2"}
    )
    shutil.rmtree(folder)
    newer.rename(folder)
    with pytest.raises(VerificationError, match="versions were swapped"):
        tables.read(folder, keys.provider, keys.signer.verifier)


def test_sealed_tables_of_another_project_are_refused(keys, sealed, tmp_path):
    other = KeyStore.create(tmp_path / "other", "other")
    with pytest.raises(VerificationError):
        tables.read(sealed[1], other.provider, other.signer.verifier)


def test_server_certificates_verify_under_the_projects_ca_only(keys, tmp_path):
    chain, key = keys.authority.issue_server(["localhost", "127.0.0.1"])
    leaf = x509.load_pem_x509_certificates(chain)[0]
    verifier = (
        PolicyBuilder()
        .store(Anchors([keys.authority.certificate]))
        .build_server_verifier(x509.DNSName("localhost"))
    )
    assert verifier.verify(leaf, [])
    stranger = KeyStore.create(tmp_path / "other", "other").authority
    with pytest.raises(x509.verification.VerificationError):
        PolicyBuilder().store(Anchors([stranger.certificate])).build_server_verifier(
            x509.DNSName("localhost")
        ).verify(leaf, [])
    assert b"PRIVATE KEY" in key
    assert leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < datetime.timedelta(
        days=31
    )


@pytest.fixture
def log(tmp_path, keys):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    log = AuditLog(
        tmp_path / "audit",
        store,
        CheckpointSigner("casemate/test", *keys.log_keys),
        SystemClock(),
        Bodies(keys.provider),
        SubjectKeys(keys.provider, SystemClock()),
    )
    with store.transaction() as tx:
        log.create(tx)
    log.publish()
    return log


def test_an_empty_log_verifies(log):
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 0


def test_a_growing_log_verifies_at_every_size_around_tile_borders(log):
    done = 0
    for size in (1, 2, 255, 256, 257, 511, 512, 513, 700):
        with log.store.transaction() as tx:
            log.append_many(tx, [("p", "a", "r", "done", {"i": i}) for i in range(size - done)])
        log.publish()
        done = size
        verified = verify_log(log.folder, log.signer.vkeys)
        assert verified.checkpoint.size == size
        assert log.check().leaves == verified.leaves
        assert log.check_bodies() == size
    assert len(list(log.folder.rglob("*.p/*"))) == 3


@pytest.mark.slow
@pytest.mark.secured
def test_a_log_past_two_tile_levels_verifies(log):
    with log.store.transaction() as tx:
        log.append_many(tx, [("p", "a", "r", "done", {})] * 65_540)
    log.publish()
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 65_540
    assert (log.folder / tile_path(2, 0, 1)).exists()


def test_what_a_crash_left_unpublished_is_published_by_the_next_append(log):
    with log.store.transaction() as tx:
        log.append(tx, "p", "a", "r", "done", {})
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 0
    log.record("p", "b", "r", "done")
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 2


def test_entries_are_commitments_that_reveal_nothing(log):
    log.record('User::"anastasia"', "run:start", "secret-resource", "done")
    public = b"".join(path.read_bytes() for path in log.folder.rglob("*") if path.is_file())
    assert b"anastasia" not in public  # three letters stand in signatures by chance
    assert b"secret-resource" not in public


def mutations(entries, generator):
    size = len(entries)
    i, j = generator.sample(range(size), 2)
    edited = list(entries)
    kind = generator.choice(["edit", "insert", "delete", "swap", "truncate"])
    if kind == "edit":
        edited[i] = edited[i][:-1] + bytes([edited[i][-1] ^ 1])
    elif kind == "insert":
        edited.insert(i, b"forged")
    elif kind == "delete":
        del edited[i]
    elif kind == "swap":
        edited[i], edited[j] = edited[j], edited[i]
    else:
        edited = edited[:i]
    return edited


def test_edited_inserted_deleted_swapped_and_truncated_entries_are_detected(log):
    with log.store.transaction() as tx:
        log.append_many(tx, [("p", "a", "r", "done", {"i": i}) for i in range(40)])
    log.publish()
    path = log.folder / tile_path("entries", 0, 40)
    original = path.read_bytes()
    generator = random.Random(0)
    for _ in range(300):
        path.write_bytes(bundle(mutations(unbundle(original), generator)))
        with pytest.raises(VerificationError):
            verify_log(log.folder, log.signer.vkeys)


def test_a_log_rebuilt_by_a_stranger_does_not_verify(log, tmp_path):
    other = KeyStore.create(tmp_path / "other", "other")
    signer = CheckpointSigner("casemate/test", *other.log_keys)
    with pytest.raises(VerificationError):
        verify_checkpoint(signer.sign(0, Frontier().root()), log.signer.vkeys)


def test_many_threads_append_durably_and_in_one_order(log):
    group = GroupCommit(log)
    indexes = []

    def write():
        for _ in range(25):
            indexes.append(group.append("p", "a", "r", "done", {}).result(30))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    group.close()
    assert sorted(indexes) == list(range(200))
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 200


def test_a_caller_that_gave_up_does_not_stop_the_log(log):
    group = GroupCommit(log)
    group.append("p", "a", "r", "done", {}).cancel()
    assert group.append("p", "b", "r", "done", {}).result(10) >= 0
    group.close()


def test_a_log_that_is_being_written_verifies_all_the_time(log):
    group = GroupCommit(log)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            group.append("p", "a", "r", "done", {}).result(30)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    sizes: list[int] = []
    until = time.monotonic() + 30
    while len(sizes) < 15 or (sizes[-1] == sizes[0] and time.monotonic() < until):
        sizes.append(log.check().checkpoint.size)
    stop.set()
    for thread in threads:
        thread.join()
    group.close()
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]


def test_an_append_that_cannot_be_made_durable_fails_for_its_waiter(log, monkeypatch):
    group = GroupCommit(log)

    def fail():
        raise BackendError("the disk is full")

    monkeypatch.setattr(log.store, "transaction", fail)
    with pytest.raises(BackendError, match="disk is full"):
        group.append("p", "a", "r", "done", {}).result(10)
    group.close()


def test_a_log_that_could_not_be_published_for_a_moment_is_published_later_and_takes_entries_meanwhile(
    log, monkeypatch
):
    monkeypatch.setattr(GroupCommit, "PUBLISH_SECONDS", 0.05)
    tried, publish = threading.Event(), log.publish

    def fail():
        tried.set()
        raise OSError("no space left on device")

    monkeypatch.setattr(log, "publish", fail)
    group = GroupCommit(log)
    group.append("p", "a", "r", "done", {}).result(10)
    assert tried.wait(10)
    assert group.append("p", "b", "r", "done", {}).result(10) >= 0
    monkeypatch.setattr(log, "publish", publish)
    group.close()
    assert (group.fault, verify_log(log.folder, log.signer.vkeys).checkpoint.size) == (
        None,
        log.size(),
    )


def test_a_log_whose_history_was_changed_takes_no_further_entry(log, monkeypatch):
    monkeypatch.setattr(GroupCommit, "PUBLISH_SECONDS", 0.05)

    def fail():
        raise HistoryError("another history", hint="restore")

    monkeypatch.setattr(log, "publish", fail)
    group = GroupCommit(log)
    group.append("p", "a", "r", "done", {}).result(10)
    with pytest.raises(HistoryError):
        for _ in range(100):
            group.append("p", "b", "r", "done", {}).result(10)
            time.sleep(0.05)
    group.close()


def test_two_logs_on_one_catalogue_share_one_history(log, keys):
    other = AuditLog(
        log.folder, SqliteStore(log.store.path), log.signer, SystemClock(), log.bodies, log.subjects
    )
    for _ in range(3):
        log.record("p", "a", "r", "done")
        other.record("q", "b", "r", "done")
    assert [entry.principal for entry in log.entries()] == ["p", "q"] * 3
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 6


@given(st.lists(st.binary(max_size=50), max_size=40))
def test_entry_bundles_round_trip(entries):
    assert unbundle(bundle(entries)) == entries


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_the_frontier_gives_the_root_of_the_definition(entries):
    def root(leaves):
        if not leaves:
            return Frontier().root()
        if len(leaves) == 1:
            return leaves[0]
        from casemate.controls.audit.merkle import node_hash

        split = 1 << (len(leaves) - 1).bit_length() - 1
        return node_hash(root(leaves[:split]), root(leaves[split:]))

    frontier = Frontier()
    for entry in entries:
        frontier.append(leaf_hash(entry))
    assert frontier.root() == root([leaf_hash(entry) for entry in entries])


COLUMNS = {"id": "identifier", "x": "general"}


def pieces(start, count, size=1000):
    for first in range(start, start + count, size):
        numbers = range(first, min(first + size, start + count))
        yield pa.record_batch({"id": [f"p{n}" for n in numbers], "x": [float(n) for n in numbers]})


def seal_pieces(keys, folder, rows, **more):
    schema = pa.schema({"id": pa.string(), "x": pa.float64()})
    about = {"name": folder.parent.name, "version": folder.name}
    tables.seal_stream(rows, schema, folder, keys.provider, keys.signer, COLUMNS, about, **more)


@settings(max_examples=15, deadline=None)
@given(count=st.integers(0, 900), size=st.integers(1, 400), part_rows=st.integers(100, 500))
def test_a_stream_of_any_number_of_rows_comes_back_in_order(
    keys, tmp_path_factory, count, size, part_rows
):
    folder = tmp_path_factory.mktemp("s") / "t" / "v1"
    seal_pieces(keys, folder, pieces(0, count, size), part_rows=part_rows)
    assert len(list(folder.glob("*.parquet"))) == max(1, -(-count // part_rows))
    assert tables.read(folder, keys.provider, keys.signer.verifier)["x"].to_pylist() == [
        float(n) for n in range(count)
    ]
    scanned = [
        n
        for batch in tables.scan(folder, keys.provider, keys.signer.verifier, ["x"])
        for n in batch["x"].to_pylist()
    ]
    assert scanned == [float(n) for n in range(count)]


def test_a_version_that_extends_another_shares_its_files_and_each_is_rotated_by_itself(
    keys, tmp_path
):
    first, second = tmp_path / "t" / "v1", tmp_path / "t" / "v2"
    seal_pieces(keys, first, pieces(0, 5000), part_rows=2000)
    seal_pieces(keys, second, pieces(5000, 100), extends=first)
    assert sorted(path.name for path in second.glob("*.parquet")) == [
        f"part-{n:05d}.parquet" for n in range(4)
    ]
    assert (second / tables.PART).stat().st_ino == (first / tables.PART).stat().st_ino
    assert tables.read(second, keys.provider, keys.signer.verifier)["id"].to_pylist() == [
        f"p{n}" for n in range(5100)
    ]
    for key in ("footer", "general", "identifier"):
        keys.provider.rotate(key)
    tables.rewrap(second, keys.provider)
    assert {keys.provider.version_of(wrapped) for _, wrapped in tables.wrapped_keys(second)} != {
        keys.provider.version_of(wrapped) for _, wrapped in tables.wrapped_keys(first)
    }
    for folder, count in ((first, 5000), (second, 5100)):
        assert tables.read(folder, keys.provider, keys.signer.verifier).num_rows == count
    tables.seal_anew(second, keys.provider, keys.signer, COLUMNS)
    assert tables.read(second, keys.provider, keys.signer.verifier).num_rows == 5100
    assert tables.read(first, keys.provider, keys.signer.verifier).num_rows == 5000


def test_a_part_that_is_missing_extra_reordered_or_another_versions_is_refused(keys, tmp_path):
    folder, other = tmp_path / "t" / "v1", tmp_path / "t" / "v2"
    seal_pieces(keys, folder, pieces(0, 3000), part_rows=1000)
    seal_pieces(keys, other, pieces(9000, 3000), part_rows=1000)
    names = [f"part-{n:05d}.parquet" for n in range(3)]
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}

    def refused():
        with pytest.raises(VerificationError):
            tables.read(folder, keys.provider, keys.signer.verifier)
        for path in folder.iterdir():
            path.unlink()
        for name, content in kept.items():
            (folder / name).write_bytes(content)

    (folder / names[1]).unlink()
    refused()
    (folder / "part-00003.parquet").write_bytes(kept[names[0]])
    refused()
    (folder / names[0]).write_bytes(kept[names[1]])
    (folder / names[1]).write_bytes(kept[names[0]])
    refused()
    (folder / names[0]).write_bytes((other / names[0]).read_bytes())
    refused()
    for name in (names[0], f"_KEY_MATERIAL_FOR_{names[0]}.json"):
        (folder / name).write_bytes((other / name).read_bytes())
    refused()
    (folder / manifests.MANIFEST).write_bytes((other / manifests.MANIFEST).read_bytes())
    refused()
    assert tables.read(folder, keys.provider, keys.signer.verifier).num_rows == 3000


def test_pieces_of_another_shape_and_a_fault_in_the_stream_leave_nothing(keys, tmp_path):
    folder = tmp_path / "t" / "v1"

    def wrong():
        yield from pieces(0, 10)
        yield pa.record_batch({"id": ["a"], "x": ["text"]})

    def failing():
        yield from pieces(0, 10)
        raise OSError("the source went away")

    with pytest.raises(DataError, match="other columns"):
        seal_pieces(keys, folder, wrong())
    with pytest.raises(OSError, match="went away"):
        seal_pieces(keys, folder, failing())
    assert not list((tmp_path / "t").iterdir())
    seal_pieces(keys, folder, pieces(0, 10))
    with pytest.raises(DataError, match="other columns"):
        tables.seal_stream(
            [],
            pa.schema({"x": pa.int64()}),
            tmp_path / "t" / "v2",
            keys.provider,
            keys.signer,
            COLUMNS,
            {"name": "t", "version": "v2"},
            extends=folder,
        )


NAMES = ["a,b", "a:b", "a;b", " a", "a ", "", "a\nb", "~a", "a", "😀"]


def test_columns_of_any_name_are_sealed_extended_scanned_and_sealed_anew_under_it(keys, tmp_path):
    def table(*values):
        return pa.table({name: [f"{name}{value}" for value in values] for name in NAMES})

    def about(version):
        return {"name": "t", "version": version}

    classes = {name: "general" if at % 2 else "identifier" for at, name in enumerate(NAMES)}
    first, second = tmp_path / "t" / "v1", tmp_path / "t" / "v2"
    tables.seal(table(1, 2), first, keys.provider, keys.signer, classes, about("v1"))
    tables.seal(table(3), second, keys.provider, keys.signer, classes, about("v2"), extends=first)
    tables.seal_anew(second, keys.provider, keys.signer, classes)
    verifier = keys.signer.verifier
    assert tables.read(second, keys.provider, verifier).equals(table(1, 2, 3))
    assert tables.columns_of(second, keys.provider, verifier).equals(table(1).schema)
    for name in NAMES:
        assert tables.read(second, keys.provider, verifier, [name]).equals(
            table(1, 2, 3).select([name])
        )
    scanned = pa.Table.from_batches(tables.scan(second, keys.provider, verifier, NAMES[1:3]))
    assert scanned.equals(table(1, 2, 3).select(NAMES[1:3]))
    with pytest.raises(DataError, match="withheld"):
        tables.read(second, keys.provider, verifier, ["a,b"], frozenset({"identifier"}))


def test_two_columns_never_share_a_stored_name(keys, tmp_path):
    table = pa.table({"a,b": [1], "~a%2Cb": [2]})
    with pytest.raises(DataError, match="one name"):
        tables.seal(
            table,
            tmp_path / "t" / "v1",
            keys.provider,
            keys.signer,
            dict.fromkeys(table.column_names, "general"),
            {"version": "v1"},
        )
