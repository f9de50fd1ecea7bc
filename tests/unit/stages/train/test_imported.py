"""Models from elsewhere: their classes become the table's by name or number, never by position, or
the import is refused with the way out.
"""

import shutil

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import casemate
from casemate.core.errors import VerificationError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.models import ONNX, SKOPS, OnnxModel, dump_skops, load_skops
from casemate.stages.train.classes import order_of
from casemate.stages.train.convert import IMPORTED_ONNX, IMPORTED_SKOPS, converted

OPSET = {"": 18, "ai.onnx.ml": 3}
NAMES = ["a", "b", "d"]


def schema(classes):
    return Schema(
        target="y",
        classes=classes,
        columns=[ColumnSchema(name=name, type="number", min=-3.0, max=3.0) for name in NAMES],
    )


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
        (
            [-1, 1],
            ["ill", "well"],
            [],
            "are not the table's: the model has the classes '-1', '1', the table 'ill', 'well'",
        ),
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
@pytest.mark.parametrize(
    "make",
    [LogisticRegression, lambda: RandomForestClassifier(9, random_state=0)],
    ids=["logistic", "forest"],
)
def test_an_imported_estimator_answers_the_tables_classes_as_skops_and_as_onnx(
    values, classes, said, make
):
    frame, codes = rows(len(values))
    estimator = make().fit(frame, np.array(values)[codes])
    files, told = converted({IMPORTED_SKOPS: dump_skops(estimator)}, schema(classes), said, 60.0)
    expected = meant(
        values, classes, said, np.searchsorted(estimator.classes_, estimator.predict(frame))
    )
    # searchsorted is by the estimator's own sorted classes, which `values` are too
    for model in (load_skops(files[SKOPS], told.order), OnnxModel(files[ONNX], schema(classes))):
        labels, probabilities = model.predict(frame)
        assert np.array_equal(np.ravel(labels), expected)
        assert np.array_equal(probabilities.argmax(axis=1), expected)


@pytest.mark.parametrize(("values", "classes", "said"), CASES, ids=str)
@pytest.mark.parametrize("zipmap", [False, True])
def test_an_imported_graph_answers_the_tables_classes(values, classes, said, zipmap):
    frame, codes = rows(len(values))
    estimator = RandomForestClassifier(9, random_state=0).fit(
        frame.to_numpy(np.float32), np.array(values)[codes]
    )
    graph = to_onnx(
        estimator,
        initial_types=[("X", FloatTensorType([None, 3]))],
        options={id(estimator): {"zipmap": zipmap}},
        target_opset=OPSET,
    )
    files, told = converted({IMPORTED_ONNX: graph.SerializeToString()}, schema(classes), said, 60.0)
    model = OnnxModel(files[ONNX], schema(classes))
    assert (model.single, told.order) == (True, [])
    labels, probabilities = model.predict(frame)
    expected = meant(
        values,
        classes,
        said,
        np.searchsorted(estimator.classes_, estimator.predict(frame.to_numpy(np.float32))),
    )
    assert labels.dtype == np.int64
    assert (labels == expected).mean() > 0.98, "votes of nine trees can tie in float32"
    assert np.array_equal(labels, probabilities.argmax(axis=1))


def test_an_imported_threshold_keeps_its_own_answer():
    frame, codes = rows(2)
    estimator = FixedThresholdClassifier(LogisticRegression(), threshold=0.1).fit(
        frame, np.array([1, 2])[codes]
    )
    files, told = converted({IMPORTED_SKOPS: dump_skops(estimator)}, schema(["1", "2"]), [], 60.0)
    labels, probabilities = load_skops(files[SKOPS], told.order).predict(frame)
    assert np.array_equal(labels, estimator.predict(frame) - 1)
    assert (labels != probabilities.argmax(axis=1)).any()
    assert np.array_equal(OnnxModel(files[ONNX], schema(["1", "2"])).predict(frame)[0], labels)


