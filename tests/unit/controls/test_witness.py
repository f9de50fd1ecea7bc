"""Witnesses and copies: rollback and fork are refused, also after a kill; cosignatures are
collected and required.
"""

import base64
import multiprocessing
import shutil
import signal
import subprocess
import urllib.request

import pytest
from tests.conftest import command, serving, wait_for
from tests.contract.conftest import aws, seaweedfs  # noqa: F401 - fixtures
from tests.contract.key_servers import s3_client
from tests.unit.conftest import grow, make_log

import casemate
from casemate.config import AuditTable
from casemate.controls.audit import tiles
from casemate.controls.audit.checkpoint import verify_checkpoint
from casemate.controls.audit.copies import FileCopies, GitCopies, open_copies
from casemate.controls.audit.cosign import WitnessPeer, collect
from casemate.controls.audit.heads import Heads
from casemate.controls.audit.merkle import consistency_proof
from casemate.controls.audit.note import parse_keys
from casemate.controls.audit.publication import Publication
from casemate.controls.audit.verify import WITNESSED
from casemate.controls.audit.witness import Witness
from casemate.core.clock import SystemClock
from casemate.core.errors import (
    BackendError,
    ConfigError,
    HistoryError,
    TransientError,
    VerificationError,
)
from casemate.core.home import keystore_folder


def request(log, old, *, checkpoint=None, proof=None):
    content = checkpoint or (log.folder / "checkpoint").read_bytes()
    size = int(content.split(b"\n")[1])
    if proof is None:
        proof = (
            consistency_proof(old, size, tiles.nodes_of(log.folder, size)) if old <= size else []
        )
    lines = "".join(base64.b64encode(item).decode() + "\n" for item in proof)
    return f"old {old}\n{lines}\n".encode() + content


@pytest.fixture
def witness(tmp_path, log):
    witness = Witness.create(tmp_path / "witness", "witness.example/w1")
    witness.trust(log.signer.vkeys)
    return witness


def test_a_witness_cosigns_what_extends_what_it_knows(witness, log):
    grow(log, 5)
    answer = witness.add_checkpoint(request(log, 0))
    assert answer.status == 200
    grow(log, 300)
    answer = witness.add_checkpoint(request(log, 5))
    assert answer.status == 200
    assert answer.body.count("\n") == 2
    assert witness.latest("casemate/test").size == 305
    assert witness.add_checkpoint(request(log, 305)).status == 200


def test_a_witness_answers_every_wrong_request_as_the_specification_says(
    witness, log, tmp_path, log_keys
):
    grow(log, 5)
    early = (log.folder / "checkpoint").read_bytes()
    assert witness.add_checkpoint(request(log, 0)).status == 200
    grow(log, 5)
    assert witness.add_checkpoint(request(log, 5)).status == 200
    conflict = witness.add_checkpoint(request(log, 0, checkpoint=early))
    assert (conflict.status, conflict.body, conflict.content_type) == (
        409,
        "10\n",
        "text/x.tlog.size",
    )
    # old > size
    assert witness.add_checkpoint(request(log, 10, checkpoint=early, proof=[])).status == 400
    grow(log, 5)
    assert witness.add_checkpoint(request(log, 10, proof=[bytes(32)])).status == 422
    assert witness.add_checkpoint(request(log, 10).replace(b"\n15\n", b"\n16\n")).status == 403
    assert (
        witness.add_checkpoint(
            request(log, 10).replace(b"casemate/test\n", b"casemate/nobody\n")
        ).status
        == 404
    )
    for wrong in (
        b"",
        b"old 1",
        b"old 01\n\n" + early,
        b"old -1\n\n" + early,
        b"old 0\n" + b"A\n" * 70 + b"\n" + early,
        b"x" * 200_000,
        b"old 0\n\xff\n\n" + early,
    ):
        assert witness.add_checkpoint(wrong).status == 400
    (tmp_path / "fork").mkdir()
    fork = make_log(tmp_path / "fork", log_keys)
    grow(fork, 10)
    assert witness.add_checkpoint(request(fork, 10)).status == 409  # another root at the same size
    grow(fork, 10)
    assert witness.add_checkpoint(request(fork, 10)).status == 422
    assert witness.latest("casemate/test").size == 10


def test_a_witness_with_damaged_memory_cosigns_nothing(witness, log):
    from casemate.core.errors import BackendError

    grow(log, 1)
    witness.add_checkpoint(request(log, 0))
    next((witness.folder / "state").iterdir()).write_bytes(b"{}")
    with pytest.raises(BackendError, match="memory"):
        witness.add_checkpoint(request(log, 0))


