"""Sites that have classes in unlike shares, and a loss that keeps the shares out of what they learn."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from casemate.ml.federated.learners import LinearLearner, NetworkLearner
from casemate.ml.federated.local import LocalPlan, SiteRows, offsets_of, train
from casemate.ml.federated.simulation import Design, simulate

CODES = np.repeat([0, 1, 2], [600, 300, 100])


def linear(classes: int) -> LinearLearner:
    return LinearLearner(4, classes)


def network(classes: int) -> NetworkLearner:
    pytest.importorskip("torch")
    return NetworkLearner([("Linear", {"in_features": 4, "out_features": classes})], classes)


def step(learner, codes, calibrated, rows=None):
    """What one step over all rows does to nought."""
    rows = np.zeros((len(codes), 4)) if rows is None else rows
    rows = rows.astype(learner.layout.dtype)
    plan = LocalPlan(batch=len(codes), rate=1.0, calibrated=calibrated)
    return train(learner, SiteRows(rows, codes), np.zeros(learner.layout.size), plan, 1)[0]


@pytest.mark.parametrize(
    ("learner", "codes"),
    [(linear(3), CODES), (linear(2), np.minimum(CODES, 1)), (network(3), CODES)],
    ids=["linear", "of two classes", "network"],
)
def test_how_often_a_site_has_each_class_is_not_learnt(learner, codes):
    assert np.abs(step(learner, codes, 0.0)).max() > 0.05
    assert step(learner, codes, 1.0) == pytest.approx(0.0, abs=2e-3)
    # half of it leaves something, twice as much turns it round
    half, twice = step(learner, codes, 0.5), step(learner, codes, 2.0)
    assert np.abs(half).max() > 0.01
    assert (half * twice <= 0).all()


@pytest.mark.parametrize("learner", [linear(4), network(4)], ids=["linear", "network"])
def test_of_a_class_that_a_site_does_not_have_it_says_next_to_nothing(learner):
    rows = np.random.default_rng(0).standard_normal((len(CODES), 4))

    def of_missing(moved):
        arrays = iter(learner.layout.shapes)
        first = moved[: int(np.prod(next(arrays)))]
        by_class = (
            first.reshape(4, 4) if isinstance(learner, NetworkLearner) else first.reshape(4, 4).T
        )
        return np.append(by_class[3], moved[-1])

    plain, calibrated = (step(learner, CODES, one, rows) for one in (0.0, 1.0))
    assert np.abs(of_missing(calibrated)).max() < 0.01 * np.abs(of_missing(plain)).max()
    assert np.abs(calibrated).max() > 0.01
    alone = np.zeros(len(CODES), dtype=np.int64)
    plain, calibrated = (step(learner, alone, one, rows) for one in (0.0, 1.0))
    assert 0 < np.abs(calibrated).max() < 0.01 * np.abs(plain).max()


def test_offsets_are_logarithms_of_shares_with_a_row_more_of_each_class():
    assert offsets_of(CODES, 4, 0.0) is None
    shares = np.array([601, 301, 101, 1]) / 1004
    assert offsets_of(CODES, 4, 2.0) == pytest.approx(2 * np.log(shares))


def test_sites_with_two_classes_each_learn_more_together():
    rows, codes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(codes))
    inside, out = order[:1350], order[1350:]
    parts = np.array_split(inside[np.argsort(codes[inside], kind="stable")], 20)

    def learnt(calibrated):
        sites = [
            SiteRows(rows[at] / 16, codes[at], place)
            for place, at in enumerate(
                np.concatenate([parts[one], parts[(one * 7 + 3) % 20]]) for one in range(20)
            )
        ]
        plan = LocalPlan(epochs=5, batch=16, calibrated=calibrated)
        design = Design(rounds=5, rule="fedavg", combine="mean", plan=plan, share=0.3)
        told, _ = simulate(
            LinearLearner(64, 10, 10.0),
            sites,
            (rows[out] / 16, codes[out]),
            design,
            lambda *_: None,
        )
        return told.rounds[-1].score

    plain, calibrated = learnt(0.0), learnt(1.0)
    assert calibrated > plain + 0.05
