"""Points as they come: late, twice, with gaps, after a clock that leapt, from counters that start
again.
"""

from math import isfinite

import msgspec

GAPS = 20
"""Distances in time from which the usual one is told: their median stands ten gaps."""
MISSING = 1.5
"""Of the usual distance, from which a point is missing: jitter stays below."""
LONG = 10.0
"""Usual distances without a point after which the next is compared with no neighbour."""
SET_BACK = 5
"""Points in order among themselves, all before the last one, until the clock is taken to have been
set: fewer are what a queue delivers late."""
MOST_TIME = 253_402_300_800.0
"""Seconds, the year 10000: nothing that prints dates goes further."""
COUNTER = 100
"""Points that never fell until a series is taken for a counter,"""
GROWN = 10
"""of which so many grew: a constant is none."""
RESET = 0.5
"""Of the last value: a counter that falls further started again, any other fall shows a gauge."""


class Order(msgspec.Struct):
    """What is known about the times of a series."""

    last: float | None = None
    behind: float = 0.0
    run: int = 0
    """Late points in a row."""
    gaps: list[float] = msgspec.field(default_factory=list)
    usual: float = 0.0
    """Seconds between points; 0 while unknown."""

    def place(self, time: float) -> tuple[str, float]:
        """(`next`, `gap`, `set`, `late`, `twice` or `no time`; seconds since the last point)."""
        if not (isfinite(time) and abs(time) < MOST_TIME):
            return "no time", 0.0
        if self.last is None:
            self.last = time
            return "next", 0.0
        since = time - self.last
        if since > 0:
            self.last, self.run = time, 0
            if len(self.gaps) < GAPS:
                self.gaps.append(since)
                self.usual = sorted(self.gaps)[len(self.gaps) // 2]
            return ("gap" if since > MISSING * self.usual else "next"), since
        if since == 0:
            return "twice", 0.0
        self.run = self.run + 1 if self.run and time > self.behind else 1
        self.behind = time
        if self.run < SET_BACK:
            return "late", since
        self.last, self.run = time, 0
        return "set", 0.0


class Counter(msgspec.Struct):
    """Whether a series counts up, and what it counted between two points."""

    is_counter: bool | None = None
    """None: not known yet."""
    last: float | None = None
    seen: int = 0
    grown: int = 0

    def step(self, value: float, since: float) -> tuple[str, float]:
        """(`value`, `rate`, `first`, `reset`, `is counter` or `no counter`; the number to judge).

        `is counter` and `no counter` say that what was learnt before is of another kind of number.

        Args:
            value: as it came.
            since: seconds since the last point.
        """
        last, self.last = self.last, value
        if last is None:
            return ("first" if self.is_counter else "value"), value
        if self.is_counter:
            if value >= last:
                return "rate", (value - last) / max(since, 1e-9)
            if value <= RESET * last:
                return "reset", 0.0
            self.is_counter = False
            return "no counter", value
        if self.is_counter is None:
            self.seen += 1
            self.grown += value > last
            if value < last:
                self.is_counter = False
            elif self.seen >= COUNTER:
                self.is_counter = self.grown >= GROWN
                if self.is_counter:
                    return "is counter", (value - last) / max(since, 1e-9)
        return "value", value
