"""Boosted trees over sites are those of the pooled rows, and of scikit-learn where bins are alike."""

import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from tests.unit.ml import treesites
from tests.unit.ml.treesites import LIMITS

from casemate.core.errors import ConfigError, VerificationError
from casemate.ml.federated import bins as cells
from casemate.ml.federated import growing, trees
from casemate.ml.federated.bins import CELLS, Bins
from casemate.ml.federated.encoding import Limits
from casemate.ml.federated.exact import NotReached
from casemate.ml.federated.growing import grow
from casemate.ml.federated.local import LocalPlan
from casemate.ml.federated.ring import OutOfRange, Range
from casemate.ml.federated.simulated_trees import boosted
from casemate.ml.federated.simulation import Design
from casemate.ml.federated.trees import ABSENT, LEAF, OPEN, Asked, Forest, Growth, Site

GROWTH = Growth(trees=4, depth=3, rate=0.3, l2=1.0, bins=16, least=8)
NOBODY = lambda *_: None  # noqa: E731 - hears nothing
site = functools.partial(treesites.site, growth=GROWTH)


def among(whole, where, apart=0):
    return [whole.part(where == place, apart) for place in range(int(where.max()) + 1)]


def asking(sites):
    return lambda asked: np.sum([one(asked) for one in sites], axis=0)


def grown(whole, sites):
    return grow(whole.growth, whole.limits, whole.classes, asking(sites))


def alike(found, expected):
    """Same splits, and leaves to a billionth."""
    ours, theirs = np.array(found.trees), np.array(expected.trees)
    assert np.array_equal(ours[..., :3], theirs[..., :3])
    assert np.abs(ours[..., 3] - theirs[..., 3]).max() < 1e-9


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.sampled_from([0, 2, 3]),
    count=st.integers(2, 7),
    skew=st.booleans(),
)
def test_trees_of_sites_are_those_of_the_pooled_rows_however_rows_are_shared_out(
    seed, classes, count, skew
):
    whole = site(classes=classes, seed=seed)
    where = np.random.default_rng(seed).integers(0, count, len(whole))
    if skew:  # each site has its own part of a column
        where = np.argsort(np.argsort(whole.frame["b"].to_numpy())) * count // len(whole)
    alike(grown(whole, among(whole, where)), grown(whole, [whole]))


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_under_masks_the_trees_are_the_same(classes):
    whole, held = site(classes=classes), site(classes=classes, seed=1)
    sites = among(whole, np.arange(len(whole)) % 5)
    design = Design(
        rounds=1, rule="exact", combine="mean", plan=LocalPlan(), masked=True, silent=1,
        step="reveal",
    )  # fmt: skip
    told = boosted(sites, whole, held, design, NOBODY)
    assert told.off < 1e-9
    assert told.rounding < 1e-9
    assert len(told.rounds) == GROWTH.trees
    assert told.rounds[-1].score > told.rounds[0].score


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_where_bins_are_alike_trees_answer_as_those_of_scikit_learn_do(classes):
    growth = Growth(trees=5, depth=3, rate=0.2, l2=0.7, bins=64, least=12)
    whole = site(rows=500, classes=classes, growth=growth)
    # few values, far apart: a bin each, here and there
    chance = np.random.default_rng(5)
    whole.frame["a"] = np.where(
        chance.random(500) < 0.15, np.nan, np.round(whole.frame["a"].clip(-3, 3))
    )
    whole.frame["b"] = np.floor(whole.frame["b"].clip(0, 49) / 5) * 5
    forest = grow(
        growth, Limits(numbers=LIMITS.numbers, categories={}), classes, asked_numbers(whole)
    )
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    model = kind(
        max_iter=5, max_depth=3, learning_rate=0.2, l2_regularization=0.7, min_samples_leaf=12,
        max_leaf_nodes=None, early_stopping=False,
    )  # fmt: skip
    frame = whole.frame[["a", "b"]]
    model.fit(frame, whole.target)
    scores = forest.scores(forest.bins.of(frame))
    if not classes:
        expected = model.predict(frame)
        assert forest.middle + forest.size * scores[:, 0] == pytest.approx(expected, rel=1e-4)
    else:
        expected = model.decision_function(frame).reshape(len(frame), -1)
        assert np.abs(scores - expected).max() < 1e-4


def asked_numbers(whole):
    """The same rows by their numbers alone."""
    limits = Limits(numbers=LIMITS.numbers, categories={})
    return Site(whole.frame, whole.target, limits, whole.classes, whole.growth)


