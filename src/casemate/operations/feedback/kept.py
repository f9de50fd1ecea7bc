"""Looking at feedback: who told what of which request, as far as whoever looks may see it."""

from collections import deque

import msgspec

from casemate.config import Trust
from casemate.controls.audit.feedback import Kind, Told
from casemate.controls.audit.feedback import sources as by_source
from casemate.core.errors import ConfigError
from casemate.core.types import Record, SealedDataset
from casemate.operations.acting import operation, reading
from casemate.wiring import Wiring

MOST_LISTED = 10_000
"""Of a list: it is for people."""


class Source(Record, frozen=True, kw_only=True):
    """Who told how much."""

    name: str
    trust: Trust
    outcomes: int
    corrections: int
    complaints: int
    contradictions: int
    """What it told against what was known."""
    first: str
    """ISO 8601, as `last`."""
    last: str


def trust_of(project: Wiring, told: Told) -> Trust:
    """How far a source is trusted; not at all while a hold is on what it teaches."""
    for name in (told.source, told.who):
        if name and project.holds_kept.over("teaching", name) is not None:
            return "none"
    table = project.config.feedback
    known = table.sources.get(told.source) if told.source else None
    return table.trust if known is None else known.trust


@reading("feedback:read")
def listing(
    project: Wiring, *, kind: Kind | None = None, contradictions: bool = False, most: int = 100
) -> list[Told]:
    """The newest feedback, without values and notes; AccessDenied: policy.

    Args:
        project: whose.
        kind: only this one.
        contradictions: only what contradicts.
        most: so many.
    """
    found = (
        msgspec.structs.replace(one, value=None, note="")
        for one in project.feedback_kept.all()
        if kind in (None, one.kind) and (one.contradicts or not contradictions)
    )
    return [*deque(found, maxlen=min(most, MOST_LISTED))][::-1]


@operation("feedback:read")
def show(project: Wiring, request: str) -> list[Told]:
    """Everything that was told of a request, oldest first. The value is shown to whoever may read
    the target, the note to whoever may read every feature too.

    Raises:
        AccessDenied: policy. ConfigError: nothing was told.
    """
    from casemate.operations.dataset import Dataset

    show.ask(project, request=request)
    found = list(project.feedback_kept.all(request))
    if not found:
        raise ConfigError(f"nothing was told of {request[:100]!r}", hint="`casemate feedback list`")
    record = project.engine.newest_step("data", SealedDataset)
    if record is None:
        return [msgspec.structs.replace(one, value=None, note="") for one in found]
    dataset = Dataset(project, record)
    access = dataset.access()
    closed = {*record.schema.targets} & {*access.withheld, *access.masked}
    if closed:
        found = [msgspec.structs.replace(one, value=None) for one in found]
    if not dataset.hears_code():
        found = [msgspec.structs.replace(one, note="") for one in found]
    return found


@reading("feedback:read")
def sources(project: Wiring) -> list[Source]:
    """Every source with what it told, the largest first; AccessDenied: policy."""
    found = [
        Source(
            name=name,
            trust=trust_of(project, told[0]),
            outcomes=sum(one.kind == "outcome" for one in told),
            corrections=sum(one.kind == "correction" for one in told),
            complaints=sum(one.kind == "complaint" for one in told),
            contradictions=sum(one.contradicts for one in told),
            first=told[0].time,
            last=told[-1].time,
        )
        for name, told in by_source(project.feedback_kept.all()).items()
    ]
    return sorted(found, key=lambda one: -(one.outcomes + one.corrections + one.complaints))
