"""Labels are called wrong on evidence, groups are looked at, and equal rows are compared with what
chance makes of them.
"""

import itertools
import runpy
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from msgspec import structs
from sklearn.metrics import f1_score

from casemate.config import ScreenTable
from casemate.stages.data.screen.coincidence import coincidences
from casemate.stages.data.screen.duplicates import Duplicates
from casemate.stages.data.screen.floods import Floods
from casemate.stages.data.screen.label_noise import UNPROVEN, LabelNoise
from casemate.stages.data.screen.out_of_fold import expectation
from casemate.stages.data.screen.plateau import plateau, turned_over

pytestmark = pytest.mark.slow

SIMULATED = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[4] / "bench" / "assurance" / "labels.py"))
)
RANKS = {"low": 0, "medium": 1, "high": 2}
OPTIONS = ScreenTable()


def worst(found) -> int:
    return max((RANKS[finding.severity] for finding in found.findings), default=0)


def f1_gain(rows, wrong) -> float:
    """F1 of the rows that are named, less that of cleanlab with the same probabilities."""
    issues = find_label_issues(rows.codes, expectation(rows, OPTIONS.folds).best, n_jobs=1)
    named = SIMULATED.marked(LabelNoise()(rows, OPTIONS), len(rows.codes))
    return f1_score(wrong, named) - f1_score(wrong, issues)


@pytest.mark.parametrize("kind", SIMULATED.KINDS)
def test_labels_drawn_from_a_true_model_are_not_called_wrong(kind):
    for auc in (0.7, 0.8, 0.9):
        frame, codes, _ = SIMULATED.table(
            600, auc, kind, np.random.default_rng([3, int(100 * auc)])
        )
        found = LabelNoise()(SIMULATED.rows_of(frame, codes), OPTIONS)
        assert worst(found) < RANKS["high"], (auc, found.findings)
        assert len(found.rows) <= UNPROVEN * 600 + 0.5 * 600 * (worst(found) == RANKS["medium"])


def test_a_certain_model_that_labels_contradict_all_the_same_blocks_and_more_flips_never_look_better():
    frame, codes, _ = SIMULATED.table(6000, 0.97, "mixed", np.random.default_rng(1))
    ranks, named, at_most = [], [], []
    for share in (0.0, 0.02, 0.1, 0.2, 0.3, 0.4):
        given, _ = SIMULATED.flipped(codes, share, np.random.default_rng(2))
        found = LabelNoise()(SIMULATED.rows_of(frame, given), OPTIONS)
        ranks.append(worst(found))
        named.append(len(found.rows))
        at_most.append(found.figures["label_noise_at_most"])
    assert at_most == sorted(at_most)
    assert (ranks[:-1], named[:-1]) == (sorted(ranks[:-1]), sorted(named[:-1]))
    assert (ranks[0], ranks[2]) == (RANKS["low"], RANKS["high"])
    # nearly half of the labels: not told from an uncertain outcome, and nobody is told that all is
    # well
    assert ranks[-1] >= RANKS["medium"]


def test_an_uncertain_table_is_called_undecided_and_not_clean_and_says_how_many_labels_may_be_wrong():
    frame, codes, _ = SIMULATED.table(2000, 0.7, "linear", np.random.default_rng(3))
    found = LabelNoise()(SIMULATED.rows_of(frame, codes), OPTIONS)
    assert [(finding.id, finding.severity) for finding in found.findings] == [
        ("data.label-screen", "medium")
    ]
    assert 0.15 < found.figures["label_noise_at_most"] < 0.45
    assert 0 < len(found.rows) <= UNPROVEN * 2000


def test_labels_that_the_features_do_not_tell_are_undecided_however_uneven():
    for seed in range(6):
        random = np.random.default_rng([14, seed])
        frame, _, _ = SIMULATED.table(300, 0.7, ("linear", "steps", "heavy")[seed % 3], random)
        found = LabelNoise()(
            SIMULATED.rows_of(frame, (random.random(300) < 0.15).astype(int)), OPTIONS
        )
        assert [(finding.id, finding.severity) for finding in found.findings] == [
            ("data.label-screen", "medium")
        ]
        assert not found.rows


