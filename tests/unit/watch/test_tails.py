"""Tails followed number by number: chances that hold, and incidents that do not hide the next."""

import math

import numpy as np
import pytest

from casemate.watch.tails import Tail


@pytest.mark.parametrize("kind", ["normal", "exponential", "lognormal"])
def test_surprises_are_about_as_frequent_as_their_chance_says(kind):
    draw = np.random.default_rng(0)
    tail = Tail()
    found = np.array([tail(one) for one in getattr(draw, kind)(size=40_000).tolist()])[1000:]
    for chance in (0.03, 0.01, 0.003):
        assert 0.2 * chance < np.mean(found > -math.log(chance)) < 2 * chance


def test_an_incident_hides_the_next_one_no_more_than_by_a_half():
    draw = np.random.default_rng(0)
    values = draw.exponential(size=3000).tolist()
    calm, shaken = Tail(), Tail()
    for at, value in enumerate(values):
        calm(value)
        shaken(1e6 if 2000 <= at < 2030 else value)
    assert shaken(20.0) > 0.5 * calm(20.0)


@pytest.mark.parametrize("surprise", [3.0, 6.0, 9.0])
def test_the_number_that_reaches_a_surprise_has_that_surprise(surprise):
    draw = np.random.default_rng(0)
    tail = Tail()
    for value in draw.normal(size=2000).tolist():
        tail(value)
    assert tail(tail.reach(surprise)) == pytest.approx(surprise)


def test_a_first_other_value_after_a_constant_is_one_in_so_many():
    tail = Tail()
    assert {tail(1.0) for _ in range(500)} == {0.0}
    assert tail(2.0) == pytest.approx(math.log(501))