@given(
    seed=st.integers(0, 2**32 - 1),
    filled=st.integers(0, 200),
    most=st.integers(2, 40),
    least=st.integers(1, 30),
)
@settings(deadline=None, max_examples=30)
def test_a_bin_has_as_many_rows_as_a_leaf_must_have(seed, filled, most, least):
    chance, row = np.random.default_rng(seed), np.zeros(CELLS + 1)
    row[chance.integers(0, CELLS, filled)] = chance.choice([1, 2, 7, 40], filled)
    row[-1] = 5
    (cuts,) = cells.cuts_of(row[None], most, least)
    parts = [part.sum() for part in np.split(row[:-1], np.array(cuts, dtype=int) + 1)]
    assert len(parts) <= most
    assert min(parts) >= min(least, row[:-1].sum())
    assert Bins(limits=Limits(numbers={"a": (0.0, 1.0)}, categories={}), cuts=[cuts]).fits(most)


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=20)
def test_a_number_is_in_a_bin_exactly_if_it_is_no_greater_than_its_threshold(seed):
    chance = np.random.default_rng(seed)
    cuts = np.unique(chance.integers(0, CELLS - 1, 9)).tolist()
    limits = Limits(numbers={"a": (-0.3, 1e-3)}, categories={})
    found = Bins(limits=limits, cuts=[cuts])
    (ends,) = found.thresholds
    values = np.concatenate([ends, np.nextafter(ends, 9), chance.uniform(-1, 1, 50), [np.nan]])
    rows = found.of(pd.DataFrame({"a": values}))[:, 0]
    for place, end in enumerate(ends):
        assert np.array_equal(rows[:-1] <= place, values[:-1] <= end)
    assert rows[-1] == len(cuts) + 1


def test_a_node_of_few_rows_is_not_told_of_nor_what_would_tell_it():
    growth = Growth(trees=1, depth=3, rate=0.3, l2=1.0, bins=16, least=8)
    whole = site(rows=900, growth=growth)
    told = []

    def ask(asked):
        told.append(asked)
        return whole(asked)

    grow(growth, LIMITS, 2, ask)
    deepest = told[-1]  # four nodes below two below the root
    forest = Forest.from_flat(deepest.weights, growth, Bins(limits=LIMITS, cuts=deepest.cuts), 2)
    assert [at for _, at in forest.open] == [3, 4, 5, 6]
    members = forest.members(forest.trees[-1][0], forest.bins.of(whole.frame))
    sizes = {at: len(rows) for at, rows in members.items()}
    everybody = np.ones(len(whole), dtype=bool)
    for least in (size + 1 for size in sizes.values()):
        few = whole.part(everybody, apart=least)
        told_of = few(deepest).reshape(3, 4, -1)[2].sum(axis=1) / 3
        expected = [
            size if min(size, sizes[at + 1 if at % 2 else at - 1]) >= least else 0.0
            for at, size in sizes.items()
        ]
        assert told_of.tolist() == expected
    # of a child that is too small, nothing below either of the two is told
    children = {1: sizes[3] + sizes[4], 2: sizes[5] + sizes[6]}
    least = min(children.values()) + 1
    assert not whole.part(everybody, apart=least)(deepest).any()


def changed(forest, at, *fields):
    made = Forest(
        forest.growth, forest.bins, forest.middle, forest.size, forest.base,
        [one.copy() for one in forest.trees],
    )  # fmt: skip
    made.trees[-1][0, at, : len(fields)] = fields
    return made.flat()


def root(trees_before=0):
    stage = np.zeros((1, GROWTH.slots, 4))
    stage[..., 0], stage[:, 0, 0] = ABSENT, OPEN
    done = stage.copy()
    done[:, 0, 0] = LEAF
    bins = Bins(limits=LIMITS, cuts=[[100, 200], [7]])
    return Forest(GROWTH, bins, 0.0, 1.0, np.zeros(1), [*[done] * trees_before, stage])


@pytest.mark.parametrize(
    "vector",
    [
        root().flat()[:-1],
        root(4).flat(),  # one more than the job has
        changed(root(), 0, ABSENT),
        changed(root(), 0, 0.0, 1.0, 0.0),  # without children
        changed(root(), 1, OPEN),  # below a node that is asked about
        changed(root(), 0, 3.0, 1.0, 0.0),
        changed(root(), 0, 0.5, 1.0, 0.0),
        changed(root(), 0, -4.0),
        changed(root(), 0, np.nan),
        changed(root(), 0, OPEN, 0.0, 0.0, np.inf),
        changed(root(), 0, LEAF, 0.0, 0.0, 2e9),
        changed(root(), GROWTH.slots - 1, OPEN),
        np.where(np.arange(len(root().flat())) == 1, 0.0, root().flat()),  # a size of nought
    ],
)
def test_trees_that_cannot_be_grown_are_refused(vector):
    with pytest.raises(ConfigError):
        Forest.from_flat(vector, GROWTH, root().bins, 2)


