"""Anomalies in a series of numbers, point by point, in constant memory.

A series is looked at in several ways (`VIEWS`): steps, level, season, spread. What each shows is
compared with the tail of what it showed before (`tails`), so no threshold is in the data's unit and
none was fitted to labelled series. An incident is one alarm: until things were calm for the quiet
time, only what is far worse alarms again.
"""

import re
from datetime import UTC, datetime
from math import exp, isfinite, log

import msgspec

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Record
from casemate.watch.budget import FalseAlarms
from casemate.watch.order import GAPS, LONG, Counter, Order
from casemate.watch.seasons import DAY, SLOWEST, Seasons
from casemate.watch.tails import Sides, Trust

VIEWS = {
    "jump": "the step from the last point is unusual",
    "level": "the value is far from the level of the last points",
    "mean": "the mean of the last points is far from that of the last day",
    "value": "the value is outside of what the series had",
    "spread": "the points differ from each other more or less than they used to",
    "season": "the value is unusual for this time of day and day of the week",
    "shift": "the points together are unusual for this time of day and day of the week",
    "width": "the points lie wider or closer than they used to",
}
FALSE_ALARMS = "1 per 500 points"
"""By default: at five minutes one false alarm in two weeks on average, at an hour one in five
months. A number of days would say nothing before the distance of points is known."""
QUIET = DAY
"""Seconds: who is on call looks at least once a day."""
LEARNING = 100
"""Points before the first alarm: tails of fewer are guesses."""
EASE = 0.3
"""By which the greatest surprise of all views may exceed what the budget says: the laws of few
excesses are cautious by more than looking in eight ways costs. Measured on simulated streams
without change, which keep the budget with it: bench/watch/anomalies.py.
"""
WORSE = 1.5
"""Of the greatest surprise of an incident, with which it alarms again before it is over."""
MOST_WORSE = 1.3
"""Of the limit, that an incident's surprise counts at most once it is over and the next one is
compared."""
LASTING = 1.0
"""Of the limit, above which an incident goes on."""
FADING = 2.0
"""Quiet times in which the bar of a next incident falls back, to a third of its height."""
FAST, SLOW = 0.15, 0.01
"""Weights of a newest point in the mean of the last points (an hour of five minutes) and in the
usual step (some hundred points)."""
NEAR, WIDE, RANGE = 0.05, 0.02, 0.1
"""The same for the level, for the width and for the shift and the recent steps."""
LEAST_SPREAD = 1e-3
"""Of the usual step, so that a series which stands still has a logarithm."""
NOT_JUDGED = 0.0


class Judgement(Record, frozen=True, kw_only=True):
    """What one point is."""

    time: float
    """Seconds since 1970, UTC."""
    value: float | None
    """None: no finite number."""
    score: float
    """0 to 1; from 0.5 beyond the budget. Points of an incident that was told stay below."""
    anomaly: bool
    """The first point of an incident: one alarm."""
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    """Between these a point is no anomaly by its own value."""
    note: str = ""
    """What was found, or why the point was not judged."""


class View(msgspec.Struct):
    """One way to look at a series, and what it showed."""

    sides: Sides = msgspec.field(default_factory=Sides)
    trust: Trust = msgspec.field(default_factory=Trust)

    def __call__(self, number: float) -> float:
        """-log of the chance of such a number."""
        return self.trust(self.sides(number))


class Means(msgspec.Struct):
    """Levels of a series, by how fast they follow."""

    last: float
    near: float
    fast: float
    day: float
    wide: float
    width: float = 0.0
    step: float = 0.0
    steps: float = 0.0
    shift: float = 0.0


class Memory(msgspec.Struct):
    """All that a detector keeps of a series: a few kilobytes, however long it is."""

    order: Order = msgspec.field(default_factory=Order)
    counter: Counter = msgspec.field(default_factory=Counter)
    seasons: Seasons = msgspec.field(default_factory=Seasons)
    means: Means | None = None
    views: dict[str, View] = msgspec.field(default_factory=lambda: {name: View() for name in VIEWS})
    seen: int = 0
    alarmed: float | None = None
    """When the newest incident last was as surprising."""
    peak: float = 0.0


