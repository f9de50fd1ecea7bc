"""Features that come by name, ready or as the training table had them, whatever the protocol."""

import difflib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from casemate.core.errors import RequestError
from casemate.ml.frame import Rows
from casemate.serve.endpoint import Endpoint
from casemate.serve.protocols.interface import Asked, Encode, Read
from casemate.serve.types import Array


def made(
    endpoint: Endpoint,
    given: Collection[str],
    values: Callable[[str], list[Any]],
    texts: Callable[[str], bool],
) -> tuple[dict[str, list[Any]], tuple[bytes, ...]]:
    """(what comes of raw columns, see `called.Raw.read`; whose each row is by pseudonym, where that
    is given); then it is sure that every feature is there.

    Raises:
        RequestError: a raw value cannot be read, a feature is missing, with `[serve] extra =
            "refuse"` there is something else, or rows are about people who are barred.
    """
    people: tuple[bytes, ...] = ()
    if endpoint.barred is not None and (whose := whose_of(endpoint)) in given:
        people = endpoint.barred.people_of(values(whose))
    found = {} if endpoint.raw is None else endpoint.raw.read(given, values, texts)
    _require_features(endpoint, given, found)
    return found, people


def asked_of(endpoint: Endpoint, read: Read, subject: Any, encode: Encode) -> Asked:
    """What rows ask.

    Args:
        endpoint: the model.
        read: the rows.
        subject: whom the caller says that all of them are about; None: nobody is named this way.
        encode: writes the answer.

    Raises:
        RequestError: people are named twice, the subject is no text or whole number, or is barred.
    """
    rows, people = read
    if subject is not None:
        if people:
            raise RequestError("say whom it is about once: as a parameter, or with each row")
        if endpoint.barred is None or not endpoint.barred.column:
            raise RequestError("this gateway knows nobody: [data] subject names no column")
        people = endpoint.barred.people_of([subject])
    count = len(next(iter(rows.values()))) if isinstance(rows, dict) else len(rows)
    return Asked(rows, count, encode, people)


def whose_of(endpoint: Endpoint) -> str:
    """The column that says whose rows are; empty where none does."""
    return "" if endpoint.barred is None else endpoint.barred.column


def raw_names(endpoint: Endpoint) -> Collection[str]:
    """Columns that are read as the table had them."""
    return () if endpoint.raw is None else endpoint.raw.columns


def _require_features(endpoint: Endpoint, given: Collection[str], found: Collection[str]) -> None:
    """RequestError unless the model's features are there, and with `[serve] extra = "refuse"`
    nothing else is; it names the nearest.
    """
    features = [column.name for column in endpoint.features]
    others = [
        name
        for name in given
        if name not in endpoint.cells
        and name not in raw_names(endpoint)
        and name != whose_of(endpoint)
    ]
    absent = [name for name in features if name not in given and name not in found]
    if others and endpoint.extra == "refuse":
        raise RequestError(f"no input called {others[0][:100]!r}" + _nearest(others[0], features))
    if absent:
        meant = difflib.get_close_matches(absent[0], [name[:100] for name in others], n=1)
        told = f"; did you mean it by {meant[0]!r}?" if meant else ""
        origin = None if endpoint.raw is None else endpoint.raw.made.get(absent[0])
        either = f", and so is {origin!r}, which it is made of" if origin else ""
        raise RequestError(
            f"the input {absent[0]!r} is missing ({len(absent)} of {len(features)}){either}" + told
        )


def _nearest(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name[:100], names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def rows_of(endpoint: Endpoint, columns: dict[str, Array]) -> Rows:
    """Columns in the schema's order as rows: one matrix where all features are numbers."""
    return np.column_stack(list(columns.values())) if endpoint.takes_matrix else columns
