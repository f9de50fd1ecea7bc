"""Rows of the same subject are not independent: figures count subjects, and where each has one row
nothing changes.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import special, stats
from tests.conftest import write_csv

from casemate.config import DataTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.frame import groups_of
from casemate.stages.assess import (
    bootstrap,
    compare,
    fairness,
    intervals,
    quality,
    regression,
    roc,
    shift,
)
from casemate.stages.assess.leakage import rates
from casemate.stages.assess.sample import Sample
from casemate.stages.data import further
from casemate.stages.data.checks import drift
from casemate.stages.data.checks.profile import profile
from casemate.stages.release import rows

SUBJECTS, EACH = 50, 10


def answers(generator, rows, classes=2):
    """(codes, labels, probabilities) of rows that are drawn apart."""
    logits = generator.standard_normal((rows, classes))
    probabilities = special.softmax(logits, axis=1)
    codes = (probabilities.cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1)
    return codes, probabilities.argmax(axis=1), probabilities


def by_subject(generator, subjects=SUBJECTS, each=EACH):
    """(codes, labels, probabilities) of subjects whose label is theirs, as of people who are seen
    several times.
    """
    ill = (generator.random((subjects, 1)) < 0.4).astype(int)
    score = (
        1.2 * ill
        + generator.standard_normal((subjects, 1))
        + 0.6 * generator.standard_normal((subjects, each))
        - 0.6
    )
    return _told(score, np.repeat(ill, each, 1))


def with_intercepts(generator, subjects=40, each=20):
    """The same of subjects who have more or less of it, whatever the features say."""
    score = generator.standard_normal((subjects, each))
    chance = special.expit(1.5 * score + 2 * generator.standard_normal((subjects, 1)))
    return _told(score, (generator.random(score.shape) < chance).astype(int))


def _told(score, codes):
    said = special.expit(1.5 * score.ravel())
    return codes.ravel(), (said > 0.5).astype(int), np.column_stack([1 - said, said])


def quantities(generator, subjects=SUBJECTS, each=EACH):
    found = np.repeat(
        generator.standard_normal((subjects, 1)), each, 1
    ) + 0.5 * generator.standard_normal((subjects, each))
    error = 0.5 * generator.standard_normal((subjects, 1)) + 0.5 * generator.standard_normal(
        (subjects, each)
    )
    return (found + error).reshape(-1, 1), found.reshape(-1, 1)


@pytest.mark.parametrize("classes", [2, 3])
def test_subjects_with_one_row_each_change_no_figure(classes):
    drawn = answers(np.random.default_rng(0), 300, classes)
    assert quality.figures(*drawn, np.random.default_rng(1).permutation(300)) == quality.figures(
        *drawn
    )


def test_subjects_with_one_row_each_change_no_figure_of_quantities_groups_and_areas():
    generator, whose = np.random.default_rng(0), np.random.default_rng(1).permutation(500)
    truth, found = quantities(generator)
    truth, found = np.column_stack([truth, found**2]), np.column_stack([found, found])
    for several in (slice(0, 1), slice(0, 2)):
        one = truth[:, several], found[:, several], 50, 0
        assert regression.figures(*one, whose) == regression.figures(*one)
    codes, labels, probabilities = answers(generator, 500)
    assert bootstrap.interval(
        roc.auc, [codes, probabilities[:, 1]], 100, 0, whose
    ) == bootstrap.interval(roc.auc, [codes, probabilities[:, 1]], 100, 0)
    frame = pd.DataFrame(
        {"g": generator.integers(0, 2, 500).astype(float), "x": generator.standard_normal(500)}
    )
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=name, type="number") for name in "gx"],
    )
    with_, without = Sample(frame, codes, whose), Sample(frame, codes)
    assert fairness.measure((labels, probabilities), with_, schema, ["g"]) == fairness.measure(
        (labels, probabilities), without, schema, ["g"]
    )
    assert shift.shift_auc(with_, Sample(frame, codes, whose + 500), schema, 0) == shift.shift_auc(
        without, without, schema, 0
    )


@pytest.mark.parametrize("law", [by_subject, with_intercepts])
def test_intervals_hold_the_true_figure_of_subjects_with_several_rows(law, scale):
    """Rows that were taken for independent: half of the intervals of accuracy and AUC held the
    truth.
    """
    codes, labels, probabilities = law(np.random.default_rng(1), 40_000)
    truth = {
        name: statistic(codes, labels, probabilities)
        for name, statistic in quality.statistics(2).items()
    }
    generator, rounds = np.random.default_rng(2), scale(150, 2000)
    held = dict.fromkeys(truth, 0)
    for _ in range(rounds):
        drawn = law(generator)
        whose = np.repeat(
            np.arange(len(drawn[0]) // (20 if law is with_intercepts else EACH)),
            20 if law is with_intercepts else EACH,
        )
        for name, one in quality.figures(*drawn, whose).items():
            held[name] += one.low <= truth[name] <= one.high
    chance = 2.5 * (0.05 * 0.95 / rounds) ** 0.5
    assert {
        name: count / rounds for name, count in held.items() if count / rounds < 0.935 - chance
    } == {}


def test_intervals_of_quantities_hold_the_true_figure_of_subjects_with_several_rows(scale):
    truth = {
        "r2": 1 - 0.5 / 1.75,
        "rmse": 0.5**0.5,
        "mae": (2 * 0.5 / np.pi) ** 0.5,
        "median_absolute_error": 0.5**0.5 * 0.674490,
    }
    generator, rounds, whose = (
        np.random.default_rng(2),
        scale(200, 2000),
        np.repeat(np.arange(SUBJECTS), EACH),
    )
    held = dict.fromkeys(truth, 0)
    for _ in range(rounds):
        told = regression.figures(*quantities(generator), 20, 0, whose)
        for name, true in truth.items():
            held[name] += told[name].low <= true <= told[name].high
    chance = 2.5 * (0.05 * 0.95 / rounds) ** 0.5
    assert {
        name: count / rounds for name, count in held.items() if count / rounds < 0.935 - chance
    } == {}


def test_a_bootstrap_draws_subjects_and_is_as_wide_as_the_closed_form():
    codes, _, probabilities = by_subject(np.random.default_rng(0))
    whose = np.repeat(np.arange(SUBJECTS), EACH)
    closed = roc.area(codes, probabilities[:, 1], whose)
    for most in (300, 100_000):  # resamples, and blocks
        drawn = bootstrap.interval(roc.auc, [codes, probabilities[:, 1]], most, 0, whose)
        assert drawn.high - drawn.low == pytest.approx(closed.high - closed.low, rel=0.3)


def test_an_area_knows_what_the_rows_of_a_subject_on_both_sides_have_in_common():
    """Subjects whose scores are all high or all low: left out one by one they move the area as much
    as its interval says.
    """
    generator, whose = np.random.default_rng(0), np.repeat(np.arange(60), 10)
    codes = generator.integers(0, 2, 600)
    score = (
        codes
        + np.repeat(2 * generator.standard_normal(60), 10)
        + 0.5 * generator.standard_normal(600)
    )
    found = roc.area(codes, score, whose)
    without = np.array([roc.auc(codes[whose != one], score[whose != one]) for one in range(60)])
    deviation = (59 / 60 * np.sum((without - without.mean()) ** 2)) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(2.0 * deviation, rel=0.15)


def test_the_interval_of_r2_is_that_of_leaving_out_each_subject():
    truth, found = quantities(np.random.default_rng(0), 20, 5)
    whose = np.repeat(np.arange(20), 5)
    told = regression.figures(truth, found, 20, 0, whose)["r2"]
    kept = [whose != one for one in range(20)]
    left_out = np.log([1 - regression.statistics()["r2"](truth[at], found[at]) for at in kept])
    moves = 19 * (left_out.mean() - left_out)
    logs = intervals.smooth(
        np.log(1 - told.value), moves, freedom=intervals.effective_freedom(moves)
    )
    assert (told.low, told.high) == pytest.approx(
        (1 - np.exp(logs.high), 1 - np.exp(logs.low)), rel=1e-9
    )


def test_one_subject_tells_nothing_however_many_rows_it_has():
    codes, labels, probabilities = answers(np.random.default_rng(0), 100)
    told = quality.figures(codes, labels, probabilities, np.zeros(100))
    for name in ("roc_auc", "average_precision"):
        assert (told[name].low, told[name].high) == (0.0, 1.0)
    assert told["accuracy"].high - told["accuracy"].low > 0.9
    assert not np.isfinite(told["brier"].high)
    assert not np.isfinite(
        bootstrap.interval(lambda y: float(y.mean()), [codes], 100, 0, np.zeros(100)).high
    )
    both = rates.told_apart(
        np.repeat([1, 0], 50), probabilities[:, 1], np.repeat([0, 1], 50), 100, 0
    )
    assert (both.low, both.high) == (0.0, 1.0)


def test_like_subjects_are_not_told_apart_because_they_are_on_both_halves(scale):
    """Rows of a subject in both halves: the classifier knows whom it is asked about, and every
    honest split was a shift.
    """
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name=name, type="number") for name in "abc"],
    )
    wrong, rounds = 0, scale(8, 100)
    for seed in range(rounds):
        generator = np.random.default_rng(seed)
        sides = []
        for first in (0, 60):
            rows = np.repeat(
                generator.standard_normal((60, 3)), 5, axis=0
            ) + 0.3 * generator.standard_normal((300, 3))
            sides.append(
                Sample(
                    pd.DataFrame(rows, columns=list("abc")),
                    np.zeros(300),
                    first + np.repeat(np.arange(60), 5),
                )
            )
        found = shift.shift_auc(*sides, schema, seed)
        wrong += found.low > 0.5
    assert wrong / rounds <= 0.13


def test_a_further_table_says_whose_its_rows_are_by_numbers_only(tmp_path):
    path = write_csv(
        tmp_path / "later.csv",
        pa.table({"who": ["ann", "ann", "bob"], "a": [1.0, 2.0, 3.0], "y": [0, 1, 0]}),
    )
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[ColumnSchema(name="a", type="number"), ColumnSchema(name="y", type="number")],
    )
    for subject, groups in (("who", [0, 0, 1]), (None, None)):
        table = further.read(path, DataTable(source="t.csv", target="y", subject=subject), schema)
        assert "who" not in table.column_names
        found = groups_of(table)
        assert groups is None if found is None else found.tolist() == groups


def test_what_would_settle_a_figure_is_said_in_subjects_too():
    assert rows.wanted_rows(1000, 500, 50) == "1 000 of about 100 subjects"
    assert rows.wanted_rows(1000, 500, 0) == "1 000"


COLUMNS = Schema(
    target="y",
    classes=["0", "1"],
    columns=[ColumnSchema(name="v", type="number"), ColumnSchema(name="c", type="category")],
)


def seen_often(generator, subjects, each, moved=0.0):
    """A number and a category that are their subject's, but for some noise and missing cells."""
    number = np.repeat(
        generator.standard_normal(subjects) + moved, each
    ) + 0.2 * generator.standard_normal(subjects * each)
    kind = np.repeat(generator.choice(["p", "q", "r"], subjects), each)
    return pa.table(
        {
            "v": pa.array(
                np.where(generator.random(len(number)) < 0.05, np.nan, number), from_pandas=True
            ),
            "c": kind,
        }
    )


