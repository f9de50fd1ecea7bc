"""`casemate deploy rsyslog`: an rsyslog that takes the lines of a sink of kind `file` to
Elasticsearch. For rsyslog 8.2302 and newer.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from casemate.config import Config
from casemate.core.errors import ConfigError
from casemate.core.http import is_private
from casemate.deploy import elasticsearch
from casemate.deploy.templates import environment

_PLAIN = re.compile(r"/[A-Za-z0-9._/-]+")
"""What rsyslog's `cat FILE` takes without quotes, which it does not know."""


def render(config: Config, root: Path, url: str | None, work: str) -> dict[str, bytes]:
    """Every file by its path.

    Args:
        config: of the project.
        root: its folder.
        url: of Elasticsearch; default: that of the first such sink.
        work: folder that rsyslog may write to: queues, and what was refused.

    Raises:
        ConfigError: there is no file to read, or nowhere to send it.
    """
    if not _PLAIN.fullmatch(work):
        raise ConfigError(
            f"{work!r} cannot be rsyslog's folder",
            hint="an absolute path of letters, digits and . _ - /",
        )
    files = [table for table in config.sinks.values() if table.kind == "file"]
    if not files:
        raise ConfigError(
            "no sink is a file that rsyslog could read",
            hint='in casemate.toml: [sinks.lines] kind = "file" and to = "logs/casemate.jsonl"',
        )
    found = [table for table in config.sinks.values() if table.kind == "elasticsearch"]
    to = (found or [elasticsearch.DEFAULT])[0]
    parts = urlsplit(url or to.to)
    if not is_private(parts.geturl()) or parts.path.strip("/"):
        raise ConfigError(
            f"{parts.geturl()!r} is no https://HOST:PORT",
            hint="http is allowed to this machine only; rsyslog takes no path",
        )
    is_tls = parts.scheme == "https"
    values = {
        "project": config.project.name,
        "file": str(root / files[0].to),
        "stream": to.stream,
        "host": parts.hostname,
        "port": parts.port or (443 if is_tls else 80),
        "tls": "on" if is_tls else "off",
        "ca": None if to.ca is None else str(root / to.ca),
        "user": to.user,
        "work": work,
    }
    jinja = environment("casemate.deploy.rsyslog")
    jinja.filters["quoted"] = _quoted
    rendered = {
        name: jinja.get_template(f"{name}.jinja").render(**values).encode()
        for name in ("casemate.conf", "README.md")
    }
    of_elastic = elasticsearch.render(config)
    return rendered | {name: of_elastic[name] for name in of_elastic if name != "README.md"}


def _quoted(text: str) -> str:
    """A text as RainerScript has it.

    Raises:
        ConfigError: it cannot stand in one line.
    """
    if not text.isprintable():
        raise ConfigError(f"{text!r} cannot stand in rsyslog's configuration")
    escaped = "".join("\\" + sign if sign in '\\"' else sign for sign in text)
    return f'"{escaped}"'
