"""Model files from outside: hostile ones are named and refused without being executed, honest ones
are converted.
"""

import gzip
import io
import json
import pickle
import pickletools
import struct
import subprocess
import zipfile
import zlib

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from tests.conftest import often

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.sandbox.run import Outcome, Worker
from casemate.ml.models import ONNX, dump_skops, load_skops
from casemate.operations.checkup import import_model
from casemate.stages.assess.artifact.scan import scan

ROWS, CODES = load_breast_cancer(return_X_y=True)
HONEST = [
    LogisticRegression(max_iter=5000), DecisionTreeClassifier(), RandomForestClassifier(5),
    ExtraTreesClassifier(5), GradientBoostingClassifier(n_estimators=5),
    HistGradientBoostingClassifier(max_iter=5),
    make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=2000)),
    make_pipeline(QuantileTransformer(n_quantiles=20), LogisticRegression()), SVC(),
]  # fmt: skip


class Call:
    """Unpickles into a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def named(module, name, argument="x", protocol=0):
    """A pickle that calls `module.name(argument)`, whether or not that exists here."""
    if protocol == 0:
        return f"c{module}\n{name}\n(V{argument}\ntR.".encode()
    body = b"\x80\x04"
    for text in (module, name):
        body += b"\x8c" + bytes([len(text)]) + text.encode()
    return body + b"\x93\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."


FUNCTIONS = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("subprocess", "Popen"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"), ("builtins", "__import__"),
    ("importlib", "import_module"), ("timeit", "timeit"), ("cProfile", "run"),
    ("runpy", "run_path"), ("code", "interact"), ("ctypes", "CDLL"), ("urllib.request", "urlopen"),
    ("socket", "create_connection"), ("webbrowser", "open"), ("pty", "spawn"), ("shutil", "rmtree"),
    ("pickle", "loads"), ("joblib", "load"), ("torch", "load"), ("numpy", "load"),
    ("numpy.testing._private.utils", "runstring"), ("sys", "exit"), ("operator", "attrgetter"),
    ("functools", "partial"), ("sklearn.utils", "os.system"),
    ("sklearn.linear_model._logistic", "LogisticRegression.fit"), ("bdb", "Bdb"),
    ("asyncio", "run"), ("_pickle", "Unpickler"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "name"), FUNCTIONS, ids=lambda part: part)
def test_a_pickle_that_would_call_something_is_refused_by_its_name(module, name):
    for content in (named(module, name, protocol=4), b"\x80\x02" + named(module, name)):
        found = scan(content)
        assert not found.convertible
        assert any(f"{module}.{name}" in problem for problem in found.problems), found
    # Nested in what looks like an estimator, compressed, and inside an array of objects.
    for wrapped in (
        gzip.compress(named(module, name, protocol=4)),
        zlib.compress(named(module, name, protocol=4)),
    ):
        assert any(f"{module}.{name}" in problem for problem in scan(wrapped).problems)


def test_names_that_are_put_together_from_memos_are_found():
    content = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94000h\x00h\x01\x93\x8c\x02id\x85R."
    content = content.replace(b"000", b"00")
    assert any("os.system" in problem for problem in scan(content).problems)
    assert pickletools.dis(content, out=io.StringIO()) is None


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("zlib", 3)], ids=str)
def test_a_hostile_object_beside_or_inside_arrays_of_a_joblib_file_is_found(tmp_path, compress):
    inside = np.empty(2, dtype=object)
    inside[:] = [Call(subprocess.Popen, ["true"]), 1]
    for number, value in enumerate(
        (
            {"rows": ROWS, "then": Call(subprocess.Popen, ["true"])},
            {"rows": ROWS, "array": inside},
            [inside, ROWS],
        )
    ):
        file = tmp_path / f"{number}.joblib"
        joblib.dump(value, file, compress=compress)
        assert any("subprocess.Popen" in problem for problem in scan(file.read_bytes()).problems)


@pytest.mark.parametrize("model", HONEST, ids=lambda m: type(m).__name__)
def test_honest_models_are_read_whole_and_found_clean(tmp_path, model):
    model.fit(ROWS[:, :5], CODES)
    joblib.dump(model, tmp_path / "a.joblib")
    joblib.dump(model, tmp_path / "b.joblib", compress=3)
    contents = [pickle.dumps(model, protocol) for protocol in (2, 4, 5)]
    contents += [(tmp_path / name).read_bytes() for name in ("a.joblib", "b.joblib")]
    for content in contents:
        found = scan(content)
        assert (found.problems, found.convertible) == ([], True)
    assert scan(dump_skops(model)).format == "skops"


def test_what_cannot_be_read_to_its_end_is_refused(tmp_path):
    joblib.dump(HONEST[0].fit(ROWS, CODES), tmp_path / "m.joblib")
    whole = (tmp_path / "m.joblib").read_bytes()
    for cut in range(1, len(whole), max(1, len(whole) // 40)):
        assert not scan(whole[:cut]).convertible
    assert not scan(whole + b"rest").convertible
    assert not scan(b"").convertible
    for junk in (
        b"\x80\x04",
        b"hello",
        b"PK\x03\x04nothing",
        b"\x1f\x8bnothing",
        b"\x78\x9cnothing",
        b"\x89HDF\r\n\x1a\n",
        bytes(1000),
    ):
        assert not scan(junk).convertible


@settings(max_examples=often(150), deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_scanner_crash_or_believe(noise):
    for content in (noise, b"\x80\x04" + noise, b"PK\x03\x04" + noise, b"\x1f\x8b" + noise):
        found = scan(content)
        assert found.problems or not any(
            name.startswith(("os", "posix", "builtins.e")) for name in found.names
        )


def test_other_formats_are_looked_at_and_told(tmp_path):
    def archive(**files):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as target:
            for name, content in files.items():
                target.writestr(name.replace("__", "."), content)
        return buffer.getvalue()

    keras = json.dumps(
        {
            "class_name": "Functional",
            "config": {"layers": [{"class_name": "Lambda", "module": "keras.layers"}]},
        }
    )
    assert "Lambda layer" in scan(archive(config__json=keras)).problems[0]
    assert "module os" in scan(archive(config__json=json.dumps({"module": "os"}))).problems[0]
    torch_file = archive(data__pkl=named("os", "system", protocol=4))
    assert scan(torch_file).format == "torch" and "os.system" in scan(torch_file).problems[0]
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    assert "without layers" in scan(struct.pack("<Q", len(header)) + header + bytes(4)).problems[0]
    assert "cannot be read" in scan(struct.pack("<Q", len(header)) + header + bytes(9)).problems[0]
    double = io.BytesIO()
    with zipfile.ZipFile(double, "w") as target:
        target.writestr("data.pkl", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            target.writestr("data.pkl", b"y")
    assert "same name" in scan(double.getvalue()).problems[0]


def test_an_onnx_graph_with_foreign_operators_or_files_is_refused():
    import onnx
    from onnx import TensorProto, helper

    def graph(domain="", outside=False):
        weights = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
        if outside:
            weights.ClearField("float_data")
            weights.data_location = TensorProto.EXTERNAL
            entry = weights.external_data.add()
            entry.key, entry.value = "location", "../../etc/passwd"
        node = helper.make_node("Add" if not domain else "Evil", ["x", "w"], ["y"], domain=domain)
        ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
        content = helper.make_graph([node], "g", ports[:1], ports[1:], [weights])
        sets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
        return helper.make_model(content, opset_imports=sets, ir_version=8).SerializeToString()

    assert scan(graph()).convertible
    assert "foreign code" in scan(graph("evil.ops")).problems[0]
    assert any("other files" in problem for problem in scan(graph(outside=True)).problems)
    assert onnx.__version__


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"format": ["onnx"], "names": [], "problems": [], "convertible": True},
        {"format": "onnx", "names": 1},
    ],
)
def test_an_answer_that_no_reader_gives_refuses_the_file(fresh, tmp_path, monkeypatch, answer):
    """As a reader would that a hostile file has taken over."""
    import casemate

    monkeypatch.setattr(Worker, "run", lambda *_, **__: Outcome(answer, {ONNX: b"theirs"}, [], []))
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(RefusedError, match="its reader gave no sound answer"):
        import_model(casemate.open(fresh), tmp_path / "model.onnx")
    assert not (fresh / "imported").exists()


def test_a_folder_is_called_one_and_its_model_files_are_named(fresh, tmp_path):
    import casemate

    project = casemate.open(fresh)
    saved = tmp_path / "mlflow"
    (saved / "variables").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"mlflow is a folder; a model is one file") as caught:
        import_model(project, saved)
    assert caught.value.hint == "export the model as ONNX, or save it with joblib or skops"
    for name in ("MLmodel", "model.pkl", "graph.ONNX", "variables/x.pkl"):
        (saved / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match="is a folder") as caught:
        import_model(project, saved)
    assert caught.value.hint == "give the file in it: graph.ONNX or model.pkl"
    with pytest.raises(ConfigError, match="there is no file"):
        import_model(project, tmp_path / "absent.pkl")


def test_import_writes_a_safe_file_once_and_refuses_with_the_reason(fresh, tmp_path):
    import casemate

    project = casemate.open(fresh)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, CODES)
    joblib.dump(model, tmp_path / "theirs.joblib")
    found = import_model(project, tmp_path / "theirs.joblib")
    assert found.file == fresh / "imported" / "theirs.skops"
    assert np.allclose(
        load_skops(found.file.read_bytes()).estimator.predict_proba(ROWS), model.predict_proba(ROWS)
    )
    for name in ("../outside", "/tmp/x", ".hidden", "a/b", "x" * 80):
        with pytest.raises(ConfigError, match="cannot be the name"):
            import_model(project, tmp_path / "theirs.joblib", name)
    with pytest.raises(ConfigError, match="exists already"):
        import_model(project, tmp_path / "theirs.joblib")
    marker = tmp_path / "executed"
    (tmp_path / "evil.pkl").write_bytes(
        pickle.dumps(Call(subprocess.Popen, ["touch", str(marker)]))
    )
    with pytest.raises(
        RefusedError, match=r"evil.pkl \(pickle\) is refused: it would import subprocess.Popen"
    ):
        import_model(project, tmp_path / "evil.pkl")
    joblib.dump(StandardScaler().fit(ROWS), tmp_path / "scaler.joblib")
    with pytest.raises(RefusedError, match="no fitted scikit-learn regressor or classifier"):
        import_model(project, tmp_path / "scaler.joblib")
    assert not marker.exists()
    joblib.dump(LinearRegression().fit(ROWS, CODES), tmp_path / "amounts.joblib")
    assert (
        import_model(project, tmp_path / "amounts.joblib").file
        == fresh / "imported" / "amounts.skops"
    )
    assert sorted(path.name for path in (fresh / "imported").iterdir()) == [
        "amounts.skops",
        "theirs.skops",
    ]
    outcomes = [
        (entry.action, entry.outcome)
        for entry in project.log.entries()
        if entry.action == "model:imported"
    ]
    assert (
        outcomes == [("model:imported", "done")] * 3 + [("model:imported", "denied")] * 2
        or outcomes.count(("model:imported", "denied")) == 2
    )
