"""Two models on the same rows: how often the interval of their difference holds the true one."""

import numpy as np
import pytest
from scipy import special, stats

from casemate.stages.assess import compare, roc

FIGURES = [
    "roc_auc",
    "average_precision",
    "f1",
    "brier",
    "accuracy",
    "balanced_accuracy",
    "log_loss",
    "calibration_error",
]


def two(generator, rows, rate, subjects=None):
    """(codes, labels and probabilities of one model, those of another that is as good and mostly
    says the same).
    """
    units = subjects or rows
    codes = (generator.random(units) < rate).astype(int)
    common, *own = generator.standard_normal((3, units))
    codes, common, *own = (np.repeat(values, rows // units) for values in (codes, common, *own))
    said = [
        special.expit(1.5 * codes + 0.9**0.5 * common + 0.1**0.5 * one + special.logit(rate))
        for one in own
    ]
    return codes, *(
        ((one > min(0.5, 2 * rate)).astype(int), np.column_stack([1 - one, one])) for one in said
    )


@pytest.mark.parametrize(
    ("rows", "rate", "subjects"), [(500, 0.02, None), (200, 0.1, None), (600, 0.3, 60)]
)
def test_models_that_are_as_good_are_seldom_told_apart(rows, rate, subjects, scale):
    """The bootstrap of ten to thirty positives called 10 to 19 of 100 such pairs different."""
    generator, rounds = np.random.default_rng(3), scale(200, 2000)
    whose = None if subjects is None else np.repeat(np.arange(subjects), rows // subjects)
    wrong, drawn = dict.fromkeys(FIGURES, 0), 0
    while drawn < rounds:
        codes, *both = two(generator, rows, rate, subjects)
        if codes.sum() < 3:
            continue
        drawn += 1
        for name, one in compare.differences(codes, *both, whose).items():
            wrong[name] += not one.low <= 0 <= one.high
    chance = 2.5 * (0.05 * 0.95 / rounds) ** 0.5
    assert {
        name: count / rounds for name, count in wrong.items() if count / rounds > 0.065 + chance
    } == {}


def test_a_better_model_is_told_from_a_worse_one():
    generator = np.random.default_rng(0)
    codes, good, _ = two(generator, 1000, 0.3)
    poor = special.expit(generator.standard_normal(1000))
    found = compare.differences(
        codes, good, ((poor > 0.5).astype(int), np.column_stack([1 - poor, poor]))
    )
    assert list(found) == FIGURES
    assert found["roc_auc"].low > 0.1
    assert found["brier"].high < 0
    assert found["log_loss"].high < 0
    assert found["accuracy"].low > 0


def test_few_positives_have_few_degrees_of_freedom():
    generator = np.random.default_rng(0)
    codes = np.r_[np.ones(5, dtype=int), np.zeros(495, dtype=int)]
    said = [special.expit(codes + generator.standard_normal(500)) for _ in range(2)]
    ours, theirs = (((one > 0.5).astype(int), np.column_stack([1 - one, one])) for one in said)
    found = compare.differences(codes, ours, theirs)["roc_auc"]
    moves = np.subtract(*(roc.area_influence(codes == 1, one)[1] for one in said))
    assert (found.high - found.low) / 2 == pytest.approx(
        stats.t.ppf(0.975, 4) * moves.std(ddof=1) / 500**0.5, rel=0.01
    )


def test_no_row_that_only_one_model_gets_right_is_no_certainty_and_one_positive_decides_nothing():
    codes, ours, theirs = two(np.random.default_rng(0), 100, 0.5)
    same = compare.differences(codes, ours, (ours[0], theirs[1]))["accuracy"]
    assert same.low < same.value == 0 < same.high < 0.05
    codes = np.r_[1, np.zeros(99, dtype=int)]
    told = compare.differences(codes, ours, theirs)["roc_auc"]
    assert (told.low, told.high) == (-1.0, 1.0)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_model_does_not_differ_from_itself_and_subjects_with_one_row_change_nothing(classes):
    generator = np.random.default_rng(0)
    probabilities, other = (
        special.softmax(generator.standard_normal((200, classes)), axis=1) for _ in range(2)
    )
    codes = generator.integers(0, classes, 200)
    ours, theirs = ((one.argmax(axis=1), one) for one in (probabilities, other))
    assert {
        name: one.value for name, one in compare.differences(codes, ours, ours).items()
    } == dict.fromkeys(FIGURES, 0.0)
    assert compare.differences(
        codes, ours, theirs, generator.permutation(200)
    ) == compare.differences(codes, ours, theirs)
