"""The attack along thresholds finds what trees hide: as much as trying out every cell of the box,
where that can be done.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from casemate.config import AssessTable, FeatureTable, RobustnessTable
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.attacks.certify import certified
from casemate.ml.attacks.choose import fitting_attacks
from casemate.ml.attacks.search import Search
from casemate.ml.attacks.surface import attack_surface
from casemate.ml.attacks.thresholds import Thresholds
from casemate.ml.models import SkopsModel
from casemate.stages.assess import robustness
from casemate.stages.assess.sample import Sample

pytestmark = pytest.mark.slow

NAMES = ["a", "b", "c"]
SCHEMA = Schema(
    target="y",
    classes=["0", "1"],
    columns=[
        *(ColumnSchema(name=name, type="number", min=-4.0, max=4.0) for name in NAMES),
        ColumnSchema(name="y", type="category", use=False),
    ],
)


def table(rows=400, classes=2, seed=0):
    """Three numbers; the class is decided by where they lie, with a tenth of it at random."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(np.clip(generator.normal(size=(rows, 3)), -4, 4), columns=NAMES)
    score = frame["a"] + np.sin(2 * frame["b"]) * frame["c"]
    codes = np.digitize(
        score + 0.3 * generator.standard_normal(rows),
        np.quantile(score, np.arange(1, classes) / classes),
    )
    return frame, codes


def cells(frame, thresholds, lower, upper):
    """One point of every cell that the box of one row has: all corners of all intervals, which no
    sum of trees tells apart further.
    """
    axes = []
    for cuts, least, most in zip(thresholds, lower, upper, strict=True):
        inside = np.unique(cuts[(cuts > least) & (cuts < most)])
        edges = np.r_[least, inside, most]
        axes.append(np.unique(np.r_[least, (edges[:-1] + edges[1:]) / 2, most]))
    return pd.DataFrame(list(itertools.product(*axes)), columns=frame.columns)


def thresholds_of(model):
    """Every threshold of each of the three features, read from scikit-learn's own arrays."""
    found = [[], [], []]
    trees = model.estimators_ if hasattr(model, "estimators_") else [model]
    for tree in np.ravel(np.array(trees, dtype=object)):
        for feature, limit in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            if feature >= 0:
                found[feature].append(limit)
    return [np.array(limits) for limits in found]


def attacked(target, eps, **options):
    attack = Thresholds(**options)
    assert attack.applies(target)
    best, margins = target.start.copy(), target.margin(target.start, np.arange(len(target.codes)))
    attack.improve(target, best, margins, eps, 10, 0)
    return attack, best, margins


SMALL = [
    DecisionTreeClassifier(max_depth=6, random_state=0),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(4, max_depth=4, random_state=0),
    ExtraTreesClassifier(4, max_depth=4, random_state=0),
    GradientBoostingClassifier(n_estimators=6, max_depth=2, random_state=0),
]


