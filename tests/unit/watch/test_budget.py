"""A budget of false alarms, in words and as a chance."""

import numpy as np
import pytest
from scipy import stats

from casemate.core.errors import ConfigError
from casemate.watch.budget import FalseAlarms, corrected


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("windows", [1, 24])
def test_the_number_is_kept_in_99_of_100_spans(count, windows):
    budget = FalseAlarms.parse(f"{count} per 90 days", windows)
    mean = budget.chance * 90 * windows
    assert stats.poisson.cdf(count, mean) == pytest.approx(0.99)


@pytest.mark.parametrize(
    "words", ["", "often", "1 per 90", "-1 per 90 days", "1 per 0 days", "nan per 90 days"]
)
def test_words_that_are_no_budget_are_refused(words):
    with pytest.raises(ConfigError, match="no budget"):
        FalseAlarms.parse(words, 1)


@pytest.mark.parametrize("windows", [0, -1, float("nan"), float("inf")])
def test_a_number_of_windows_that_cannot_be_is_refused(windows):
    with pytest.raises(ConfigError, match="windows a day"):
        FalseAlarms.parse("1 per 90 days", windows)


def test_a_family_of_equal_chances_is_as_wrong_as_it_says():
    each = np.random.default_rng(0).random((4000, 20))
    wrong = np.mean([corrected(row).min() <= 0.05 for row in each])
    assert 0.035 < wrong < 0.06


def test_correction_keeps_the_order_and_never_lessens_a_chance():
    each = np.array([0.5, 0.001, 0.01, 0.001])
    found = corrected(each)
    assert (found >= each).all()
    assert list(found) == pytest.approx([0.5, 0.004, 0.02, 0.004])
