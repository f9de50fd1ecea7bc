"""What can be asked of the log store: search, follow, count, SQL, erase."""

import contextlib

from msgspec.structs import replace

from casemate.controls.access.policy import Resource
from casemate.controls.audit.query import parse_time
from casemate.core.digest import sha256
from casemate.core.errors import BackendError, BusyError, ConfigError
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.logs.ingest import ingest, store_of
from casemate.operations.sinks import spool_of
from casemate.watch.logs.line import LogLine
from casemate.watch.logs.query import Query, parse
from casemate.watch.logs.sql import Answer, ask
from casemate.watch.logs.store import Counts, Found, LogStore
from casemate.wiring import Wiring

FEW = 50
"""Lines of an answer where nobody says how many."""


class Erased(Record, frozen=True, kw_only=True):
    """What was erased."""

    lines: int
    days: dict[str, int]
    """Lines by day."""


class Newer(Record, frozen=True, kw_only=True):
    """Lines that were added behind a place."""

    lines: list[LogLine]
    """Oldest first."""
    ends: dict[str, int]
    """Where to go on."""


@reading("logs:read")
def search(
    project: Wiring,
    query: str = "",
    *,
    since: str | None = None,
    until: str | None = None,
    limit: int = FEW,
) -> Found:
    """The newest lines that match; who may not `audit:read` sees none of the audit log.

    Args:
        project: whose.
        query: words and names, such as `level:error AND model:wdbc`.
        since: no older lines: RFC 3339, a date, or how long ago such as `2h`.
        until: only older ones.
        limit: lines.

    Raises:
        AccessDenied: policy. ConfigError: the query is wrong. BackendError: the store cannot be
            used.
    """
    asked = _parsed(project, query, since, until, _hidden(project))
    stale = ""
    try:
        store = _fresh(project)
    except BackendError as error:
        # where the disk is full, people search for why
        store, stale = store_of(project), error.message
    return replace(store.search(asked, limit), stale=stale)


@reading("logs:read")
def after(project: Wiring, ends: dict[str, int] | None = None, query: str = "") -> Newer:
    """Lines that match and were added behind `ends`, which an earlier call has answered; of the
    first call it answers none. See `search`.
    """
    asked = _parsed(project, query, None, None, _hidden(project))
    store = _fresh(project)
    if ends is None:
        return Newer(lines=[], ends=store.ends())
    ends = dict(ends)
    return Newer(lines=store.after(ends, asked), ends=ends)


@reading("logs:read")
def stats(
    project: Wiring,
    by: str,
    query: str = "",
    *,
    since: str | None = None,
    until: str | None = None,
) -> Counts:
    """How many lines match, by the values of a field, or by minute, hour or day. See `search`."""
    asked = _parsed(project, query, since, until, _hidden(project))
    return _fresh(project).count(by, asked)


@reading("logs:read")
def sql(project: Wiring, statement: str) -> Answer:
    """Answer one SELECT over the view `logs`. See `search`."""
    return ask(_fresh(project), statement, _hidden(project))


@operation("logs:erase")
def erase(
    project: Wiring, query: str, *, since: str | None = None, until: str | None = None
) -> Erased:
    """Remove every line that matches, for good, and record how many; the words asked for are
    recorded as their digest alone. See `search`.

    Lines that wait for a sink go, too. What it is about stays in the audit log where it came from
    there, and with whoever was sent it.

    Raises:
        AccessDenied: policy. ConfigError: the query is wrong or empty. BusyError: somebody else
            writes the store.
    """
    if not query.strip():
        raise ConfigError("nothing is said about what to erase", hint="casemate logs erase QUERY")
    asked = _parsed(project, query, since, until)
    digest = sha256(query.encode())
    acting = erase.ask(project, query=digest)
    store = store_of(project)
    with store.writing():
        ingest(project, store, forced=True)
        days = store.erase(asked, spool_of(project).erase)
    erased = Erased(lines=sum(days.values()), days=days)
    about = f'Project::"{project.config.project.id}"'
    acting.record("logs:erase", about, lines=erased.lines, days=days, query=digest)
    return erased


def _parsed(
    project: Wiring, query: str, since: str | None, until: str | None, hidden: str = ""
) -> Query:
    now = project.clock.now()
    return parse(
        query,
        parse_time(since, now) if since else None,
        parse_time(until, now) if until else None,
        hidden,
    )


def _hidden(project: Wiring) -> str:
    """The data set that whoever acts does not see."""
    _, decision = project.point.decide("audit:read", Resource())
    return "" if decision.allowed else "casemate.audit"


def _fresh(project: Wiring) -> LogStore:
    """The store, with what is new in it unless somebody else is about to add that."""
    store = store_of(project)
    with contextlib.suppress(BusyError), store.writing(waits=False):
        ingest(project, store)
    return store


class Logs(Noun):
    """The lines of a project, by their verbs."""

    search = search
    after = after
    stats = stats
    sql = sql
    erase = erase
