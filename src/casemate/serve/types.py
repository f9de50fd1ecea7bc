"""What passes between the gateway's parts."""

from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]
Headers = list[tuple[bytes, bytes]]
NO_STORE = (b"cache-control", b"no-store")
JSON: Headers = [(b"content-type", b"application/json"), NO_STORE]
CSV: Headers = [(b"content-type", b"text/csv; charset=utf-8"), NO_STORE]
TEXT: Headers = [(b"content-type", b"text/plain; charset=utf-8"), NO_STORE]
JSON_LINES: Headers = [(b"content-type", b"application/jsonlines"), NO_STORE]
BINARY: Headers = [(b"content-type", b"application/octet-stream"), NO_STORE]


class FeedbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller says of an earlier request."""

    id: str
    """Of the request."""
    outcome: str | int | float | list[str | int | float | list[str | int | float]]
    """What really was: of the one row, or a list; of several targets a list a row, of several
    labels too: the names that it carries, or a class a label.
    """
    kind: Literal["outcome", "correction"] = "outcome"
    """`correction`: a person says that the answer was wrong."""
    note: str = ""
    """In words, sealed, never in the log."""


class Reply(NamedTuple):
    """What goes back to a caller."""

    status: int
    headers: Headers
    body: bytes
    code: str = ""
    """Code of a refusal."""


class Answer(NamedTuple):
    """What a model says about rows, as far as this caller is told."""

    outputs: dict[str, Any]
    """By name: `label` (list of class names [n]) and, unless hidden, `probabilities` (float32 [n,
    k]) or the best of them; of a regressor `prediction` (float64 [n], or [n, m]); or all class
    names [k] and `count` (noisy rows of each, int64 [k]).
    """
    noticed: dict[str, int]
    """Rows that each guard noticed."""


_ENCODER = msgspec.json.Encoder()


def json_of(value: Any) -> bytes:
    """What goes back as JSON."""
    return _ENCODER.encode(value)
