"""Native categories of XGBoost, LightGBM and CatBoost: stored as scikit-learn's trees, they answer
alike, as ONNX too, also where a category is unknown, rare or missing; the rest is refused by name.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from casemate.core.types import MISSING_CATEGORY, ColumnSchema, Schema
from casemate.ml.attacks import leaves
from casemate.ml.models import OnnxModel, dump_skops, load_skops, untrusted_types
from casemate.stages.train import categories, export, grown, look
from casemate.stages.train.stored import stored

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:categorical_feature keyword"
    ),  # LightGBM takes it all the same
]

KINDS = [f"k{number:02d}" for number in range(12)] + [MISSING_CATEGORY]
TOWNS = ["north", "south", "west"]
FEATURES = [("age", False), ("kind", True), ("size", False), ("town", True)]
SCHEMA = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[
        ColumnSchema(name="age", type="number", nullable=True),
        ColumnSchema(name="kind", type="category", categories=sorted(KINDS)),
        ColumnSchema(name="size", type="number", nullable=True),
        ColumnSchema(name="town", type="category", categories=TOWNS),
    ],
)
XGB, LGBM, CAT = "xgboost", "lightgbm", "catboost"
QUIET = {
    XGB: {"n_jobs": 1},
    LGBM: {"verbose": -1, "n_jobs": 1},
    CAT: {"verbose": 0, "thread_count": 1, "allow_writing_files": False},
}
ONE_HOT = {"cat_features": ["kind", "town"], "one_hot_max_size": 255}
STATISTICS = {"cat_features": [1, 3], "max_ctr_complexity": 1}


def rows(seed, count=800):
    """Numbers with gaps, a category that decides in part and one that hardly does; the first kind
    is rare.
    """
    generator = np.random.default_rng(seed)
    kind = generator.integers(1, len(KINDS), count)
    kind[:3] = 0
    frame = pd.DataFrame(
        {
            "age": np.round(generator.normal(size=count), 1),
            "kind": pd.Series([KINDS[place] for place in kind], dtype=object),
            "size": np.round(generator.normal(size=count), 1),
            "town": pd.Series(generator.choice(TOWNS, count), dtype=object),
        }
    )
    signal = np.isin(kind, [1, 4, 7, 12]) * 2 - 1 + frame["age"] + (frame["town"] == "west")
    frame.loc[generator.random(count) < 0.1, "age"] = np.nan
    return frame, (signal + generator.normal(size=count) > 0).astype(int).to_numpy()


def strange():
    """Rows with unknown and rare categories, gaps, and numbers at and beyond the limits."""
    frame, _ = rows(7, 300)
    frame.loc[::3, "kind"] = "nobody knows this"
    frame.loc[::5, "town"] = "nor this"
    frame.loc[::7, "kind"] = KINDS[0]
    frame.loc[::11, ["age", "size"]] = np.nan
    frame.loc[1::11, ["age", "size"]] = [1e12, -1e12]
    return frame


def made(package, name, **options):
    kind = getattr(pytest.importorskip(package), name)
    return kind(**QUIET[package], n_estimators=20, **options)


ALONE = [
    (XGB, "XGBClassifier", {"enable_categorical": True}),
    (XGB, "XGBClassifier", {"enable_categorical": True, "max_cat_to_onehot": 100}),
    (LGBM, "LGBMClassifier", {"min_child_samples": 5}),
    (LGBM, "LGBMClassifier", {"categorical_feature": ["kind", "town"], "cat_smooth": 1}),
    (CAT, "CatBoostClassifier", ONE_HOT),
    (CAT, "CatBoostClassifier", STATISTICS),
]


def answers_alike(model, frame, codes, *, graph=True):
    """Fit, store and export; every form answers as the booster does, and categories decide."""
    assert look.problem(model, frame, codes) == ""
    fitted = model.fit(frame, codes)
    kept = stored(fitted, frame)
    content = dump_skops(kept)
    assert untrusted_types(content) == []
    read = load_skops(content)
    last = kept.steps[-1][1]
    assert any(tree.nodes["is_categorical"].any() for stage in last._predictors for tree in stage)
    assert leaves.read(last) is None  # attacks may not take these splits for splits on numbers
    for asked in (frame, rows(1)[0], strange()):
        expected = fitted.predict_proba(asked)
        labels, found = read.predict(asked)
        assert np.abs(found - expected).max() < 1e-5
        if graph:
            onnx, problem = export.to_onnx(kept, SCHEMA)
            assert not problem
            other_labels, other = OnnxModel(onnx, SCHEMA).predict(asked)
            assert np.array_equal(labels, np.ravel(other_labels))
            assert np.abs(found - other).max() < 1e-6


@pytest.mark.parametrize(("package", "name", "options"), ALONE)
def test_a_booster_alone_learns_categories_as_they_are(package, name, options):
    frame, codes = rows(0)
    model = categories.encoded(made(package, name, **options), package, FEATURES)
    assert isinstance(model, Pipeline)
    answers_alike(model, frame, codes)


@pytest.mark.parametrize("unknown", [-1, np.nan])
@pytest.mark.parametrize("package", [XGB, LGBM])
def test_behind_the_templates_encoder_unknown_categories_are_answered_as_the_booster_does(
    package, unknown
):
    frame, codes = rows(0)
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=unknown, max_categories=250
    )
    columns = make_column_transformer((encoder, ["kind", "town"]), ("passthrough", ["age", "size"]))
    booster = (
        made(XGB, "XGBClassifier", enable_categorical=True, feature_types=["c", "c", "q", "q"])
        if package == XGB
        else made(LGBM, "LGBMClassifier", categorical_feature=[0, 1], min_child_samples=5)
    )
    answers_alike(Pipeline([("columns", columns), ("clf", booster)]), frame, codes)


def test_quantities_and_several_classes_have_native_categories_too():
    frame, codes = rows(0)
    three = codes + (frame["age"] > 1).to_numpy()
    model = categories.encoded(made(LGBM, "LGBMClassifier"), LGBM, FEATURES).fit(frame, three)
    kept = stored(model, frame)
    assert np.abs(kept.predict_proba(strange()) - model.predict_proba(strange())).max() < 1e-5
    amount = np.exp(frame["age"].fillna(0).to_numpy() / 2) + codes
    booster = made(XGB, "XGBRegressor", enable_categorical=True)
    model = categories.encoded(booster, XGB, FEATURES)
    assert model.steps[-1][0] == "reg"
    kept = stored(model.fit(frame, amount), frame)
    assert np.abs(kept.predict(strange()) - model.predict(strange())).max() < 1e-5


def test_what_does_not_ask_for_native_categories_stays_as_it_is():
    booster = made(XGB, "XGBClassifier", enable_categorical=False)
    assert categories.encoded(booster, XGB, FEATURES) is booster
    booster = made(CAT, "CatBoostClassifier")
    assert categories.encoded(booster, CAT, FEATURES) is booster
    booster = made(LGBM, "LGBMClassifier")
    assert categories.encoded(booster, LGBM, [("age", False)]) is booster


def test_other_columns_than_the_tables_categories_are_refused_by_name():
    booster = made(CAT, "CatBoostClassifier", cat_features=["kind", "age"])
    with pytest.raises(categories.BadCategories, match=r"differ in age, town: name columns\.cat"):
        categories.encoded(booster, CAT, FEATURES)


def test_combinations_of_categories_are_refused_with_the_way_out():
    frame, codes = rows(0)
    booster = made(CAT, "CatBoostClassifier", cat_features=["kind", "town"])
    model = categories.encoded(booster, CAT, FEATURES)
    assert "max_ctr_complexity=1" in look.problem(model, frame, codes)


def test_more_categories_than_a_split_holds_are_refused_with_the_way_out():
    codes = np.arange(6000) % 300
    frame = pd.DataFrame({"kind": [f"k{code:03d}" for code in codes], "age": np.zeros(len(codes))})
    frame = frame.astype({"kind": object})
    columns = make_column_transformer((OrdinalEncoder(), ["kind"]), ("passthrough", ["age"]))
    booster = made(
        LGBM, "LGBMClassifier", categorical_feature=[0], max_bin=400, min_data_per_group=1
    )
    model = Pipeline([("columns", columns), ("clf", booster)]).fit(frame, codes % 2)
    with pytest.raises(grown.Foreign, match="at most 255 apart"):
        stored(model, frame)
