"""Forests and least squares that can be unlearnt: what comes out is what a fit without the rows is."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from casemate.estimators import (
    UnlearnableForestClassifier,
    UnlearnableForestRegressor,
    UnlearnableRidge,
)
from casemate.ml.learn import forest as forests
from casemate.ml.learn.leastsquares import TOLERANCE
from casemate.ml.models import dump_skops, load_skops

X, Y = make_classification(240, 6, random_state=0)
X = X.astype(np.float32)


def small(**more):
    """A forest that is quick to grow."""
    return UnlearnableForestClassifier(**{"n_estimators": 30, "share": 0.1, **more})


def written(model):
    """The model as the file that would be signed."""
    return dump_skops(model.as_sklearn())


def without(rows, *tables):
    """Tables without these rows."""
    return [np.delete(table, rows, axis=0) for table in tables]


WEIGHTS = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "a row that is there twice draws its trees twice, one of weight two once",
)


@parametrize_with_checks(
    [small(n_estimators=8, share=0.5), UnlearnableRidge()],
    expected_failed_checks=lambda model: {} if isinstance(model, UnlearnableRidge) else WEIGHTS,
)
def test_an_estimator_keeps_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


@settings(max_examples=15, deadline=None)
@given(
    gone=st.lists(st.integers(0, 239), min_size=1, max_size=40, unique=True),
    copies=st.lists(st.integers(0, 239), max_size=60),
    seed=st.integers(0, 3),
    weighted=st.booleans(),
)
def test_an_unlearnt_forest_is_to_the_last_byte_the_fit_without_the_rows(
    gone, copies, seed, weighted
):
    table, target = X.copy(), Y.copy()
    for place, copy in enumerate(copies):  # rows that are the same, of which some go
        table[place], target[place] = table[copy], target[copy]
    weight = np.arange(240) % 3 + 1.0 if weighted else None
    left = None if weight is None else np.delete(weight, gone)
    one = small(n_estimators=10, share=0.2, random_state=seed)  # a row is in two trees of ten
    unlearnt = clone(one).fit(table, target, weight).unlearn(gone)
    anew = clone(one).fit(*without(gone, table, target), left)
    assert written(unlearnt) == written(anew)


def test_rows_may_go_one_after_the_other_named_by_their_place_among_those_that_stay():
    table, target = np.repeat(X[:40], 3, axis=0), np.repeat(Y[:40], 3)
    unlearnt = small().fit(table, target)
    for place in (5, 0, 3, 4, 110):
        unlearnt.unlearn([place])
        table, target = without([place], table, target)
    assert written(unlearnt) == written(small().fit(table, target))


def test_a_forest_does_not_depend_on_the_order_of_rows():
    back = np.arange(240)[::-1]
    assert written(small().fit(X, Y)) == written(small().fit(X[back], Y[back]))


def test_only_trees_that_held_a_row_are_grown_anew():
    fitted = small().fit(X, Y)
    before = {*map(id, fitted.estimators_)}
    assert fitted.unlearn([17]).kept_ == 27  # a row is in 3 of 30
    assert len(before & {*map(id, fitted.estimators_)}) == 27


def test_a_class_that_goes_with_its_last_row_is_not_known_any_more():
    target = Y.copy()
    target[7] = 2
    unlearnt = small().fit(X, target).unlearn([7])
    assert unlearnt.classes_.tolist() == [0, 1]
    assert written(unlearnt) == written(small().fit(*without([7], X, target)))


def test_a_stored_forest_gives_its_trees_to_a_fit_on_the_rows_that_stay():
    read = load_skops(written(small().fit(X, Y))).estimator
    rest = without([3, 50], X, Y)
    assert forests.recall(read) == 30
    try:
        fitted = small().fit(*rest)
        assert 24 <= fitted.kept_ < 30
        assert small(max_depth=3).fit(*rest).kept_ == 0  # trees of other parameters
        assert small().fit(rest[0] + 1, rest[1]).kept_ == 0  # or of rows that look otherwise
    finally:
        forests.forget()
    assert written(fitted) == written(small().fit(*rest))


def test_trees_of_the_same_rows_are_told_apart_by_their_number():
    fitted = small(n_estimators=5, share=1.0).fit(X, Y)
    assert len({*fitted.digests_}) == 5
    assert forests.recall(fitted.as_sklearn()) == 5
    try:
        again = small(n_estimators=5, share=1.0).fit(X, Y)
    finally:
        forests.forget()
    assert (again.kept_, written(again)) == (5, written(fitted))


def test_rows_that_are_the_same_draw_each_for_themselves():
    found = forests.placed(b"key", np.zeros((40, 1)), 50, 5)
    assert len({tuple(row) for row in found.trees.tolist()}) == 40


def test_what_is_written_or_copied_holds_no_row():
    fitted = UnlearnableForestClassifier(30, 0.1, max_depth=2).fit(X, Y)
    read = pickle.loads(pickle.dumps(fitted))
    assert not any(row.tobytes() in pickle.dumps(fitted) for row in X)
    with pytest.raises(ValueError, match="the rows are not here"):
        read.unlearn([0])


def test_a_stored_forest_answers_as_the_one_that_was_fitted():
    for fitted in (small().fit(X, Y), UnlearnableForestRegressor(20, 0.2).fit(X, X[:, 0])):
        read = load_skops(written(fitted)).estimator
        answer = "predict_proba" if hasattr(fitted, "classes_") else "predict"
        np.testing.assert_allclose(
            getattr(read, answer)(X), getattr(fitted, answer)(X), rtol=1e-12, atol=1e-15
        )


@pytest.mark.slow
def test_over_keys_unlearnt_forests_are_distributed_as_ones_that_never_saw_the_rows():
    # keys of one kind here and of another there: nothing is equal, the distributions are
    gone, asked = [*range(24)], X[:1]
    rest = without(gone, X, Y)
    kinds = [small(n_estimators=10, share=0.2, random_state=seed) for seed in range(120)]
    unlearnt = [model.fit(X, Y).unlearn(gone).predict_proba(asked)[0, 1] for model in kinds[:60]]
    anew = [model.fit(*rest).predict_proba(asked)[0, 1] for model in kinds[60:]]
    assert stats.ks_2samp(unlearnt, anew).pvalue > 0.001
    # and the test has the power to see a forest that kept the rows
    kept = [clone(model).fit(X, 1 - Y).predict_proba(asked)[0, 1] for model in kinds[:60]]
    assert stats.ks_2samp(kept, anew).pvalue < 0.001


def test_every_row_is_in_as_many_trees_and_in_any_with_the_same_chance():
    found = forests.placed(b"key", np.arange(20_000.0).reshape(-1, 1), 50, 5)
    assert all(len(set(row)) == 5 for row in found.trees[:500].tolist())
    counts = np.bincount(found.trees.ravel(), minlength=50)
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.5}, {"n_estimators": 0}])
def test_parameters_that_make_no_forest_are_refused(wrong):
    with pytest.raises(ValueError, match="is not"):
        small(**wrong).fit(X, Y)


def test_rows_that_weigh_nothing_cannot_be_all_that_stays():
    X, y, weight = np.arange(6.0).reshape(-1, 1), [0, 1, 0, 1, 0, 1], [1.0, 1.0, 0, 0, 0, 0]
    made = UnlearnableForestClassifier(n_estimators=4, share=0.5).fit(X, y, weight)
    with pytest.raises(ValueError, match="no row would stay that weighs anything"):
        made.unlearn([0, 1])
    assert np.isfinite(made.unlearn([0]).predict_proba(X)).all()


def test_all_rows_cannot_go():
    with pytest.raises(ValueError, match="no row would stay"):
        small().fit(X, Y).unlearn(np.ones(240, dtype=bool))


@settings(max_examples=20, deadline=None)
@given(gone=st.integers(1, 150), alpha=st.sampled_from([0.0, 0.1, 10.0]))
def test_unlearnt_least_squares_are_those_of_a_fit_without_the_rows(gone, alpha):
    table, target = make_regression(200, 5, noise=5.0, random_state=gone)
    unlearnt = UnlearnableRidge(alpha).fit(table, target).unlearn(table[:gone], target[:gone])
    anew = Ridge(alpha, solver="svd").fit(table[gone:], target[gone:])
    size = np.abs(anew.coef_).max()
    assert np.abs(unlearnt.coef_ - anew.coef_).max() <= TOLERANCE * size
    assert unlearnt.rows_ == 200 - gone


def test_least_squares_refuse_rows_that_were_never_learnt():
    fitted = UnlearnableRidge().fit(X, Y)
    with pytest.raises(ValueError, match="not all learnt"):
        fitted.unlearn(X[:1] * 1000, Y[:1])
    with pytest.raises(ValueError, match="fewer must go"):
        fitted.unlearn(X, Y)
