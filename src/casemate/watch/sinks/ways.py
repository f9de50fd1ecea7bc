"""From what the configuration says of a sink to what sends to it."""

import functools
import socket
from collections.abc import Callable
from pathlib import Path

from casemate.config import Config, SinkTable
from casemate.watch.sinks.delivery import Route
from casemate.watch.sinks.interface import Sender

MEGABYTE = 2**20


def routes(config: Config, root: Path, read_secret: Callable[[str], str]) -> list[Route]:
    """Every sink of the configuration.

    Args:
        config: of the project.
        root: what files are relative to.
        read_secret: asks for a secret, when it is needed.
    """
    found = []
    for name, table in config.sinks.items():
        sender = _sender(table, config, root, read_secret)
        wanted = [
            what if what == "gauges" else f"casemate.{what}"
            for what in table.what
            if ("gauges" if what == "gauges" else "lines") in sender.takes
        ]
        found.append(Route(name, sender, frozenset(wanted)))
    return found


def _sender(
    table: SinkTable, config: Config, root: Path, read_secret: Callable[[str], str]
) -> Sender:
    from casemate.watch.sinks import elastic, file, otlp, splunk, syslog, wire

    if table.kind == "file":
        return file.File(root / table.to, table.rotate_megabytes * MEGABYTE, table.keep)
    ca = None if table.ca is None else root / table.ca
    to = wire.Place(table.to, ca, config.spool.timeout)
    host = socket.gethostname()
    if table.kind == "syslog":
        return syslog.Syslog(to, host)
    secret = None if table.secret is None else functools.partial(read_secret, table.secret)
    if table.kind == "elasticsearch":
        return elastic.Elastic(to, table.stream, table.user, secret, template=table.template)
    if table.kind == "splunk":
        assert secret is not None  # noqa: S101 - the configuration is refused without one
        return splunk.Splunk(to, host, f"casemate:{config.project.name}", secret)
    resource = {"service.name": "casemate", "service.namespace": config.project.name}
    return otlp.Otlp(to, resource | {"host.name": host}, secret)
