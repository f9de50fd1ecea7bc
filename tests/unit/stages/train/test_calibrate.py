"""Calibration out of fold: kept where it helps, folded into the model, exact in its graph."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from casemate.config import TrainTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.learn.calibrate import adjust, adjustable, adjusted, scores
from casemate.ml.models import OnnxModel, dump_skops, load_skops
from casemate.stages.assess.leakage import lira
from casemate.stages.assess.sample import Sample
from casemate.stages.train import fit
from casemate.stages.train.calibrate import Fold, measured
from casemate.stages.train.candidates import Models
from casemate.stages.train.export import to_onnx
from casemate.stages.train.folds import Rows
from casemate.stages.train.search import Memory, search


def table(classes, count=400):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((count, 2)), columns=["a", "b"])
    frame["c"] = pd.Series(
        np.array(["u", "v"], dtype=object)[generator.integers(0, 2, count)], dtype=object
    )
    codes = np.digitize(
        frame["a"] + (frame["c"] == "u") + generator.standard_normal(count),
        [0.2, 1.2][: classes - 1],
    )
    return frame, codes


def schema(classes):
    columns = [ColumnSchema(name=name, type="number") for name in "ab"] + [
        ColumnSchema(name="c", type="category", categories=["u", "v"])
    ]
    return Schema(
        target="y",
        classes=[str(number) for number in range(classes)],
        columns=[*columns, ColumnSchema(name="y", type="category")],
    )


def models():
    codes = make_column_transformer((OrdinalEncoder(), ["c"]), ("passthrough", ["a", "b"]))
    return {
        "linear": Pipeline([("columns", codes), ("clf", LogisticRegression())]),
        "trees": Pipeline(
            [
                ("columns", codes),
                ("clf", HistGradientBoostingClassifier(max_iter=15, categorical_features=[0])),
            ]
        ),
    }


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["linear", "trees"])
def test_a_calibrated_model_has_its_scores_times_the_slope_in_its_file_and_its_graph(name, classes):
    frame, codes = table(classes)
    model = models()[name].fit(frame, codes)
    assert adjustable(model)
    assert adjusted(model) is None
    before, shift = scores(model, frame), 0.3 if classes == 2 else 0.0
    adjust(model, 0.6, shift)
    assert scores(model, frame) == pytest.approx(0.6 * before + shift, abs=1e-9)
    stored = load_skops(dump_skops(model))
    assert adjusted(stored.estimator) == (0.6, shift)
    content, problem = to_onnx(model, schema(classes))
    assert not problem
    labels, probabilities = OnnxModel(content, schema(classes)).predict(frame)
    assert probabilities == pytest.approx(model.predict_proba(frame), abs=1e-6)
    assert (np.ravel(labels) == model.predict(frame)).all()


def folds_of(scores, count=5):
    return [
        Fold(np.arange(start, len(scores), count), scores[start::count]) for start in range(count)
    ]


@pytest.mark.slow  # fits to 120 simulated sets of folds
def test_probabilities_that_are_right_are_left_alone_and_others_put_right():
    generator = np.random.default_rng(0)
    kept = []
    for _ in range(60):
        score = generator.normal(0, 1.5, 500)
        codes = (generator.random(500) < expit(score)).astype(int)
        kept.append(measured(codes, folds_of(score)).helps)
        wrong = measured(codes, folds_of(3 * score + 1))
        assert wrong.helps
        assert wrong.after < wrong.before
    assert np.mean(kept) <= 0.15
    assert wrong.slope == pytest.approx(1 / 3, rel=0.3)
    assert wrong.shift == pytest.approx(-1 / 3, abs=0.25)
    assert measured(codes[:50], folds_of(score[:50])) is None


def test_weights_and_people_count():
    generator = np.random.default_rng(0)
    score = generator.normal(0, 1.5, 2000)
    codes = (generator.random(2000) < expit(score)).astype(int)
    # in the population the second class is four times as likely
    weights = np.where(codes == 1, 4.0, 1.0)
    found = measured(codes, folds_of(score), weights)
    assert found.helps
    assert found.shift == pytest.approx(np.log(4), abs=0.3)
    again = measured(np.repeat(codes, 4), [Fold(np.flatnonzero(np.arange(8000) // 4 % 5 == n), np.repeat(score, 4)[np.arange(8000) // 4 % 5 == n]) for n in range(5)],
                     groups=np.arange(8000) // 4)  # fmt: skip
    alone = measured(codes, folds_of(score))
    assert again.error == pytest.approx(alone.error, rel=0.05)


def test_several_classes_get_a_temperature():
    generator = np.random.default_rng(0)
    score = generator.normal(0, 1.5, (2000, 3))
    chance = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    codes = (generator.random(2000)[:, None] > chance.cumsum(axis=1)).sum(axis=1)
    found = measured(codes, folds_of(2.5 * score))
    assert found.helps
    assert found.slope == pytest.approx(0.4, rel=0.1)


class Silent:
    def progress(self, *_):
        pass


def test_a_shy_model_is_calibrated_by_what_the_search_heard_and_others_are_left(
    tmp_path, monkeypatch
):
    frame, codes = table(2, 1200)
    shy = make_pipeline(StandardScaler(), LogisticRegression(C=0.001))
    rows = Rows(frame[["a", "b"]], codes)
    options, memory = (
        TrainTable(entry="t.py:b", search={"logisticregression__C": [0.0001, 0.001]}),
        Memory(),
    )
    params, history, _ = search(Models({"": shy}), rows, options, tmp_path, Silent(), memory)
    assert memory.params == params
    assert max(candidate.mean for candidate in history) == next(
        c.mean for c in history if c.params == params
    )
    assert sorted(np.concatenate([fold.rows for fold in memory.folds])) == list(range(1200))
    monkeypatch.setattr(
        fit, "out_of_fold", lambda *_: pytest.fail("trained once more though the search heard it")
    )
    fitted = shy.fit(rows.frame, codes)
    first = fitted.predict_proba(rows.frame)
    model, told = fit._finished(fitted, shy, rows, options, {}, memory.folds)
    assert told["kept"] == 1
    assert told["after"] < told["before"] - told["error"]
    assert told["slope"] > 2
    loss = [
        -np.log(found[np.arange(1200), codes]).mean()
        for found in (first, model.predict_proba(rows.frame))
    ]
    assert loss[1] < loss[0]
    off = TrainTable(entry="t.py:b", calibrate=False)
    assert fit._finished(shy.fit(rows.frame, codes), shy, rows, off, {}, memory.folds)[1] == {}


def test_shadows_of_a_calibrated_model_are_of_its_scale():
    frame, codes = table(2)
    pool = Sample(frame[["a", "b"]], codes)
    model, half = LogisticRegression().fit(pool.frame, codes), np.arange(400) < 200
    plain = lira._shadow(model, pool, half, pool.of(np.arange(0)))
    adjust(model, 0.5)
    assert lira._shadow(model, pool, half, pool.of(np.arange(0))) == pytest.approx(
        0.5 * plain, abs=1e-6
    )
