"""Models from elsewhere: their classes become the table's by name or number, never by position, or the import is refused with the way out."""

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier

from casemate.core.errors import VerificationError
from casemate.core.models import ONNX, SKOPS, OnnxModel, dump_skops, load_skops
from casemate.core.types import ColumnSchema, Schema
from casemate.stages.train.classes import order_of
from casemate.stages.train.convert import IMPORTED_ONNX, IMPORTED_SKOPS, converted

OPSET = {"": 18, "ai.onnx.ml": 3}
NAMES = ["a", "b", "d"]


def schema(classes):
    return Schema(target="y", classes=classes, columns=[ColumnSchema(name=name, type="number", min=-3.0, max=3.0) for name in NAMES])


def rows(classes, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.uniform(-3, 3, (300, 3)), columns=NAMES)
    edges = np.quantile(frame["a"], np.linspace(0, 1, classes + 1)[1:-1])
    return frame, np.searchsorted(edges, frame["a"])


@pytest.mark.parametrize(
    ("values", "classes", "said", "order"),
    [
        ([0, 1], ["0", "1"], [], [0, 1]),
        ([0, 1], ["ill", "well"], [], [0, 1]),  # class numbers, as casemate trains
        ([1, 2], ["1", "2"], [], [0, 1]),
        ([-1, 1], ["-1", "1"], [], [0, 1]),
        ([-1.0, 1.0], ["-1", "1"], [], [0, 1]),
        (["no", "yes"], ["no", "yes"], [], [0, 1]),
        (["no", "yes"], ["yes", "no"], [], [1, 0]),  # by name, not by place
        ([b"no", b"yes"], ["yes", "no"], [], [1, 0]),
        ([False, True], ["false", "true"], [], [0, 1]),
        ([1, 2, 10], ["1", "10", "2"], [], [0, 2, 1]),  # text sorts otherwise than numbers
        ([-1, 1], ["ill", "well"], ["well", "ill"], [1, 0]),
        ([0, 1], ["1", "0"], ["0", "1"], [1, 0]),
    ],
)
def test_classes_are_told_by_name_then_by_number_or_as_said(values, classes, said, order):
    assert order_of(values, classes, said) == order


@pytest.mark.parametrize(
    ("values", "classes", "said", "words"),
    [
        ([-1, 1], ["ill", "well"], [], "are not the table's: the model has the classes '-1', '1', the table 'ill', 'well'"),
        ([1, 2], ["0", "1"], [], "are not the table's"),
        (["a", "b"], ["ill", "well"], [], "are not the table's"),
        ([0, 1], ["1", "0"], [], "may be names or numbers"),
        ([0, 1, 2], ["0", "1"], [], "knows 3 classes, the table has 2"),
        ([-1, 1], ["ill", "well"], ["ill", "sick"], "does not name each class"),
        (["A", "a"], ["a", "b"], [], "are not the table's"),
    ],
)
def test_classes_that_leave_a_doubt_are_refused_with_the_way_out(values, classes, said, words):
    with pytest.raises(VerificationError, match=words) as caught:
        order_of(values, classes, said)
    assert "classes" in caught.value.hint or "model" in caught.value.hint


CASES = [
    (["no", "yes"], ["no", "yes"], []),
    (["no", "yes"], ["yes", "no"], []),
    ([1, 2], ["1", "2"], []),
    ([-1, 1], ["-1", "1"], []),
    ([-1, 1], ["ill", "well"], ["well", "ill"]),
    ([1, 2, 10], ["1", "10", "2"], []),
]


def meant(values, classes, said, codes):
    """The table's class number of each row, by what the model's class means."""
    names = said or [str(value) for value in values]
    return np.array([classes.index(name) for name in names])[codes]


@pytest.mark.parametrize(("values", "classes", "said"), CASES, ids=str)
@pytest.mark.parametrize("make", [LogisticRegression, lambda: RandomForestClassifier(9, random_state=0)], ids=["logistic", "forest"])
def test_an_imported_estimator_answers_the_tables_classes_as_skops_and_as_onnx(values, classes, said, make):
    frame, codes = rows(len(values))
    estimator = make().fit(frame, np.array(values)[codes])
    files, told = converted({IMPORTED_SKOPS: dump_skops(estimator)}, schema(classes), said, 60.0)
    expected = meant(values, classes, said, np.searchsorted(estimator.classes_, estimator.predict(frame)))
    # searchsorted is by the estimator's own sorted classes, which `values` are too
    for model in (load_skops(files[SKOPS], told.order), OnnxModel(files[ONNX], schema(classes))):
        labels, probabilities = model.predict(frame)
        assert np.array_equal(np.ravel(labels), expected)
        assert np.array_equal(probabilities.argmax(axis=1), expected)


