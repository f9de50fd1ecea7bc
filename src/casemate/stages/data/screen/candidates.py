"""Which patterns have a class far more often than the rest of the table makes expect."""

import copy
from typing import Any

import numpy as np
from scipy import sparse
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from casemate.core.threads import fitting
from casemate.stages.data.screen.interface import MOST_KINDS, Array, ScreenedRows
from casemate.stages.data.screen.patterns import LEAST, LEAST_SHARE, Items

# Where a limit names no source it was chosen on the generator of bench/assurance/triggers.py. What
# all of them together find, and how often
# they are wrong on seeds that they were not chosen with, is on the page of simulations
# (docs/explanation/assurance.md, Triggers; ADR 0036).
MOST_SHARE = 0.1
"""Share of the table up to which a pattern is rare: planted rows and those that carry it anyway."""
GAIN = 0.15
"""Part of what is missing to certainty that a label's share must lie above what a linear model
expects: as `excess.GAIN`, which asks again.
"""
LIFT, LIFT_DEVIATIONS = 1.3, 3.0
"""How far a pair's count within a class must lie above independence: times, and deviations of a
Poisson count.
"""
SURE = 8.0
"""-log10 of the chance from which a candidate is tried."""
ROUGH = 4.0
"""The same of ranges before they are made as narrow as their dense part: a noisy trigger lies
across the ends of several.
"""
MOST_SURPRISE = 300.0
"""Beyond it the chance is zero in float64."""
PAIRS = 400
"""Pairs a class that are looked at, the most surprising ones. Chosen for time and memory."""
KEPT = 300
"""Patterns of each size that are ranked further. Chosen for time."""
FIT_ROWS = 4_000
"""Rows that the linear model learns from, a sample; chosen for time."""
Found = tuple[float, tuple[int, ...]]


class Expected:
    """What a linear model expects of a class from all features but some."""

    def __init__(self, rows: ScreenedRows, label: int) -> None:
        every = np.arange(len(rows.codes))
        matrix = rows.scaled(every)
        target = rows.codes == label
        at = rows.sample(FIT_ROWS)
        if len(np.unique(target[at])) < 2:
            at = every
        model = LogisticRegression(C=0.1, max_iter=100)
        with fitting(len(at) * matrix.shape[1]):
            model.fit(matrix[at], target[at])
        matrix *= model.coef_[0]
        owners = self._owners(rows)
        self.terms = np.zeros((len(every), rows.frame.shape[1]))
        for place in np.unique(owners):
            self.terms[:, place] = matrix[:, owners == place].sum(axis=1)
        self.total = self.terms.sum(axis=1) + model.intercept_[0]
        self.means = self.terms.mean(axis=0)

    def turned(self) -> "Expected":
        """The same of the other one of two classes."""
        turned = copy.copy(self)
        turned.terms, turned.total, turned.means = -self.terms, -self.total, -self.means
        return turned

    @staticmethod
    def _owners(rows: ScreenedRows) -> Array:
        """The feature of every column of `ScreenedRows.scaled`."""
        places: list[int] = [list(rows.frame.columns).index(name) for name in rows.numbers]
        for column in rows.schema.categories:
            kinds = rows.frame[column.name].nunique()
            places += [list(rows.frame.columns).index(column.name)] * (
                kinds if kinds <= MOST_KINDS else 0
            )
        return np.array(places or [0])

    def expected(self, at: Array, features: Array) -> float:
        """Mean probability of the class in rows `at` without `features`."""
        logits = self.total[at] - (self.terms[np.ix_(at, features)] - self.means[features]).sum(
            axis=1
        )
        return float(np.mean(1 / (1 + np.exp(-np.clip(logits, -30, 30)))))


