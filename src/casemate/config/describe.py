"""Every option as text, for the reference."""

import json
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from casemate.config.table import Table
from casemate.config.whole import Config


def describe(table: type[Table], prefix: str = "") -> list[tuple[str, str, str, str, str]]:
    """(table, option, type, default, meaning) of every option, for `config schema` and the
    reference.
    """
    rows = []
    for field in msgspec.structs.fields(table):
        inner = _table_of(field.type)
        if inner is not None and table is Config:
            rows += describe(inner, field.encode_name + (".NAME" if field.name == "gates" else ""))
            continue
        meaning = next(
            (
                part.description
                for part in getattr(field.type, "__metadata__", ())
                if part.description
            ),
            "",
        )
        rows.append(
            (prefix, field.encode_name, _type_name(field.type), _default_text(field), meaning)
        )
        if inner is not None:
            single = _table_of(field.type) in get_args(field.type) or field.type is inner
            rows += describe(
                inner,
                f"{prefix}.{field.encode_name}"
                + ("" if single else "[]" if _is_list(field.type) else ".NAME"),
            )
    return rows


def _table_of(kind: Any) -> type[Table] | None:
    candidates = [kind, *get_args(kind)]
    candidates += [nested for candidate in get_args(kind) for nested in get_args(candidate)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Table)), None)


def _is_list(kind: Any) -> bool:
    return any(get_origin(part) is list for part in [kind, *get_args(kind)])


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return _type_name(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " | ".join(f'"{value}"' for value in get_args(kind))
    if get_args(kind):
        inner = [_type_name(part) for part in get_args(kind) if part is not type(None)]
        origin = getattr(get_origin(kind), "__name__", "")
        return f"{origin}[{', '.join(inner)}]" if origin in ("list", "dict") else " | ".join(inner)
    return str(getattr(kind, "__name__", kind))


def _default_text(field: Any) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return (
        "none" if value is None else "see below" if isinstance(value, Table) else json.dumps(value)
    )