@pytest.mark.parametrize("restarts", [2, -1], ids=["descent and proof", "proof alone"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", SMALL, ids=["shallow", "deep", "forest", "extra", "boosted"])
def test_robust_accuracy_of_small_models_is_what_trying_out_every_cell_leaves(
    estimator, classes, restarts
):
    frame, codes = table(classes=classes)
    model = estimator.fit(frame, codes)
    rows, known = frame[:25].reset_index(drop=True), codes[:25]
    target = attack_surface(SkopsModel(model), SCHEMA, (rows, known), frame, RobustnessTable())
    for eps in (0.1, 0.8):
        lower, upper = target.ball(eps)
        cuts = thresholds_of(model)
        truth = [
            bool((model.predict(cells(frame, cuts, low, high)) == code).all())
            for low, high, code in zip(lower, upper, known, strict=True)
        ]
        attack, _, margins = attacked(target, eps, restarts=restarts)
        assert ((margins > 0) == truth).all()
        assert not np.any(attack.proved & ~np.array(truth))
        if type(estimator).__name__ == "DecisionTreeClassifier":
            assert (attack.proved == truth).all() and (certified(target, eps)[0] == truth).all(), (
                "ties too"
            )
        assert attack.proved.sum() >= sum(truth) - 1, "what stands is proved to stand, but for ties"


@pytest.mark.parametrize("estimator", SMALL[2:], ids=["forest", "extra", "boosted"])
def test_descent_alone_finds_nearly_all_that_proofs_find(estimator):
    frame, codes = table(800, classes=3)
    model = SkopsModel(estimator.fit(frame, codes))
    target = attack_surface(model, SCHEMA, (frame[:100], codes[:100]), frame, RobustnessTable())
    alone, whole, clean = (attacked(target, 0.3, parts=parts)[2] > 0 if parts is not None else target.margin(target.start, np.arange(100)) > 0
                           for parts in (0, 3000, None))  # fmt: skip
    assert whole.mean() <= alone.mean() <= whole.mean() + 0.03
    assert alone.mean() < clean.mean() - 0.1


def standing(model, thresholds, lower, upper, codes):
    """Whether each row stands: the label of every cell of the whole space, and which of them the
    row's box touches.
    """
    cuts = [np.unique(limits) for limits in thresholds]
    middles = [
        np.r_[one[:1] - 1, (one[:-1] + one[1:]) / 2, one[-1:] + 1] if len(one) else np.zeros(1)
        for one in cuts
    ]
    labels = model.predict(pd.DataFrame(list(itertools.product(*middles)), columns=NAMES)).reshape(
        [len(one) for one in middles]
    )
    ends = [
        [np.searchsorted(one, side[:, place].astype(np.float32)) for place, one in enumerate(cuts)]
        for side in (lower, upper)
    ]
    spans = [
        tuple(slice(low[row], high[row] + 1) for low, high in zip(*ends, strict=True))
        for row in range(len(codes))
    ]
    return np.array(
        [bool((labels[span] == code).all()) for span, code in zip(spans, codes, strict=True)]
    )


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(7, max_depth=3),
        GradientBoostingClassifier(n_estimators=7, max_depth=3),
    ],
    ids=["forest", "boosted"],
)
def test_proofs_that_need_many_cuts_are_true(estimator):
    for seed in range(3):
        frame, codes = table(500, seed=seed)
        model = clone(estimator).set_params(random_state=seed).fit(frame, codes)
        target = attack_surface(SkopsModel(model), SCHEMA, (frame, codes), frame, RobustnessTable())
        for eps in (0.3, 0.8):
            attack, _, margins = attacked(target, eps, restarts=-1, parts=100_000)
            truth = standing(model, thresholds_of(model), *target.ball(eps), codes)
            assert np.array_equal(margins > 0, truth) and not np.any(attack.proved & ~truth)
            assert certified(target, eps)[0].sum() < attack.proved.sum() >= truth.sum() - 3, (
                "cuts were needed, and enough"
            )


def test_a_box_that_ends_on_a_threshold_reaches_both_sides_of_it():
    """Even numbers, thresholds at odd ones, and an attacker who may go down by one."""
    frame, codes = table(600)
    frame = (2 * (2 * frame).round()).clip(-8, 8)
    wide = Schema(
        target="y",
        classes=["0", "1"],
        columns=[
            *(ColumnSchema(name=name, type="number", min=-8.0, max=8.0) for name in NAMES),
            SCHEMA.columns[-1],
        ],
    )
    for estimator in (
        DecisionTreeClassifier(max_depth=6, random_state=0),
        RandomForestClassifier(4, max_depth=4, random_state=0),
    ):
        model = estimator.fit(frame, codes)
        rules = {name: FeatureTable(change="down", budget=1.0) for name in NAMES}
        target = attack_surface(
            SkopsModel(model), wide, (frame, codes), frame, RobustnessTable(features=rules)
        )
        lower, upper = target.ball(5.0)
        assert any(
            np.isin(lower[:, place], cuts).any() for place, cuts in enumerate(thresholds_of(model))
        )
        truth = standing(model, thresholds_of(model), lower, upper, codes)
        attack, _, margins = attacked(target, 5.0, parts=100_000)
        assert np.array_equal(margins > 0, truth) and not np.any(attack.proved & ~truth)
        assert not np.any(certified(target, 5.0)[0] & ~truth)


