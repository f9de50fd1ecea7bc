"""Drift of a table: what is found, what is not, and whom it wakes."""

import json

import numpy as np
import pandas as pd
import pytest

from casemate.core.errors import ConfigError, DataError
from casemate.watch.budget import FalseAlarms
from casemate.watch.drift import JOINT, Reference, drift

pytestmark = pytest.mark.slow

HOURLY = {"windows_per_day": 24}
FEATURES = ["number", "zeros", "kind"]


def found(made, change, rows=300, **options):
    """(feature, kind) of every finding in one shifted window."""
    current = made(rows, seed=1)
    change(current)
    said = drift(made(5000), current, features=FEATURES, **HOURLY, **options)
    return {(one.feature, one.kind) for one in said.findings}


def half_a_deviation(rows):
    rows["number"] += 0.5


def another_unit(rows):
    rows["number"] *= 100


def gaps(rows):
    rows.loc[::20, "number"] = np.nan


def new_category(rows):
    rows.loc[::30, "kind"] = "new"


def no_numbers(rows):
    rows["number"] = rows["number"].astype(object)
    rows.loc[::30, "number"] = "n/a?"


def infinite(rows):
    rows.loc[::30, "number"] = np.inf


def more_of_one(rows):
    rows["kind"] = np.where(np.arange(len(rows)) % 2, "c", rows["kind"])


def nothing(rows):
    pass


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (half_a_deviation, ("number", "numbers")),
        (another_unit, ("number", "range")),
        (gaps, ("number", "missing")),
        (new_category, ("kind", "unseen")),
        (no_numbers, ("number", "unreadable")),
        (infinite, ("number", "unreadable")),
        (more_of_one, ("kind", "categories")),
    ],
)
def test_a_shift_is_found_within_300_rows_and_named(made, change, expected):
    assert expected in found(made, change)


def test_a_window_of_the_same_population_shows_nothing(made):
    assert found(made, nothing) == set()


def test_features_that_move_against_each_other_are_found_together():
    def rows(count, seed, sign):
        generator = np.random.default_rng(seed)
        one = generator.normal(size=count)
        return pd.DataFrame({"one": one, "two": sign * one + generator.normal(0, 0.3, count)})

    said = drift(rows(4000, 0, 1), rows(600, 1, -1), **HOURLY)
    assert {one.feature for one in said.findings} == {JOINT}


@pytest.mark.slow
def test_false_alarms_stay_within_what_the_budget_gives_a_window(made):
    alarms = FalseAlarms(count=2000, days=90, windows_per_day=90)
    judged = Reference(made(3000), FEATURES, alarms=alarms, is_joint=False)
    wrong = sum(bool(judged.window(made(200, seed)).findings) for seed in range(1, 301))
    assert alarms.chance == pytest.approx(0.235, abs=0.005)
    assert wrong <= 300 * alarms.chance + 3 * (300 * alarms.chance) ** 0.5


def test_a_tighter_budget_never_finds_more(made):
    current = made(300, seed=1)
    current["number"] += 0.28
    loose = drift(made(5000), current, features=FEATURES, false_alarms="90 per 1 days")
    tight = drift(made(5000), current, features=FEATURES, false_alarms="0 per 900000 days")
    assert loose.limit > tight.limit
    assert (bool(loose.findings), bool(tight.findings)) == (True, False)


def test_hours_that_always_differed_are_nothing_new():
    def days(count, seed):
        generator = np.random.default_rng(seed)
        hours = np.repeat(np.arange(24 * count), 50)
        return pd.DataFrame(
            {"load": np.sin(hours / 24 * 2 * np.pi) + generator.normal(0, 0.3, len(hours))}
        )

    reference, noon = days(20, 0), days(1, 1)[300:350]
    assert drift(reference, noon, **HOURLY).findings == []
    assert drift(reference, noon, is_ordered=False, **HOURLY).findings


def test_findings_are_ranked_by_shift_times_importance(made):
    current = made(1000, seed=1)
    current["number"] += 0.4
    new_category(current)
    said = drift(
        made(5000), current, features=FEATURES, importance={"kind": 5.0, "number": 0.1}, **HOURLY
    )
    assert said.findings[-1].feature == JOINT
    ranks = [one.rank for one in said.findings[:-1]]
    assert ranks == sorted(ranks, reverse=True)
    assert all(one.rank == one.shift * one.importance for one in said.findings)
    single = [one for one in said.findings if one.feature != JOINT]
    assert single[0].feature == "kind"
    assert {one.importance for one in single} == {1.0, 0.02}


def test_a_move_that_leaves_quality_as_it_was_is_a_note(made):
    current = made(1000, seed=1)
    more_of_one(current)
    known = {"features": FEATURES, "score": "score", "target": "y"}
    said = drift(made(5000), current.drop(columns="y"), **known, **HOURLY)
    assert said.findings
    assert (said.quality, said.page) == ("holds", False)
    assert not any(one.page for one in said.findings)


def test_a_move_to_rows_that_are_harder_wakes_somebody(made):
    rows = made(20000, seed=1)
    hard = rows[rows["number"].abs() < 0.5][:1000].drop(columns="y")
    said = drift(made(5000), hard, features=FEATURES, score="score", target="y", **HOURLY)
    assert (said.quality, said.page) == ("suffers", True)


def test_a_model_that_is_surer_than_it_says_does_not_suffer_from_rows_like_the_reference():
    """Few rows with outcomes: scores are taken at their word, though nearly all answers are right."""

    def rows(count: int, seed: int) -> pd.DataFrame:
        random = np.random.default_rng(seed)
        outcome = random.integers(0, 2, count)
        score = np.where(outcome, 1 - random.beta(1, 9, count), random.beta(1, 9, count))
        return pd.DataFrame({"x": random.normal(size=count), "p": score, "y": outcome})

    for seed in range(20):
        few, now = rows(131, seed), rows(600, 100 + seed).drop(columns="y")
        said = drift(few, now, features=["x"], score="p", target="y", windows_per_day=1)
        assert said.quality == "holds", said.because