class Detector:
    """Judges one series.

    >>> detector = Detector()
    >>> for minute in range(600):
    ...     judged = detector.update(60.0 * minute, 20.0 + minute % 7)
    >>> detector.update(36000.0, 90.0).anomaly
    True
    """

    def __init__(
        self,
        *,
        false_alarms: str = FALSE_ALARMS,
        quiet: float = QUIET,
        is_counter: bool | None = None,
        state: bytes | None = None,
    ) -> None:
        """Begin a series, or go on with one.

        Args:
            false_alarms: `1 per 90 days` or `1 per 500 points`: in 99 of 100 such spans of a series
                that does not change there are no more.
            quiet: seconds without anything unusual until an incident is over.
            is_counter: whether the value counts up and is to be judged by its rate; None: found
                out.
            state: what `state()` gave.

        Raises:
            ConfigError: words that are no budget, or a quiet time below 0.
            DataError: a state that no detector gave.
        """
        if not 0 <= quiet < 1e9:
            raise ConfigError(
                f"a quiet time of {quiet:g} seconds cannot be", hint="give one from 0, such as 6h"
            )
        self.budget, self.quiet = _Budget(false_alarms), quiet
        if state is None:
            self.memory = Memory(counter=Counter(is_counter=is_counter))
        else:
            self.memory = _decoded(state)
        self.limit = self.budget.limit(self.memory.order.usual)

    def state(self) -> bytes:
        """All that is remembered of the series, for a store: some kilobytes of MessagePack."""
        return msgspec.msgpack.encode(self.memory)

    def update(self, time: float | datetime, value: float | None) -> Judgement:
        """Judge the next point, then learn it.

        Args:
            time: seconds since 1970, or a date; without a zone it is UTC.
            value: None, NaN and infinite ones are missing.
        """
        if isinstance(time, datetime):
            time = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        memory = self.memory
        number = None if value is None or not isfinite(value) else float(value)
        if number is None:
            return _unjudged(time, None, "no number")
        place, since = memory.order.place(time)
        if place in NOTES:
            return _unjudged(time, number, NOTES[place])
        if memory.seen <= GAPS:
            self.limit = self.budget.limit(memory.order.usual)
        if place == "set":
            memory.alarmed = None
        kind, judged = memory.counter.step(number, since)
        if kind in ("first", "reset"):
            return _unjudged(time, number, RESETS[kind])
        if kind in ("is counter", "no counter"):
            memory.views = {name: View() for name in VIEWS}
            memory.seasons, memory.means, memory.seen = Seasons(), None, 0
        return self._judged(time, number, judged, place, since)

    def _judged(
        self, time: float, value: float, number: float, place: str, since: float
    ) -> Judgement:
        memory = self.memory
        memory.seen += 1
        usual = memory.order.usual
        note = ""
        if place == "gap":
            note = f"missing before: {since / usual - 1:.0f}"
        elif place == "set":
            note = "the clock was set back"
        if memory.means is None:
            memory.means = Means(last=number, near=number, fast=number, day=number, wide=number)
            return Judgement(time=time, value=value, score=0.0, anomaly=False, note=note)
        if place == "set" or since > LONG * usual:
            memory.means.last = number  # there is no neighbour to compare it with
        surprise, name, expected = self._looked_at(memory.means, time, number)
        is_alarm = self._is_alarm(time, surprise)
        score = 1 - 0.5 ** (max(surprise, 0.0) / self.limit)
        low, high = self._interval(number, expected)
        if is_alarm:
            note = VIEWS[name] + (f"; {note}" if note else "")
        elif score >= 0.5:
            score = 0.49  # told already, or still learning
        return Judgement(
            time=time,
            value=value,
            score=score,
            anomaly=is_alarm,
            expected=expected,
            low=low,
            high=high,
            note=note,
        )

    def _looked_at(self, means: Means, time: float, number: float) -> tuple[float, str, float]:
        """(the greatest surprise, whose it is, what was expected); then learns."""
        memory = self.memory
        views, seen = memory.views, memory.seen
        per_day = DAY / max(memory.order.usual, 1.0)
        early = 1 / seen
        step = number - means.last
        size = abs(step)
        shown = {"jump": step, "level": number - means.near, "value": number}
        expected = means.near
        means.near += max(NEAR, early) * shown["level"]
        means.fast += max(FAST, early) * (number - means.fast)
        shown["mean"] = means.fast - means.day
        means.day += max(1 / per_day, early, SLOWEST) * (number - means.day)
        means.wide += max(WIDE, early) * (number - means.wide)
        shown["width"] = means.width
        means.width += max(WIDE, early) * (abs(number - means.wide) - means.width)
        means.step += max(RANGE, early) * (size - means.step)
        means.steps += max(SLOW, early) * (size - means.steps)
        if means.steps > 0:
            shown["spread"] = log(means.step / means.steps + LEAST_SPREAD)
        usual = memory.seasons.expected(time, number, per_day)
        if usual is not None:
            expected = usual
            shown["season"] = number - usual
            means.shift += RANGE * (shown["season"] - means.shift)
            shown["shift"] = means.shift
        means.last = number
        surprise, name = max((views[name](one), name) for name, one in shown.items())
        return surprise, name, expected

    def _is_alarm(self, time: float, surprise: float) -> bool:
        memory, limit = self.memory, self.limit
        is_quiet = False
        bar = limit
        if memory.alarmed is not None:
            since = time - memory.alarmed
            is_quiet = since < self.quiet
            if is_quiet:
                bar = max(WORSE * memory.peak, limit)
            else:
                past = since / self.quiet - 1 if self.quiet else 1e9
                bar += (min(memory.peak, MOST_WORSE * limit) - limit) * exp(-past / FADING)
        if surprise > bar and memory.seen > LEARNING:
            memory.alarmed = time
            memory.peak = surprise
            return True
        if is_quiet and surprise > LASTING * limit:
            memory.alarmed = time
            memory.peak = max(memory.peak, surprise)
        return False

    def _interval(self, number: float, expected: float) -> tuple[float | None, float | None]:
        view = self.memory.views["season"]
        if view.sides.upper.seen <= LEARNING:
            view = self.memory.views["level"]
        upper = view.sides.upper.reach(self.limit)
        lower = view.sides.lower.reach(self.limit)
        if upper is None or lower is None:
            return None, None
        return expected - lower, expected + upper


