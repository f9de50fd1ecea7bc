"""What a statistician asks of figures that decide: nothing unmeasured passes, nothing selected
looks better, nothing seen counts as new.
"""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import expit
from tests.cli.test_trust_cli import project_of
from tests.unit.operations.test_holdout import looked_at, noisy
from tests.unit.stages.data.test_poisoning import rows_of
from tests.unit.stages.release.test_gate import records

import casemate
from casemate import config as configuration
from casemate.config import ScreenTable
from casemate.core.types import Interval
from casemate.operations import runs
from casemate.stages.assess import bootstrap, compare, intervals, quality, regression, roc
from casemate.stages.assess.leakage import rates
from casemate.stages.data.checks import rules
from casemate.stages.data.screen.label_noise import LabelNoise
from casemate.stages.release.gate import judge
from casemate.stages.release.rows import auc_half
from casemate.supply.rows import SealedRows


@pytest.fixture(scope="module")
def study(home, tmp_path_factory):
    return project_of(tmp_path_factory.mktemp("sound") / "study", noisy()).root


def test_labels_of_the_holdout_do_not_decide_which_training_rows_are_left_out(study):
    """Else just those are left out that disagree with it, and the figure is too good."""
    setting = 'screen.exclude=["label-noise","outlier","neighbours"]'
    before = looked_at(study, noisy(), setting)
    turned = noisy()
    turned.loc[before.holdout, "ill"] = 1 - turned.loc[before.holdout, "ill"]
    after = looked_at(study, turned, setting)
    assert before.excluded.sum() > 5
    assert np.array_equal(after.excluded, before.excluded)


@pytest.fixture(scope="module")
def sealed(home, tmp_path_factory):
    """A project with one sealed version, and its table."""
    project = project_of(tmp_path_factory.mktemp("versions") / "study", noisy())
    project.run()
    return project.root


def sealed_anew(root, frame):
    frame.to_csv(root.parent / "study.csv", index=False)
    (root / "schema.toml").unlink(missing_ok=True)
    return looked_at(root, frame)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.assign(one_more=1.5 * frame["a"].round(1)),
        lambda frame: frame[["ill", "b", "a"]],
    ],
    ids=["a column more", "columns in another order"],
)
def test_a_further_column_or_another_order_draws_no_other_holdout(sealed, change):
    before = casemate.open(sealed).datasets["study"].record
    split = SealedRows(runs.run_context(casemate.open(sealed)), before)._split["holdout"]
    found = sealed_anew(sealed, change(noisy()))
    assert np.array_equal(found.holdout, split)
    assert found.sides.draws == 1


def test_a_holdout_that_is_drawn_anew_is_counted(sealed):
    found = sealed_anew(sealed, noisy().rename(columns={"b": "c"}))
    assert found.sides.draws == 2


def test_rows_that_were_rounded_do_not_count_as_new_to_the_model_before(home, tmp_path):
    """Each is another row to look at and may be held out today; the model before was trained on it
    all the same.
    """
    project = project_of(tmp_path / "study", noisy())
    project.run()
    before = project.datasets["study"].record
    split = SealedRows(runs.run_context(project), before)._split
    rounded = noisy().assign(a=noisy()["a"].round(3))
    rounded.to_csv(tmp_path / "study.csv", index=False)
    project = casemate.open(project.root)
    project.run()
    rows = SealedRows(runs.run_context(project), project.datasets["study"].record)
    unseen = rows.unseen_by(before)
    trained = ~split["holdout"][rows._split["holdout"]]
    assert trained.sum() > 50, "most of today's hold-out was trained on"
    assert not (unseen & trained).any()


def test_rows_that_were_added_count_as_new(home, tmp_path):
    project = project_of(tmp_path / "study", noisy())
    project.run()
    before = project.datasets["study"].record
    pd.concat([noisy(), noisy(300, 9)]).to_csv(tmp_path / "study.csv", index=False)
    project = casemate.open(project.root)
    project.run()
    assert (
        SealedRows(runs.run_context(project), project.datasets["study"].record)
        .unseen_by(before)
        .all()
    )


