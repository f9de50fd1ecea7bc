"""`[spool]` and `[sinks.NAME]`: where log lines and the watcher's gauges go."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from casemate.config.table import Authority, Name, Table
from casemate.core.http import LOOPBACK, is_private

Kind = Literal["elasticsearch", "syslog", "splunk", "otlp", "file"]
What = Literal["audit", "request", "alarm", "gauges"]
HTTP = ("elasticsearch", "splunk", "otlp")
"""Kinds whose address is a URL."""


class SpoolTable(Table, frozen=True, kw_only=True):
    """The queue of what goes to sinks, in `.casemate/logs/spool`."""

    max_megabytes: Annotated[
        int,
        Meta(
            description=(
                "Most of the spool; beyond it the oldest lines go, and each sink counts what it did"
                " not get."
            ),
            ge=1,
            le=1_000_000,
        ),
    ] = 256
    timeout: Annotated[
        float, Meta(description="Seconds that one request to a sink may take.", gt=0, le=600)
    ] = 10.0
    backoff: Annotated[
        float,
        Meta(
            description=(
                "Seconds before a sink that failed is tried again; doubled each time, at most 15"
                " minutes, with jitter."
            ),
            ge=0,
            le=900,
        ),
    ] = 5.0


class SinkTable(Table, frozen=True, kw_only=True):
    """`[sinks.NAME]`: one receiver of log lines."""

    kind: Annotated[
        Kind,
        Meta(
            description=(
                "`elasticsearch`: its `_bulk`, into a data stream; `syslog`: RFC 5424 over TLS;"
                " `splunk`: HTTP Event Collector; `otlp`: OpenTelemetry logs and metrics over HTTP;"
                " `file`: lines of JSON for a shipper such as rsyslog or Filebeat."
            )
        ),
    ]
    to: Annotated[
        str,
        Meta(
            description=(
                "`https://HOST:PORT`; syslog: `tls://HOST:6514`; file: its path in the project."
                " Without TLS (`http`, `tcp`) to this machine only."
            ),
            min_length=1,
            max_length=2_000,
        ),
    ]
    what: Annotated[
        list[What],
        Meta(
            description=(
                "Which lines go there; `gauges` are the watcher's, and only `otlp` takes them."
            ),
            min_length=1,
        ),
    ] = msgspec.field(default_factory=lambda: ["audit", "request", "alarm", "gauges"])
    user: Annotated[
        str | None,
        Meta(description="Elasticsearch: name, if `secret` is a password and no API key."),
    ] = None
    secret: Annotated[
        str | None,
        Meta(
            description=(
                "Reference to the API key or password (Elasticsearch), token (Splunk) or bearer"
                " token (OTLP): `env:NAME`, `file:PATH`..."
            )
        ),
    ] = None
    ca: Authority = None
    stream: Annotated[
        str,
        Meta(
            description="Elasticsearch: the data stream.",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$(?!\n)",
        ),
    ] = "logs-casemate-default"
    template: Annotated[
        bool,
        Meta(
            description=(
                "Elasticsearch: put the index template if there is none; `false`: somebody else"
                " does, from `casemate deploy elasticsearch`."
            )
        ),
    ] = True
    rotate_megabytes: Annotated[
        int, Meta(description="File: size at which a new one is begun.", ge=1, le=10_000)
    ] = 64
    keep: Annotated[int, Meta(description="File: how many former ones stay.", ge=0, le=1_000)] = 4


def impossible_sinks(sinks: dict[Name, SinkTable]) -> list[str]:
    """What of `[sinks]` does not go together."""
    return [
        f"[sinks.{name}] {problem}" for name, sink in sinks.items() for problem in _problems(sink)
    ]


def _problems(sink: SinkTable) -> list[str]:
    try:
        parts = urlsplit(sink.to)
        port = parts.port
    except ValueError:
        return [f"to: {sink.to!r} is no address"]
    if sink.kind == "file":
        return _secrets(sink)
    problems = []
    if not parts.hostname or parts.query or parts.fragment:
        problems.append(f"to: {sink.to!r} is no address of a {sink.kind} receiver")
    if parts.username or parts.password:
        problems.append('to: holds a password; take it out, and name it with secret = "env:NAME"')
    if sink.kind in HTTP and not is_private(sink.to):
        problems.append("to: is not https (http is allowed to this machine only)")
    if sink.kind == "syslog":
        if parts.scheme != "tls" and (parts.scheme, parts.hostname in LOOPBACK) != ("tcp", True):
            problems.append("to: is not tls:// (tcp:// is allowed to this machine only)")
        if port is None or parts.path:
            problems.append("to: is not tls://HOST:PORT")
    return problems + _secrets(sink)


def _secrets(sink: SinkTable) -> list[str]:
    """Options of one kind at another one."""
    problems = []
    if sink.kind == "splunk" and sink.secret is None:
        problems.append('secret: the token of the collector is missing, such as "env:HEC_TOKEN"')
    if sink.secret is not None and sink.kind not in HTTP:
        problems.append(f"secret: {sink.kind} has none")
    if sink.user is not None and (sink.kind != "elasticsearch" or sink.secret is None):
        problems.append("user: is for elasticsearch, with a password in secret")
    if sink.ca is not None and not sink.to.startswith(("https://", "tls://")):
        problems.append("ca: is for https and tls only")
    return problems
