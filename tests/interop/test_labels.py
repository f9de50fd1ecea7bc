"""Several labels a row from a table to an answer: init, run, gates by label, every protocol, and what
is refused.
"""

import csv
import importlib.util
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_predictions import configured
from tests.conftest import lighten, serving, write_csv

import casemate
from casemate.core.errors import ConfigError, DataError, TrainingError
from casemate.core.types import Assessment
from casemate.ml import models
from casemate.ml.frame import features_of, target_of
from casemate.operations import scaffold
from casemate.serve.explain import explain

ROWS = 700
LABELS = ["fire", "flood", "theft"]
TRAIN = """from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder


def build():
    kinds = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number"))
    return {wrap}(Pipeline([("columns", make_column_transformer(kinds, remainder="passthrough")), ("clf", LogisticRegression())]))
"""


def table(rows=ROWS):
    """A person, a size and a kind that tell three labels: one in numbers, two in words."""
    generator = np.random.default_rng(0)
    size, kind = generator.normal(0, 1, rows), generator.integers(0, 2, rows)
    noise = generator.normal(0, 0.3, (rows, 3))
    fire, flood, theft = size + noise[:, 0] > 0, size - noise[:, 1] < -0.3, kind + noise[:, 2] > 0.7
    return pa.table(
        {
            "person": [f"P{number // 2:04d}" for number in range(rows)],
            "size": size,
            "kind": [("house", "boat")[place] for place in kind],
            "fire": fire.astype(int),
            "flood": [("no", "yes")[place] for place in flood.astype(int)],
            "theft": [("no", "yes")[place] for place in theft.astype(int)],
        }
    )


@pytest.fixture(scope="module")
def claims(home, tmp_path_factory):
    """A passed project with three labels; tests must not change it."""
    root = tmp_path_factory.mktemp("claims") / "claims"
    root.mkdir()
    plan = scaffold.from_table(root, write_csv(root / "claims.csv", table()), LABELS, "person")
    scaffold.create(root, plan)
    lighten(root)
    path = root / "casemate.toml"
    text = re.sub(r"search = .*", "search = {}", path.read_text())
    text = text.replace("[gates]\n", '[gates]\n"theft.roc_auc" = { min = 0.7 }\n', 1)
    text = text.replace("# hamming_loss", "hamming_loss").replace("# robust", "robust")
    path.write_text(text + "\n[data.columns.kind]\nprotected = true\n")
    (root / "train.py").write_text(TRAIN.format(wrap="MultiOutputClassifier"))
    result = casemate.open(root).run()
    assert result.verdict.outcome == "passed", result.verdict
    return root


@pytest.fixture
def copy(claims, tmp_path):
    root = tmp_path / "claims"
    shutil.copytree(claims, root)
    return root


@pytest.fixture(scope="module")
def served(claims, tmp_path_factory):
    root = tmp_path_factory.mktemp("served") / "claims"
    shutil.copytree(claims, root)
    configured(
        root,
        'inputs = "sealed"\n' + ("grpc_port = 0\n" if importlib.util.find_spec("grpc") else ""),
    )
    project = casemate.open(root)
    token = new_token(project, "ward")[0]
    with serving(root) as running:
        yield running, project, token


COLUMNS = {"size": ("FP64", [2.0, -2.0]), "kind": ("BYTES", ["boat", "house"])}
INFER = {
    "inputs": [
        {"name": name, "shape": [2], "datatype": kind, "data": data}
        for name, (kind, data) in COLUMNS.items()
    ]
}
SAID = [["1", "no", "yes"], ["0", "yes", "no"]]


def test_figures_are_those_of_the_worst_label_and_every_label_has_its_own(claims):
    assessment = casemate.open(claims).engine.newest_step("assess", Assessment)
    assert list(assessment.labels) == LABELS
    worst = min(LABELS, key=lambda name: assessment.labels[name].metrics["roc_auc"].low)
    assert assessment.metrics["roc_auc"] == assessment.labels[worst].metrics["roc_auc"]
    leaks = [one.figures["label_only_auc"].high for one in assessment.labels.values()]
    assert assessment.figures["label_only_auc"].high == max(leaks)
    gaps = [one.figures["demographic_parity_difference"] for one in assessment.labels.values()]
    assert assessment.figures["demographic_parity_difference"] in gaps
    assert {"hamming_loss", "subset_accuracy", "micro_f1", "macro_f1"} <= {*assessment.metrics}
    assert all(one.robustness["curve"] for one in assessment.labels.values())
    card = next((claims / ".casemate" / "runs").rglob("model-card.md")).read_text()
    assert "theft.roc_auc" in card
    assert "of the worst one" in card