NOTES = {
    "late": "late: a later point was there already",
    "twice": "a point of this time was there already",
    "no time": "no time between the years 1 and 9999",
}
RESETS = {"first": "a counter's first value", "reset": "the counter started again"}


class _Budget:
    """False alarms per days or per points, as a limit on the surprise."""

    def __init__(self, text: str) -> None:
        found = re.fullmatch(r"\s*(\d{1,6})\s+per\s+(\d{1,9})\s+points?\s*", text)
        self.text, self.points = text, None
        if found is not None:
            if int(found[2]) == 0:
                raise ConfigError(
                    f"{text!r} is no budget of false alarms", hint=f'write it as "{FALSE_ALARMS}"'
                )
            self.points = FalseAlarms(count=int(found[1]), days=float(found[2]), windows_per_day=1)
        else:
            FalseAlarms.parse(text, 1.0)

    def limit(self, usual: float) -> float:
        """Of the surprise, for points so many seconds apart."""
        budget = self.points
        if budget is None:
            per_day = min(DAY / usual if usual else 1.0, DAY)
            budget = FalseAlarms.parse(self.text, max(per_day, 1e-3))
        return max(-log(budget.chance) - EASE, 1.0)


def _unjudged(time: float, value: float | None, note: str) -> Judgement:
    return Judgement(time=time, value=value, score=NOT_JUDGED, anomaly=False, note=note)


def _decoded(state: bytes) -> Memory:
    try:
        memory = msgspec.msgpack.decode(state, type=Memory)
    except msgspec.DecodeError as error:
        raise DataError(
            f"the state of this series cannot be read: {error}", hint="begin the series anew"
        ) from error
    if set(memory.views) != set(VIEWS):
        raise DataError(
            "the state of this series is of another version", hint="begin the series anew"
        )
    return memory
