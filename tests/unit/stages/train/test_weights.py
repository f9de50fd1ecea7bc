"""`[data] weight`: rows that stand for many count so often, in training, in the search and in the
figures of quality.
"""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.conftest import write_csv

import casemate
from casemate import config as configuration
from casemate.config import TrainTable
from casemate.core.errors import ConfigError, DataError, TrainingError
from casemate.ml.learn.weights import fit_params, refusal
from casemate.stages.assess import intervals, quality, regression, weighted
from casemate.stages.data import weights
from casemate.stages.train.candidates import Models
from casemate.stages.train.folds import BadSearch, Rows
from casemate.stages.train.search import search


@pytest.fixture
def two_strata():
    """400 rows of which a quarter stands for ten each and follows the opposite rule, with whole
    weights.
    """
    generator = np.random.default_rng(0)
    rare = np.arange(400) % 4 == 0
    a, b = generator.standard_normal((2, 400))
    codes = (np.where(rare, -a, a) + 0.5 * b + generator.standard_normal(400) > 0).astype(int)
    return pd.DataFrame({"a": a, "b": b}), codes, np.where(rare, 10, 1)


def repeated(weight, *arrays):
    """Every row as often as it weighs."""
    return [np.repeat(array, weight, axis=0) for array in arrays]


@pytest.mark.parametrize("classes", [2, 3])
def test_weighted_rows_have_the_same_figures_as_others(classes):
    assert set(weighted.of_classes(classes)) == set(quality.statistics(classes))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
def test_weighted_figures_are_those_of_the_table_with_every_row_as_often_as_it_weighs(classes):
    generator = np.random.default_rng(classes)
    codes, weight = generator.integers(0, classes, 300), generator.integers(1, 6, 300)
    said = generator.dirichlet(np.ones(classes), 300) * 0.7 + 0.3 * np.eye(classes)[codes]
    labels = said.argmax(axis=1)
    found = weighted.classes(codes, labels, said, weight / weight.mean(), None, 100, 0)
    plain = quality.statistics(classes)
    for name, statistic in plain.items():
        # its noise is that of 300 rows and not of all that they stand for
        if name == "calibration_error":
            continue
        assert found[name].value == pytest.approx(
            statistic(*repeated(weight, codes, labels, said)), abs=1e-9
        ), name
        assert found[name].low < found[name].value < found[name].high, name
    assert set(found) == set(plain)


def test_weighted_errors_are_those_of_the_table_with_every_row_as_often_as_it_weighs():
    generator = np.random.default_rng(0)
    target, weight = generator.standard_normal((301, 2)), generator.integers(1, 6, 301)
    found = target + generator.standard_normal((301, 2)) * [0.5, 0.9]
    told = weighted.quantities(target, found, weight / weight.mean(), None, 100, 0)
    for name, statistic in regression.statistics().items():
        # where a median lies between two rows is a matter of taste
        close = 0.05 if name == "median_absolute_error" else 1e-9
        assert told[name].value == pytest.approx(
            statistic(*repeated(weight, target, found)), abs=close
        ), name
        assert told[name].low < told[name].value < told[name].high, name


def test_equal_weights_change_no_figure_and_hardly_an_interval():
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 2, 500)
    one = np.clip(generator.normal(0.35 + 0.3 * codes, 0.2), 0.01, 0.99)
    said = np.column_stack([1 - one, one])
    plain = quality.figures(codes, said.argmax(axis=1), said)
    told = weighted.classes(codes, said.argmax(axis=1), said, np.full(500, 7.0), None, 300, 0)
    for name, figure in plain.items():
        assert told[name].value == pytest.approx(figure.value, abs=1e-9), name
        assert told[name].high - told[name].low == pytest.approx(
            figure.high - figure.low, rel=0.25
        ), name


def test_intervals_are_as_wide_as_uneven_weights_make_them():
    hit, weight = np.arange(400) % 5 > 0, np.where(np.arange(400) < 40, 30.0, 1.0)
    alike, uneven = intervals.share_of(hit), intervals.share_of(hit, weights=weight)
    assert uneven.value == pytest.approx(alike.value)
    # 68 rows of equal weight are worth as much
    assert uneven.high - uneven.low > 2 * (alike.high - alike.low)
    sure, unsure = (
        intervals.share_of(np.ones(400, bool)),
        intervals.share_of(np.ones(400, bool), weights=weight),
    )
    assert unsure.low < 1 - 3 * (1 - sure.low)


