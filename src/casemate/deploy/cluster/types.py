"""What a release is asked for, and what becomes of it."""

from collections.abc import Callable
from typing import Literal, Protocol

from casemate.core.types import Record
from casemate.deploy.cluster.figures import Judgement

Told = Callable[..., None]
"""told(step, **detail): a step is done."""


class Limits(Record, frozen=True, kw_only=True):
    """How long what may take, in seconds."""

    ready: float = 300.0
    """Until every new pod answers its probe."""
    judge: float = 900.0
    """Until enough requests were answered to judge."""
    grace: float = 30.0
    """Between the switch and the end of the former pods."""
    poll: float = 2.0
    patience: float = 20.0
    """Without a sign of another process that began, before it counts as gone."""


class Applied(Record, frozen=True, kw_only=True):
    """What became of it."""

    how: Literal["released", "unchanged", "rolled back"]
    namespace: str
    revision: str
    """That serves now; empty: none."""
    model: str
    bundle: str
    """SHA-256 of the manifests that were to be applied."""
    objects: int
    images: dict[str, str]
    reason: str = ""
    """Why it was rolled back, or how it was judged."""


class Judging(Protocol):
    """Whoever compares two revisions."""

    def look(self, namespace: str, new: list[str], live: list[str], seconds: float) -> Judgement:
        """See `figures.Judge.look`."""
