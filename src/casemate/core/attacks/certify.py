"""Certified bounds: what no attack inside the ball can do, whatever it tries.

Linear models: the exact worst corner. Trees: per tree the worst leaf that the ball reaches, exact for one tree and a
lower bound for an ensemble (Chen et al., Robustness Verification of Tree-based Models, NeurIPS 2019, level 1). Both
look through preprocessing that maps every feature by itself and monotonically. Any other model can be certified only
after smoothing it with noise (Cohen, Rosenfeld, Kolter, Certified Adversarial Robustness via Randomized Smoothing,
ICML 2019), which is another model: its figure is reported apart, with an L2 radius.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from casemate.core.attacks.interface import Array, Target

MONOTONE = {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "SimpleImputer", "QuantileTransformer", "PowerTransformer"}
"""Transformers whose outputs each depend on one feature, monotonically."""
CATEGORIES = {"OneHotEncoder", "OrdinalEncoder"}
"""Encoders that are looked through for what does not move: between two values of a number lie others, with codes of their own."""
ONE_AGAINST_ONE = {"SVC", "NuSVC"}
"""Their coefficients separate pairs of classes."""
ALPHA = 0.001


@dataclass(frozen=True)
class _Parts:
    before: Any
    final: Any


def certified(target: Target, eps: float) -> tuple[Array, str] | None:
    """(whether each row keeps its class for every change within eps, method), or None for other models."""
    parts = _parts(getattr(target.model, "estimator", None), set(target.names))
    if parts is None or target.choices or not target.width:
        return None
    frames = []
    for limit in target.ball(eps):
        frame = target.frame.copy()
        frame[target.names] = limit
        frames.append(_through(parts.before, frame))
    low, high = np.minimum(*frames), np.maximum(*frames)
    name = type(parts.final).__name__
    if hasattr(parts.final, "coef_") and hasattr(parts.final, "decision_function") and name not in ONE_AGAINST_ONE:
        return _linear(parts.final, low, high, target.codes), "exact worst corner of a linear model"
    trees = _trees(parts.final)
    if trees is None:
        return None
    bounds = trees(low, high)
    if bounds is None:
        return None
    least, most = bounds
    return _sound(least, most, target.codes), "worst reachable leaf of every tree"


def _parts(estimator: Any, moved: set[str]) -> _Parts | None:
    """The preprocessing and the final model, if all before it is monotone feature by feature."""
    if estimator is None:
        return None
    if not hasattr(estimator, "steps"):
        return _Parts(None, estimator)
    before = estimator[:-1]
    return _Parts(before if len(before.steps) else None, estimator.steps[-1][1]) if _monotone(before, moved) else None


def _monotone(step: Any, moved: set[str]) -> bool:
    """Whether a step maps feature by feature and monotonically, where the features `moved` are among its inputs."""
    name = type(step).__name__
    if step is None or isinstance(step, str):
        return step is None or step in {"passthrough", "drop"}
    if hasattr(step, "steps"):
        return all(_monotone(inner, moved) for _, inner in step.steps)
    if hasattr(step, "transformers_"):
        return all(_monotone(inner, moved & _names(columns, step, moved)) for _, inner, columns in step.transformers_)
    if name == "FunctionTransformer":
        return step.func is None
    if name in CATEGORIES:
        return not moved
    return name in MONOTONE and not getattr(step, "add_indicator", False)


def _names(columns: Any, step: Any, moved: set[str]) -> set[str]:
    """The names of a transformer's columns; where they are not given by name, all that move."""
    known = getattr(step, "feature_names_in_", None)
    if isinstance(columns, str):
        return {columns}
    if all(isinstance(column, str) for column in columns):
        return set(columns)
    return moved if known is None else {str(name) for name in np.asarray(known)[columns]}


def _through(before: Any, frame: Any) -> Array:
    changed = frame if before is None else before.transform(frame)
    return np.asarray(changed.toarray() if hasattr(changed, "toarray") else changed, dtype=np.float64)


def _linear(model: Any, low: Array, high: Array, codes: Array) -> Array:
    weights, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(weights) == 1:
        weights, bias = np.vstack([-weights[0], weights[0]]) / 2, np.array([-bias[0], bias[0]]) / 2
    keeps = np.ones(len(codes), dtype=bool)
    for other in range(len(weights)):
        slope, offset = weights[codes] - weights[other], bias[codes] - bias[other]
        worst = np.where(slope > 0, slope * low, slope * high).sum(axis=1) + offset
        keeps &= (worst > 0) | (codes == other)
    return keeps


