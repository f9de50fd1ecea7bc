"""What the log and its files refuse: proofs, notes, keys, tiles, witnesses, bodies, predictions beside
entries; each refusal by itself, on a log alone.
"""

import base64
import datetime
import http.server
import struct
import threading

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from tests.unit.conftest import grow, make_log, refused

from casemate.controls.audit import decisions as decisions_module
from casemate.controls.audit import merkle, note, predictions, proof, tiles
from casemate.controls.audit.checkpoint import (
    CheckpointSigner,
    Cosigner,
    Head,
    parse_head,
    verify_checkpoint,
)
from casemate.controls.audit.checkpoint import (
    log_keys as keys_of,
)
from casemate.controls.audit.cosign import WitnessPeer, collect
from casemate.controls.audit.decisions import Decisions
from casemate.controls.audit.entry import signed_by
from casemate.controls.audit.feedback import MOST_TELLINGS, Feedback, Said
from casemate.controls.audit.heads import Heads
from casemate.controls.audit.keyuse import AuditedKeys
from casemate.controls.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from casemate.controls.audit.note import Key, parse_keys, parse_note
from casemate.controls.audit.predictions import (
    MOST_OUTCOME,
    Committer,
    Prediction,
    new_writer,
    request_id,
)
from casemate.controls.audit.proof import MAX_PROOF, verify_proof
from casemate.controls.audit.signing import SignatureLog
from casemate.controls.audit.verify import WITNESSED, verify_log
from casemate.controls.audit.witness import Witness
from casemate.core.clock import SystemClock

# Proofs of single entries


def rewritten(content, **changed):
    """A proof file with other parts."""
    head, _, checkpoint = content.partition(b"\n\n")
    lines = head.decode().split("\n")
    parts = {"magic": lines[0], "extra": lines[1], "index": lines[2], "path": lines[3:]}
    parts.update(changed)
    text = "\n".join([parts["magic"], parts["extra"], parts["index"], *parts["path"]])
    return f"{text}\n\n".encode() + checkpoint


def extra(content, change):
    """What is opened beside the proof, changed."""
    raw = base64.b64decode(content.split(b"\n")[1][6:])
    return "extra " + base64.b64encode(change(raw)).decode()


def test_a_proof_that_is_malformed_in_any_part_proves_nothing(log):
    grow(log, 5)
    good = log.prove(3)
    assert verify_proof(good, log.signer.vkeys).entry.action == "act:3"
    for name, bad in {
        "too large": good + b" " * MAX_PROOF,
        "magic": rewritten(good, magic="c2sp.org/tlog-proof@v2"),
        "no extra": rewritten(good, extra="x"),
        "no index": rewritten(good, index="x"),
        "index with zeros": rewritten(good, index="index 03"),
        "too many hashes": rewritten(good, path=["x"] * 64),
        "a hash is not base64": rewritten(good, path=["!"]),
        "loose JSON": rewritten(good, extra=extra(good, lambda raw: raw + b" ")),
        "not JSON": rewritten(good, extra=extra(good, lambda raw: raw[:-1])),
        "deep JSON": rewritten(good, extra=extra(good, lambda raw: b"[" * 5000)),
        "not ASCII": "\u00e4".encode() + good,
        "nothing": b"",
    }.items():
        with refused("CM-VERIFY", "the proof file is malformed"):
            verify_proof(bad, log.signer.vkeys)
            pytest.fail(name)


def test_a_proof_of_another_entry_or_place_proves_nothing(log):
    grow(log, 5)
    good, other = log.prove(3), log.prove(2)
    with refused("CM-VERIFY", "does not lead to the signed root"):
        verify_proof(rewritten(good, index="index 2"), log.signer.vkeys)
    with refused("CM-VERIFY", "does not lead to the signed root"):
        verify_proof(rewritten(good, extra=other.decode().split("\n")[1]), log.signer.vkeys)
    with refused("CM-VERIFY", "lies outside the tree"):
        verify_proof(rewritten(good, index="index 5"), log.signer.vkeys)
    for index in (-1, 5):
        with refused("CM-CONFIG", f"the log has no entry {index}"):
            log.prove(index)


def test_an_entry_that_says_another_index_than_its_place_is_refused(log, monkeypatch):
    """As only somebody with the log's keys could write it."""
    grow(log, 2)
    monkeypatch.setattr(proof, "verify_inclusion", lambda *_: None)
    content = rewritten(log.prove(1), index="index 0")
    with refused("CM-VERIFY", "has another index than the proof"):
        verify_proof(content, log.signer.vkeys)


# The tree


LEAVES = [leaf_hash(bytes([number])) for number in range(7)]


