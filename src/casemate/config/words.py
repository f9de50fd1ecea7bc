"""What to say of something unknown or impossible."""

import difflib
import re
from typing import Any

import msgspec

from casemate.config.column import ColumnTable
from casemate.config.release import GateTable
from casemate.config.table import Table


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'NAME'?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def explain(text: str, type_: Any, value: Any) -> str:
    """What msgspec says of a wrong value, in the words of the file."""
    text = text.replace("$.", "").replace("`$`", "the table")
    foreign = re.fullmatch(r"Invalid enum value '(.*)'(?: - at (.*))?", text, re.DOTALL)
    if foreign:
        known = _choices(msgspec.inspect.type_info(type_), foreign[2] or "")
        return (
            f"{foreign[2] or 'value'}: unknown"
            f" {foreign[1]!r}{nearest(foreign[1], known) or '; known are ' + ', '.join(known)}"
        )
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if not unknown:
        return text
    fields: set[str] = set()
    for part in (match[1] if (match := re.search(r"at `([\w.]+)`", text)) else "").split("."):
        inner = (
            {field.encode_name: field.type for field in msgspec.structs.fields(type_)}.get(part)
            if isinstance(type_, type)
            else None
        )
        type_ = (
            getattr(inner, "__origin__", inner)
            if isinstance(getattr(inner, "__origin__", inner), type)
            else type_
        )
    for table in (type_, ColumnTable, GateTable):
        if (
            isinstance(table, type)
            and issubclass(table, Table)
            and (table is type_ or isinstance(value, dict))
        ):
            fields |= {field.encode_name for field in msgspec.structs.fields(table)}
    return text + nearest(unknown[1], fields)


def _choices(type_: Any, path: str) -> list[str]:
    """The fixed words that `path` of msgspec's error, such as `columns[...].class`, may be; all
    below it where it says no more.
    """
    types, found = [type_], []
    for name in re.findall(r"\w+(?=[.`\[]|$)", path.removeprefix("`key` in ")):
        types = [
            field.type
            for one in types
            for field in _inside(one)
            if isinstance(field, msgspec.inspect.Field) and field.encode_name == name
        ] or types
    while types:
        one = types.pop(0)
        found += [str(value) for value in getattr(one, "values", ()) if value not in found]
        types += [part for part in _inside(one) if not isinstance(part, msgspec.inspect.Field)]
    return found


def _inside(type_: Any) -> list[Any]:
    """Fields of a table through whatever is around it, and the types that a type is made of."""
    parts = list(getattr(type_, "fields", ()))
    made_of = [
        getattr(type_, name)
        for name in ("type", "item_type", "key_type", "value_type")
        if hasattr(type_, name)
    ]
    return [
        *parts,
        *made_of,
        *getattr(type_, "types", ()),
        *(below for part in made_of for below in _inside(part)),
    ]