def drifted(before, after, whose):
    pinned = profile(before, COLUMNS, None, whose)
    answer, told = drift.check(pinned, profile(after, COLUMNS, pinned, whose), "before")
    return answer.figures["drift"], told


def test_the_same_population_seen_through_few_subjects_is_no_drift(scale):
    """Rows that were taken for independent: 70 of 100 such pairs of versions were called
    drifted.
    """
    generator, whose, rounds, alarms, early = (
        np.random.default_rng(0),
        np.repeat(np.arange(100), 20),
        scale(60, 1000),
        0,
        0,
    )
    for _ in range(rounds):
        found, told = drifted(*(seen_often(generator, 100, 20) for _ in range(2)), whose)
        alarms += found > 0
        early += min(row["p"] for row in told) < 0.05
    assert alarms == 0 or alarms / rounds <= 0.01
    assert early / rounds <= 0.1 + 2.5 * (0.1 * 0.9 / rounds) ** 0.5


def test_drift_is_seen_through_subjects_too():
    generator = np.random.default_rng(0)
    found, _ = drifted(
        seen_often(generator, 300, 10),
        seen_often(generator, 300, 10, 0.7),
        np.repeat(np.arange(300), 10),
    )
    assert found > drift.SOME


def test_drift_of_subjects_with_one_row_each_is_that_of_rows():
    pair = [seen_often(np.random.default_rng(seed), 500, 1) for seed in range(2)]
    assert drifted(*pair, np.arange(500)) == drifted(*pair, None)


