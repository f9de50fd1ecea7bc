"""An estimator like a trained one, trained anew on other rows."""

from typing import Any

import numpy as np
from sklearn.base import clone

from casemate.ml.frame import wanted
from casemate.ml.learn.calibrate import adjust, adjusted
from casemate.ml.learn.weights import fit_params, refusal
from casemate.ml.models import SkopsModel

Array = np.ndarray[Any, Any]


def refitted(estimator: Any, taught: tuple[Any, Array, Array | None], asked: Any) -> Array:
    """What it says of rows: probabilities [n, k] of class numbers, quantities [n, m].

    Args:
        estimator: fitted; a clone of it learns.
        taught: frame, target (class numbers [n] or quantities [n, m]) and weights [n] or None.
        asked: frame.
    """
    frame, target, given = taught
    # The target learnt from weighted rows, so its shadows do; an imported one may have been of a
    # kind that cannot.
    weights = fit_params(estimator, None if refusal(estimator) else given)
    if target.ndim == 2:
        return SkopsModel(clone(estimator).fit(frame, wanted(target), **weights)).predict(asked)[1]
    model = clone(estimator).fit(frame, target, **weights)
    calibration = adjusted(estimator)
    if calibration is not None:  # or the shadows' scores would be of another scale
        adjust(model, *calibration)
    classes = np.asarray(model.classes_, dtype=int)
    probabilities = np.zeros((len(asked), int(classes.max()) + 1))
    probabilities[:, classes] = model.predict_proba(asked)
    return probabilities