def test_weights_reach_the_last_step_and_every_row_counts_as_often_as_it_weighs(two_strata):
    frame, codes, weight = two_strata
    model = Pipeline(
        [
            ("columns", Pipeline([("same", "passthrough")])),
            ("last", Pipeline([("clf", LogisticRegression(C=2.0, tol=1e-10))])),
        ]
    )
    params = fit_params(model, weight / weight.mean())
    assert list(params) == ["last__clf__sample_weight"]
    model.fit(frame, codes, **params)
    again = LogisticRegression(C=2.0 / weight.mean(), tol=1e-10).fit(
        *repeated(weight, frame.to_numpy(), codes)
    )
    assert model[-1][-1].coef_ == pytest.approx(again.coef_, abs=1e-4)
    assert fit_params(model, None) == {}


class Silent:
    def progress(self, *_):
        pass


def test_the_search_chooses_what_is_best_for_the_population(two_strata, tmp_path):
    frame, codes, weight = two_strata

    class Fixed(LogisticRegression):
        def __init__(self, sign=1):
            super().__init__()
            self.sign = sign

        def fit(self, X, y, sample_weight=None):
            super().fit(X, y)
            self.coef_, self.intercept_ = np.array([[self.sign, 0.0]]), np.zeros(1)
            return self

    def chosen(rows):
        options = TrainTable(entry="t.py:b", search={"sign": [1, -1]}, folds=3)
        return search(Models({"": Fixed()}), rows, options, tmp_path, Silent())

    assert chosen(Rows(frame, codes))[0] == {"sign": 1}
    params, history, _ = chosen(Rows(frame, codes, weights=weight / weight.mean()))
    assert params == {"sign": -1}
    options = TrainTable(entry="t.py:b", metric="roc_auc_ovo")
    with pytest.raises(BadSearch, match="cannot weigh rows"):
        search(
            Models({"": Fixed()}), Rows(frame, codes, weights=weight), options, tmp_path, Silent()
        )
    assert len(history) == 2


PASS = [
    LogisticRegression(),
    make_pipeline(StandardScaler(), HistGradientBoostingClassifier()),
    make_pipeline(StandardScaler(), CalibratedClassifierCV(LogisticRegression())),
    VotingClassifier([("a", LogisticRegression()), ("b", HistGradientBoostingClassifier())]),
    MultiOutputRegressor(HistGradientBoostingRegressor()),
    Ridge(),
]
STOP = [
    (
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
        "KNeighborsClassifier cannot weigh rows: use",
    ),
    (
        CalibratedClassifierCV(make_pipeline(StandardScaler(), LogisticRegression())),
        "at the end of the pipeline",
    ),
    (
        VotingClassifier([("a", KNeighborsClassifier())]),
        "would not give the weights to the KNeighborsClassifier",
    ),
    (
        VotingClassifier([("a", CalibratedClassifierCV(make_pipeline(LogisticRegression())))]),
        "put VotingClassifier|put CalibratedClassifierCV|weights",
    ),
    (GridSearchCV(LogisticRegression(), {"C": [1.0]}), r"use \[train\] search"),
    (
        make_pipeline(StandardScaler(), TunedThresholdClassifierCV(LogisticRegression())),
        "TunedThresholdClassifierCV chooses by scores",
    ),
]


@pytest.mark.parametrize("estimator", PASS, ids=lambda one: repr(one)[:30])
def test_estimators_that_weigh_rows_pass_and_do(estimator):
    assert refusal(estimator) == ""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((200, 2)), columns=["a", "b"])
    target = (frame["a"] + generator.standard_normal(200) > 0).astype(int).to_numpy()
    target = (
        target[:, None].astype(float) if isinstance(estimator, MultiOutputRegressor) else target
    )
    weight = np.where(target.ravel() == 1, 20.0, 0.1)
    estimator.fit(frame, target, **fit_params(estimator, weight))
    found = (
        estimator.predict_proba(frame)[:, 1]
        if hasattr(estimator, "predict_proba")
        else estimator.predict(frame).ravel()
    )
    assert found.mean() > 0.65  # unweighted it would be about a half


