"""A model of several labels: one classifier a label, each of which answers for itself.

In the file it is scikit-learn's `MultiOutputClassifier`, so that other people's tools read it;
nothing here asks that class, because its `predict` would not know what each classifier's own answer
is (see `answers`).
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.multioutput import MultiOutputClassifier

from casemate.core.errors import VerificationError
from casemate.core.types import Schema

Array = np.ndarray[Any, Any]


class LabelsModel:
    """The classifiers of all labels together; `views` are the models of each."""

    def __init__(self, views: list[Any]) -> None:
        """Wrap the models of all labels, in the order of the schema's targets."""
        self.views = views

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """(labels int64 [n, m], 1 is yes; probabilities of yes [n, m])."""
        found = [view.predict(frame) for view in self.views]
        return np.column_stack([labels for labels, _ in found]), np.column_stack(
            [probabilities[:, 1] for _, probabilities in found]
        )

    def scores(self, frame: pd.DataFrame) -> Array:
        """Log-odds of yes, [n, m]; above zero where the label is said."""
        return np.column_stack([np.diff(view.scores(frame), axis=1)[:, 0] for view in self.views])


def together(parts: list[Any]) -> MultiOutputClassifier:
    """Fitted classifiers of 0 and 1, one a label, as one estimator."""
    made = MultiOutputClassifier(parts[0])
    made.estimators_ = parts
    made.classes_ = [np.asarray(part.classes_) for part in parts]
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(parts[0], name):
            setattr(made, name, getattr(parts[0], name))
    return made


def parts_of(estimator: Any, schema: Schema) -> list[Any]:
    """The classifiers, one a label; VerificationError when they are not those of `schema`."""
    parts = list(getattr(estimator, "estimators_", []))
    if (
        type(estimator) is not MultiOutputClassifier
        or len(parts) != len(schema.labels)
        or any(list(getattr(part, "classes_", [])) != [0, 1] for part in parts)
    ):
        raise VerificationError(
            f"the model file holds no classifier of yes and no for each of {len(schema.labels)}"
            " labels",
            hint="train it again",
        )
    return parts
