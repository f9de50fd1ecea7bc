"""What a protocol makes of a request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from casemate.ml.frame import Rows
from casemate.serve.endpoint import Endpoint
from casemate.serve.types import Answer, Headers

Encode = Callable[[Endpoint, Answer], tuple[Headers, bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to a model, understood."""

    rows: Rows
    count: int
    """Rows."""
    encode: Encode
    """The answer in the caller's protocol."""
    people: tuple[bytes, ...] = ()
    """Whom it is about, where the caller says so; see `controls.audit.predictions.Prediction`."""


class Read(NamedTuple):
    """Rows that a caller sent."""

    rows: Rows
    people: tuple[bytes, ...] = ()
    """Whose each is, where that was sent with them."""
