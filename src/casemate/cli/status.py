"""`casemate status`."""

import argparse
from typing import Any

from casemate.cli.doors import enter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options beyond the common ones."""


def run(arguments: Any) -> int:
    """Say where the project stands."""
    from casemate.cli.output import emit

    project = enter(arguments)
    runs = project.engine.runs()
    models = project.registry.list()
    signed = next((model.reference for model in models if model.release.bundle), None)
    entries = project.audit.size()
    waiting = project.outbox.messages("pending", "dead")
    value = {
        "project": project.config.project.id,
        "purpose": project.config.project.purpose,
        "last_run": None if not runs else {"id": runs[0]["id"], "state": runs[0]["state"]},
        "serving_candidate": signed,
        "models": len(models),
        "datasets": list(project.datasets),
        "audit_entries": entries,
        "undelivered": len(waiting),
    }
    lines = [
        f"project   {value['project']} ({value['purpose']})",
        f"last run  {runs[0]['id']} {runs[0]['state']}" if runs else "last run  none yet: casemate run",
        f"models    {len(models)}, newest signed: {signed or 'none'}",
        f"data      {', '.join(project.datasets) or 'none'}",
        f"audit     {entries} entries",
    ]
    if runs and runs[0]["state"] == "interrupted":
        lines.append("          the last run was interrupted: casemate run resumes it")
    if waiting:
        lines.append(f"outbox    {len(waiting)} messages wait or are dead: casemate outbox list")
    emit(arguments, value, "\n".join(lines))
    return 0