def judged(config, gate, **changed):
    return judge(config(f"gates.{gate}"), *records(**changed))


def test_a_gate_must_hold_with_the_rows_that_people_took_out_of_the_holdout_too(config):
    accuracy = Interval(value=0.9, low=0.85, high=0.95)
    whole = Interval(value=0.7, low=0.65, high=0.75)
    answer = judged(
        config,
        "accuracy={ min = 0.8 }",
        metrics={"accuracy": accuracy},
        with_dropped={"accuracy": whole},
        dropped=20,
    )
    assert answer.outcome == "refused"
    assert "with the 20 rows that were taken out of the hold-out by decision" in answer.reasons[0]
    both = judged(
        config,
        "accuracy={ min = 0.6 }",
        metrics={"accuracy": accuracy},
        with_dropped={"accuracy": whole},
        dropped=20,
    )
    assert both.outcome == "passed"


@pytest.mark.parametrize(
    "gate",
    [
        "behaviour_failures={ max = 0 }",
        "rule_violations={ max = 0 }",
        "suspicious_share={ max = 0 }",
    ],
)
def test_a_gate_on_what_nobody_asked_for_does_not_pass(home, tmp_path, gate):
    project = project_of(tmp_path / "study", noisy(300))
    switches = [
        f"screen.{name}=false"
        for name in (
            "label_noise",
            "outliers",
            "duplicates",
            "neighbours",
            "floods",
            "triggers",
            "spectral",
        )
    ]
    result = casemate.open(
        project.root, [*switches, f"gates.{gate}", "train.search={}", "robustness.decision_rows=0"]
    ).run()
    found = {one.gate: one.outcome for one in result.verdict.gates}
    assert found[gate.partition("=")[0]] == "inconclusive"


def test_a_table_with_a_rule_says_how_often_it_is_broken_and_one_without_says_nothing():
    table = pa.table({"dose": [1.0, -1.0]})
    rule = configuration.RuleTable(name="positive", check="dose > 0")
    for given, figures in (([rule], {"rule_violations": 1.0}), ([], {})):
        asked = rules.Asked(given)
        asked.add(table)
        assert asked.answer()[0].figures == figures


def test_a_figure_whose_resamples_are_undefined_has_no_interval():
    def of_different_rows(values):
        if len(np.unique(values)) < len(values):
            raise ValueError("a row came twice")
        return float(values.mean())

    found = bootstrap.interval(of_different_rows, [np.arange(9.0)], 200, 0)
    assert found.value == 4.0 and np.isnan(found.low) and np.isnan(found.high)
    assert np.isnan(intervals.mean(np.array([0.3])).low)


def test_three_classes_of_which_one_is_absent_have_no_interval_of_their_ranks():
    random = np.random.default_rng(0)
    codes, probabilities = random.integers(0, 2, 40), random.dirichlet(np.ones(3), 40)
    with warnings.catch_warnings(action="ignore"):
        found = quality.figures(codes, probabilities.argmax(axis=1), probabilities)
    assert all(np.isnan(found[name].low) for name in ("roc_auc", "average_precision", "f1"))
    assert np.isfinite(found["accuracy"].low)


@pytest.mark.parametrize(("positives", "negatives"), [(20, 180), (20, 1980), (50, 100_000)])
def test_a_perfect_order_is_worth_as_much_with_more_negatives(positives, negatives):
    truth = np.r_[np.ones(positives), np.zeros(negatives)]
    found = roc.area(
        truth,
        np.r_[
            np.ones(positives) + np.arange(positives), np.zeros(negatives) - np.arange(negatives)
        ],
    )
    assert found.value == found.high == 1.0
    assert found.low > 0.85


