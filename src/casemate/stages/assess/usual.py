"""What training rows are like: the centre, the spread and how far rows lie from it, for the guard
of a model server.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf

from casemate.core.types import Profile, Schema
from casemate.ml.frame import edges_of

MOST_FEATURES = 200
"""Up to so many the correlations count; beyond it each feature stands for itself."""
LEAST_ROWS = 100
"""Rows below which nothing is called unusual: a covariance and so far a quantile say little of
fewer. Chosen.
"""
SHARE = 0.999
"""Rows that the limit keeps: one in a thousand honest ones is called unusual. Chosen;
`[serve.guard] unusual` says what then happens.
"""


def measure(
    members: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: Schema,
    quantities: np.ndarray[Any, Any] | None = None,
) -> Profile | None:
    """The profile of training rows with a limit that all but one in a thousand of training and
    hold-out rows keep to.

    Shrunk covariance: Ledoit and Wolf, A well-conditioned estimator for large-dimensional
    covariance matrices, 2004. None when there are no numbers or fewer than `LEAST_ROWS` rows.

    Args:
        members: training rows.
        holdout: rows that training never saw.
        schema: names the features.
        quantities: what a regressor says of the training rows, [n].
    """
    names = [column.name for column in schema.features if column.type != "category"]
    edges = [] if quantities is None else edges_of(quantities).tolist()
    if not names or len(members) < LEAST_ROWS:
        return Profile(mean=[], scale=[], whiten=[], limit=0.0, edges=edges) if edges else None
    known, other = (
        members[names].to_numpy(dtype=np.float64),
        holdout[names].to_numpy(dtype=np.float64),
    )
    # A few wild values must not stretch what counts as usual.
    low, high = np.nanquantile(known, [0.001, 0.999], axis=0)
    clipped = np.clip(known, low, high)
    mean, spread = np.nanmean(clipped, axis=0), np.nanstd(clipped, axis=0)
    mean = np.where(np.isfinite(mean), mean, 0.0)
    scale = np.divide(
        1.0, spread, out=np.zeros_like(spread), where=np.isfinite(spread) & (spread > 0)
    )

    def scaled(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray((np.where(np.isnan(rows), mean, rows) - mean) * scale)

    whiten = np.empty((0, 0))
    if len(names) <= MOST_FEATURES:
        whiten = np.linalg.cholesky(
            np.linalg.inv(
                LedoitWolf(assume_centered=True).fit(scaled(clipped)).covariance_
                + 1e-9 * np.eye(len(names))
            )
        )
    rows = np.vstack([scaled(known), scaled(other)])
    distances = ((rows @ whiten if len(whiten) else rows) ** 2).sum(axis=1)
    return Profile(
        mean=mean.tolist(),
        scale=scale.tolist(),
        whiten=whiten.tolist(),
        limit=float(np.quantile(distances, SHARE)),
        edges=edges,
    )
