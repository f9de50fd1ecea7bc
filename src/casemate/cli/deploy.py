"""`casemate deploy`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.config import Config

WORK = "/var/spool/rsyslog/casemate"
"""Where a Debian's rsyslog may write."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="TARGET", required=True)
    prometheus = actions.add_parser(
        "prometheus",
        help="scraping, alert rules with their tests, Alertmanager, a Grafana dashboard",
        parents=[common(nested=True)],
    )
    elasticsearch = actions.add_parser(
        "elasticsearch",
        help="the index template of log lines, and a key that may only add some",
        parents=[common(nested=True)],
    )
    rsyslog = actions.add_parser(
        "rsyslog",
        help="an rsyslog that takes the lines of a file to Elasticsearch",
        parents=[common(nested=True)],
    )
    for target in (prometheus, elasticsearch, rsyslog):
        target.add_argument("folder", help="where the files go")
    prometheus.add_argument(
        "--address", metavar="HOST:PORT", help="of the gateway (default: [serve] host and port)"
    )
    rsyslog.add_argument("--url", help="of Elasticsearch (default: that of the first such sink)")
    rsyslog.add_argument(
        "--work",
        metavar="FOLDER",
        default=WORK,
        help=f"that rsyslog may write to (default: {WORK})",
    )
    for target in (prometheus, elasticsearch, rsyslog):
        target.add_argument("--replace", action="store_true", help="write over files that differ")


def run(arguments: Any) -> int:
    """Render files."""
    from casemate.cli.output import emit
    from casemate.config import locate
    from casemate.deploy import elasticsearch, rsyslog
    from casemate.deploy.files import write

    root, config = locate(arguments.config, arguments.overrides)
    notes = []
    if arguments.action == "prometheus":
        files = _prometheus(config, arguments.address)
        if not config.slo:
            notes.append("no [slo] in casemate.toml: only alerts about the service itself")
    elif arguments.action == "rsyslog":
        files = rsyslog.render(config, root, arguments.url, arguments.work)
    else:
        files = elasticsearch.render(config)
    done = write(Path(arguments.folder), files, replace=arguments.replace)
    lines = [f"{done.folder}: {len(done.written)} files written, {len(done.kept)} as they were"]
    emit(arguments, done, "\n".join([*lines, *notes, f"Next: {done.folder}/README.md"]))
    return 0


def _prometheus(config: "Config", address: str | None) -> dict[str, bytes]:
    from casemate.controls.keys.store import keystore_folder
    from casemate.core.errors import ConfigError
    from casemate.deploy import prometheus

    authority = keystore_folder(config.project.id) / "public" / "ca.pem"
    if not authority.is_file():
        raise ConfigError(
            f"there is no {authority}", hint="render where the project's key store is"
        )
    where = address or f"{config.serve.host}:{config.serve.port}"
    return prometheus.render(config, authority.read_bytes(), where)