def _submit(folder, requests, answers):
    witness = Witness.open(folder)
    for content in requests:
        answers.put(witness.add_checkpoint(content).status)


def test_of_two_forks_submitted_at_once_a_witness_cosigns_one(witness, log, tmp_path, log_keys):
    (tmp_path / "fork").mkdir()
    fork = make_log(tmp_path / "fork", log_keys)
    grow(log, 3)
    grow(fork, 3)
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        shutil.rmtree(witness.folder / "state")
        answers = context.Queue()
        workers = [
            context.Process(target=_submit, args=(witness.folder, [request(one, 0)], answers))
            for one in (log, fork)
        ]
        for worker in workers:
            worker.start()
        assert sorted(answers.get(timeout=20) for _ in workers) == [200, 409]
        for worker in workers:
            worker.join(20)


class witnessing:
    """`casemate audit witness serve` as a process."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        words = command("audit", "witness", "serve", self.folder, "--port", 0)
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        assert "http://" in line, self.process.stderr.read()
        return line.split()[-1]

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()


def test_a_project_collects_cosignatures_and_requires_its_quorum(tmp_path, clinic, cli):
    folder = tmp_path / "w"
    assert cli("audit", "witness", "init", folder, "--name", "witness.example/w1").code == 0
    public = next((clinic / ".casemate" / "public").glob("log.vkey"))
    assert cli("audit", "witness", "trust", folder, public).code == 0
    vkeys = (folder / "witness.vkey").read_text().split()
    # a quorum without witnesses is no configuration
    assert cli("audit", "verify", "--config", clinic, "-s", "audit.quorum=1").code == 2
    with witnessing(folder) as url:
        toml = (clinic / "casemate.toml").read_text()
        (clinic / "casemate.toml").write_text(
            toml
            + f'\n[audit]\nquorum = 1\n[audit.witnesses.w1]\nurl = "{url}"\nkeys = {vkeys}\n'.replace(
                "'", '"'
            )
        )
        done = cli("audit", "cosign", "--config", clinic)
        assert (done.code, done.out) == (0, "w1: cosigned\n")
        verified = cli("audit", "verify", "--config", clinic)
        assert verified.code == 0
        assert "entries cosigned by w1" in verified.out
        result = casemate.open(clinic).run(start="release")
        assert result.undelivered == []
        with urllib.request.urlopen(f"{url}/witness.vkey") as answer:
            assert answer.read().decode().split() == vkeys
    offline = cli(
        "verify", clinic / ".casemate" / "audit", "--key", public, "--key", folder / "witness.vkey"
    )
    assert offline.code == 0, offline.err
    assert "cosigned by witness.example/w1" in offline.out
    assert "the witness w1 could not be asked" in cli("audit", "verify", "--config", clinic).out
    late = cli("audit", "verify", "--config", clinic, "-s", "audit.max_age_hours=0.0000001")
    assert late.code == 4
    assert "hours ago" in late.err
    (clinic / ".casemate" / "audit" / WITNESSED).unlink()
    assert cli("audit", "verify", "--config", clinic).code == 4
    away = casemate.open(clinic).run(start="release")
    assert len(away.undelivered) == 1
    assert "was not reached" in away.undelivered[0]
    assert "[audit] witnesses" not in cli("doctor", "--config", clinic).out


def test_a_witness_that_knows_another_history_is_an_alarm(witness, log, tmp_path, log_keys):
    (tmp_path / "fork").mkdir()
    fork = make_log(tmp_path / "fork", log_keys)
    grow(fork, 9)
    grow(log, 5)
    assert witness.add_checkpoint(request(fork, 0)).status == 200
    with witnessing(witness.folder) as url:
        peer = WitnessPeer("w1", url, parse_keys(witness.vkeys))
        (fault,) = collect(log.folder, log.signer.vkeys, [peer], 5.0).values()
        assert isinstance(fault, VerificationError)
        assert "another history" in fault.message
        assert not (log.folder / WITNESSED).exists()
        grow(log, 20)
        (fault,) = collect(log.folder, log.signer.vkeys, [peer], 5.0).values()
        assert isinstance(fault, VerificationError)
    (fault,) = collect(log.folder, log.signer.vkeys, [peer], 1.0).values()
    assert isinstance(fault, TransientError)


@pytest.mark.parametrize("kind", ["file", "git"])
def test_copies_keep_every_checkpoint_once_and_show_a_fork(kind, log, tmp_path, log_keys):
    place = tmp_path / "place"
    if kind == "git":
        subprocess.run(["git", "init", "--quiet", str(place)], check=True)
    copies = open_copies(f"{kind}:{place}", 1)
    assert isinstance(copies, GitCopies if kind == "git" else FileCopies)
    assert copies.newest(log.signer.vkeys) is None
    grow(log, 3)
    checkpoint = (log.folder / "checkpoint").read_bytes()
    copies.put(checkpoint)
    copies.put(checkpoint)
    grow(log, 3)
    copies.put((log.folder / "checkpoint").read_bytes())
    assert [int(name) for name in copies.names()] == [3, 6]
    assert copies.newest(log.signer.vkeys).size == 6
    (tmp_path / "fork").mkdir()
    fork = make_log(tmp_path / "fork", log_keys)
    grow(fork, 3)
    with pytest.raises(VerificationError, match="a fork"):
        copies.put((fork.folder / "checkpoint").read_bytes())


@pytest.mark.parametrize(
    "server",
    ["aws", pytest.param("seaweedfs", marks=pytest.mark.slow)],  # a server of its own
)
def test_copies_in_s3_are_locked_against_deletion(log, request, server, monkeypatch):
    s3_server = request.getfixturevalue(server)
    from botocore.exceptions import ClientError

    access, secret = getattr(s3_server, "KEYS", ("AK", "SK"))
    environment = {
        "AWS_ACCESS_KEY_ID": access,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in (environment | {"AWS_ENDPOINT_URL": s3_server.endpoint}).items():
        monkeypatch.setenv(name, value)
    client = s3_client(s3_server)
    client.create_bucket(Bucket="audit", ObjectLockEnabledForBucket=True)
    copies = open_copies("s3:audit/log", 7)
    grow(log, 3)
    copies.put((log.folder / "checkpoint").read_bytes())
    assert copies.newest(log.signer.vkeys).size == 3
    (version,) = client.list_object_versions(Bucket="audit")["Versions"]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket="audit", Key=version["Key"], VersionId=version["VersionId"])
    with pytest.raises(TransientError):
        open_copies("s3:audit/log", 7).write(f"{3:020d}", b"another")
    kept = (log.folder / "checkpoint").read_bytes()
    client.put_object(Bucket="audit", Key=version["Key"], Body=b"laid over it")
    assert copies.read(f"{3:020d}") == kept, "the first version of a name is the copy"
    client.delete_object(Bucket="audit", Key=version["Key"])
    assert [int(name) for name in copies.names()] == [3], "a deletion lays a marker over it"
    assert copies.newest(log.signer.vkeys).size == 3
    copies.put(kept)
    with pytest.raises(TransientError, match="there first"):
        copies.write(f"{3:020d}", b"where no condition is minded, or after a deletion")
    with pytest.raises(TransientError, match="no copy"):
        copies.read(f"{4:020d}")
    client.create_bucket(Bucket="unlocked")
    with pytest.raises(BackendError, match="InvalidRequest") as caught:
        open_copies("s3:unlocked", 7).put(kept)
    assert caught.value.code == "CM-BACKEND", "trying again changes nothing"
    with pytest.raises(BackendError, match="NoSuchBucket"):
        open_copies("s3:nowhere", 7).names()


@pytest.fixture
def on_moto(request, monkeypatch):
    """moto, to which this machine's AWS settings lead."""
    server = request.getfixturevalue("aws")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    return server


