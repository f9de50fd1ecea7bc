"""Was a group of rows put into the table: the proof behind every backdoor finding.

An honest group (a site, a month, a device) may have another rate of a class than all others, and
the rest of the table will not explain it. What it does not have is what planting leaves behind, and
all of it is asked for here:

- *Unexplained*: a model that never saw the group does not expect its labels, with or without the
  suspicious features.
- *Extra and pure*: there are more rows than belong in this place; those of other classes are as
  many as belong there, and what came in addition has one class, nearly without exception. In an
  honest group every row belongs, and some differ.
- *Foreign*: in all else the rows look like rows of other classes, because that is where they were
  taken from. An honest group looks like the population; an odd kind of row (one attack, one device)
  is odd in many other features too.

Where rows of other classes belong in the place, the last two are asked as one question, row by row,
by likelihood: is this group the rows that belong here and others that were taken from other classes
and given one label, or an honest group with a rate of its own? The rows' labels, other features,
and places within a band tell. Planted is said where that is 10 times likelier (5 times of a band,
of which only the dense middle is asked): were both sorts described exactly, an honest group would
pass 10 in one of 10 tables at most, by simulation about one of 20 does (Markov's inequality for
likelihood ratios: Royall, Statistical Evidence, 1997, section 1.4). What no likelihood can tell
apart is an honest group whose extra rows all have one class and look like rows of the
others: it has the planted group's own distribution.

Sources: Gu, Dolan-Gavitt, Garg, BadNets (2017), for what is planted; Kulldorff, A spatial scan
statistic (1997), for rows beyond what a place expects.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, chi2, poisson

GAIN = 0.15
"""Part of what is missing to certainty that the label's share must lie above its expectation."""
MARGIN = 0.15
"""The same part that a model without the suspicious features may lie above the usual share: beyond
it,
the group's other features explain its labels. Chosen as `GAIN`.
"""
ELSEWHERE = 0.5
"""Of the other classes one must be meant: a strange way to write a 1 looks a little like
everything.
"""
SURE = 1e-6
"""Chance of so many labels of one class, for the patterns that are looked at."""
SURE_WEIGHED = 1e-5
"""The same where likelihoods are compared besides: hundreds of patterns are looked at, and that two
conditions which go together have more rows in common than chance makes is no evidence by itself.
"""
EXTRA = 3.0
"""Deviations of a Poisson count that the rows must lie above their expectation."""
NATURAL = 0.99
"""Quantile of a Poisson count up to which rows of other classes are those that belong there: one
pattern in a hundred has more.
"""
PURE = 0.8
"""Lower 95 % limit of the purity of what came in addition, where the other features cannot tell
where rows were taken from.
"""
IMPURE = 0.02
"""Share of the planted rows that may have kept another class: attackers gain nothing by leaving
some, honest groups have them.
"""
LEAST_PURE = 0.9
"""Lower 95 % limit of purity (Clopper-Pearson) where nothing else tells a new value from an honest
group.
"""
TELLING = 3.0
"""Standard errors between "taken from other classes" and "a part of the population" from which the
two can be told apart.
"""
ALIKE = 1.64
"""Standard errors by which rows must miss the population to be taken from elsewhere: one honest
group in twenty does.
"""
UNLIKE = 2.58
"""Standard errors from rows of other classes from which rows were not taken from them: one planted
group in two hundred is as far.
"""
WEIGHED = 1.0
"""Rows of other classes that must belong in a place for their absence, or presence, to say
something.
"""
HONEST, HONEST_BAND = float(np.log(10)), float(np.log(5))
"""Logarithms of how much likelier planting must be than an honest rate; by simulation about one
honest twin in twenty reaches them, and far fewer other groups.
"""
CHANCE = float(np.log(1e4))
"""The same against a group of which nothing is remarkable: hundreds of patterns are looked at."""


