"""What an issue tracker can do for incidents, whichever it is."""

from typing import Literal, Protocol

from casemate.core.types import Record, Severity

State = Literal["open", "closed"]
Labels = tuple[str, ...]


class Ticket(Record, frozen=True, kw_only=True):
    """What a ticket says, in plain text: a tracker shows it as it is, and reads no markup in it."""

    title: str
    """One line, at most `guard.MAX_TITLE` characters."""
    body: str
    """Lines of text, at most `guard.MAX_BODY` bytes."""
    labels: Labels = ()
    """Beside those of the configuration."""
    severity: Severity
    state: State = "open"


class Reference(Record, frozen=True, kw_only=True):
    """Where a ticket is."""

    id: str
    """As the tracker's own interface names it; of one tracker and project."""
    url: str
    """For people; empty where there is no page."""


class Comment(Record, frozen=True, kw_only=True):
    """What somebody said on a ticket."""

    id: str
    author: str
    """As the tracker names the account: a login or an account id, no full name."""
    own: bool
    """The account of casemate itself."""
    created: str
    """As the tracker writes times."""
    text: str
    """Plain text, fit to be shown, at most `guard.MAX_COMMENT` characters."""


class Seen(Record, frozen=True, kw_only=True):
    """A ticket as it is now."""

    state: State
    assignee: str
    """The account; empty: nobody."""
    comments: tuple[Comment, ...]
    """Those after the cursor, oldest first; at most `guard.MAX_COMMENTS`, the others follow with
    the next cursor.
    """
    cursor: str
    """For the next `read`."""
    version: str
    """Another one as soon as title, text, state, assignee or labels are others."""


class Checked(Record, frozen=True, kw_only=True):
    """Whether tickets could be made."""

    account: str
    """Whose token it is, as the tracker says."""
    problems: tuple[str, ...]
    """What is missing, and what to do; empty: nothing that could be seen."""


class Tracker(Protocol):
    """An issue tracker, or one place in it where casemate's tickets are.

    Every method raises BackendError where the same call may succeed later (the outbox tries again),
    and ConfigError where somebody must act first: a token, a right, a project, a ticket's text.
    Times out, and reads bounded answers only.
    """

    name: str
    """In the configuration."""
    where: str
    """For people; without secrets."""
    reads: bool
    """Whether `read` can be asked; off where messages go one way."""

    def create(self, key: str, ticket: Ticket) -> Reference:
        """The ticket of this key, made if there is none yet.

        The same key never makes two, also where the answer to the first creation was lost: the key
        is written in the ticket and searched for, and as long as a search may not yet see what was
        made, this raises BackendError.
        """

    def update(self, reference: Reference, ticket: Ticket, comment: str = "") -> None:
        """Say what has changed. What people have written over casemate's title or text stays: then
        the new one becomes a comment. Labels are added. A ticket that says `closed` is closed;
        none is opened again (`reopen`), because a person may have closed it.

        A comment that says the same as one of the newest hundred is not said again, so that a
        repetition after a lost answer changes nothing.
        """

    def read(self, reference: Reference, cursor: str = "") -> Seen:
        """State, and what was said since `cursor`; empty: from the beginning. ConfigError: the
        ticket is gone, or messages go one way.
        """

    def close(self, reference: Reference, comment: str) -> None:
        """Say why, then close it; a closed one stays closed."""

    def reopen(self, reference: Reference, comment: str = "") -> None:
        """Open a closed one again."""

    def check(self) -> Checked:
        """Ask whether the token works, the project exists and tickets may be made; changes
        nothing.
        """
