"""Issue trackers behind one interface: tickets about incidents, made once, never written over
people.
"""

import functools
from collections.abc import Callable
from pathlib import Path

from casemate.config import TrackerTable
from casemate.core.clock import Clock
from casemate.core.store import Store
from casemate.respond.trackers.interface import (
    Checked,
    Comment,
    Reference,
    Seen,
    Ticket,
    Tracker,
)
from casemate.respond.trackers.remembered import Tickets

__all__ = ["Checked", "Comment", "Reference", "Seen", "Ticket", "Tracker", "open_tracker"]


def open_tracker(
    name: str,
    table: TrackerTable,
    store: Store,
    clock: Clock,
    root: Path,
    read_secret: Callable[[str], str],
    seconds: float | None = None,
) -> Tracker:
    """The tracker that `[trackers.NAME]` describes; nothing is asked of it yet.

    Args:
        name: of the table.
        table: what it says.
        store: remembers tickets.
        clock: tells the time.
        root: what a certificate's file is relative to.
        read_secret: gives the secret behind a reference, each time that it is needed.
        seconds: after which nothing more is asked of one that can be read; default: never.

    Raises:
        ConfigError: an address is none that may be used.
    """
    tickets = Tickets(store, clock, name)
    secret = functools.partial(read_secret, table.token or "")
    if table.kind == "mail":
        from casemate.core.outbox.mail import relay_to
        from casemate.respond.trackers.oneway import Mail

        send = relay_to(table.to, table.server, table.sender, table.timeout)
        return Mail(name, f"mail to {table.to}", tickets, table, send)
    if table.kind == "webhook":
        from casemate.core.outbox.webhook import deliver_to
        from casemate.respond.trackers.oneway import Webhook

        deliver = deliver_to(table.url, secret, table.timeout)
        return Webhook(name, f"a webhook at {table.host}", tickets, table, deliver, clock)
    ca = None if table.ca is None else root / table.ca
    return _hosted(name, table, tickets, secret, ca, seconds)


def _hosted(
    name: str,
    table: TrackerTable,
    tickets: Tickets,
    secret: Callable[[], str],
    ca: Path | None,
    seconds: float | None,
) -> Tracker:
    from casemate.respond.trackers.github import URL, VERSION, GitHub
    from casemate.respond.trackers.gitlab import GitLab
    from casemate.respond.trackers.hosted import Hosted
    from casemate.respond.trackers.jira import JiraCloud, JiraDataCenter, basic
    from casemate.respond.trackers.roundup import Roundup, at_home
    from casemate.respond.trackers.web import Web

    def headers() -> dict[str, str]:
        if table.kind == "gitlab":
            return {"private-token": secret()}
        said = basic(table.user, secret()) if table.user else f"Bearer {secret()}"
        more = {"roundup": at_home(table.url), "github": VERSION}.get(table.kind, {})
        return {"authorization": said, **more}

    kinds: dict[str, type[Hosted]] = {
        "roundup": Roundup,
        "jira-cloud": JiraCloud,
        "jira-data-center": JiraDataCenter,
        "gitlab": GitLab,
        "github": GitHub,
    }
    web = Web(name, table.url or URL, headers, table.timeout, ca, seconds)
    return kinds[table.kind](name, f"{table.kind} at {web.host}", web, tickets, table)
