"""`casemate serve`."""

import argparse
import sys
from typing import Any

from casemate.cli.doors import enter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("--port", type=int, help="instead of [serve] port; 0 takes a free one")


def run(arguments: Any) -> int:
    """Serve until stopped."""
    from casemate.serve.server import serve

    overrides = arguments.overrides + ([f"serve.port={arguments.port}"] if arguments.port is not None else [])
    project = enter(arguments, overrides=overrides)

    def announce(url: str, models: list[str]) -> None:
        print(f"serving {', '.join(models)} at {url} (TLS 1.3, CA {project.keys.folder / 'public' / 'ca.pem'})", flush=True)
        print("stop with Ctrl-C; ask with `casemate predict FILE.csv`", file=sys.stderr, flush=True)

    serve(project, announce)
    return 0