def test_copies_on_a_server_that_heeds_no_lock_are_refused(log, on_moto):
    s3_client(on_moto).create_bucket(Bucket="heedless")
    copies = open_copies("s3:heedless", 7)

    def forget(request, **_):
        for name in ("x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date"):
            request.headers.pop(name, None)

    copies._s3.meta.events.register("before-send.s3.PutObject", forget)
    grow(log, 3)
    with pytest.raises(BackendError, match="nothing is locked"):
        copies.put((log.folder / "checkpoint").read_bytes())


def test_more_copies_than_a_server_lists_at_once_are_all_there(on_moto):
    client = s3_client(on_moto)
    client.create_bucket(Bucket="many", ObjectLockEnabledForBucket=True)
    copies = open_copies("s3:many", 7)
    for size in (1, 2, 3):
        copies.write(f"{size:020d}", b"first")
        client.put_object(Bucket="many", Key=f"{size:020d}", Body=b"later")
    copies._s3.meta.events.register(
        "provide-client-params.s3.ListObjectVersions",
        lambda params, **_: {**params, "MaxKeys": 2},
    )
    assert [int(name) for name in copies.names()] == [1, 2, 3]
    assert {copies.read(name) for name in copies.names()} == {b"first"}


@pytest.mark.parametrize("where", ["", "file:", "ftp:x", "s3:"])
def test_a_place_that_is_none_is_a_configuration_error(where):
    with pytest.raises(ConfigError, match="no place for checkpoints"):
        open_copies(where, 1)


