"""Differential privacy: what is paid is what is spent, two accountants agree, and a ledger nobody
can overspend.
"""

import math
import multiprocessing
import os
import signal
import threading
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from casemate.controls.privacy import statistics
from casemate.controls.privacy.budget import BudgetSpent, Ledger, Limit, Spending, total
from casemate.core.clock import SystemClock
from casemate.core.errors import ConfigError
from casemate.core.store import open_store
from casemate.ml.learn import accountant, encoder
from casemate.ml.learn.accountant import Gaussians
from casemate.ml.learn.linear import PrivateClassifier, descend
from casemate.ml.learn.noise import Noise
from casemate.ml.models import dump_skops, load_skops
from casemate.stages.train.fit import private_fit
from casemate.stages.train.promise import spent

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


# The ledger


@pytest.fixture
def ledger(tmp_path):
    store = open_store("", tmp_path / "catalog.db", None, lambda _: "")
    store.upgrade()
    yield Ledger(store, SystemClock())
    store.close()


@pytest.mark.parametrize(
    "events",
    [
        [{"sigma": 0.0, "steps": 1}],
        [{"sigma": -1.0, "steps": 1}],
        [{"sigma": 1e-300, "steps": 1}],
        [{"sigma": 1.0, "steps": -5}],
        [{"sigma": 1.0, "steps": 10**18}],
        [{"sigma": 1.0, "steps": 5, "rate": -1.0}],
        [{"sigma": 1.0, "steps": 5, "rate": 2.0}],
        [{"sigma": 1e6, "steps": 1}] * 1000,
    ],
)
def test_noise_that_cannot_be_is_nonsense_and_nothing_to_reckon_with(events, config):
    with pytest.raises(msgspec.ValidationError):
        spent(SimpleNamespace(config=config()), {"events": events})


def spending(name, epsilon=1.0, delta=1e-5, dataset="d", purpose="care", events=()):
    return Spending(
        name,
        dataset,
        "v",
        purpose,
        epsilon,
        delta,
        list(events),
        "run",
        'User::"eva"',
        "training",
        "",
    )


LIMIT = Limit(3.0, 1e-4)


def pay(ledger, *args, limit=LIMIT, **more):
    with ledger.store.transaction() as tx:
        return ledger.spend(tx, spending(*args, **more), limit)


def test_a_budget_is_spent_to_its_end_and_no_further(ledger):
    assert [pay(ledger, str(number)) for number in range(3)] == [True, True, True]
    with pytest.raises(
        BudgetSpent, match=r"has spent epsilon 3.000 of 3 .*training wants 1"
    ) as caught:
        pay(ledger, "4")
    assert "privacy officer" in caught.value.hint
    assert len(ledger.of("d")) == 3
    assert pay(ledger, "5", purpose="research") and pay(ledger, "6", dataset="e")


def test_paying_again_for_the_same_work_costs_nothing(ledger):
    assert pay(ledger, "run/train", 2.0)
    assert not pay(ledger, "run/train", 2.0)
    assert total(ledger.of(), 1e-4) == 2.0


def test_deltas_have_a_budget_too(ledger):
    pay(ledger, "1", 0.1, 9e-5)
    with pytest.raises(BudgetSpent, match="delta"):
        pay(ledger, "2", 0.1, 2e-5)


def test_known_mechanisms_compose_to_less_than_their_sum(ledger):
    sigma = accountant.sigma_for(1.0, 1e-5, 60)
    events = [Gaussians(sigma=sigma, steps=60)]
    for number in range(4):
        pay(ledger, str(number), limit=Limit(100.0, 1e-3))
        with ledger.store.transaction() as tx:
            ledger.settle(tx, str(number), 1.0, events)
    spent = ledger.of("d")
    assert total(spent, 1e-4) < 2.5 < sum(one.epsilon for one in spent)
    assert total(spent, 1e-4) == pytest.approx(accountant.epsilon(events * 4, 1e-4))


def test_of_two_that_want_the_last_of_it_one_wins(ledger):
    won, lost, barrier = [], [], threading.Barrier(8)

    def want(number):
        barrier.wait()
        try:
            pay(ledger, f"race-{number}", 3.0)
            won.append(number)
        except BudgetSpent:
            lost.append(number)

    threads = [threading.Thread(target=want, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)


def _pay_and_die(path):
    store = open_store("", path, None, lambda _: "")
    ledger = Ledger(store, SystemClock())
    pay(ledger, "killed", 3.0)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_paid_stays_paid(ledger, tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=_pay_and_die, args=(tmp_path / "catalog.db",)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [one.id for one in ledger.of()] == ["killed"]
    with pytest.raises(BudgetSpent):
        pay(ledger, "other")
    assert not pay(ledger, "killed", 3.0)


def test_a_spending_cannot_be_rewritten_to_less(ledger):
    pay(ledger, "1", 1.0)
    with ledger.store.transaction() as tx:
        ledger.settle(tx, "1", 2.0, [Gaussians(sigma=100.0, steps=1)])
    assert ledger.of()[0].events == []
    with ledger.store.reading() as tx:
        assert tx.execute(sa.text("select count(*) from spending")).scalar() == 1


# Noisy statistics


def test_noisy_statistics_are_near_the_truth_and_never_it():
    import pyarrow as pa

    values = pa.chunked_array([np.random.default_rng(0).uniform(0, 100, 20_000)])
    found = statistics.noisy(values, "age", (0.0, 100.0), 1.0)
    assert found.mean == pytest.approx(50, abs=1)
    assert all(abs(count - 2000) < 250 for count in found.counts)
    assert (
        sum(found.counts) != 20_000
        or found.counts != statistics.noisy(values, "age", (0.0, 100.0), 1.0).counts
    )
    kinds = statistics.noisy(
        pa.chunked_array([["a"] * 500 + ["b"] * 300 + ["zzz"] * 10]), "ward", ["a", "b"], 1.0
    )
    assert kinds.labels == ["a", "b", "(other)"]
    assert [
        abs(count - true) < 20 for count, true in zip(kinds.counts, (500, 300, 10), strict=True)
    ] == [True] * 3
    with pytest.raises(ConfigError, match="nothing is declared"):
        statistics.noisy(values, "age", None, 1.0)


def test_a_subject_counts_once():
    import pyarrow as pa

    owners = np.r_[np.zeros(5000), np.arange(1, 101)]
    found = statistics.noisy(
        pa.chunked_array([["a"] * 5000 + ["b"] * 100]), "ward", ["a", "b"], 5.0, owners
    )
    assert abs(found.counts[0] - 1) < 10


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
