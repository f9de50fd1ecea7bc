"""`casemate runs`."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("id", nargs="?", help="show this run only")


def run(arguments: Any) -> int:
    """List runs, newest first."""
    from casemate.cli.output import emit, table
    from casemate.core.errors import ConfigError
    from casemate.project import open_project

    project = open_project(arguments.config, arguments.overrides)
    found = [row for row in project.engine.runs() if arguments.id in (None, row["id"])]
    if arguments.id and not found:
        raise ConfigError(f"no run called {arguments.id!r}", hint="`casemate runs` lists them")
    rows = [
        [r["id"], r["state"], ", ".join(f"{name} {seconds:.1f} s" for name, seconds in r["steps"].items()), r["principal"], r["error"]] for r in found
    ]
    emit(arguments, found, table(["run", "state", "finished stages", "by", "error"], rows) if found else "no run yet: casemate run")
    return 0