@pytest.mark.parametrize("estimator", SMALL, ids=["shallow", "deep", "forest", "extra", "boosted"])
def test_units_the_order_of_rows_and_a_larger_box_change_what_stands_as_they_must(estimator):
    """Other units change nothing, rows do not depend on their neighbours, and what a larger box
    leaves a smaller one leaves too.
    """
    frame, codes = table()

    def left(eps, order, factor=1.0):
        columns = [
            ColumnSchema(name=name, type="number", min=-4.0 * factor, max=4.0 * factor)
            for name in NAMES
        ]
        schema = Schema(target="y", classes=["0", "1"], columns=[*columns, SCHEMA.columns[-1]])
        scaled = frame * factor  # by a power of two: the same trees
        rows = scaled.iloc[order].reset_index(drop=True), codes[order]
        return (
            attacked(
                attack_surface(
                    SkopsModel(clone(estimator).fit(scaled, codes)),
                    schema,
                    rows,
                    scaled,
                    RobustnessTable(),
                ),
                eps,
            )[2]
            > 0
        )

    order = np.arange(60)
    small, large = left(0.1, order), left(0.4, order)
    assert np.array_equal(left(0.1, order, 8.0), small)
    assert np.array_equal(left(0.1, order[::-1])[::-1], small)
    assert not np.any(large & ~small) and large.sum() < small.sum()


BEHIND = {
    "scaled": make_pipeline(StandardScaler()),
    "quantiles": make_pipeline(QuantileTransformer(n_quantiles=50)),
    "imputed": make_pipeline(SimpleImputer(), StandardScaler()),
}


@pytest.mark.parametrize("before", list(BEHIND))
def test_preprocessing_does_not_hide_thresholds(before):
    frame, codes = table()
    frame.loc[::7, "b"] = np.nan if before == "imputed" else 0.0
    model = SkopsModel(
        make_pipeline(*BEHIND[before], DecisionTreeClassifier(max_depth=7, random_state=0)).fit(
            frame, codes
        )
    )
    target = attack_surface(model, SCHEMA, (frame[:100], codes[:100]), frame, RobustnessTable())
    for eps in (0.05, 0.3):
        attack, best, margins = attacked(target, eps)
        keeps, _ = certified(target, eps)
        assert np.array_equal(keeps, margins > 0)
        assert np.array_equal(attack.proved, margins > 0)
        lower, upper = target.ball(eps)
        numbers = best[:, :3]
        assert ((numbers >= lower) & (numbers <= upper) | np.isnan(lower)).all()


def test_missing_values_that_the_trees_know_how_to_send_stay_missing():
    frame, codes = table(800)
    frame.loc[::5, "b"] = np.nan
    model = SkopsModel(
        HistGradientBoostingClassifier(max_iter=15, random_state=0).fit(frame, codes)
    )
    target = attack_surface(model, SCHEMA, (frame[:100], codes[:100]), frame, RobustnessTable())
    attack, best, margins = attacked(target, 0.3)
    assert np.array_equal(np.isnan(best), np.isnan(target.start))
    assert attack.proved.mean() == pytest.approx((margins > 0).mean(), abs=0.03)
    assert np.array_equal(margins > 0, target.margin(best, np.arange(100)) > 0)


def test_whole_numbers_one_way_limits_and_budgets_hold():
    frame, codes = table(800)
    frame = (frame * 3).round().clip(-4, 4)
    model = SkopsModel(RandomForestClassifier(15, max_depth=6, random_state=0).fit(frame, codes))
    rules = {
        "a": FeatureTable(integer=True), "b": FeatureTable(integer=True, change="down", budget=1.0),
        "c": FeatureTable(change="none"),
    }  # fmt: skip
    rows = frame[:60].reset_index(drop=True)
    target = attack_surface(
        model, SCHEMA, (rows, codes[:60]), frame, RobustnessTable(features=rules)
    )
    _, best, margins = attacked(target, 1.0)
    changed = target.rows(best, np.arange(60))
    assert (
        (changed["a"] == changed["a"].round()).all()
        and (changed["b"] <= rows["b"]).all()
        and (changed["b"] >= rows["b"] - 1).all()
    )
    assert (changed["c"] == rows["c"]).all()
    # Few whole numbers: every one of them can be tried.
    lower, upper = target.ball(1.0)
    for row in range(60):
        axes = [
            np.arange(least, most + 1) for least, most in zip(lower[row], upper[row], strict=True)
        ]
        every = pd.DataFrame(list(itertools.product(*axes)), columns=["a", "b"]).assign(
            c=rows["c"][row]
        )
        assert (margins[row] > 0) == bool((model.predict(every)[0] == codes[row]).all())


