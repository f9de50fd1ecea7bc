"""Differential privacy: what is paid is what is spent, two accountants agree, and a ledger nobody
can overspend.
"""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from casemate.ml.learn import accountant, encoder
from casemate.ml.learn.accountant import Gaussians
from casemate.ml.learn.linear import PrivateClassifier, descend
from casemate.ml.learn.noise import Noise
from casemate.ml.models import dump_skops, load_skops
from casemate.stages.train.fit import private_fit

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("rate", "sigma", "steps", "pld", "rdp"),
    [(0.01, 1, 1000, 1.828, 2.101), (0.05, 1.5, 400, 3.360, 3.689), (0.1, 2, 1000, 8.279, 8.947)],
)
def test_accountants_give_the_published_figures(rate, sigma, steps, pld, rdp):
    events = [Gaussians(sigma=sigma, steps=steps, rate=rate)]
    assert accountant.epsilon(events, 1e-5) == pytest.approx(pld, abs=0.02)
    assert accountant.second_opinion(events, 1e-5) == pytest.approx(rdp, abs=0.05)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 8), st.sampled_from([1e-6, 1e-5, 1e-4]), st.integers(1, 500))
def test_the_chosen_noise_never_spends_more_than_was_allowed(target, delta, steps):
    sigma = accountant.sigma_for(target, delta, steps)
    spent = accountant.epsilon([Gaussians(sigma=sigma, steps=steps)], delta)
    assert 0.95 * target <= spent <= target * (1 + 1e-6)


def test_the_exact_gaussian_agrees_with_its_formula():
    """delta(epsilon) of Balle and Wang, ICML 2018, theorem 8."""
    epsilon = accountant.epsilon([Gaussians(sigma=8.0, steps=4)], 1e-5)
    mu = 2 / 8.0
    delta = stats.norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * stats.norm.cdf(
        -epsilon / mu - mu / 2
    )
    assert delta == pytest.approx(1e-5, rel=1e-3)


def test_noise_is_normal_independent_and_never_the_same():
    first, second = (Noise().normal((20_000,)) for _ in range(2))
    assert stats.kstest(first, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert not np.array_equal(first, second)


@parametrize_with_checks([PrivateClassifier(epsilon=50.0)])
def test_the_private_classifier_is_a_scikit_learn_estimator(estimator, check):
    name = getattr(check, "func", check).__name__
    if name in (
        "check_fit_idempotent",
        "check_classifier_data_not_an_array",
        "check_supervised_y_2d",
    ):
        pytest.skip("every fit draws new noise: that is the point")
    check(estimator)


def adult_like(count=6000, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": generator.uniform(17, 90, count),
            "gain": np.exp(generator.normal(0, 3, count)),
            "sex": generator.choice(["f", "m"], count),
        }
    )
    codes = (
        (frame["age"] > 45).astype(int)
        + (frame["gain"] > 20)
        + (frame["sex"] == "m")
        + generator.normal(0, 0.3, count)
        > 1.5
    ).astype(int)
    return frame.astype({"sex": object}), codes.to_numpy()


BOUNDS, KINDS = {"age": (17, 90), "gain": (0, 10_000)}, {"sex": ["f", "m"]}


def test_it_learns_at_epsilon_one_what_matters():
    frame, codes = adult_like()
    model = PrivateClassifier(epsilon=1.0, bounds=BOUNDS, categories=KINDS).fit(
        frame[:4000], codes[:4000]
    )
    assert roc_auc_score(codes[4000:], model.predict_proba(frame[4000:])[:, 1]) > 0.9
    assert accountant.epsilon([model.spent_], 1e-5) <= 1.0


def test_the_same_model_is_plain_scikit_learn_and_survives_storage():
    frame, codes = adult_like(500)
    model = PrivateClassifier(epsilon=3.0, bounds=BOUNDS, categories=KINDS).fit(frame, codes)
    loaded = load_skops(dump_skops(model.model_))
    assert np.allclose(loaded.predict(frame)[1], model.predict_proba(frame))


def test_values_outside_the_bounds_and_missing_ones_are_bounded():
    """One row may change a feature vector by no more than its declared norm, whatever is in it."""
    transformer, norm = encoder.encoder(BOUNDS, KINDS, bins=8)
    wild = pd.DataFrame(
        {
            "age": [1e12, -1e12, np.nan, 50.0],
            "gain": [np.nan, 1e300, -5.0, 3.0],
            "sex": np.array(["f", "unknown", "m", "(missing)"], dtype=object),
        }
    )
    rows = transformer.transform(wild)
    assert np.isfinite(rows).all()
    assert (np.linalg.norm(rows, axis=1) <= norm + 1e-9).all()


def test_one_row_or_subject_moves_a_noisy_sum_by_no_more_than_the_clip(monkeypatch):
    """The sensitivity that the noise is made for: measured with the noise switched off."""
    from casemate.ml.learn import linear

    class Silent:
        def normal(self, shape):
            return np.zeros(shape)

    monkeypatch.setattr(linear, "Noise", Silent)
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((40, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    codes, groups = generator.integers(0, 3, 40), np.arange(40) // 4
    for owners, leave in ((None, np.arange(1, 40)), (groups, np.flatnonzero(groups != 3))):
        units = 40 if owners is None else 10
        fewer = units - 1
        whole = descend(rows, codes, 3, owners, 1.0, 1, 1.0, 0.2, 0.0) * units
        part = (
            descend(
                rows[leave],
                codes[leave],
                3,
                None if owners is None else owners[leave],
                1.0,
                1,
                1.0,
                0.2,
                0.0,
            )
            * fewer
        )
        assert np.linalg.norm(whole - part) <= 0.2 + 1e-6


def test_bounds_are_never_taken_from_the_rows():
    frame, codes = adult_like(200)
    with pytest.raises(ValueError, match="bounds are missing for gain"):
        PrivateClassifier(bounds={"age": (0, 120)}, categories=KINDS).fit(frame, codes)
    assert clone(PrivateClassifier(epsilon=2.0)).epsilon == 2.0


def test_steps_that_private_training_does_not_use_are_named_and_no_class_of_the_codes_own():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from casemate.stages.train import fit, promise

    own = type("AnnHasFlu", (StandardScaler,), {})
    steps = fit._left_out(make_pipeline(StandardScaler(), own(), LogisticRegression()))
    (finding,) = promise.left_out(steps)
    assert (finding.id, finding.severity) == ("train.steps-unused", "medium")
    assert (
        "none of the pipeline's steps before the last (StandardScaler, an estimator)"
        in finding.message
    )
    assert promise.left_out(fit._left_out(LogisticRegression())) == []


def test_an_entry_that_returns_the_private_classifier_itself_is_trained():
    """It has a number called `steps`, as a pipeline has a list."""
    frame, codes = adult_like(500)
    job = {
        "privacy": {
            "numbers": BOUNDS,
            "categories": KINDS,
            "epsilon": 3.0,
            "delta": 1e-5,
            "units": 500,
            "clip": None,
        },
        "rehearsal": False,
    }
    model, told = private_fit(PrivateClassifier(steps=40), frame, codes, None, job, 2)
    assert model.predict_proba(frame).shape == (500, 2)
    assert told["unit"] == "row"
