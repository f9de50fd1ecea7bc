"""What is the same for every tracker that can be read: making a ticket once, not writing over
people, saying nothing twice.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from casemate.config import TrackerTable
from casemate.core.errors import BackendError, ConfigError, Error, TransientError
from casemate.core.types import Severity
from casemate.respond.trackers import guard
from casemate.respond.trackers.interface import (
    Checked,
    Comment,
    Labels,
    Reference,
    Seen,
    State,
    Ticket,
)
from casemate.respond.trackers.remembered import Tickets, Written
from casemate.respond.trackers.web import Conflict, Elsewhere, NotDone, Web

TRIES = 3
"""How often a ticket is read again because somebody changed it meanwhile, before it is later's."""


@dataclass(frozen=True)
class Text:
    """Title and body in a tracker's own notation."""

    title: str
    body: str

    @property
    def written(self) -> Written:
        """What is remembered of it."""
        return Written(guard.digest(self.title), guard.digest(self.body))


@dataclass(frozen=True)
class Held:
    """A ticket as the tracker has it."""

    id: str
    title: str
    body: str
    state: State
    labels: Labels
    assignee: str
    etag: str = ""
    """What a change is made conditional on, where the tracker has such a thing."""
    is_moved: bool = False
    """Whether another ticket took its place, so that its state is nobody's."""
    more: tuple[str, ...] = ()
    """What else the tracker's own module needs."""

    @property
    def version(self) -> str:
        """See `Seen.version`."""
        parts = (self.title, self.body, self.state, self.assignee, *sorted(self.labels))
        return guard.digest(" ".join(guard.digest(part) for part in parts))[:32]


@dataclass(frozen=True)
class Change:
    """What is written; None and empty: left as it is."""

    title: str | None = None
    body: str | None = None
    add: Labels = ()
    remove: Labels = ()
    severity: Severity | None = None
    """Where it is more than a label, and was another one."""

    def __bool__(self) -> bool:
        return bool(self.title is not None or self.body is not None or self.add or self.remove)


