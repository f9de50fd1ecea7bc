"""Quantities instead of classes: how they are cut into ranges, measured, attacked and screened;
models that are exported and stored.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    LinearRegression,
    MultiTaskLasso,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.metrics import (
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.svm import SVR

from casemate.config import AssessTable, BehaviourTable, RobustnessTable, ScreenTable
from casemate.core.errors import ConfigError
from casemate.core.types import ColumnSchema, Schema, number_text
from casemate.ml.frame import edges_of, range_names, row_hashes, strata_of
from casemate.ml.graph import canonical
from casemate.ml.models import OnnxModel, SkopsModel, dump_skops, load_skops
from casemate.stages.assess import (
    behaviour,
    compare,
    fairness,
    parity,
    probes,
    quality,
    robustness,
    shift,
)
from casemate.stages.assess.leakage import lira, membership
from casemate.stages.assess.sample import Sample
from casemate.stages.data.screen.interface import ScreenedRows
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.train import export
from casemate.stages.train.folds import BadSearch
from casemate.stages.train.metrics import metric_of

pytestmark = pytest.mark.slow

NAMES = ["a", "b", "c"]
ONE = Schema(
    target="y",
    classes=[],
    columns=[ColumnSchema(name=name, type="number", min=0.0, max=1.0) for name in NAMES],
)
TWO = Schema(target="y", further=["z"], classes=[], columns=ONE.columns)
WEIGHTS = np.array([[3.0, -1.0], [0.5, 2.0], [0.0, 0.0]])


def sample(rows, seed, targets=1, noise=0.3):
    generator = np.random.default_rng(seed)
    values = generator.uniform(0, 1, (rows, 3))
    target = 10 + values @ WEIGHTS + noise * generator.standard_normal((rows, 2))
    return Sample(pd.DataFrame(values, columns=NAMES), target[:, :targets])


def fitted(estimator, rows):
    return SkopsModel(
        estimator.fit(rows.frame, rows.target[:, 0] if rows.target.shape[1] == 1 else rows.target)
    )


@settings(deadline=None)
@given(
    arrays(np.float64, st.integers(2, 400), elements=st.floats(-1e12, 1e12, allow_subnormal=False))
)
def test_every_quantity_lies_in_one_named_range_and_no_range_is_empty(values):
    edges, strata = edges_of(values), strata_of(values.reshape(-1, 1))
    assert len(range_names(edges)) == len(edges) + 1
    assert (np.diff(edges) > 0).all()
    assert set(strata) == set(range(len(edges) + 1))
    lower, upper = np.concatenate([[-np.inf], edges]), np.concatenate([edges, [np.inf]])
    assert ((lower[strata] < values) & (values <= upper[strata])).all()
    assert len(set(range_names(edges))) == len(edges) + 1, "no two have one name"
    assert np.bincount(strata).min() * 20 >= len(values), "none is next to empty"


def test_ranges_hold_about_as_many_rows_each():
    counts = np.bincount(strata_of(np.random.default_rng(0).lognormal(size=(1000, 1))))
    assert len(counts) == 10
    assert counts.min() >= 95
    assert range_names(np.array([1.5, 20.0])) == ["up to 1.5", "1.5 to 20", "above 20"]


def test_rows_with_another_quantity_are_other_rows():
    frame = pd.DataFrame({"a": [1.0, 1.0]})
    first, second = row_hashes(frame, np.array([[1.0, 2.0], [1.0, 2.5]]))
    assert first != second


@pytest.mark.parametrize(("schema", "targets"), [(ONE, 1), (TWO, 2)])
def test_quality_agrees_with_scikit_learn_and_is_the_mean_over_targets(schema, targets):
    members, holdout = sample(300, 0, targets), sample(200, 1, targets)
    model = fitted(Ridge(), members)
    found = model.predict(holdout.frame)[1]
    told = quality.measure(model, schema, holdout, AssessTable(bootstrap=50, slices=["a"]), 0)
    metrics = {name: figure["value"] for name, figure in told["metrics"].items()}
    assert metrics["r2"] == pytest.approx(r2_score(holdout.target, found))
    unit = holdout.target.std(axis=0) if targets > 1 else 1.0
    for name, theirs in (
        ("rmse", root_mean_squared_error),
        ("mae", mean_absolute_error),
        ("median_absolute_error", median_absolute_error),
    ):
        assert metrics[name] == pytest.approx(theirs(holdout.target / unit, found / unit))
    assert metrics["worst_target_r2"] == pytest.approx(
        r2_score(holdout.target, found, multioutput="raw_values").min()
    )
    assert all(
        figure["low"] <= figure["value"] <= figure["high"] for figure in told["metrics"].values()
    )
    assert len(told["slices"]) == 4
    assert metrics["worst_slice_mae"] == max(part["mae"] for part in told["slices"])
    assert bool(told["calibration"]) == (targets == 1)


def test_a_model_is_compared_with_the_one_before_on_the_same_rows():
    members, holdout = sample(300, 0), sample(200, 1)
    good, poor = fitted(Ridge(), members), fitted(Ridge(alpha=1000), members)
    found, counts = compare.measure(good, poor, (ONE, ONE), holdout, AssessTable(bootstrap=50), 0)
    assert found["rmse"].high < 0 < found["r2"].low
    assert counts == {}
    with pytest.raises(compare.OtherShape):
        compare.measure(good, poor, (ONE, TWO), holdout, AssessTable(), 0)


def test_an_overfitted_regressor_is_caught_and_a_linear_one_is_not():
    members, holdout = sample(300, 0, noise=1.0), sample(300, 1, noise=1.0)
    table = AssessTable(bootstrap=50, shadows=8, shadow_rows=200)
    for estimator, leaks in ((RandomForestRegressor(50, random_state=0), True), (Ridge(), False)):
        model = fitted(estimator, members)
        threshold = membership.measure(model, members, holdout, table, 0)["auc"]
        likelihood = lira.measure(
            model, model.estimator, members, holdout, table, 0, lambda *_: None
        )
        assert (threshold["low"] > 0.6) is leaks
        assert (likelihood["auc"]["low"] > 0.6) is leaks
        assert "memorised_share" not in likelihood


@pytest.mark.parametrize("estimator", [Ridge(), RandomForestRegressor(20, random_state=0)])
def test_robust_accuracy_of_a_regressor_falls_with_eps_and_never_rises(estimator):
    members, holdout = sample(300, 0), sample(100, 1)
    table = AssessTable(eps=[0.05, 0.3, 1.5], attack_rows=100)
    found = robustness.measure(
        fitted(estimator, members),
        ONE,
        holdout,
        members,
        table,
        RobustnessTable(),
        [],
        0,
        lambda *_: None,
    )
    accuracies = [point["robust_accuracy"] for point in found["curve"]]
    assert found["clean_accuracy"] >= accuracies[0] >= accuracies[1] >= accuracies[2]
    assert accuracies[2] < found["clean_accuracy"] - 0.2
    assert found["tolerance"] == 1.0


def test_the_attack_on_a_linear_regressor_reaches_the_exact_worst_case():
    members, holdout = sample(300, 0, 2), sample(100, 1, 2)
    model = fitted(LinearRegression(), members)
    limits, eps = RobustnessTable(tolerance=0.8, decision_rows=0), 0.5
    wide = Schema(
        target="y",
        further=["z"],
        classes=[],
        columns=[ColumnSchema(name=name, type="number", min=-9.0, max=9.0) for name in NAMES],
    )
    found = robustness.measure(
        model,
        wide,
        holdout,
        members,
        AssessTable(eps=[eps], attack_rows=100),
        limits,
        [],
        0,
        lambda *_: None,
    )
    reach = eps * np.abs(model.estimator.coef_) @ members.frame.std(ddof=0).to_numpy()
    errors = np.abs(model.predict(holdout.frame)[1] - holdout.target) + reach
    exact = np.mean((errors <= limits.tolerance * holdout.target.std(axis=0)).all(axis=1))
    assert found["curve"][0]["robust_accuracy"] == pytest.approx(exact, abs=0.011)


@pytest.mark.parametrize(
    ("expect", "feature", "broken"),
    [("up", "a", False), ("down", "a", True), ("same", "c", False), ("same", "a", True)],
)
def test_behaviour_of_a_quantity(expect, feature, broken):
    model = fitted(Ridge(), sample(300, 0))
    model.estimator.coef_[2] = 0.0
    test = BehaviourTable(name="t", feature=feature, add=0.1, expect=expect)
    (found,) = behaviour.measure(model, ONE, sample(50, 1), [test])
    assert found.broken == (50 if broken else 0)


def test_groups_are_compared_in_deviations_of_the_target():
    schema = Schema(
        target="y",
        classes=[],
        columns=[*ONE.columns, ColumnSchema(name="g", type="category", categories=["m", "w"])],
    )
    generator = np.random.default_rng(0)
    group = np.array(["m", "w"] * 100, dtype=object)
    target = np.where(group == "m", 1.0, -1.0)[:, None] * 10 + generator.standard_normal((200, 1))
    holdout = Sample(pd.DataFrame({"g": group}), target)
    wrong = np.where(group == "m", 3.0, 0.0)[:, None]
    figures, groups, _ = fairness.measure((np.empty(0), target + wrong), holdout, schema, ["g"])
    unit = target.std()
    assert figures["absolute_error_difference"].value == pytest.approx(3 / unit)
    assert figures["mean_prediction_difference"].value == pytest.approx(23 / unit, rel=0.02)
    assert [(one["value"], one["target"]) for one in groups] == [("m", "y"), ("w", "y")]
    few = Sample(
        holdout.frame.assign(g=np.array(["m"] * 100 + ["w"] * 99 + ["x"], dtype=object)), target
    )
    told = fairness.measure((np.empty(0), target), few, schema, ["g"])[1]
    assert [(one["value"], one["rows"]) for one in told] == [
        ("(others)", 100),
        ("m", 100),
    ], "one person's quantity is told only among others'"


def test_errors_in_units_of_the_target_give_a_relative_gap():
    gap = shift.cv_gap(
        [-2.0, -2.0],
        "neg_root_mean_squared_error",
        {"rmse": {"value": 3.0, "low": 2.5, "high": 4.0}},
    )
    assert (gap.low, gap.value, gap.high) == (0.25, 0.5, 1.0)
    assert (
        "50% (25% to 100%) larger"
        in shift.findings(gap, [-2.0, -2.0], "neg_root_mean_squared_error")[0].message
    )
    assert not shift.findings(gap, [-1.0, -3.0], "neg_root_mean_squared_error"), (
        "folds that differ so much promise little"
    )


def test_one_wild_target_is_found_and_nothing_else():
    rows = sample(800, 0, 2)
    target = rows.target.copy()
    target[17, 1] = 1e6
    suspicion = LabelNoise()(screened(rows.frame, target), ScreenTable())
    assert [suspect.row for suspect in suspicion.rows] == [17]
    assert "1000000" not in suspicion.rows[0].detail, "values stay sealed"


def test_a_target_that_the_features_do_not_tell_is_inconclusive_to_the_label_screen():
    rows = sample(300, 0)
    target = np.random.default_rng(1).standard_normal((300, 1))
    suspicion = LabelNoise()(screened(rows.frame, target), ScreenTable())
    assert not suspicion.rows
    assert "inconclusive" in suspicion.findings[0].message


def screened(frame, target):
    schema = Schema(target="y", classes=range_names(edges_of(target[:, 0])), columns=ONE.columns)
    return ScreenedRows(frame, strata_of(target), None, schema, 0, quantities=target)


@pytest.mark.parametrize(
    "estimator",
    [
        Ridge(),
        PoissonRegressor(),
        TweedieRegressor(),
        SVR(),
        GradientBoostingRegressor(random_state=0),
        HistGradientBoostingRegressor(random_state=0),
        RandomForestRegressor(20, random_state=0),
        MLPRegressor(max_iter=50, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_a_regressor_is_stored_and_exported_and_answers_alike(estimator):
    members, holdout = sample(200, 0), sample(100, 1)
    model = fitted(estimator, members)
    stored = load_skops(dump_skops(model.estimator))
    labels, values = stored.predict(holdout.frame)
    assert labels.size == 0
    assert np.array_equal(values, model.predict(holdout.frame)[1])
    graph, problem = export.to_onnx(model.estimator, ONE)
    assert not problem
    kinds = probes.kinds(ONE, holdout, members, {"outside": "flag", "unknown": "refuse"}, 0, 1000)
    answers, without = parity.answers_of(model, kinds, ONE)
    assert not without
    found = parity.measure(answers, model, canonical(graph), ONE, kinds)
    assert found["equal"], found


def test_several_quantities_are_exported_in_their_order():
    members, holdout = sample(200, 0, 2), sample(50, 1, 2)
    for estimator in (MultiTaskLasso(0.001), RandomForestRegressor(20, random_state=0)):
        model = fitted(estimator, members)
        graph, _ = export.to_onnx(model.estimator, TWO)
        assert np.allclose(
            OnnxModel(graph, TWO).predict(holdout.frame)[1],
            model.predict(holdout.frame)[1],
            atol=1e-4,
        )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["data.task=regression"], "accuracy: no figure of regression, which has r2"),
        (["gates.r2.min=0.5"], "r2: no figure of classification"),
        (["data.task=regression", 'data.target=["y", "y"]'], "names a column twice"),
        (["data.task=regression", 'train.mode="private"'], "is for classifiers"),
        (["data.task=regression", 'data.positive="1"'], "no positive class"),
        (["data.task=regression", 'data.target=["y", "s"]', 'data.time="s"'], "same column"),
    ],
)
def test_what_does_not_go_together_is_refused(config, override, words):
    with pytest.raises(ConfigError, match=words):
        config(*override)


def rounded(rows, seed):
    """Numbers with one decimal: half of the thresholds of a boosted model lie exactly on such a
    number, but for the last bit of float64.
    """
    generator = np.random.default_rng(seed)
    values = np.round(generator.uniform(20, 40, (rows, 3)), 1)
    return pd.DataFrame(values, columns=NAMES), values @ [
        1.0,
        2.0,
        0.0,
    ] + generator.standard_normal(rows)


@pytest.mark.parametrize("missing", [False, True])
def test_boosted_trees_keep_their_exact_thresholds(missing):
    frame, target = rounded(600, 0)
    other, _ = rounded(2000, 1)
    if missing:
        frame.loc[::7, "a"] = other.loc[::5, "a"] = np.nan
    two = Schema(target="y", classes=["0", "1"], columns=ONE.columns)
    middle = (target > np.median(target)).astype(int)
    several = np.column_stack([target, -target])
    cases = (
        (HistGradientBoostingRegressor(random_state=0).fit(frame, target), ONE),
        (
            MultiOutputRegressor(HistGradientBoostingRegressor(random_state=0)).fit(frame, several),
            TWO,
        ),
        (HistGradientBoostingClassifier(random_state=0).fit(frame, middle), two),
    )
    for estimator, schema in cases:
        graph, problem = export.to_onnx(estimator, schema)
        assert not problem
        found, expected = (
            OnnxModel(graph, schema).predict(other)[1],
            SkopsModel(estimator).predict(other)[1],
        )
        assert np.abs(found - expected).max() < 1e-5 * max(expected.std(), 1)


def test_a_forest_that_splits_on_missing_values_answers_alike_as_a_graph():
    frame, target = rounded(300, 0)
    frame.loc[::3, "a"] = np.nan
    target[::3] += 1000
    forest = RandomForestRegressor(20, random_state=0).fit(frame, target)
    graph, problem = export.to_onnx(forest, ONE)
    assert not problem
    assert np.array_equal(
        OnnxModel(graph, ONE).predict(frame)[1], SkopsModel(forest).predict(frame)[1]
    )


def test_few_rows_do_not_show_their_quantities_in_figures():
    members = sample(300, 0)
    told = quality.measure(
        fitted(Ridge(), members), ONE, sample(25, 1), AssessTable(bootstrap=20, slices=["a"]), 0
    )
    assert told["calibration"] == {}
    assert told["slices"] == []
    assert (
        min(
            quality.measure(
                fitted(Ridge(), members), ONE, sample(90, 1), AssessTable(bootstrap=20), 0
            )["calibration"]["rows"]
        )
        >= 20
    )


def test_a_target_that_does_not_vary_on_the_hold_out_takes_only_its_own_figures_along():
    members, holdout = sample(300, 0, 2), sample(100, 1, 2)
    model = fitted(Ridge(), members)
    still = Sample(holdout.frame, np.column_stack([holdout.target[:, 0], np.full(100, 7.0)]))
    metrics = quality.measure(model, TWO, still, AssessTable(bootstrap=20), 0)["metrics"]
    assert np.isnan(metrics["r2"]["value"])
    assert np.isfinite(metrics["rmse"]["value"])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_behaviour_does_not_depend_on_the_unit(unit):
    members, holdout = sample(300, 0), sample(50, 1)
    model = fitted(LinearRegression(), Sample(members.frame, members.target * unit))
    held = Sample(holdout.frame, holdout.target * unit)
    broken = [
        behaviour.measure(
            model, ONE, held, [BehaviourTable(name="t", feature="a", add=0.1, expect=expect)]
        )[0].broken
        for expect in ("same", "up")
    ]
    assert broken == [50, 0]


@pytest.mark.parametrize("kind", ["ties", "exact", "long tail"])
def test_ordinary_targets_do_not_look_wrong_and_wrong_ones_do(kind):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.uniform(0, 10, (1000, 3)), columns=NAMES)
    clean = 10 * frame["a"].to_numpy() + 5 * (frame["b"].to_numpy() > 5)
    if kind == "ties":
        clean = np.where(frame["a"] < 6, 0.0, clean + generator.standard_normal(1000))
    if kind == "long tail":
        clean = np.exp(0.3 * frame["a"].to_numpy() + 0.5 * generator.standard_normal(1000))
    found = LabelNoise()(screened(frame, clean[:, None]), ScreenTable())
    assert len(found.rows) <= 10
    assert not found.findings
    wrong = clean.copy()
    wrong[[3, 500]] = clean.max() * 100
    assert {3, 500} <= {
        suspect.row for suspect in LabelNoise()(screened(frame, wrong[:, None]), ScreenTable()).rows
    }


@pytest.mark.parametrize(
    ("metric", "target", "fits"),
    [("roc_auc", "quantities", False), ("f1", "quantities", False), ("r2", "classes", False)],
)
def test_a_metric_of_the_other_task_is_refused_with_a_reason(config, metric, target, fits):
    values = np.zeros((10, 1)) if target == "quantities" else np.arange(10) % 2
    with pytest.raises(BadSearch, match="does not fit"):
        metric_of(config(f"train.metric={metric}").train, values)
    assert metric_of(config().train, np.zeros((10, 2))) == "r2"


def test_figures_of_any_size_can_be_read():
    assert [number_text(value) for value in (0.91234, 0.0, 3.2e-9, 1.9e12, -56.78901)] == [
        "0.9123",
        "0.0000",
        "3.2e-09",
        "1.9e+12",
        "-56.7890",
    ]
