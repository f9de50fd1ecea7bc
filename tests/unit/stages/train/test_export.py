"""Trees, encoders and imputers as graphs: the same numbers as scikit-learn's, ties and rare
categories included.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import FastICA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Schema
from casemate.ml.graph import canonical
from casemate.ml.models import OnnxModel, SkopsModel
from casemate.stages.train import export

WARDS = [f"ward {number}" for number in range(70)]
SCHEMA = Schema(
    target="y",
    classes=["0", "1"],
    columns=[
        ColumnSchema(name="age", type="number", nullable=True),
        ColumnSchema(name="dose", type="number", nullable=True),
        ColumnSchema(name="ward", type="category", categories=WARDS, nullable=True),
        ColumnSchema(name="kind", type="category", categories=["a", "b", "c"]),
    ],
)
NUMBERS, TEXT = ["age", "dose"], ["ward", "kind"]


def rows(count, seed):
    """Whole and broken numbers with gaps, a category with a long tail, one with three values; a
    class that depends on all.
    """
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": generator.integers(20, 90, count).astype(float),
            "dose": np.round(generator.exponential(3.0, count), 1),
        }
    )
    place = np.minimum(generator.exponential(9.0, count).astype(int), len(WARDS) - 1)
    frame["ward"] = pd.Series(np.array(WARDS, dtype=object)[place], dtype=object)
    frame["kind"] = pd.Series(
        np.array(["a", "b", "c"], dtype=object)[generator.integers(3, size=count)], dtype=object
    )
    score = (
        frame["age"] / 20
        + frame["dose"] * (frame["kind"] == "b")
        + (place % 3)
        + generator.normal(0, 1.5, count)
    )
    frame.loc[generator.random(count) < 0.1, "dose"] = np.nan
    frame.loc[generator.random(count) < 0.05, "ward"] = MISSING_CATEGORY
    return frame, (score > score.median()).astype(int).to_numpy()


def strange(frame):
    """The same rows with what training did not see: unknown categories, numbers far away,
    everything missing.
    """
    other = frame.copy()
    other.loc[::3, "ward"], other.loc[::5, "kind"] = "nobody knows", "z"
    other.loc[::7, NUMBERS], other.loc[1::7, "age"] = np.nan, -1e9
    return other


def graph_of(estimator, schema=SCHEMA):
    content, problem = export.to_onnx(estimator, schema)
    assert not problem, problem
    return OnnxModel(canonical(content), schema)


def assert_equal(estimator, schema=SCHEMA, size=1e-15, frames=None):
    """Labels are equal and numbers too, up to the last bits of a logarithm."""
    graph, model = graph_of(estimator, schema), SkopsModel(estimator)
    frame, _ = rows(600, 1)
    for asked in frames or (frame, strange(frame), frame[:1]):
        (labels, numbers), (other_labels, other) = model.predict(asked), graph.predict(asked)
        assert np.array_equal(labels, np.ravel(other_labels))
        assert np.abs(numbers - other).max() <= size


def scaled(encoder):
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (encoder, make_column_selector(dtype_exclude="number")),
    )


def native(**options):
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, **options)
    return make_column_transformer((codes, TEXT), ("passthrough", NUMBERS))


@pytest.mark.parametrize("trees", [10, 20, 50, 100, 500])
def test_a_forest_decides_ties_alike(trees, scale):
    """Leaves of one class: with an even number of trees many rows lie at one half exactly."""
    kinds = (
        (RandomForestClassifier, ExtraTreesClassifier)
        if trees < scale(500, 501)
        else (RandomForestClassifier,)
    )
    frame, codes = rows(300, 0)
    for kind in kinds:
        model = make_pipeline(
            scaled(OneHotEncoder(handle_unknown="ignore")), kind(trees, random_state=0)
        ).fit(frame, codes)
        assert (np.abs(model.predict_proba(rows(600, 1)[0])[:, 0] - 0.5) < 1e-9).any() or trees > 50
        assert_equal(model, size=0.0)


@pytest.mark.parametrize("trees", [10, 100, 500])
@pytest.mark.parametrize("preprocessing", ["template", "native", "native, rare together"])
def test_boosted_trees_keep_thresholds_and_categories(trees, preprocessing, scale):
    trees = min(trees, scale(100, 500))
    frame, codes = rows(500, 0)
    columns = {
        "template": scaled(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        "native": native(),
    }.get(preprocessing, native(max_categories=12))
    places = None if preprocessing == "template" else [0, 1]
    model = make_pipeline(
        columns,
        HistGradientBoostingClassifier(
            max_iter=trees, categorical_features=places, min_samples_leaf=5
        ),
    ).fit(frame, codes)
    assert_equal(model)


def test_several_classes_and_quantities_too():
    frame, codes = rows(500, 0)
    schema = Schema(target="y", classes=["0", "1", "2"], columns=SCHEMA.columns)
    classes = codes + (frame["kind"] == "c").to_numpy()
    for final in (
        HistGradientBoostingClassifier(max_iter=10, categorical_features=[0, 1]),
        RandomForestClassifier(20, random_state=0),
        make_pipeline(SimpleImputer(), GradientBoostingClassifier(n_estimators=10, random_state=0)),
    ):
        assert_equal(make_pipeline(native(), final).fit(frame, classes), schema)
    amount = Schema(target="y", classes=[], columns=SCHEMA.columns)
    for final in (
        HistGradientBoostingRegressor(max_iter=10, categorical_features=[0, 1]),
        HistGradientBoostingRegressor(max_iter=10, loss="poisson"),
        HistGradientBoostingRegressor(max_iter=10, loss="quantile", quantile=0.9),
        make_pipeline(SimpleImputer(), GradientBoostingRegressor(n_estimators=10, random_state=0)),
    ):
        assert_equal(
            make_pipeline(native(), final).fit(frame, classes * 100.0 + frame["age"]),
            amount,
            size=1e-11,
        )


ENCODERS = {
    "unknown ignored": OneHotEncoder(handle_unknown="ignore"),
    "rare ones together": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30),
    "rare ones together, first dropped": OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=5, drop="first", sparse_output=False
    ),
    "codes": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "codes, rare ones together": OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=6
    ),
    "means of the target": TargetEncoder(random_state=0),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_rare_and_unknown_categories_become_what_the_encoder_says(name):
    frame, codes = rows(500, 0)
    model = make_pipeline(
        scaled(ENCODERS[name]), SimpleImputer(), LogisticRegression(max_iter=2000)
    ).fit(frame, codes)
    assert_equal(model, size=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_codes_that_are_numbers_are_encoded_too():
    frame, codes = rows(500, 0)
    schema = Schema(target="y", classes=["0", "1"], columns=SCHEMA.columns[:2])
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), NUMBERS)
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(frame[NUMBERS], codes)
    other = rows(600, 1)[0][NUMBERS]
    assert_equal(model, schema, size=1e-12, frames=[other, other.where(other < 50)])


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("indicator", [False, True])
def test_a_column_without_any_value_breaks_no_export(kept, indicator):
    frame, codes = rows(400, 0)
    frame["dose"] = np.nan
    schema = Schema(target="y", classes=["0", "1"], columns=SCHEMA.columns[:2])
    model = make_pipeline(
        SimpleImputer(keep_empty_features=kept, add_indicator=indicator), LogisticRegression()
    ).fit(frame[NUMBERS], codes)
    asked = frame[NUMBERS].copy()
    asked.loc[::4, "age"] = np.nan
    assert_equal(model, schema, size=1e-12, frames=[asked])


def test_steps_that_do_nothing_stand_in_nobodys_way():
    frame, codes = rows(300, 0)
    inner = make_pipeline(native(), "passthrough")
    assert_equal(
        make_pipeline(inner, None, RandomForestClassifier(10, random_state=0)).fit(frame, codes),
        size=0.0,
    )


def test_a_failed_export_names_the_part_and_where_the_others_are_listed():
    frame, codes = rows(200, 0)
    model = make_pipeline(
        scaled(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        FastICA(3),
        LogisticRegression(),
    ).fit(frame, codes)
    graph, problem = export.to_onnx(model, SCHEMA)
    assert graph == b""
    assert problem.startswith(
        "FastICA has no ONNX form: scikit-learn serves; docs/reference/estimators.md"
    )
