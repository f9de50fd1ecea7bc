"""Performance without labels: what is estimated, how surely, and when outcomes contradict it."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from casemate.core.errors import ConfigError, DataError
from casemate.watch import expected
from casemate.watch.calibration import KINDS, Calibrator, Moved, fitted_line, logits
from casemate.watch.estimate import CHANGED, estimate, parted
from casemate.watch.populations import density_ratio, told_apart

pytestmark = pytest.mark.slow

KNOWN = {"target": "y", "score": "score"}


def figures(chunk):
    return {one.name: one for one in chunk.figures}


def test_figures_of_outcomes_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 20, 500) / 20
    outcome = (generator.random(500) < scores).astype(float)
    answers = (scores >= 0.5).astype(float)
    found = expected.Rows(scores, answers).figures(outcome)
    assert found == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(outcome, scores),
            "accuracy": metrics.accuracy_score(outcome, answers),
            "precision": metrics.precision_score(outcome, answers),
            "recall": metrics.recall_score(outcome, answers),
            "specificity": metrics.recall_score(1 - outcome, 1 - answers),
            "f1": metrics.f1_score(outcome, answers),
        }
    )


def test_expected_figures_are_the_mean_over_outcomes(monkeypatch):
    generator = np.random.default_rng(0)
    scores = np.sort(generator.random(400))
    rows = expected.Rows(scores, (scores >= 0.4).astype(float))
    monkeypatch.setattr(expected, "DRAWS", 2000)
    drawn = expected.realisations(rows, lambda _: scores**2, generator)
    means = dict(zip(expected.FIGURES, drawn.mean(axis=0), strict=True))
    assert rows.figures(scores**2) == pytest.approx(means, abs=0.004)


def test_a_row_is_no_pair_with_itself():
    rows = expected.Rows(np.array([0.2, 0.8]), np.zeros(2))
    assert rows.area(np.array([0.5, 0.5])) == pytest.approx(0.5)
    assert rows.area(np.array([0.1, 0.9])) == pytest.approx(0.81 / 0.82)


def test_figures_that_nothing_defines_are_not_numbers():
    found = expected.Rows(np.array([0.1, 0.2]), np.zeros(2)).figures(np.zeros(2))
    assert np.isnan([found["roc_auc"], found["precision"], found["recall"]]).all()
    assert found["accuracy"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_calibrated_shares_are_shares_and_never_fall(kind):
    generator = np.random.default_rng(0)
    scores = generator.random(2000)
    outcome = (generator.random(2000) < scores**3).astype(float)
    calibrator = Calibrator(scores, outcome, kind)
    found = calibrator.at(np.linspace(-1, 2, 50), calibrator.curve(*calibrator.counts()))
    assert ((found > 0) & (found < 1)).all()
    assert (np.diff(found) >= 0).all()
    if kind == "isotonic":
        inside = calibrator.at(np.array([0.3, 0.6]), calibrator.curve(*calibrator.counts()))
        assert inside == pytest.approx([0.027, 0.216], abs=0.07)


def test_few_rows_take_the_stiff_kind_that_fits_and_many_take_the_free_one():
    generator = np.random.default_rng(1)
    scores = generator.random(900)
    bent = (generator.random(900) < scores**4).astype(float)
    assert Calibrator(scores, bent).kind == "platt"
    assert Calibrator(np.tile(scores, 2), np.tile(bent, 2)).kind == "isotonic"


def test_a_line_in_log_odds_is_found_far_from_where_it_is_looked_for():
    at = np.linspace(-3, -1.5, 200)
    shares = 1 / (1 + np.exp(-(12 + 6 * at)))
    line, covariance = fitted_line(at, 1000 * shares, 1000 * (1 - shares))
    assert line == pytest.approx([12, 6], rel=0.01)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_a_calibration_moves_only_where_weighted_rows_say_so():
    generator = np.random.default_rng(0)
    scores, harder = generator.random(20000), generator.random(20000) < 0.5
    shares = np.where(harder, scores * 0.5, scores)
    outcome = (generator.random(20000) < shares).astype(float)
    calibrator = Calibrator(scores, outcome)
    moved = Moved(calibrator, np.where(harder, 1.9, 0.1))
    still = Moved(calibrator, generator.random(20000) * 2)
    assert (moved.is_moved, still.is_moved) == (True, False)
    assert float(moved.at(np.array([0.6]))[0]) < float(still.at(np.array([0.6]))[0]) - 0.08
    assert logits(np.array([0.0, 1.0])) == pytest.approx([-9.21024, 9.21024])


@pytest.mark.slow
def test_equal_populations_are_told_apart_as_seldom_as_said():
    generator = np.random.default_rng(0)
    chances = [
        told_apart(generator.normal(size=(120, 2)), generator.normal(size=(60, 2)), seed)[1]
        for seed in range(60)
    ]
    assert np.mean(np.array(chances) <= 0.1) < 0.2
    assert np.median(chances) > 0.3


def test_rows_weigh_what_they_are_worth_in_the_other_population():
    generator = np.random.default_rng(0)
    reference, current = generator.normal(0, 1, (4000, 1)), generator.normal(1, 1, (4000, 1))
    weights = density_ratio(reference, current)
    assert weights.mean() == pytest.approx(1)
    assert np.average(reference[:, 0], weights=weights) == pytest.approx(1, abs=0.15)
    assert density_ratio(reference, generator.normal(0, 1, (4000, 1))) is None


def test_estimates_are_near_what_is_realised_and_hold_it(made):
    said = estimate(made(8000), made(6000, seed=1), chunk=1500, **KNOWN)
    assert [(one.first, one.rows) for one in said.chunks] == [
        (0, 1500),
        (1500, 1500),
        (3000, 1500),
        (4500, 1500),
    ]
    assert (said.kind, said.calibration, said.changed) == ("classes", "isotonic", False)
    for chunk in said.chunks:
        for one in chunk.figures:
            assert one.estimated.low <= one.realised <= one.estimated.high
            assert one.estimated.value == pytest.approx(one.realised, abs=0.05)


def test_a_harder_population_is_seen_without_outcomes(made):
    rows = made(20000, seed=1)
    hard = rows[rows["number"].abs() < 0.5][:2000]
    chunk = estimate(made(8000), hard.drop(columns="y"), **KNOWN).chunks[0]
    found = figures(chunk)["accuracy"]
    truth = ((hard["score"] >= 0.5) == hard["y"]).mean()
    assert found.realised is None
    assert found.reference - found.estimated.value > 0.1
    assert found.estimated.value == pytest.approx(truth, abs=0.03)
    assert chunk.moved


def test_a_relation_that_changed_is_said_once_outcomes_are_there(made):
    current = made(2000, seed=1)
    generator = np.random.default_rng(2)
    current["y"] = np.where(generator.random(2000) < 0.3, 1 - current["y"], current["y"])
    without = estimate(made(8000), current.drop(columns="y"), **KNOWN)
    with_ = estimate(made(8000), current, **KNOWN)
    assert (without.changed, with_.changed) == (False, True)
    assert with_.chunks[0].text.startswith(CHANGED)
    assert figures(with_.chunks[0])["roc_auc"].changed


@pytest.mark.slow
def test_sound_files_are_seldom_said_to_have_changed(made):
    wrong = [
        estimate(made(1500, seed), made(400, 1000 + seed), features=["number"], **KNOWN)
        for seed in range(40)
    ]
    areas = [figures(one.chunks[0])["roc_auc"].changed for one in wrong]
    assert sum(areas) <= 6  # of 40 at 5 %: more in one of a hundred such tests


def test_the_loss_of_a_quantity_is_estimated_where_it_differs():
    def rows(count, seed, low=0.0):
        generator = np.random.default_rng(seed)
        x = generator.uniform(low, 1, count)
        foretold = 10 * x
        return pd.DataFrame({"x": x, "p": foretold, "y": foretold + generator.normal(0, 0.1 + x)})

    said = estimate(rows(4000, 0), rows(1000, 1, 0.7), target="y", score="p")
    found = figures(said.chunks[0])
    assert (said.kind, said.changed) == ("quantity", False)
    for name in ("mae", "rmse"):
        one = found[name]
        assert one.estimated.low <= one.realised <= one.estimated.high
        assert one.estimated.value == pytest.approx(one.realised, rel=0.1)
        assert one.estimated.value > 1.3 * one.reference


def test_classes_may_be_words_and_either_may_be_the_positive_one(made):
    def worded(rows):
        return rows.assign(y=np.where(rows["y"] == 1, "ill", "well"))

    reference, current = worded(made(3000)), worded(made(800, seed=1))
    one = estimate(reference, current, positive="ill", **KNOWN)
    plain = estimate(made(3000), made(800, seed=1), **KNOWN)
    assert one == plain
    with pytest.raises(ConfigError, match="no class"):
        estimate(reference, current, positive="dead", **KNOWN)


def test_outcomes_1_and_2_nullable_and_unsigned_are_classes(made):
    reference, current = made(2000), made(500, seed=1)
    for rows, kind in ((reference, "UInt8"), (current, "Int64")):
        rows["y"] = (rows["y"] + 1).astype(kind)
    assert estimate(reference, current, **KNOWN).changed is False


def test_rows_without_a_score_are_left_out_and_counted(made):
    current = made(600, seed=1)
    current.loc[:9, "score"] = np.nan
    current.loc[10:19, "score"] = np.inf
    said = estimate(made(2000), current, **KNOWN)
    assert (said.left_out, said.chunks[0].rows) == (20, 580)


def test_a_gap_among_the_outcomes_leaves_the_chunk_without_realised_figures(made):
    current = made(600, seed=1).astype({"y": float})
    current.loc[0, "y"] = np.nan
    said = estimate(made(2000), current, chunk=300, **KNOWN)
    first, second = (figures(one)["accuracy"].realised for one in said.chunks)
    assert first is None
    assert second is not None


@pytest.mark.parametrize(
    ("count", "chunk", "expected"),
    [
        (10, None, [10]),
        (10, 5, [5, 5]),
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 5]),
        (3, 9, [3]),
        (1, 1, [1]),
    ],
)
def test_a_small_rest_joins_the_last_chunk(count, chunk, expected):
    parts = list(parted(count, chunk))
    assert [part.stop - part.start for part in parts] == expected
    assert parts[-1].stop == count


def test_one_row_is_estimated_with_a_wide_interval(made):
    one = figures(estimate(made(2000), made(1, seed=1), **KNOWN).chunks[0])["accuracy"].estimated
    assert one.high - one.low > 0.5


def test_what_cannot_be_estimated_is_refused(made):
    reference, current = made(500), made(200, seed=1)
    below = current["score"].where(current.index > 0, -0.01)
    for wrong in (current.assign(score=current["score"] * 100), current.assign(score=below)):
        with pytest.raises(DataError, match="not all in 0 to 1"):
            estimate(reference, wrong, **KNOWN)
    with pytest.raises(DataError, match="not all in 0 to 1"):
        estimate(reference.assign(score=2.0), current, **KNOWN)
    with pytest.raises(DataError, match="too few"):
        estimate(reference[:50], current, **KNOWN)
    with pytest.raises(DataError, match="0 rows"):
        estimate(reference, current.assign(score=np.nan), **KNOWN)
    with pytest.raises(DataError, match="1 classes"):
        estimate(reference.assign(y=1), current, **KNOWN)
    with pytest.raises(DataError, match="has a class"):
        estimate(reference, current.assign(y=7), **KNOWN)
    with pytest.raises(DataError, match="no column 'nothing'"):
        estimate(reference, current, target="nothing", score="score")
    with pytest.raises(ConfigError, match="no rows"):
        estimate(reference, current, chunk=0, **KNOWN)
    quantity = reference.assign(y=reference["number"])
    with pytest.raises(ConfigError, match="quantities"):
        estimate(quantity, current, positive="1", **KNOWN)


def test_the_real_set_whose_relation_changed_is_estimated_or_said_to_have(case):
    folder = case("datasets/nannyml")
    reference = pd.read_csv(folder / "california_housing_reference.csv")
    current = pd.read_csv(folder / "california_housing_analysis.csv").merge(
        pd.read_csv(folder / "california_housing_analysis_gt.csv"), on="id"
    )
    columns = ["id", "timestamp", "y_pred"]
    said = estimate(
        reference.drop(columns=columns),
        current.drop(columns=columns),
        target="clf_target",
        score="y_pred_proba",
        chunk=1646,
    )
    assert len(said.chunks) == 5
    for chunk in said.chunks:
        area = figures(chunk)["roc_auc"]
        assert abs(area.estimated.value - area.realised) <= 0.02 or chunk.text


def test_the_verb_exits_with_1_when_outcomes_contradict(made, tmp_path, cli):
    made(3000).to_csv(tmp_path / "r.csv", index=False)
    made(600, seed=1).to_csv(tmp_path / "c.csv", index=False)
    wrong = made(600, seed=1)
    wrong["y"] = 1 - wrong["y"]
    wrong.to_csv(tmp_path / "w.csv", index=False)
    words = ["watch", "estimate", str(tmp_path / "r.csv")]
    options = ["--target", "y", "--score", "score"]
    sound = cli(*words, str(tmp_path / "c.csv"), *options, "--chunk", "300", "--format", "json")
    assert (sound.code, len(json.loads(sound.out)["chunks"])) == (0, 2)
    broken = cli(*words, str(tmp_path / "w.csv"), *options)
    assert (broken.code, CHANGED in broken.out) == (1, True)


def test_a_chunk_says_how_many_reference_rows_tell_about_its_population(made):
    reference = made(4000)
    still, moved = (
        estimate(reference, made(2000, seed=1, shift=shift), **KNOWN).chunks[0]
        for shift in (0.0, 1.5)
    )
    assert (still.moved, still.worth) == (False, 4000)
    assert moved.moved
    assert moved.worth < 2000
