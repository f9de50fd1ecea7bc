"""What a worker of a cluster opens, for how long, and whom a run believes."""

import io
import time

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.config import DaskTable
from casemate.controls.keys import certificates
from casemate.controls.keys.pki import Authority, create_authority
from casemate.core.errors import ConfigError, VerificationError
from casemate.supply.crew import dask, messages, sealed, worker
from casemate.supply.crew.messages import Bounds


def bounds(until=3600.0, columns=("a",)):
    return Bounds(job="j1", columns=list(columns), until=time.time() + until)


def take(bounds, public, table=None):
    """A job for the worker with this public key, as a run seals it."""
    key = sealed.JobKey.new(bounds)
    given = messages.Given(
        target="casemate.stages.train.tasks:main",
        threads=1,
        job={},
        tables=[dask._stream(table if table is not None else pa.table({"a": [1.0]}))],
        inputs={},
        seconds=1.0,
        memory_bytes=2**30,
        required=True,
    )
    content = key.seal(sealed.JOB, 0, msgspec.msgpack.encode(given))
    asked = messages.Take(bounds=bounds, key=key.wrapped(public), sealed=content)
    return key, msgspec.msgpack.encode(asked)


def said(content):
    return msgspec.msgpack.decode(content, type=messages.Said)


@pytest.fixture
def public():
    """The key of this process, as a worker."""
    yield said(worker.hello()).public
    for job in [*worker._JOBS]:
        worker.forget(job)


def test_a_worker_opens_a_job_that_was_sealed_for_it_and_forgets_it_when_told(public):
    _, content = take(bounds(), public)
    assert isinstance(said(worker.take(content)), messages.Taken)
    assert worker._JOBS["j1"].tables[0].column_names == ["a"]
    worker.forget("j1")
    work = messages.Work(job="j1", number=1, sealed=b"")
    assert isinstance(said(worker.work(msgspec.msgpack.encode(work))), messages.Unknown)


def test_a_key_opens_nothing_for_another_worker(public):
    from casemate.core import hybrid

    _, content = take(bounds(), hybrid.pair()[1])
    assert "cannot be opened" in said(worker.take(content)).why
    assert worker._JOBS == {}


def test_a_key_is_good_for_its_time_only(public, monkeypatch):
    _, content = take(bounds(until=-worker.SLACK - 1), public)
    assert "no longer good" in said(worker.take(content)).why
    _, content = take(bounds(until=60), public)
    assert isinstance(said(worker.take(content)), messages.Taken)
    later = time.time() + 61 + worker.SLACK
    monkeypatch.setattr(worker.time, "time", lambda: later)
    work = messages.Work(job="j1", number=1, sealed=b"")
    assert isinstance(said(worker.work(msgspec.msgpack.encode(work))), messages.Unknown)
    assert worker._JOBS == {}


def test_a_key_is_good_for_its_columns_only(public):
    _, content = take(bounds(), public, pa.table({"a": [1.0], "secret": ["x"]}))
    assert "not good for the columns secret" in said(worker.take(content)).why
    assert worker._JOBS == {}


def test_longer_bounds_than_were_sealed_open_nothing(public):
    first = bounds()
    _, content = take(first, public)
    asked = msgspec.msgpack.decode(content, type=messages.Take)
    for changed in (
        msgspec.structs.replace(first, until=first.until + 1),
        msgspec.structs.replace(first, columns=["a", "b"]),
    ):
        forged = msgspec.msgpack.encode(msgspec.structs.replace(asked, bounds=changed))
        assert isinstance(said(worker.take(forged)), messages.Refused)
    assert worker._JOBS == {}


@given(content=st.binary(max_size=200), number=st.integers(0, 9))
def test_what_is_sealed_opens_as_itself_and_as_nothing_else(content, number):
    key = sealed.JobKey.new(Bounds(job="j", columns=[], until=0.0))
    closed = key.seal(sealed.ANSWER, number, content)
    assert key.open(sealed.ANSWER, number, closed) == content
    other = sealed.JobKey(Bounds(job="k", columns=[], until=0.0), key._key)
    changed = closed[:-1] + bytes([closed[-1] ^ 1])
    for opener, kind, at, given_ in (
        (key, sealed.ANSWER, number + 1, closed),
        (key, sealed.FAILURE, number, closed),
        (other, sealed.ANSWER, number, closed),
        (key, sealed.ANSWER, number, changed),
        (key, sealed.ANSWER, number, b""),
    ):
        with pytest.raises(VerificationError):
            opener.open(kind, at, given_)


@given(
    asked=st.builds(messages.Submit, number=st.integers(0, 2**31), content=st.binary(max_size=300))
)
def test_messages_come_back_as_they_were_written(asked):
    file = io.BytesIO()
    messages.write(file, asked)
    messages.write(file, messages.Greet())
    file.seek(0)
    assert [*messages.read(file, messages.Asked)] == [asked, messages.Greet()]


def test_a_message_that_is_too_long_or_no_message_is_refused():
    for raw in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\xc1"):
        with pytest.raises(msgspec.DecodeError):
            [*messages.read(io.BytesIO(raw), messages.Heard)]
    assert [*messages.read(io.BytesIO(b"\x00\x00\x00\x09half"), messages.Heard)] == []


@pytest.mark.parametrize("spoilt", ["cert.pem", "key.pem", "ca.pem"])
def test_a_certificate_that_nobody_could_use_is_said_before_anything_is_started(tmp_path, spoilt):
    authority = Authority(*create_authority("x"))
    chain, key = authority.issue("client", ["x"], 1, "p256")
    certificates.write(tmp_path / "certificate", chain, key, authority.pem)
    dask._require_certificate(tmp_path / "certificate")
    (tmp_path / "certificate" / spoilt).write_text("rubbish")
    there = DaskTable(scheduler="tls://127.0.0.1:1", certificate="certificate")
    with pytest.raises(ConfigError, match="certificate holds no certificate with its key and CA"):
        dask.DaskHelpers(there, tmp_path, 1).begin()


def test_a_worker_of_another_version_is_refused_with_both_versions():
    theirs = worker.versions() | {"scikit-learn": "0.1"}
    with pytest.raises(ConfigError, match=r"scikit-learn 0\.1 \(here 1\.") as caught:
        dask._compare("tls://x:1", theirs)
    assert "same locks" in caught.value.hint
    dask._compare("tls://x:1", worker.versions())
