import errno
import os
import time
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from casemate.core import files, models
from casemate.core.clock import SystemClock
from casemate.core.engine import Engine
from casemate.core.errors import BackendError, BusyError, ConfigError, Error, VerificationError, from_os_error
from casemate.core.secrets import read_secret
from casemate.core.signatures import Signer, read_envelope
from casemate.core.store import Store
from casemate.core.types import Finding


def every_error(kind=Error):
    for child in kind.__subclasses__():
        yield child
        yield from every_error(child)


def test_every_error_has_its_own_code_and_a_documented_exit_code():
    import casemate.core.sandbox.run
    import casemate.serve.app
    import casemate.stages.data.source  # noqa: F401

    named = [kind for kind in every_error() if "code" in vars(kind)]
    assert len({kind.code for kind in named}) == len(named)
    assert {kind.exit_code for kind in every_error()} <= {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "may not read"), (errno.ENOENT, "no such file"), (errno.EIO, "refused")]
)
def test_operating_system_faults_say_who_must_act(number, expected):
    error = from_os_error(OSError(number, os.strerror(number), "/x"))
    assert expected in error.message
    assert error.hint


def test_no_control_character_of_foreign_text_reaches_the_terminal():
    assert "\x1b" not in Error("\x1b[2Jgone", hint="\x07").diagnostics()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f"
    files.write_atomic(path, b"old")

    def fail(_descriptor):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="I/O"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_very_deep_folder_is_removed(tmp_path):
    deep = tmp_path / "deep"
    deep.mkdir()
    descriptor = os.open(deep, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    (deep / "link").symlink_to(tmp_path)
    (tmp_path / "kept").write_text("x")
    files.remove_tree(deep)
    assert not deep.exists()
    assert (tmp_path / "kept").exists()


def test_a_lock_is_exclusive_and_released(tmp_path):
    with files.exclusive_lock(tmp_path / "lock", "busy"), pytest.raises(BusyError, match="busy"):
        with files.exclusive_lock(tmp_path / "lock", "busy"):
            pass
    with files.exclusive_lock(tmp_path / "lock", "busy"):
        pass


SIGNER = Signer.generate()
ENVELOPE = SIGNER.sign(b"payload" * 4, "kind")


@given(st.binary(max_size=200), st.text(min_size=1, max_size=20))
def test_what_is_signed_verifies(payload, kind):
    assert SIGNER.verifier.verify(SIGNER.sign(payload, kind), kind) == payload


@given(st.data())
def test_no_change_of_an_envelope_gives_another_payload(data):
    text = bytearray(msgspec.json.encode(ENVELOPE))
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] ^= 1 << data.draw(st.integers(0, 6))
    try:
        changed = read_envelope(bytes(text))
        assert SIGNER.verifier.verify(changed, "kind") == b"payload" * 4
    except VerificationError:
        pass


def test_either_signature_alone_is_not_enough():
    envelope = SIGNER.sign(b"x")
    other = Signer.generate().sign(b"x")
    for signatures in (
        envelope["signatures"][:1],
        envelope["signatures"][1:],
        envelope["signatures"][::-1],
        [other["signatures"][0], envelope["signatures"][1]],
        [envelope["signatures"][0], {**other["signatures"][1], "keyid": envelope["signatures"][1]["keyid"]}],
        [*envelope["signatures"], other["signatures"][1]],
        [],
    ):
        with pytest.raises(VerificationError):
            SIGNER.verifier.verify({**envelope, "signatures": signatures})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_envelope_is_a_verification_error(content):
    with pytest.raises(VerificationError):
        SIGNER.verifier.verify(read_envelope(content))


@pytest.fixture(scope="module")
def frame():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((300, 4)), columns=list("abcd"))
    return frame, (frame["a"] > 0).astype(np.int64).to_numpy()


