"""`casemate status`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options beyond the common ones."""


def run(arguments: Any) -> int:
    """Say where the project stands."""
    from casemate.cli.output import emit

    now = open_for(arguments).status()
    last = now.last_run
    lines = [
        f"project   {now.project} ({now.purpose})",
        f"last run  {last['id']} {last['state']}" if last else "last run  none yet: casemate run",
        f"models    {now.models}, newest signed: {now.serving_candidate or 'none'}",
        f"data      {', '.join(now.datasets) or 'none'}",
        f"audit     {now.audit_entries} entries",
    ]
    if last and last["state"] == "interrupted":
        lines.append("          the last run was interrupted: casemate run resumes it")
    if now.undelivered:
        lines.append(f"outbox    {now.undelivered} messages wait or are dead: casemate outbox list")
    emit(arguments, now, "\n".join(lines))
    return 0
