"""What is wrong with a gateway just now: operators hear of each change once, on stderr and in the
metrics; strangers hear "not ready".

Ready means that an answer was given lately or could be given now. Whoever works for the gateway
says here when its work fails and when it succeeds again.
"""

import sys
import time
from typing import Literal

from casemate.core.errors import Error
from casemate.serve.metrics import Metrics

What = Literal[
    "log",
    "disk",
    "catalogue",
    "models",
    "queue",
    "ending",
    "revocations",
    "releases",
    "holds",
    "restrictions",
    "usage",
    "retention",
    "certificate",
    "issuers",
    "signers",
    "verification",
    "keys",
]
SERIOUS: frozenset[What] = frozenset(
    {"log", "disk", "catalogue", "models", "queue", "ending", "revocations"}
)
"""Without these no answer leaves; the rest can be away for a while."""


class Health:
    """The faults of one worker."""

    def __init__(self, metrics: Metrics) -> None:
        """All is well.

        Args:
            metrics: where faults are shown.
        """
        self._metrics = metrics
        self._faults: dict[What, float] = {}

    @property
    def ready(self) -> bool:
        """Whether answers can be given."""
        return SERIOUS.isdisjoint(self._faults)

    def failed(self, what: What, why: str | BaseException) -> None:
        """Something does not work; told when it is new."""
        if what not in self._faults:
            self._faults[what] = time.monotonic()
            self._metrics.gauges["casemate_fault", what] = 1
            _tell(f"{'not ready: ' if what in SERIOUS else ''}{what}: {_text(why)}")

    def well(self, what: What) -> None:
        """It works; told when it did not."""
        found = self._faults.pop(what, None)
        if found is not None:
            self._metrics.gauges["casemate_fault", what] = 0
            _tell(
                f"{what} is well again after {time.monotonic() - found:.1f}"
                f" s{', ready' if what in SERIOUS and self.ready else ''}"
            )

    def check(self, what: What, fault: str) -> None:
        """One of the two, by whether there is a fault."""
        if fault:
            self.failed(what, fault)
        else:
            self.well(what)


def _text(why: str | BaseException) -> str:
    if isinstance(why, Error):
        return f"{why.code}: {why.message}"
    return why if isinstance(why, str) else f"{type(why).__name__}: {why}"


def _tell(text: str) -> None:
    line = "".join(c if c.isprintable() else "?" for c in f"casemate serve: {text}")
    print(line, file=sys.stderr, flush=True)
