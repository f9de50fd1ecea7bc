"""Rows of the same subject say less than as many rows of others: what they say together is counted
once.

Everywhere `groups` [n] says whose each row is, as numbers without a meaning; None: every row is
somebody else's. Figures that are about means of influences sum them by subject (Taylor
linearisation with ultimate clusters: Woodruff, JASA 66, 1971; of areas under the ROC curve
Obuchowski, Biometrics 53, 1997), shares have so many effective rows (Korn and Graubard, Survey
Methodology 24, 1998), a bootstrap draws subjects.
"""

from typing import Any

import numpy as np
from scipy import special, stats

Array = np.ndarray[Any, Any]
Groups = Array | None


def repeated(groups: Groups) -> Groups:
    """The groups as 0..m-1, [n]; None where no subject has two rows, so that nothing is to be
    summed.
    """
    if groups is None:
        return None
    names, places = np.unique(groups, return_inverse=True)
    return None if len(names) == len(places) else places


def of(groups: Groups, rows: Array) -> Groups:
    """The groups of some of the rows."""
    return None if groups is None else groups[rows]


def summed(influence: Array, groups: Groups) -> Array:
    """Influences [n] as those of subjects [m], whose mean has the same value and the deviation that
    clustered rows give it.
    """
    groups = repeated(groups)
    if groups is None:
        return influence
    sums = np.bincount(groups, influence)
    return np.asarray(sums * (len(sums) / len(influence)))


def count(groups: Groups, rows: Array) -> int:
    """Subjects that some rows (a mask [n]) are of; without groups the rows."""
    return int(np.sum(rows)) if groups is None else len(np.unique(groups[rows]))


def numbered(groups: Groups, rows: int) -> Array:
    """The groups as 0..m-1, [n], every row a subject of its own where none has two."""
    found = repeated(groups)
    return np.arange(rows) if found is None else found


def effective(
    value: float, influence: Array, groups: Array, level: float, weights: Array | None = None
) -> float:
    """How many independent rows would tell a share `value` as well, less what Student's t takes for
    estimating that from m subjects.

    Where all rows agree nothing tells how much subjects repeat themselves: then every subject
    counts once, or by its weight (Kish, Survey Sampling, 1965, 11.7).

    Args:
        value: the share.
        influence: of the rows on it, [n], mean 0.
        groups: subjects as 0..m-1, [n]; a row that the share is not about has influence 0.
        level: of the interval.
        weights: of the rows, [n]; None: all weigh alike.
    """
    sums = summed(influence, groups)
    subjects, rows = len(sums), len(influence)
    variance = float(np.var(sums, ddof=1)) / subjects if subjects > 1 else 0.0
    if not variance > 0:
        sizes = np.bincount(groups, weights)
        return float(sizes.sum() ** 2 / np.sum(sizes**2))
    tail = (1 + level) / 2
    lost = (stats.t.ppf(tail, max(rows - 1, 1)) / stats.t.ppf(tail, subjects - 1)) ** 2
    return float(min(value * (1 - value) / variance * lost, rows))


def exact(value: float, rows: float, level: float) -> tuple[float, float]:
    """Clopper and Pearson's ends of a share of `rows`, which may be a fraction."""
    tail, hits = (1 - level) / 2, value * rows
    low = 0.0 if value <= 0 else float(special.betaincinv(hits, rows - hits + 1, tail))
    high = 1.0 if value >= 1 else float(special.betaincinv(hits + 1, rows - hits, 1 - tail))
    return low, high


def wilson(value: float, rows: float, level: float) -> tuple[float, float]:
    """Wilson's ends of a share of `rows`, which may be a fraction."""
    reach = float(stats.norm.ppf((1 + level) / 2))
    middle = value + reach**2 / (2 * rows)
    half = reach * (value * (1 - value) / rows + reach**2 / (4 * rows**2)) ** 0.5
    low, high = ((middle + sign * half) / (1 + reach**2 / rows) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def members(groups: Array) -> list[Array]:
    """The rows of each subject, [m] of row numbers."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.cumsum(np.bincount(groups))[:-1])
