"""Anomalies in a series of numbers, point by point, in constant memory.

A series is looked at in several ways (`NOVELTIES`, `VIEWS`). Two compare the course of the last
points with every course that was there on two occasions (`patterns`), so what happens again and
again is no anomaly; the others see what courses do not. What each shows is compared with the tail
of what it showed before (`tails`), so no threshold is in the data's unit or of one series; the ways
to look were chosen on NAB's series and on simulated ones. An incident is one alarm: until things
were calm for the quiet time, only what is far worse alarms again.
"""

import re
from datetime import UTC, datetime
from math import inf, isfinite, log

import msgspec

from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Record
from casemate.watch.budget import FalseAlarms
from casemate.watch.order import GAPS, LONG, Counter, Order
from casemate.watch.patterns import Patterns, from_bytes, to_bytes
from casemate.watch.seasons import DAY, Seasons
from casemate.watch.tails import Sides, Tail, Trust

NOVELTIES = {
    "course": "the course of the last points is like none before",
    "unlike": "the last points differ from what is usual at their times like none before",
}
VIEWS = {
    "width": "the points lie wider or closer than they used to",
    "shift": "the points together are unusual for this time of day and day of the week",
}
PRICES = dict.fromkeys(NOVELTIES, 0.0) | dict.fromkeys(VIEWS, 3.0)
"""What is taken from a view's surprise: the budget is shared out, and most of it goes to courses,
which find the most; exp(-3) is a twentieth."""
UNLIKE_AFTER = 2.0
"""Days of errors until they are judged: a course of them is usual on its second occasion."""
UNSEEN = 0.5
"""Of a surprise, what is not believed beyond the greatest that so many points can show: there a
tail is a guess."""
FALSE_ALARMS = "1 per 75 points"
"""By default: by chance one in five hundred points on average, at five minutes one in two days, at
an hour one in three weeks, and fewer as measured. It was chosen with NAB's scores at other budgets
in view (bench/watch/anomalies.py prints those of two). A number of days would say nothing before
the distance of points is known."""
QUIET = 6 * 3600.0
"""Seconds: the next shift is told anew."""
LEARNING = 100
"""Points before the first alarm: tails of fewer are guesses."""
WORSE = 2.0
"""Of the greatest surprise of an incident, with which it alarms again before it is over."""
NEAR, WIDE, RANGE = 0.05, 0.02, 0.1
"""Weights of a newest point in the level (two hours of five minutes), in the width and in the
shift."""
FAR = 3.0
"""Times what the budget allows, that the season learns of an error at most: an incident would else
make the same time of the next days unusual."""
MOST = 1e100
"""Numbers beyond are taken for it: squares of differences must be finite."""
NOT_JUDGED = 0.0
"""Score of a value that nothing was expected for: it raises no alarm."""


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
    """Between these the value by itself is nothing that the budget calls rare."""
    note: str = ""
    """What was found, or why the point was not judged."""


class View(msgspec.Struct):
    """One way to look at a series, and what it showed."""

    sides: Sides = msgspec.field(default_factory=Sides)
    trust: Trust = msgspec.field(default_factory=Trust)

    def __call__(self, number: float) -> float:
        """-log of the chance of such a number."""
        return self.trust(self.sides(number))


class Novelty(msgspec.Struct):
    """How new a course is, and how new they were."""

    patterns: Patterns = msgspec.field(default_factory=Patterns)
    tail: Tail = msgspec.field(default_factory=Tail)

    def __call__(self, number: float) -> float:
        """-log of the chance of a course as new as the one that ends here."""
        return self.tail(self.patterns(number))


class Means(msgspec.Struct):
    """Levels of a series."""

    near: float
    wide: float
    width: float = 0.0
    shift: float = 0.0


class Learnt(msgspec.Struct):
    """What was learnt of one kind of number."""

    seasons: Seasons = msgspec.field(default_factory=Seasons)
    means: Means | None = None
    novelties: dict[str, Novelty] = msgspec.field(
        default_factory=lambda: {name: Novelty() for name in NOVELTIES}
    )
    views: dict[str, View] = msgspec.field(default_factory=lambda: {name: View() for name in VIEWS})
    errors: dict[str, Sides] = msgspec.field(
        default_factory=lambda: {"level": Sides(), "season": Sides()}
    )
    """Of what was expected: by the level of the last points, by the season once it is known."""
    seen: int = 0


