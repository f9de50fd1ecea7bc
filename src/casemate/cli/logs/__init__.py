"""`casemate logs`."""

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.logs import rules
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.operations.project import Project
    from casemate.watch.logs.line import LogLine

FOLLOW_SECONDS = 1.0
LAST = 10
"""Lines that `tail` begins with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    search = actions.add_parser(
        "search", help="the newest lines that match", parents=[common(nested=True)]
    )
    _query(search)
    search.add_argument("--limit", type=int, default=50, help="lines (default: 50)")
    tail = actions.add_parser(
        "tail", help="the newest lines, oldest first", parents=[common(nested=True)]
    )
    tail.add_argument("query", nargs="?", default="", help="see search")
    tail.add_argument(
        "-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C"
    )
    stats = actions.add_parser(
        "stats", help="how many lines match, by a field", parents=[common(nested=True)]
    )
    _query(stats)
    stats.add_argument(
        "--by", required=True, help="such as code, user, model, level, status, minute, hour or day"
    )
    sql = actions.add_parser(
        "sql", help="answer one SELECT over the view logs", parents=[common(nested=True)]
    )
    sql.add_argument("statement", help='such as "select code, count(*) from logs group by code"')
    erase = actions.add_parser(
        "erase",
        help="remove every line that matches, for good",
        parents=[common(nested=True)],
    )
    _query(erase, is_needed=True)
    rules.add_arguments(
        actions.add_parser("rules", help="Sigma rules over lines: check, list or try them")
    )


def _query(parser: argparse.ArgumentParser, *, is_needed: bool = False) -> None:
    parser.add_argument(
        "query",
        nargs=None if is_needed else "?",
        default=None if is_needed else "",
        help="words and names, such as 'level:error AND model:wdbc'"
        + ("" if is_needed else " (default: every line)"),
    )
    parser.add_argument(
        "--since", help="no older lines: RFC 3339, a date, or how long ago such as 90m, 12h, 7d"
    )
    parser.add_argument("--until", help="only older ones")


def run(arguments: Any) -> int:
    """Search, follow, count, answer, erase; what is about rules needs no project."""
    from casemate.cli.output import emit, printable, table

    if arguments.action == "rules":
        return rules.run(arguments)
    project = open_for(arguments)
    if arguments.action == "search":
        found = project.logs.search(
            arguments.query, since=arguments.since, until=arguments.until, limit=arguments.limit
        )
        lines = [text(line) for line in found.lines]
        if found.more:
            lines.append(f"there are older ones: --limit {2 * arguments.limit}")
        if found.stale:
            print(f"the newest lines are missing: {printable(found.stale)}", file=sys.stderr)
        emit(arguments, found, "\n".join(lines) or "no line matches")
    elif arguments.action == "tail":
        return _tail(arguments, project)
    elif arguments.action == "stats":
        counts = project.logs.stats(
            arguments.by, arguments.query, since=arguments.since, until=arguments.until
        )
        rows: list[list[Any]] = [[group.value, group.lines] for group in counts.groups]
        emit(arguments, counts, table([arguments.by, "lines"], [*rows, ["all", counts.lines]]))
    elif arguments.action == "sql":
        answer = project.logs.sql(arguments.statement)
        said = table(answer.columns, list(answer.rows))
        more = f"\nonly the first {len(answer.rows)} rows" if answer.more else ""
        emit(arguments, answer, said + more)
    else:
        erased = project.logs.erase(arguments.query, since=arguments.since, until=arguments.until)
        emit(
            arguments,
            erased,
            f"{erased.lines} lines erased on {len(erased.days)} days; the audit log and whoever"
            " was sent lines still have theirs",
        )
    return 0


def _tail(arguments: Any, project: "Project") -> int:
    newer = project.logs.after(None, arguments.query)
    found = project.logs.search(arguments.query, limit=LAST)
    _print(arguments, found.lines[::-1])
    while arguments.follow:
        sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)
        newer = project.logs.after(newer.ends, arguments.query)
        _print(arguments, newer.lines)
    return 0


def _print(arguments: Any, lines: "list[LogLine]") -> None:
    import msgspec

    for line in lines:
        print(msgspec.json.encode(line).decode() if arguments.format == "json" else text(line))


def text(line: "LogLine") -> str:
    """A line for people."""
    from casemate.cli.output import printable

    where = line.trace or line.request or line.run
    return printable(
        f"{line.time} {line.level:7} {line.message}" + (f" [{where}]" if where else "")
    )
