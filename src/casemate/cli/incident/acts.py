"""What people do with incidents."""

import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.output import emit, printable
from casemate.core.errors import ConfigError

if TYPE_CHECKING:
    from casemate.operations.incidents import Incidents
    from casemate.respond.states import Incident


def _time(text: str | None, option: str) -> datetime.datetime | None:
    """A time of the command line, with a time zone."""
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is no time", hint="2026-11-29T08:00:00Z") from error
    if found.tzinfo is None:
        raise ConfigError(f"{option} {text!r} has no time zone", hint="2026-11-29T08:00:00Z")
    return found


def _told(arguments: Any, act: "Callable[[Incidents], Incident]") -> int:
    after = act(open_for(arguments).incidents)
    owner = f", owner {printable(after.owner)}" if after.owner else ""
    emit(arguments, after, f"incident {after.id}: {after.state}, severity {after.severity}{owner}")
    return 0


def _ack(arguments: Any) -> int:
    aware = _time(arguments.aware, "--aware")
    return _told(
        arguments,
        lambda incidents: incidents.acknowledge(
            arguments.id, arguments.owner, aware=aware, personal_data=arguments.personal_data
        ),
    )


def _note(arguments: Any) -> int:
    aware = _time(arguments.aware, "--aware")
    return _told(
        arguments,
        lambda incidents: incidents.note(
            arguments.id,
            arguments.text,
            served=arguments.served,
            aware=aware,
            personal_data=arguments.personal_data,
        ),
    )


def _mute(arguments: Any) -> int:
    now = datetime.datetime.now(datetime.UTC)
    since = _time(arguments.since, "--from") or now
    until = _time(arguments.until, "--until") or now
    pairs = [text.partition("=") for text in arguments.matching]
    matching = {name: value for name, _, value in pairs}
    made = open_for(arguments).incidents.mute(since, until, matching, arguments.reason)
    emit(arguments, made, f"window {made.id}: {made.since[:19]} to {made.until[:19]} UTC")
    return 0


def _report(arguments: Any) -> int:
    content = (
        sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    )
    taken = open_for(arguments).incidents.report(content)
    opened = ", ".join(str(number) for number in taken.opened)
    text = f"{taken.alerts} alerts: {taken.new} began, {taken.ended} ended"
    emit(arguments, taken, f"{text}; opened: {opened}" if opened else text)
    return 0


def _erase(arguments: Any) -> int:
    count = open_for(arguments).incidents.erase(arguments.id, arguments.account)
    emit(arguments, {"comments": count}, f"{count} comments are gone; those in trackers are not")
    return 0


ACTS: dict[str, Callable[[Any], int]] = {
    "ack": _ack,
    "contain": lambda given: _told(given, lambda one: one.contain(given.id, given.how)),
    "recover": lambda given: _told(given, lambda one: one.recover(given.id, given.how)),
    "close": lambda given: _told(given, lambda one: one.close(given.id, given.despite)),
    "review": lambda given: _told(given, lambda one: one.review(given.id, given.text)),
    "reopen": lambda given: _told(given, lambda one: one.reopen(given.id, given.reason)),
    "note": _note,
    "assign": lambda given: _told(given, lambda one: one.assign(given.id, given.owner)),
    "severity": lambda given: _told(
        given, lambda one: one.grade(given.id, given.severity, given.reason)
    ),
    "merge": lambda given: _told(given, lambda one: one.merge(given.id, given.into)),
    "erase": _erase,
    "mute": _mute,
    "report": _report,
}
