"""What sites sum of a network's gradients before noise covers it: no subject counts for more than
the clip, whatever weights a coordinator sends.
"""

import numpy as np
import pytest

from casemate.ml.federated import learners
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import LocalPlan, SiteRows, train
from casemate.ml.federated.simulation import Design, simulate

torch = pytest.importorskip("torch")
PICTURES = [
    ("Unflatten", {"dim": 1, "unflattened_size": [1, 6, 6]}),
    ("Conv2d", {"in_channels": 1, "out_channels": 4, "kernel_size": 3}),
    ("GroupNorm", {"num_groups": 2, "num_channels": 4}),
    ("MaxPool2d", {"kernel_size": 2}),
    ("ReLU", {}),
    ("Flatten", {}),
    ("Linear", {"in_features": 16, "out_features": 3}),
]
PLAIN = [("Linear", {"in_features": 36, "out_features": 3})]


def site(count=30, owners=None, seed=0):
    chance = np.random.default_rng(seed)
    rows = chance.random((count, 36), dtype=np.float32)
    return SiteRows(rows, chance.integers(0, 3, count), owners=owners)


def learner(layers=PICTURES, frozen=None):
    return learners.NetworkLearner(layers, 3, frozen)


def one_by_one(network, of, weights, clip):
    """The same by one gradient after the other."""
    total = np.zeros(len(weights))
    for owner in np.unique(of.owners):
        mine = np.flatnonzero(of.owners == owner)
        slope = sum(
            network.gradient(weights, of.rows[[at]], of.codes[[at]], 1).astype(float) for at in mine
        )
        total += slope * min(1.0, clip / np.linalg.norm(slope))
    return total


@pytest.mark.parametrize("held", [3, 7, 256])
@pytest.mark.parametrize("clip", [0.3, 100.0])
@pytest.mark.parametrize("owners", [None, np.arange(30) // 4, np.arange(30) % 3])
def test_gradients_of_subjects_are_summed_clipped_however_few_are_held_at_once(
    monkeypatch, held, clip, owners
):
    monkeypatch.setattr(learners, "OWN", held)
    network, of = learner(), site(owners=owners)
    weights = network.start(1)
    found = network.clipped(weights, of, clip)
    assert found == pytest.approx(one_by_one(network, of, weights, clip), abs=1e-4)


def test_parameters_that_are_not_trained_are_not_in_the_sum():
    name = "0.weight"
    network = learner(PLAIN, {name: np.zeros((3, 36), dtype=np.float32)})
    assert network.layout.names == ["0.bias"]
    assert network.clipped(network.start(0), site(), 1.0).shape == (3,)


@pytest.mark.parametrize("size", [1e20, 1e37, 3e38])
def test_weights_that_overflow_for_somebody_make_a_sum_that_does_not_say_for_whom(size):
    for network, most in ((learner(), 30), (LinearLearner(36, 3), 30)):
        weights = np.resize([size, -size], network.layout.size)
        with np.errstate(all="ignore"):
            found = network.clipped(weights, site(), 1.0)
        assert np.isfinite(found).all()
        assert np.linalg.norm(found) <= most * (1 + 1e-6)


def test_a_subject_whose_gradient_is_no_number_counts_for_nothing_and_others_as_without_it():
    of = site(3)
    of.rows = of.rows.astype(np.float64)
    of.rows[0] = np.nan
    rest = SiteRows(of.rows[1:], of.codes[1:])
    linear = LinearLearner(36, 3)
    assert np.array_equal(
        linear.clipped(linear.start(0), of, 1.0), linear.clipped(linear.start(0), rest, 1.0)
    )
    for one in (of, rest):
        one.rows = one.rows.astype(np.float32)
    network = learner()
    weights = network.start(0)
    assert network.clipped(weights, of, 1.0) == pytest.approx(network.clipped(weights, rest, 1.0))


def test_noise_on_a_network_is_sigma_times_the_clip_and_never_the_same_twice():
    network, of = learner(), site()
    weights, drawn = network.start(0), []
    for _ in range(20):
        of.counted = 1.0
        plan = LocalPlan(rate=1.0, sigma=50.0, clip=0.5)
        drawn.append(train(network, of, weights, plan, 1)[0])
    spread = np.std(drawn, axis=0).mean()
    assert 25 * 0.85 < spread < 25 * 1.15
    assert len({one.tobytes() for one in drawn}) == 20


def test_sites_with_noise_learn_a_network_together():
    chance = np.random.default_rng(0)
    truth = chance.standard_normal((36, 3))
    rows = chance.random((1_200, 36), dtype=np.float32)
    scores = (rows - 0.5) @ truth
    codes = scores.argmax(axis=1)
    sites = [SiteRows(rows[i:900:3], codes[i:900:3], i) for i in range(3)]
    plan = LocalPlan(epochs=5, rate=2.0, sigma=1.0, momentum=0.5)
    design = Design(rounds=6, rule="fedavg", combine="mean", plan=plan, epsilon=8.0)
    told, _ = simulate(learner(PLAIN), sites, (rows[900:], codes[900:]), design, lambda *_: None)
    assert told.rounds[-1].score > 0.7
    assert {one.share for one in told.rounds[0].evidence} == {1 / 3}