def tree(leaves):
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def node(level, number):
    return merkle.full_root(LEAVES[number << level : (number + 1) << level])


def test_hashes_of_another_length_and_proofs_of_another_length_are_refused():
    path, root = inclusion_proof(2, 7, node), tree(LEAVES)
    verify_inclusion(LEAVES[2], 2, 7, path, root)
    for leaf, index, size, hashes, said in (
        (LEAVES[2][:-1], 2, 7, path, "not 32 bytes"),
        (LEAVES[2], 2, 7, [*path[:-1], b""], "not 32 bytes"),
        (LEAVES[2], -1, 7, path, "outside the tree"),
        (LEAVES[2], 7, 7, path, "outside the tree"),
        (LEAVES[2], 2, 7, [*path, root], "too long"),
        (LEAVES[2], 2, 7, path[:-1], "does not lead"),
        (LEAVES[3], 2, 7, path, "does not lead"),
    ):
        with refused("CM-VERIFY", said):
            verify_inclusion(leaf, index, size, hashes, root)


def test_a_tree_that_does_not_contain_an_older_one_is_refused():
    root = tree(LEAVES)
    for old in range(8):
        path = merkle.consistency_proof(old, 7, node)
        before = tree(LEAVES[:old]) if old else EMPTY_ROOT
        verify_consistency(old, 7, path, before, root)
        if 0 < old < 7:
            with refused("CM-VERIFY", "a fork or a rollback"):
                verify_consistency(old, 7, path, tree([LEAVES[6], *LEAVES[: old - 1]]), root)
            with refused("CM-VERIFY", "too long"):
                verify_consistency(old, 7, [*path, root, root], before, root)
    for old, new, hashes, old_root, said in (
        (8, 7, [], root, "the older tree is larger"),
        (-1, 7, [], root, "the older tree is larger"),
        (7, 7, [], tree(LEAVES[:6]), "a fork"),
        (7, 7, [root], root, "a fork"),
        (0, 7, [], root, "a fork"),
        (3, 7, [], tree(LEAVES[:3]), "is empty"),
        (3, 7, [b"x"], tree(LEAVES[:3]), "not 32 bytes"),
    ):
        with refused("CM-VERIFY", said):
            verify_consistency(old, new, hashes, old_root, root)


# Tiles


def test_a_tile_that_is_missing_cut_or_of_another_size_is_refused(log):
    grow(log, 3)
    for content in (b"\0", b"\0\5abc", b"\0\1a\0\5b"):
        with refused("CM-VERIFY", "is cut short"):
            tiles.unbundle(content)
    path = log.folder / tiles.tile_path(0, 0, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with refused("CM-VERIFY", "was changed"):
        tiles.read_tile(log.folder, 0, 0, 3)
    with refused("CM-VERIFY", "was changed"):
        tiles.nodes_of(log.folder, 3)(0, 0)
    path.unlink()
    with refused("CM-VERIFY", "the log has no tile/0/000.p/3"):
        tiles.nodes_of(log.folder, 3)(0, 0)
    path.write_bytes(whole)
    bundle = log.folder / tiles.tile_path("entries", 0, 3)
    bundle.write_bytes(tiles.bundle(tiles.unbundle(bundle.read_bytes())[:2]))
    with refused("CM-VERIFY", "holds 2 entries, expected 3"):
        verify_log(log.folder, log.signer.vkeys)
    (log.folder / "checkpoint").unlink()
    with refused("CM-VERIFY", "the log has no checkpoint"):
        verify_log(log.folder, log.signer.vkeys)


def test_a_tile_that_grew_while_it_was_read_gives_the_hashes_that_were_asked_for(log):
    grow(log, 3)
    older = tiles.nodes_of(log.folder, 2)
    assert older(0, 1) == tiles.nodes_of(log.folder, 3)(0, 1)


def test_narrower_tiles_are_dropped_and_nothing_else(tmp_path):
    for width in (1, 2, 3):
        tiles.write_level(tmp_path, 0, 0, b"x", width)
    folder = (tmp_path / tiles.tile_path(0, 0, 1)).parent
    (folder / "note").write_text("mine")
    tiles.drop_partials(tmp_path, 0, 0, 3)
    assert {path.name for path in folder.iterdir()} == {"3", "note"}
    tiles.drop_partials(tmp_path, 0, 7, 3)
    tiles.drop_partials(tmp_path, 0, 0, tiles.WIDTH)
    assert not folder.exists()


# Keys, notes, checkpoints


def test_a_verifier_key_that_is_malformed_or_not_its_own_is_refused(log):
    first, second = log.signer.vkeys.split()
    name, identifier, encoded = first.split("+", 2)
    for text, said in (
        ("x", "is malformed"),
        ("a+b", "is malformed"),
        (f"{name}+{identifier}+!", "is malformed"),
        (f"{name}+{identifier}+", "is malformed"),
        (f"{name}+00000000+{encoded}", "does not match its own key id"),
        (f"other+{identifier}+{encoded}", "does not match its own key id"),
    ):
        with refused("CM-VERIFY", said):
            parse_keys(text)
    other = CheckpointSigner(
        "other", ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA44PrivateKey.generate()
    )
    for vkeys in ("", first, second, first + "\n" + other.vkeys.split()[1]):
        with refused("CM-VERIFY", "an Ed25519 and an ML-DSA-44 key of one log"):
            keys_of(vkeys)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a\n1\nx\n",
        b"a\n1\nx\n\nno newline",
        b"a\n1\nx\n\n- a AAAA\n",
        "a\n1\nx\n\n\u2014 a AAAA\n".encode(),
        "a\n1\nx\n\n\u2014 a !\n".encode(),
        "a\n1\nx\n\n\u2014 a\n".encode(),
        "a\n1\nx\n\n\u2014  AAAAAAAA\n".encode(),
        b"a\n1\nx\n\n" + "\u2014 a AAAAAAAA\n".encode() * 65,
        b"\xff\n\n",
    ],
)
def test_a_note_that_is_malformed_is_refused(content):
    with refused("CM-VERIFY", "the checkpoint is malformed"):
        parse_note(content)