def test_what_was_signed_answers_as_scikit_learn_reckons_it(claims):
    verified = casemate.open(claims).registry.verify("claims@1")
    schema = verified.card.inputs
    assert schema.labels == [["0", "1"], ["no", "yes"], ["no", "yes"]]
    read = models.load(verified.files, "skops", schema)
    rows = table()
    frame = features_of(rows, schema)
    truth = target_of(rows, schema)
    labels, chances = read.predict(frame)
    assert labels.shape == chances.shape == truth.shape == (ROWS, 3)
    assert min(roc_auc_score(truth[:, at], chances[:, at]) for at in range(3)) > 0.9
    assert f1_score(truth, labels, average="micro") > 0.8
    other = models.skops_io().loads(
        verified.files["model.skops"], trusted=list(models.ALLOWED_TYPES)
    )
    assert type(other).__name__ == "MultiOutputClassifier"
    assert np.array_equal(other.predict(frame), labels)


def test_labels_and_their_chances_are_served_described_recorded_and_explained(served):
    running, project, token = served
    caller = Caller(running, token)
    status, answer, headers = caller("POST", "/v2/models/claims/infer", INFER)
    assert status == 200, answer
    label, chances = json.loads(answer)["outputs"]
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "BYTES", [2, 3])
    assert label["data"] == SAID[0] + SAID[1]
    assert (chances["name"], chances["shape"]) == ("probabilities", [2, 3])
    assert chances["data"][0] > 0.9
    assert chances["data"][3] < 0.1
    described = json.loads(caller("GET", "/v2/models/claims")[1])
    assert [one["shape"] for one in described["outputs"]] == [[-1, 3], [-1, 3]]
    assert described["parameters"]["labels"] == LABELS
    found = explain(project, headers["x-request-id"])
    assert found.replayed is True
    assert [name for name, _ in found.answers[:3]] == ["fire 1", "flood no", "theft yes"]
    assert found.answers[1][1] == pytest.approx(1 - chances["data"][1])
    truth = {"id": headers["x-request-id"], "outcome": SAID}
    assert caller("POST", "/v2/models/claims/feedback", truth)[0] == 200
    assert project.decisions.outcome(headers["x-request-id"]) == [["fire", "theft"], ["flood"]]
    watch = new_token(project, "watch", "monitor")[0]
    metrics = Caller(running, watch)("GET", "/metrics")[1].decode()
    assert 'label="fire"' in metrics
    assert 'label="flood"' in metrics


def test_every_protocol_says_the_same(served, tmp_path, cli, monkeypatch):
    running, project, token = served
    caller = Caller(running, token)
    lines = b"size,kind\n2.0,boat\n-2.0,house\n"
    told = json.loads(caller("POST", "/invocations", lines, Content_Type="text/csv")[1])
    assert told["predictions"] == SAID
    answer = caller("POST", "/invocations", lines, Content_Type="text/csv", Accept="text/csv")[1]
    read = list(csv.reader(answer.decode().splitlines()))
    assert [row[:3] for row in read] == SAID
    assert [len(row) for row in read] == [6, 6]
    if running.grpc:
        triton = pytest.importorskip("tritonclient.grpc")
        tensors = []
        for name, (datatype, data) in COLUMNS.items():
            tensors.append(triton.InferInput(name, [2], datatype))
            kind = object if datatype == "BYTES" else np.float64
            tensors[-1].set_data_from_numpy(np.array(data, dtype=kind))
        asking = triton.InferenceServerClient(
            running.grpc, ssl=True, root_certificates=str(running.ca)
        )
        found = asking.infer("claims", tensors, headers={"authorization": f"Bearer {token}"})
        assert [[one.decode() for one in row] for row in found.as_numpy("label")] == SAID
    rows = tmp_path / "rows.csv"
    rows.write_bytes(lines)
    monkeypatch.chdir(project.root)
    answer = cli("predict", rows, "--url", running.url)
    assert answer.code == 0, answer.err
    told = [row.split(",") for row in answer.out.split()]
    chances = [f"p_{name}" for name in LABELS]
    assert told[0] == ["row", *LABELS, *chances, "request", "request_row"]
    assert [row[1:4] for row in told[1:]] == SAID