@pytest.mark.parametrize(("cut", "missing"), [(3.0, 0.0), (-1.0, 0.0), (0.5, 0.0), (1.0, 2.0)])
def test_a_split_where_there_is_no_bin_is_refused(cut, missing):
    vector = changed(root(), 0, 0.0, cut, missing)
    vector[3 + 4 : 3 + 12 : 4] = OPEN
    with pytest.raises(ConfigError):
        Forest.from_flat(vector, GROWTH, root().bins, 2)
    vector[3 + 1 : 3 + 3] = 1.0, 1.0
    assert Forest.from_flat(vector, GROWTH, root().bins, 2).open == [(0, 1), (0, 2)]


def test_nodes_are_asked_about_in_one_level_of_the_last_tree():
    vector = changed(root(1), 0, LEAF)
    first = Forest.from_flat(vector, GROWTH, root().bins, 2)
    assert first.open == []
    first.trees[0][0, 0, 0] = OPEN
    with pytest.raises(ConfigError, match="several places"):
        Forest.from_flat(first.flat(), GROWTH, root().bins, 2)


@pytest.mark.parametrize("cuts", [[[5, 5], []], [[9, 3], []], [[CELLS - 1], []], [[1]]])
def test_bins_that_are_none_are_refused(cuts):
    with pytest.raises(ConfigError):
        Forest.from_flat(root().flat(), GROWTH, Bins(limits=LIMITS, cuts=cuts), 2)


@pytest.mark.parametrize("turn", [0, 1, 3])
@pytest.mark.parametrize("lie", [0.4, 1.0])
def test_sums_that_no_rows_have_stop_the_growing(turn, lie):
    whole, asked = site(), []

    def ask(question):
        asked.append(question)
        found = whole(question)
        if len(asked) == turn + 1:
            found[-1] += lie
        return found

    with pytest.raises(VerificationError, match="no rows"):
        grow(GROWTH, LIMITS, 2, ask)


def test_a_quantity_of_any_unit_fits_into_the_range_that_follows_from_the_first_round():
    for unit in (1e-4, 1.0, 1e6):
        whole = site(classes=0)
        whole.target = whole.target * unit
        largest = [0.0, 0.0]

        def ask(asked, whole=whole, largest=largest):
            found = whole(asked)
            if asked.most is not None:
                Range(asked.most, 3).encode(found)
                largest[:] = max(largest[0], np.abs(found).max()), asked.most
            return found

        grow(GROWTH, LIMITS, 0, ask)
        assert 1 < largest[0] < largest[1]
    with pytest.raises(OutOfRange):
        Range(largest[1], 3).encode(np.array([largest[1] * 2]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"target": np.zeros(240, dtype=int)}, "one class alone"),
        ({"target": np.zeros(240), "classes": 0}, "mean size"),
        ({"growth": Growth(trees=1, depth=1, rate=1, l2=0, bins=4, least=200)}, "on each side"),
    ],
)
def test_what_cannot_be_learnt_is_said(changes, why):
    whole = site()
    for name, value in changes.items():
        setattr(whole, name, value)
    with pytest.raises(NotReached, match=why):
        grown(whole, [whole])


def test_growing_stops_where_no_split_gains_anything():
    growth = Growth(trees=50, depth=2, rate=1.0, l2=0.0, bins=4, least=8)
    frame = pd.DataFrame({"a": np.repeat([-1.0, 1.0], 50)})
    limits = Limits(numbers={"a": (-4.0, 4.0)}, categories={})
    whole = Site(frame, frame["a"].to_numpy() * 3 + 1, limits, 0, growth)
    assert len(grown(whole, [whole]).trees) == 1


def test_settings_come_out_of_a_job_as_they_went_in_and_others_are_refused():
    assert Growth.of(GROWTH.settings) == GROWTH
    for name, value in {
        "trees": 0,
        "depth": 7,
        "rate": 0,
        "l2": -1,
        "bins": 256,
        "least": 1.5,
    }.items():
        with pytest.raises(ConfigError, match=name):
            Growth.of(GROWTH.settings | {name: value})
        with pytest.raises(ConfigError):
            Growth.of({one: 1.0 for one in GROWTH.settings if one != name})
    with pytest.raises(ConfigError, match="may be sent"):
        Growth.of(GROWTH.settings | {"depth": 6, "bins": 255}).require_size(
            Limits(numbers={str(place): (0.0, 1.0) for place in range(500)}, categories={}), 2
        )


def test_a_site_remembers_nothing_that_another_forest_would_say_otherwise():
    whole, fresh = site(), site()
    asked = []

    def ask(question):
        asked.append(question)
        return fresh(question)

    grow(GROWTH, LIMITS, 2, ask)
    last = asked[-1]
    other = last.weights.copy()
    other[3 : 3 + 4 * GROWTH.slots].reshape(-1, 4)[:, 3] += 0.5  # leaves of the first tree
    for question in (*asked, *asked[::-3], last, last._replace(weights=other)):
        assert np.array_equal(whole(question), site()(question))
    assert isinstance(asked[0], Asked)
    assert trees.outputs_of(2) == growing.outputs_of(0) == 1
