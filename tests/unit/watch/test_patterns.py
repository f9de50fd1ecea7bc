"""Courses of points: what is new, what is not, and that their number is bounded."""

import numpy as np
import pytest

from casemate.watch.patterns import (
    APART,
    CENTRES,
    COLUMNS,
    LENGTHS,
    Patterns,
    from_bytes,
    to_bytes,
)


def test_what_came_on_two_occasions_is_nearer_than_what_came_once():
    patterns = Patterns()
    quiet = [0.0] * (2 * APART)
    burst = [10.0] * 5
    seen = []
    for _ in range(3):
        found = [patterns(value) for value in [*quiet, *burst]]
        seen.append(max(found[-len(burst) :]))
    assert seen[0] > 5
    assert seen[1] > 5
    assert seen[2] < 1e-9


def test_a_lasting_course_is_new_until_it_was_learnt():
    patterns = Patterns()
    far = [patterns(value) for value in [0.0] * 100 + [10.0] * 100]
    assert max(far[:100]) == 0
    assert min(far[100:110]) > 5


def test_however_many_courses_there_were_each_is_near_one_of_a_bounded_number():
    draw = np.random.default_rng(0)
    patterns = Patterns()
    values = np.cumsum(draw.normal(size=3000)).tolist()
    for value in values:
        patterns(value)
        assert patterns.count <= CENTRES
    assert patterns.radius > 0
    courses = patterns.centres[: patterns.count, : len(LENGTHS)]
    for at in range(APART, len(values) - APART):
        course = [np.mean(values[at + 1 - length : at + 1]) for length in LENGTHS]
        # each merge may move a centre by the radius of then, which has grown by a quarter each time
        assert np.sqrt(((courses - course) ** 2).sum(axis=1).min()) <= 5 * patterns.radius


def test_centres_are_stored_bit_for_bit_and_other_bytes_are_refused():
    centres = np.random.default_rng(0).normal(size=(CENTRES, COLUMNS))
    assert (from_bytes(np.ndarray, to_bytes(centres)) == centres).all()
    with pytest.raises(ValueError, match="reshape"):
        from_bytes(np.ndarray, bytes(80))
