"""What a protocol makes of a request."""

from collections.abc import Callable
from dataclasses import dataclass

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