def test_a_note_that_is_too_large_is_not_parsed():
    with refused("CM-VERIFY", "larger than 64 KiB"):
        parse_note(b" " * (note.MAX_NOTE + 1))


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "a\nx\nAAAA\n",
        "a\n1\n!\n",
        "a\n1\nAAAA\n",
        "\n1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n-1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n01\n" + base64.b64encode(bytes(32)).decode() + "\n",
    ],
)
def test_a_checkpoint_whose_text_says_nothing_sensible_is_refused(text):
    with refused("CM-VERIFY", "the checkpoint is malformed"):
        parse_head(note.Note(text, ()))


def test_a_checkpoint_with_one_signature_or_of_another_log_is_refused(log):
    grow(log, 1)
    content = (log.folder / "checkpoint").read_bytes()
    lines = content.decode().splitlines(keepends=True)
    assert verify_checkpoint(content, log.signer.vkeys).size == 1
    for cut in (lines[:4] + lines[5:], lines[:5]):
        with refused("CM-VERIFY", "is missing or wrong"):
            verify_checkpoint("".join(cut).encode(), log.signer.vkeys)
    renamed = content.replace(b"casemate/test", b"casemate/else", 1)
    with refused("CM-SIGNER", "is of log 'casemate/else', expected 'casemate/test'"):
        verify_checkpoint(renamed, log.signer.vkeys)


def test_a_line_of_a_kind_that_is_not_known_counts_as_none():
    key = Key("w", 9, b"x")
    signed = parse_note(f"a\n1\nx\n\n{key.line(bytes(64))}".encode())
    assert note.signed_by(key, signed, "a", 1, bytes(32)) is None
    short = Key("w", note.COSIGNATURE, bytes(32))
    cut = parse_note(f"a\n1\nx\n\n{short.line(b'12345')}".encode())
    assert note.signed_by(short, cut, "a", 1, bytes(32)) is None


# Witnesses


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "x" * 256])
def test_a_witness_has_a_name_that_fits_a_line(tmp_path, name):
    with refused("CM-CONFIG", "cannot be a witness's name"):
        Witness.create(tmp_path / "w", name)
    assert not (tmp_path / "w").exists()


def test_a_witness_whose_keys_or_memory_are_damaged_cosigns_nothing(tmp_path, log):
    with refused("CM-CONFIG", "holds no witness"):
        Witness.open(tmp_path / "w")
    witness = Witness.create(tmp_path / "w", "w.example/1")
    before = (tmp_path / "w/keys.json").read_bytes()
    with refused("CM-CONFIG", "holds a witness already"):
        Witness.create(tmp_path / "w", "w.example/2")
    assert witness.trust(log.signer.vkeys) == "casemate/test"
    assert witness.trust(log.signer.vkeys) == "casemate/test"
    other = CheckpointSigner(
        "casemate/test", ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA44PrivateKey.generate()
    )
    with refused("CM-CONFIG", "knows other keys of casemate/test"):
        witness.trust(other.vkeys)
    assert witness.latest("casemate/test") == Head("casemate/test", 0, EMPTY_ROOT)
    for state in (b"{", b"[]", b'{"origin":"x","size":1,"root":"' + b"A" * 43 + b'="}'):
        witness._file("state", "casemate/test").write_bytes(state)
        with refused("CM-BACKEND", "memory of casemate/test is damaged"):
            witness.latest("casemate/test")
    for damaged in (b"{", before.replace(b'"ed25519":"', b'"ed25519":"AAAA')):
        (tmp_path / "w/keys.json").write_bytes(damaged)
        with refused("CM-BACKEND", "are damaged"):
            Witness.open(tmp_path / "w")