def test_who_may_see_labels_only_gets_no_chances_and_counts_are_refused(copy):
    configured(copy, "", '[serve.outputs]\nshow = "label"\n')
    caller = Caller(None, new_token(casemate.open(copy), "ward")[0])
    with serving(copy) as running:
        caller.running = running
        (output,) = json.loads(caller("POST", "/v2/models/claims/infer", INFER)[1])["outputs"]
    assert output["data"] == SAID[0] + SAID[1]


def test_an_equal_model_is_compared_label_by_label(copy):
    path = copy / "casemate.toml"
    text = path.read_text().replace("eps = 0.1", "eps = 0.05")  # or nothing is measured anew
    gate = '[gates]\nf1 = { no_worse_than = "previous" }\n'
    path.write_text(text.replace("[gates]\n", gate, 1))
    result = casemate.open(copy).run()
    assert result.verdict.outcome == "passed", (result.verdict, result.assessment.inconclusive)
    assert result.assessment.compared["f1"].value == 0.0
    assert {one.previous for one in result.assessment.labels.values()} == {"claims@1"}


def test_a_gate_on_one_label_refuses_the_model_and_names_it(copy):
    path = copy / "casemate.toml"
    path.write_text(path.read_text().replace("{ min = 0.7 }", "{ min = 0.999 }", 1))
    result = casemate.open(copy).run()
    gates = {gate.gate: gate for gate in result.verdict.gates}
    assert gates["theft.roc_auc"].outcome in ("refused", "inconclusive")
    assert gates["roc_auc"].outcome == "passed"
    assert result.verdict.outcome != "passed"


def test_a_chain_is_refused_with_the_way_out(copy):
    (copy / "train.py").write_text(TRAIN.format(wrap="ClassifierChain"))
    with pytest.raises(TrainingError, match="returned ClassifierChain, and every label"):
        casemate.open(copy).run()


@pytest.mark.long
def test_costs_move_the_threshold_of_every_label(copy):
    rows = pa.table({name: table()[name] for name in ("person", "size", "kind")})
    for name in LABELS:
        rows = rows.append_column(
            name,
            pa.array(
                ["yes" if str(one) in ("1", "yes") else "no" for one in table()[name].to_pylist()]
            ),
        )
    write_csv(copy / "claims.csv", rows)
    (copy / "schema.toml").unlink()
    result = casemate.open(copy, overrides=["train.costs={no=1,yes=9}"]).run()
    assert {*result.assessment.labels} == {*LABELS}
    costs = [one.metrics["cost"] for one in result.assessment.labels.values()]
    assert result.assessment.metrics["cost"] == max(costs, key=lambda one: one.high)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (['train.mode="private"'], "'private' training is for one target"),
        (['train.mode="adversarial"'], "'adversarial' training is for one target"),
        (['train.model="m.onnx"'], "an imported model answers for one target"),
        (["gates.r2.min=0.5"], "no figure of classification"),
        (['data.ordinal=["a", "b", "c"]'], "is for the classes of one target"),
        (['assess.tables.fire="t.csv"'], "is a label's name too"),
    ],
)
def test_what_is_for_one_target_is_refused_before_the_work(copy, overrides, words):
    with pytest.raises(ConfigError, match=words):
        casemate.open(copy, overrides=overrides)


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ('"water.roc_auc" = { min = 0.5 }', "target no such label"),
        ('"fire.hamming_loss" = { max = 0.5 }', "is about all labels of a row together"),
        ('"fire.robust_accuracy" = { min = 0.5 }', "give eps"),
    ],
)
def test_a_gate_on_what_is_no_label_or_no_figure_of_one_is_refused(copy, gate, words):
    path = copy / "casemate.toml"
    path.write_text(path.read_text().replace("[gates]\n", f"[gates]\n{gate}\n", 1))
    with pytest.raises(ConfigError, match=words):
        casemate.open(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows.set_column(4, "flood", pa.array(["yes"] * ROWS)), "one class only"),
        (
            lambda rows: rows.set_column(4, "flood", pa.array(["a", "b", "c", "d"] * (ROWS // 4))),
            "labels and the others are not|has 4 different values",
        ),
    ],
)
def test_a_label_is_yes_or_no(tmp_path, change, words):
    file = write_csv(tmp_path / "t.csv", change(table()))
    with pytest.raises((ConfigError, DataError), match=words):
        scaffold.from_table(tmp_path / "p", file, LABELS, task="classification")
