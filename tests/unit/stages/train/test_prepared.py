"""Preprocessing that candidates share is fitted once a fold, and changes no figure."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from casemate.stages.train import prepared
from casemate.stages.train.folds import Rows
from casemate.stages.train.prepared import Prepared

RANDOM = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {"a": RANDOM.normal(size=90), "c": RANDOM.choice(["x", "y", "z"], 90).astype(object)}
)
CODES = (FRAME["a"] + (FRAME["c"] == "x") > 0.2).to_numpy().astype(np.int64)
TAUGHT, ASKED = (Rows(FRAME, CODES).at(np.arange(90)[part]) for part in (slice(60), slice(60, 90)))


def encoded(last, **options):
    columns = make_column_transformer((StandardScaler(), ["a"]), (OneHotEncoder(**options), ["c"]))
    return make_pipeline(columns, last)


def said(kept, model, fold=0):
    left, learnt, heard = kept.apart(model, TAUGHT, ASKED, fold)
    return left.fit(learnt, TAUGHT.target).predict_proba(heard)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_candidate_answers_as_its_whole_pipeline_does(sparse):
    kept = Prepared()
    for c in (0.1, 1.0):
        whole = encoded(LogisticRegression(C=c), sparse_output=sparse)
        expected = whole.fit(TAUGHT.frame, TAUGHT.target).predict_proba(ASKED.frame)
        found = said(kept, encoded(LogisticRegression(C=c), sparse_output=sparse))
        assert np.array_equal(found, expected)


def test_preprocessing_is_fitted_once_a_fold_and_setting(monkeypatch):
    fitted = []
    own = StandardScaler.fit
    monkeypatch.setattr(StandardScaler, "fit", lambda *given: fitted.append(1) or own(*given))
    kept = Prepared()
    for fold in (0, 1):
        for c in (0.1, 1.0, 10.0):
            said(kept, encoded(LogisticRegression(C=c)), fold)
    assert len(fitted) == 2
    said(kept, encoded(LogisticRegression(), drop="first"))
    assert len(fitted) == 3


@pytest.mark.slow
def test_long_lists_of_parameters_tell_candidates_apart():
    first = np.linspace(-1, 1, 1200)  # numpy itself shows a thousand
    second = np.where(np.arange(1200) == 600, first + 1e-6, first)
    kept = Prepared()
    for bins in (first, second):
        whole = make_pipeline(
            make_column_transformer(
                (FunctionTransformer(np.digitize, kw_args={"bins": bins}), ["a"])
            ),
            LogisticRegression(),
        )
        said(kept, whole)
    assert len(kept._kept) == 2


def test_more_than_the_bound_is_not_kept(monkeypatch):
    monkeypatch.setattr(prepared, "MOST_BYTES", 1000)
    kept = Prepared()
    said(kept, encoded(LogisticRegression(), sparse_output=False))
    assert kept._kept == {}


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        encoded(LinearRegression(copy_X=False)),
    ],
    ids=["no preprocessing", "it writes into what it learns from"],
)
def test_what_cannot_be_shared_is_left_whole(model):
    left, learnt, heard = Prepared().apart(model, TAUGHT, ASKED, 0)
    assert left is model
    assert learnt is TAUGHT.frame
    assert heard is ASKED.frame