class Answering:
    """A witness that answers what a test wants: (status, body) of each request in turn."""

    def __init__(self, *answers):
        owner, self.asked, self.answers = self, [], list(answers)

        class Serve(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                owner.asked.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, body = owner.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Serve)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


COSIGNER = Cosigner(
    "w.example/1", ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA44PrivateKey.generate()
)


def asked(log, *answers, cosigner=COSIGNER):
    with Answering(*answers) as server:
        peer = WitnessPeer(cosigner.name, server.url, list(COSIGNER.keys))
        done = collect(log.folder, log.signer.vkeys, [peer], 5.0)
        return done[cosigner.name], server.asked


def cosignature(log, cosigner=COSIGNER):
    parsed = parse_note((log.folder / "checkpoint").read_bytes())
    return cosigner.cosign(parse_head(parsed), parsed.text).encode()


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ([(409, b"9")], "CM-HISTORY", "knows 9 entries of this log and another history"),
        ([(409, b"0")], "CM-HISTORY", "knows 0 entries of this log and another history"),
        ([(422, b"")], "CM-HISTORY", "knows another history"),
        ([(409, b"1"), (422, b"")], "CM-HISTORY", "knows another history"),
        ([(404, b"who?")], "CM-RETRY", "answered 404: who?"),
        ([(409, b"what?")], "CM-RETRY", "answered 409: what?"),
        ([(200, b"nonsense\n")], "CM-RETRY", "answered something malformed"),
        ([(200, b"")], "CM-RETRY", "answered something malformed"),
    ],
)
def test_a_witness_that_does_not_cosign_is_told_apart_from_one_that_knows_a_fork(
    log, answers, code, said
):
    grow(log, 3)
    fault, _ = asked(log, *answers)
    assert fault.code == code
    assert said in fault.message
    assert not (log.folder / WITNESSED).exists()


def test_a_cosignature_with_other_keys_is_none(log):
    grow(log, 3)
    stranger = Cosigner(
        COSIGNER.name, ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA44PrivateKey.generate()
    )
    fault, _ = asked(log, (200, cosignature(log, stranger)))
    assert (fault.code, "other keys" in fault.message) == ("CM-RETRY", True)
    half = cosignature(log).splitlines(keepends=True)[0]
    fault, _ = asked(log, (200, half))
    assert (fault.code, "other keys" in fault.message) == ("CM-RETRY", True)
    assert not (log.folder / WITNESSED).exists()


def test_a_witness_is_told_from_where_on_it_knows_the_log_and_only_its_lines_are_kept(log):
    grow(log, 3)
    stranger = Cosigner(
        "else", ed25519.Ed25519PrivateKey.generate(), mldsa.MLDSA44PrivateKey.generate()
    )
    fault, posted = asked(log, (409, b"2\n"), (200, cosignature(log) + cosignature(log, stranger)))
    assert fault is None
    assert [body.split(b"\n")[0] for body in posted] == [b"old 0", b"old 2"]
    kept = (log.folder / WITNESSED).read_text()
    assert COSIGNER.name in kept
    assert "else" not in kept
    grow(log, 1)
    _, posted = asked(log, (200, cosignature(log)))
    assert posted[0].startswith(b"old 3\n"), "what it cosigned is remembered"
    (log.folder / WITNESSED).write_bytes(b"damaged")
    _, posted = asked(log, (200, cosignature(log)))
    assert posted[0].startswith(b"old 0\n")
    assert verify_checkpoint((log.folder / WITNESSED).read_bytes(), log.signer.vkeys).size == 4


# What this machine remembers


