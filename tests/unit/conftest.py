"""A log of its own for every test, and what a refusal must say."""

import contextlib
import os

import pytest

from casemate.controls.audit.bodies import Bodies
from casemate.controls.audit.checkpoint import CheckpointSigner
from casemate.controls.audit.log import AuditLog
from casemate.controls.keys.store import KeyStore
from casemate.controls.keys.subjects import SubjectKeys
from casemate.core.clock import SystemClock
from casemate.core.errors import Error
from casemate.core.store.sqlite import SqliteStore


@pytest.fixture(scope="module")
def log_keys(tmp_path_factory):
    return KeyStore.create(tmp_path_factory.mktemp("keys") / "store", "test")


def make_log(folder, keys):
    store = SqliteStore(folder / "catalog.db")
    store.upgrade()
    signer = CheckpointSigner("casemate/test", *keys.log_keys)
    log = AuditLog(
        folder / "audit",
        store,
        signer,
        SystemClock(),
        Bodies(keys.provider),
        SubjectKeys(keys.provider, SystemClock()),
    )
    with store.transaction() as tx:
        log.create(tx)
    log.publish()
    return log


def grow(log, count):
    with log.store.transaction() as tx:
        log.append_many(tx, [("p", f"act:{i}", "r", "done", {"i": i}) for i in range(count)])
    log.publish()


@pytest.fixture
def log(tmp_path, log_keys):
    return make_log(tmp_path, log_keys)


@contextlib.contextmanager
def refused(code, said=""):
    """What is done inside must end with an error of exactly this code, which says `said`."""
    with pytest.raises(Error) as caught:
        yield caught
    assert caught.value.code == code, caught.value
    assert said in f"{caught.value.message}; {caught.value.hint}"


@pytest.fixture
def shut(tmp_path, monkeypatch):
    """Gives a folder of the test a mode that holds, inside a block, whoever runs the test; its path
    there.
    """

    @contextlib.contextmanager
    def closed(folder, mode=0):
        tmp_path.chmod(0o755)
        monkeypatch.chdir(tmp_path)  # the folders above are root's alone
        before, user = folder.stat().st_mode, os.geteuid()
        folder.chmod(mode)
        if not user:
            os.seteuid(65534)
        try:
            yield folder.relative_to(tmp_path)
        finally:
            os.seteuid(user)
            folder.chmod(before)

    return closed