ESTIMATORS = [
    make_pipeline(StandardScaler(), LogisticRegression()),
    RandomForestClassifier(10, random_state=0),
    HistGradientBoostingClassifier(max_iter=10),
    MLPClassifier((5,), max_iter=20, random_state=0),
    KNeighborsClassifier(),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_a_model_file_is_reproducible_and_round_trips(frame, estimator):
    features, codes = frame
    estimator.fit(features, codes)
    content = models.dump_skops(estimator)
    assert content == models.dump_skops(estimator)
    loaded = models.load_skops(content)
    assert np.array_equal(loaded.predict(features)[1], estimator.predict_proba(features))


def test_a_type_outside_the_allow_list_is_refused_before_anything_is_built(frame):
    features, codes = frame
    estimator = make_pipeline(FunctionTransformer(os.path.exists), LogisticRegression())
    estimator.steps[0][1].func = time.sleep
    estimator.steps[1][1].fit(features, codes)
    content = models.dump_skops(estimator)
    assert models.untrusted_types(content)
    with pytest.raises(VerificationError, match="not allowed"):
        models.load_skops(content)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04K\x01."])
def test_what_is_no_model_file_is_refused(content):
    with pytest.raises(VerificationError):
        models.load_skops(content)


def test_secrets_come_by_reference_only(tmp_path, monkeypatch):
    (tmp_path / "t").write_text(" s3cret\n")
    monkeypatch.setenv("T", "other")
    assert read_secret(f"file:{tmp_path / 't'}") == "s3cret"
    assert read_secret("env:T") == "other"
    for reference in ("s3cret", "env:NOT_THERE", f"file:{tmp_path / 'none'}"):
        with pytest.raises(ConfigError) as caught:
            read_secret(reference)
        assert "s3cret" not in caught.value.message


SAME = dict.fromkeys(("data", "train", "assess", "release"), "same")
OTHER = {**SAME, "data": "other"}


class Journal:
    def __init__(self):
        self.entries = []

    def append(self, tx, principal, action, resource, outcome, detail):
        self.entries.append((action, outcome))
        return len(self.entries)

    def publish(self):
        pass


@pytest.fixture
def engine(tmp_path):
    store = Store(tmp_path / "catalog.db")
    store.create()
    return Engine(store, Journal(), SystemClock(), tmp_path / "runs")


def finding(text: str = "x") -> Finding:
    return Finding(id="a", severity="low", confidence="low", message=text)


def test_a_finished_step_is_never_done_again(engine):
    calls = []

    def work():
        calls.append(1)
        return finding()

    first = engine.begin(SAME, "me")
    first.step("data", Finding, work)
    again = engine.begin(SAME, "me")
    assert again.resumed
    assert again.id == first.id
    assert again.step("data", Finding, work) == finding()
    assert len(calls) == 1


def test_other_inputs_begin_a_new_run_and_abandon_the_old(engine):
    first = engine.begin(SAME, "me")
    first.step("data", Finding, finding)
    second = engine.begin(OTHER, "me")
    second.step("data", Finding, finding)
    assert {row["id"]: row["state"] for row in engine.runs()} == {first.id: "abandoned", second.id: "running"}
    assert ("run:abandon", "done") in engine.journal.entries


def test_a_run_that_finishes_no_step_leaves_nothing(engine, tmp_path):
    run = engine.begin(SAME, "me")
    with pytest.raises(RuntimeError):
        run.step("data", Finding, lambda: (_ for _ in ()).throw(RuntimeError()))
    run.finish("failed", Error("x"))
    assert engine.runs() == []
    assert not (tmp_path / "runs").exists()


def test_a_fault_inside_the_transaction_keeps_the_step_undone(engine):
    def fail(_tx, _record):
        raise RuntimeError("disk")

    run = engine.begin(SAME, "me")
    with pytest.raises(RuntimeError):
        run.step("data", Finding, finding, commit=fail)
    assert engine.runs() == []


def test_changed_evidence_of_a_finished_step_stops_the_resumption(engine):
    run = engine.begin(SAME, "me")
    run.step("data", Finding, finding)
    (run.folder / "1-data" / "data.json").write_text("{}")
    with pytest.raises(VerificationError, match="changed or removed"):
        engine.begin(SAME, "me").step("data", Finding, finding)


def test_a_later_start_takes_earlier_steps_from_the_newest_finished_run(engine):
    run = engine.begin(SAME, "me")
    run.step("data", Finding, lambda: finding("kept"))
    run.finish("passed")
    again = engine.begin(SAME, "me", "train")
    assert again.step("data", Finding, lambda: finding("new")).message == "kept"


def test_a_later_start_refuses_stages_that_other_inputs_decided(engine):
    run = engine.begin(SAME, "me")
    run.step("data", Finding, finding)
    run.finish("passed")
    with pytest.raises(ConfigError, match="what decides the data stage has changed"):
        engine.begin(OTHER, "me", "train")


def test_an_interrupted_later_start_is_not_resumed_by_a_plain_run(engine):
    run = engine.begin(SAME, "me")
    run.step("data", Finding, lambda: finding("old"))
    run.finish("passed")
    engine.begin(SAME, "me", "train").step("data", Finding, finding)
    assert not engine.begin(SAME, "me").resumed
    assert engine.begin(SAME, "me", "train").resumed


def test_a_later_start_without_a_finished_run_is_refused(engine):
    with pytest.raises(ConfigError, match="no finished run"):
        engine.begin(SAME, "me", "train")


def test_a_catalogue_of_another_version_or_a_damaged_one_is_refused(tmp_path):
    store = Store(tmp_path / "catalog.db")
    store.create()
    with store.transaction() as tx:
        tx.exec_driver_sql("PRAGMA user_version = 99")
    with pytest.raises(BackendError, match="version 99"):
        store.check()
    store.close()
    Path(tmp_path / "bad.db").write_bytes(b"not a database" * 100)
    with pytest.raises(BackendError, match="cannot be read"):
        Store(tmp_path / "bad.db").check()
