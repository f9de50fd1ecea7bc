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
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, expit, logit, logsumexp
from scipy.stats import beta, chi2, norm, poisson
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from casemate.core.threads import fitting
from casemate.stages.data.screen.interface import Array, ScreenedRows

# Where a limit names no source it was chosen on the generator of bench/assurance/triggers.py. What
# all of them together find, and how often
# they are wrong on seeds that they were not chosen with, is on the page of simulations
# (docs/explanation/assurance.md, Triggers; ADR 0036).
ROWS = 8_000
"""Rows of the rest that the models learn from; half of them each."""
COMPARED = 1_000
"""Rows of the rest that a group is compared with."""
WIDE = 60
"""Features from which trees that try few of them are quicker than boosting, and as good."""
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
ODD, ODD_ROWS = 0.5, 2.2
"""Largest difference between two distribution functions from which a feature is odd; and over the
root of the rows, the Kolmogorov-Smirnov limit at about 1e-4.
"""
ODD_SHARE = 0.1
"""Share of odd features, and one more, from which the rows are a kind of their own rather than
stamped.
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
LOOSE = 0.1
"""Relative error of the number of rows that belong in a place where it is a product of large
counts.
"""
DEVIATIONS = np.linspace(-2, 2, 9)
"""Deviations at which the uncertain number of rows that belong in a place is tried, weighted by the
normal law; beyond 2 lies one in twenty.
"""
RATES = np.linspace(0.05, 0.95, 10)
"""Rates that an honest group may have, all as likely."""
LEAST_P = 1e-3
"""Probabilities are kept this far from 0 and 1: one row that a model is too sure of must not decide
a likelihood ratio. Chosen.
"""


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
        sure = self.weighed or self.p < SURE
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


class Rest:
    """Two models of the rows outside of all suspicious groups, each of which has seen half of them.

    Args:
        rows: the whole table.
        outside: bool, one a row: rows that are in no suspicious group.
    """

    def __init__(self, rows: ScreenedRows, outside: Array) -> None:
        self.rows = rows
        self.values = (
            np.nan_to_num(rows.coded.to_numpy(), nan=-1e6)
            if rows.coded.shape[1] > WIDE
            else rows.coded.to_numpy()
        )
        self._random = np.random.default_rng(rows.seed)
        at = np.flatnonzero(outside)
        if len(at) > ROWS:
            at = np.sort(self._random.choice(at, ROWS, replace=False))
        at = at[np.argsort(rows.codes[at], kind="stable")]  # halves have the same classes
        self.halves = [at[0::2], at[1::2]]
        self.able = all(len(np.unique(rows.codes[half])) > 1 for half in self.halves)
        self.models = [self._fit(half) for half in self.halves] if self.able else []
        self.compared = [
            half[np.sort(self._random.permutation(len(half))[: COMPARED // 2])]
            for half in self.halves
        ]
        self.outside = outside

    def _fit(self, at: Array) -> ExtraTreesClassifier | HistGradientBoostingClassifier:
        if self.values.shape[1] > WIDE:
            model = ExtraTreesClassifier(50, min_samples_leaf=2, random_state=self.rows.seed)
        else:
            model = HistGradientBoostingClassifier(
                max_iter=40, max_leaf_nodes=15, random_state=self.rows.seed
            )
        with fitting(len(at) * self.values.shape[1]):
            return model.fit(self.values[at], self.rows.codes[at])

    @cached_property
    def seen(self) -> Array:
        """Probabilities [n, classes] of the compared rows by the model that did not see them."""
        return np.concatenate(
            [self._ask(self.values[at], [1 - place]) for place, at in enumerate(self.compared)]
        )

    def _ask(self, values: Array, models: list[int]) -> Array:
        """Mean probabilities of the classes by the models with these numbers, [n, classes]."""
        found = np.zeros((len(values), len(self.rows.schema.classes)))
        with fitting(values.size):
            for place in models:
                found[:, self.models[place].classes_] += self.models[place].predict_proba(
                    values
                ) / len(models)
        return found

    def excess(
        self,
        group: Array,
        label: int,
        features: list[int],
        natural: float | None,
        stamped: list[int] | None = None,
        denser: Array | None = None,
    ) -> Excess | None:
        """What the rest says about a group; None when the rest lacks a second class.

        Args:
            group: bool, one a row.
            label: the class whose frequency is suspicious.
            features: places of the suspicious features.
            natural: rows that belong in this place, or None where nothing says so.
            stamped: places of features in which the rows may be odd; None: the suspicious ones.
            denser: of a band, how much denser what was added lies at each row of the group than
                what belongs there; 0: not at all.
        """
        if not self.able:
            return None
        rows, inside = self.rows, np.flatnonzero(group)
        has = rows.codes[inside] == label
        source = self._random.choice(self.halves[0], len(inside))
        shown, hidden = self.values[inside], self.values[inside].copy()
        hidden[:, features] = self.values[source][:, features]
        asked = self._ask(np.vstack([shown, hidden]), [0, 1])
        expected, without = asked[: len(inside)], asked[len(inside) :]
        rest, away, there = self._population(features, inside, label)
        belong = 0.0 if natural is None else natural * (1 - float(there.mean()))
        foreign, telling = self._foreign(
            without[has, label], away, rest == label, belong, natural or 0.0
        )
        others = np.delete(without, label, axis=1)
        compared = (away, rest == label)
        against = 0.0, 0.0
        if natural is not None and belong >= WEIGHED and crowded(len(inside), natural):
            against = self._against(
                label, (expected[:, label], without[:, label]), compared, has, natural, denser
            )
        count, hits = len(inside), int(has.sum())
        odd, most = self._odd(inside[has], features if stamped is None else stamped, label)
        if not features:  # what is apart as a whole is odd in the features that were stamped too
            most = self.values.shape[1] // 2
        return Excess(
            label=label,
            rows=count,
            others=count - hits,
            expected=float(expected[:, label].mean()),
            without=float(without[:, label].mean()),
            usual=float(np.mean(rows.codes[~group] == label)),
            elsewhere=float((others.max(axis=1) / np.maximum(others.sum(axis=1), 1e-9)).mean()),
            p=_chance(hits, expected[:, label]),
            natural=natural or 0.0,
            belong=belong,
            foreign=foreign,
            telling=telling,
            odd=odd,
            most_odd=most,
            named=natural is None,
            honest=against[0],
            chance=against[1],
            banded=denser is not None,
        )

    def _against(
        self,
        label: int,
        asked: tuple[Array, Array],
        compared: tuple[Array, Array],
        has: Array,
        natural: float,
        denser: Array | None,
    ) -> tuple[float, float]:
        """Logarithms of how much likelier the rows are if planted: than an honest group with its
        own rate, than what the rest explains.

        Of every row the likelihood of its class and other features over that of the features in the
        population, which cancels.
        """
        away, of_class = compared
        shown, hidden = (
            _calibrated(self.seen[:, label], of_class, asked[0]),
            _calibrated(away, of_class, asked[1]),
        )
        own = np.where(has, shown, 1 - shown)
        taken = has * (1 - hidden) / (1 - float(np.mean(of_class)))
        # a band's flanks are two Poisson counts
        error = LOOSE if denser is None else max(LOOSE, float(np.sqrt(0.5 / natural)))
        parts = np.minimum(natural / len(has) * np.exp(error * DEVIATIONS), 1.0)[:, None]
        belong = parts / (parts + (1 - parts) * (1.0 if denser is None else denser))
        near = np.ones(len(has), dtype=bool) if denser is None else denser > 0
        each = np.log(np.maximum(belong * own + (1 - belong) * taken, np.finfo(float).tiny))[
            :, near
        ].sum(axis=1)
        planted = float(logsumexp(each, b=norm.pdf(DEVIATIONS) / norm.pdf(DEVIATIONS).sum()))
        return planted - _of_its_own(shown[near], has[near]), planted - float(
            np.log(own[near]).sum()
        )

    def _population(
        self, features: list[int], inside: Array, label: int
    ) -> tuple[Array, Array, Array]:
        """(classes of the compared rows, their probability of the class without the features, and
        if they stood in the group's place).
        """
        classes, away, there = [], [], []
        for place, at in enumerate(self.compared):
            hidden, moved = self.values[at].copy(), self.values[at].copy()
            hidden[:, features] = self.values[self._random.choice(self.halves[0], len(at))][
                :, features
            ]
            moved[:, features] = self.values[self._random.choice(inside, len(at))][:, features]
            asked = self._ask(np.vstack([hidden, moved]), [1 - place])[:, label]
            classes.append(self.rows.codes[at])
            away.append(asked[: len(at)])
            there.append(asked[len(at) :])
        return np.concatenate(classes), np.concatenate(away), np.concatenate(there)

    @staticmethod
    def _foreign(
        mine: Array, away: Array, has: Array, belong: float, natural: float
    ) -> tuple[float, float]:
        """(0 like rows of other classes ... 1 like the population, standard errors between the two)
        of rows with the class.
        """
        if not len(mine) or has.all() or not has.any():
            return 0.0, 0.0
        at_home = min((natural - belong) / len(mine), 1.0)  # of these the class is their own
        taken = (1 - at_home) * away[~has].mean() + at_home * away[has].mean()
        error = max(float(away.std()), 1e-9) / np.sqrt(len(mine))
        between = (1 - at_home) * float(away.mean() - away[~has].mean())
        if between <= 0:
            return 0.0, 0.0
        return float((mine.mean() - taken) / between), float(between / error)

    def _odd(self, mine: Array, features: list[int], label: int) -> tuple[int, int]:
        """(features in which rows are unlike all rows of other classes, how many may be)."""
        at = np.concatenate(self.compared)
        others = self.values[at[self.rows.codes[at] != label]]
        left = [place for place in range(self.values.shape[1]) if place not in set(features)]
        if not len(mine) or not len(others):
            return 0, 1
        limit = max(ODD, ODD_ROWS / np.sqrt(len(mine)))
        return sum(
            apart(self.values[mine, place], others[:, place]) >= limit for place in left
        ), 1 + int(ODD_SHARE * len(left))


def crowded(rows: int, natural: float) -> bool:
    """Whether more rows are in a place than belong there."""
    return bool(rows - natural >= EXTRA * np.sqrt(natural + 1))


def _of_its_own(shown: Array, has: Array) -> float:
    """Log-likelihood of classes with a rate of their own, any being as likely: they follow nothing,
    or what the other rows do, shifted.
    """
    hits = int(has.sum())
    follows = logsumexp([_following(shown, has, rate) for rate in RATES]) - np.log(len(RATES))
    return float(logsumexp([betaln(hits + 1, len(has) - hits + 1), follows]) - np.log(2))


def _following(shown: Array, has: Array, rate: float) -> float:
    base = logit(shown)
    shift = brentq(lambda by: float(np.mean(expit(base + by))) - rate, -40, 40)
    return float(
        np.log(np.maximum(expit(np.where(has, 1, -1) * (base + shift)), np.finfo(float).tiny)).sum()
    )


def _calibrated(seen: Array, of_class: Array, asked: Array) -> Array:
    """Probabilities as rows that a model did not see have them (Platt, 1999): boosted trees are too
    sure. Of one class only: its rate.
    """
    if len(np.unique(of_class)) < 2:
        return np.full(len(asked), (of_class.sum() + 0.5) / (len(of_class) + 1))
    model = LogisticRegression(C=1e6).fit(_logits(seen)[:, None], of_class)
    return np.asarray(
        np.clip(model.predict_proba(_logits(asked)[:, None])[:, 1], LEAST_P, 1 - LEAST_P)
    )


def _logits(probabilities: Array) -> Array:
    return np.asarray(logit(np.clip(probabilities, LEAST_P, 1 - LEAST_P)))


def _chance(hits: int, expected: Array) -> float:
    """Chance of at least so many rows with a class, each of which has it with its own
    probability.
    """
    sure = np.clip(expected, 0.01, 0.99)  # models are a little too sure
    return float(norm.sf((hits - 0.5 - sure.sum()) / np.sqrt(np.sum(sure * (1 - sure)))))


def apart(here: Array, there: Array) -> float:
    """Kolmogorov-Smirnov distance between two samples, missing values first."""
    here, there = (np.sort(np.nan_to_num(side, nan=-np.inf)) for side in (here, there))
    every = np.concatenate([here, there])
    below = [np.searchsorted(side, every, side="right") / len(side) for side in (here, there)]
    return float(np.abs(below[0] - below[1]).max())