def handmade(outputs, labels=None):
    """Probabilities of `a` alone, with whatever labels; inputs are called as nobody expects."""
    weights = [numpy_helper.from_array(np.array([[-1, 1], [0, 0], [0, 0]], dtype=np.float32), "w")]
    nodes = [
        helper.make_node("MatMul", ["features", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    nodes.append(labels or helper.make_node("ArgMax", ["p"], ["l"], axis=1, keepdims=0))
    ports = {
        "l": helper.make_tensor_value_info("l", TensorProto.INT64, [None]),
        "p": helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 2]),
    }
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "g", [given], [ports[name] for name in outputs], weights)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def test_a_handmade_graph_is_taken_or_refused_with_the_way_out():
    files, _ = converted({IMPORTED_ONNX: handmade("lp")}, schema(["ill", "well"]), [], 60.0)
    labels, _ = OnnxModel(files[ONNX], schema(["ill", "well"])).predict(rows(2)[0])
    assert np.array_equal(labels, (rows(2)[0]["a"].to_numpy() > 0).astype(int))
    with pytest.raises(
        VerificationError, match="1 outputs, labels and probabilities are expected"
    ) as caught:
        converted({IMPORTED_ONNX: handmade("l")}, schema(["ill", "well"]), [], 60.0)
    assert "zipmap" in caught.value.hint
    backwards = helper.make_node("ArgMin", ["p"], ["l"], axis=1, keepdims=0)
    with pytest.raises(VerificationError, match="cannot be told which class"):
        converted({IMPORTED_ONNX: handmade("lp", backwards)}, schema(["ill", "well"]), [], 60.0)
    with pytest.raises(VerificationError, match="gives 2 numbers a row, 3 are expected"):
        converted({IMPORTED_ONNX: handmade("lp")}, schema(["a", "b", "c"]), [], 60.0)


def graph(nodes, outputs, weights=(), inputs=None, rows=None):
    """A graph as Keras and torch export them: an input `X` for everything, and names that mean
    nothing.
    """
    given = inputs or [helper.make_tensor_value_info("X", TensorProto.FLOAT, [rows, 3])]
    made = helper.make_graph(
        nodes,
        "main_graph",
        given,
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    return helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def network(last, width=2, rows=None, name="x"):
    """One layer on `a`, whose inner value has the name that casemate gives to inputs."""
    weights = [
        ("w", np.eye(3, width, dtype=np.float32) * 3),
        ("b", np.zeros(width, dtype=np.float32)),
    ]
    nodes = [helper.make_node("Gemm", ["X", "w", "b"], [name])] + (
        [helper.make_node(last, [name], ["dense"])] if last else []
    )
    port = helper.make_tensor_value_info(
        "dense" if last else name, TensorProto.FLOAT, [rows, width]
    )
    return graph(nodes, [port], weights, rows=rows)


@pytest.mark.parametrize("rows_written", [None, 1, "batch"], ids=str)
@pytest.mark.parametrize(("last", "width"), [("Softmax", 2), ("Sigmoid", 1), ("Softmax", 3)])
@pytest.mark.parametrize("inner", ["x", "z"])
def test_a_graph_with_one_output_answers_in_the_order_that_was_said(
    last, width, inner, rows_written
):
    classes = ["high", "ill", "well"][3 - max(width, 2) :]
    said = classes[::-1]
    content = network(last, width, rows_written, inner)
    files, _ = converted({IMPORTED_ONNX: content}, schema(classes), said, 60.0)
    frame = rows(2)[0]
    labels, probabilities = OnnxModel(files[ONNX], schema(classes)).predict(frame)
    scores = frame[NAMES].to_numpy()[:, :width] * 3
    own = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if width == 1:
        positive = 1 / (1 + np.exp(-scores[:, 0]))
        own = np.column_stack([1 - positive, positive])
    assert np.allclose(probabilities, own[:, [said.index(name) for name in classes]], atol=1e-5)
    assert [classes[label] for label in labels] == [said[place] for place in own.argmax(axis=1)]


def test_a_graph_with_one_output_and_no_class_names_asks_for_them_unless_the_table_has_numbers():
    with pytest.raises(VerificationError, match="without class names") as caught:
        converted({IMPORTED_ONNX: network("Softmax")}, schema(["ill", "well"]), [], 60.0)
    assert (
        '[train] classes = ["ill", "well"] in casemate.toml, in the order of its outputs'
        in caught.value.hint
    )
    with pytest.raises(VerificationError, match="without class names"):
        converted({IMPORTED_ONNX: network("Sigmoid", 1)}, schema(["1", "2"]), [], 60.0)
    files, _ = converted({IMPORTED_ONNX: network("Sigmoid", 1)}, schema(["0", "1"]), [], 60.0)
    assert (
        OnnxModel(files[ONNX], schema(["0", "1"])).predict(rows(2)[0])[0] == (rows(2)[0]["a"] > 0)
    ).all()


@pytest.mark.parametrize(
    ("content", "words", "way"),
    [
        (network(None), "no list of probabilities", "torch.nn.Softmax"),
        (network(None, 1), "no list of probabilities", "Sigmoid"),
        (network("Sigmoid"), "no list of probabilities", "Softmax"),
        (network("Softmax", 3), "gives 3 numbers a row, 2 are expected", "model of this table"),
        (
            graph(
                [
                    helper.make_node("Reshape", ["X", "s"], ["flat"]),
                    helper.make_node("MatMul", ["flat", "w"], ["z"]),
                    helper.make_node("Softmax", ["z"], ["p"]),
                ],
                [helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 2])],
                [("s", np.array([1, 3])), ("w", np.eye(3, 2, dtype=np.float32))],
                rows=1,
            ),
            "cannot be asked about 2000 rows",
            "dynamic_axes",
        ),
    ],
    ids=["logits", "one logit", "two sigmoids", "another table", "one row at a time"],
)
def test_an_export_that_is_not_right_is_refused_with_the_command_that_makes_it_right(
    content, words, way
):
    with pytest.raises(VerificationError, match=words) as caught:
        converted({IMPORTED_ONNX: content}, schema(["ill", "well"]), ["ill", "well"], 60.0)
    assert way in caught.value.hint


