"""`casemate deploy`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="TARGET", required=True)
    prometheus = actions.add_parser(
        "prometheus",
        help="scraping, alert rules with their tests, Alertmanager, a Grafana dashboard",
        parents=[common(nested=True)],
    )
    prometheus.add_argument("folder", help="where the files go")
    prometheus.add_argument(
        "--address", metavar="HOST:PORT", help="of the gateway (default: [serve] host and port)"
    )
    prometheus.add_argument("--replace", action="store_true", help="write over files that differ")


def run(arguments: Any) -> int:
    """Render files."""
    from casemate.cli.output import emit
    from casemate.controls.keys.store import keystore_folder
    from casemate.core.errors import ConfigError
    from casemate.deploy import prometheus
    from casemate.deploy.files import write
    from casemate.wiring import locate

    _, config = locate(arguments.config, arguments.overrides)
    authority = keystore_folder(config.project.id) / "public" / "ca.pem"
    if not authority.is_file():
        raise ConfigError(
            f"there is no {authority}", hint="render where the project's key store is"
        )
    serve = config.serve
    address = arguments.address or f"{serve.host}:{serve.port}"
    files = prometheus.render(config, authority.read_bytes(), address)
    done = write(Path(arguments.folder), files, replace=arguments.replace)
    lines = [f"{done.folder}: {len(done.written)} files written, {len(done.kept)} as they were"]
    if not config.slo:
        lines.append("no [slo] in casemate.toml: only alerts about the service itself")
    lines.append(f"Next: {done.folder}/README.md")
    emit(arguments, done, "\n".join(lines))
    return 0
