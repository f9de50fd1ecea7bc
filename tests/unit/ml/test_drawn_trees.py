"""Boosted trees under noise: nobody moves a sum by more than the clip, whatever trees are asked
about; splits and bins are drawn without a look at rows; noise is what the plan says.
"""

import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.unit.ml import treesites
from tests.unit.ml.treesites import LIMITS

from casemate.core.errors import ConfigError
from casemate.ml.federated import drawn
from casemate.ml.federated.bins import Bins
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.simulated_trees import drawn_by
from casemate.ml.federated.simulation import Design
from casemate.ml.federated.slopes import slopes_of
from casemate.ml.federated.trees import ABSENT, LEAF, OPEN, Asked, Forest, Growth, Site
from casemate.ml.learn.accountant import Gaussians, epsilon

GROWTH = Growth(trees=12, depth=3, rate=0.3, l2=1.0, bins=16, least=8)
NOBODY = lambda *_: None  # noqa: E731 - hears nothing
site = functools.partial(treesites.site, growth=GROWTH, each=1)


def exactly(sites):
    """Asks without noise."""
    return lambda asked: (sum(drawn.sums_by_leaf(one, asked, np.inf) for one in sites), len(sites))


def grown(whole, sites=None, seed=0, noise=0.0):
    ask = exactly(sites or [whole])
    return drawn.grow(whole.growth, whole.limits, whole.classes, noise, seed, ask)


def question(forest):
    """About the last tree."""
    return Asked(forest.flat(), forest.bins.cuts, 2 * len(drawn.asked_leaves(forest)), None)


def asked_of(whole, seed, size=1.0):
    """A question with leaves as wild as a coordinator likes."""
    forest, chance = grown(whole, seed=seed), np.random.default_rng(seed)
    del forest.trees[int(chance.integers(1, 12)) :]
    for stage in forest.trees:
        leaves = stage[..., 0] == LEAF
        stage[leaves, 3] = chance.normal(0, size, int(leaves.sum()))
    return question(forest)


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.sampled_from([2, 3, 5]),
    each=st.sampled_from([1, 4, 60]),
    clip=st.sampled_from([0.01, 0.5, 1.0, 3.0]),
    size=st.sampled_from([0.1, 30.0, 1e8]),
)
def test_one_subject_more_or_less_moves_the_sums_by_no_more_than_the_clip(
    seed, classes, each, clip, size
):
    whole = site(rows=120, classes=classes, seed=seed, each=each)
    asked = asked_of(whole, seed, size)
    found = drawn.sums_by_leaf(whole, asked, clip)
    assert np.isfinite(found).all()
    for gone in np.random.default_rng(seed).choice(whole.subjects, min(6, whole.subjects), False):
        rest = whole.part(whole.owners != gone)
        moved = np.linalg.norm(found - drawn.sums_by_leaf(rest, asked, clip))
        assert moved <= clip * (1 + 1e-9)


def test_a_subject_of_many_rows_counts_as_much_as_the_clip_and_no_less():
    whole = site(each=240)
    asked = asked_of(whole, 3)
    assert np.linalg.norm(drawn.sums_by_leaf(whole, asked, 0.7)) == pytest.approx(0.7)
    assert np.linalg.norm(drawn.sums_by_leaf(whole, asked, np.inf)) > 0.7


@settings(deadline=None)
@given(scores=st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=6), target=st.integers(0, 5))
def test_the_derivatives_of_a_row_are_no_longer_than_the_clip_that_cuts_none(scores, target):
    two = slopes_of(np.array([scores[:1]]), np.array([target % 2]), 2)
    assert np.hypot(*two).max() <= 1 + 1e-12
    many = slopes_of(np.array([scores]), np.array([target % len(scores)]), len(scores))
    assert np.sqrt(sum((one**2).sum() for one in many)) <= np.sqrt(2) + 1e-12


