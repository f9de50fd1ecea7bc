"""XGBoost, LightGBM and CatBoost are stored as trees of scikit-learn that answer alike, or are
refused by name; samplers are left behind.
"""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from casemate.core.types import ColumnSchema, Schema
from casemate.ml.models import OnnxModel, dump_skops, load_skops, untrusted_types
from casemate.stages.train import boosters, export, grown, look
from casemate.stages.train.stored import stored

pytestmark = pytest.mark.slow

COLUMNS = [ColumnSchema(name=name, type="number", nullable=True) for name in "abc"]


def rows(seed, count=500):
    """Rounded numbers with gaps, two classes, three classes, a positive quantity."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(np.round(generator.normal(size=(count, 3)), 1), columns=list("abc"))
    signal = frame["a"] * frame["b"] + frame["c"] + 0.5 * generator.normal(size=count)
    frame.loc[generator.random(count) < 0.1, "a"] = np.nan
    codes = (signal > 0).astype(int).to_numpy()
    return frame, {
        "two": codes,
        "three": codes + (frame["c"] > 1).to_numpy(),
        "amount": np.exp(signal.fillna(0).to_numpy() / 2) + 0.1,
    }


XGB, LGBM, CAT = "xgboost", "lightgbm", "catboost"
SOUND = [
    (XGB, "XGBClassifier", {}, "two"),
    (XGB, "XGBClassifier", {"max_depth": 3, "subsample": 0.7}, "three"),
    (XGB, "XGBRegressor", {}, "amount"),
    (XGB, "XGBRegressor", {"objective": "count:poisson"}, "amount"),
    (LGBM, "LGBMClassifier", {}, "two"),
    (LGBM, "LGBMClassifier", {"boosting_type": "dart"}, "three"),
    (LGBM, "LGBMRegressor", {"objective": "gamma"}, "amount"),
    (CAT, "CatBoostClassifier", {}, "two"),
    (CAT, "CatBoostClassifier", {}, "three"),
    (CAT, "CatBoostRegressor", {"loss_function": "Poisson"}, "amount"),
]
QUIET = {
    XGB: {"n_jobs": 1},
    LGBM: {"verbose": -1, "n_jobs": 1},
    CAT: {"verbose": 0, "thread_count": 1, "allow_writing_files": False},
}


def made(package, name, **options):
    kind = getattr(pytest.importorskip(package), name)
    return kind(**QUIET[package], n_estimators=20, **options)


@pytest.mark.parametrize(("package", "name", "options", "target"), SOUND)
def test_trees_of_other_libraries_answer_alike_and_are_served_as_onnx(
    package, name, options, target
):
    frame, targets = rows(0)
    model = make_pipeline(StandardScaler(), made(package, name, **options))
    assert look.problem(model, frame, targets[target]) == ""
    model.fit(frame, targets[target])
    kept = stored(model, frame)
    content = dump_skops(kept)
    assert untrusted_types(content) == []
    asked, _ = rows(1)
    asked.loc[::50] = np.nan
    classes = (
        []
        if target == "amount"
        else [str(number) for number in range(len(np.unique(targets[target])))]
    )
    schema = Schema(target="y", classes=classes, columns=COLUMNS)
    expected = model.predict_proba(asked) if classes else np.ravel(model.predict(asked))[:, None]
    labels, numbers = load_skops(content).predict(asked)
    assert np.abs(numbers - expected).max() < 1e-5 * max(1.0, float(np.std(expected)))
    graph, problem = export.to_onnx(kept, schema)
    assert not problem
    other_labels, other = OnnxModel(graph, schema).predict(asked)
    assert np.array_equal(labels, np.ravel(other_labels))
    assert np.abs(numbers - other).max() < 1e-12 * max(1.0, float(np.abs(numbers).max()))


@pytest.mark.parametrize("border", [0.1, 1.0, -2.5, 16777217.0, 0.0])
def test_a_rounded_value_turns_where_the_comparison_says(border):
    edge = np.float32(border)
    around = [np.nextafter(edge, np.float32(-np.inf)), edge, np.nextafter(edge, np.float32(np.inf))]
    middles = [(float(low) + float(high)) / 2 for low, high in pairwise(around)]
    asked = [float(value) for value in around] + [
        near
        for middle in middles
        for near in (np.nextafter(middle, -9e9), middle, np.nextafter(middle, 9e9))
    ]
    for value in asked:
        assert (np.float32(value) < edge) == (value <= grown.turning(border, below=True))
        assert (np.float32(value) <= edge) == (value <= grown.turning(border, below=False))


@pytest.mark.parametrize(
    ("package", "name", "options", "said"),
    [
        (XGB, "XGBClassifier", {"booster": "dart"}, "another booster"),
        (
            XGB,
            "XGBClassifier",
            {"num_parallel_tree": 3, "objective": "multi:softprob"},
            "num_parallel_tree",
        ),
        (XGB, "XGBRegressor", {"objective": "reg:squaredlogerror"}, "not known here: use one of"),
        (
            LGBM,
            "LGBMClassifier",
            {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
            "boosting_type rf",
        ),
        (LGBM, "LGBMClassifier", {"objective": "cross_entropy"}, "not known here"),
        (LGBM, "LGBMRegressor", {"reg_sqrt": True}, "not known here"),
        (CAT, "CatBoostClassifier", {"grow_policy": "Depthwise"}, "not symmetric"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_more_than_trees_is_refused_before_the_search(package, name, options, said):
    frame, targets = rows(0)
    target = targets[
        (
            "amount"
            if name.endswith("Regressor")
            else "three"
            if "num_parallel_tree" in options
            else "two"
        )
    ]
    assert said in look.problem(made(package, name, **options), frame, target)


def test_a_model_that_answers_otherwise_than_its_trees_is_refused(monkeypatch):
    frame, targets = rows(0)
    model = made(XGB, "XGBClassifier").fit(frame, targets["two"])
    real = boosters._xgboost_tree

    def shifted(*given):
        tree = real(*given)
        tree.nodes["value"] += 0.001
        return tree

    monkeypatch.setattr(boosters, "_xgboost_tree", shifted)
    with pytest.raises(grown.Foreign, match="answers otherwise"):
        stored(model, frame)


def test_another_library_inside_of_an_ensemble_is_refused_with_the_way_out():
    from sklearn.calibration import CalibratedClassifierCV

    frame, targets = rows(0)
    assert "must be the last step of a pipeline" in look.problem(
        CalibratedClassifierCV(made(XGB, "XGBClassifier")), frame, targets["two"]
    )


def test_a_pipeline_that_resamples_is_stored_without_its_sampler():
    pipeline = pytest.importorskip("imblearn.pipeline")
    sampling = pytest.importorskip("imblearn.over_sampling")
    frame, targets = rows(0)
    frame = frame.fillna(0.0)
    model = pipeline.make_pipeline(
        StandardScaler(), sampling.RandomOverSampler(random_state=0), LogisticRegression()
    )
    assert look.problem(model, frame, targets["two"]) == ""
    kept = stored(model.fit(frame, targets["two"]), frame)
    assert untrusted_types(dump_skops(kept)) == []
    assert np.array_equal(kept.predict_proba(frame), model.predict_proba(frame))


def test_a_search_is_stored_as_what_it_found_and_a_threshold_as_the_threshold():
    frame, targets = rows(0)
    frame, codes = frame.fillna(0.0), targets["two"]
    found = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()),
        {"logisticregression__C": [0.1, 1.0]},
        cv=3,
    )
    assert look.problem(found, frame, codes) == ""
    kept = stored(found.fit(frame, codes), frame)
    assert np.array_equal(kept.predict_proba(frame), found.predict_proba(frame))
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="recall", cv=3, random_state=0)
    assert look.problem(tuned, frame, codes) == ""
    kept = stored(tuned.fit(frame, codes), frame)
    assert isinstance(kept, FixedThresholdClassifier)
    assert untrusted_types(dump_skops(kept)) == []
    assert np.array_equal(kept.predict(frame), tuned.predict(frame))
    assert not np.array_equal(kept.predict(frame), kept.estimator_.predict(frame))
