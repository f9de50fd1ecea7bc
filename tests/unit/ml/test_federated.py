"""Federated learning by arrays: exact sums, updates that are refused, ways to combine, splits."""

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from casemate.core.errors import ConfigError
from casemate.ml.federated import encoding, exact, robust, splits
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import LocalPlan, SiteRows, train
from casemate.ml.federated.rules import RULES
from casemate.ml.federated.simulation import Design, least_squares, simulate
from casemate.ml.federated.updates import (
    Layout,
    UpdateRefused,
    layout_of,
    pack,
    unpack,
)

LAYOUT = Layout(names=["w", "b"], shapes=[[2, 3], [3]], dtype="<f4")
NOBODY = lambda *_: None  # noqa: E731 - hears nothing


def table(classes, rows=600, seed=0):
    chance = np.random.default_rng(seed)
    given = chance.standard_normal((rows, 5)) * [1, 3, 0.2, 10, 1] + [0, 5, 0, -20, 1]
    scores = given @ chance.standard_normal((5, classes)) + chance.gumbel(size=(rows, classes)) * 3
    return given, scores.argmax(axis=1)


def sites_of(rows, codes, count=5):
    where = splits.dirichlet(codes, count, 0.5, 10, np.random.default_rng(1))
    return [SiteRows(rows[where == i], codes[where == i], i) for i in range(count)]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_exact_training_over_unlike_sites_gives_the_coefficients_of_the_pooled_fit(classes):
    rows, codes = table(classes)
    rows = (rows - rows.mean(0)) / rows.std(0)
    learner = LinearLearner(5, classes, strength=0.7)
    sites = sites_of(rows, codes)

    def ask(weights):
        sent = [exact.sums_of(learner, one.rows, one.codes, weights).flat() for one in sites]
        return exact.from_flat(np.sum(sent, axis=0), learner.layout.size)

    coefficients, intercepts = learner.split(exact.solve(learner, ask).weights)
    pooled = LogisticRegression(C=0.7, tol=1e-10, max_iter=5_000).fit(rows, codes)
    assert np.abs(coefficients.T - pooled.coef_).max() < 1e-6
    assert np.abs(intercepts - pooled.intercept_).max() < 1e-6


def test_a_scale_from_sums_of_sites_is_that_of_the_pooled_rows_and_so_is_the_model():
    rows, codes = table(2)
    frame = pd.DataFrame(rows, columns=list("abcde"))
    limits = encoding.Limits(numbers=dict.fromkeys("abcde", (-500.0, 500.0)), categories={})
    where = splits.iid(codes, 4, np.random.default_rng(0))
    scale = encoding.scale_of([limits.moments(frame[where == i]) for i in range(4)], limits)
    encoded = encoding.encode(frame, limits, scale)
    learner = LinearLearner(5, 2)
    found = exact.solve(learner, lambda at: exact.sums_of(learner, encoded, codes, at))
    pooled = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-10)).fit(frame, codes)
    assert (
        np.abs(learner.answers(found.weights, encoded) - pooled.predict_proba(frame)).max() < 1e-6
    )


def test_means_variances_and_ridge_from_sums_are_those_of_all_rows_with_gaps():
    rows, codes = table(2)
    rows[::7, 2] = np.nan
    parts, reference = [rows[:100], rows[100:450], rows[450:]], np.array([0, 5, 0, -20, 1.0])
    means, variances = exact.statistics([exact.moments_of(p, reference) for p in parts], reference)
    assert np.allclose(means, np.nanmean(rows, axis=0), rtol=1e-12, atol=1e-12)
    assert np.allclose(variances, np.nanvar(rows, axis=0, ddof=1), rtol=1e-12)
    whole = np.nan_to_num(rows)
    sums = [
        exact.gram_of(part, value)
        for part, value in [(whole[:50], codes[:50]), (whole[50:], codes[50:])]
    ]
    coefficients, intercept = exact.least_squares(sums, 2.0)
    pooled = Ridge(alpha=2.0).fit(whole, codes)
    assert np.allclose(coefficients, pooled.coef_, atol=1e-10)
    assert abs(intercept - pooled.intercept_) < 1e-9