def _sound(least: Array, most: Array, codes: Array) -> Array:
    """Whether the true class's least score is above every other class's greatest; [n, k] each."""
    at = np.arange(len(codes))
    others = most.copy()
    others[at, codes] = -np.inf
    return np.asarray(least[at, codes] > others.max(axis=1))


def _trees(model: Any) -> Any:
    name = type(model).__name__
    if name in ("DecisionTreeClassifier", "ExtraTreeClassifier"):
        return lambda low, high: _forest([model], low, high)
    if name in ("RandomForestClassifier", "ExtraTreesClassifier"):
        return lambda low, high: _forest(model.estimators_, low, high)
    if name == "HistGradientBoostingClassifier":
        return lambda low, high: _boosted(model, low, high)
    return None


def _forest(trees: list[Any], low: Array, high: Array) -> tuple[Array, Array]:
    """Least and greatest mean probability per class over the leaves that the box reaches, [n, k] each.

    With two classes the bound is exact per tree, because the difference of two probabilities is bounded by one of them.
    """
    least = most = None
    low, high = low.astype(np.float32), high.astype(np.float32)  # scikit-learn compares float32 inputs with thresholds
    for tree in trees:
        inner = tree.tree_
        values = inner.value[:, 0, :] / inner.value[:, 0, :].sum(axis=1, keepdims=True)
        reach = _reached(inner.children_left, inner.children_right, inner.feature, inner.threshold, low, high)
        lows, highs = _ends(reach, inner.children_left < 0, values)
        least, most = (lows, highs) if least is None else (least + lows, most + highs)
    assert least is not None and most is not None  # noqa: S101 - a forest has trees
    return least / len(trees), most / len(trees)


def _reached(left: Array, right: Array, feature: Array, threshold: Array, low: Array, high: Array) -> Array:
    """Which nodes the box [low, high] of each row reaches, bool [nodes, n]; a missing number reaches both sides."""
    reach = np.zeros((len(left), len(low)), dtype=bool)
    reach[0] = True
    inner = np.flatnonzero(left >= 0)
    with np.errstate(invalid="ignore"):
        down = ~(low.T[feature[inner]] > threshold[inner, None])
        up = ~(high.T[feature[inner]] <= threshold[inner, None])
    for place, node in enumerate(inner):  # children come after their parents
        np.logical_and(reach[node], down[place], out=reach[left[node]])
        np.logical_and(reach[node], up[place], out=reach[right[node]])
    return reach


def _ends(reach: Array, leaves: Array, values: Array) -> tuple[Array, Array]:
    """Least and greatest of `values` [nodes, k] over the leaves that each row reaches, [n, k] each."""
    reached, values = reach[leaves], values[leaves]
    lows = [np.where(reached, column[:, None], np.inf).min(axis=0) for column in values.T]
    highs = [np.where(reached, column[:, None], -np.inf).max(axis=0) for column in values.T]
    return np.stack(lows, axis=1), np.stack(highs, axis=1)


def _boosted(model: Any, low: Array, high: Array) -> tuple[Array, Array] | None:
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        return None
    stages = model._predictors  # noqa: SLF001 - scikit-learn offers no public view of the trees
    classes = len(stages[0])
    least = np.repeat(np.asarray(model._baseline_prediction, dtype=np.float64).reshape(1, -1), len(low), axis=0)  # noqa: SLF001
    most = least.copy()
    for stage in stages:
        for number, predictor in enumerate(stage):
            nodes = predictor.nodes
            left = np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64))
            right = nodes["right"].astype(np.int64)
            reach = _reached(left, right, nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], low, high)
            lows, highs = _ends(reach, nodes["is_leaf"] == 1, nodes["value"][:, None])
            least[:, number] += lows[:, 0]
            most[:, number] += highs[:, 0]
    if classes == 1:
        return np.hstack([-most, least]) / 2, np.hstack([-least, most]) / 2
    return least, most


def smoothed(target: Target, sigma: float, radii: list[float], rows: int, samples: int, seed: int) -> list[float]:
    """Share of the first `rows` rows that the smoothed model classifies rightly with a certified L2 radius above each of `radii`.

    Args:
        target: the model and its rows.
        sigma: standard deviation of the noise, in units of eps.
        radii: L2 radii in units of eps.
        rows: how many rows.
        samples: noisy copies a row; one in ten selects the class, the others bound its probability (confidence 1 - 0.001).
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
