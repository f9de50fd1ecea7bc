"""What is usual at a time of day and on a day of the week, learnt while points come."""

import msgspec

DAY = 86400.0
"""Seconds of a day, in UTC."""
PARTS = 48
"""Of a day: half hours, since what people and machines do starts at full or half hours."""
FORGETTING = 0.3
"""Weight of a newest day: the last week then counts for nine tenths."""
ENOUGH = 1.5
"""Visits of a half hour, in those of one day, before it is trusted: a second day must have come."""
WEEK_ENOUGH = 0.7
"""The same for one of the week: a first week is nearly whole."""
PROVEN_DAYS = 2.0
"""So long the week is compared with the day before it may replace it."""
SLOWEST = 0.002
"""Weight of a newest point in levels, at least: of points a minute or less apart a day would be a
memory of thousands."""


class Profile(msgspec.Struct):
    """Means by the part of a period, and the level of the series above them."""

    means: list[float]
    visits: list[int]
    offset: float = 0.0
    error: float = 0.0

    def learn(self, part: int, value: float, per_part: float) -> None:
        """Take in a point."""
        visits = self.visits[part] + 1
        self.visits[part] = visits
        self.means[part] += max(FORGETTING / per_part, 1 / visits) * (value - self.means[part])

    def expects(self, part: int) -> float:
        """The usual value of a part, at today's level."""
        return self.means[part] + self.offset


def empty(parts: int) -> Profile:
    """A profile that knows nothing."""
    return Profile(means=[0.0] * parts, visits=[0] * parts)


class Seasons(msgspec.Struct):
    """The better of a day's and a week's profile."""

    day: Profile = msgspec.field(default_factory=lambda: empty(PARTS))
    week: Profile = msgspec.field(default_factory=lambda: empty(7 * PARTS))
    compared: int = 0

    def expected(
        self, time: float, value: float, per_day: float, least: float, most: float
    ) -> float | None:
        """What was usual at this time, None while too little is known; then learns the value.

        Args:
            time: seconds since 1970.
            value: the point's.
            per_day: points a day.
            least: error below which a value is learnt as if its error were this.
            most: the same above.
        """
        of_day = int(time % DAY / DAY * PARTS)
        of_week = of_day + PARTS * int(time // DAY % 7)
        per_part = max(per_day / PARTS, 1.0)
        found = None
        if self.day.visits[of_day] >= ENOUGH * per_part:
            pull = max(1 / per_day, SLOWEST)
            found = self.day.expects(of_day)
            error = min(max(value - found, least), most)
            value = found + error
            self.day.offset += pull * error
            if self.week.visits[of_week] >= WEEK_ENOUGH * per_part:
                other = self.week.expects(of_week)
                self.week.offset += pull * (value - other)
                self.compared += 1
                weight = max(0.005, 1 / self.compared)
                self.day.error += weight * (abs(error) - self.day.error)
                self.week.error += weight * (abs(value - other) - self.week.error)
                is_better = self.week.error < self.day.error
                if is_better and self.compared > PROVEN_DAYS * per_day:
                    found = other
        self.day.learn(of_day, value, per_part)
        self.week.learn(of_week, value, per_part)
        return found
