"""`casemate fsck`."""

import argparse
import sys
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--repair",
        action="store_true",
        help="rebuild what can be derived: tiles, checkpoint, evidence files",
    )


def run(arguments: Any) -> int:
    """Check everything against everything; exit code 4 when something is damaged and was not
    rebuilt, 5 when a server that holds some of it did not answer.
    """
    from casemate.cli.output import emit, table
    from casemate.operations.fsck import examine

    project = open_for(arguments, check=False)
    live = sys.stderr.isatty()
    report = examine(
        project,
        repair=arguments.repair,
        progress=lambda name: print(f"checking {name}", file=sys.stderr) if live else None,
    )
    text = ["checked " + ", ".join(f"{name} {count}" for name, count in report.checked.items())]
    if report.damage:
        text.append(
            table(
                ["what", "how it is", "what to do"],
                [[d.subject, d.state, d.remedy] for d in report.damage],
            )
        )
    text.append(
        {
            "intact": "OK: nothing is damaged",
            "repaired": "OK: rebuilt what was damaged",
            "damaged": "DAMAGED",
            "unknown": "UNKNOWN: not everything could be looked at; of the rest nothing is damaged",
        }[report.outcome]
    )
    emit(
        arguments,
        {"outcome": report.outcome, "checked": report.checked, "damage": report.damage},
        "\n".join(text),
    )
    return {"damaged": 4, "unknown": 5}.get(report.outcome, 0)