def test_false_positives_among_rare_ones_are_found_as_well_as_cleanlab_does_and_better():
    frame, codes, _ = SIMULATED.table(8000, 0.99, "linear", np.random.default_rng(4), 0.02)
    given, wrong = SIMULATED.flipped(codes, 0.1, np.random.default_rng(5))
    rows = SIMULATED.rows_of(frame, given)
    assert f1_gain(rows, wrong) >= 0.02
    assert worst(LabelNoise()(rows, OPTIONS)) >= RANKS["medium"]


def test_few_true_positives_among_many_false_ones_hardly_move_a_rank_and_are_told_all_the_same():
    random = np.random.default_rng(16)
    frame = pd.DataFrame(
        {
            "kind": np.where(np.arange(3000) < 40, "rare", "common").astype(object),
            "x": random.standard_normal(3000),
        }
    )
    given, wrong = SIMULATED.flipped(frame["kind"].eq("rare").to_numpy().astype(int), 0.2, random)
    named = SIMULATED.marked(LabelNoise()(SIMULATED.rows_of(frame, given), OPTIONS), 3000)
    assert named.sum() >= UNPROVEN * 3000
    assert wrong[named].mean() > 0.9


def test_a_plateau_that_two_models_see_blocks_though_neither_is_sure_by_itself():
    frame, codes, _ = SIMULATED.table(3000, 0.95, "linear", np.random.default_rng(11))
    given, _ = SIMULATED.flipped(codes, 0.2, np.random.default_rng(2))
    rows = SIMULATED.rows_of(frame, given)
    assert 1e-4 < plateau(expectation(rows, OPTIONS.folds).best, rows.codes).chance < 1e-2
    assert worst(LabelNoise()(rows, OPTIONS)) == RANKS["high"]


@pytest.mark.parametrize("name", ["adult", "german", "telco"])
def test_wrong_labels_in_a_real_table_are_named_better_than_by_cleanlab(case, name):
    frame, codes = real(case, name)
    given, wrong = SIMULATED.flipped(codes, 0.1, np.random.default_rng(1))
    assert f1_gain(SIMULATED.rows_of(frame, given), wrong) >= 0.02


@pytest.mark.parametrize("name", ["adult", "german", "telco"])
def test_a_real_table_as_it_is_does_not_block(case, name):
    assert worst(LabelNoise()(SIMULATED.rows_of(*real(case, name)), OPTIONS)) < RANKS["medium"]


def real(case, name):
    if name == "adult":
        table = pd.read_csv(
            case("datasets/adult/adult-train.csv"), header=None, skipinitialspace=True
        )[:12_000]
    elif name == "german":
        table = pd.read_csv(case("datasets/german/german.csv"), header=None)
    else:
        table = pd.read_csv(case("datasets/telco/Telco-Customer-Churn.csv"), na_values=" ").drop(
            columns="customerID"
        )
    table.columns = [f"c{place}" for place in range(table.shape[1])]
    codes = pd.factorize(table.iloc[:, -1], sort=True)[0].astype(np.int64)
    return table.iloc[:, :-1], codes


@pytest.mark.parametrize("name", ["clean74", "survey"])
def test_uncertain_and_discrete_tables_are_not_refused(case, name):
    table = pd.read_csv(case(f"strangers/{name}.csv")).drop(columns="person_id", errors="ignore")
    refused, share = SIMULATED.refused(
        SIMULATED.rows_of(table.drop(columns="y"), table["y"].to_numpy(np.int64))
    )
    assert not refused
    assert share <= 0.13


@pytest.mark.parametrize("what", ["site", "age"])
def test_flips_inside_one_group_are_found_and_the_group_is_named(what):
    random = np.random.default_rng(6)
    frame, codes, _ = SIMULATED.table(3000, 0.9, "mixed", random)
    frame["site"] = np.array(list("abcdefgh"), dtype=object)[random.integers(0, 8, 3000)]
    frame["age"] = random.normal(50, 15, 3000)
    where = frame["site"].eq("c") if what == "site" else frame["age"] > frame["age"].quantile(0.75)
    given, wrong = SIMULATED.flipped(codes, 0.3, random, where.to_numpy())
    rows = SIMULATED.rows_of(frame, given)
    found = LabelNoise()(rows, OPTIONS)
    assert SIMULATED.marked(found, 3000)[wrong].mean() >= 0.5
    assert what in [finding.location for finding in found.findings]
    if what == "site":
        hidden = [
            structs.replace(column, column_class="sensitive") if column.name == "site" else column
            for column in rows.schema.columns
        ]
        secret = LabelNoise()(structs_of(rows, hidden), OPTIONS)
        assert any("site = c " in finding.message for finding in found.findings)
        assert not any("site = c " in finding.message for finding in secret.findings)


