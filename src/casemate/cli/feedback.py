"""`casemate feedback`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

KINDS = ("outcome", "correction", "complaint")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help_: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_, parents=[common(nested=True)])

    add = action("add", "tell what really was, for requests by their ids: all lines or none")
    add.add_argument("file", type=Path, help="separated values with a header, a line a row")
    add.add_argument("--source", default="", metavar="NAME", help="one of [feedback.sources]")
    add.add_argument(
        "--kind",
        choices=KINDS,
        default="outcome",
        help="where no column `kind` says it (default: outcome)",
    )
    for name, default in (("--id", "request_id"), ("--outcome", "outcome")):
        add.add_argument(name, default=default, metavar="COLUMN", help=f"(default: {default})")
    listing = action("list", "the newest feedback, without what was said")
    listing.add_argument("--kind", choices=KINDS, help="only this one")
    listing.add_argument("--contradictions", action="store_true", help="only what contradicts")
    listing.add_argument("--most", type=int, default=100, metavar="N", help="(default: 100)")
    action("show", "everything that was told of one request").add_argument(
        "request", help="its id, from the header x-request-id"
    )
    action("sources", "who told how much, and how far they are trusted")
    screen = action("screen", "what of it would teach, what is held back or in quarantine, and why")
    screen.add_argument("--rows", action="store_true", help="every row that does not teach")


def run(arguments: Any) -> int:
    """Do what the action says; exit code 1 when `screen` names a source."""
    return int(
        {"add": _add, "list": _list, "show": _show, "sources": _sources, "screen": _screen}[
            arguments.action
        ](arguments)
    )


def _add(arguments: Any) -> int:
    from casemate.cli.output import emit

    added = open_for(arguments).feedback.add(
        arguments.file,
        source=arguments.source,
        kind=arguments.kind,
        id=arguments.id,
        outcome=arguments.outcome,
    )
    lines = [
        f"{added.new} new, {added.same} known already, from {added.source}",
        *(f"contradicts what was told before: {one}" for one in added.contradictions),
    ]
    emit(arguments, added, "\n".join(lines))
    return 0


def _list(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).feedback.list(
        kind=arguments.kind, contradictions=arguments.contradictions, most=arguments.most
    )
    rows = [
        [one.time, one.request, one.kind, one.who, "contradicts" if one.contradicts else ""]
        for one in found
    ]
    text = table(["time", "request", "kind", "source", ""], rows) if rows else "nothing was told"
    emit(arguments, found, text)
    return 0


def _show(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).feedback.show(arguments.request)
    rows = [
        [
            one.time,
            one.kind,
            one.who,
            "" if one.value is None else ", ".join(map(str, one.value)),
            one.note,
            "contradicts" if one.contradicts else "",
        ]
        for one in found
    ]
    emit(arguments, found, table(["time", "kind", "source", "said", "note", ""], rows))
    return 0


def _sources(arguments: Any) -> int:
    from casemate.cli.output import emit, table

    found = open_for(arguments).feedback.sources()
    rows = [
        [
            one.name,
            one.trust,
            one.outcomes,
            one.corrections,
            one.complaints,
            one.contradictions,
            one.last,
        ]
        for one in found
    ]
    heads = ["source", "trust", "outcomes", "corrections", "complaints", "contradictions", "last"]
    emit(arguments, found, table(heads, rows) if rows else "nothing was told")
    return 0


def _screen(arguments: Any) -> int:
    from casemate.cli.output import emit, printable, table

    found = open_for(arguments).feedback.screen()
    counts = ", ".join(f"{rows} {name}" for name, rows in found.verdicts.items())
    lines = [f"{found.rows} rows beside {found.dataset}: {counts}"]
    lines += [f"{one.severity} {one.id}: {printable(one.message)}" for one in found.findings]
    rows = [
        [
            one.name,
            one.rows,
            one.against,
            f"{one.by_model:.1f}",
            "" if one.by_others is None else f"{one.by_others:.1f}",
            f"{one.chance:.2g}",
            "turns labels" if one.turned else "",
        ]
        for one in found.sources
    ]
    if rows:
        heads = ["source", "rows", "against the model", "by its scores", "as others", "chance", ""]
        lines += ["", table(heads, rows)]
    if arguments.rows:
        held = [
            [one.request, one.row, one.source, one.verdict, "; ".join(one.because)]
            for one in found.judged
            if one.verdict != "teach"
        ]
        lines += ["", table(["request", "row", "source", "verdict", "because"], held)]
    emit(arguments, found, "\n".join(lines))
    return 1 if any(one.turned for one in found.sources) else 0