def test_columns_that_say_nothing_without_a_penalty_have_no_single_optimum_and_that_is_said():
    rows = np.array([[-1.0, 0.0], [-2.0, 0.0], [1.0, 0.0], [-0.5, 0.0]])
    learner = LinearLearner(2, 2, strength=np.inf)
    with pytest.raises(exact.NotReached, match="no single optimum"):
        exact.solve(learner, lambda at: exact.sums_of(learner, rows, np.array([0, 1, 1, 0]), at))


def test_more_coefficients_than_second_derivatives_can_be_sent_of_are_refused():
    with pytest.raises(ConfigError, match="sends a square of them"):
        exact.flat_size(LinearLearner(4_000, 2))


@given(st.integers(0, 2**32 - 1), st.floats(-30, 5), st.integers(1, 50))
def test_an_update_comes_out_of_its_packing_as_it_went_in(seed, size, number):
    vector = (np.random.default_rng(seed).uniform(-1, 1, 9) * 10**size).astype(np.float32)
    assert np.array_equal(unpack(pack(vector, LAYOUT, number, 7), LAYOUT, number), vector)


def changed(update, at=0, **fields):
    pieces = list(update.pieces)
    pieces[at] = msgspec.structs.replace(pieces[at], **fields)
    return msgspec.structs.replace(update, pieces=pieces)


GOOD = pack(np.arange(9.0), LAYOUT, 3, 7)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (pack(np.append(np.zeros(8), np.nan), LAYOUT, 3, 7), "b holds NaN"),
        (pack(np.append(np.inf, np.zeros(8)), LAYOUT, 3, 7), "w holds NaN or infinity"),
        (pack(np.append(np.zeros(8), -2e6), LAYOUT, 3, 7), "beyond 1e\\+06"),
        (changed(GOOD, dtype="<f2"), "came as '<f2', expected '<f4'"),
        (changed(GOOD, dtype="<i4"), "came as '<i4'"),
        (changed(GOOD, dtype="<f8"), "came as '<f8'"),
        (changed(GOOD, shape=[3, 2]), "has the shape"),
        (changed(GOOD, content=GOOD.pieces[0].content[:-1]), "23 bytes, which are not its shape"),
        (changed(GOOD, content=GOOD.pieces[0].content * 2), "48 bytes"),
        (changed(GOOD, name="v"), "other arrays"),
        (msgspec.structs.replace(GOOD, pieces=GOOD.pieces[:1]), "other arrays"),
        (msgspec.structs.replace(GOOD, pieces=GOOD.pieces[::-1]), "other arrays"),
        (msgspec.structs.replace(GOOD, round=2), "of round 2, and this is round 3"),
        (msgspec.structs.replace(GOOD, rows=0), "of 0 rows"),
        (msgspec.structs.replace(GOOD, version=2), "version 2"),
    ],
)
def test_an_update_that_is_not_what_was_asked_for_is_refused_and_not_repaired(bad, why):
    with pytest.raises(UpdateRefused, match=why):
        unpack(bad, LAYOUT, 3)


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros(2, dtype=np.int64), "whole numbers"),
        (np.zeros(2, dtype=bool), "whole numbers"),
        (np.zeros(2, dtype=np.float16), "float16; sums over sites need float32 or float64"),
        (np.zeros(2, dtype=np.complex128), "complex128"),
        (np.zeros(0), "without numbers"),
    ],
)
def test_layers_of_whole_numbers_and_half_precision_are_refused_before_the_first_round(array, why):
    with pytest.raises(UpdateRefused, match=why):
        layout_of({"layer": array})
    with pytest.raises(UpdateRefused, match="different types"):
        layout_of({"a": np.zeros(1), "b": np.zeros(1, dtype=np.float32)})


HONEST = np.random.default_rng(0).standard_normal((9, 40)) * 0.1 + 1.0
EVEN = np.full(11, 1 / 11)


@pytest.mark.parametrize("lie", [-HONEST[0], -50 * HONEST[0], 1e5 * np.ones(40)])
@pytest.mark.parametrize(
    "name", ["median", "trimmed-mean", "krum", "multi-krum", "centred-clipping"]
)
def test_two_liars_of_eleven_move_no_robust_way_far_and_the_mean_a_lot(name, lie):
    moved = np.vstack([HONEST, lie, lie])
    found = robust.COMBINERS[name](moved, EVEN, 2)
    honest = HONEST.mean(axis=0)
    assert np.linalg.norm(found.moved - honest) < 0.35 * np.linalg.norm(honest)
    assert np.linalg.norm(robust.mean(moved, EVEN, 2).moved - honest) > 0.35 * np.linalg.norm(
        honest
    )
    told = robust.evidence(list(range(11)), moved, found.shares, robust.agreements(moved))
    assert [one.site for one in told if one.suspect] == [9, 10]


