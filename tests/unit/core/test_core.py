import errno
import os
import subprocess
import sys
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

from casemate.core import files
from casemate.core.errors import BackendError, ConfigError, Error, VerificationError, from_os_error
from casemate.core.secrets import read_secret
from casemate.core.signatures import Signer, read_envelope
from casemate.core.store.sqlite import SqliteStore
from casemate.core.types import BehaviourResult, FeatureImportance
from casemate.ml import models


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
    # 130: interrupted, as shells say
    assert {kind.exit_code for kind in every_error()} <= {1, 2, 3, 4, 5, 130}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "may not read"),
        (errno.ENOENT, "no such file"),
        (errno.EIO, "refused"),
    ],
)
def test_operating_system_faults_say_who_must_act(number, expected):
    error = from_os_error(OSError(number, os.strerror(number), "/x"))
    assert expected in error.message
    assert error.hint


def test_a_folder_in_a_files_place_is_named_and_not_the_draft_that_was_to_replace_it(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write_atomic(tmp_path / "out", b"page")
    error = from_os_error(caught.value)
    assert isinstance(error, ConfigError)
    assert error.message == f"this is a folder: {tmp_path / 'out'}"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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


def test_only_who_is_alone_tidies_and_locks_are_shared(tmp_path):
    tidied = []
    with (
        files.shared_lock(tmp_path / "lock", lambda: tidied.append(1)),
        files.shared_lock(tmp_path / "lock", lambda: tidied.append(2)),
    ):
        assert tidied == [1]
    with files.shared_lock(tmp_path / "lock", lambda: tidied.append(3)):
        assert tidied == [1, 3]


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
        [
            envelope["signatures"][0],
            {**other["signatures"][1], "keyid": envelope["signatures"][1]["keyid"]},
        ],
        [*envelope["signatures"], other["signatures"][1]],
        [],
    ):
        with pytest.raises(VerificationError):
            SIGNER.verifier.verify({**envelope, "signatures": signatures})


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff", b'{"a":"\xcf"}'])
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
    with pytest.raises(VerificationError, match="cannot be stored safely"):
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


def test_a_catalogue_of_another_version_or_a_damaged_one_is_refused(tmp_path):
    store = SqliteStore(tmp_path / "catalog.db")
    store.upgrade()
    with store.transaction() as tx:
        tx.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(BackendError, match="revision 0099"):
        store.check()
    store.close()
    Path(tmp_path / "bad.db").write_bytes(b"not a database" * 100)
    with pytest.raises(BackendError, match="cannot be read"):
        SqliteStore(tmp_path / "bad.db").check()


@pytest.mark.slow  # torch is loaded
def test_looking_into_a_model_file_loads_no_torch_and_torch_still_works(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: make torch")
    path = tmp_path / "m.skops"
    path.write_bytes(
        models.dump_skops(LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 1, 0, 1]))
    )
    script = (
        "import sys; from casemate.ml import models;"
        f" print(models.untrusted_types(open({str(path)!r}, 'rb').read()), 'torch' in sys.modules);"
        " import torch, scipy.stats, sklearn.externals.array_api_compat as a;"
        " print(a.array_namespace(torch.zeros(1)).__name__)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    assert told[:2] == ["[] False", "sklearn.externals.array_api_compat.torch"]


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (FeatureImportance, {"feature": "age", "mean": 0.5, "std": 0.0}),
        (
            BehaviourResult,
            {
                "name": "older",
                "feature": "age",
                "expect": "up",
                "rows": 9,
                "broken": 0,
                "passed": True,
            },
        ),
    ],
)
def test_a_result_is_written_in_the_bytes_of_the_plain_object_that_it_was(kind, plain):
    whole = msgspec.json.encode(plain, order="deterministic")
    assert msgspec.json.encode(kind(**plain), order="deterministic") == whole


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path, shut):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.toml").touch()
    assert files.below(tmp_path / "a") == sorted((tmp_path / "a").rglob("*"))
    assert files.directly(tmp_path / "a" / "b", ".toml") == [tmp_path / "a" / "b" / "c.toml"]
    with shut(tmp_path / "a" / "b") as closed:
        with pytest.raises(PermissionError):
            files.below(closed.parent)
        with pytest.raises(PermissionError):
            files.directly(closed, ".toml")
    nowhere = tmp_path / "nowhere"
    assert files.below(nowhere) == [] and files.directly(nowhere, ".toml") == []
