"""Certified bounds: what no attack inside the ball can do, whatever it tries.

Linear models: the exact worst corner. Trees: per tree the worst leaf that the ball reaches, exact
for one tree and a lower bound for an ensemble (Chen et al., Robustness Verification of Tree-based
Models, NeurIPS 2019, level 1). Both look through preprocessing that maps every feature by itself
and monotonically. Any other model can be certified only after smoothing it with noise (Cohen,
Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing, ICML 2019), which is
another model: its figure is reported apart, with an L2 radius.
"""

from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from casemate.ml.attacks.exact import SURE
from casemate.ml.attacks.interface import Array, Target
from casemate.ml.attacks.leaves import read
from casemate.ml.attacks.parts import parts_of, through

ONE_AGAINST_ONE = {"SVC", "NuSVC"}
"""Their coefficients separate pairs of classes."""
ALPHA = 0.001
"""Chance that a radius is claimed wrongly, for each row: as in the experiments of Cohen et al.
(section 4).
"""


def certified(target: Target, eps: float) -> tuple[Array, str] | None:
    """(whether each row keeps its class for every change within eps, method), or None for other
    models.
    """
    parts = parts_of(getattr(target.model, "estimator", None), set(target.names))
    if parts is None or target.choices or not target.width:
        return None
    name = type(parts.final).__name__
    linear = (
        hasattr(parts.final, "coef_")
        and hasattr(parts.final, "decision_function")
        and name not in ONE_AGAINST_ONE
    )
    trees = None if linear else read(parts.final)
    if not linear and trees is None:
        return None
    frames = []
    for limit in target.ball(eps):
        frame = target.frame.copy()
        frame[target.names] = limit
        frames.append(through(parts.before, frame))
    low, high = np.minimum(*frames), np.maximum(*frames)
    if trees is None:
        return (
            _linear(parts.final, low, high, target.places),
            "exact worst corner of a linear model",
        )
    return (
        _sound(*trees.bounds(low, high), target.places, exact=trees.exact),
        "worst reachable leaf of every tree, or branch and bound over them",
    )


def _linear(model: Any, low: Array, high: Array, codes: Array) -> Array:
    weights, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(weights) == 1:
        weights, bias = np.vstack([-weights[0], weights[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    keeps = np.ones(len(codes), dtype=bool)
    for other in range(len(weights)):
        slope, offset = weights[codes] - weights[other], bias[codes] - bias[other]
        worst = np.where(slope > 0, slope * low, slope * high).sum(axis=1) + offset
        keeps &= (worst > SURE) | (codes == other)
    return keeps


def _sound(least: Array, most: Array, places: Array, *, exact: bool) -> Array:
    """Whether the true class's least score is above every other class's greatest, [n, k] each; in
    an exact tie the first class is the label.
    """
    classes = np.arange(least.shape[1])
    leads = least[np.arange(len(places)), places][:, None] - most
    tied = exact & (leads == 0) & (places[:, None] < classes)
    return np.asarray(np.all((leads > SURE) | tied | (places[:, None] == classes), axis=1))


def smoothed(
    target: Target, sigma: float, radii: list[float], rows: int, samples: int, seed: int
) -> list[float]:
    """Share of the first `rows` rows that the smoothed model classifies rightly with a certified L2
    radius above each of `radii`.

    Args:
        target: the model and its rows.
        sigma: standard deviation of the noise, in units of eps.
        radii: L2 radii in units of eps.
        rows: how many rows.
        samples: noisy copies a row; one in ten selects the class, the others bound its probability
            (confidence 1 - 0.001).
        seed: of the noise.
    """
    generator = np.random.default_rng(seed)
    at = np.arange(min(rows, len(target.codes)))
    found = np.zeros(len(at))
    for number in at:
        noise = generator.standard_normal((samples, target.width)) * sigma * target.spread
        changed = np.repeat(target.start[number][None], samples, axis=0)
        changed[:, : target.width] += noise
        right = ~target.wrong(changed, np.full(samples, number))
        first = max(1, samples // 10)
        if right[:first].mean() <= 0.5:
            continue
        hits = int(right[first:].sum())
        sure = binomtest(hits, samples - first).proportion_ci(1 - 2 * ALPHA, method="exact").low
        found[number] = sigma * norm.ppf(sure) if sure > 0.5 else 0.0
    return [float(np.mean(found > radius)) for radius in radii]