@pytest.mark.parametrize(("estimator", "why"), STOP, ids=lambda one: repr(one)[:30])
def test_estimators_that_would_drop_the_weights_are_refused_with_the_way_out(estimator, why):
    assert re.search(why, refusal(estimator))


def test_a_sampler_is_refused_with_weights():
    imblearn = pytest.importorskip("imblearn.pipeline")
    from imblearn.over_sampling import RandomOverSampler

    assert "RandomOverSampler makes rows that have no weight" in refusal(
        imblearn.make_pipeline(RandomOverSampler(), LogisticRegression())
    )
    assert refusal(StackingClassifier([("a", KNeighborsClassifier())]))


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["data.weight=y"], "weight and target are the same column"),
        (["data.weight=a", "data.time=a"], "weight and time are the same column"),
        (["data.weight=a", "data.columns.a.type=category"], "a number and no identifier"),
        (["data.weight=a", "data.columns.a.use=true"], "never a feature"),
        (["data.weight=a", "train.mode=private"], "takes every row alike"),
        (["data.weight=a", "train.mode=adversarial"], "takes every row alike"),
    ],
)
def test_impossible_weights_are_refused_by_name(config, overrides, why):
    with pytest.raises(ConfigError, match=why):
        config(*overrides)


@pytest.mark.parametrize(("cells", "why"), [([1.0, 0.0, 2.0], r"row 3\b|row 1\b"), ([1.0, None, 2.0], "missing"), ([1.0, -1.0], "zero"), ([1.0, np.inf], "zero"), (["x", "y"], "no number")])  # fmt: skip
def test_a_row_without_a_weight_above_zero_is_named(cells, why):
    options = configuration.DataTable(source="t.csv", target="y", weight="w")
    with pytest.raises(DataError, match=why):
        weights.require(pa.table({"w": cells}), options)
    assert weights.require(pa.table({"w": [2, 3]}), options)[0].message.endswith(
        "as well as 2 of equal weight would"
    )


def survey(root, two_strata):
    frame, codes, weight = two_strata
    table = pa.table(
        {
            "a": frame["a"],
            "b": frame["b"],
            "w": weight + 0.5,
            "y": np.where(codes == 1, "yes", "no"),
        }
    )
    write_csv(root / "t.csv", table)
    return casemate.create(root / "t.csv", target="y", weight="w", folder=root)


LIGHT = [
    "train.folds=2", "assess.shadows=16", "assess.bootstrap=50", "assess.attack_rows=10",
    "assess.attack_steps=2", "gates.accuracy.min=0.1", "gates.roc_auc.min=0.1",
    "screen.influence=false",
]  # fmt: skip


def test_a_survey_goes_through_and_its_model_is_the_populations(tmp_path, two_strata):
    survey(tmp_path, two_strata)
    project = casemate.open(tmp_path, LIGHT)
    run = project.run()
    schema = project.datasets["t"].record.schema
    assert [column.name for column in schema.features] == ["a", "b"]
    assert run.assessment.worth == pytest.approx(run.assessment.rows * 3.5**2 / 27.3, rel=0.5)
    # by the rule of the quarter that stands for three of four
    assert run.assessment.metrics["roc_auc"].value > 0.6
    card = (run.folder / "4-release" / "model-card.md").read_text()
    assert "those of the population" in card
    assert "rows are weighted by 'w'" in card


def test_an_estimator_that_cannot_weigh_rows_is_refused_before_the_search(tmp_path, two_strata):
    survey(tmp_path, two_strata)
    (tmp_path / "train.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n\ndef build():\n    return"
        " KNeighborsClassifier()\n"
    )
    text = (tmp_path / "casemate.toml").read_text().splitlines()
    (tmp_path / "casemate.toml").write_text(
        "\n".join(line for line in text if not line.startswith("search"))
    )
    with pytest.raises(TrainingError, match="KNeighborsClassifier cannot weigh rows"):
        casemate.open(tmp_path, LIGHT).run()
