"""Laws of tests far out in the tail, against exact ones."""

import numpy as np
import pytest
from scipy import stats

from casemate.watch import chances


@pytest.mark.parametrize("hits", [20, 30, 45, 60])
def test_the_tail_of_skewed_scores_is_right_by_orders_of_magnitude(hits):
    scores = np.r_[np.zeros(380), np.ones(20)]
    found = chances.of_mean(scores, hits / 300, 300)
    exact = 2 * stats.binom.sf(hits - 0.5, 300, 0.05)
    assert 0.45 < found / exact < 1.1  # scores of two values are a lattice: up to half
    if hits == 60:
        normal = 2 * stats.norm.sf((60 - 15) / (300 * 0.05 * 0.95) ** 0.5)
        assert found > 1e6 * normal


@pytest.mark.parametrize("mean", [0.5, 0.7, 1.3, 1.6])
def test_the_tails_of_a_skewed_law_are_its_own_on_either_side(mean):
    scores = stats.expon.ppf((np.arange(4000) + 0.5) / 4000)
    tail = stats.gamma.sf if mean > 1 else stats.gamma.cdf
    assert chances.of_mean(scores, mean, 100) == pytest.approx(2 * tail(100 * mean, 100), rel=0.12)


def test_means_on_either_side_count_alike():
    scores = np.linspace(0, 1, 400)
    assert chances.of_mean(scores, 0.6, 100) == pytest.approx(chances.of_mean(scores, 0.4, 100))


def test_a_mean_beyond_every_score_has_the_chance_of_the_extreme():
    assert chances.of_mean(np.array([0.0, 1.0]), 1.0, 10) == pytest.approx(2 * 0.5**10)


def test_scores_that_are_all_the_same_say_nothing():
    assert chances.of_mean(np.full(10, 0.3), 0.3, 100) == 1.0


def test_the_chance_of_the_outermost_rows_is_that_of_drawing_them():
    # both largest of six rows lie in a window of three
    assert chances.of_outermost(2, 3, 3) == pytest.approx(3 * 2 / (6 * 5))
    assert chances.of_outermost(0, 3, 3) == 1.0


def test_chances_without_a_difference_are_no_smaller_than_they_say():
    generator = np.random.default_rng(0)
    reference = generator.exponential(size=2000)
    found = [
        chances.of_mean(reference[::5], generator.exponential(size=100).mean(), 100 / 1.05)
        for _ in range(2000)
    ]
    for limit in (0.1, 0.01):
        assert np.mean(np.array(found) <= limit) < 2 * limit


def test_windows_that_differ_by_chance_leave_the_law_as_it_is():
    windows = np.linspace(0.025, 0.975, 20)
    assert chances.among(1e-9, windows) == 1e-9
    assert chances.among(1e-9, np.array([1e-9] * 4)) == 1e-9  # too few to say


def test_windows_that_differ_more_make_the_same_difference_less_surprising():
    windows = 10.0 ** -np.linspace(0, 12, 20)
    assert chances.among(1e-9, windows) > 0.01
    assert chances.among(1e-300, windows) < 1e-6