def test_a_bound_on_lengths_keeps_a_loud_liar_from_being_heard_louder_than_others():
    moved = np.vstack([HONEST, -50 * HONEST[:2]])
    found = robust.norm_bound(moved, EVEN, 2)
    assert found.moved @ HONEST.mean(axis=0) > 0
    assert robust.mean(moved, EVEN, 2).moved @ HONEST.mean(axis=0) < 0
    assert found.shares[9] < 0.05 * found.shares[0]


@pytest.mark.parametrize(("name", "least"), [("krum", 7), ("multi-krum", 7), ("trimmed-mean", 5)])
def test_too_few_sites_for_so_many_liars_are_said_and_not_averaged(name, least):
    with pytest.raises(ConfigError, match=f"{name} needs {least} sites"):
        robust.COMBINERS[name](HONEST[: least - 1], EVEN[: least - 1], 2)
    robust.COMBINERS[name](HONEST[:least], EVEN[:least], 2)


def test_a_site_that_claims_a_million_rows_weighs_ten_times_the_median_site_at_most():
    assert robust.weights_of([100, 100, 10**6]).tolist() == [1 / 12, 1 / 12, 10 / 12]
    assert robust.weights_of([10, 20, 30]).tolist() == [1 / 6, 1 / 3, 1 / 2]


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_learns_from_sites_that_have_other_classes_each(name):
    rows, codes = table(3, rows=900)
    rows = (rows - rows.mean(0)) / rows.std(0)
    sites, held = sites_of(rows[:700], codes[:700]), (rows[700:], codes[700:])
    plan = LocalPlan(epochs=2, batch=16, rate=0.1, momentum=0.5)
    design = Design(rounds=8, rule=name, combine="mean", plan=plan)
    told, weights = simulate(LinearLearner(5, 3), sites, held, design, NOBODY)
    pooled = LogisticRegression().fit(rows[:700], codes[:700]).score(*held)
    assert told.rounds[-1].score > pooled - 0.06
    again, same = simulate(
        LinearLearner(5, 3), sites_of(rows[:700], codes[:700]), held, design, NOBODY
    )
    assert np.array_equal(weights, same)
    assert again == told


def test_prox_keeps_a_site_nearer_to_where_it_began_and_controls_take_drift_off():
    rows, codes = table(2)
    site = SiteRows(rows / rows.std(0), codes)
    learner = LinearLearner(5, 2)
    free, _ = train(learner, site, learner.start(0), LocalPlan(epochs=5), 1)
    held, _ = train(learner, site, learner.start(0), LocalPlan(epochs=5, pull=5.0), 1)
    assert np.linalg.norm(held) < 0.6 * np.linalg.norm(free)
    # a control that is the opposite of the site's own gradient stops it
    site.control = None
    _, found = train(learner, site, learner.start(0), LocalPlan(controlled=True), 1)
    assert np.array_equal(found, site.control)
    still, _ = train(learner, site, learner.start(0), LocalPlan(controlled=True), 1, np.zeros(6))
    assert np.linalg.norm(still) < 0.7 * np.linalg.norm(
        train(learner, site, learner.start(0), LocalPlan(), 1)[0]
    )


def test_updates_with_nan_count_for_nothing_and_the_sites_are_named():
    rows, codes = table(2)
    rows = rows / rows.std(0)
    design = Design(
        rounds=2, rule="fedavg", combine="mean", plan=LocalPlan(), attack="nan", attackers=2
    )
    told, weights = simulate(
        LinearLearner(5, 2), sites_of(rows, codes), (rows, codes), design, NOBODY
    )
    assert [one.refused for one in told.rounds] == [[0, 1], [0, 1]]
    assert np.isfinite(weights).all()


