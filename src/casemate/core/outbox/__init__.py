"""Everything that leaves: queued with the work that caused it, delivered at least once, seen when
it cannot be.
"""

from casemate.core.outbox.interface import Message, Route
from casemate.core.outbox.queue import OUTBOX, DeliveryPolicy, Outbox

__all__ = ["OUTBOX", "DeliveryPolicy", "Message", "Outbox", "Route"]
