"""Log lines and gauges on their way to other people's systems: deliver, look, try."""

import datetime
import math
import uuid

import msgspec

from casemate.core.errors import ConfigError, Error
from casemate.core.types import Record
from casemate.operations.acting import Noun, operation, reading
from casemate.watch.levels import Gauge
from casemate.watch.logs.line import LogLine, written
from casemate.watch.sinks.delivery import Delivery, Manner, Route, deliver, send_all
from casemate.watch.sinks.interface import Item, Levels
from casemate.watch.sinks.spool import PLACE, Spool
from casemate.watch.sinks.ways import MEGABYTE, routes
from casemate.wiring import Wiring


class SinkStatus(Record, frozen=True, kw_only=True):
    """How a sink stands."""

    sink: str
    kind: str
    to: str
    waiting: int
    """Entries of the spool that it has not seen."""
    oldest: str | None
    """Time of the first of them."""
    accepted: int
    refused: int
    """That the receiver will never take; they are in `dead` of the spool, with its reason."""
    diverted: int
    """That it put aside, such as into a failure store."""
    dropped: int
    """That went unsent because the spool was full."""
    failures: int
    """In a row."""
    error: str
    due: str | None
    """Next try, ISO 8601; None: the next look."""
    sent: str | None
    """When it took something last, ISO 8601."""
    spoiled: str | None
    """When something was refused or put aside last, ISO 8601."""
    lost: str | None
    """When it was seen last that lines were dropped, ISO 8601."""


class Tried(Record, frozen=True, kw_only=True):
    """What became of a test line."""

    sink: str
    error: str
    """Empty: it was taken."""


def spool_of(project: Wiring) -> Spool:
    """A project's spool, for all sinks of its configuration; BackendError: the disk refuses."""
    most = project.config.spool.max_megabytes * MEGABYTE
    return Spool(project.state.joinpath(*PLACE), most, list(project.config.sinks))


def forget_former(project: Wiring) -> None:
    """Forget where sinks stood that the configuration does not have any more.

    Raises:
        BackendError: the disk refuses.
    """
    if project.state.joinpath(*PLACE).is_dir():
        spool_of(project).retire()


def pass_on(project: Wiring, gauges: list[Gauge] | None = None) -> list[Delivery]:
    """Send what waits and is due, from within another operation; nothing is raised for a sink that
    does not take it.

    Args:
        project: whose.
        gauges: of the look that just ended, to be sent too.

    Raises:
        BackendError: the spool cannot be written.
    """
    if not project.config.sinks:
        return []
    found = routes(project.config, project.root, project.read_secret)
    spool = spool_of(project)
    if gauges and any("gauges" in route.wanted for route in found):
        time = project.clock.now().isoformat(timespec="milliseconds")
        spool.append([Levels(gauges=gauges, time=time)])
    return send_all(spool, found, Manner(project.clock, project.config.spool.backoff))


@operation("sinks:send")
def send(project: Wiring) -> list[Delivery]:
    """Send all that waits, also to sinks that failed a moment ago.

    Raises:
        AccessDenied: policy. ConfigError: there is no sink. BackendError: the spool cannot be
            written.
    """
    acting = send.ask(project, unrecorded=True)
    found = _routes(project)
    manner = Manner(project.clock, project.config.spool.backoff, now=True, seconds=math.inf)
    done = send_all(spool_of(project), found, manner)
    acting.record(
        "sinks:send",
        f'Project::"{project.config.project.id}"',
        lines=sum(one.accepted for one in done),
    )
    return done


@operation("sinks:send")
def check(project: Wiring, only: list[str] | None = None) -> list[Tried]:
    """Send one test line to each sink, past the spool.

    Args:
        project: whose.
        only: names of sinks; default: all.

    Raises:
        AccessDenied: policy. ConfigError: there is no such sink.
    """
    check.ask(project)
    found = _routes(project)
    unknown = sorted(set(only or ()) - {route.name for route in found})
    if unknown:
        raise ConfigError(
            f"there is no sink {unknown[0]!r}",
            hint="[sinks]: " + ", ".join(route.name for route in found),
        )
    now = project.clock.now()
    return [_tried(route, now) for route in found if not only or route.name in only]


def _tried(route: Route, now: datetime.datetime) -> Tried:
    line = LogLine(
        time=written(now),
        level="info",
        message=f"test line of casemate for the sink {route.name}",
        id=uuid.uuid4().hex,
        dataset="casemate.alarm",
        action="sinks:check",
        outcome="success",
    )
    try:
        sent = deliver(route.sender, [Item(line, msgspec.json.encode(line))])
    except Error as error:
        return Tried(sink=route.name, error=error.sentence)
    aside = "it was put aside, such as into a failure store" if sent.diverted else ""
    reasons = [one.reason for one in sent.refused]
    return Tried(sink=route.name, error=sent.why or aside or ", ".join(reasons))


@reading("sinks:read")
def status(project: Wiring) -> list[SinkStatus]:
    """How every sink stands; AccessDenied: policy. BackendError: the spool cannot be read."""
    return standing(project)


def standing(project: Wiring) -> list[SinkStatus]:
    """The same from within another operation; BackendError: the spool cannot be read."""
    if not project.config.sinks:
        return []
    spool = spool_of(project)
    end = spool.end()
    spool.account(project.clock.now().isoformat(timespec="seconds"))
    found = []
    for name, table in project.config.sinks.items():
        cursor = spool.cursor(name)
        found.append(
            SinkStatus(
                sink=name,
                kind=table.kind,
                to=table.to,
                waiting=max(end.line - cursor.line, 0),
                oldest=spool.oldest(name, end),
                accepted=cursor.accepted,
                refused=cursor.refused,
                diverted=cursor.diverted,
                dropped=cursor.dropped,
                failures=cursor.failures,
                error=cursor.error,
                due=cursor.due,
                sent=cursor.sent,
                spoiled=cursor.spoiled,
                lost=cursor.lost,
            )
        )
    return found


def _routes(project: Wiring) -> list[Route]:
    if not project.config.sinks:
        raise ConfigError(
            "no sink is configured", hint="[sinks.NAME] in casemate.toml: docs/how-to/send-logs.md"
        )
    return routes(project.config, project.root, project.read_secret)


class Sinks(Noun):
    """Where a project's log lines go, by its verbs."""

    send = send
    status = status
    check = check
