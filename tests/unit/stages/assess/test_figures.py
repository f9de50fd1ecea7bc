"""What a figure must not depend on, and how often its interval holds the truth."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from casemate.config import CLASSIFICATION, FIGURES, REGRESSION, WISHES, AssessTable
from casemate.core.errors import ConfigError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.frame import parts_of
from casemate.ml.models import SkopsModel
from casemate.stages.assess import bootstrap, calibration, fairness, quality, regression, shift
from casemate.stages.assess.explain import EXPLANATIONS, explain
from casemate.stages.assess.leakage import attribute
from casemate.stages.assess.sample import OTHERS, Sample, pooled, values_of

ROWS = 1200


class Fixed:
    """A model whose answers hang on `x` and on which group a row is in, however that is coded."""

    def __init__(self, codes, classes=2):
        self.codes, self.classes = codes, classes

    def predict(self, frame):
        group = frame["g"].map(self.codes).astype(float).to_numpy()
        logits = np.outer(
            frame["x"].to_numpy() * self.codes.get("sign", 1) + 0.8 * group, np.arange(self.classes)
        )
        logits -= logits.mean(axis=1, keepdims=True)
        found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return found.argmax(axis=1), found


def table(seed=0, rows=ROWS, classes=2):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": generator.standard_normal(rows),
            "g": generator.choice(["f", "m"], rows, p=[0.3, 0.7]),
        }
    )
    frame["h"] = generator.choice(["p", "q", "r"], rows)
    score = frame["x"] + (frame["g"] == "m") + generator.standard_normal(rows)
    return frame, np.digitize(score, [0.5, 1.5][: classes - 1])


def figures_of(frame, codes, target, classes=2, group="category"):
    """Every figure that is measured of a model's answers, without its name."""
    columns = [
        ColumnSchema(name="x", type="number"),
        ColumnSchema(name="g", type=group, column_class="sensitive"),
        ColumnSchema(name="h", type="category"),
    ]
    schema = Schema(
        target="y", classes=[f"c{number}" for number in range(classes)], columns=columns
    )
    model, holdout = Fixed(codes, classes), Sample(frame[ROWS // 2 :], target[ROWS // 2 :])
    members = Sample(frame[: ROWS // 2], target[: ROWS // 2])
    found = dict(quality.measure(model, schema, holdout, AssessTable(), 0)["metrics"])
    found["attribute"] = attribute.measure(model, schema, members, holdout, AssessTable(), [], 0)[
        "advantage"
    ]
    if classes == 2:
        fair, _, missing = fairness.measure(model.predict(holdout.frame), holdout, schema, ["g"])
        assert missing == []
        found |= {
            name: {"value": one.value, "low": one.low, "high": one.high}
            for name, one in fair.items()
        }
    return {f"{name} {end}": value for name, ends in found.items() for end, value in ends.items()}


CODINGS = {
    "0/1": ([0.0, 1.0], "number"),
    "1/2": ([1.0, 2.0], "number"),
    "2/1": ([2.0, 1.0], "number"),
    "-1/.5": ([-1.0, 0.5], "number"),
    "bool": (["false", "true"], "category"),
    "m/f": (["m", "f"], "category"),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_how_a_group_is_coded_changes_no_figure(coding):
    frame, target = table()
    before = figures_of(frame, {"f": 0.0, "m": 1.0}, target)
    (first, second), kind = CODINGS[coding]
    recoded = frame.assign(
        g=frame["g"].map({"f": first, "m": second}).astype(float if kind == "number" else object)
    )
    after = figures_of(recoded, {first: 0.0, second: 1.0}, target, group=kind)
    assert after == pytest.approx(before, abs=1e-12)
    assert {
        "demographic_parity_difference value",
        "equalized_odds_difference low",
        *(f"{name} high" for name in {*CLASSIFICATION} - {*WISHES}),
    } <= set(after)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_order_of_rows_changes_no_figure(classes):
    frame, target = table(classes=classes)
    before = figures_of(frame, {"f": 0.0, "m": 1.0}, target, classes)
    half = ROWS // 2  # each side by itself: a row keeps its side
    order = np.concatenate(
        [
            np.random.default_rng(1).permutation(half),
            half + np.random.default_rng(2).permutation(half),
        ]
    )
    after = figures_of(
        frame.iloc[order].reset_index(drop=True), {"f": 0.0, "m": 1.0}, target[order], classes
    )
    assert after == pytest.approx(before, abs=1e-12)


def test_a_mirrored_column_changes_no_figure():
    frame, target = table()
    before = figures_of(frame, {"f": 0.0, "m": 1.0}, target)
    after = figures_of(frame.assign(x=-frame["x"]), {"f": 0.0, "m": 1.0, "sign": -1}, target)
    assert after == pytest.approx(before, abs=1e-12)


def test_the_order_of_several_classes_changes_no_figure():
    frame, target = table(classes=3)
    probabilities = Fixed({"f": 0.0, "m": 1.0}, 3).predict(frame)[1]
    order = np.array([2, 0, 1])
    before, after = (
        quality.figures(codes, found.argmax(axis=1), found)
        for codes, found in [
            (target, probabilities),
            (np.argsort(order)[target], probabilities[:, order]),
        ]
    )
    for name, one in before.items():
        assert after[name].value == pytest.approx(one.value, abs=1e-12)
        assert (after[name].low, after[name].high) == pytest.approx((one.low, one.high), abs=1e-9)


def test_which_class_is_called_positive_changes_no_figure_that_knows_no_positive_class():
    frame, target = table()
    labels, probabilities = Fixed({"f": 0.0, "m": 1.0}).predict(frame)
    before = quality.figures(target, labels, probabilities)
    after = quality.figures(1 - target, 1 - labels, probabilities[:, ::-1])
    for name in set(before) - {"f1", "average_precision"}:
        assert (after[name].value, after[name].low, after[name].high) == pytest.approx(
            (before[name].value, before[name].low, before[name].high), abs=1e-9
        ), name


def test_quantities_in_another_order_of_rows_or_mirrored_have_the_same_figures():
    generator = np.random.default_rng(0)
    target = generator.standard_normal((300, 1))
    found = target + 0.5 * generator.standard_normal((300, 1))
    order = generator.permutation(300)
    before = regression.figures(target, found, 100, 0)
    assert set(before) == set(REGRESSION) - {"worst_slice_mae", *WISHES}
    for other in (
        regression.figures(target[order], found[order], 100, 0),
        regression.figures(-target, -found, 100, 0),
    ):
        for name, one in before.items():
            assert (other[name].value, other[name].low, other[name].high) == pytest.approx(
                (one.value, one.low, one.high), abs=1e-9
            ), name


def test_each_of_few_values_is_a_group_and_many_are_cut_the_same_from_both_ends():
    few = pd.Series([1.0, 2.0, 3.0, np.nan] * 5)
    assert set(values_of(few, "number")) == {"1", "2", "3", "(missing)"}
    many = pd.Series(np.random.default_rng(0).integers(0, 40, 500).astype(float))
    sizes, mirrored = (
        np.unique(values_of(column, "number"), return_counts=True)[1] for column in (many, -many)
    )
    assert sorted(sizes) == sorted(mirrored) and len(sizes) == 4 and min(sizes) > 80
    by_rows = [
        set(
            map(
                tuple,
                [
                    np.flatnonzero(values_of(column, "number") == one)
                    for one in np.unique(values_of(column, "number"))
                ],
            )
        )
        for column in (many, -many)
    ]
    assert by_rows[0] == by_rows[1]


def test_small_groups_are_judged_together_whatever_their_names():
    sizes = {"a": 100, "b": 30, "c": 9, "d": 6}
    values = np.repeat(list(sizes), list(sizes.values())).astype(object)
    assert dict(zip(*np.unique(pooled(values, 20), return_counts=True), strict=True)) == {
        "a": 100,
        OTHERS: 45,
    }
    renamed = np.repeat(["z", "y", "x", "w"], list(sizes.values())).astype(object)
    assert sorted(np.unique(pooled(renamed, 20), return_counts=True)[1]) == [45, 100]


def fair(groups, target, labels):
    schema = Schema(
        target="y", classes=["no", "yes"], columns=[ColumnSchema(name="g", type="category")]
    )
    return fairness.measure(
        (labels, None), Sample(pd.DataFrame({"g": groups}), target), schema, ["g"]
    )


def test_equalized_odds_of_a_group_with_few_rows_of_a_class_is_inconclusive_by_name():
    groups = np.array(["a"] * 200 + ["b"] * 60, dtype=object)
    target = np.tile([0, 1], 130)
    target[200:] = 0
    figures, _, missing = fair(groups, target, target)
    assert set(figures) == {"demographic_parity_difference"}
    assert missing == [
        (
            "equalized_odds_difference is inconclusive: group 'b' of 'g' has fewer than 20 rows of"
            " class 'yes'"
        )
    ]


@pytest.mark.parametrize("groups", [["a"] * 100, ["a"] * 95 + ["b"] * 5])
def test_a_protected_column_that_cannot_be_compared_gives_no_figure(groups):
    target = np.tile([0, 1], 50)
    figures, _, missing = fair(np.array(groups, dtype=object), target, target)
    assert figures == {}
    assert len(missing) == 2 and all(
        "'g' has no two groups of at least 20 rows" in why for why in missing
    )


def test_a_protected_column_outside_the_features_gives_no_figure():
    target = np.tile([0, 1], 50)
    schema = Schema(
        target="y",
        classes=["no", "yes"],
        columns=[ColumnSchema(name="g", type="category"), ColumnSchema(name="s", type="category")],
    )
    holdout = Sample(pd.DataFrame({"g": np.repeat(["a", "b"], 50)}), target)
    figures, _, missing = fairness.measure((target, None), holdout, schema, ["g", "s"])
    assert figures == {} and all("'s' is protected and no feature" in why for why in missing)


def test_fairness_values_agree_with_fairlearn():
    fairlearn = pytest.importorskip("fairlearn.metrics")
    frame, target = table()
    labels = Fixed({"f": 0.0, "m": 1.0}).predict(frame)[0]
    groups = (frame["g"] + frame["h"]).to_numpy(dtype=object)
    figures, _, _ = fair(groups, target, labels)
    for name in fairness.OF_CLASSES:
        expected = getattr(fairlearn, name)(target, labels, sensitive_features=groups)
        assert figures[name].value == pytest.approx(expected, abs=1e-15)


def test_equal_groups_are_not_called_different_more_often_than_the_level_says(scale):
    """The largest of many noisy differences is large; its low end must not be above zero."""
    generator = np.random.default_rng(0)
    alarms, rounds = 0, scale(60, 1000)
    for _ in range(rounds):
        groups = np.repeat(list("abcdef"), 60).astype(object)
        target, labels = np.tile([0, 1], 180), generator.integers(0, 2, 360)
        alarms += fair(groups, target, labels)[0]["equalized_odds_difference"].low > 0
    assert alarms / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


def drawn(generator, rows, rate, stretch=1.0):
    """Calibrated probabilities at stretch 1, with outcomes: about `rate` positives, AUC
    about .84.
    """
    logits = {0.5: 0.0, 0.05: -3.75, 0.02: -4.85}[rate] + 1.5 * generator.standard_normal(rows)
    chance = 1 / (1 + np.exp(-logits))
    said = 1 / (1 + np.exp(-stretch * logits))
    codes = (generator.random(rows) < chance).astype(np.int64)
    return codes, (said > 0.5).astype(np.int64), np.column_stack([1 - said, said])


@pytest.mark.parametrize(("rows", "rate"), [(200, 0.05), (1000, 0.5)])
def test_intervals_hold_the_true_figure(rows, rate, scale):
    truth = {
        name: statistic(*drawn(np.random.default_rng(1), 1_000_000, rate))
        for name, statistic in quality.statistics(2).items()
    }
    truth["calibration_error"] = 0.0
    generator, rounds = np.random.default_rng(2), scale(150, 2000)
    held = dict.fromkeys(truth, 0)
    for _ in range(rounds):
        for name, one in quality.figures(*drawn(generator, rows, rate)).items():
            held[name] += one.low <= truth[name] <= one.high
    chance = 3 * (0.05 * 0.95 / rounds) ** 0.5
    assert {
        name: count / rounds for name, count in held.items() if count / rounds < 0.935 - chance
    } == {}


@pytest.mark.parametrize("law", ["student", "skewed"])
def test_the_interval_of_r2_holds_it_with_few_rows_and_errors_in_heavy_tails(law, scale):
    """The variance of squared errors was taken as if it were known: 91.5 % of the intervals at 200
    rows held the truth.
    """
    generator, rounds, held = np.random.default_rng(5), scale(1000, 6000), {"r2": 0, "rmse": 0}
    truth = {"r2": 1 - 0.49 / 1.49, "rmse": 0.7}
    for _ in range(rounds):
        found = generator.standard_normal((200, 1))
        errors = {
            "student": lambda: generator.standard_t(5, (200, 1)) / (5 / 3) ** 0.5,
            "skewed": lambda: generator.exponential(size=(200, 1)) - 1,
        }[law]()
        told = regression.figures(found + 0.7 * errors, found, 20, 0)
        for name, true in truth.items():
            held[name] += told[name].low <= true <= told[name].high
    assert {
        name: count / rounds for name, count in held.items() if not 0.93 <= count / rounds <= 0.965
    } == {}


def test_r2_has_an_interval_where_one_row_is_the_only_error_or_the_only_one_that_differs():
    target = np.arange(50.0)[:, None]
    off = target + np.where(np.arange(50) == 7, 3.0, 0.0)[:, None]
    alike = np.where(np.arange(50) == 7, 1.0, 0.0)[:, None]
    for truth, found in ((target, off), (alike, alike + 0.1)):
        told = regression.figures(truth, found, 20, 0)["r2"]
        assert np.isfinite([told.low, told.high]).all() and told.low < told.value < told.high <= 1.0


def test_a_calibrated_model_has_no_calibration_error_and_another_has():
    generator = np.random.default_rng(0)
    calibrated = [
        calibration.error_interval(*calibration.confidence(*drawn(generator, 2000, 0.5)))
        for _ in range(30)
    ]
    assert (
        np.median([one.value for one in calibrated]) < 0.015
        and sum(one.low > 0 for one in calibrated) <= 4
    )
    stretched = calibration.error_interval(
        *calibration.confidence(*drawn(generator, 2000, 0.5, stretch=2.0))
    )
    assert stretched.low > 0.03


def test_perfect_models_have_intervals_of_some_width():
    codes = np.tile([0, 1], 15)
    found = quality.figures(
        codes, codes, np.column_stack([1 - codes, codes]).astype(float) * 0.98 + 0.01
    )
    for name in ("roc_auc", "average_precision", "accuracy", "balanced_accuracy", "f1"):
        assert found[name].value == 1.0 and found[name].low < 0.99 and found[name].high == 1.0, name


def test_a_bootstrap_of_many_rows_is_as_wide_as_it_must_be():
    """Few resamples made the interval of a large table too narrow."""
    values = np.random.default_rng(0).standard_normal(200_000)
    found = bootstrap.interval(lambda v: float(np.mean(v)), [values], 300, 0)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 200_000**0.5, rel=0.35)


def test_like_tables_are_told_apart_no_more_often_than_the_level_says(scale):
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=name, type="number") for name in "ab"],
    )
    wrong, rounds = 0, scale(20, 300)
    for seed in range(rounds):
        sides = [
            Sample(pd.DataFrame(side, columns=["a", "b"]), np.zeros(200))
            for side in np.random.default_rng(seed).standard_normal((2, 200, 2))
        ]
        found = shift.shift_auc(*sides, schema, seed)
        wrong += not found.low <= 0.5 <= found.high
    assert wrong / rounds <= 0.05 + 2.5 * (0.05 * 0.95 / rounds) ** 0.5


def test_a_number_with_few_values_is_inferred_like_a_category():
    frame, target = table()
    coded = frame.assign(g=(frame["g"] == "m").astype(float))
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[
            ColumnSchema(name="x", type="number"),
            ColumnSchema(name="g", type="number", column_class="sensitive"),
        ],
    )
    model = SkopsModel(LogisticRegression().fit(coded[["x", "g"]], target))
    sample = Sample(coded[["x", "g"]], target)
    assert [
        one["column"]
        for one in attribute.measure(model, schema, sample, sample, AssessTable(), [], 0)["columns"]
    ] == ["g"]


def test_every_figure_that_a_gate_can_name_is_explained():
    assert set(EXPLANATIONS) == set(FIGURES)
    for name in FIGURES:
        told = explain(f"later.{name}")
        assert told == EXPLANATIONS[name] and told.figure == name
        assert told.estimator and told.blind and len(told.wrong) > 20
    with pytest.raises(ConfigError, match="no gate can name a figure 'roc'") as caught:
        explain("roc")
    assert "roc_auc" in caught.value.hint


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.sampled_from([2, 4, 10]))
def test_parts_of_mirrored_values_are_the_mirrored_parts(values, count):
    column = np.array(values, dtype=np.float64)
    assert (parts_of(-column, count) == -parts_of(column, count)).all()
    # ties in the very middle are a part between
    assert len(np.unique(parts_of(column, count))) <= count + 1