class Memory(msgspec.Struct):
    """All that a detector keeps of a series: some kilobytes, however long it is."""

    order: Order = msgspec.field(default_factory=Order)
    counter: Counter = msgspec.field(default_factory=Counter)
    learnt: Learnt = msgspec.field(default_factory=Learnt)
    alarmed: float | None = None
    """When the newest incident last was beyond the budget."""
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
        return msgspec.msgpack.encode(self.memory, enc_hook=to_bytes)

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
        if memory.learnt.seen <= GAPS:
            self.limit = self.budget.limit(memory.order.usual)
        if place == "set":
            memory.alarmed = None
        kind, judged = memory.counter.step(number, since)
        if kind in ("first", "reset"):
            return _unjudged(time, number, RESETS[kind])
        if kind in ("is counter", "no counter"):
            memory.learnt = Learnt()
        return self._judged(time, number, min(max(judged, -MOST), MOST), place, since)

    def _judged(
        self, time: float, value: float, number: float, place: str, since: float
    ) -> Judgement:
        learnt, usual = self.memory.learnt, self.memory.order.usual
        learnt.seen += 1
        note = ""
        if place == "gap":
            note = f"missing before: {since / usual - 1:.0f}"
        elif place == "set":
            note = "the clock was set back"
        if place == "set" or since > LONG * usual:
            for one in learnt.novelties.values():
                one.patterns.interrupted()
        surprise, name, expected = self._looked_at(learnt, time, number)
        is_alarm = self._is_alarm(time, surprise)
        score = 1 - 0.5 ** (max(surprise, 0.0) / self.limit)
        low, high = self._interval(expected)
        if is_alarm:
            note = SAID[name] + (f"; {note}" if note else "")
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

    def _looked_at(self, learnt: Learnt, time: float, number: float) -> tuple[float, str, float]:
        """(the greatest surprise, whose it is, what was expected); then learns."""
        means = learnt.means
        if means is None:
            means = learnt.means = Means(near=number, wide=number)
        per_day = DAY / max(self.memory.order.usual, 1.0)
        early = 1 / learnt.seen
        expected = means.near
        shown = {"width": means.width}
        means.wide += max(WIDE, early) * (number - means.wide)
        means.width += max(WIDE, early) * (abs(number - means.wide) - means.width)
        upper, lower = self._reach(learnt.errors["season"])
        usual = learnt.seasons.expected(time, number, per_day, -FAR * lower, FAR * upper)
        found = [(learnt.novelties["course"](number), "course")]
        if usual is None:
            learnt.errors["level"](number - expected)
        else:
            expected = usual
            error = number - expected
            learnt.errors["season"](error)
            means.shift += RANGE * (error - means.shift)
            shown["shift"] = means.shift
            unlike = learnt.novelties["unlike"]
            new = unlike(error)
            if unlike.tail.seen > UNLIKE_AFTER * per_day:
                found.append((new, "unlike"))
        means.near += max(NEAR, early) * (number - means.near)
        found += [(learnt.views[name](one), name) for name, one in shown.items()]
        surprise, name = max((one - PRICES[name], name) for one, name in found)
        shown_by_all = log(learnt.seen + 1)
        surprise -= UNSEEN * max(surprise - shown_by_all, 0.0)
        return surprise, name, expected

    def _is_alarm(self, time: float, surprise: float) -> bool:
        memory, limit = self.memory, self.limit
        if surprise <= limit or memory.learnt.seen <= LEARNING:
            return False
        is_over = memory.alarmed is None or time - memory.alarmed >= self.quiet
        memory.alarmed = time
        if is_over or surprise > WORSE * memory.peak:
            memory.peak = surprise
            return True
        memory.peak = max(memory.peak, surprise)
        return False

    def _reach(self, errors: Sides) -> tuple[float, float]:
        """How far errors above and below go within the budget; infinite while unknown."""
        found = (side.reach(self.limit) for side in (errors.upper, errors.lower))
        upper, lower = (inf if one is None else max(one, 0.0) for one in found)
        return upper, lower

    def _interval(self, expected: float) -> tuple[float | None, float | None]:
        errors = self.memory.learnt.errors
        name = "season" if errors["season"].upper.seen > LEARNING else "level"
        upper, lower = self._reach(errors[name])
        if not isfinite(upper + lower):
            return None, None
        return expected - lower, expected + upper


SAID = NOVELTIES | VIEWS
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
        return max(-log(budget.chance), 1.0)


def _unjudged(time: float, value: float | None, note: str) -> Judgement:
    return Judgement(time=time, value=value, score=NOT_JUDGED, anomaly=False, note=note)


def _decoded(state: bytes) -> Memory:
    try:
        memory = msgspec.msgpack.decode(state, type=Memory, dec_hook=from_bytes)
    except msgspec.DecodeError as error:
        raise DataError(
            f"the state of this series cannot be read: {error}", hint="begin the series anew"
        ) from error
    if set(memory.learnt.views) | set(memory.learnt.novelties) != set(SAID):
        raise DataError(
            "the state of this series is of another version", hint="begin the series anew"
        )
    return memory
