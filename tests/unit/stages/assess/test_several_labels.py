"""Several labels a row, piece by piece: views, folds, figures of all labels, the worst label, gates by
label, and what a caller is told.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, hamming_loss
from sklearn.multioutput import MultiOutputClassifier
from tests.unit.stages.release.test_gate import records

from casemate.config import MORE_IS_BETTER, OutputsTable, TrainTable, worst
from casemate.core.errors import VerificationError
from casemate.core.types import Assessment, ColumnSchema, Finding, Interval, Schema
from casemate.ml.frame import are_labels, rarest_of, strata_of, target_of
from casemate.ml.labels import LabelsModel, parts_of, together
from casemate.ml.models import SkopsModel, dump_skops, load_trained, untrusted_types
from casemate.serve import outputs
from casemate.serve.predictions import columns_of
from casemate.stages.assess import several
from casemate.stages.assess.sample import Sample
from casemate.stages.release.gate import figures, judge
from casemate.stages.train.folds import Rows, splits

SCHEMA = Schema(
    target="fire",
    classes=[],
    labels=[["0", "1"], ["no", "yes"]],
    further=["theft"],
    columns=[
        ColumnSchema(name="size", type="number"),
        ColumnSchema(name="fire", type="category", use=True),
        ColumnSchema(name="theft", type="category", use=True),
    ],
)


def test_a_view_has_one_label_as_target_and_no_other_label_among_its_features():
    assert not SCHEMA.regression
    assert [view.target for view in SCHEMA.views] == ["fire", "theft"]
    theft = SCHEMA.one("theft")
    assert (theft.classes, theft.further, theft.labels) == (["no", "yes"], [], [])
    assert [column.name for column in theft.features] == ["size"]
    table = pa.table({"size": [1.0, 2.0], "fire": ["1", "0"], "theft": ["no", "yes"]})
    assert target_of(table, SCHEMA).tolist() == [[1, 0], [0, 1]]
    assert are_labels(target_of(table, SCHEMA))
    assert not are_labels(np.zeros((2, 2))), "quantities"


def test_rows_are_shared_out_by_the_rarest_label_that_they_carry():
    labels = np.array([[1, 1], [1, 0], [1, 0], [0, 0], [1, 0]])
    # the first label is mostly yes, so that its no is carried; the second one is the rarest
    assert rarest_of(labels).tolist() == [2, 0, 0, 1, 0]
    generator = np.random.default_rng(0)
    rare = (generator.random((300, 6)) < [0.02, 0.03, 0.5, 0.97, 0.04, 0.2]).astype(np.int64)
    rare[:5, 0] = 1
    assert np.array_equal(strata_of(rare), rarest_of(rare))
    rows = Rows(pd.DataFrame({"x": generator.random(300)}), rare)
    for train, test in splits(rows, TrainTable(entry="t.py:build"), 5, 0):
        for side in (train, test):
            assert {len(np.unique(codes)) for codes in rare[side].T[:1]} == {2}, "the rarest label"


@pytest.mark.slow
def test_figures_of_all_labels_are_scikit_learns():
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2, (200, 3))
    said = np.where(generator.random((200, 3)) < 0.2, 1 - truth, truth)
    sample = Sample(pd.DataFrame({"x": np.zeros(200)}), truth)
    found = several.figures(sample, said, 100, 0)
    expected = {
        "hamming_loss": hamming_loss(truth, said),
        "subset_accuracy": accuracy_score(truth, said),
        "micro_f1": f1_score(truth, said, average="micro"),
        "macro_f1": f1_score(truth, said, average="macro"),
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert all(one.low < one.value < one.high for one in found.values())
    weights = generator.random(200)
    weighed = several.figures(Sample(sample.frame, truth, None, weights), said, 100, 0)
    assert weighed["hamming_loss"].value == pytest.approx(
        hamming_loss(truth, said, sample_weight=weights)
    )
    assert weighed["subset_accuracy"].value == pytest.approx(
        accuracy_score(truth, said, sample_weight=weights)
    )


def interval(value, half=0.1):
    return Interval(value=value, low=value - half, high=value + half)


def test_the_worst_figure_is_the_one_whose_bad_end_is_the_worst():
    wide, narrow = interval(0.8, 0.3), interval(0.7, 0.1)
    assert worst("roc_auc", [wide, narrow]) is wide, "its low end is lower"
    assert worst("membership_auc", [wide, narrow]) is wide, "its high end is higher"
    assert worst("robust_accuracy@0.1", [wide, narrow]) is wide
    assert worst("later.log_loss", [interval(0.3), interval(0.9)]).value == 0.9
    assert worst("later.accuracy", [interval(0.3), interval(0.9)]).value == 0.3
    assert "hamming_loss" not in MORE_IS_BETTER


def assessed(fire, theft):
    """An assessment of two labels, of what each measured."""
    empty = dict(calibration={}, roc={}, slices=[], parity={}, serve_format="skops")
    labels = {
        name: Assessment(
            **{
                **empty,
                "rows": 10,
                "metrics": {},
                "robustness": {},
                "membership": {},
                "findings": [],
                "inconclusive": [],
                **told,
            }
        )
        for name, told in (("fire", fire), ("theft", theft))
    }
    whole = Assessment(
        **empty, rows=10, metrics={"hamming_loss": interval(0.2)}, robustness={}, membership={},
        findings=[], inconclusive=[],
    )  # fmt: skip
    return several.together(whole, labels)


def test_what_is_not_measured_of_one_label_is_not_measured_and_blocks_its_gate(config):
    curve = {"curve": [{"eps": 0.1, "robust_accuracy": 0.9}]}
    found = assessed(
        {"metrics": {"f1": interval(0.8), "roc_auc": interval(0.9)}, "robustness": curve},
        {
            "metrics": {"roc_auc": interval(0.8)},
            "robustness": {},
            "inconclusive": ["robustness: crashed"],
        },
    )
    assert set(found.metrics) == {"hamming_loss", "roc_auc"}
    assert found.metrics["roc_auc"].value == 0.8
    assert found.inconclusive == ["robustness: label 'theft': crashed"]
    dataset, model, _ = records()
    told = figures(dataset, model, found)
    assert "robust_accuracy@0.1" not in told
    assert told["fire.robust_accuracy@0.1"].value == 0.9
    assert told["theft.roc_auc"].value == 0.8
    gates = "gates.robust_accuracy={ min = 0.1, eps = 0.1 }"
    answer = judge(config(gates), dataset, model, found)
    assert answer.outcome == "inconclusive"
    assert any("label 'theft': crashed" in reason for reason in answer.reasons)


def test_a_finding_names_its_label_and_one_of_all_labels_stands_once():
    def said(text):
        return Finding(id="a.b", severity="low", confidence="high", message=text)

    found = assessed({"findings": [said("same"), said("of fire")]}, {"findings": [said("same")]})
    assert [finding.message for finding in found.findings] == ["same", "label 'fire': of fire"]


def test_a_gate_says_which_label_is_the_worst(config):
    found = assessed({"metrics": {"f1": interval(0.4)}}, {"metrics": {"f1": interval(0.8)}})
    dataset, model, _ = records()
    answer = judge(config("gates.f1={ min = 0.7 }"), dataset, model, found)
    assert answer.outcome == "refused"
    told = "f1 is 0.4000 (0.3000 to 0.5000) (label 'fire', the worst)"
    assert any(told in reason for reason in answer.reasons)


@pytest.fixture
def fitted():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"size": generator.normal(size=200)})
    labels = np.column_stack([frame["size"] > 0, frame["size"] < 0.5]).astype(np.int64)
    return frame, [LogisticRegression().fit(frame, codes) for codes in labels.T]


def test_one_file_holds_a_classifier_a_label_and_each_answers_for_itself(fitted):
    frame, parts = fitted
    content = dump_skops(together(parts))
    assert untrusted_types(content) == []
    model = load_trained({"model.skops": content}, SCHEMA)
    assert isinstance(model, LabelsModel)
    labels, chances = model.predict(frame)
    for place, part in enumerate(parts):
        assert np.array_equal(labels[:, place], part.predict(frame))
        assert np.array_equal(chances[:, place], part.predict_proba(frame)[:, 1])
    assert np.array_equal(model.scores(frame) > 0, labels == 1)


def test_a_file_with_another_number_of_classifiers_or_classes_is_refused(fitted):
    frame, parts = fitted
    other = LogisticRegression().fit(frame, np.arange(200) % 3)
    for wrong in (together(parts[:1]), together([parts[0], other]), parts[0]):
        with pytest.raises(VerificationError, match="no classifier of yes and no for each of 2"):
            parts_of(wrong, SCHEMA)
    assert type(together(parts)) is MultiOutputClassifier
    assert isinstance(SkopsModel(parts[0]), SkopsModel)


class Endpoint:
    """What `shown` asks of an endpoint."""

    labels, classes, regression = SCHEMA.labels, SCHEMA.targets, False


def test_a_caller_is_told_the_tables_own_values_label_by_label():
    chances = np.array([[0.9, 0.2], [0.1, 0.8]], dtype=np.float32)
    told = outputs.shown(Endpoint, [0b01, 0b10], chances, OutputsTable())
    assert told["label"] == ["1", "no", "0", "yes"]
    assert outputs.shape_of(Endpoint, "label", told["label"]) == [2, 2]
    assert outputs.shown(Endpoint, [0b11], chances[:1], OutputsTable(show="label")) == {
        "label": ["1", "yes"]
    }
    best = outputs.shown(Endpoint, [0b01, 0b10], chances, OutputsTable(show="top", top=1))
    assert best["top"] == ["fire", "theft"]
    data = {"label": {"data": told["label"]}, "probabilities": {"data": chances.ravel().tolist()}}
    assert columns_of({"labels": SCHEMA.targets}, data) == {
        "fire": ["1", "0"],
        "theft": ["no", "yes"],
        "p_fire": pytest.approx([0.9, 0.1]),
        "p_theft": pytest.approx([0.2, 0.8]),
    }
