"""What goes to a sink, and what a sender must do."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from casemate.core.errors import BackendError, TransientError
from casemate.core.text import clean
from casemate.core.types import Record
from casemate.watch.levels import Gauge
from casemate.watch.logs.line import LogLine

MOST_REASON = 500
"""Characters of a receiver's words that are kept."""


class Levels(Record, frozen=True, kw_only=True):
    """The watcher's gauges at one look."""

    gauges: list[Gauge]
    time: str
    """RFC 3339 in UTC."""


class Item(NamedTuple):
    """One entry of the spool."""

    content: LogLine | Levels
    raw: bytes
    """The same as a line of JSON, without its end."""

    @property
    def id(self) -> str:
        """Of a log line; gauges have none."""
        return self.content.id if isinstance(self.content, LogLine) else ""


class Refusal(Record, frozen=True, kw_only=True):
    """An item that the receiver will never take."""

    id: str
    """Empty where it does not say which."""
    reason: str
    """In its words, cut short."""
    raw: str = ""
    """The item itself, for the dead-letter file."""


class Sent(Record, frozen=True, kw_only=True):
    """What became of a batch. What is neither `left` nor refused nor diverted was accepted."""

    accepted: int
    """Items that the receiver has, also those that it had already."""
    refused: list[Refusal] = []
    diverted: int = 0
    """Items that it put aside, such as into Elasticsearch's failure store: kept, and not found
    where people look."""
    left: int = 0
    """Items at the end of the batch that have to be sent again."""
    why: str = ""
    """Why there are such."""


Kind = Literal["lines", "gauges"]


class Sender(Protocol):
    """One receiver."""

    takes: frozenset[Kind]
    """What it can be sent."""

    def send(self, batch: Sequence[Item]) -> Sent:
        """Send items, all log lines or all gauges; at least one.

        Raises:
            SinkAway: nobody knows that it has any of them; try later. NotTaken: it refused the
                request as a whole, for something that stands in it.
        """


class SinkAway(TransientError):
    """A sink did not take a batch, and may take it later: what waits stays in the spool."""

    code = "CM-SINK-AWAY"
    who = "whoever runs the receiver"

    def __init__(self, message: str, *, hint: str = "", after: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.after = after
        """Seconds that the receiver asked to wait."""


class NotTaken(BackendError):
    """A sink refused a request as a whole."""

    code = "CM-SINK-REFUSED"
    who = "whoever runs the receiver, or set it up in casemate.toml"


def reason_of(text: object) -> str:
    """What a receiver says, in one bounded line."""
    return clean(str(text), MOST_REASON).strip()
