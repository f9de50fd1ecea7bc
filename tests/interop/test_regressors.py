"""Quantities from a table to an answer: init, run, and every protocol, asked by Triton's client,
MLflow's and bare calls.
"""

import csv
import importlib.util
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.linear_model import LinearRegression, LogisticRegression
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import lighten, serving, write_csv

import casemate
from casemate.config import ServeTable
from casemate.core.errors import ConfigError, DataError, TrainingError
from casemate.operations import scaffold
from casemate.serve.explain import explain
from casemate.watch.canary import Statistics, drifted

ROWS = 400
TRAIN = """from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import {name}
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder


def build():
    kinds = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number"))
    return Pipeline([("columns", make_column_transformer(kinds, remainder="passthrough")), ("reg", {name}())])
"""


def table():
    """A person, a size and a kind that tell a price and a weight."""
    generator = np.random.default_rng(0)
    size, kind = generator.uniform(1, 5, ROWS), generator.integers(0, 2, ROWS)
    return pa.table(
        {
            "person": [f"P{number // 2:04d}" for number in range(ROWS)],
            "size": size,
            "kind": [("house", "boat")[place] for place in kind],
            "price": 1000 * size + 500 * kind + generator.normal(0, 100, ROWS),
            "weight": 3 * size - kind + generator.normal(0, 0.3, ROWS),
        }
    )


@pytest.fixture(scope="module")
def prices(home, tmp_path_factory):
    """A passed project with two targets; tests must not change it."""
    root = tmp_path_factory.mktemp("prices") / "prices"
    root.mkdir()
    plan = scaffold.from_table(
        root, write_csv(root / "prices.csv", table()), ["price", "weight"], "person"
    )
    scaffold.create(root, plan)
    lighten(root)
    path = root / "casemate.toml"
    path.write_text(re.sub(r"search = .*", "search = {}", path.read_text()))
    (root / "train.py").write_text(TRAIN.format(name="Ridge"))
    result = casemate.open(root).run()
    assert result.verdict.outcome == "passed", result.verdict
    return root


@pytest.fixture
def copy(prices, tmp_path):
    root = tmp_path / "prices"
    shutil.copytree(prices, root)
    return root


@pytest.fixture(scope="module")
def served(prices, tmp_path_factory):
    root = tmp_path_factory.mktemp("served") / "prices"
    shutil.copytree(prices, root)
    configured(
        root,
        'inputs = "sealed"\n' + ("grpc_port = 0\n" if importlib.util.find_spec("grpc") else ""),
    )
    project = casemate.open(root)
    token = new_token(project, "ward")[0]
    with serving(root) as running:
        yield running, project, token


COLUMNS = {"size": ("FP64", [2.0, 4.0]), "kind": ("BYTES", ["house", "boat"])}
INFER = {
    "inputs": [
        {"name": name, "shape": [2], "datatype": kind, "data": data}
        for name, (kind, data) in COLUMNS.items()
    ]
}