def test_dirichlet_makes_sites_unlike_and_values_of_a_column_stay_together():
    codes = np.repeat(np.arange(4), 500)
    chance = np.random.default_rng(0)

    def spread(where):
        shares = np.array([[np.mean(codes[where == s] == c) for c in range(4)] for s in range(5)])
        return float(shares.std(axis=0).mean())

    assert spread(splits.dirichlet(codes, 5, 0.1, 10, chance)) > 5 * spread(
        splits.iid(codes, 5, chance)
    )
    values = np.array(["a"] * 50 + ["b"] * 30 + ["c"] * 25 + ["d"] * 5)
    where = splits.by_values(values, 3)
    assert np.bincount(where).tolist() == [50, 30, 30]
    assert all(len(set(where[values == one])) == 1 for one in "abcd")
    with pytest.raises(ConfigError, match="4 values, too few for 5 sites"):
        splits.by_values(values, 5)
    with pytest.raises(ConfigError, match="no split gave each of 5 sites 500 rows"):
        splits.dirichlet(codes, 5, 0.1, 500, chance)


def played(**changed):
    rows, codes = table(2)
    rows = (rows - rows.mean(0)) / rows.std(0)
    where = splits.iid(codes, 12, np.random.default_rng(0))
    sites = [SiteRows(rows[where == i], codes[where == i], i) for i in range(12)]
    given = {"rounds": 3, "rule": "fedavg", "combine": "mean", "plan": LocalPlan()} | changed
    return simulate(LinearLearner(5, 2), sites, (rows, codes), Design(**given), NOBODY)


def test_masked_rounds_learn_what_plain_ones_do():
    plain, weights = played()
    masked, same = played(masked=True)
    assert np.abs(weights - same).max() < 1e-6 * np.abs(weights).max()
    assert masked.rounding < 1e-9
    assert [one.score for one in masked.rounds] == [one.score for one in plain.rounds]
    assert all(len(one.evidence) == 1 for one in masked.rounds)  # of the sum, of no site


@pytest.mark.parametrize("step", ["share", "mask", "agree", "reveal"])
def test_a_masked_round_goes_on_without_sites_that_fall_silent_and_says_when_too_many_do(step):
    told, _ = played(masked=True, silent=3, step=step)
    missed = 3 if step in ("share", "mask") else 0
    assert [len(one.refused) for one in told.rounds] == [missed] * 3
    assert told.rounding < 1e-9
    lost, weights = played(masked=True, silent=4, step=step)
    assert [(one.lost, one.length) for one in lost.rounds] == [(1, 0.0)] * 3
    assert not weights.any()


def test_a_robust_way_over_masked_groups_leaves_out_the_group_of_a_liar():
    told, _ = played(masked=True, groups=4, combine="median", attack="boost", attackers=1)
    for one in told.rounds:
        (liar,) = [each for each in one.evidence if each.suspect]
        assert liar.share < 0.5 / 4
    bad, _ = played(masked=True, attack="boost", attackers=1)
    assert bad.rounds[-1].score < told.rounds[-1].score - 0.1


def test_exact_training_under_masks_gives_the_pooled_coefficients_to_a_millionth():
    told, _ = played(rule="exact", masked=True, silent=2, step="reveal")
    assert told.off < 1e-6


def test_under_masks_a_site_itself_notices_that_its_update_is_no_number_and_stays_silent():
    told, weights = played(masked=True, attack="nan", attackers=2)
    assert [one.refused for one in told.rounds] == [[0, 1]] * 3
    assert np.isfinite(weights).all()


def test_with_momentum_at_the_coordinator_each_step_has_half_of_the_one_before():
    rule, weights = RULES["fedavgm"](), np.zeros(2)
    places = []
    for moved in ([4.0, 0.0], [0.0, 2.0], [0.0, 0.0]):
        weights = rule.step(weights, np.array(moved))
        places.append(weights.tolist())
    assert places == [[4.0, 0.0], [6.0, 2.0], [7.0, 3.0]]


def noisy(site, sigma, clip=0.5, count=1.0, **options):
    site.counted = count
    learner = LinearLearner(site.rows.shape[1], 2, strength=1e9)
    plan = LocalPlan(rate=1.0, sigma=sigma, clip=clip, **options)
    return train(learner, site, learner.start(0), plan, 1)[0]


def test_noise_at_a_site_is_sigma_times_the_clip_and_never_the_same_twice():
    site = SiteRows(np.zeros((20, 40)), np.arange(20) % 2)
    drawn = np.concatenate([noisy(site, 3.0)[:40] for _ in range(50)])
    assert 1.5 * 0.9 < drawn.std() < 1.5 * 1.1  # of 2 000 numbers, five deviations are 8 %
    assert len(set(drawn.tolist())) == 2_000


