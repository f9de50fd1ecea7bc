"""Conversions that are known to give another model are caught on rows that the hold-out does not
have; sound ones keep their graph.
"""

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from casemate.core.errors import VerificationError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.graph import canonical
from casemate.ml.models import ONNX, SKOPS, SkopsModel, dump_skops, load_skops
from casemate.stages.assess import parity, probes, worker
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.work import Work
from casemate.stages.train import export
from casemate.stages.train.convert import converted

pytestmark = pytest.mark.slow

GUARD = {"outside": "flag", "unknown": "refuse"}
COLORS = ["blue", "green", "red"]
COLUMNS = [
    ColumnSchema(name="a", type="number", min=-4.0, max=4.0, nullable=True),
    ColumnSchema(name="b", type="number", min=-4.0, max=4.0, nullable=True),
    ColumnSchema(name="d", type="number", min=0.0, max=9.0),
    ColumnSchema(name="c", type="category", categories=COLORS),
]
TEXT = Schema(target="y", classes=["0", "1"], columns=COLUMNS)
PLAIN = Schema(target="y", classes=["0", "1"], columns=COLUMNS[:3])
QUANTITY = Schema(target="y", classes=[], columns=COLUMNS[:3])


def rows(count, seed, missing=0):
    """Features and classes that depend on all of them; the first `missing` rows have a gap in `a`
    or `b`, which says something too.
    """
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(count, 2)).clip(-4, 4), columns=["a", "b"])
    frame["d"] = np.round(generator.uniform(0, 9, count), 1)
    frame["c"] = np.array(COLORS, dtype=object)[generator.integers(3, size=count)]
    signal = frame["a"] * frame["b"] + frame["a"] + 0.3 * frame["d"] + (frame["c"] == "green")
    codes = (signal + 0.5 * generator.normal(size=count) > signal.median()).astype(int).to_numpy()
    frame.loc[: missing // 2 - 1, "a"] = np.nan
    frame.loc[missing // 2 : missing - 1, "b"] = np.nan
    return frame, codes


def compared(estimator, schema, missing=0, *, quantities=False, stored=True):
    """Parity of the estimator's graph, with a hold-out without gaps; what it has no answer to."""
    (frame, codes), (held, truth) = rows(400, 0, missing), rows(200, 1)
    names = [column.name for column in schema.features]
    if quantities:
        codes, truth = (
            np.exp(frame["d"].to_numpy() / 3) + 0.1,
            (np.exp(held["d"].to_numpy() / 3) + 0.1)[:, None],
        )
    fitted = estimator.fit(frame[names], codes)
    if stored:
        files, said = converted({SKOPS: dump_skops(fitted)}, schema, [], 120.0)
        model, graph, problem = load_skops(files[SKOPS]), files.get(ONNX, b""), said.export_problem
    else:
        model, (graph, problem) = SkopsModel(fitted), export.to_onnx(fitted, schema)
        graph = canonical(graph) if graph else b""
    members = Sample(frame[names], codes[:, None] if quantities else codes)
    kinds = probes.kinds(schema, Sample(held[names], truth), members, GUARD, 0, 1000)
    answers, without = parity.answers_of(model, kinds, schema)
    return parity.measure(answers, model, graph, schema, kinds), problem, without


ENCODED = (OneHotEncoder(handle_unknown="ignore"), ["c"])
NUMBERS = ["a", "b", "d"]
SOUND = {
    "logistic": (
        make_pipeline(
            make_column_transformer(
                (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS), ENCODED
            ),
            LogisticRegression(),
        ),
        TEXT,
    ),
    "forest": (
        make_pipeline(
            make_column_transformer((SimpleImputer(strategy="median"), NUMBERS), ENCODED),
            RandomForestClassifier(15, random_state=0),
        ),
        TEXT,
    ),
    "scaled forest": (
        make_pipeline(SimpleImputer(), StandardScaler(), ExtraTreesClassifier(15, random_state=0)),
        PLAIN,
    ),
    "boosted": (make_pipeline(SimpleImputer(), HistGradientBoostingClassifier(max_iter=20)), PLAIN),
    "scaled boosted": (
        make_pipeline(
            SimpleImputer(), StandardScaler(), HistGradientBoostingClassifier(max_iter=20)
        ),
        PLAIN,
    ),
    "boosted beside text": (
        make_pipeline(
            make_column_transformer((SimpleImputer(), NUMBERS), ENCODED),
            HistGradientBoostingClassifier(max_iter=20),
        ),
        TEXT,
    ),
    "boosted, with gaps": (HistGradientBoostingClassifier(max_iter=20), PLAIN),
    "a forest with gaps": (RandomForestClassifier(15, random_state=0), PLAIN),
    "a tree with gaps": (DecisionTreeClassifier(max_depth=6, random_state=0), PLAIN),
    "an indicator of gaps": (
        make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression()),
        PLAIN,
    ),
    "native categories": (
        make_pipeline(
            make_column_transformer((OrdinalEncoder(), ["c"]), remainder="passthrough"),
            HistGradientBoostingClassifier(max_iter=20, categorical_features=[0]),
        ),
        TEXT,
    ),
    "a threshold on a probability": (
        make_pipeline(
            SimpleImputer(), FixedThresholdClassifier(LogisticRegression(), threshold=0.2)
        ),
        PLAIN,
    ),
    "a threshold on the other class": (
        FixedThresholdClassifier(
            HistGradientBoostingClassifier(max_iter=20),
            threshold=0.7,
            pos_label=0,
            response_method="predict_proba",
        ),
        PLAIN,
    ),
    "neighbours": (
        make_pipeline(SimpleImputer(), StandardScaler(), KNeighborsClassifier(5)),
        PLAIN,
    ),
}


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.filterwarnings("ignore")
def test_a_sound_conversion_keeps_its_graph(name):
    estimator, schema = SOUND[name]
    found, problem, without = compared(estimator, schema, 60)
    assert found["equal"], (problem, found)
    assert not without
    assert {
        "a missing cell",
        "several missing cells",
        "numbers at their limits",
        "numbers beyond their limits",
    } <= set(found["kinds"])


WRONG = {
    "Yeo-Johnson on gaps": (
        make_pipeline(PowerTransformer(), HistGradientBoostingClassifier(max_iter=20)),
        PLAIN,
        60,
    ),
    "neighbours by distance": (
        make_pipeline(SimpleImputer(), KNeighborsClassifier(5, weights="distance")),
        PLAIN,
        0,
    ),
    "imputed by neighbours": (make_pipeline(KNNImputer(), LogisticRegression()), PLAIN, 60),
    "a threshold on a margin": (
        make_pipeline(
            SimpleImputer(),
            FixedThresholdClassifier(
                LogisticRegression(), threshold=0.2, response_method="decision_function"
            ),
        ),
        PLAIN,
        0,
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_conversion_is_not_served_and_the_finding_says_why(name):
    estimator, schema, missing = WRONG[name]
    found, problem, without = compared(estimator, schema, missing)
    assert not found["equal"]
    assert problem or parity.unequal(found, schema)
    assert not without, "the estimator itself answers, and serves"


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_a_boosted_regressor_answers_through_its_link(loss):
    found, problem, _ = compared(
        HistGradientBoostingRegressor(max_iter=20, loss=loss), QUANTITY, quantities=True
    )
    assert found["equal"], (problem, found)


def test_a_sound_link_keeps_its_graph():
    found, problem, without = compared(
        make_pipeline(SimpleImputer(), StandardScaler(), PoissonRegressor()),
        QUANTITY,
        0,
        quantities=True,
    )
    assert found["equal"], (problem, found)
    assert not without


def test_labels_are_compared_apart_from_probabilities():
    """A threshold changes no probability."""
    threshold = make_pipeline(
        SimpleImputer(), FixedThresholdClassifier(LogisticRegression(), threshold=0.2)
    )
    frame, codes = rows(300, 0)
    names = ["a", "b", "d"]
    kinds = probes.kinds(
        PLAIN, Sample(frame[names], codes), Sample(frame[names], codes), GUARD, 0, 500
    )
    model = load_skops(dump_skops(threshold.fit(frame[names], codes)))
    inner = make_pipeline(threshold.steps[0][1], threshold.steps[1][1].estimator_)
    files, _ = converted({SKOPS: dump_skops(inner)}, PLAIN, [], 60.0)
    answers, _ = parity.answers_of(model, kinds, PLAIN)
    found = parity.measure(answers, model, files[ONNX], PLAIN, kinds)
    assert found["max_difference"] < 1e-6
    assert found["label_agreement"] < 0.95
    assert not found["equal"]


def test_a_model_without_an_answer_to_rows_that_the_schema_admits_is_named():
    frame, codes = rows(200, 0)
    names = ["a", "b", "d"]
    sample = Sample(frame[names], codes)  # nobody has a gap, and the schema admits them
    model = load_skops(dump_skops(LogisticRegression().fit(frame[names], codes)))
    kinds = probes.kinds(PLAIN, sample, sample, GUARD, 0, 500)
    _, without = parity.answers_of(model, kinds, PLAIN)
    assert set(without) == {"a missing cell", "several missing cells"}
    assert "does not take missing values" in without["a missing cell"]
    assert all(kind.admitted for kind in kinds if kind.name in without)


def test_rows_are_made_only_of_what_the_deployment_lets_pass():
    frame, codes = rows(200, 0)
    sample = Sample(frame[[column.name for column in TEXT.features]], codes)
    shut = {
        kind.name
        for kind in probes.kinds(
            TEXT, sample, sample, {"outside": "refuse", "unknown": "refuse"}, 0, 500
        )
    }
    wide = {
        kind.name: kind
        for kind in probes.kinds(
            TEXT, sample, sample, {"outside": "flag", "unknown": "flag"}, 0, 500
        )
    }
    assert set(wide) - shut == {"numbers beyond their limits", "an unknown category"}
    assert probes.UNKNOWN in set(wide["an unknown category"].frame["c"])
    assert set(wide["listed categories"].frame["c"]) == set(COLORS)
    assert wide["numbers at their limits"].frame["d"].isin([0.0, 9.0]).any()
    beyond = wide["numbers beyond their limits"].frame
    assert (
        (beyond["d"] > 9) | (beyond["d"] < 0) | (beyond["a"].abs() > 4) | (beyond["b"].abs() > 4)
    ).mean() > 0.9
    gaps = wide["a missing cell"].frame
    assert gaps["a"].isna().any()
    assert gaps["b"].isna().any()
    assert not gaps["d"].isna().any()
    assert list(gaps.dtypes) == list(sample.frame.dtypes)
    assert wide["several missing cells"].frame[["a", "b"]].isna().all(axis=1).any()


def work_on(folder, estimator, schema, sample, monkeypatch, files=None):
    """The assessment's parity part on stored files."""
    for name, content in (files or {SKOPS: dump_skops(estimator)}).items():
        (folder / name).write_bytes(content)
    job = {
        "inputs": str(folder),
        "schema": msgspec.to_builtins(schema),
        "guard": GUARD,
        "seed": 0,
        "order": [],
    }
    work = Work(job, None)
    monkeypatch.setattr(Work, "samples", [sample, sample])
    worker.measure_parity(work)
    return work


def test_a_model_that_has_no_answer_to_an_admitted_row_is_refused(tmp_path, monkeypatch):
    frame, codes = rows(200, 0)
    names = ["a", "b", "d"]
    estimator = LogisticRegression().fit(frame[names], codes)
    work = work_on(tmp_path, estimator, PLAIN, Sample(frame[names], codes), monkeypatch)
    found = [(finding.id, finding.severity) for finding in work.findings]
    assert found == [("model.no-answer", "high")] * 2
    assert (
        "rows with a missing cell, train with such rows or an imputer, or correct schema.toml"
        in work.findings[0].message
    )


def test_the_finding_says_on_which_rows_the_graph_is_another_model(tmp_path, monkeypatch):
    frame, codes = rows(400, 0, 80)
    names = ["a", "b", "d"]
    estimator = make_pipeline(PowerTransformer(), HistGradientBoostingClassifier(max_iter=20)).fit(
        frame[names], codes
    )
    files, _ = converted({SKOPS: dump_skops(estimator)}, PLAIN, [], 60.0)
    held, truth = rows(200, 1)
    work = work_on(tmp_path, estimator, PLAIN, Sample(held[names], truth), monkeypatch, files)
    assert [(finding.id, finding.severity) for finding in work.findings] == [
        ("model.parity", "low")
    ]
    assert "missing cell" in work.findings[0].message
    assert "scikit-learn will serve" in work.findings[0].message


def test_a_graph_that_is_not_canonical_is_not_measured(tmp_path, monkeypatch):
    frame, codes = rows(200, 0)
    sample, estimator = Sample(frame[["d"]], codes), LogisticRegression().fit(frame[["d"]], codes)
    one = Schema(target="y", classes=["0", "1"], columns=[COLUMNS[2]])
    files, _ = converted({SKOPS: dump_skops(estimator)}, one, [], 60.0)
    model = onnx.load_model_from_string(files[ONNX])
    model.doc_string = "61, ill"
    with pytest.raises(VerificationError, match="not in canonical form"):
        work_on(
            tmp_path, estimator, one, sample, monkeypatch, files | {ONNX: model.SerializeToString()}
        )
