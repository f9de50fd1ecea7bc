"""Two populations told apart by a classifier: whether they differ, and what a row of the first is
worth in the second.
"""

from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, Any]
MOST_ROWS = 20_000
"""Of each population that the classifier learns from: more do not sharpen it visibly."""
FEWEST_ROWS = 40
"""Of each population: below, a half has fewer rows than two leaves of the trees."""
DOUBT = 0.01
"""Two populations count as different when the classifier would tell equal ones apart as well in so
few cases; else rows keep their weights, since learnt ones would be noise.
"""
MOST_WEIGHT = 50.0
"""Of one row: beyond, a few rows would carry the whole recalibration."""


def _classifier(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=40, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=seed
    )


def told_apart(reference: Array, current: Array, seed: int = 0) -> tuple[float, float, Array]:
    """(how well a classifier tells the rows apart as area under the ROC curve, the chance that it
    does so for equal populations, the log odds of each reference row to be current, [n]).

    Each half is judged by a classifier that learnt from the other half only, so that under equal
    populations the judged rows are exchangeable and the ranks' law is exact; the chance is twice
    the smaller of both halves'. Source: Lopez-Paz and Oquab, Revisiting classifier two-sample tests
    (ICLR 2017).

    Args:
        reference: [n, d], finite.
        current: [m, d].
        seed: of the halves.
    """
    if min(len(reference), len(current)) < FEWEST_ROWS:
        return 0.5, 1.0, np.zeros(len(reference))
    generator = np.random.default_rng(seed)
    halves = [generator.permutation(len(rows)) % 2 for rows in (reference, current)]
    odds, areas, chances = np.zeros(len(reference)), [], []
    for half in (0, 1):
        parts = [
            rows[halved != half][:MOST_ROWS]
            for rows, halved in zip((reference, current), halves, strict=True)
        ]
        rows = np.vstack(parts)
        is_current = np.repeat([0, 1], [len(part) for part in parts])
        model = _classifier(seed).fit(rows, is_current)
        judged = [
            model.decision_function(rows[halved == half])
            for rows, halved in zip((reference, current), halves, strict=True)
        ]
        odds[halves[0] == half] = judged[0] + np.log(len(parts[0]) / len(parts[1]))
        found = stats.mannwhitneyu(
            judged[1], judged[0], alternative="greater", method="asymptotic", use_continuity=False
        )
        areas.append(float(found.statistic) / (len(judged[0]) * len(judged[1])))
        chances.append(float(found.pvalue))
    return float(np.mean(areas)), min(1.0, 2 * min(chances)), odds


def density_ratio(reference: Array, current: Array, seed: int = 0) -> Array | None:
    """How much more frequent each reference row is in the current population, [n], mean 1; None
    where the populations cannot be told apart.

    Source: Sugiyama, Suzuki, Kanamori, Density ratio estimation in machine learning (2012), 4.2.
    """
    _, chance, odds = told_apart(reference, current, seed)
    if chance > DOUBT:
        return None
    weights = np.minimum(np.exp(np.clip(odds, -50, 50)), MOST_WEIGHT)
    return np.asarray(weights / weights.mean())
