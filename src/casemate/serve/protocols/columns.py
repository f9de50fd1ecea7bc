"""Features that come by name, whatever the protocol."""

import difflib
from collections.abc import Collection

import numpy as np

from casemate.core.errors import RequestError
from casemate.ml.frame import Rows
from casemate.serve.endpoint import Endpoint
from casemate.serve.types import Array


def require_features(endpoint: Endpoint, given: Collection[str]) -> None:
    """RequestError unless the model's features are among these names, and with `[serve] extra = "refuse"` nothing else is.

    It names the nearest.
    """
    features = [column.name for column in endpoint.features]
    others = [name for name in given if name not in endpoint.cells]
    absent = [name for name in features if name not in given]
    if others and endpoint.extra == "refuse":
        raise RequestError(f"no input called {others[0][:100]!r}" + _nearest(others[0], features))
    if absent:
        meant = difflib.get_close_matches(absent[0], [name[:100] for name in others], n=1)
        told = f"; did you mean it by {meant[0]!r}?" if meant else ""
        raise RequestError(f"the input {absent[0]!r} is missing ({len(absent)} of {len(features)})" + told)


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name[:100], names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def rows_of(endpoint: Endpoint, columns: dict[str, Array]) -> Rows:
    """Columns in the schema's order as rows: one matrix where all features are numbers."""
    return np.column_stack(list(columns.values())) if endpoint.takes_matrix else columns
