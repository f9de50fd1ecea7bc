"""A series judged point by point: what is an anomaly, what is not, and input that is poor."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import ConfigError, DataError
from casemate.watch.anomalies import LEARNING, Detector

EVERY = 600.0
PER_DAY = 144


def days(count, seed=0):
    """Ten minutes of a machine that is busy by day."""
    draw = random.Random(seed)
    return [
        40 + 15 * math.sin(2 * math.pi * at / PER_DAY) + draw.gauss(0, 1.5)
        for at in range(count * PER_DAY)
    ]


def judged(values, detector=None, **options):
    detector = Detector(**options) if detector is None else detector
    return [detector.update(EVERY * at, value) for at, value in enumerate(values)]


def alarms(values, **options):
    return [at for at, one in enumerate(judged(values, **options)) if one.anomaly]


STRICT = {"false_alarms": "1 per 90 days"}


def test_a_day_like_the_others_is_no_anomaly():
    assert alarms(days(14), **STRICT) == []


def test_an_incident_is_one_alarm_at_its_first_point():
    values = days(14)
    values[1500:1512] = [95.0] * 12
    assert alarms(values, **STRICT) == [1500]


def test_a_second_incident_is_seen_after_a_great_first_one():
    values = days(14)
    values[1200:1230] = [2000.0] * 30
    values[1700:1712] = [95.0] * 12
    found = alarms(values)
    assert 1200 in found
    assert any(1700 <= at < 1712 for at in found)


def test_what_happens_each_night_is_no_anomaly_after_some_nights():
    values = days(16)
    for day in range(16):
        values[day * PER_DAY + 12] = 130.0
    found = alarms(values, **STRICT)
    assert not [at for at in found if at >= 4 * PER_DAY]


def test_an_incident_that_was_there_once_is_an_anomaly_the_second_time():
    values = days(16)
    for start in (1000, 1600):
        values[start : start + 12] = [95.0] * 12
    found = alarms(values)
    assert any(1000 <= at < 1012 for at in found)
    assert any(1600 <= at < 1612 for at in found)


def test_a_day_that_does_not_come_is_an_anomaly_though_each_value_is_usual():
    draw = random.Random(0)
    values = [
        (80.0 if 60 <= at % PER_DAY < 110 else 20.0) + draw.gauss(0, 1)
        for at in range(14 * PER_DAY)
    ]
    start = 10 * PER_DAY + 60
    values[start : start + 50] = [20.0 + draw.gauss(0, 1) for _ in range(50)]
    found = alarms(values)
    assert any(start <= at < start + 50 for at in found)


def test_a_new_level_is_told_and_then_usual():
    values = days(20)
    values[1440:] = [value + 40 for value in values[1440:]]
    found = alarms(values, **STRICT)
    assert found[0] in range(1440, 1446)
    assert not [at for at in found if at >= 1440 + 2 * PER_DAY]


def test_points_of_an_incident_that_was_told_stay_below_the_mark():
    values = days(14)
    values[1500:1530] = [95.0] * 30
    found = judged(values)
    assert found[1500].score >= 0.5
    assert all(one.score < 0.5 for one in found[1501:1530])


def test_a_series_that_starts_today_alarms_not_before_a_hundred_points():
    draw = random.Random(0)
    values = [draw.paretovariate(0.5) for _ in range(LEARNING)]
    assert not any(one.anomaly for one in judged(values))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_judged_and_not_learnt(value):
    detector = Detector()
    judged(days(3), detector)
    before = detector.state()
    found = detector.update(EVERY * 3 * PER_DAY, value)
    assert (found.anomaly, found.value, found.note) == (False, None, "no number")
    assert detector.state() == before


def test_late_and_second_points_are_not_judged():
    detector = Detector()
    values = days(3)
    judged(values, detector)
    last = EVERY * (len(values) - 1)
    assert detector.update(last, 9e9).note.startswith("a point of this time")
    assert detector.update(last - 5 * EVERY, 9e9).note.startswith("late")
    assert not detector.update(last + EVERY, values[0]).anomaly


@pytest.mark.parametrize("time", [math.nan, math.inf, 1e300])
def test_a_time_that_cannot_be_is_not_judged(time):
    assert Detector().update(time, 1.0).note.startswith("no time")


def test_a_clock_that_was_set_back_is_followed():
    detector = Detector()
    values = days(6)
    judged(values[: 4 * PER_DAY], detector)
    start = EVERY * 2 * PER_DAY
    found = [detector.update(start + EVERY * at, values[at]) for at in range(PER_DAY)]
    assert found[4].note == "the clock was set back"
    assert not any(one.anomaly for one in found)
    assert all(one.low is not None for one in found[4:])


def test_a_clock_that_leapt_ahead_is_no_anomaly():
    detector = Detector()
    values = days(7)
    judged(values[: 4 * PER_DAY], detector)
    ahead = EVERY * 400 * PER_DAY
    found = [detector.update(ahead + EVERY * at, values[at]) for at in range(PER_DAY)]
    assert found[0].note.startswith("missing before")
    assert not any(one.anomaly for one in found)


def test_a_counter_is_judged_by_its_rate_and_may_start_again():
    draw = random.Random(0)
    total, values = 0.0, []
    for at in range(1500):
        total = 0.0 if at == 1200 else total + draw.uniform(90, 110) * (10 if at == 1400 else 1)
        values.append(total)
    found = judged(values)
    assert found[1200].note == "the counter started again"
    assert [at for at, one in enumerate(found) if one.anomaly and at >= 1150] == [1400]


def test_a_constant_that_changes_is_an_anomaly_once():
    assert alarms([5.0] * 1000 + [6.0] * 300 + [5.0] * 300)[:1] == [1000]
    assert alarms([5.0] * 3000) == []


@pytest.mark.parametrize("great", [1e308, -1e308, 5e-324])
def test_numbers_at_the_ends_of_what_a_float_holds_leave_judgements_finite(great):
    values = days(4)
    values[400] = great
    values[401] = -great
    for one in judged(values):
        assert 0 <= one.score <= 1
        assert all(map(math.isfinite, (one.expected or 0, one.low or 0, one.high or 0)))


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats()), min_size=150, max_size=400),
    st.integers(0, 399),
)
def test_a_series_goes_on_from_its_state_as_if_it_had_not_been_stored(values, cut):
    through = Detector()
    first = judged(values, through)
    stored = Detector()
    begun = judged(values[:cut], stored)
    later = Detector(state=stored.state())
    rest = [later.update(EVERY * at, values[at]) for at in range(cut, len(values))]
    assert [*begun, *rest] == first
    assert later.state() == through.state()


@pytest.mark.slow
def test_memory_does_not_grow():
    detector = Detector()
    judged(days(30), detector)
    early = len(detector.state())
    for at, value in enumerate(days(60, seed=1), 30 * PER_DAY):
        detector.update(EVERY * at, value)
    assert len(detector.state()) < early + 200 < 25_000


@pytest.mark.parametrize("words", ["", "never", "1 per 0 points", "1 per 90"])
def test_words_that_are_no_budget_of_points_are_refused(words):
    with pytest.raises(ConfigError, match="no budget"):
        Detector(false_alarms=words)


@pytest.mark.parametrize("quiet", [-1.0, math.nan, math.inf])
def test_a_quiet_time_that_cannot_be_is_refused(quiet):
    with pytest.raises(ConfigError, match="quiet time"):
        Detector(quiet=quiet)


@pytest.mark.parametrize("state", [b"", b"\x00abc", b"\x80\xff"])
def test_a_state_that_no_detector_gave_is_refused(state):
    with pytest.raises(DataError, match="state of this series"):
        Detector(state=state)
