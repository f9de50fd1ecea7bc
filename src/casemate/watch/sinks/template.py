"""Elasticsearch's index template for log lines, made from `LogLine` itself."""

from typing import Any, get_args

import msgspec

from casemate.watch.logs.line import LogLine

PRIORITY = 500
"""Above the built-in template of `logs-*-*`, which has 100."""


def name_of(stream: str) -> str:
    """The template's name."""
    return f"casemate-{stream}"


def template(stream: str) -> dict[str, Any]:
    """The body of `PUT _index_template/casemate-STREAM`: a data stream whose fields have fixed
    types, and in which no further field is made by what somebody sends.
    """
    properties: dict[str, Any] = {}
    for field in msgspec.structs.fields(LogLine):
        *parents, last = field.encode_name.split(".")
        place = properties
        for parent in parents:
            place = place.setdefault(parent, {"properties": {}})["properties"]
        place[last] = _type(field.encode_name, field.type)
    return {
        "index_patterns": [stream],
        "data_stream": {},
        "priority": PRIORITY,
        "template": {"mappings": {"dynamic": False, "properties": properties}},
        "_meta": {"description": "Log lines of casemate, Elastic Common Schema"},
    }


def _type(name: str, kind: Any) -> dict[str, Any]:
    if name == "@timestamp":
        return {"type": "date"}
    if name == "message":
        return {"type": "match_only_text"}
    if kind is int or int in get_args(kind):
        return {"type": "long"}
    # longer ones are found in full text only: Lucene takes 32 766 bytes of a term
    return {"type": "keyword", "ignore_above": 1024}
