"""Wrong labels or mere uncertainty: what the certainty of calibrated out-of-fold probabilities
says.

Labels that are drawn from a true model are not wrong, however often they contradict what is
likeliest: the surer the model, the rarer the contradictions, without end. Wrong labels set an end
to that: however sure the model, their share of the rows contradicts it. So the share of rows whose
label agrees with the likeliest class is (1 - wrong) / (1 + exp(-(slope * certainty + start))), with
certainty the log-odds of the likeliest class; `wrong` = 0 is Platt's calibration (Probabilistic
Outputs for Support Vector Machines, 1999), and `wrong` the upper asymptote of Barton and Lord (An
Upper Asymptote for the Three-Parameter Logistic Item-Response Model, 1981), which is the rate of
wrong labels where the features decide (Menon and others, Learning from Corrupted Binary Labels via
Class-Probability Estimation, ICML 2015). Whether it is needed is told by the likelihood ratio, how
large it is at least by its profile (Self and Liang, JASA 1987: half a chi-square at the edge).

Inside a group, labels are compared with what a model expects that could not learn the group's own
uncertainty: the likelihood of a share `wrong` of them being turned over, against none.

What cannot be seen: wrong labels that are spread evenly over a table whose features never decide.
They are, row by row, the same as an outcome that is that uncertain. How often it is wrong:
`bench/assurance/labels.py`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit
from scipy.stats import chi2

from casemate.stages.data.screen.interface import Array

BINS = 200
"""Parts of equal numbers of rows that a curve is fitted to, instead of every row: chosen
for time.
"""
CERTAIN = 12.0
"""Log-odds beyond this are all the same."""
BOUND = float(chi2.isf(0.02, 1))
"""A lower bound that holds in 99 of 100 tables."""
SHARES = np.linspace(0.0, 0.5, 26)
"""Shares of wrong labels that are tried inside groups."""


@dataclass(frozen=True)
class Plateau:
    """The share of contradicting labels that certainty does not lower."""

    wrong: float
    """Share of wrong labels, most likely."""
    least: float
    """Lower end of that share (99 %, one-sided)."""
    ratio: float
    """Twice the logarithm of the likelihood ratio against no wrong labels; half a chi-square of one
    degree if there are none.
    """
    agreement: Array
    """Probability of each row's label to be the likeliest one, had it not been turned over, float64
    [n].
    """

    @property
    def chance(self) -> float:
        """Probability of such a ratio where no label is wrong."""
        return float(chi2.sf(self.ratio, 1) / 2) if self.ratio > 0 else 1.0


def certainty_of(probabilities: Array) -> Array:
    """Log-odds of each row's likeliest class, float64 [n], from probabilities [n, k]."""
    return np.asarray(
        np.clip(logit(np.clip(probabilities.max(axis=1), None, 1 - 1e-9)), -CERTAIN, CERTAIN)
    )


def plateau(probabilities: Array, codes: Array) -> Plateau:
    """The plateau of the given labels `codes` [n] under out-of-fold `probabilities` [n, k]."""
    certainty, agrees = certainty_of(probabilities), probabilities.argmax(axis=1) == codes
    edges = np.unique(np.quantile(certainty, np.linspace(0, 1, BINS + 1)[1:-1]))
    places = np.searchsorted(edges, certainty)
    counts = np.bincount(places)
    held = counts > 0
    middle, agreed = (
        np.bincount(places, certainty)[held] / counts[held],
        np.bincount(places, agrees)[held],
    )
    counts = counts[held]

    def loss(slope: float, start: float, wrong: float) -> float:
        share = np.clip((1 - wrong) * expit(slope * middle + start), 1e-9, 1 - 1e-9)
        return -float(np.sum(agreed * np.log(share) + (counts - agreed) * np.log1p(-share)))

    def fitted(wrong: float, near: Array) -> tuple[float, Array]:
        found = minimize(
            lambda at: loss(at[0], at[1], wrong),
            near,
            bounds=[(0, 20), (-20, 20)],
            method="L-BFGS-B",
        )
        return float(found.fun), found.x

    none, start = fitted(0.0, np.array([1.0, 0.0]))
    tries = [
        minimize(
            lambda at: loss(*at), first, bounds=[(0, 20), (-20, 20), (0, 0.49)], method="L-BFGS-B"
        )
        for first in ([*start, 0.02], [2 * start[0] + 0.5, start[1], 0.1])
    ]
    best = min(tries, key=lambda found: found.fun)
    ratio = max(0.0, 2 * (none - float(best.fun)))
    wrong = float(best.x[2]) if ratio > 0 else 0.0
    least = 0.0
    if ratio > BOUND:
        least = float(
            brentq(
                lambda share: 2 * (fitted(share, best.x[:2])[0] - best.fun) - BOUND,
                0.0,
                wrong,
                xtol=1e-3,
            )
        )
    slope, start_at = (best.x[0], best.x[1]) if ratio > 0 else start
    return Plateau(wrong, least, ratio, np.asarray(expit(slope * certainty + start_at)))


def turned_over(agreement: Array, agrees: Array, places: Array) -> tuple[Array, Array]:
    """For each group of rows (its number in `places` [n], -1 for none): (the likeliest share of
    labels turned over, twice the log ratio).

    `agreement` [n] is the probability of a row's label to agree with the model, `agrees` [n]
    whether it does.
    """
    within = places >= 0
    kept, agrees = np.clip(agreement[within], 1e-6, 1 - 1e-6), agrees[within]
    told = np.where(agrees, kept, 1 - kept)
    gains = [
        np.bincount(places[within], np.log((1 - share) * told + share * (1 - told)) - np.log(told))
        for share in SHARES
    ]
    table = np.array(gains)
    best = table.argmax(axis=0)
    return SHARES[best], 2 * table.max(axis=0)
