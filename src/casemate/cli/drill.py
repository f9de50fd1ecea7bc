"""`casemate drill`."""

import argparse
import sys
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these attacks (default: all)"
    )
    parser.add_argument(
        "--if-due",
        action="store_true",
        help="only if the newest report of all is older than [drill] every_days; else tell that one",
    )
    parser.add_argument("--list", action="store_true", help="say which attacks there are")


def run(arguments: Any) -> int:
    """Play; 0: all that is expected has happened, 1: something was missed or not stopped, 5: nothing
    was, and something could not be played.
    """
    from casemate.cli.output import emit, printable, table

    drills = open_for(arguments).drills
    if arguments.list:
        listed = drills.list()
        heads = ["attack", "technique", "what", "should be seen by", "should be stopped by", ""]
        rows = [
            [one.attack, one.technique, one.title, one.detects, one.contains or "-", one.left_out]
            for one in listed
        ]
        emit(arguments, listed, table(heads, rows))
        return 0
    found = drills.play(arguments.only, if_due=arguments.if_due, progress=_progress)
    made = found.drill
    from casemate.operations.drills import report

    rows = [
        [
            one.attack,
            one.technique,
            one.verdict.replace("-", " "),
            report.told(one.detected),
            report.told(one.contained),
        ]
        for one in made.played
    ]
    lines = [table(["attack", "technique", "verdict", "seen by", "stopped by"], rows), ""]
    lines += [f"left out: {name}, {printable(why)}" for name, why in made.left_out.items()]
    lines += [f"{one.attack}: {printable(why)}" for one in made.played if (why := report.why(one))]
    when = "" if found.played_now else f" on {made.time[:10]}, and none is due yet"
    lines += [
        f"{report.sentence(made)}; {made.seconds:.0f} s{when}",
        f"report: {found.folder}/drill.html, signed; casemate verify {found.folder}",
    ]
    emit(arguments, found, "\n".join(lines))
    if any(one.verdict != "not-played" for one in made.broken):
        return 1
    return 5 if made.broken else 0


def _progress(text: str, done: int, total: int) -> None:
    """Say on a terminal what is played."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{done}/{total} {text}\n")
