"""Everything that leaves: queued with the work that caused it, delivered at least once, seen when it cannot be."""

from casemate.core.outbox.interface import Message, Route
from casemate.core.outbox.queue import OUTBOX, Outbox, Patience

__all__ = ["OUTBOX", "Message", "Outbox", "Patience", "Route"]