def test_a_memory_that_is_damaged_is_told_and_another_history_stays_a_finding(tmp_path, log):
    grow(log, 2)
    heads = Heads(tmp_path / "keys", tmp_path, SystemClock())
    content = (log.folder / "checkpoint").read_bytes()
    assert heads.newest(log.signer.vkeys) is None
    heads.require_explained()
    heads.remember(content)
    grow(log, 2)
    heads.remember((log.folder / "checkpoint").read_bytes(), kept=True)
    heads.remember(content)
    assert heads.newest(log.signer.vkeys).size == 4, "an older head that comes late changes nothing"
    for _ in range(2):
        heads.met("the copy at x differs", content)
    with refused("CM-HISTORY", "another history of this log was met: the copy at x differs"):
        heads.require_explained()
    (fork,) = heads.explained(content)
    assert fork.message == "the copy at x differs"
    heads.require_explained()
    for damaged in (b"{", b'{"version":"x"}'):
        heads.file.write_bytes(damaged)
        for ask in (heads.read, heads.require_explained, lambda: heads.remember(content)):
            with refused("CM-VERIFY", "is damaged"):
                ask()
        assert heads.file.read_bytes() == damaged


# Bodies, uses of keys, signatures


def test_a_body_that_was_changed_moved_or_lost_its_key_is_not_read(log):
    with log.store.transaction() as tx:
        (sealed,) = log.bodies.seal(tx, [(7, bytes(16), b"body")])
        assert log.bodies.open(tx, 7, sealed) == (bytes(16), b"body")
        for index, changed, kind in (
            (8, sealed, b""),
            (7, sealed, b"predictions"),
            (7, sealed[:-1] + bytes([sealed[-1] ^ 1]), b""),
            (7, b"\x09" + sealed[1:], b""),
            (7, b"", b""),
            (7, sealed[:10], b""),
        ):
            with refused("CM-VERIFY", f"the body of audit entry {index} was changed"):
                log.bodies.open(tx, index, changed, kind)
        lost = sealed[:1] + struct.pack(">I", 99) + sealed[5:]
        with refused("CM-VERIFY", "the audit log's data key 99 is gone"):
            log.bodies.open(tx, 7, lost)


def test_bodies_are_sealed_anew_and_the_old_key_is_gone(log):
    grow(log, 3)
    before = list(log.entries())
    with log.store.reading() as tx:
        ((old, _),) = log.bodies.wrapped(tx)
    beside = []
    assert log.seal_anew(lambda: beside.append("done")) == 3
    with log.store.reading() as tx:
        ((new, _),) = log.bodies.wrapped(tx)
    assert (new, beside) == (old + 1, ["done"])
    assert list(log.entries()) == before
    assert log.check().checkpoint.size == 3
    with log.store.transaction() as tx:
        log.bodies.replace(tx, new, b"garbage" * 20)
    log.bodies._opened.clear()
    with refused("CM-VERIFY"):
        list(log.entries())


def test_every_use_of_a_key_is_recorded_and_a_refused_one_too(log, log_keys):
    keys = AuditedKeys(log_keys.provider, log, lambda: 'User::"ana"')
    wrapped = keys.wrap("objects", bytes(32), "Object::x")
    assert keys.unwrap("objects", wrapped, "Object::x") == bytes(32)
    assert keys.rewrap("objects", [wrapped, wrapped])
    for work, code in (
        (lambda: keys.wrap("nonsense", bytes(32)), "CM-BACKEND"),
        (lambda: keys.unwrap("objects", b"x"), "CM-VERIFY"),
    ):
        with refused(code):
            work()
    found = [(entry.action, entry.outcome, entry.principal) for entry in log.entries()]
    assert [outcome for _, outcome, _ in found] == ["done", "done", "done", "denied", "failed"]
    assert {who for _, _, who in found} == {'User::"ana"'}


def test_a_signature_is_dated_by_its_first_record_in_a_log_that_holds(log):
    signatures = SignatureLog(log, lambda: 'User::"ana"')
    assert signatures.prove("d1") is None
    for digest in ("d1", "d2", "d1"):
        signatures.record(digest)
    log.publish()
    first = next(log.entries())
    assert signatures.signed_at("d1") == datetime.datetime.fromisoformat(first.time)
    assert signatures.signed_at("d3") is None
    entry = verify_proof(signatures.prove("d1"), log.signer.vkeys).entry
    assert (entry.index, signed_by(entry)) == (0, "d1")
    (log.folder / "checkpoint").write_bytes(b"changed")
    with refused("CM-VERIFY"):
        SignatureLog(log, lambda: "x").signed_at("d1")


# Predictions beside entries


WRITER = new_writer()


def predicted(number, part="live", rows=1, **more):
    return Prediction(
        id=request_id(WRITER, number),
        time=1_750_000_000.0 + number,
        principal='Service::"svc"',
        token="t",
        model="m@1",
        part=part,
        rows=rows,
        input="i",
        labels=b"\0\0",
        probabilities=b"",
        shown="all",
        guards={},
        micros=1,
        **more,
    )