def test_a_log_that_was_rolled_back_is_shown_by_its_copies(clinic, tmp_path, cli):
    toml = (clinic / "casemate.toml").read_text()
    (clinic / "casemate.toml").write_text(
        toml + f'\n[audit]\ncopies = ["file:{tmp_path / "kept"}"]\n'
    )
    backup = tmp_path / "before"
    casemate.open(clinic).database.close()
    shutil.copytree(clinic, backup)
    assert cli("audit", "show", "--config", clinic).code == 0
    casemate.open(clinic).point.require("run:read")
    assert cli("audit", "copy", "--config", clinic).code == 0
    assert cli("audit", "verify", "--config", clinic).code == 0
    rolled_back = cli("audit", "verify", "--config", backup)
    assert rolled_back.code == 4
    assert "rolled back or cut" in rolled_back.err
    kept = next((tmp_path / "kept").iterdir())
    assert cli("verify", backup / ".casemate" / "audit", "--checkpoint", kept).code == 4
    assert verify_checkpoint(kept.read_bytes(), casemate.open(clinic).log.signer.vkeys).size > 0


class past:
    """An operator who puts the state of an earlier time back."""

    def __init__(self, root, aside):
        self.state, self.aside = root / ".casemate", aside
        self.save("old")

    def save(self, name):
        shutil.copytree(self.state, self.aside / name)

    def back(self, name):
        shutil.rmtree(self.state)
        shutil.copytree(self.aside / name, self.state)

    def forget(self):
        """What the machine remembers outside of the project is gone too."""
        shutil.rmtree(
            keystore_folder(casemate.open(self.state.parent).config.project.id) / "heads",
            ignore_errors=True,
        )


def act(root, times=1):
    project = casemate.open(root)
    for _ in range(times):
        project.log.record("tester", "test:acted", "r", "done")
    project.database.close()


@pytest.fixture
def kept(own, tmp_path):
    """The finished project with a key store of its own, and a place for copies."""
    text = (own / "casemate.toml").read_text()
    (own / "casemate.toml").write_text(text + f'\n[audit]\ncopies = ["file:{tmp_path / "kept"}"]\n')
    return own


def test_every_copy_counts_so_one_more_copy_heals_no_rollback(kept, tmp_path, cli):
    act(kept)
    operator = past(kept, tmp_path)
    act(kept, 3)
    assert cli("audit", "copy", "--config", kept).code == 0
    operator.back("old")
    act(kept, 5)  # longer than what the copy says
    operator.forget()
    for _ in range(2):
        assert cli("audit", "copy", "--config", kept).code == 4
        operator.forget()
        found = cli("audit", "verify", "--config", kept)
        assert (found.code, "the copy" in found.err) == (4, True)
        assert cli("fsck", "--config", kept).code == 4
        act(kept)
        operator.forget()
    # both histories are kept as proof
    assert len([path for path in (tmp_path / "kept").iterdir() if "-" in path.name]) == 2


def test_a_state_that_was_put_back_is_found_by_what_the_machine_remembers(kept, tmp_path, cli):
    (kept / "casemate.toml").write_text(
        (kept / "casemate.toml").read_text().partition("[audit]")[0]
    )
    operator = past(kept, tmp_path)
    act(kept, 3)
    assert cli("audit", "verify", "--config", kept).code == 0
    operator.save("new")
    operator.back("old")
    for _ in range(2):
        found = cli("audit", "verify", "--config", kept)
        assert (found.code, "no former state" in found.err) == (4, True)
    assert cli("fsck", "--config", kept).code == 4
    operator.back("new")  # as if nothing had been
    found = cli("audit", "verify", "--config", kept)
    assert (found.code, "another history of this log was met" in found.err) == (4, True)
    assert cli("audit", "resolve", "--reason", " ", "--config", kept).code == 2
    assert (
        cli(
            "audit", "resolve", "--reason", "a disk was replaced by its copy", "--config", kept
        ).code
        == 0
    )
    assert cli("audit", "verify", "--config", kept).code == 0
    assert cli("audit", "resolve", "--reason", "again", "--config", kept).code == 2
    entry = next(
        entry for entry in casemate.open(kept).log.entries() if entry.action == "audit:resolved"
    )
    assert entry.detail["reason"] == "a disk was replaced by its copy"


