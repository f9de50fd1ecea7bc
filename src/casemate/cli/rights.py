"""`casemate privacy affected`: what was made of one person's data."""

import argparse
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


def run(arguments: Any, project: Any) -> int:
    """Show what was made of a person's data."""
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
    if found.entries:
        lines += ["", f"log entries about them: {', '.join(map(str, found.entries))}"]
    lines += [f"NOT KNOWN: {one.what}: {one.reason}" for one in found.unknown]
    emit(arguments, found, "\n".join(lines))
    return 0
