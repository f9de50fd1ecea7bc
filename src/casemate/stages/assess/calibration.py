"""Is 80 % said where 80 % happens: the calibration error, and the curve that shows where not.

`calibration_error` is the root of the mean squared difference between what was said and what
happened, over `BINS` parts of about as many rows each. The plain estimate (Naeini, Cooper,
Hauskrecht, AAAI 2015) is above zero for a calibrated model, because every part's share is noisy;
here that noise is taken off (Bröcker, Climate Dynamics 39, 2012; Kumar, Liang, Ma, Verified
Uncertainty Calibration, NeurIPS 2019).
"""

from typing import Any

import numpy as np
from scipy import optimize, stats

from casemate.controls.privacy.disclosure import merged
from casemate.core.types import Interval
from casemate.ml.frame import parts_of
from casemate.stages.assess.intervals import LEVEL, missed
from casemate.stages.assess.subjects import Groups, repeated

BINS = 10
"""Few enough that 200 rows give each 20."""
PRIOR = 2.0
"""Rows at the said probability that each part's variance counts in: a part without any event has
variance zero by itself, and any probability above zero would look surely wrong."""
TINY = 1e-12
"""A variance that is none, whose square is still a number."""
CURVE = 10
"""Parts of [0, 1] of the curve that the card draws; no gate looks at it."""
Array = np.ndarray[Any, Any]


def confidence(codes: Array, labels: Array, probabilities: Array) -> tuple[Array, Array]:
    """(what was said, what happened), [n] each.

    Of two classes the probability of the second; of more that of the likeliest one.
    """
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (codes == 1).astype(float)
    return probabilities.max(axis=1), (codes == labels).astype(float)


def error(said: Array, happened: Array, weights: Array | None = None) -> float:
    """The calibration error without its noise; 0 where the noise explains all."""
    return _without_noise(*_parts(said, happened, weights))


def _without_noise(count: Array, gap: Array, variance: Array) -> float:
    excess = float(np.sum(count * gap**2) - np.sum(variance))
    return float((max(excess, 0.0) / count.sum()) ** 0.5)


def error_interval(
    said: Array, happened: Array, groups: Groups = None, weights: Array | None = None
) -> Interval:
    """`error` with its 95 % interval, which starts at 0 where the model may be calibrated.

    The sum of squared gaps is about a noncentral chi-squared variable, whose noncentrality is the
    true error squared times the rows: the interval holds every error under which that sum is not
    in a tail of 2.5 %. Unequal variances by Satterthwaite's moments; gaps of rows of the same
    subjects, which vary together, by their covariance (Rao and Scott, JASA 76, 1981), which is
    known as well as so many subjects tell it.
    """
    count, gap, variance = _parts(said, happened, weights)
    groups, wider = repeated(groups), 1.0
    if groups is not None:
        variance = _clustered(said, happened, groups, variance, weights)
        wider = (
            float(
                stats.t.ppf((1 + LEVEL) / 2, max(int(groups.max()), 1))
                / stats.norm.ppf((1 + LEVEL) / 2)
            )
            ** 2
        )
    # nothing but certainties, and all came true: what was not met may be wrong altogether
    if not gap.any() and variance.max() <= TINY:
        return Interval(value=0.0, low=0.0, high=missed(len(said), groups) ** 0.5)
    unit = float(np.sum(variance**2) / np.sum(variance)) * wider
    freedom = float(np.sum(variance) ** 2 / np.sum(variance**2))
    seen = float(np.sum(count * gap**2)) / unit
    tails = ((1 + LEVEL) / 2, (1 - LEVEL) / 2)
    each = unit / float(count.sum())
    low, high = ((_noncentrality(seen, freedom, tail) * each) ** 0.5 for tail in tails)
    value = _without_noise(count, gap, variance)
    return Interval(value=value, low=min(low, value), high=min(max(high, value), 1.0))


def _noncentrality(seen: float, freedom: float, tail: float) -> float:
    """The noncentrality under which `seen` is the quantile at `tail`; 0 where even 0 is too
    much.
    """

    def over(noncentrality: float) -> float:
        return float(stats.ncx2.cdf(seen, freedom, noncentrality)) - tail

    if float(stats.chi2.cdf(seen, freedom)) <= tail:
        return 0.0
    most = seen + 10.0
    while over(most) > 0:
        most *= 2
    return float(optimize.brentq(over, 1e-9, most))


def _parts(said: Array, happened: Array, weights: Array | None) -> tuple[Array, Array, Array]:
    """(rows or what they weigh, happened less said, variance of one row or of one of average
    weight) of each part.
    """
    places = np.unique(parts_of(said, BINS), return_inverse=True)[1]
    each = np.ones(len(said)) if weights is None else weights / weights.mean()
    count = np.bincount(places, each)
    expected, seen = (np.bincount(places, values * each) / count for values in (said, happened))
    # so much more varies the mean of rows that weigh unlike
    uneven = np.bincount(places, each**2) / count
    share = (seen * count / uneven + PRIOR * expected) / (count / uneven + PRIOR)
    return count, seen - expected, np.maximum(share * (1 - share) * uneven, TINY)


def _clustered(
    said: Array, happened: Array, groups: Array, least: Array, weights: Array | None
) -> Array:
    """Eigenvalues of the covariance of the gaps (each times the root of its rows) between subjects,
    [parts]; at least `least` together.
    """
    places = np.unique(parts_of(said, BINS), return_inverse=True)[1]
    subjects, parts = int(groups.max()) + 1, len(least)
    each = np.ones(len(said)) if weights is None else weights / weights.mean()
    count = np.bincount(places, each)
    rest = happened - said
    rest -= (np.bincount(places, rest * each) / count)[places]
    sums = np.bincount(
        groups * parts + places, each * rest / count[places] ** 0.5, subjects * parts
    ).reshape(subjects, parts)
    if subjects < 2:
        return least
    values = np.maximum(
        np.linalg.eigvalsh(sums.T @ sums) * (subjects / (subjects - 1)), np.finfo(np.float64).tiny
    )
    return np.asarray(values * max(1.0, float(np.sum(least) / np.sum(values))))


def reliability(
    said: Array, happened: Array, least: int, weights: Array | None = None
) -> dict[str, list[float]]:
    """The curve: mean said, share happened and rows in ten bins of equal width, told of at least
    `least` rows each.
    """
    place = np.minimum((said * CURVE).astype(int), CURVE - 1)
    each = np.ones(len(said)) if weights is None else weights
    count = np.bincount(place, minlength=CURVE)
    weight, expected, observed = (
        np.bincount(place, values * each, CURVE) for values in (np.ones(len(said)), said, happened)
    )
    told: dict[str, list[float]] = {"predicted": [], "observed": [], "rows": []}
    for part in merged(count, least):
        rows = count[part].sum()
        told["predicted"].append(float(expected[part].sum() / weight[part].sum()))
        told["observed"].append(float(observed[part].sum() / weight[part].sum()))
        told["rows"].append(float(rows))
    return told