def predicted(served):
    running, _, token = served
    status, answer, headers = Caller(running, token)("POST", "/v2/models/prices/infer", INFER)
    assert status == 200, answer
    (output,) = json.loads(answer)["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("prediction", "FP64", [2, 2])
    return np.array(output["data"]).reshape(2, 2), headers["x-request-id"]


def test_quantities_are_near_the_truth_described_recorded_and_explained(served, prices):
    running, project, token = served
    values, identifier = predicted(served)
    assert np.allclose(values, [[2000, 6], [4500, 11]], rtol=0.1)
    described = json.loads(Caller(running, token)("GET", "/v2/models/prices")[1])
    assert described["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [-1, 2]}]
    assert described["parameters"]["targets"] == ["price", "weight"]
    found = explain(project, identifier)
    assert found.replayed is True
    assert [name for name, _ in found.answers] == ["price", "weight"] * 2
    assert [value for _, value in found.answers] == values.ravel().tolist(), "to the last bit"
    assert {one.feature for one in found.counted} == {"size", "kind"}
    project.decisions.check()
    truth = {"id": identifier, "outcome": [[2010.5, 6.1], [4400.0, 11.0]]}
    assert Caller(running, token)("POST", "/v2/models/prices/feedback", truth)[0] == 200
    assert project.decisions.outcome(identifier) == truth["outcome"]


def test_every_protocol_says_the_same(served, tmp_path, cli, monkeypatch):
    running, project, token = served
    values = predicted(served)[0].tolist()
    caller = Caller(running, token)
    records = {"dataframe_records": [{"size": 2.0, "kind": "house"}, {"size": 4.0, "kind": "boat"}]}
    assert json.loads(caller("POST", "/invocations", records)[1]) == {"predictions": values}
    lines = b"size,kind\n2.0,house\n4.0,boat\n"
    assert (
        json.loads(caller("POST", "/invocations", lines, Content_Type="text/csv")[1])["predictions"]
        == values
    )
    status, answer, headers = caller(
        "POST", "/invocations", lines, Content_Type="text/csv", Accept="text/csv"
    )
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert [
        [float(cell) for cell in line] for line in csv.reader(answer.decode().splitlines())
    ] == values
    binary = {**INFER, "outputs": [{"name": "prediction", "parameters": {"binary_data": True}}]}
    status, answer, headers = caller("POST", "/v2/models/prices/infer", binary)
    length = int(headers["inference-header-content-length"])
    assert np.frombuffer(answer[length:], "<f8").reshape(2, 2).tolist() == values
    rows = tmp_path / "rows.csv"
    rows.write_bytes(lines)
    monkeypatch.chdir(project.root)
    answer = cli("predict", rows, "--url", running.url)
    assert answer.code == 0, answer.err
    told = [row.split(",") for row in answer.out.split()]
    assert told[0] == ["row", "price", "weight", "request", "request_row"]
    assert [row[1:3] for row in told[1:]] == [[str(cell) for cell in row] for row in values]
    rows.write_bytes(b"size,kind\n")
    assert (
        cli("predict", rows, "--url", running.url).out == "row,price,weight,request,request_row\n"
    ), "no rows are no answers, under the same names"


def test_tritons_client_gets_quantities_over_http_and_grpc(served):
    triton_http, triton = (
        pytest.importorskip("tritonclient.http"),
        pytest.importorskip("tritonclient.grpc"),
    )
    running, _, token = served
    values = predicted(served)[0]

    def tensors(kind):
        found = []
        for name, (datatype, data) in COLUMNS.items():
            found.append(kind.InferInput(name, [2], datatype))
            found[-1].set_data_from_numpy(
                np.array(data, dtype=object if datatype == "BYTES" else np.float64)
            )
        return found

    headers = {"authorization": f"Bearer {token}"}
    if running.grpc:
        asking = triton.InferenceServerClient(
            running.grpc, ssl=True, root_certificates=str(running.ca)
        )
        assert np.array_equal(
            asking.infer("prices", tensors(triton), headers=headers).as_numpy("prediction"), values
        )
    import gevent.ssl

    def trusting(**_):
        return gevent.ssl.create_default_context(cafile=str(running.ca))

    asking = triton_http.InferenceServerClient(
        f"127.0.0.1:{running.port}", ssl=True, ssl_context_factory=trusting
    )
    assert np.array_equal(
        asking.infer("prices", tensors(triton_http), headers=headers).as_numpy("prediction"), values
    )


def test_who_may_see_a_label_only_is_told_the_range(copy):
    configured(copy, "", '[serve.outputs]\nshow = "label"\n')
    project = casemate.open(copy)
    caller = Caller(None, new_token(project, "ward")[0])
    with serving(copy) as running:
        caller.running = running
        (output,) = json.loads(caller("POST", "/v2/models/prices/infer", INFER)[1])["outputs"]
        token = new_token(project, "watch", "monitor")[0]
        metrics = Caller(running, token)("GET", "/metrics")[1].decode()
    assert output["name"] == "label"
    low, _, high = output["data"][0].partition(" to ")
    assert float(low) < 2000 < float(high) or float(low) < 2200
    assert f'label="{output["data"][0]}"' in metrics


def test_digits_round_quantities(copy):
    configured(copy, "", "[serve.outputs]\ndigits = 1\n")
    caller = Caller(None, new_token(casemate.open(copy), "ward")[0])
    with serving(copy) as running:
        caller.running = running
        (output,) = json.loads(caller("POST", "/v2/models/prices/infer", INFER)[1])["outputs"]
    assert all(value == round(value, 1) for value in output["data"])


def counted(*parts):
    seen = Statistics(answers=1000, rows=1000)
    for part in parts:
        seen.summed(part)
    return seen


@pytest.mark.parametrize("size", [1.0, 1e9])
def test_a_canary_whose_quantities_moved_is_noticed_and_an_equal_one_is_not(size):
    generator = np.random.default_rng(0)
    rows = size + generator.standard_normal((1000, 2))
    live = counted(*np.array_split(rows, 7))
    assert live.mean == pytest.approx(rows.mean(axis=0))
    assert live.deviation == pytest.approx(rows.std(axis=0), rel=1e-3)
    limits = ServeTable().canary
    alone = np.full((1, 2), 0.1 + 0.2)
    assert drifted(limits, counted(*[alone] * 300), counted(*[alone] * 900)) == ""
    assert drifted(limits, counted(rows[:500]), live) == ""
    second = rows + np.array([0.0, 0.005 * size + 2])
    assert "mean prediction" in drifted(limits, counted(second), live), (
        "the second target counts too"
    )


def test_a_graph_that_gives_something_else_is_not_taken_over(copy):
    rows = np.random.default_rng(0).uniform(0, 1, (50, 1))
    wrong = {
        "one.onnx": to_onnx(
            LinearRegression().fit(rows, rows[:, 0]),
            initial_types=[("size", DoubleTensorType([None, 1]))],
        ),
        "class.onnx": to_onnx(
            LogisticRegression().fit(rows, rows[:, 0] > 0.5),
            initial_types=[("size", DoubleTensorType([None, 1]))],
            options={"zipmap": False},
        ),
    }
    path = copy / "casemate.toml"
    path.write_text(
        path.read_text()
        .replace("[data]\n", "[data.columns]\nkind = { use = false }\n\n[data]\n")
        .replace('person = { class = "identifier" }\n', "")
    )
    (copy / "schema.toml").unlink()
    for name, graph in wrong.items():
        (copy / name).write_bytes(graph.SerializeToString())
        with pytest.raises(
            casemate.Error,
            match="numbers a row|does not give quantities|one of 2 quantities is expected",
        ):
            casemate.open(copy, overrides=[f'train.model="{name}"']).run()


def test_an_unchanged_model_is_compared_with_itself_and_gated(copy):
    path = copy / "casemate.toml"
    path.write_text(
        path.read_text().replace(
            "[gates]\n",
            '[gates]\nrmse = { no_worse_than = "previous" }\nrobust_accuracy = { min = 0.5, eps ='
            " 0.05 }\n",
        )
    )
    result = casemate.open(copy).run()
    assert {gate.gate: gate.outcome for gate in result.verdict.gates}["rmse"] == "passed"
    assert result.verdict.outcome == "passed", result.verdict
    assert result.assessment.compared["rmse"].value == 0.0
    card = next((copy / ".casemate" / "runs" / result.id).rglob("model-card.md")).read_text()
    assert "price, weight" in card
    assert "deviations of the target" in card


def test_a_classifier_is_no_regressor_and_the_message_says_so(copy):
    (copy / "train.py").write_text(TRAIN.format(name="LogisticRegression"))
    with pytest.raises(TrainingError, match="expected an unfitted scikit-learn regressor"):
        casemate.open(copy).run()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.set_column(3, "price", pa.array(["dear"] * ROWS)), "no number"),
        (lambda rows: rows.set_column(3, "price", pa.array([7.0] * ROWS)), "one value only"),
        (lambda rows: rows.drop_columns(["weight"]), "no column 'weight'"),
    ],
)
def test_a_target_that_is_no_quantity_is_refused(tmp_path, change, words):
    file = write_csv(tmp_path / "t.csv", change(table()))
    with pytest.raises(casemate.Error, match=words):
        scaffold.from_table(tmp_path / "p", file, ["price", "weight"])


