"""What a caller is told of an answer: all of it, the best classes, or the class alone; rounded if
so configured.

The less a caller sees, the more questions it takes to copy the model or to tell who was in the
training data (Tramèr et al., Stealing Machine Learning Models via Prediction APIs, USENIX Security
2016).

Noisy counts (`serve.aggregates`) say how many rows of a request get which class, and nothing of any
of them.

Of several labels `label` holds a row's classes one after the other, n times m, and `top` its
likeliest labels. A regressor's answer is `prediction`, rounded if so configured; where only the
label may be seen, the range that it lies in.
"""

from typing import Any

import numpy as np

from casemate.config import OutputsTable
from casemate.serve.endpoint import Endpoint
from casemate.serve.types import Array

NAMES = ("label", "probabilities", "top", "top_probabilities", "prediction", "count")
LABEL_ONLY, AGGREGATE = OutputsTable(show="label"), OutputsTable(show="aggregate")


def within(endpoint: Endpoint, table: OutputsTable) -> OutputsTable:
    """What of this may be seen while a hold is on the model's probabilities."""
    return LABEL_ONLY if endpoint.label_only and table.show != "aggregate" else table


def shape_of(endpoint: Endpoint, name: str, values: list[str]) -> list[int]:
    """The shape of an output of texts: `label` of several labels is [n, m]."""
    width = len(endpoint.labels)
    return [len(values) // width, width] if width and name == "label" else [len(values)]


def shown(
    endpoint: Endpoint, codes: list[int], probabilities: Array, table: OutputsTable
) -> dict[str, Any]:
    """The outputs by name.

    Args:
        endpoint: whose answer it is.
        codes: what `Endpoint.predict` gives, [n].
        probabilities: float32 [n, k], of several labels those of yes [n, m], or quantities float64
            [n, m].
        table: what may be seen.
    """
    classes = endpoint.classes
    if endpoint.labels:
        labels = [
            pair[code >> place & 1] for code in codes for place, pair in enumerate(endpoint.labels)
        ]
    else:
        labels = [classes[code] for code in codes]
    if table.show == "label":
        return {"label": labels}
    if table.digits is not None:
        probabilities = np.round(probabilities, table.digits)
    if endpoint.regression:
        return {"prediction": probabilities[:, 0] if probabilities.shape[1] == 1 else probabilities}
    if table.show == "all":
        return {"label": labels, "probabilities": probabilities}
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : table.top]
    names = [classes[code] for code in best.ravel().tolist()]
    return {
        "label": labels,
        "top": names,
        "top_probabilities": np.take_along_axis(probabilities, best, axis=1),
    }