@pytest.mark.parametrize("classes", [2, 4])
def test_without_clip_and_noise_sums_are_those_of_the_rows_in_each_leaf(classes):
    whole = site(classes=classes, each=3)
    forest = grown(whole)
    found = drawn.sums_by_leaf(whole, question(forest), np.inf).reshape(2, -1)
    bare = Forest(forest.growth, forest.bins, 0.0, 1.0, forest.base, forest.trees[:-1])
    rows = forest.bins.of(whole.frame)
    slope, bend = slopes_of(bare.scores(rows), whole.target, classes)
    for place, (output, at) in enumerate(drawn.asked_leaves(forest)):
        inside = forest.members(forest.trees[-1][output], rows).get(at, [])
        assert found[0, place] == pytest.approx(slope[inside, output].sum(), abs=1e-9)
        assert found[1, place] == pytest.approx(bend[inside, output].sum(), abs=1e-9)


def test_sums_of_sites_without_noise_lead_to_the_trees_of_the_pooled_rows():
    whole = site()
    parts = [whole.part(np.arange(240) % 3 == place) for place in range(3)]
    for ours, theirs in zip(grown(whole, parts).trees, grown(whole).trees, strict=True):
        assert np.allclose(ours, theirs, atol=1e-9)


def test_a_plan_without_noise_answers_with_the_sums_themselves():
    whole = site()
    asked = question(grown(whole))
    assert np.array_equal(
        drawn.noisy_sums(whole, asked, 0.0, 1.0), drawn.sums_by_leaf(whole, asked, 1.0)
    )


def test_noise_is_sigma_times_the_clip_on_each_number_and_never_the_same_twice():
    whole = site()
    asked = question(grown(whole))
    plain = drawn.sums_by_leaf(whole, asked, 0.5)
    found = np.array([drawn.noisy_sums(whole, asked, 40.0, 0.5) - plain for _ in range(200)])
    assert len(np.unique(found)) == found.size
    assert np.abs(found.mean(axis=0)).max() < 20 * 5 / np.sqrt(200)
    spread = found.std(axis=0)
    assert (spread > 20 * 0.75).all()
    assert (spread < 20 * 1.25).all()
    assert abs(np.corrcoef(found.T) - np.eye(found.shape[1])).max() < 0.4  # each has its own


def test_a_plan_spends_its_epsilon_over_all_questions_of_all_trees():
    plan = drawn.planned(LocalPlan(clip=0.5, epochs=9), GROWTH, 2.0, 1e-6)
    spent = epsilon([Gaussians(sigma=plan.sigma, steps=GROWTH.trees + 1)], 1e-6)
    assert 1.9 < spent <= 2.0
    assert (plan.clip, plan.epochs) == (0.5, 1)


def test_splits_and_bins_hang_on_limits_and_seed_and_on_no_row():
    one, other = site(seed=1), site(seed=2, rows=90)
    ours, theirs = grown(one, seed=5), grown(other, seed=5)
    assert np.array_equal(np.array(ours.trees)[..., :3], np.array(theirs.trees)[..., :3])
    assert ours.bins == theirs.bins
    assert not np.array_equal(
        np.array(ours.trees)[..., :3], np.array(grown(one, seed=6).trees)[..., :3]
    )


@pytest.mark.parametrize("most", [2, 3, 4, 5, 9, 255])
def test_bins_are_no_more_than_declared_and_narrow_where_long_tails_begin(most):
    limits = Limits(numbers={"a": (0.0, 1e5), "point": (3.0, 3.0)}, categories={})
    cuts = drawn.cuts_of(limits, most)
    bins = Bins(limits=limits, cuts=cuts)
    assert bins.fits(most)
    assert cuts[1] == []
    ends = bins.thresholds[0]
    assert 1 <= len(ends) < most
    if most == 255:
        assert ends[0] < 100
        assert len(ends) == 2 * (drawn.SCALE_BINS - 1)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 6), trees=st.integers(1, 30))
def test_drawn_trees_are_trees_and_every_column_has_its_turn(seed, depth, trees):
    whole = site(rows=40, growth=structs.replace(GROWTH, depth=depth, trees=trees))
    forest = grown(whole, seed=seed)
    assert len(forest.trees) == trees
    again = Forest.from_flat(forest.flat(), forest.growth, forest.bins, 2)  # refuses what is none
    assert not again.open
    split = {int(kind) for stage in forest.trees for kind in stage[0, :, 0] if kind >= 0}
    assert split <= {0, 1, 2}
    if trees >= 3 * drawn.TURNS:
        assert split == {0, 1, 2}


