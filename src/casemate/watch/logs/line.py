"""One line of a log: the Elastic Common Schema, version 9, as one flat JSON object.

Names are ECS's own, with their dots (https://www.elastic.co/docs/reference/ecs); Elasticsearch
reads `{"event.action": "run:start"}` as `{"event": {"action": "run:start"}}`. What ECS has no
field for is a label, as ECS asks. No field ever holds a value of a row.
"""

import datetime
from typing import Literal

import msgspec

from casemate.core.text import clean

Level = Literal["debug", "info", "warning", "error"]
ECS = "9.0.0"
MOST_MESSAGE = 2_000
"""Characters of a message, cut there. A judgement: those of casemate have a few hundred."""
MOST_NUMBER = 2**63
"""Signed 64 bits hold less, in the store and in other people's systems."""
MOST_FIELD = 256
"""Characters of any other text: names, digests and reasons are shorter."""
CUT = " ... (cut)"
"""The end of a text that was longer."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line; a field that does not apply is "" or None and is not written."""

    time: str = msgspec.field(name="@timestamp")
    """When, RFC 3339 in UTC with milliseconds."""
    level: Level = msgspec.field(name="log.level")
    message: str
    """One sentence for people, at most 2 000 characters."""
    ecs: str = msgspec.field(name="ecs.version", default=ECS)
    id: str = msgspec.field(name="event.id")
    """The same for the same event, whoever reads it again: nothing appears twice by it."""
    dataset: Literal["casemate.audit", "casemate.request", "casemate.alarm"] = msgspec.field(
        name="event.dataset"
    )
    """`audit`: operations, stages and decisions; `request`: the gateway's; `alarm`: the watcher's
    and those of rules over logs.
    """
    kind: Literal["event", "alert"] = msgspec.field(name="event.kind", default="event")
    action: str = msgspec.field(name="event.action", default="")
    """Such as `run:start`; of a request its route, such as `infer`."""
    outcome: Literal["success", "failure", "unknown"] = msgspec.field(
        name="event.outcome", default="unknown"
    )
    reason: str = msgspec.field(name="event.reason", default="")
    """What the product itself calls the outcome: `done`, `allowed`, `denied`, `refused`..."""
    duration: int | None = msgspec.field(name="event.duration", default=None)
    """Nanoseconds."""
    user: str = msgspec.field(name="user.name", default="")
    """Who, such as `User::"ana"`; empty for a stranger."""
    service: str = msgspec.field(name="service.name", default="casemate")
    node: str = msgspec.field(name="service.node.name", default="")
    """Which process of which machine, where that is known."""
    trace: str = msgspec.field(name="trace.id", default="")
    """32 hexadecimal digits (W3C Trace Context)."""
    request: str = msgspec.field(name="http.request.id", default="")
    method: str = msgspec.field(name="http.request.method", default="")
    status: int | None = msgspec.field(name="http.response.status_code", default=None)
    size: int | None = msgspec.field(name="http.response.body.bytes", default=None)
    """Bytes of the reply's body."""
    code: str = msgspec.field(name="error.code", default="")
    """Of the refusal or the error."""
    rule: str = msgspec.field(name="rule.name", default="")
    """What an alert was raised by."""
    resource: str = msgspec.field(name="labels.resource", default="")
    """What it was about, such as `Model::"wdbc"`."""
    model: str = msgspec.field(name="labels.model", default="")
    run: str = msgspec.field(name="labels.run", default="")
    stage: str = msgspec.field(name="labels.stage", default="")


_TEXTS = [
    (field.name, MOST_MESSAGE if field.name == "message" else MOST_FIELD)
    for field in msgspec.structs.fields(LogLine)
    if field.type is str
]


def tidy(line: LogLine) -> LogLine:
    """The line without anything that a terminal obeys, no text longer than it may be, its time in
    UTC with milliseconds.

    Raises:
        ValueError: the time is none, or a number is none that can be kept.
    """
    for number in (line.duration, line.status, line.size):
        if number is not None and not 0 <= number < MOST_NUMBER:
            raise ValueError("a number that is negative or has more than 63 bits")
    found: dict[str, str] = {}
    for name, most in _TEXTS:
        text = getattr(line, name)
        if len(text) > most or not (text.isascii() and text.isprintable()):
            kept = clean(text[: most + 1], most)
            found[name] = kept if len(text) <= most else kept[: most - len(CUT)] + CUT
    time = written(moment(line.time))
    if time != line.time:
        found["time"] = time
    return msgspec.structs.replace(line, **found) if found else line


def moment(text: str) -> datetime.datetime:
    """A time as lines have it; ValueError: it is none."""
    found = datetime.datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def written(time: datetime.datetime) -> str:
    """A time as lines have it; ValueError: in UTC it is before the year 1, or after 9999."""
    try:
        in_utc = time.astimezone(datetime.UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return in_utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