class Hosted(ABC):
    """A tracker whose tickets can be read. See `Tracker` for what callers are promised."""

    reads = True
    settles: float
    """Seconds after which a search sees a ticket, and a request that was given up has ended."""

    def __init__(
        self, name: str, where: str, web: Web, tickets: Tickets, table: TrackerTable
    ) -> None:
        self.name, self.where = name, where
        self._web, self._tickets, self._table = web, tickets, table
        self._account: str | None = None

    def create(self, key: str, ticket: Ticket) -> Reference:
        """See `Tracker.create`."""
        mark = guard.mark(key)
        guard.checked(ticket)
        known = self._tickets.made(mark)
        if known is not None:
            return known
        text = self._text(ticket, mark)
        found = self._oldest(self._find(mark))
        if found is None:
            found = self._tickets.begin(mark, self.settles)
            if found is not None:
                return found
            try:
                found = self._post(text, ticket, mark)
            except (NotDone, Conflict, ConfigError):
                self._tickets.forget(mark)
                raise
            self._tickets.keep(mark, found, text.written, "open")
        else:
            # somebody may have changed it since: nothing is known of what was written
            self._tickets.keep(mark, found, self._as_written(found, text))
        if ticket.state == "closed":
            self._move(found, "closed")
        return found

    def _as_written(self, found: Reference, text: Text) -> Written:
        held = self._look(found)
        title, body = text.written.title, text.written.body
        return Written(
            title if guard.digest(held.title) == title else "",
            body if guard.digest(held.body) == body else "",
        )

    def update(self, reference: Reference, ticket: Ticket, comment: str = "") -> None:
        """See `Tracker.update`."""
        guard.checked(ticket)
        guard.text(comment)
        guard.identifier(reference)
        mark, _ = self._tickets.written(reference.id)
        text = self._text(ticket, mark)
        told = self._written(reference, ticket, text)
        self._say(reference, [*told, *([comment] if comment else [])])
        # last: what could not be said must still count as news the next time
        self._tickets.rewrite(reference.id, text.written)
        if ticket.state == "closed":
            self._move(reference, "closed")

    def _written(self, reference: Reference, ticket: Ticket, text: Text) -> list[str]:
        """Change what only casemate has written; what of the rest is to be said instead."""
        for _ in range(TRIES):
            held = self._look(reference)
            change, told = self._change(held, ticket, text)
            if not change and change.severity is None:
                return told
            try:
                self._write(reference, held, change)
            except Conflict:
                continue
            return told
        raise self._restless(reference)

    def _change(self, held: Held, ticket: Ticket, text: Text) -> tuple[Change, list[str]]:
        _, known = self._tickets.written(held.id)
        told: list[str] = []
        title = self._newer(held.title, known.title, text.title, told, ticket.title)
        body = self._newer(held.body, known.body, text.body, told, ticket.body)
        wanted = self._wanted(ticket)
        stale = {one for one in held.labels if one.startswith(guard.SEVERITY) and one not in wanted}
        add = tuple(one for one in wanted if one not in held.labels)
        return Change(title, body, add, tuple(sorted(stale))), told

    @staticmethod
    def _newer(now: str, known: str, new: str, told: list[str], plain: str) -> str | None:
        """The new text if it is one and nobody wrote over the old one."""
        if guard.digest(new) == known or guard.alike(now, new):
            return None
        if guard.digest(now) == known:
            return new
        told.append(plain)
        return None

    def read(self, reference: Reference, cursor: str = "") -> Seen:
        """See `Tracker.read`."""
        guard.identifier(reference)
        if cursor and not _is_number(cursor):
            raise ConfigError(f"{cursor[:40]!r} is no cursor", hint="as `read` returned it")
        held = self._look(reference)
        if held.is_moved:
            raise Elsewhere(
                f"{self.where}: ticket {reference.id} was moved", hint="see where it says to"
            )
        if not self._me():
            raise ConfigError(
                f"{self.where} does not say whose the token is: what casemate said could not be"
                " told from what people say",
                hint=f"[trackers.{self.name}] token: that of an account",
            )
        since = int(cursor or 0)
        every = list(self._comments(reference, held))
        if not all(_is_number(one.id) for one in every):
            raise BackendError(
                f"{self.where} names comments of ticket {reference.id} by something else than"
                " numbers",
                hint="see that the address is the tracker's own",
            )
        found = [one for one in every if int(one.id) > since]
        found = sorted(found, key=lambda one: int(one.id))[: guard.MAX_COMMENTS]
        return Seen(
            state=held.state,
            assignee=held.assignee,
            comments=tuple(guard.heard(one) for one in found),
            cursor=found[-1].id if found else cursor,
            version=held.version,
        )

    def close(self, reference: Reference, comment: str) -> None:
        """See `Tracker.close`."""
        self._told(reference, comment)
        self._move(reference, "closed")

    def reopen(self, reference: Reference, comment: str = "") -> None:
        """See `Tracker.reopen`."""
        self._told(reference, comment)
        self._move(reference, "open")

    def _told(self, reference: Reference, comment: str) -> None:
        guard.identifier(reference)
        guard.text(comment)
        self._say(reference, [comment] if comment else [])

    def _say(self, reference: Reference, texts: list[str]) -> None:
        """Comments that none of the newest says already."""
        if not texts:
            return
        held = self._look(reference)
        said = [one.text for one in self._newest(reference, held)]
        for text in texts:
            if not any(guard.alike(self._shown(text), one) for one in said):
                self._comment(reference, held, text)

    def _move(self, reference: Reference, state: State) -> None:
        """Bring it into a state, unless it is in it."""
        for _ in range(TRIES):
            held = self._look(reference)
            try:
                if held.state != state:
                    self._turn(reference, held, state)
            except Conflict:
                continue
            self._tickets.moved(reference.id, state)
            return
        raise self._restless(reference)

    def _restless(self, reference: Reference) -> TransientError:
        return TransientError(
            f"{self.where}: somebody changes ticket {reference.id} all the time",
            hint="the outbox tries again",
        )

    def _wanted(self, ticket: Ticket) -> Labels:
        """Every label that the ticket should have."""
        all_ = (guard.OURS, *self._table.labels, guard.SEVERITY + ticket.severity, *ticket.labels)
        return tuple(dict.fromkeys(all_))

    def _me(self) -> str:
        """The token's own account, as comments name authors; empty where the token has none."""
        if self._account is None:
            try:
                self._account = self._whoami()
            except ConfigError:
                self._account = ""
        return self._account

    def check(self) -> Checked:
        """See `Tracker.check`."""
        account = self._whoami()
        try:
            return Checked(account=account, problems=tuple(self._problems()))
        except ConfigError as error:
            return Checked(account=account, problems=(_words(error),))

    def _newest(self, reference: Reference, held: Held) -> Iterable[Comment]:
        """The newest hundred comments or more, with their texts as `_shown` makes them."""
        return self._comments(reference, held)

    def _shown(self, text: str) -> str:
        """How a comment's text is read again."""
        return text

    @staticmethod
    def _oldest(found: Iterable[Reference]) -> Reference | None:
        """The first that was made: a copy of our mark in somebody's own ticket is younger."""
        return min(found, key=lambda one: int(one.id), default=None)

    @abstractmethod
    def _text(self, ticket: Ticket, mark: str) -> Text:
        """Title and body as they are sent."""

    @abstractmethod
    def _find(self, mark: str) -> list[Reference]:
        """Tickets with this mark, as far as the tracker's search sees."""

    @abstractmethod
    def _post(self, text: Text, ticket: Ticket, mark: str) -> Reference:
        """Make it."""

    @abstractmethod
    def _look(self, reference: Reference) -> Held:
        """As it is now; BackendError where the answer is about another ticket."""

    @abstractmethod
    def _write(self, reference: Reference, held: Held, change: Change) -> None:
        """Make a change; Conflict where the ticket is no longer as `held`, if that can be told."""

    @abstractmethod
    def _comments(self, reference: Reference, held: Held) -> Iterable[Comment]:
        """Its comments, in any order; not its body."""

    @abstractmethod
    def _comment(self, reference: Reference, held: Held, text: str) -> None:
        """Say something; state and title stay."""

    @abstractmethod
    def _turn(self, reference: Reference, held: Held, state: State) -> None:
        """Close or open it; see `_write`."""

    @abstractmethod
    def _whoami(self) -> str:
        """The account of the token."""

    @abstractmethod
    def _problems(self) -> Iterable[str]:
        """What would keep tickets from being made."""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def _words(error: Error) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
