"""`casemate deploy elasticsearch`: the index template of log lines, and a key that may do no more
than add some. For Elasticsearch 8 and newer.
"""

import json
from typing import Any

from casemate.config import Config, SinkTable
from casemate.deploy.templates import environment
from casemate.watch.sinks.template import name_of, template

DEFAULT = SinkTable(kind="elasticsearch", to="https://localhost:9200")
"""Where no sink says otherwise."""


def render(config: Config) -> dict[str, bytes]:
    """Every file by its path."""
    found = [table for table in config.sinks.values() if table.kind == "elasticsearch"]
    streams = list(dict.fromkeys(table.stream for table in found or [DEFAULT]))
    files = {f"{name_of(stream)}.json": _json(template(stream)) for stream in streams}
    rights = [{"names": streams, "privileges": ["create_doc", "auto_configure"]}]
    files["api-key.json"] = _json(
        {
            "name": f"casemate-{config.project.name}",
            "role_descriptors": {"casemate": {"cluster": [], "indices": rights}},
        }
    )
    readme = environment("casemate.deploy.elasticsearch").get_template("README.md.jinja")
    names = {stream: name_of(stream) for stream in streams}
    values = {"project": config.project.name, "names": names, "url": (found or [DEFAULT])[0].to}
    return files | {"README.md": readme.render(**values).encode()}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
