"""`casemate privacy affected` and `consent`: what was made of one person's data, and what they
allowed.
"""

import argparse
import datetime
from pathlib import Path
from typing import Any

from casemate.cli.options import common

SUBJECT = (
    "whose identifier: env:NAME, file:PATH, file:/dev/stdin or prompt, exactly as the table has it"
)


def add_arguments(actions: Any) -> None:
    """The actions of people's rights, below `casemate privacy`.

    Args:
        actions: where they are added.
    """
    affected: argparse.ArgumentParser = actions.add_parser(
        "affected",
        help="what was made of one person's data: versions, runs, models, exports",
        parents=[common(nested=True)],
    )
    affected.add_argument("subject", metavar="SUBJECT", help=SUBJECT)
    consent = actions.add_parser("consent", help="who allowed what, and who took it back")
    verbs = consent.add_subparsers(dest="what", metavar="WHAT", required=True)
    import_ = verbs.add_parser(
        "import",
        help="keep a file of consents and withdrawals, all of it or nothing",
        parents=[common(nested=True)],
    )
    import_.add_argument(
        "file",
        type=Path,
        help="separated values: subject, purpose, time, status (given, withdrawn), text, source",
    )
    show = verbs.add_parser(
        "show", help="what is known of one person's consent", parents=[common(nested=True)]
    )
    show.add_argument("subject", metavar="SUBJECT", help=SUBJECT)
    withdraw = verbs.add_parser(
        "withdraw",
        help="take one person's consent back: the next run leaves their rows out",
        parents=[common(nested=True)],
    )
    withdraw.add_argument("subject", metavar="SUBJECT", help=SUBJECT)
    withdraw.add_argument("--purpose", default="", help="which (default: [project] purpose)")
    withdraw.add_argument(
        "--at",
        type=datetime.datetime.fromisoformat,
        metavar="TIME",
        help="when they said so, with its zone (default: now)",
    )
    withdraw.add_argument("--source", default="", help="where they said it")
    verbs.add_parser(
        "export",
        help="write the register as JSON-LD in the Data Privacy Vocabulary",
        parents=[common(nested=True)],
    ).add_argument("file", type=Path, help="a new file")


def run(arguments: Any, project: Any) -> int:
    """Show what was made of a person's data, or keep and show consent."""
    return (_affected if arguments.action == "affected" else _consent)(arguments, project)


def _consent(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.core.secrets import read_secret

    consent = project.privacy.consent
    if arguments.what == "import":
        done = consent.add(arguments.file)
        text = f"{done.new} new of {done.records} records about {done.people} people"
        emit(arguments, done, text)
        return 0
    if arguments.what == "export":
        count = consent.export(arguments.file)
        emit(arguments, {"records": count}, f"{count} records in {arguments.file}")
        return 0
    if arguments.what == "withdraw":
        found = consent.withdraw(
            lambda: read_secret(arguments.subject),
            arguments.purpose,
            at=arguments.at,
            source=arguments.source,
        )
    else:
        found = consent.show(lambda: read_secret(arguments.subject))
    rows = [
        [one.purpose, one.time[:19], "given" if one.given else "withdrawn", one.text, one.source]
        for one in found.records
    ]
    lines = [f"subject {found.subject[:16]}: {len(rows)} records"]
    if rows:
        lines += ["", table(["purpose", "time (UTC)", "", "text", "source"], rows), ""]
    lines += [
        f"{'covered' if covered else 'NOT COVERED'} for {purpose}"
        for purpose, covered in found.covered.items()
    ]
    emit(arguments, found, "\n".join(lines))
    return 0


def _affected(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.core.secrets import read_secret

    # policy is asked before anybody is asked for an identifier
    found = project.privacy.affected(lambda: read_secret(arguments.subject))
    who = {
        "live": "their key lives",
        "shredded": "their key is shredded",
        "unknown": "nobody was sealed under this identifier",
    }[found.key]
    lines = [f"subject {found.subject[:16]}: {who}; {found.rows} rows in what follows"]
    if found.versions:
        rows = [
            [f"{one.dataset}@{one.version}", str(one.rows), str(one.of), " ".join(one.runs)]
            for one in found.versions
        ]
        lines += ["", table(["version", "rows", "of", "runs"], rows)]
    if found.models:
        rows = [
            [
                *(one.model, one.data, one.outcome, " ".join(one.parts) or "no"),
                *(str(len(one.exports)), str(one.feedback)),
            ]
            for one in found.models
        ]
        heads = ["model", "made of", "verdict", "served", "exports", "feedback"]
        lines += ["", table(heads, rows)]
    lines += [
        f"{one.model}: withdrawn consent of {one.withdrawn} subjects since"
        for one in found.models
        if one.withdrawn
    ]
    lines += [
        f"{one.model}: the processing of {one.restricted} subjects is restricted since"
        for one in found.models
        if one.restricted
    ]
    if found.predictions:
        heads = ["predictions", "by model", "for", "purpose", "first (UTC)", "last (UTC)"]
        rows = [
            [
                *(str(one.count), one.model + (" (shadow)" if one.part == "shadow" else "")),
                *(one.by, one.purpose, one.first[:19], one.last[:19]),
            ]
            for one in found.predictions
        ]
        lines += ["", table(heads, rows)]
    if found.entries:
        lines += ["", f"log entries about them: {', '.join(map(str, found.entries))}"]
    lines += [f"NOT KNOWN: {one.what}: {one.reason}" for one in found.unknown]
    emit(arguments, found, "\n".join(lines))
    return 0