@pytest.mark.parametrize("change", [new_category, infinite, gaps])
def test_rows_whose_like_the_model_never_met_make_quality_unknown(made, change):
    current = made(1000, seed=1).drop(columns="y")
    change(current)
    said = drift(made(5000), current, features=FEATURES, score="score", target="y", **HOURLY)
    assert (said.quality, said.page) == ("unknown", True)


def test_without_target_and_score_a_finding_wakes_somebody(made):
    current = made(1000, seed=1)
    half_a_deviation(current)
    said = drift(made(5000), current, features=FEATURES, **HOURLY)
    assert (said.quality, said.page) == ("unknown", True)


def test_answers_are_looked_at_where_their_column_is_named(made):
    current = made(500, seed=1)
    current["score"] = current["score"] ** 2
    said = drift(made(5000), current, features=["zeros", "kind"], score="score", **HOURLY)
    assert ("score", "numbers") in {(one.feature, one.kind) for one in said.findings}


def test_text_that_is_new_in_every_row_is_no_drift(made):
    reference, current = made(2000), made(300, seed=1)
    for name, rows in (("r", reference), ("c", current)):
        rows["id"] = [f"{name}{at}" for at in range(len(rows))]
    for is_ordered in (True, False):
        said = drift(reference, current, features=["id"], is_ordered=is_ordered, **HOURLY)
        assert said.findings == []


def test_odd_columns_are_judged_without_a_fault(made):
    reference, current = made(500), made(60, seed=1)
    for rows in (reference, current):
        rows["empty"] = np.nan
        rows["constant"] = 7
        rows["huge"] = np.clip(rows["number"], -1, 1) * 1e308
        rows["flag"] = rows["number"] > 0
        rows["small"] = pd.array([1] * len(rows), dtype="UInt8")
        rows.loc[rows.index[:3], "small"] = pd.NA
    names = ["empty", "constant", "huge", "flag", "small"]
    assert drift(reference, current, features=names, **HOURLY).findings == []


def test_the_same_rows_in_another_order_say_the_same(made):
    current = made(300, seed=1)
    half_a_deviation(current)
    one = drift(made(5000), current, features=["number"], **HOURLY)
    other = drift(made(5000), current[::-1], features=["number"], **HOURLY)
    assert one == other


def test_a_window_of_too_few_rows_is_not_said_to_be_like_the_reference(made):
    with pytest.raises(DataError, match="1 row, too few") as caught:
        drift(made(500), made(1, seed=1), features=FEATURES, **HOURLY)
    assert "at least 20" in caught.value.hint
    assert drift(made(500), made(20, seed=1), features=FEATURES, **HOURLY).findings == []


def test_what_cannot_be_judged_is_refused(made):
    reference = made(500)
    with pytest.raises(DataError, match="0 rows"):
        drift(reference, reference[:0])
    with pytest.raises(DataError, match="too few"):
        drift(reference[:99], reference)
    with pytest.raises(DataError, match="no column 'no'"):
        drift(reference, reference, features=["no"])
    with pytest.raises(DataError, match="share no feature"):
        drift(reference, pd.DataFrame({"else": [1]}))
    with pytest.raises(ConfigError, match="twice"):
        drift(reference, reference, features=["kind", "kind"])
    with pytest.raises(ConfigError, match="no feature"):
        drift(reference, reference, features=["kind"], importance={"no": 1.0})
    for wrong in ({"kind": -1.0}, {"kind": float("nan")}, {"kind": 0.0}, {}):
        with pytest.raises(ConfigError, match="no positive number"):
            drift(reference, reference, features=["kind"], importance=wrong)
    with pytest.raises(ConfigError, match="without a score"):
        drift(reference, reference, features=["kind"], target="y")


def test_the_verb_exits_with_1_when_something_is_found(made, tmp_path, cli):
    current = made(500, seed=1)
    made(3000).to_csv(tmp_path / "r.csv", index=False)
    current.to_csv(tmp_path / "same.csv", index=False)
    half_a_deviation(current)
    current.to_parquet(tmp_path / "moved.parquet")
    (tmp_path / "weights.json").write_text(json.dumps({"number": 3, "kind": 1}))
    words = ["watch", "drift", str(tmp_path / "r.csv")]
    options = ["--features", *FEATURES, "--windows-per-day", "24"]
    quiet = cli(*words, str(tmp_path / "same.csv"), *options)
    assert (quiet.code, "like the reference" in quiet.out) == (0, True)
    weights = ["--importance", str(tmp_path / "weights.json")]
    loud = cli(*words, str(tmp_path / "moved.parquet"), *options, *weights, "--format", "json")
    assert loud.code == 1
    first = json.loads(loud.out)["findings"][0]
    assert (first["feature"], first["importance"]) == ("number", 1.0)
    assert "page  number" in cli(*words, str(tmp_path / "moved.parquet"), *options).out


def test_the_verb_names_a_file_that_is_not_there_or_no_importances(made, tmp_path, cli):
    made(200).to_csv(tmp_path / "r.csv", index=False)
    here = str(tmp_path / "r.csv")
    gone = cli("watch", "drift", here, str(tmp_path / "no.csv"))
    assert (gone.code, "no such file" in gone.err) == (2, True)
    (tmp_path / "bad.json").write_text('{"number": "much"}')
    bad = cli("watch", "drift", here, here, "--importance", str(tmp_path / "bad.json"))
    assert (bad.code, "holds no importances" in bad.err) == (2, True)
