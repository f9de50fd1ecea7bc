"""How unlikely a number is after those that came before it: the tail of what was seen, followed
number by number in constant memory.

The quantile that one number in ten exceeds is followed by stochastic approximation (Robbins and
Monro, 1951), and of the excesses mean and variance, which give a generalised Pareto law (Pickands,
1975) by moments (Hosking and Wallis, 1987). So nothing is taken for Gaussian, and what a series
does every day is no surprise in it.
"""

from math import exp, log

import msgspec

FIRST = 30
"""Numbers that are only collected: below, a tenth is fewer than three."""
OFTEN = 0.1
"""Share above a threshold; a tenth leaves thirty excesses after 300 numbers."""
NOTHING = 0.0
"""What is said of a number that is not above the threshold."""
MEMORY = 400.0
"""Excesses of which mean and variance are kept: of about the last 4000 numbers."""
BOUND = 4.0
"""Mean excesses that one number counts at most, so that an incident does not make the next one
normal: an exponential law's mean is two hundredths less by it."""
LASTING = 0.2
"""Weight of such a number after some in a row, beside the first one's 1: an incident of an hour is
one thing that happened, not twelve; a scale that is another from now on is learnt slower."""
SHAPE, SHAPE_WEIGHT = 0.3, 10.0
"""Shape that is taken for granted with the weight of so many excesses: that of latencies and of
traffic (0.3 to 0.4), as a lighter tail only makes it too careful; an exponential one has 0."""
UNSURE = 0.5
"""What few excesses add to the shape, over their number: a small sample's predictive law has a
heavier tail than the law that fits it best."""
HEAVIEST = 0.6
"""The law of moments says nothing beyond 0.5."""
TRUSTED = 12.0
"""What one surprise counts at most beyond the usual ones."""


class Excesses(msgspec.Struct):
    """Mean and variance of what lies above a threshold."""

    count: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    run: int = 0
    """Numbers in a row that were bounded."""

    def law(self) -> tuple[float, float]:
        """(shape, scale) of the generalised Pareto law."""
        mean, count = self.mean, self.count
        shape = 0.5 * (1 - mean * mean / self.spread) if self.spread > 0 else 0.0
        shape = max(shape, 0.0)
        shape = (shape * count + SHAPE * SHAPE_WEIGHT) / (count + SHAPE_WEIGHT)
        shape = min(shape + UNSURE / (count + 2), HEAVIEST)
        return shape, mean * (1 - shape if shape < 0.5 else 0.5)

    def surprise(self, excess: float) -> float:
        """-log of the chance that an excess is as large."""
        shape, scale = self.law()
        return log(1 + shape * excess / scale) / shape

    def reach(self, surprise: float) -> float:
        """The excess that is so surprising."""
        shape, scale = self.law()
        return scale * (exp(shape * surprise) - 1) / shape

    def learn(self, excess: float) -> None:
        """Take in one more."""
        weight = 1 / (self.count + 1)
        if weight < 1 / MEMORY:
            weight = 1 / MEMORY
        else:
            self.count += 1
        bound = self.mean * BOUND
        self.run = self.run + 1 if excess > bound else 0
        if self.run > 1:
            weight *= max(1 / self.run, LASTING)
        excess = min(excess, bound)
        self.mean += weight * (excess - self.mean)
        self.spread += weight * ((excess - self.mean) ** 2 - self.spread)


class Tail(msgspec.Struct):
    """The upper tail of a stream of finite numbers."""

    seen: int = 0
    first: list[float] = msgspec.field(default_factory=list)
    threshold: float = 0.0
    above: Excesses = msgspec.field(default_factory=Excesses)

    def __call__(self, number: float) -> float:
        """-log of the chance of a number as large, in natural units, 0 for nothing unusual; then
        learns it.
        """
        self.seen += 1
        if self.seen <= FIRST:
            self.first.append(number)
            if self.seen == FIRST:
                self._begin()
            return NOTHING
        mean = self.above.mean
        excess = number - self.threshold
        if mean <= 0:  # constant until now: a first other value is one in so many
            if excess > 0:
                self._spread(0.3 * excess, 1.0)
                return log(self.seen)
            return NOTHING
        step = mean * max(1.25 / (0.05 * self.seen + 3), 0.025)
        if excess <= 0:
            self.threshold -= step * OFTEN
            return NOTHING
        self.threshold += step * (1 - OFTEN)
        found = -log(OFTEN) + self.above.surprise(excess)
        self.above.learn(excess)
        return found

    def reach(self, surprise: float) -> float | None:
        """The number that is so surprising; None while too little was seen."""
        if self.above.mean <= 0:
            return None if self.seen <= FIRST else self.threshold
        return self.threshold + self.above.reach(max(surprise + log(OFTEN), 0.0))

    def _begin(self) -> None:
        ordered = sorted(self.first)
        self.first = []
        at = FIRST - FIRST // 10 - 1
        self.threshold = ordered[at]
        mean = sum(ordered[at + 1 :]) / (FIRST // 10) - self.threshold
        # three excesses say little: the body's width stands in
        self._spread(max(mean, 0.4 * (ordered[at] - ordered[FIRST // 2])), 3.0)

    def _spread(self, mean: float, count: float) -> None:
        self.above = Excesses(count=count, mean=mean, spread=1.3 * mean * mean)


class Sides(msgspec.Struct):
    """Both tails."""

    upper: Tail = msgspec.field(default_factory=Tail)
    lower: Tail = msgspec.field(default_factory=Tail)

    def __call__(self, number: float) -> float:
        """The greater surprise of both sides."""
        return max(self.upper(number), self.lower(-number))


class Trust(msgspec.Struct):
    """How much a view's surprise is worth: the tail of the surprises themselves, exponential where
    the view's law holds. It puts right a law that does not fit, whatever the cause.
    """

    seen: int = 0
    threshold: float = 2.3
    mean: float = 1.2
    count: float = 20.0
    """The first guess counts as twenty excesses."""

    def __call__(self, surprise: float) -> float:
        """-log of the chance of a surprise as great; then learns it."""
        self.seen += 1
        step = max(1 / (0.1 * self.seen + 3), 0.02)
        if surprise <= self.threshold:
            self.threshold -= step * OFTEN
            return NOTHING
        beyond = surprise - self.threshold
        # the predictive law of an exponential whose mean was estimated
        found = -log(OFTEN) + self.count * log(1 + beyond / (self.mean * self.count))
        weight = 1 / (self.count + 1)
        if weight < 1 / MEMORY:
            weight = 1 / MEMORY
        else:
            self.count += 1
        self.mean += weight * (min(beyond, TRUSTED) - self.mean)
        self.threshold += step * (1 - OFTEN)
        return found
