"""The rows outside of all suspicious groups, and what they make expect of a group."""

from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, expit, logit, logsumexp
from scipy.stats import norm
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from casemate.core.threads import fitting
from casemate.stages.data.screen.excess import WEIGHED, Excess, crowded
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
ODD, ODD_ROWS = 0.5, 2.2
"""Largest difference between two distribution functions from which a feature is odd; and over the
root of the rows, the Kolmogorov-Smirnov limit at about 1e-4.
"""
ODD_SHARE = 0.1
"""Share of odd features, and one more, from which the rows are a kind of their own rather than
stamped.
"""
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