@pytest.mark.parametrize(("values", "classes", "said"), CASES, ids=str)
@pytest.mark.parametrize("zipmap", [False, True])
def test_an_imported_graph_answers_the_tables_classes(values, classes, said, zipmap):
    frame, codes = rows(len(values))
    estimator = RandomForestClassifier(9, random_state=0).fit(frame.to_numpy(np.float32), np.array(values)[codes])
    graph = to_onnx(estimator, initial_types=[("X", FloatTensorType([None, 3]))], options={id(estimator): {"zipmap": zipmap}}, target_opset=OPSET)
    files, told = converted({IMPORTED_ONNX: graph.SerializeToString()}, schema(classes), said, 60.0)
    model = OnnxModel(files[ONNX], schema(classes))
    assert (model.single, told.order) == (True, [])
    labels, probabilities = model.predict(frame)
    expected = meant(values, classes, said, np.searchsorted(estimator.classes_, estimator.predict(frame.to_numpy(np.float32))))
    assert labels.dtype == np.int64
    assert (labels == expected).mean() > 0.98, "votes of nine trees can tie in float32"
    assert np.array_equal(labels, probabilities.argmax(axis=1))


def test_an_imported_threshold_keeps_its_own_answer():
    frame, codes = rows(2)
    estimator = FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit(frame, np.array([1, 2])[codes])
    files, told = converted({IMPORTED_SKOPS: dump_skops(estimator)}, schema(["1", "2"]), [], 60.0)
    labels, probabilities = load_skops(files[SKOPS], told.order).predict(frame)
    assert np.array_equal(labels, estimator.predict(frame) - 1)
    assert (labels != probabilities.argmax(axis=1)).any()
    assert ONNX not in files
    assert told.export_problem


def handmade(outputs, labels=None):
    """Probabilities of `a` alone, with whatever labels; inputs are called as nobody expects."""
    weights = [numpy_helper.from_array(np.array([[-1, 1], [0, 0], [0, 0]], dtype=np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["features", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    nodes.append(labels or helper.make_node("ArgMax", ["p"], ["l"], axis=1, keepdims=0))
    ports = {
        "l": helper.make_tensor_value_info("l", TensorProto.INT64, [None]),
        "p": helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2]),
    }
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "g", [given], [ports[name] for name in outputs], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def test_a_handmade_graph_is_taken_or_refused_with_the_way_out():
    files, _ = converted({IMPORTED_ONNX: handmade("lp")}, schema(["ill", "well"]), [], 60.0)
    labels, _ = OnnxModel(files[ONNX], schema(["ill", "well"])).predict(rows(2)[0])
    assert np.array_equal(labels, (rows(2)[0]["a"].to_numpy() > 0).astype(int))
    with pytest.raises(VerificationError, match="1 outputs, labels and probabilities are expected") as caught:
        converted({IMPORTED_ONNX: handmade("p")}, schema(["ill", "well"]), [], 60.0)
    assert "zipmap" in caught.value.hint
    backwards = helper.make_node("ArgMin", ["p"], ["l"], axis=1, keepdims=0)
    with pytest.raises(VerificationError, match="cannot be told which class"):
        converted({IMPORTED_ONNX: handmade("lp", backwards)}, schema(["ill", "well"]), [], 60.0)
    with pytest.raises(VerificationError, match="gives 2 numbers a row, 3 are expected"):
        converted({IMPORTED_ONNX: handmade("lp")}, schema(["a", "b", "c"]), [], 60.0)


def test_a_model_of_other_features_or_of_the_other_task_is_refused():
    frame, codes = rows(2)
    other = LogisticRegression().fit(frame[["b", "a", "d"]], codes)
    with pytest.raises(VerificationError, match=r"takes the features \['b', 'a', 'd'\]"):
        converted({IMPORTED_SKOPS: dump_skops(other)}, schema(["0", "1"]), [], 60.0)
    with pytest.raises(VerificationError, match="no classifier"):
        converted({IMPORTED_SKOPS: dump_skops(LinearRegression().fit(frame, codes))}, schema(["0", "1"]), [], 60.0)
    with pytest.raises(VerificationError, match="no regressor with 1 outputs"):
        converted({IMPORTED_SKOPS: dump_skops(LogisticRegression().fit(frame, codes))}, schema([]), [], 60.0)


def test_nothing_of_the_users_file_but_the_computation_is_kept():
    model = onnx.load_model_from_string(handmade("lp"))
    entry = model.metadata_props.add()
    entry.key, entry.value = "rows", "61,ill"
    files, _ = converted({IMPORTED_ONNX: model.SerializeToString()}, schema(["ill", "well"]), [], 60.0)
    assert b"61,ill" not in files[ONNX]