def test_a_subject_who_came_ten_times_is_one_coin_in_mcnemars_test():
    right, before = np.r_[np.ones(30), np.zeros(10)].astype(bool), np.zeros(40, dtype=bool)
    alone = compare.mcnemar(right, before)
    assert alone["p"] == pytest.approx(stats.binomtest(30, 30).pvalue) and "subjects" not in alone
    told = compare.mcnemar(right, before, np.r_[np.repeat(np.arange(3), 10), np.arange(3, 13)])
    assert told == {
        "gained": 30.0,
        "lost": 0.0,
        "p": pytest.approx(0.25),
        "subjects": 3.0,
    }, "three coins: 2 of 8 throws are as uneven"
    mixed = compare.mcnemar(
        np.array([True, True, True, False]),
        np.array([False, False, False, True]),
        np.array([0, 0, 1, 2]),
    )
    assert mixed["p"] == pytest.approx(0.75), (
        "2 + 1 - 1: of the eight sums of +-2 +-1 +-1 two are 0, the others at least 2 from it"
    )
    assert compare.mcnemar(right, right)["p"] == 1.0
    many = compare.mcnemar(np.arange(20_000) % 2 == 0, np.arange(20_000) % 3 == 0)
    gained, lost = int(many["gained"]), int(many["lost"])
    assert many["p"] == pytest.approx(stats.binomtest(gained, gained + lost).pvalue, rel=1e-6)


def test_mcnemars_test_of_subjects_is_wrong_in_one_of_twenty_tables():
    generator, wrong = np.random.default_rng(0), {"subjects": 0, "rows": 0}
    for _ in range(300):
        groups = np.repeat(np.arange(40), 8)
        # each subject's rows speak for one of two models that are equally good
        better = (generator.random(40) < 0.5)[groups]
        wrong["subjects"] += compare.mcnemar(better, ~better, groups)["p"] < 0.05
        wrong["rows"] += compare.mcnemar(better, ~better)["p"] < 0.05
    assert wrong["subjects"] <= 25 and wrong["rows"] > 100