def test_inputs_are_found_by_name_whatever_their_order_type_and_signs():
    columns = [
        ColumnSchema(name="a b", type="number", min=0, max=9),
        ColumnSchema(name="whole", type="number", min=0, max=9),
        ColumnSchema(name="colour", type="category", categories=["blue", "red"]),
    ]  # fmt: skip
    told = Schema(target="y", classes=["0", "1"], columns=columns)
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "a b": generator.uniform(0, 9, 200),
            "whole": generator.integers(0, 10, 200),
            "colour": generator.choice(["red", "blue"], 200),
        }
    )
    target = (frame["a b"] > frame["whole"]) ^ (frame["colour"] == "red")
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    estimator = make_pipeline(encode, RandomForestClassifier(20, random_state=0)).fit(
        frame[["colour", "whole", "a b"]], target.astype(int)
    )
    kinds = [
        ("colour", StringTensorType([None, 1])),
        ("whole", Int64TensorType([None, 1])),
        ("a b", FloatTensorType([None, 1])),
    ]
    made = to_onnx(
        estimator,
        initial_types=kinds,
        options={id(estimator): {"zipmap": True}},
        target_opset=OPSET,
    ).SerializeToString()
    files, _ = converted({IMPORTED_ONNX: made}, told, [], 60.0)
    labels, _ = OnnxModel(files[ONNX], told).predict(frame.astype({"colour": object}))
    assert (labels == estimator.predict(frame[["colour", "whole", "a b"]])).mean() > 0.97
    other = Schema(
        target="y",
        classes=["0", "1"],
        columns=[columns[0], ColumnSchema(name="size", type="number", min=0, max=9), columns[2]],
    )
    with pytest.raises(
        VerificationError, match="inputs are not the table's features: it has 'colour', 'whole'"
    ):
        converted({IMPORTED_ONNX: made}, other, [], 60.0)
    gaps = Schema(
        target="y",
        classes=["0", "1"],
        columns=[columns[0], ColumnSchema(name="whole", type="number", nullable=True), columns[2]],
    )
    with pytest.raises(
        VerificationError, match="whole numbers, and the column 'whole' may be missing"
    ):
        converted({IMPORTED_ONNX: made}, gaps, [], 60.0)
    with pytest.raises(VerificationError, match="3 inputs, the table 1 features"):
        converted(
            {IMPORTED_ONNX: made},
            Schema(target="y", classes=["0", "1"], columns=columns[:1]),
            [],
            60.0,
        )
    with pytest.raises(
        VerificationError, match="one matrix of numbers, and the table has categories"
    ):
        converted({IMPORTED_ONNX: network("Softmax")}, told, [], 60.0)


@pytest.mark.parametrize(
    "make",
    [LinearRegression, lambda: RandomForestRegressor(5, random_state=0)],
    ids=["linear", "forest"],
)
@pytest.mark.parametrize("targets", [1, 2])
def test_an_imported_regressor_answers_quantities_as_skops_and_as_onnx(make, targets):
    frame, _ = rows(2)
    wanted = np.column_stack([frame["a"] * 3 + 1, frame["b"]])[:, :targets]
    estimator = make().fit(frame, wanted if targets > 1 else wanted[:, 0])
    told = Schema(target="y", classes=[], further=["z"][: targets - 1], columns=schema([]).columns)
    made = to_onnx(
        estimator, initial_types=[("features", FloatTensorType([None, 3]))], target_opset=OPSET
    ).SerializeToString()
    for given in ({IMPORTED_SKOPS: dump_skops(estimator)}, {IMPORTED_ONNX: made}):
        files, _ = converted(given, told, [], 60.0)
        assert np.allclose(
            OnnxModel(files[ONNX], told).predict(frame)[1],
            estimator.predict(frame).reshape(300, -1),
            atol=0.05,
        )
    with pytest.raises(VerificationError, match="2 outputs, one of"):
        converted({IMPORTED_ONNX: handmade("lp")}, told, [], 60.0)


