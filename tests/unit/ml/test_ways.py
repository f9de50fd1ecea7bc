"""Ways that go on from round to round, among sites that differ and some that lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import load_digits

from casemate.ml.federated import robust, splits
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import LocalPlan, SiteRows
from casemate.ml.federated.simulation import Design, simulate
from casemate.ml.federated.ways import Way

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False, width=32)
EVEN = np.full(10, 0.1)
SITES = list(range(10))


def way(name="mean", liars=2, **options):
    return Way(name, liars, chance=np.random.default_rng(0), **options)


@settings(max_examples=50)
@given(arrays(np.float64, (8, 3), elements=NUMBERS), arrays(np.float64, (2, 3), elements=NUMBERS))
@pytest.mark.parametrize("name", ["median", "trimmed-mean"])
def test_two_liars_of_ten_in_buckets_of_two_never_lead_beyond_what_honest_sites_say(
    name, honest, lies
):
    found, _ = way(name, bucket=2)(SITES, np.vstack([lies, honest]), EVEN)
    slack = 1e-6 * np.abs(honest).max()
    assert (found.moved >= honest.min(axis=0) - slack).all()
    assert (found.moved <= honest.max(axis=0) + slack).all()
    assert found.shares.sum() == pytest.approx(1.0)


@settings(max_examples=50)
@given(arrays(np.float64, (10, 3), elements=NUMBERS), st.integers(1, 10))
def test_buckets_of_equal_size_leave_the_mean_what_it_is(moved, seed):
    for size in (1, 2, 5, 10):
        combined = robust.bucketed(robust.mean, size, np.random.default_rng(seed))
        found = combined(moved, EVEN, 0)
        assert np.allclose(found.moved, moved.mean(axis=0), atol=1e-6 * np.abs(moved).max())
        assert np.allclose(found.shares, EVEN)


def test_buckets_are_drawn_anew_and_bring_unlike_sites_nearer_to_their_mean():
    honest = np.exp(np.random.default_rng(0).standard_normal((10, 40)))
    mean = honest.mean(axis=0)
    median = way("median", 0, bucket=3)
    first, second = (median(SITES, honest, EVEN)[0].moved for _ in range(2))
    assert not np.array_equal(first, second)
    plain = way("median", 0)(SITES, honest, EVEN)[0].moved
    for found in (first, second):
        assert np.linalg.norm(found - mean) < 0.8 * np.linalg.norm(plain - mean)


def honest_rounds(count, seed=0):
    """Differences of ten sites that agree a little, [count, 10, 40]."""
    chance = np.random.default_rng(seed)
    own = chance.standard_normal((10, 40))
    return 0.7 + own + 0.5 * chance.standard_normal((count, 10, 40))


def left_out(remembering, moved):
    _, told = remembering(SITES, moved, EVEN)
    remembering.heard(told)
    return {one.site for one in told if one.share == 0}


def test_sites_that_undo_what_others_do_are_left_out_and_the_rest_counts_as_before():
    moved = honest_rounds(1)[0]
    moved[:2] *= -1
    found, told = way(remembers=True)(SITES, moved, EVEN)
    assert [one.site for one in told if one.share == 0] == [0, 1]
    assert np.allclose(found.moved, moved[2:].mean(axis=0))
    assert np.allclose(found.shares[2:], 1 / 8)
    plain, _ = way()(SITES, moved, EVEN)
    assert np.array_equal(plain.moved, robust.mean(moved, EVEN, 2).moved)


def test_a_site_that_lies_after_many_honest_rounds_is_left_out_within_five():
    remembering = way(remembers=True)
    for moved in honest_rounds(20):
        assert left_out(remembering, moved) == set()
    gone = []
    for moved in honest_rounds(5):
        moved[:2] *= -1
        gone.append(left_out(remembering, moved))
    assert gone[-1] == {0, 1}


def test_one_odd_round_of_an_honest_site_is_forgiven_and_a_liar_that_stops_comes_back():
    remembering = way(remembers=True)
    lied, *more = honest_rounds(12)
    lied[0] *= -1
    assert left_out(remembering, lied) == {0}
    more[5][5] *= -0.1
    gone = [left_out(remembering, moved) for moved in more]
    assert all(5 not in one for one in gone)
    assert gone[-1] == set()


@pytest.mark.parametrize(("liars", "sites", "most"), [(1, 10, 1), (9, 10, 4), (2, 3, 1)])
def test_no_more_sites_are_left_out_than_may_lie_and_always_a_minority(liars, sites, most):
    moved = honest_rounds(1)[0][:sites]
    moved[::2] *= -1
    weights = np.full(sites, 1 / sites)
    _, told = way(liars=liars, remembers=True)(list(range(sites)), moved, weights)
    assert sum(one.share == 0 for one in told) <= most


def test_who_goes_on_from_what_was_told_decides_like_who_was_there():
    there, later = (way("median", remembers=True) for _ in range(2))
    for number, moved in enumerate(honest_rounds(6)):
        moved[number % 3] *= -1
        again = there(SITES, moved, EVEN)[0].moved  # an attempt that came to nothing
        found, told = there(SITES, moved, EVEN)
        assert np.array_equal(again, found.moved)
        assert np.array_equal(later(SITES, moved, EVEN)[0].moved, found.moved)
        for one in (there, later):
            one.heard(told)


@pytest.mark.parametrize("attack", ["signflip", "labelflip", "boost"])
def test_a_fifth_of_lying_sites_costs_at_most_two_points_where_sites_differ(attack):
    rows, codes = load_digits(return_X_y=True)
    rows = rows / 16.0

    def accuracy(**changed):
        chance = np.random.default_rng(0)
        order = chance.permutation(len(codes))
        inside, out = order[:1347], order[1347:]
        where = splits.dirichlet(codes[inside], 10, 0.5, 20, chance)
        sites = [
            SiteRows(rows[inside][where == i], codes[inside][where == i], i) for i in range(10)
        ]
        design = Design(
            rounds=10, rule="fedavg", combine="mean",
            plan=LocalPlan(epochs=5, batch=16, rate=0.1), liars=2, **changed,
        )  # fmt: skip
        with np.errstate(all="ignore"):
            told, _ = simulate(
                LinearLearner(64, 10, 10.0), sites, (rows[out], codes[out]), design, lambda *_: None
            )
        return told.rounds[-1].score

    honest, lied = accuracy(), {"attack": attack, "attackers": 2}
    assert accuracy(remembers=True, **lied) > honest - 0.02
    assert accuracy(**lied) < honest - 0.05
    assert accuracy(remembers=True) > honest - 0.01