def kept(log, *made, inputs=True):
    """Append these predictions as one group."""
    commit = Committer()
    group = [
        commit(int(one.id.split("-")[1], 16), msgspec.json.encode(one), b"rows" if inputs else None)
        for one in made
    ]
    with log.store.transaction() as tx:
        return predictions.append(log, tx, WRITER, group)


def columns(log, **values):
    """Write into the row of the first group, as somebody with the catalogue could."""
    with log.store.transaction() as tx:
        tx.execute(predictions.GROUPS.update().values(**values))


def test_a_prediction_is_found_by_its_request_and_not_what_a_shadow_said(log):
    assert Decisions(log).check() == 0
    kept(log, predicted(1, "shadow"), predicted(1), predicted(2))
    kept(log, predicted(3), inputs=False)
    decisions = Decisions(log)
    found, rows = decisions.find(request_id(WRITER, 1))
    assert (found.part, rows, found.moment.year) == ("live", b"rows", 2025)
    assert decisions.find(request_id(WRITER, 3))[1] is None
    assert [one.id for one in decisions.newest(2)] == [request_id(WRITER, n) for n in (3, 2)]
    assert len(list(decisions.newest(9))) == 4
    assert decisions.check() == 4
    assert [index for index, _ in decisions.contents()] == [0] * 6 + [1]
    for wrong in ("x", f"{WRITER}-", f"{WRITER}-zz", f"{WRITER}-1234567890123", f"x{WRITER}-1"):
        with refused("CM-CONFIG", "is no request id"):
            decisions.find(wrong)
    with refused("CM-CONFIG", "only calls to infer have one"):
        decisions.find(request_id(WRITER, 9))


def test_predictions_are_looked_through_in_batches_to_the_last(log, monkeypatch):
    monkeypatch.setattr(decisions_module, "_BATCH", 1)
    for number in range(3):
        kept(log, predicted(number))
    decisions = Decisions(log)
    assert list(decisions.newest(0)) == []
    assert [one.id for one in decisions.newest(9)] == [request_id(WRITER, n) for n in (2, 1, 0)]
    assert decisions.check() == 3
    before = list(decisions.contents())
    log.seal_anew(decisions.seal_anew)
    log.bodies._opened.clear()
    assert list(decisions.contents()) == before
    assert decisions.forget("2000-01-01", "2999-01-01") == 3
    assert [entry.action for entry in log.entries()].count(predictions.FORGOTTEN) == 1
    assert decisions.forget("2999-01-01", "2999-01-01") == 3
    decisions.seal_anew()
    assert list(decisions.contents()) == []
    assert decisions.check() == 3


def test_groups_are_read_on_from_an_entry_and_a_forgotten_one_is_empty(log, monkeypatch):
    monkeypatch.setattr(decisions_module, "_FEW", 1)
    for number in range(3):
        kept(log, predicted(number))
    decisions = Decisions(log)
    found = list(decisions.groups(-1))
    assert [one.index for one in found] == [0, 1, 2]
    bodies = [msgspec.json.decode(one.bodies[0], type=Prediction).id for one in found]
    assert bodies == [request_id(WRITER, number) for number in range(3)]
    assert [one.index for one in decisions.groups(0)] == [1, 2]
    assert [one.index for one in decisions.groups(-1, until=1)] == [0, 1]
    decisions.forget("2999-01-01", "2999-01-01")
    assert [one.bodies for one in decisions.groups(-1, until=2)] == [[]] * 3


def test_predictions_of_a_stretch_of_time_come_with_their_rows_where_these_are_kept(
    log, monkeypatch
):
    monkeypatch.setattr(decisions_module, "_FEW", 1)
    kept(log, predicted(0), predicted(1))
    kept(log, predicted(2), inputs=False)
    decisions = Decisions(log)
    found = list(decisions.between("2000-01-01", "2999-01-01"))
    assert [rows for _, rows in found] == [b"rows", b"rows", None]
    assert msgspec.json.decode(found[1][0], type=Prediction).id == request_id(WRITER, 1)
    assert list(decisions.between("2000-01-01", "2000-01-02")) == []
    assert list(decisions.between("2999-01-01", "2999-01-02")) == []


def test_a_rewritten_group_is_refused_by_whoever_reads_on(log):
    kept(log, predicted(1))
    columns(log, commitments=bytes(32))
    for read in (Decisions(log).groups(-1), Decisions(log).between("2000-01-01", "2999-01-01")):
        with refused("CM-VERIFY", "were changed after"):
            list(read)


