"""Ticket systems that cannot be asked: a signed webhook, and mail.

What happens to a ticket is a message with a key that is the same at every attempt; whoever receives
one a second time can tell by it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from casemate.config import TrackerTable
from casemate.core.clock import Clock
from casemate.core.errors import ConfigError
from casemate.core.outbox import Message
from casemate.respond.trackers import guard
from casemate.respond.trackers.interface import Checked, Reference, Seen, Ticket
from casemate.respond.trackers.remembered import Tickets, Written


class OneWay(ABC):
    """A tracker that is told, and not read. See `Tracker`."""

    reads = False

    def __init__(self, name: str, where: str, tickets: Tickets, table: TrackerTable) -> None:
        self.name, self.where = name, where
        self._tickets, self._table = tickets, table

    def create(self, key: str, ticket: Ticket) -> Reference:
        """See `Tracker.create`; whoever receives it must take a message's key once only."""
        mark = guard.mark(key)
        known = self._tickets.made(mark)
        if known is not None:
            return known
        reference = Reference(id=mark, url="")
        self._tell("create", mark, guard.checked(ticket), "")
        self._tickets.keep(mark, reference, Written())
        return reference

    def update(self, reference: Reference, ticket: Ticket, comment: str = "") -> None:
        """See `Tracker.update`."""
        self._tell("update", guard.identifier(reference), guard.checked(ticket), comment)

    def read(self, reference: Reference, cursor: str = "") -> Seen:
        """ConfigError: messages go one way."""
        raise ConfigError(
            f"{self.where} cannot be read: messages go one way",
            hint="a tracker with an interface can be: roundup, jira, gitlab, github",
        )

    def close(self, reference: Reference, comment: str) -> None:
        """See `Tracker.close`."""
        self._tell("close", guard.identifier(reference), None, comment)

    def reopen(self, reference: Reference, comment: str = "") -> None:
        """See `Tracker.reopen`."""
        self._tell("reopen", guard.identifier(reference), None, comment)

    def check(self) -> Checked:
        """Nothing can be asked: only what the configuration says was looked at."""
        return Checked(account="", problems=())

    def _tell(self, verb: str, mark: str, ticket: Ticket | None, comment: str) -> None:
        said = [verb, guard.text(comment)]
        if ticket is not None:
            said += [ticket.title, ticket.body, ticket.severity, ticket.state, *ticket.labels]
        digests = " ".join(guard.digest(one) for one in said)
        self._send(verb, mark, guard.digest(digests)[:20], ticket, comment)

    @abstractmethod
    def _send(self, verb: str, mark: str, digest: str, ticket: Ticket | None, comment: str) -> None:
        """One message; `digest` tells its content from every other one about the ticket."""


class Webhook(OneWay):
    """Events as the outbox signs them: `ticket:create`, `update`, `close`, `reopen`."""

    def __init__(
        self,
        name: str,
        where: str,
        tickets: Tickets,
        table: TrackerTable,
        deliver: Callable[[Message], None],
        clock: Clock,
    ) -> None:
        super().__init__(name, where, tickets, table)
        self._deliver, self._clock = deliver, clock

    def _send(self, verb: str, mark: str, digest: str, ticket: Ticket | None, comment: str) -> None:
        content: dict[str, Any] = {"ticket": mark, "comment": comment}
        if ticket is not None:
            labels = dict.fromkeys((guard.OURS, *self._table.labels, *ticket.labels))
            content |= {
                "title": ticket.title,
                "body": ticket.body,
                "severity": ticket.severity,
                "state": ticket.state,
                "labels": list(labels),
            }
        key = mark if verb == "create" else f"{mark}/{verb}/{digest}"
        created = self._clock.now().isoformat()
        self._deliver(Message(key=key, event=f"ticket:{verb}", created=created, content=content))


class Mail(OneWay):
    """A thread of mails a ticket: later ones name the first in `References`."""

    def __init__(
        self,
        name: str,
        where: str,
        tickets: Tickets,
        table: TrackerTable,
        send: Callable[[str, str, str, str], None],
    ) -> None:
        super().__init__(name, where, tickets, table)
        self._mail = send

    def _send(self, verb: str, mark: str, digest: str, ticket: Ticket | None, comment: str) -> None:
        subject = "[casemate] " + (ticket.title if ticket else f"{verb}: {mark}")
        parts = [comment, ticket.body if ticket else ""]
        if ticket is not None:
            labels = " ".join(dict.fromkeys((guard.OURS, *self._table.labels, *ticket.labels)))
            parts.append(f"severity: {ticket.severity}\nstate: {ticket.state}\nlabels: {labels}")
        parts.append(f"{verb} {mark}")
        text = "\n\n".join(part for part in parts if part) + "\n"
        if verb == "create":
            self._mail(subject, mark, text, "")
        else:
            self._mail(f"Re: {subject}", f"{mark}.{digest}", text, mark)