@dataclass(frozen=True)
class Excess:
    """What a group's labels are, and what they should be."""

    label: int
    """The class in question."""
    rows: int
    """Rows in the group."""
    others: int
    """Rows in it that have another class."""
    expected: float
    """Mean probability of that class by models that never saw the group."""
    without: float
    """The same when the suspicious features have other rows' values."""
    usual: float
    """Share of the class among all other rows."""
    elsewhere: float
    """Mean of the greatest probability of any other class, over the probability that is left to
    them.
    """
    p: float
    """Chance of so many, if the models are right."""
    natural: float
    """Rows that belong in this place."""
    belong: float
    """Rows of other classes among those."""
    foreign: float
    """Where the rows stand between rows of other classes (0) and the population (1), by all other
    features.
    """
    telling: float
    """Standard errors between these two."""
    odd: int
    """Other features in which the group is a kind of its own."""
    most_odd: int
    """How many of them an attacker's choice of rows may make."""
    honest: float
    """Logarithm of how much likelier the group is if it was planted than if it has an honest rate
    of its own; 0 if not measured.
    """
    chance: float
    """The same against a group whose labels the other rows explain."""
    banded: bool
    """Whether it is a band, which was sought out."""
    named: bool
    """Whether the group is one value of a category, or what a projection shows: nothing says how
    many rows belong there.
    """

    @property
    def observed(self) -> float:
        """Share of the group with the class."""
        return 1 - self.others / self.rows

    @property
    def unexplained(self) -> bool:
        """Whether the rest of the table cannot account for the labels."""
        gained = self.observed - self.expected >= GAIN * (1 - self.expected)
        sure = self.p < (SURE_WEIGHED if self.weighed else SURE)
        return (
            gained
            and self.without <= self.usual + MARGIN * (1 - self.usual)
            and self.elsewhere >= ELSEWHERE
            and sure
        )

    @property
    def extra(self) -> bool:
        """Whether rows came in addition to those that belong here, and whether they have
        one class.
        """
        if not crowded(self.rows, self.natural):
            return False
        more = self.rows - self.natural
        return (
            self.weighed or self.others <= float(poisson.ppf(NATURAL, self.belong)) + IMPURE * more
        )

    @property
    def weighed(self) -> bool:
        """Whether enough rows of other classes belong there for likelihoods to be compared."""
        return self.belong >= WEIGHED

    @property
    def seen(self) -> bool:
        """Whether the other features show that the rows were taken from elsewhere: nearer to other
        classes, and no sample of the population.
        """
        return self.telling > ALIKE and self.foreign <= min(0.5, 1 - ALIKE / self.telling)

    @property
    def native(self) -> bool:
        """Whether rows with the class look less like other classes than the population does:
        whoever is at home is not planted.

        A likelihood of thousands of rows hangs on small errors of two models (on the UCI census
        table it changes its sign with the seed), and this does not.
        """
        return self.foreign > 1 and self.foreign * self.telling > UNLIKE

    @property
    def _purity(self) -> float:
        """Lower 95 % limit of the class's share in what came in addition: rows of other classes are
        a Poisson count, some of which belong there.
        """
        more = max(self.rows - self.natural, 1.0)
        return 1 - (float(chi2.ppf(0.95, 2 * (self.others + 1))) / 2 - self.belong) / more

    @property
    def taken(self) -> bool:
        """Whether the rows were taken from other classes, as far as the other features can tell."""
        if self.odd > self.most_odd:
            return False
        if self.weighed:
            likelier = (
                self.honest >= (HONEST_BAND if self.banded else HONEST) and self.chance >= CHANCE
            )
            return likelier and not self.native
        if self.seen:
            return True
        if self.telling >= TELLING:
            return not self.named and self.belong < 1 and self.foreign <= 1 + 2 / self.telling
        if not self.named:
            return self.foreign * self.telling <= UNLIKE and self._purity >= PURE
        return float(beta.ppf(0.05, self.rows - self.others, self.others + 1)) >= LEAST_PURE

    @property
    def planted(self) -> bool:
        """Whether the group was put there, as far as figures can tell."""
        return self.unexplained and self.extra and self.taken


def crowded(rows: int, natural: float) -> bool:
    """Whether more rows are in a place than belong there."""
    return bool(rows - natural >= EXTRA * np.sqrt(natural + 1))
