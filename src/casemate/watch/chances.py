"""How likely a window is to differ as much by chance: laws that hold far out in the tail, where a
budget of false alarms over months puts every limit, and for as few rows as a window has.
"""

from typing import Any

import numpy as np
from scipy import optimize, special, stats

Array = np.ndarray[Any, Any]
MOST_SCORES = 400
"""That stand for a reference's distribution: the tail is then right to a few per cent."""
NEAR = 0.5
"""Deviations below which the saddlepoint's formula cancels, and the normal law is good."""
FEWEST_WINDOWS = 5
"""Of the reference, to say how much its own windows differ."""
UNEVEN = 0.01
"""The reference's windows count as more different than chance makes them, when chance would do the
same in so few references; else the law without that is kept, which is sharper.
"""


def of_mean(scores: Array, mean: float, rows: float) -> float:
    """The chance, two-sided, that `rows` scores drawn from `scores` have a mean as far out.

    Saddlepoint approximation of Lugannani and Rice (Advances in Applied Probability 12, 1980):
    the normal law is wrong by orders of magnitude in the tail of skewed scores, such as a column
    of mostly zeros has.

    Args:
        scores: the reference's, [k].
        mean: the window's.
        rows: may be a fraction: 1 / (1 / rows + 1 / reference rows).
    """
    spread = float(scores.std())
    if spread < 1e-12:
        return 1.0
    center = float(scores.mean())
    values = (scores - center) / spread
    x = (mean - center) / spread
    if x < 0:
        values, x = -values, -x
    if x * rows**0.5 < NEAR:
        return float(2 * stats.norm.sf(x * rows**0.5))
    most = float(values.max())
    if x >= most * (1 - 1e-9):
        share = float(np.mean(values >= most * (1 - 1e-9)))
        return float(min(1.0, 2 * share**rows))
    return min(1.0, 2 * _tail(values, x, rows))


def _tail(values: Array, x: float, rows: float) -> float:
    def slope(t: float) -> float:
        return float(special.softmax(t * values) @ values) - x

    high = 1.0
    while slope(high) < 0 and high < 1e6:
        high *= 2
    t = float(optimize.brentq(slope, 0.0, high))
    weights = special.softmax(t * values)
    bend = float(weights @ values**2) - float(weights @ values) ** 2
    growth = float(special.logsumexp(t * values)) - np.log(len(values))
    w = np.sqrt(max(2 * rows * (t * x - growth), 0.0))
    u = t * np.sqrt(rows * bend)
    if w < 1e-3 or u < 1e-12:
        return float(stats.norm.sf(x * rows**0.5))
    return float(max(stats.norm.sf(w) + stats.norm.pdf(w) * (1 / u - 1 / w), 0.0))


def of_shape(distance: float, rows: float) -> float:
    """The chance of a largest distance between distribution functions (Kolmogorov and Smirnov)."""
    return float(special.kolmogorov(distance * rows**0.5))


def of_counts(hits: Array, rows: int, known: Array, reference: int) -> Array:
    """The chance, two-sided, that of all hits so many or so few lie in the window: exact (Fisher).

    Args:
        hits: in the window, [k].
        rows: of the window.
        known: hits in the reference, [k].
        reference: its rows.
    """
    law = (rows + reference, hits + known, rows)
    more, fewer = stats.hypergeom.sf(hits - 1, *law), stats.hypergeom.cdf(hits, *law)
    return np.asarray(np.minimum(2 * np.minimum(more, fewer), 1.0))


def of_more(hits: int, rows: int, known: int, reference: int) -> float:
    """The same, one-sided: so many or more."""
    return float(stats.hypergeom.sf(hits - 1, rows + reference, hits + known, rows))


def of_outermost(count: int, rows: int, reference: int) -> float:
    """The chance that the `count` largest of all rows lie in the window: exact."""
    if count == 0:
        return 1.0
    parts = special.gammaln([rows + 1, rows - count + 1, rows + reference + 1])
    last = special.gammaln(rows + reference - count + 1)
    return float(np.exp(parts[0] - parts[1] - parts[2] + last))


def among(chance: float, windows: Array) -> float:
    """The chance of a window, given how much the reference's own windows differ: rows of one hour
    or one batch are more alike than rows drawn at random.

    Args:
        chance: by the law for rows drawn at random.
        windows: chances of the reference's own windows by the same law, [k].
    """
    if len(windows) < FEWEST_WINDOWS:
        return chance
    z = stats.norm.isf(np.clip(windows, 1e-300, 1.0) / 2)
    if np.sum(z**2) <= stats.chi2.isf(UNEVEN, len(z)):
        return chance
    scale = float(np.mean(z**2)) ** 0.5
    own = float(stats.norm.isf(max(chance, 1e-300) / 2))
    return float(2 * stats.t.sf(own / scale, len(z)))