def test_categories_that_can_be_chosen_are_chosen_together_with_numbers():
    frame, codes = table(800)
    frame["ward"] = np.random.default_rng(0).choice(["x", "y"], 800).astype(object)
    codes = np.where(frame["ward"] == "x", codes, frame["b"] + frame["c"] > 0)
    columns = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["ward"]), remainder="passthrough"
    )
    model = SkopsModel(
        make_pipeline(columns, DecisionTreeClassifier(max_depth=6, random_state=0)).fit(
            frame, codes
        )
    )
    schema = Schema(
        target="y", classes=["0", "1"],
        columns=[*SCHEMA.columns[:3], ColumnSchema(name="ward", type="category", categories=["x", "y"]), SCHEMA.columns[3]],
    )  # fmt: skip
    fixed, free = ({}, {"ward": FeatureTable(to=["x", "y"])})
    targets = [
        attack_surface(
            model, schema, (frame[:80], codes[:80]), frame, RobustnessTable(features=rules)
        )
        for rules in (fixed, free)
    ]
    left = [(attacked(target, 0.2)[2] > 0).mean() for target in targets]
    truth = []
    for row in range(80):  # exact: one tree, so a row stands if it stands in both wards
        stands = True
        for ward in ("x", "y"):
            one = frame.iloc[[row]].assign(ward=ward).reset_index(drop=True)
            target = attack_surface(model, schema, (one, codes[[row]]), frame, RobustnessTable())
            stands &= bool(certified(target, 0.2)[0][0])
        truth.append(stands)
    assert left[1] == pytest.approx(np.mean(truth))
    assert left[1] < left[0]


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(40, random_state=0),
        ExtraTreesClassifier(40, min_samples_leaf=2, random_state=0),
        GradientBoostingClassifier(n_estimators=40, random_state=0),
        HistGradientBoostingClassifier(max_iter=60, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_no_search_in_the_same_box_is_stronger(estimator):
    """Against a long random and greedy search, and against descent along every threshold through
    the model itself.
    """
    frame, codes = table(1200)
    wide = pd.concat(
        [
            frame,
            pd.DataFrame(
                np.random.default_rng(1).normal(size=(1200, 4)).clip(-4, 4), columns=list("defg")
            ),
        ],
        axis=1,
    )
    model = SkopsModel(estimator.fit(wide[:1000], codes[:1000]))
    columns = [ColumnSchema(name=name, type="number", min=-4.0, max=4.0) for name in wide]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    rows = wide[1000:1050].reset_index(drop=True)
    target = attack_surface(model, schema, (rows, codes[1000:1050]), wide, RobustnessTable())
    attack, _, margins = attacked(target, 0.2)
    best, other = target.start.copy(), target.margin(target.start, np.arange(50))
    Search().improve(target, best, other, 0.2, 60, 0)
    assert (margins > 0).mean() <= (other > 0).mean()
    assert not np.any(attack.proved & (other <= 0))


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestRegressor(10, max_depth=5, random_state=0),
        GradientBoostingRegressor(n_estimators=20, random_state=0),
        HistGradientBoostingRegressor(max_iter=20, random_state=0),
    ],
    ids=lambda e: type(e).__name__,
)
def test_quantities_of_trees_are_moved_along_thresholds_too(estimator):
    frame, _ = table(800)
    values = (frame["a"] + np.sin(2 * frame["b"]) * frame["c"]).to_numpy()
    model = SkopsModel(estimator.fit(frame, values))
    target = attack_surface(
        model, SCHEMA, (frame[:60], values[:60, None]), frame, RobustnessTable(), np.array([0.3])
    )
    attack, _, margins = attacked(target, 0.2)
    best, other = target.start.copy(), target.margin(target.start, np.arange(60))
    Search().improve(target, best, other, 0.2, 40, 0)
    assert (margins > 0).mean() <= (other > 0).mean()
    assert not np.any(attack.proved & (other <= 0))


def test_bounds_and_attacks_follow_the_order_of_the_tables_classes():
    """A model from outside whose first class is the table's second."""
    frame, codes = table()
    linear = SkopsModel(LogisticRegression().fit(frame, 1 - codes), [1, 0])
    assert (
        certified(
            attack_surface(linear, SCHEMA, (frame[:60], codes[:60]), frame, RobustnessTable()), 0.05
        )[0].mean()
        > 0.5
    )
    estimator = RandomForestClassifier(8, max_depth=5, random_state=0).fit(frame, 1 - codes)
    model = SkopsModel(estimator, [1, 0])
    target = attack_surface(model, SCHEMA, (frame[:60], codes[:60]), frame, RobustnessTable())
    keeps, _ = certified(target, 0.05)
    attack, _, margins = attacked(target, 0.05)
    assert keeps.mean() > 0.5
    assert not np.any(keeps & (margins <= 0))
    assert (attack.proved & (margins > 0)).mean() >= keeps.mean()


