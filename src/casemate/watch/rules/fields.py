"""The fields of a line that rules may name."""

import difflib
import typing

import msgspec

from casemate.watch.logs.line import LogLine

TIME = "@timestamp"


def _numeric(kind: typing.Any) -> bool:
    return int in (kind, *typing.get_args(kind))


_FIELDS = msgspec.structs.fields(LogLine)
FIELDS = {field.encode_name: field.name for field in _FIELDS}
"""ECS's name of every field -> the attribute of `LogLine`."""
NUMBERS = frozenset(field.encode_name for field in _FIELDS if _numeric(field.type))
WORDS = {
    field.encode_name: typing.get_args(field.type)
    for field in _FIELDS
    if typing.get_origin(field.type) is typing.Literal
}
"""Field -> the only values that it can have."""


def unknown(name: str) -> str | None:
    """What is wrong with a field's name; None: there is such a field."""
    if name in FIELDS:
        return None
    near = difflib.get_close_matches(name, FIELDS, 1)
    meant = f": {near[0]} is meant?" if near else ""
    return f"lines have no field {name[:80]!r}{meant}"