@pytest.mark.parametrize(
    ("change", "find", "check"),
    [
        ({"commitments": bytes(32)}, "were changed after", "were changed after"),
        ({"writer": "0" * 12}, None, "does not commit"),
        ({"first": 0}, "does not commit", "does not commit"),
    ],
)
def test_predictions_that_somebody_rewrote_are_refused(log, change, find, check):
    kept(log, predicted(1))
    decisions = Decisions(log)
    columns(log, **change)
    with refused("CM-VERIFY" if find else "CM-CONFIG", find or "no prediction"):
        decisions.find(request_id(WRITER, 1))
    with refused("CM-VERIFY", check):
        decisions.check()


def test_predictions_beside_an_entry_of_another_kind_are_refused(log):
    grow(log, 1)
    kept(log, predicted(1))
    with log.store.transaction() as tx:
        row = dict(tx.execute(predictions.GROUPS.select()).mappings().one())
        _, content = log.bodies.open(tx, 1, row["sealed"], predictions.PREDICTIONS)
        (sealed,) = log.bodies.seal(tx, [(0, bytes(16), content)], predictions.PREDICTIONS)
        tx.execute(predictions.GROUPS.update().values(index=0, sealed=sealed, inputs=None))
    with refused("CM-VERIFY", "log entry 0 does not commit to the predictions beside it"):
        Decisions(log).find(request_id(WRITER, 1))
    with refused("CM-VERIFY", "the predictions of log entry 1 are gone"):
        Decisions(log).check()


def test_predictions_that_are_gone_were_forgotten_in_the_log_or_removed_by_somebody(log):
    kept(log, predicted(1))
    decisions = Decisions(log)
    columns(log, sealed=None, inputs=None)
    with refused("CM-VERIFY", "nobody has forgotten any so young"):
        decisions.check()


def test_forgetting_is_recorded_before_anything_is_gone_and_commitments_stay(log):
    kept(log, predicted(1), predicted(2))
    decisions = Decisions(log)
    assert decisions.forget("2000-01-01", "2000-01-01") == 0
    assert [entry.action for entry in log.entries()] == [predictions.ACTION]
    assert decisions.forget("2000-01-01", "2999-01-01") == 1
    assert decisions.find(request_id(WRITER, 1))[1] is None
    assert decisions.forget("2999-01-01", "2999-01-01") == 1
    with refused("CM-CONFIG", "is kept any more"):
        decisions.find(request_id(WRITER, 1))
    assert decisions.check() == 2
    assert list(decisions.newest(5)) == list(decisions.contents()) == []
    assert [entry.action for entry in log.entries()][1:] == [predictions.FORGOTTEN] * 2


def test_what_is_kept_beside_entries_is_sealed_anew_with_them(log):
    kept(log, predicted(1))
    kept(log, predicted(2), inputs=False)
    decisions = Decisions(log)
    before = list(decisions.contents())
    assert log.seal_anew(decisions.seal_anew) == 2
    log.bodies._opened.clear()
    assert list(decisions.contents()) == before


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (["a\n", "b"], "printable texts or numbers"),
        (["x" * MOST_OUTCOME, "b"], "printable texts or numbers"),
        (["a"], "the request had 2 rows, 1 outcomes are given"),
        (["a", "b", "c"], "the request had 2 rows, 3 outcomes are given"),
    ],
)
def test_an_outcome_that_does_not_fit_its_request_is_refused(log, outcome, said):
    kept(log, predicted(1, rows=2))
    decisions, identifier = Decisions(log), request_id(WRITER, 1)
    with refused("CM-CONFIG", said):
        Feedback(decisions).tell(
            "p", Said(identifier, "outcome", outcome), decisions.find(identifier)[0]
        )
    assert decisions.outcome(identifier) is None
    assert log.size() == 1


