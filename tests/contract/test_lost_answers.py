"""The answer to a COMMIT gets lost on its way from a real PostgreSQL: what was done is done once,
and what was not is done later.
"""

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.conftest import wait_for

from casemate.config import LimitsTable
from casemate.controls.access.identity.registered import PRINCIPALS
from casemate.controls.access.usage import Usage
from casemate.controls.audit.bodies import Bodies
from casemate.controls.audit.checkpoint import CheckpointSigner
from casemate.controls.audit.commit import GroupCommit
from casemate.controls.audit.decisions import Decisions
from casemate.controls.audit.log import AuditLog
from casemate.controls.audit.predictions import GROUPS, new_writer
from casemate.controls.keys.store import KeyStore
from casemate.controls.keys.subjects import SubjectKeys
from casemate.core.clock import SystemClock
from casemate.core.errors import BackendError, TransientError
from casemate.core.store import Unsettled, open_store, postgres
from casemate.serve.quota import Quota

COMMIT = b"COMMIT\0"


class Between:
    """A place between clients and a server where connections end."""

    def __init__(self, server: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is short
        self.server = f"{server}/.s.PGSQL.5432"
        self.loses = ""
        """Of the next COMMIT: `asked`, it does not arrive; `answer`, its answer does not."""
        self.closed = self.stays_closed = False
        """Whether nobody gets through; and whether that begins with what is lost."""
        self.muted: socket.socket | None = None
        self.answered = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            if self.closed:
                return
            server.connect(self.server)
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            with contextlib.suppress(OSError):
                while content := client.recv(1 << 16):
                    if self.loses and COMMIT in content:
                        what, self.loses = self.loses, ""
                        self.closed = self.stays_closed
                        if what == "answer":
                            self.muted = client
                            server.sendall(content)
                            self.answered.wait(10)
                        server.shutdown(socket.SHUT_RDWR)
                        return
                    server.sendall(content)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := server.recv(1 << 16):
                if self.muted is client:
                    self.answered.set()
                    return
                client.sendall(content)

    def close(self) -> None:
        self.listener.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def between(empty_database):
    """(the place, the URL through it) of a database with an empty catalogue."""
    straight = sa.make_url(empty_database)
    made = open_store(empty_database, Path())
    made.upgrade()
    made.close()
    place = Between(str(straight.query["host"]))
    through = straight.update_query_dict({"host": str(place.folder)})
    yield place, through.render_as_string(hide_password=False)
    place.close()


@pytest.fixture
def store(between):
    """The catalogue, through that place."""
    found = open_store(between[1], Path())
    assert names(found) == []  # a new connection has a COMMIT of its own
    yield found
    found.close()


def add(store, name):
    with store.transaction() as tx:
        tx.execute(PRINCIPALS.insert().values(kind="User", name=name, roles=[], models=[]))


def names(store):
    with store.reading() as tx:
        return list(tx.execute(sa.select(PRINCIPALS.c.name)).scalars())


def test_a_commit_whose_answer_got_lost_is_known_to_be_done(between, store):
    between[0].loses = "answer"
    add(store, "ana")
    assert names(store) == ["ana"]
    add(store, "bea")
    assert names(store) == ["ana", "bea"]


def test_a_commit_that_did_not_arrive_is_known_not_to_be_done(between, store):
    between[0].loses = "asked"
    with pytest.raises(TransientError, match="could not be written"):
        add(store, "ana")
    assert names(store) == []


@pytest.mark.parametrize(("lost", "done"), [("answer", True), ("asked", False)])
def test_whether_a_commit_was_done_is_told_once_the_server_is_back(
    lost, done, between, store, monkeypatch
):
    monkeypatch.setattr(postgres, "SETTLE_SECONDS", 0.0)
    between[0].loses, between[0].stays_closed = lost, True
    with pytest.raises(Unsettled, match="could not be written, or was") as fault:
        add(store, "ana")
    with pytest.raises(BackendError):
        fault.value.was_done()
    between[0].closed = False
    assert fault.value.was_done() is done
    assert names(store) == ["ana"] * done


@pytest.mark.parametrize("lost", ["answer", "asked"])
def test_what_was_used_counts_once_however_its_writing_ended(lost, between, store, monkeypatch):
    monkeypatch.setattr(postgres, "SETTLE_SECONDS", 0.0)
    clock = SystemClock()
    quota = Quota(Usage(store), clock, LimitsTable(), lambda *_: None)
    for _ in range(3):
        quota.rate("token", 100)
    between[0].loses, between[0].stays_closed = lost, True
    with pytest.raises(Unsettled):
        asyncio.run(_flushed(quota))
    quota.rate("token", 100)
    with pytest.raises(BackendError):
        asyncio.run(_flushed(quota))
    between[0].closed = False
    asyncio.run(_flushed(quota))
    used = Usage(store).of("token", "", 60, 0).values()
    assert sum(one.requests for one in used) == 4


async def _flushed(quota):
    await quota.flush(asyncio.get_running_loop())


@pytest.mark.parametrize("lost", ["answer", "asked"])
def test_a_prediction_that_was_answered_before_its_record_is_recorded_once(
    lost, between, store, tmp_path, monkeypatch
):
    monkeypatch.setattr(postgres, "SETTLE_SECONDS", 0.0)
    keystore = KeyStore.create(tmp_path / "keys", "test")
    signer = CheckpointSigner("casemate/test", *keystore.log_keys)
    bodies = Bodies(keystore.provider)
    people = SubjectKeys(keystore.provider, SystemClock())
    log = AuditLog(tmp_path / "audit", store, signer, SystemClock(), bodies, people)
    with store.transaction() as tx:
        log.create(tx)
    group = GroupCommit(log, new_writer(), lazy=True)
    between[0].loses, between[0].stays_closed = lost, True
    group.predicted(1, b"{}", None, None)
    wait_for(lambda: isinstance(group.failing, Unsettled))
    group.predicted(2, b"{}", None, None)
    wait_for(lambda: group.failing is not None and not isinstance(group.failing, Unsettled))
    between[0].closed = False
    group.append("p", "a", "r", "done", {}).result(10)
    group.close()
    with store.reading() as tx:
        rows = tx.execute(sa.select(GROUPS.c.first, GROUPS.c.last).order_by(GROUPS.c.first)).all()
    assert [tuple(row) for row in rows] == ([(1, 1), (2, 2)] if lost == "answer" else [(1, 2)])
    assert Decisions(log).check() == 2