def test_of_many_columns_a_tree_has_several_so_that_few_trees_see_all():
    numbers = {f"n{place}": (0.0, 1.0) for place in range(40)}
    columns = drawn._Columns(len(numbers), 10, np.random.default_rng(0))
    assert columns.share == 12
    seen = [columns.next() for _ in range(10)]
    assert np.bincount(np.concatenate(seen), minlength=40).tolist() == [3] * 40


def test_what_is_missing_can_be_told_from_every_number():
    frame = pd.DataFrame({"a": [np.nan] * 60 + [3.0] * 60})
    target = np.repeat([1, 0], 60)
    limits = Limits(numbers={"a": (-4.0, 4.0)}, categories={})
    whole = Site(frame, target, limits, 2, structs.replace(GROWTH, trees=60))
    forest = grown(whole)
    scores = forest.scores(forest.bins.of(frame))[:, 0]
    assert scores[0] > 1 > -1 > scores[-1]


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_begin_at_the_chance_of_each_class(classes):
    whole = site(rows=600, classes=classes)
    whole.target[:300] = 0
    counts = np.bincount(whole.target, minlength=classes)
    base = grown(whole).base
    shares = np.log(counts / counts.sum())
    wanted = shares[1:] - shares[:1] if classes == 2 else shares - shares.mean()
    assert base == pytest.approx(wanted, abs=0.02)


@pytest.mark.parametrize(("classes", "shape"), [(2, 1), (3, 3)])
def test_sums_that_are_noise_alone_say_next_to_nothing_and_break_nothing(classes, shape):
    chance = np.random.default_rng(0)
    for _ in range(50):
        sums = chance.normal(0, 100, (2, shape))
        base = drawn.begun(sums, 100.0, classes)
        assert np.abs(base).max() < 2.5
        assert abs(drawn.step(sums[0, 0], sums[1, 0], 1.0, 100.0)) < 2
    assert drawn.step(5.0, -3.0, 0.0, 1.0) == 0.0  # rows do not bend downwards: noise does
    assert drawn.step(5.0, 0.0, 0.0, 0.0) == 0.0


def test_of_more_sites_there_is_more_noise_to_draw_leaves_to_nought():
    whole = site()

    def grown_by(sites, noise):
        ask = exactly([whole])
        forest = drawn.grow(GROWTH, LIMITS, 2, noise, 0, lambda asked: (ask(asked)[0], sites))
        return forest.flat()

    assert np.array_equal(grown_by(4, 3.0), grown_by(1, 6.0))
    assert not np.array_equal(grown_by(4, 3.0), grown_by(1, 3.0))


def test_a_step_without_noise_is_newtons():
    assert drawn.step(-30.0, 20.0, 0.0, 0.0) == pytest.approx(1.5)
    assert drawn.step(-30.0, 20.0, 10.0, 0.0) == pytest.approx(1.0)
    assert drawn.step(-1e6, 1.0, 0.0, 0.0) == drawn.LARGEST_STEP


@pytest.mark.parametrize("kinds", [{0: OPEN}, {0: 0.0, 1: OPEN, 2: LEAF}, None])
def test_leaves_are_asked_of_trees_that_are_grown_to_their_end(kinds):
    forest = grown(site())
    if kinds is None:
        forest.trees.clear()
    else:
        forest.trees[-1][:] = [ABSENT, 0, 0, 0]
        for at, kind in kinds.items():
            forest.trees[-1][0, at, 0] = kind
    with pytest.raises(ConfigError, match="no leaves"):
        drawn.asked_leaves(forest)


@pytest.mark.parametrize("masked", [False, True])
def test_sites_with_noise_learn_trees_together_under_masks_or_without(masked):
    whole, held = site(rows=3_000, seed=3), site(rows=600, seed=4)
    sites = [whole.part(np.arange(3_000) % 4 == place) for place in range(4)]
    plan = drawn.planned(LocalPlan(), GROWTH, 4.0, 1e-5)
    design = Design(
        rounds=1, rule="exact", combine="mean", plan=plan, masked=masked, epsilon=4.0,
        silent=int(masked), step="reveal",
    )  # fmt: skip
    told = drawn_by(sites, held, design, NOBODY)
    assert told.sigma == plan.sigma
    assert len(told.rounds) == GROWTH.trees
    assert told.rounds[-1].score > 0.7
    assert told.off is None
    assert (told.rounding is not None) == masked
    assert not masked or told.rounding < 1e-8