@pytest.mark.slow  # trains out of fold on thousands of rows
@pytest.mark.parametrize("seed", [2, 5, 9, 12])
def test_regions_whose_outcome_is_less_certain_do_not_block(seed):
    random = np.random.default_rng(80_000 + seed)
    count = int(random.choice([2000, 4000]))
    values = random.standard_normal((count, 8)) @ random.standard_normal((8, 8)) / 3
    score = random.normal(0, 1.5) * np.sin(values[:, 0] * 2) + np.where(
        values[:, 1] > random.normal(0, 0.5), values[:, 2] * 2, -values[:, 3]
    )
    steepness = np.where(values[:, 5] > 0, 0.4, 3.0)
    codes = (random.random(count) < expit(steepness * (score - np.median(score)))).astype(int)
    found = LabelNoise()(
        rows_of(pd.DataFrame(values, columns=[f"x{i}" for i in range(8)]), codes), ScreenTable()
    )
    assert [finding.message for finding in found.findings if finding.severity == "high"] == []
    assert len(found.rows) <= 0.16 * count


def test_what_a_holdout_can_tell_of_an_auc_is_about_as_wide_as_its_interval():
    random = np.random.default_rng(0)
    for positives, others in ((30, 70), (100, 900)):
        widths = []
        for _ in range(60):
            # an AUC of .8
            scores = np.r_[random.exponential(4.0, positives), random.exponential(1.0, others)]
            found = roc.area(np.r_[np.ones(positives), np.zeros(others)], scores)
            widths.append((found.high - found.low) / 2)
        assert auc_half(positives, others) == pytest.approx(np.median(widths), rel=0.15)


def test_rows_that_are_all_alike_are_no_certainty():
    """The spread of values that did not differ is not known to be nought; a gate would have passed
    on five rows.
    """
    codes, sure = np.array([0, 1] * 10), np.array([[1.0, 0.0], [0.0, 1.0]] * 10)
    found = quality.figures(codes, codes, sure)
    assert found["brier"].low == 0.0 and found["brier"].high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert found["log_loss"].high > 5.0 and np.isfinite(found["log_loss"].high)
    assert found["calibration_error"].high > 0.3
    assert all(
        found[name].low < 1.0
        for name in ("accuracy", "balanced_accuracy", "f1", "roc_auc", "average_precision")
    )
    many = np.arange(60) % 3
    three = quality.figures(many, many, np.eye(3)[many])
    assert all(
        0.7 < three[name].low < 1.0 == three[name].high
        for name in ("f1", "roc_auc", "average_precision")
    )
    heights = np.linspace(150.0, 200.0, 50)[:, None]
    right = regression.figures(heights, heights, 200, 0)
    assert right["mae"].low == 0.0 and right["mae"].high == pytest.approx(
        50 * (1 - 0.025 ** (1 / 50))
    )
    assert (
        right["r2"].low < 0.9 and right["r2"].high == 1.0 and right["rmse"].high > right["mae"].high
    )
    assert intervals.mean(np.full(9, 0.1)).high == np.inf, (
        "nothing bounds what was not met: such a figure is unmeasured"
    )


def test_two_models_that_answered_alike_differ_by_nothing_that_was_measured():
    """Else the same model, trained again, would not be known to be no worse than itself."""
    generator = np.random.default_rng(0)
    codes, said = np.array([0, 1] * 50), generator.random(100)
    side = ((said > 0.5).astype(int), np.column_stack([1 - said, said]))
    for name, figure in compare.differences(codes, side, side).items():
        assert figure.value == 0.0 and figure.low <= 0.0 <= figure.high, name
        assert name in ("accuracy", "calibration_error") or figure.low == figure.high, name


def test_the_interval_of_rows_that_are_all_alike_holds():
    """One row of a hundred is wrong, and twenty were asked: most hold-outs met none."""
    generator = np.random.default_rng(0)
    drawn = (generator.random((2000, 20)) < 0.01).astype(float)
    none = drawn[drawn.sum(axis=1) == 0]
    held = [intervals.mean(row, limits=(0.0, 1.0)) for row in none[:50]]
    assert all(one.low <= 0.01 <= one.high for one in held)


def test_an_attack_that_tells_all_or_nothing_has_an_interval():
    member = np.r_[np.ones(30), np.zeros(30)]
    for score in (member, np.zeros(60)):
        found = rates.told_apart(member, score, None, 50, 0)
        assert found.low < found.high