def test_what_is_told_again_is_one_and_what_contradicts_is_kept_and_overwrites_nothing(log):
    kept(log, predicted(1, rows=2))
    decisions, identifier = Decisions(log), request_id(WRITER, 1)
    feedback, prediction = Feedback(decisions), decisions.find(identifier)[0]

    def tell(who, value, note="", kind="outcome"):
        return feedback.tell(who, Said(identifier, kind, value, note), prediction)

    assert tell("p", ["1", 2.5]).new == 1
    assert (tell("p", [1, "2.5"]).same, tell("q", ["1", 2.5]).contradictions) == (1, [])
    assert tell("p", ["b", 1.0], kind="correction").contradictions == [identifier]
    assert tell("q", None, "she never came", "complaint").contradictions == []
    assert decisions.outcome(identifier) == ["1", 2.5]
    entries = list(log.entries(1))
    assert [(one.action, one.outcome) for one in entries] == [
        ("model:feedback", "done"),
        ("feedback:added", "done"),
        ("feedback:added", "contradicted"),
        ("feedback:added", "done"),
    ]
    assert "never" not in str(entries)
    told = list(feedback.all())
    assert [(one.principal, one.value, one.contradicts) for one in told] == [
        ("p", ["1", 2.5], False),
        ("q", ["1", 2.5], False),
        ("p", ["b", 1.0], True),
        ("q", None, False),
    ]
    feedback.seal_anew()
    assert list(feedback.all(identifier)) == told
    assert feedback.forget("2999-01-01") == 4
    assert [(one.value, one.note) for one in feedback.all()] == [(None, "")] * 4
    assert tell("p", ["1", 2.5]).contradictions == [], "what is forgotten contradicts nothing"
    assert tell("q", ["1", 2.5], kind="correction").contradictions == []
    assert tell("q", ["2", 2.5]).contradictions == [identifier]
    assert decisions.outcome(identifier) == ["1", 2.5], "the first one, as the log has it"


def test_an_outcome_with_another_note_is_the_same_and_nobody_tells_without_end(log):
    kept(log, predicted(1))
    decisions, identifier = Decisions(log), request_id(WRITER, 1)
    feedback, prediction = Feedback(decisions), decisions.find(identifier)[0]

    def tell(who, value, note="", kind="outcome"):
        return feedback.tell(who, Said(identifier, kind, value, note), prediction)

    assert tell("p", ["1"], "as the ward said").new == 1
    assert tell("p", ["1"], "as the ward said again").same == 1
    for number in range(MOST_TELLINGS - 1):
        assert tell("p", None, f"complaint {number}", "complaint").new == 1
    with refused("CM-CONFIG", f"{identifier}: {MOST_TELLINGS} things were told of it by p"):
        tell("p", ["2"])
    assert (tell("p", ["1"], "and again").same, tell("q", ["1"]).new) == (1, 1)
    assert len(list(feedback.all())) == MOST_TELLINGS + 1


def test_an_outcome_from_before_feedback_had_a_table_is_read_and_contradicted(log):
    kept(log, predicted(1))
    decisions, identifier = Decisions(log), request_id(WRITER, 1)
    with log.store.transaction() as tx:
        detail = {"request": identifier, "outcome": ["a"]}
        index = log.append(tx, "p", "model:feedback", "m", "done", detail)
        tx.execute(predictions.OUTCOMES.insert().values(request=identifier, index=index))
    feedback, prediction = Feedback(decisions), decisions.find(identifier)[0]
    assert [one.value for one in feedback.all()] == [["a"]]
    assert feedback.tell("p", Said(identifier, "outcome", ["a"]), prediction).same == 1
    assert feedback.tell("p", Said(identifier, "outcome", ["b"]), prediction).contradictions
    assert decisions.outcome(identifier) == ["a"]
    kept(log, predicted(2))
    with log.store.transaction() as tx:
        second = request_id(WRITER, 2)
        index = log.append(tx, "p", "model:feedback", "m", "done", detail | {"request": second})
        tx.execute(predictions.OUTCOMES.insert().values(request=second, index=index))
    prediction = decisions.find(second)[0]
    assert feedback.tell("q", Said(second, "correction", ["a"]), prediction).new == 1
    assert feedback.tell("p", Said(second, "outcome", ["a"]), prediction).same == 1
    assert feedback.tell("q", Said(second, "outcome", ["b"]), prediction).contradictions


def test_many_requests_are_found_at_once_and_unknown_ones_are_passed_over(log):
    for number in range(1, 30):
        kept(log, predicted(number))
    wanted = [request_id(WRITER, number) for number in (3, 17, 29, 40)]
    found = Decisions(log).chosen([*wanted, "nonsense", request_id("f" * 12, 1)])
    assert [(one.id, rows) for one, rows in found] == [(one, b"rows") for one in wanted[:3]]


def test_a_catalogue_that_lost_an_entry_publishes_nothing(tmp_path, log_keys):
    log = make_log(tmp_path, log_keys)
    grow(log, 1)
    kept_files = {path: path.read_bytes() for path in log.folder.rglob("*") if path.is_file()}
    from casemate.controls.audit.log import ENTRIES

    with log.store.transaction() as tx:
        log.append(tx, "p", "act:1", "r", "done", {})
    with log.store.transaction() as tx:
        tx.execute(ENTRIES.delete().where(ENTRIES.c.index == 1))
    with refused("CM-VERIFY", "audit entries are missing from the catalogue"):
        log.publish()
    assert {path: path.read_bytes() for path in kept_files} == kept_files
