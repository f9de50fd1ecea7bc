"""`casemate watch once`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for

if TYPE_CHECKING:
    from casemate.operations.watching.alarms import Alarm
    from casemate.operations.watching.looking import Seen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument(
        "--early",
        action="store_true",
        help="judge what there is of windows that are not over, too (one more chance of a false"
        " alarm)",
    )


def run(arguments: Any) -> int:
    """Look once; exit code 1 while an alarm stands that somebody should see to now."""
    from casemate.cli.output import emit

    seen = open_for(arguments).watch.once(early=arguments.early)
    lines = [line(seen), *(told(one) for one in seen.alarms)]
    emit(arguments, seen, "\n".join(lines))
    return 1 if any(one.cause.severity == "page" for one in seen.alarms) else 0


def line(seen: "Seen") -> str:
    """One look in a line."""
    pages = sum(one.cause.severity == "page" for one in seen.alarms)
    return (
        f"{seen.time} {seen.answers} requests answered, {seen.outcomes} outcomes,"
        f" {len(seen.judgements)} windows judged; alarms: {pages} to see to now,"
        f" {len(seen.alarms) - pages} notes"
    )


def told(alarm: "Alarm") -> str:
    """An alarm in a line, and what to do in another."""
    from casemate.cli.output import printable

    cause = alarm.cause
    of = f" ({printable(', '.join(cause.labels.values()))})" if cause.labels else ""
    return (
        f"{cause.severity} {cause.name}{of} since {alarm.began}: {printable(cause.text)}\n"
        f"     {printable(cause.hint)}"
    )