def measured(estimator, eps=(0.1, 0.2), **options):
    frame, codes = table(600)
    members, others = (
        Sample(frame[:400], codes[:400]),
        Sample(frame[400:].reset_index(drop=True), codes[400:]),
    )
    model = SkopsModel(estimator.fit(members.frame, members.target))
    settings = AssessTable(eps=list(eps), attack_rows=80, attack_steps=10)
    return robustness.measure(
        model, SCHEMA, others, members, settings, RobustnessTable(**options), [], 0, lambda *_: None
    )


def test_plain_trees_are_not_told_that_they_hide_gradients():
    for estimator in (
        DecisionTreeClassifier(max_depth=5),
        HistGradientBoostingClassifier(max_iter=30),
    ):
        found = measured(estimator, eps=(0.2, 0.5))
        assert found["curve"][-1]["robust_accuracy"] < found["clean_accuracy"] - 0.2
        assert [finding.id for finding in robustness.findings(found)] == []


def test_the_strongest_attack_is_told_with_what_it_cost():
    found = measured(RandomForestClassifier(20, random_state=0))
    spent = found["budget"][found["strongest"]]
    assert found["strongest"] == "thresholds"
    assert spent["queries"] > 0 and spent["compared"] > 0
    lost = found["clean_accuracy"] - found["curve"][-1]["robust_accuracy"]
    assert spent["broke"] == round(lost * found["rows"])


def test_a_wide_gap_between_attacks_and_bounds_is_told():
    """Many trees over many features: more leaves than proofs can go through."""
    rows, codes = make_classification(4060, 16, n_informative=8, flip_y=0.05, random_state=1)
    frame = pd.DataFrame(rows, columns=[f"x{i}" for i in range(16)])
    columns = [ColumnSchema(name=name, type="number", min=-15.0, max=15.0) for name in frame]
    schema = Schema(
        target="y",
        classes=["0", "1"],
        columns=[*columns, ColumnSchema(name="y", type="category", use=False)],
    )
    model = SkopsModel(RandomForestClassifier(100, random_state=0).fit(frame[:4000], codes[:4000]))
    members, others = (
        Sample(frame[:4000], codes[:4000]),
        Sample(frame[4000:].reset_index(drop=True), codes[4000:]),
    )
    found = robustness.measure(
        model,
        schema,
        others,
        members,
        AssessTable(eps=[0.3]),
        RobustnessTable(),
        [],
        0,
        lambda *_: None,
    )
    (told,) = robustness.findings(found)
    assert told.id == "assess.robustness-gap"
    assert f"{found['curve'][0]['certified_accuracy']:.0%}" in told.message
    assert robustness.findings(measured(DecisionTreeClassifier(max_depth=4))) == []


def test_rows_that_are_all_proved_to_stand_are_a_result_and_not_an_attack_that_changed_nothing():
    frame = pd.DataFrame({name: np.repeat([-3.0, 3.0], 100) for name in NAMES})
    codes = np.repeat([0, 1], 100)
    model = SkopsModel(DecisionTreeClassifier(max_depth=1).fit(frame, codes))
    sides = Sample(frame, codes), Sample(frame, codes)
    found = robustness.measure(
        model, SCHEMA, *sides, AssessTable(eps=[0.1]), RobustnessTable(), [], 0, lambda *_: None
    )
    assert (found["curve"][0]["robust_accuracy"], found["curve"][0]["certified_accuracy"]) == (
        1.0,
        1.0,
    )
    assert "inconclusive" not in found


def test_a_model_of_trees_that_cannot_be_read_meets_the_other_attacks():
    frame, codes = table()
    frame["d"] = frame["a"] * 2  # one feature that moves two inputs, after the pipeline below
    both = make_column_transformer((StandardScaler(), ["a", "b"]), (StandardScaler(), ["a", "c"]))
    model = SkopsModel(
        make_pipeline(both, RandomForestClassifier(5, max_depth=4, random_state=0)).fit(
            frame, codes
        )
    )
    target = attack_surface(model, SCHEMA, (frame[:40], codes[:40]), frame, RobustnessTable())
    assert "search" in [attack.name for attack in fitting_attacks(target)]