def structs_of(rows, columns):
    return type(rows)(
        rows.frame,
        rows.codes,
        rows.groups,
        structs.replace(rows.schema, columns=columns),
        rows.seed,
    )


def test_a_group_whose_outcome_is_more_uncertain_is_not_called_wrong_where_a_model_can_learn_that():
    random = np.random.default_rng(7)
    frame, _, true = SIMULATED.table(6000, 0.9, "linear", random)
    site = random.integers(0, 6, 6000)
    frame["site"] = np.array(list("abcdef"), dtype=object)[site]
    logit = np.log(true / (1 - true)) * np.where(site == 2, 0.6, 1.0)
    codes = (random.random(6000) < 1 / (1 + np.exp(-logit))).astype(int)
    found = LabelNoise()(SIMULATED.rows_of(frame, codes), OPTIONS)
    assert worst(found) < RANKS["high"]


def test_a_group_in_which_a_column_means_the_opposite_is_not_called_wrong():
    random = np.random.default_rng(17)
    frame = pd.DataFrame(random.standard_normal((4000, 4)), columns=list("abcd"))
    frame["site"] = np.array(list("pqrstuvw"), dtype=object)[random.integers(0, 8, 4000)]
    logit = 2.5 * frame["a"] * np.where(frame["site"] == "r", -1, 1) + frame["b"]
    codes = (random.random(4000) < 1 / (1 + np.exp(-logit))).astype(int)
    found = LabelNoise()(SIMULATED.rows_of(frame, codes), OPTIONS)
    assert "site" not in [finding.location for finding in found.findings]


def test_the_plateau_is_the_share_of_wrong_labels_and_none_without():
    random = np.random.default_rng(8)
    true = 1 / (1 + np.exp(-random.normal(0, 3, 20_000)))
    probabilities = np.c_[1 - true, true]
    codes = (random.random(20_000) < true).astype(int)
    clean = plateau(probabilities, codes)
    assert clean.chance > 1e-3
    wrong = plateau(probabilities, np.where(random.random(20_000) < 0.1, 1 - codes, codes))
    assert wrong.chance < 1e-6
    assert wrong.least <= 0.1 <= wrong.wrong + 0.03
    share, ratio = turned_over(
        clean.agreement, probabilities.argmax(axis=1) == codes, np.arange(20_000) % 4 - 1
    )
    assert share.max() <= 0.04
    assert ratio.max() < 12


def answers(random, count, columns=8, kinds=3):
    return [random.integers(0, kinds, count) for _ in range(columns)]


def test_as_many_equal_rows_are_expected_as_other_people_make():
    random = np.random.default_rng(9)
    found = coincidences(answers(random, 20_000))
    repeated = found.counts > 1
    assert found.expected[repeated].mean() == pytest.approx(20_000 / 3**8, rel=0.1)
    assert not found.beyond.any()


def test_copies_do_not_excuse_themselves_nor_does_renaming_or_reordering_change_anything():
    random = np.random.default_rng(10)
    columns = answers(random, 3000)
    at = np.r_[np.arange(3000), np.full(200, 17)]
    found = coincidences([column[at] for column in columns])
    assert found.beyond[found.places[17]]
    assert found.beyond.sum() == 1
    assert found.expected[found.places[17]] < 5
    shuffled = random.permutation(len(at))
    again = coincidences(
        [
            np.array(["abc"[value] for value in column[at][shuffled]], dtype=object)
            for column in columns
        ]
    )
    assert np.array_equal(again.beyond[again.places], found.beyond[found.places][shuffled])


def test_missing_values_equal_each_other_and_a_table_of_measurements_expects_no_equal_rows():
    values = np.random.default_rng(11).standard_normal((500, 4))
    values[[3, 9]] = [np.nan, 1.0, 2.0, 3.0]
    found = coincidences(list(values.T))
    assert found.counts.max() == 2
    assert found.beyond.sum() == 1