def test_no_subject_moves_a_noisy_sum_further_than_the_clip_however_many_rows_it_has():
    rows = np.full((60, 3), 40.0)
    alone = SiteRows(rows, np.zeros(60, dtype=int))
    together = SiteRows(rows, np.zeros(60, dtype=int), owners=np.repeat([7, 9], 30))
    assert np.linalg.norm(noisy(alone, 1e-9)) == pytest.approx(60 * 0.5, rel=1e-6)
    assert np.linalg.norm(noisy(together, 1e-9)) == pytest.approx(2 * 0.5, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e200])
def test_whatever_rows_a_site_has_it_moves_no_further_than_the_clip_where_noise_covers_it(scale):
    rows = np.random.default_rng(0).standard_normal((60, 3)) * scale
    site = SiteRows(rows, np.arange(60) % 2)
    options = {"unit": "site", "epochs": 5, "batch": 7, "momentum": 0.5}
    with np.errstate(all="ignore"):
        moved = noisy(site, 1e-12, clip=0.25, **options)
        free, _ = train(
            LinearLearner(3, 2, strength=1e9), site, np.zeros(4), LocalPlan(rate=1.0, epochs=5), 1
        )
    assert np.linalg.norm(moved) <= 0.25 * (1 + 1e-9)
    assert np.isfinite(moved).all()
    # what is shortened points where the site wanted to go
    if np.isfinite(free).all() and scale == 1.0:
        assert np.linalg.norm(moved) == pytest.approx(0.25, rel=1e-6)


def test_noise_over_a_whole_site_is_twice_sigma_times_the_clip_once_a_round():
    site = SiteRows(np.zeros((20, 40)), np.arange(20) % 2)
    told = [noisy(site, 3.0, unit="site", epochs=9)[:40] for _ in range(50)]
    drawn = np.concatenate(told)
    assert 3.0 * 0.9 < drawn.std() < 3.0 * 1.1  # 2 x sigma 3 x clip .5
    assert len(set(drawn.tolist())) == 2_000


def test_a_difference_that_is_no_number_is_nought_under_noise_over_the_site():
    site = SiteRows(np.full((20, 2), np.inf), np.arange(20) % 2)
    with np.errstate(all="ignore"):
        moved = noisy(site, 1e-12, unit="site")
    assert np.abs(moved).max() < 1e-9


def test_with_noise_sites_do_not_say_how_many_rows_they_have():
    told, _ = played(epsilon=1.0, plan=LocalPlan(sigma=2.0))
    assert {one.share for one in told.rounds[0].evidence} == {1 / 12}


@pytest.mark.parametrize("masked", [False, True])
def test_a_quantity_is_learnt_by_one_sum_and_like_from_the_pooled_rows(masked):
    rows, _ = table(2)
    rows = (rows - rows.mean(0)) / rows.std(0)
    values = rows @ [3.0, -1.0, 0.5, 0.0, 2.0] + 7 + np.random.default_rng(0).standard_normal(600)
    sites = [(rows[i:500:10], values[i:500:10]) for i in range(10)]
    design = Design(rounds=1, rule="exact", combine="mean", plan=LocalPlan(), masked=masked)
    told = least_squares(sites, (rows[500:], values[500:]), 2.0, design)
    assert told.off < 1e-6
    pooled = Ridge(alpha=2.0).fit(rows[:500], values[:500]).score(rows[500:], values[500:])
    assert told.rounds[-1].score == pytest.approx(pooled, abs=1e-6)


def test_means_of_neighbours_keep_what_few_honest_sites_know_and_leave_liars_out():
    chance = np.random.default_rng(3)
    # ten honest sites: each knows two of twenty directions well, all a little of the first
    honest = np.repeat(np.eye(10), 2, axis=1) * 3 + chance.normal(0, 0.1, (10, 20))
    honest[:, 0] += 1.0
    moved = np.vstack([honest, -2 * honest[:3]])
    even, wanted = np.full(13, 1 / 13), honest.mean(axis=0)
    for name in ("median", "trimmed-mean", "krum", "centred-clipping"):
        plain = robust.COMBINERS[name](moved, even, 3)
        found = robust.mixed(robust.COMBINERS[name])(moved, even, 3)
        assert np.linalg.norm(found.moved - wanted) < np.linalg.norm(plain.moved - wanted), name
        assert found.shares.sum() == pytest.approx(1.0) or name == "centred-clipping"
        assert found.shares[10:].max() < found.shares[:10].mean()