def test_witnesses_are_asked_for_their_newest_head_when_the_log_is_verified(kept, tmp_path, cli):
    folder = tmp_path / "w"
    known = Witness.create(folder, "witness.example/w1")
    known.trust((kept / ".casemate" / "public" / "log.vkey").read_text())
    vkeys = known.vkeys.split()
    with witnessing(folder) as url:
        text = (kept / "casemate.toml").read_text().partition("[audit]")[0]
        audit = f'[audit]\nquorum = 1\n[audit.witnesses.w1]\nurl = "{url}"\nkeys = {vkeys}\n'
        (kept / "casemate.toml").write_text(text + audit.replace("'", '"'))
        assert cli("audit", "cosign", "--config", kept).code == 0
        operator = past(kept, tmp_path)
        act(kept, 3)
        assert cli("audit", "verify", "--config", kept).code == 0  # all of it was cosigned just now
        operator.save("new")
        operator.back("old")
        operator.forget()
        found = cli("audit", "verify", "--config", kept)
        assert (found.code, "the witness w1 knows" in found.err) == (4, True)
        act(kept, 9)
        operator.forget()
        found = cli("audit", "verify", "--config", kept)
        assert (found.code, "another history" in found.err) == (4, True)
        operator.back("new")
        found = cli("audit", "verify", "--config", kept)
        assert (found.code, "another history of this log was met" in found.err) == (4, True)


def test_a_place_that_is_away_does_not_keep_the_others_from_their_copies(kept, tmp_path, cli):
    text = (kept / "casemate.toml").read_text().replace("copies = [", 'copies = ["git:nowhere", ')
    (kept / "casemate.toml").write_text(text)
    assert cli("audit", "copy", "--config", kept).code == 5
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_checkpoints_are_copied_once_an_interval_by_whichever_process_comes_first(kept, tmp_path):
    one, other = casemate.open(kept), casemate.open(kept)
    assert one.publication.keep(60.0) is True
    act(kept)
    assert other.publication.keep(60.0) is False
    assert len(list((tmp_path / "kept").iterdir())) == 1
    assert other.publication.keep(0.0) is True
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_gateway_has_its_log_copied_while_it_serves(kept, tmp_path):
    text = (kept / "casemate.toml").read_text()
    (kept / "casemate.toml").write_text(
        text.replace("[audit]\n", "[audit]\nevery_minutes = 0.005\n")
    )
    with serving(kept):
        size = wait_for(lambda: sorted(path.name for path in (tmp_path / "kept").glob("*")))
        act(kept)
        wait_for(lambda: sorted(path.name for path in (tmp_path / "kept").glob("*")) > size)


def test_an_older_copy_of_another_history_counts_beside_a_newer_one_of_this(
    log, tmp_path, log_keys
):
    """As a place looks in which a rewritten log was copied by a casemate that compared nothing."""
    (tmp_path / "first").mkdir()
    first = make_log(tmp_path / "first", log_keys)
    grow(first, 3)
    grow(log, 9)
    for one in (first, log):
        open_copies(f"file:{tmp_path / 'place'}", 1).put((one.folder / "checkpoint").read_bytes())
    heads = Heads(tmp_path / "keys", tmp_path, SystemClock())
    publication = Publication(
        log, AuditTable(copies=[f"file:{tmp_path / 'place'}"]), tmp_path, 5.0, heads
    )
    with pytest.raises(HistoryError, match="the copy 00000000000000000003"):
        publication.check()
    assert len(heads.read().forks) == 1


def test_what_this_machine_has_seen_is_not_forgotten_for_an_older_head_that_comes_late(
    log, tmp_path
):
    heads, seen = Heads(tmp_path / "keys", tmp_path, SystemClock()), []
    for _ in range(2):
        grow(log, 1)
        seen.append((log.folder / "checkpoint").read_bytes())
    heads.remember(seen[1])
    heads.remember(seen[0])
    assert heads.read().newest == seen[1].decode()
