"""Rows that the model file itself contains: neighbours, support vectors and Gaussian processes
store training rows.

Whoever gets such a model gets these rows, scaled or not, and no gate on the model's answers changes
that.
"""

from typing import Any

import numpy as np

from casemate.core.types import Finding
from casemate.ml.skopsfile import classes_in
from casemate.stages.assess.sample import Sample

STORES = {
    "KNeighborsClassifier", "RadiusNeighborsClassifier", "GaussianProcessClassifier",
    "LabelPropagation", "LabelSpreading", "SVC", "NuSVC", "KNeighborsRegressor",
    "RadiusNeighborsRegressor", "GaussianProcessRegressor", "KernelRidge", "SVR", "NuSVR",
}  # fmt: skip
"""Estimators that keep training rows as they are (SVC, SVR: its support vectors)."""
MOST_DEPTH = 8
"""Estimators inside of estimators that are looked through: a cycle must end. Chosen."""
KEPT = ("_fit_X", "support_vectors_", "X_train_", "X_", "X_fit_")


def findings(estimator: Any) -> list[Finding]:
    """One for every part of the model that stores training rows."""
    return [
        Finding(
            id="model.stores-rows",
            severity="medium",
            confidence="high",
            message=(
                f"{name} keeps {rows} training rows in the model file: whoever holds the model"
                " holds these rows"
            ),
            location=name,
        )
        for name, rows in _stored(estimator, 0)
    ]


def listed(content: bytes) -> list[Finding]:
    """The same by the names in a model file that is not constructed: without how many rows."""
    return [
        Finding(
            id="model.stores-rows",
            severity="medium",
            confidence="high",
            message=(
                f"{name} keeps training rows in the model file: whoever holds the model holds"
                " these rows"
            ),
            location=name,
        )
        for name in sorted(classes_in(content) & STORES)
    ]


def _stored(estimator: Any, depth: int) -> list[tuple[str, int]]:
    if depth > MOST_DEPTH:
        return []
    name = type(estimator).__name__
    if name in STORES:
        # a Gaussian process of classes keeps them one deeper
        holders = (estimator, getattr(estimator, "base_estimator_", None))
        kept = [getattr(holder, attribute, None) for holder in holders for attribute in KEPT]
        return [(name, max((len(rows) for rows in kept if rows is not None), default=0))]
    inner: list[Any] = []
    for attribute in (
        "steps",
        "transformers_",
        "estimators_",
        "estimator_",
        "estimator",
        "final_estimator_",
        "calibrated_classifiers_",
        "base_estimator_",
    ):
        inner += _parts(getattr(estimator, attribute, None))
    found: list[tuple[str, int]] = []
    for part in inner:
        found += _stored(part, depth + 1)
    return found


def _parts(value: Any) -> list[Any]:
    if value is None or isinstance(value, str | int | float):
        return []
    if isinstance(value, list | tuple | np.ndarray):
        return [part for item in value for part in _parts(item)]
    return [value]


def nearest(members: Sample, holdout: Sample, names: list[str]) -> dict[str, float]:
    """Share of hold-out rows that lie nearer to a training row than training rows lie to one
    another (1st percentile).

    A share far above 0.01 says that rows of both sides are near-copies, so that the hold-out
    measures memory.
    """
    from sklearn.neighbors import NearestNeighbors

    if not names or len(members.target) < 3 or not len(holdout.target):
        return {}
    inside, outside = (
        np.nan_to_num(side.frame[names].to_numpy(dtype=np.float64)) for side in (members, holdout)
    )
    spread = inside.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    index = NearestNeighbors(n_neighbors=2).fit(inside / scale)
    among = index.kneighbors(inside / scale)[0][:, 1]
    across = index.kneighbors(outside / scale, n_neighbors=1)[0][:, 0]
    return {"near_copies": float(np.mean(across < np.percentile(among, 1))), "expected": 0.01}
