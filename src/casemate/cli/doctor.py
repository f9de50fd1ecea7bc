"""`casemate doctor`."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--security",
        action="store_true",
        help=(
            "how well this machine and this account keep what casemate keeps; exit code 1:"
            " something is weak; 5: something could not be looked at"
        ),
    )


def run(arguments: Any) -> int:
    """Say what this machine can enforce; exit code 1 when something that a run requires is
    missing.
    """
    from casemate.cli.output import emit, table
    from casemate.operations.doctor import examine

    if arguments.security:
        return _security(arguments)
    checks = examine(arguments.config, arguments.overrides)
    rows = [[check.mark, check.subject, check.state, check.advice] for check in checks]
    emit(arguments, checks, table(["", "what", "state", "what to do"], rows))
    return 1 if any(check.mark == "FAIL" for check in checks) else 0


def _security(arguments: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.operations.selfcheck import examine

    looks = examine(arguments.config, arguments.overrides)
    rows = [[look.mark, look.subject, look.state, look.advice] for look in looks]
    counts = {mark: sum(look.mark == mark for look in looks) for mark in MARKS}
    told = ", ".join(f"{count} {mark}" for mark, count in counts.items())
    text = f"{table(['', 'what', 'state', 'what to do'], rows)}\n\n{told}"
    emit(arguments, looks, text)
    return 5 if counts["could-not-look"] else 1 if counts["weak"] else 0


MARKS = ("good", "weak", "could-not-look")
"""What a look may come to."""
