"""The log: proofs, sealed bodies, erasable parts, queries, no fork after a rollback, many
mutations.
"""

import datetime
import os
import random
import shutil
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.conftest import grow, make_log

from casemate.controls.audit import tiles
from casemate.controls.audit.checkpoint import verify_checkpoint
from casemate.controls.audit.entries import ENTRIES, HEAD
from casemate.controls.audit.log import ERASED
from casemate.controls.audit.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from casemate.controls.audit.proof import verify_proof
from casemate.controls.audit.query import Query
from casemate.controls.audit.verify import verify_log
from casemate.core.entry import Entry
from casemate.core.errors import ConfigError, RefusedError, VerificationError


def nodes_over(leaves):
    def node(level, number):
        width = 1 << level
        hashes = leaves[number * width : (number + 1) * width]
        while len(hashes) > 1:
            hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
        return hashes[0]

    return node


def root_of(leaves):
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


@given(st.integers(1, 80), st.data())
def test_every_proof_that_we_make_verifies_and_no_changed_one_does(size, data):
    leaves = [leaf_hash(bytes([i])) for i in range(size)]
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    path = inclusion_proof(index, size, nodes_over(leaves))
    verify_inclusion(leaves[index], index, size, path, root_of(leaves))
    growth = consistency_proof(old, size, nodes_over(leaves))
    verify_consistency(old, size, growth, root_of(leaves[:old]), root_of(leaves))
    with pytest.raises(VerificationError):
        verify_inclusion(leaf_hash(b"other"), index, size, path, root_of(leaves))
    forked = [leaf_hash(b"fork"), *leaves[1:]]
    if old:
        with pytest.raises(VerificationError):
            verify_consistency(
                old,
                size,
                consistency_proof(old, size, nodes_over(forked)),
                root_of(leaves[:old]),
                root_of(forked),
            )


def test_an_entry_is_proved_to_somebody_who_has_only_the_keys(log):
    grow(log, 700)
    proof = log.prove(511)
    proven = verify_proof(proof, log.signer.vkeys)
    assert (proven.entry.index, proven.entry.action) == (511, "act:511")
    for position in range(0, len(proof), 7):
        changed = bytearray(proof)
        changed[position] ^= 1
        with pytest.raises(VerificationError):
            verify_proof(bytes(changed), log.signer.vkeys)
    with pytest.raises(ConfigError, match="no entry 700"):
        log.prove(700)


def test_proofs_are_read_from_tiles_that_a_growing_log_has_replaced(log):
    grow(log, 300)
    nodes = tiles.nodes_of(log.folder, 300)
    before = verify_checkpoint((log.folder / "checkpoint").read_bytes(), log.signer.vkeys)
    grow(log, 400)
    after = verify_checkpoint((log.folder / "checkpoint").read_bytes(), log.signer.vkeys)
    verify_consistency(
        300,
        700,
        consistency_proof(300, 700, tiles.nodes_of(log.folder, 700)),
        before.root,
        after.root,
    )
    assert len(inclusion_proof(299, 300, nodes)) > 0


def test_a_draft_of_who_was_killed_between_writing_and_naming_it_is_gone_with_the_next_entry(log):
    grow(log, 3)
    for folder in (".", "tile/entries/000.p", "tile/0/000.p"):
        (log.folder / folder / ".tmp-killed").write_bytes(b"half")
    grow(log, 1)
    assert not list(log.folder.rglob(".tmp-*"))
    assert verify_log(log.folder, log.signer.vkeys).checkpoint.size == 4


def test_a_personal_part_is_read_until_the_subjects_key_is_shredded_and_the_tree_still_verifies(
    log,
):
    with log.store.transaction() as tx:
        log.append(
            tx, "p", "a", "r", "done", {"why": "x"}, subject="patient-17", personal={"name": "Ana"}
        )
        log.append(tx, "p", "a", "r", "done", {}, subject="patient-18", personal={"name": "Bea"})
    assert [entry.detail["personal"] for entry in log.entries()] == [
        {"name": "Ana"},
        {"name": "Bea"},
    ]
    pseudonym = log.shred("p", "patient-17")
    assert "patient" not in pseudonym
    assert [entry.detail.get("personal") for entry in log.entries()] == [
        ERASED,
        {"name": "Bea"},
        None,
    ]
    assert log.check().checkpoint.size == 3
    with pytest.raises(RefusedError, match="no key of this subject"):
        log.shred("p", "patient-17")
    with pytest.raises(RefusedError, match="shredded"), log.store.transaction() as tx:
        log.append(tx, "p", "a", "r", "done", {}, subject="patient-17", personal={"name": "Ana"})


def test_the_catalogue_holds_no_word_of_a_body(log):
    log.record("User::ana", "secret:action", "r", "done", note="confidential")
    log.store.close()
    assert b"confidential" not in log.store.path.read_bytes()


def test_a_catalogue_that_was_rolled_back_is_never_published_over_the_newer_log(log, tmp_path):
    grow(log, 5)
    log.store.close()
    shutil.copy(log.store.path, tmp_path / "old.db")
    grow(log, 5)
    log.store.close()
    for path in log.store.path.parent.glob("catalog.db-*"):
        path.unlink()
    shutil.copy(tmp_path / "old.db", log.store.path)
    kept = (log.folder / "checkpoint").read_bytes()
    with pytest.raises(VerificationError, match="does not contain the published one"):
        log.publish()
    with pytest.raises(VerificationError, match="does not contain the published one"):
        grow(log, 9)  # longer than the published one, and another history
    assert (log.folder / "checkpoint").read_bytes() == kept