def candidates_of(known: Items, label: int, other: Expected) -> list[Found]:
    """(surprise, conditions) of every pattern that is rare and has the class far too often."""
    count, inside, chosen = known.matrix.shape[0], known.codes == label, known.of(label)
    size = chosen.shape[0]
    total, mine = (
        np.asarray(known.matrix.sum(axis=0)).ravel(),
        np.asarray(chosen.sum(axis=0)).ravel(),
    )
    share = size / count
    least = max(LEAST, LEAST_SHARE * count)
    groups: list[tuple[float, tuple[int, ...]]] = []

    def rare(here: Array, together: Array) -> Array:
        more = here > (share + GAIN * (1 - share) / 2) * together
        return np.asarray((here >= least) & (together <= MOST_SHARE * count) & more)

    groups += [
        (float(surprise_of(mine[i], total[i], share)), (int(i),))
        for i in np.flatnonzero(rare(mine, total) & known.alone)
    ]
    together, here = known.together, known.together_of(label)
    expected = np.outer(mine, mine) / size
    apart = np.triu(known.feature[:, None] != known.feature[None], k=1)
    lifted = (
        apart
        & (here >= least)
        & (here > LIFT * expected)
        & (here > expected + LIFT_DEVIATIONS * np.sqrt(expected))
    )
    at = np.argwhere(lifted & rare(here, together))
    groups += [
        (float(score), (int(i), int(j)))
        for score, (i, j) in zip(
            surprise_of(here[tuple(at.T)], together[tuple(at.T)], share), at, strict=True
        )
    ]
    groups += _triples(
        known, chosen, np.where(lifted, (here - expected) / np.sqrt(expected + 1), 0.0), share, rare
    )
    found: list[Found] = []
    for parts in _foremost(groups):
        rows = _members(known.matrix, parts)
        usual = other.expected(rows, known.features(parts))
        hits = int(inside[rows].sum())
        score = float(surprise_of(hits, len(rows), max(usual, share / 2)))
        exact = len(parts) == 1 and all(
            known.parts[part].low == known.parts[part].high for part in parts
        )
        if hits >= (usual + GAIN * (1 - usual)) * len(rows) and score >= (SURE if exact else ROUGH):
            found.append((score, parts))
    return found


def _foremost(groups: list[Found]) -> list[tuple[int, ...]]:
    """The most surprising single items, pairs and triples: in pictures the honest triples alone
    would leave no room.
    """
    ranked = [parts for _, parts in sorted(groups, key=lambda one: (-one[0], one[1]))]
    return [
        parts for size in (1, 2, 3) for parts in [one for one in ranked if len(one) == size][:KEPT]
    ]


def _members(matrix: sparse.csc_array, parts: tuple[int, ...]) -> Array:
    """Row numbers that have all items, ascending."""
    rows = matrix.indices[matrix.indptr[parts[0]] : matrix.indptr[parts[0] + 1]]
    for part in parts[1:]:
        rows = np.intersect1d(
            rows, matrix.indices[matrix.indptr[part] : matrix.indptr[part + 1]], assume_unique=True
        )
    return np.asarray(rows)


def _triples(known: Items, chosen: Any, surprise: Array, share: float, rare: Any) -> list[Found]:
    flat = np.argsort(-surprise, axis=None)[:PAIRS]
    pairs = [
        (int(i), int(j))
        for i, j in zip(*np.unravel_index(flat, surprise.shape), strict=True)
        if surprise[i, j] > 0
    ]
    if not pairs:
        return []
    first, second = np.array(pairs).T
    here, together = (
        np.asarray((matrix[:, first].multiply(matrix[:, second]).T @ matrix).todense())
        for matrix in (chosen, known.matrix)
    )
    found = []
    for pair, third in np.argwhere(rare(here, together)):
        parts = tuple(sorted((*pairs[pair], int(third))))
        if len(set(known.feature[list(parts)])) == len(parts):
            found.append(
                (float(surprise_of(here[pair, third], together[pair, third], share)), parts)
            )
    return found


def surprise_of(here: Any, together: Any, share: Any) -> Any:
    """-log10 of the chance that so many of the rows have the class."""
    return np.minimum(
        -binom.logsf(np.asarray(here) - 1, together, share) / np.log(10), MOST_SURPRISE
    )
