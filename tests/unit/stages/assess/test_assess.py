import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from casemate.config import AssessTable, RobustnessTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.models import SkopsModel
from casemate.stages.assess import quality, robustness
from casemate.stages.assess.bootstrap import interval
from casemate.stages.assess.leakage import membership
from casemate.stages.assess.sample import Sample


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.standard_normal((800, 4)), columns=list("abcd"))
    codes = (
        (frame["a"] + 0.5 * frame["b"] + 0.3 * generator.standard_normal(800) > 0)
        .astype(np.int64)
        .to_numpy()
    )
    columns = [ColumnSchema(name=name, type="number", min=-5.0, max=5.0) for name in "abcd"]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    return schema, Sample(frame[:400], codes[:400]), Sample(frame[400:], codes[400:])


def attacked(model, schema, holdout, members, **options):
    return robustness.measure(
        SkopsModel(model),
        schema,
        holdout,
        members,
        AssessTable(**options),
        RobustnessTable(),
        [],
        0,
        lambda *_: None,
    )


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), DecisionTreeClassifier(max_depth=5, random_state=0)]
)
def test_robust_accuracy_falls_with_eps_and_never_rises(problem, estimator):
    schema, members, holdout = problem
    result = attacked(
        estimator.fit(members.frame, members.target), schema, holdout, members, eps=[0.05, 0.2, 0.8]
    )
    curve = [result["clean_accuracy"], *(point["robust_accuracy"] for point in result["curve"])]
    assert curve == sorted(curve, reverse=True)
    assert curve[-1] < curve[0] - 0.2


def test_the_gradient_attack_reaches_the_exact_worst_case_of_a_linear_model(problem):
    schema, members, holdout = problem
    model = LogisticRegression().fit(members.frame, members.target)
    result = attacked(model, schema, holdout, members, eps=[0.2], attack_rows=400)
    spread = members.frame.std(ddof=0).to_numpy()
    margin = model.decision_function(holdout.frame) * np.where(holdout.target == 1, 1, -1)
    exact = float(np.mean(margin > 0.2 * np.abs(model.coef_[0] * spread).sum()))
    assert result["attacks"] == ["pgd", "search", "hop-skip-jump"]
    assert result["curve"][0]["certified_accuracy"] == pytest.approx(exact, abs=0.1)
    assert result["curve"][0]["robust_accuracy"] == pytest.approx(exact, abs=0.011)


def test_an_overconfident_model_is_not_taken_for_a_robust_one(problem):
    schema, members, holdout = problem
    model = LogisticRegression().fit(members.frame, members.target)
    expected = attacked(model, schema, holdout, members, eps=[0.3])["curve"][0]["robust_accuracy"]
    model.coef_, model.intercept_ = model.coef_ * 1e4, model.intercept_ * 1e4
    assert attacked(model, schema, holdout, members, eps=[0.3])["curve"][0][
        "robust_accuracy"
    ] == pytest.approx(expected, abs=0.011)


def test_trees_are_attacked_without_gradients(problem):
    schema, members, holdout = problem
    model = DecisionTreeClassifier(random_state=0).fit(members.frame, members.target)
    assert attacked(model, schema, holdout, members)["attacks"] == ["thresholds"]


def test_no_move_leaves_the_ball_or_the_pinned_range(problem):
    schema, members, holdout = problem
    model = LogisticRegression().fit(members.frame, members.target)
    result = attacked(model, schema, holdout, members, eps=[0.3])
    assert 0 < result["curve"][0]["distance"] <= 0.3 + 1e-9


class Constant:
    classes_ = np.array([0, 1])

    def predict(self, frame):
        return np.ones(len(frame), dtype=int)

    def predict_proba(self, frame):
        return np.tile([0.1, 0.9], (len(frame), 1))


def test_an_attack_that_changed_nothing_is_inconclusive(problem):
    schema, members, holdout = problem
    assert (
        attacked(Constant(), schema, holdout, members)["inconclusive"]
        == "the attack changed nothing"
    )


def test_a_model_without_numbers_cannot_be_attacked(problem):
    _, members, holdout = problem
    schema = Schema(
        target="y", classes=["0", "1"], columns=[ColumnSchema(name="a", type="category")]
    )
    assert "can change no feature" in attacked(Constant(), schema, holdout, members)["inconclusive"]


def test_a_memorising_model_is_caught_by_membership(problem):
    _, members, holdout = problem
    noise = np.random.default_rng(1).integers(0, 2, 400)
    model = SkopsModel(DecisionTreeClassifier(random_state=0).fit(members.frame, noise))
    leaked = membership.measure(model, Sample(members.frame, noise), holdout, AssessTable(), 0)
    assert leaked["auc"]["value"] > 0.7
    assert leaked["auc"]["low"] <= leaked["auc"]["value"] <= leaked["auc"]["high"]


def test_membership_needs_rows_on_both_sides(problem):
    _, members, holdout = problem
    model = SkopsModel(LogisticRegression().fit(members.frame, members.target))
    with pytest.raises(membership.TooFewRows):
        membership.measure(
            model, members, Sample(holdout.frame[:5], holdout.target[:5]), AssessTable(), 0
        )


def test_quality_agrees_with_scikit_learn(problem):
    from sklearn.metrics import brier_score_loss, roc_auc_score

    schema, members, holdout = problem
    model = LogisticRegression().fit(members.frame, members.target)
    found = quality.measure(SkopsModel(model), schema, holdout, AssessTable(slices=["a"]), 0)
    probability = model.predict_proba(holdout.frame)[:, 1]
    assert found["metrics"]["roc_auc"]["value"] == pytest.approx(
        roc_auc_score(holdout.target, probability)
    )
    assert found["metrics"]["brier"]["value"] == pytest.approx(
        brier_score_loss(holdout.target, probability)
    )
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(
        model.score(holdout.frame, holdout.target)
    )
    assert [part["rows"] for part in found["slices"]] == [100] * 4
    worst = min(part["accuracy"] for part in found["slices"])
    assert found["metrics"]["worst_slice_accuracy"]["value"] == worst


class Nan(Constant):
    def predict_proba(self, frame):
        found = super().predict_proba(frame)
        found[3] = np.nan
        return found


def test_probabilities_that_are_no_numbers_give_no_figure(problem):
    schema, members, holdout = problem
    for work in (
        lambda: quality.measure(SkopsModel(Nan()), schema, holdout, AssessTable(), 0),
        lambda: membership.measure(SkopsModel(Nan()), members, holdout, AssessTable(), 0),
    ):
        with pytest.raises(ValueError, match="no numbers"):
            work()


def test_three_classes_are_measured_too(problem):
    schema, members, _ = problem
    codes = np.clip(np.round(members.frame["a"].to_numpy() + 1), 0, 2).astype(np.int64)
    three = Schema(target="y", classes=["0", "1", "2"], columns=schema.columns)
    model = SkopsModel(LogisticRegression().fit(members.frame, codes))
    found = quality.measure(model, three, Sample(members.frame, codes), AssessTable(), 0)
    assert found["metrics"]["roc_auc"]["value"] > 0.9
    assert found["roc"] == {}


def test_an_interval_covers_its_value_and_narrows_with_rows():
    generator = np.random.default_rng(0)
    widths = []
    for count in (100, 10_000):
        values = generator.standard_normal(count)
        found = interval(lambda v: float(np.mean(v)), [values], 300, 0)
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 5