def test_what_chance_makes_is_counted_as_a_dictionary_counts_it():
    """Keys are hashed, and share their last bits with counts: the figures must be those of the rows
    themselves.
    """
    random = np.random.default_rng(13)
    values = random.integers(0, 2, (400, 9))
    values[:30] = values[0]
    found = coincidences(list(values.T.astype(float)))
    sizes = Counter(map(tuple, values))
    small = {row: count for row, count in sizes.items() if count <= 5}

    def like(row, groups, left_out):
        return sum(
            count
            for other, count in groups.items()
            if all(
                a == b
                for place, (a, b) in enumerate(zip(row, other, strict=True))
                if place not in left_out
            )
        )

    def pairs(left_out):
        kept = Counter()
        for row, count in small.items():
            kept[tuple(value for place, value in enumerate(row) if place not in left_out)] += count
        return sum(count * (count - 1) / 2 for count in kept.values())

    def chance(counted):
        alone = [counted({j}) - counted(set()) for j in range(9)]
        both = list(itertools.combinations(range(9), 2))
        product = sum(alone[j] * alone[k] for j, k in both)
        rest = 1 + sum(counted({j, k}) - counted(set()) - alone[j] - alone[k] for j, k in both)
        return product / rest, min(sum(alone), 3 * (sum(alone) - max(alone)))

    assert found.few == pytest.approx(max(chance(pairs)))
    for row in (values[0], values[200], values[300]):
        place = found.places[np.flatnonzero((values == row).all(axis=1))[0]]
        if found.counts[place] > 1:
            expected, beside = chance(lambda left_out, row=row: like(row, sizes, left_out))
            assert (found.expected[place], found.beside[place]) == (
                pytest.approx(expected),
                pytest.approx(beside),
            )
    assert found.counts[found.places[0]] >= 30


def test_people_who_answer_alike_are_no_duplicates_and_copied_measurements_are():
    random = np.random.default_rng(12)
    frame, codes, _ = SIMULATED.table(3000, 0.8, "survey", random)
    found = Duplicates()(SIMULATED.rows_of(frame, codes), OPTIONS)
    assert found.figures["equal_rows"] > 300
    assert len(found.rows) <= 0.05 * 3000
    for seed in range(8):  # few questions, few people
        frame, codes, _ = SIMULATED.table(300, 0.8, "survey", np.random.default_rng([15, seed]))
        assert len(Duplicates()(SIMULATED.rows_of(frame, codes), OPTIONS).rows) <= 0.1 * 300
    frame, codes, _ = SIMULATED.table(1000, 0.8, "linear", random)
    at = np.r_[np.arange(1000), np.arange(300)]
    rows = SIMULATED.rows_of(frame.iloc[at].reset_index(drop=True), codes[at])
    assert [suspect.row for suspect in Duplicates()(rows, OPTIONS).rows] == list(range(1000, 1300))


def test_copies_are_not_excused_by_as_many_copies_with_another_label():
    frame, codes, _ = SIMULATED.table(1000, 0.8, "linear", np.random.default_rng(18))
    at = np.r_[np.arange(1000), np.full(60, 5)]
    labels = np.r_[codes, np.arange(60) % 2]
    found = Duplicates()(SIMULATED.rows_of(frame.iloc[at].reset_index(drop=True), labels), OPTIONS)
    assert len(found.rows) == 59  # all but the first with either label


@pytest.mark.parametrize("kind", ["linear", "ordinal", "yes or no"])
def test_a_flood_of_a_row_that_few_give_blocks_and_with_both_labels_it_is_none(kind):
    random = np.random.default_rng(13)
    frame, codes, _ = SIMULATED.table(3000, 0.8, kind, random)
    rare = np.flatnonzero(frame.groupby(list(frame)).transform("size").to_numpy() <= 3)[0]
    at = np.r_[np.arange(3000), np.full(300, rare)]
    rows = SIMULATED.rows_of(frame.iloc[at].reset_index(drop=True), codes[at])
    found = Floods()(rows, OPTIONS)
    assert SIMULATED.marked(found, 3300)[3000:].mean() > 0.99
    assert worst(found) == RANKS["high"]
    mixed = np.r_[codes, np.arange(300) % 2]
    assert not Floods()(SIMULATED.rows_of(rows.frame, mixed), OPTIONS).rows
    assert not Floods()(SIMULATED.rows_of(frame, codes), OPTIONS).rows
