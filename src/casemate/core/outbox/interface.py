"""What leaves, and what a way out must do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from casemate.core.types import Record


class Message(Record, frozen=True, kw_only=True):
    """One thing to deliver to one receiver."""

    key: str
    """Idempotency key: the same at every attempt, so that the receiver can tell a repetition."""
    event: str
    """What happened, such as `run:passed`."""
    created: str
    """When it was queued, RFC 3339 in UTC."""
    content: dict[str, Any]
    """What the receiver gets."""


@dataclass(frozen=True)
class Route:
    """A receiver: its name, the events it hears (`*` for all) and how to reach it.

    `deliver` raises an `Error` when the receiver did not take the message.
    """

    name: str
    events: tuple[str, ...]
    deliver: Callable[[Message], None]

    def hears(self, event: str) -> bool:
        """Whether messages of this kind go there."""
        return event in self.events or "*" in self.events