@pytest.mark.parametrize("count", [3, 5, 600])
def test_another_history_is_refused_before_anything_is_written(log, tmp_path, log_keys, count):
    """A catalogue that is shorter than, as long as, or longer than what was published."""
    grow(log, 5)
    kept = {path: path.read_bytes() for path in log.folder.rglob("*") if path.is_file()}
    (tmp_path / "other").mkdir()
    other = make_log(tmp_path / "other", log_keys)
    grow(other, count)
    other.folder = log.folder
    for anew in (False, True):
        with pytest.raises(VerificationError, match="does not contain the published one"):
            other.publish(anew=anew)
        assert {path: path.read_bytes() for path in kept} == kept
    if count <= 5:
        assert {path for path in log.folder.rglob("*") if path.is_file()} == set(kept)


def entry(**words):
    usual = {
        "index": 0,
        "time": "2026-01-02T00:00:00Z",
        "principal": 'User::"a"',
        "action": "run:end",
        "resource": "r",
        "outcome": "done",
        "detail": {},
    }
    return Entry(**(usual | words))


NOW = datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, True),
        ({"action": "run:*"}, True),
        ({"action": "model:*"}, False),
        ({"principal": 'User::"a"', "outcome": "done"}, True),
        ({"outcome": "denied"}, False),
        ({"resource": "?"}, True),
        ({"since": "2026-01-02"}, True),
        ({"since": "2026-01-02T00:00:01Z"}, False),
        ({"until": "2026-01-02"}, False),
        ({"since": "1d"}, True),
        ({"since": "23h"}, False),
    ],
)
def test_a_query_matches(query, wanted):
    assert Query.of(**query, now=NOW).matches(entry()) == wanted


def test_a_time_that_is_none_is_a_usage_error():
    with pytest.raises(ConfigError, match="no time"):
        Query.of(since="yesterday", now=NOW)


def test_every_mutation_of_a_log_is_detected(tmp_path, log_keys, scale):
    """Edits, insertions, deletions, swaps, truncations, rollbacks and forks; the last three need a
    checkpoint that was kept.
    """
    log = make_log(tmp_path, log_keys)
    grow(log, 600)
    earlier = tmp_path / "earlier"
    shutil.copytree(log.folder, earlier)
    grow(log, 100)
    kept = verify_checkpoint((log.folder / "checkpoint").read_bytes(), log.signer.vkeys)
    (tmp_path / "other").mkdir()
    fork = make_log(tmp_path / "other", log_keys)
    grow(fork, 800)
    generator = random.Random(5)
    original = {
        path.relative_to(log.folder): path.read_bytes()
        for path in log.folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    folder = tmp_path / "mutant"
    shutil.copytree(log.folder, folder)
    detected = 0
    times = scale(300, 10_000)
    for _ in range(times):
        kind = generator.choice(
            [
                "edit",
                "insert",
                "delete",
                "swap",
                "truncate",
                "remove",
                "signature",
                "rollback",
                "fork",
            ]
        )
        whole = earlier if kind == "rollback" else fork.folder if kind == "fork" else None
        if whole is not None:
            shutil.rmtree(folder)
            shutil.copytree(whole, folder)
            changed = None
        else:
            changed = mutate(generator, kind, folder, original)
        try:
            verify_log(folder, log.signer.vkeys).require_prefix(kept, "the kept checkpoint")
        except VerificationError:
            detected += 1
        if changed is None:
            shutil.rmtree(folder)
            shutil.copytree(log.folder, folder)
        else:
            (folder / changed).write_bytes(original[changed])
    assert detected == times


def mutate(generator, kind, folder, original):
    names = sorted(original)
    bundles = [name for name in names if "entries" in str(name)]
    name = generator.choice(bundles if kind in {"insert", "delete", "swap"} else names)
    content = original[name]
    if kind == "signature":
        name = next(n for n in names if n.name == "checkpoint")
        content = original[name]
        position = generator.randrange(len(content))
        new = (
            content[:position]
            + bytes([content[position] ^ (1 << generator.randrange(8))])
            + content[position + 1 :]
        )
    elif kind == "edit":
        position = generator.randrange(len(content))
        new = (
            content[:position]
            + bytes([content[position] ^ (1 << generator.randrange(8))])
            + content[position + 1 :]
        )
    elif kind == "truncate":
        new = content[: generator.randrange(len(content))]
    elif kind == "remove":
        (folder / name).unlink()
        return name
    else:
        entries = tiles.unbundle(content)
        i, j = generator.sample(range(len(entries)), 2)
        if kind == "insert":
            entries.insert(i, entries[j])
        elif kind == "delete":
            del entries[i]
        else:
            entries[i], entries[j] = entries[j], entries[i]
        new = b"".join(struct.pack(">H", len(e)) + e for e in entries)
    (folder / name).write_bytes(new)
    return name


def test_a_body_moved_to_another_entry_is_detected(log):
    grow(log, 3)
    with log.store.transaction() as tx:
        first = tx.execute(ENTRIES.select().where(ENTRIES.c.index == 0)).one()
        tx.execute(ENTRIES.update().where(ENTRIES.c.index == 1).values(sealed=first.sealed))
    with pytest.raises(VerificationError, match="entry 1"):
        list(log.entries())


def test_the_keyless_reader_of_a_moved_catalogue_is_told_where_to_look(log):
    with log.store.transaction() as tx:
        tx.execute(HEAD.delete())
    with pytest.raises(Exception, match="moved to another database"):
        log.record("p", "a", "r", "done")
    assert os.path.exists(log.folder / "checkpoint")