def test_scores_beside_labels_are_no_probabilities():
    frame, codes = rows(2)
    estimator = LogisticRegression().fit(frame.to_numpy(np.float32), codes)
    options = {id(estimator): {"zipmap": False, "raw_scores": True}}
    made = to_onnx(
        estimator,
        initial_types=[("X", FloatTensorType([None, 3]))],
        options=options,
        target_opset=OPSET,
    ).SerializeToString()
    with pytest.raises(
        VerificationError, match="second output of the imported graph is no list of probabilities"
    ):
        converted({IMPORTED_ONNX: made}, schema(["0", "1"]), [], 60.0)


def test_outputs_in_the_other_order_are_told_apart_by_what_they_are():
    files, _ = converted({IMPORTED_ONNX: handmade("pl")}, schema(["ill", "well"]), [], 60.0)
    labels, probabilities = OnnxModel(files[ONNX], schema(["ill", "well"])).predict(rows(2)[0])
    assert np.array_equal(labels, (rows(2)[0]["a"].to_numpy() > 0).astype(int))
    assert np.array_equal(labels, probabilities.argmax(axis=1))


@pytest.mark.slow
def test_what_torch_exports_is_taken(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2), torch.nn.Softmax(dim=1)
    ).eval()
    torch.onnx.export(
        layers, torch.zeros(1, 3), str(tmp_path / "m.onnx"), input_names=["X"], dynamo=False
    )
    files, _ = converted(
        {IMPORTED_ONNX: (tmp_path / "m.onnx").read_bytes()},
        schema(["ill", "well"]),
        ["well", "ill"],
        60.0,
    )
    frame = rows(2)[0]
    with torch.no_grad():
        own = layers(torch.tensor(frame.to_numpy(np.float32))).numpy()
    assert np.allclose(
        OnnxModel(files[ONNX], schema(["ill", "well"])).predict(frame)[1], own[:, ::-1], atol=1e-5
    )


def test_a_model_of_other_features_or_of_the_other_task_is_refused():
    frame, codes = rows(2)
    other = LogisticRegression().fit(frame[["b", "a", "d"]], codes)
    with pytest.raises(VerificationError, match=r"takes the features \['b', 'a', 'd'\]"):
        converted({IMPORTED_SKOPS: dump_skops(other)}, schema(["0", "1"]), [], 60.0)
    with pytest.raises(VerificationError, match="no classifier"):
        converted(
            {IMPORTED_SKOPS: dump_skops(LinearRegression().fit(frame, codes))},
            schema(["0", "1"]),
            [],
            60.0,
        )
    with pytest.raises(VerificationError, match="no regressor with 1 outputs"):
        converted(
            {IMPORTED_SKOPS: dump_skops(LogisticRegression().fit(frame, codes))},
            schema([]),
            [],
            60.0,
        )


def test_nothing_of_the_users_file_but_the_computation_is_kept():
    model = onnx.load_model_from_string(handmade("lp"))
    entry = model.metadata_props.add()
    entry.key, entry.value = "rows", "61,ill"
    files, _ = converted(
        {IMPORTED_ONNX: model.SerializeToString()}, schema(["ill", "well"]), [], 60.0
    )
    assert b"61,ill" not in files[ONNX]


def test_an_import_says_at_once_what_a_run_would_say_and_a_run_blames_no_train_py(
    finished, tmp_path, cli
):
    root = tmp_path / "clinic"
    shutil.copytree(finished, root)
    names = [column.name for column in casemate.open(root).datasets["wdbc"].record.schema.features]
    weights = [("w", np.ones((len(names), 2), dtype=np.float32))]
    port = helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 2])
    given = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, len(names)])]
    (tmp_path / "theirs.onnx").write_bytes(
        graph([helper.make_node("MatMul", ["X", "w"], ["z"])], [port], weights, given)
    )
    answer = cli("model", "import", tmp_path / "theirs.onnx", "--config", root)
    assert answer.code == 1
    assert "written as imported/theirs.onnx" in answer.out
    assert (
        "as it stands, a run would refuse it: the imported graph's only output is no list of"
        " probabilities" in answer.out
    )
    assert "torch.nn.Softmax" in answer.out
    answer = cli("run", "-s", "train.model=imported/theirs.onnx", "--config", root)
    assert answer.code == 1
    assert (
        "error[CM-IMPORT]: the imported graph's only output is no list of probabilities"
        in answer.err
    )
    assert "train.py" not in answer.err + answer.out and "Traceback" not in answer.err