@pytest.mark.parametrize(
    ("targets", "subject", "task", "words"),
    [
        ([f"l{at}" for at in range(17)], None, "classification", "a project learns up to 16"),
        (["price", "price"], None, None, "names a column twice"),
        (["price", "person"], "person", None, "subject and target are the same column"),
    ],
)
def test_init_refuses_targets_that_do_not_go_together_before_it_reads_the_table(
    tmp_path, targets, subject, task, words
):
    with pytest.raises(ConfigError, match=words):
        scaffold.from_table(
            tmp_path / "p", tmp_path / "there-is-none.csv", targets, subject, task=task
        )


def test_init_tells_quantities_from_classes(tmp_path, cli):
    file = write_csv(tmp_path / "t.csv", table())
    answer = cli(
        "init", tmp_path / "one", "--table", file, "--target", "price", "--subject", "person"
    )
    assert answer.code == 0 and "so a regressor is trained" in answer.out
    assert 'task = "regression"' in (tmp_path / "one" / "casemate.toml").read_text()
    answer = cli(
        "init", tmp_path / "two", "--table", file, "--target", "kind", "--subject", "person"
    )
    assert answer.code == 0 and "task" not in (tmp_path / "two" / "casemate.toml").read_text()
    with pytest.raises(DataError, match="different values") as refused:
        scaffold.from_table(tmp_path / "three", file, "price", task="classification")
    assert 'task = "regression"' in refused.value.hint


def test_a_pinned_schema_of_the_other_task_is_refused(copy):
    path = copy / "casemate.toml"
    path.write_text(
        path.read_text()
        .replace('target = ["price", "weight"]', 'target = "kind"')
        .replace('task = "regression"\n', "")
        .replace("r2", "accuracy")
    )
    with pytest.raises(DataError, match="pinned for regression"):
        casemate.open(copy).run()
