"""Features that come by name, whatever the protocol."""

import difflib
from collections.abc import Collection

import numpy as np

from casemate.core.errors import RequestError
from casemate.core.frame import Rows
from casemate.serve.endpoint import Endpoint
from casemate.serve.types import Array


def require_features(endpoint: Endpoint, given: Collection[str]) -> None:
    """RequestError unless these are the names of the model's features; it names the nearest."""
    features = [column.name for column in endpoint.features]
    for name in given:
        if name not in features:
            close = difflib.get_close_matches(name[:100], features, n=1)
            raise RequestError(f"no input called {name[:100]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    absent = [name for name in features if name not in given]
    if absent:
        raise RequestError(f"the input {absent[0]!r} is missing ({len(absent)} of {len(features)})")


def rows_of(endpoint: Endpoint, columns: dict[str, Array]) -> Rows:
    """Columns in the schema's order as rows: one matrix where all features are numbers."""
    return np.column_stack(list(columns.values())) if endpoint.takes_matrix else columns
