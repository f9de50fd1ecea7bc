"""What `casemate.toml` says of columns now: it goes before what is pinned, at every run."""

import fnmatch
from pathlib import Path

import msgspec
import pyarrow as pa

from casemate.config import FILE_NAME, DataTable, line_of
from casemate.controls.privacy.disclosure import limits
from casemate.core.errors import ConfigError
from casemate.core.text import listed
from casemate.core.types import ColumnSchema, Finding, Schema
from casemate.stages.data import derived, expectations
from casemate.stages.data.schema import in_order, infer_column, positive_last


def apply(pinned: Schema, table: pa.Table, options: DataTable) -> tuple[Schema, list[Finding]]:
    """The pinned schema with what `[data]` says now, and a finding per column or setting that it
    changed.

    Said is what is written there: a column that casemate.toml does not mention keeps what is
    pinned.

    Raises:
        DataError: `positive` names no class.
    """
    findings: list[Finding] = []
    pinned = _remade(pinned, table, options, findings)
    columns = [
        (
            _applied(column, table[column.name], options)
            if column.name in table.column_names
            else column
        )
        for column in pinned.columns
    ]
    for before, after in zip(pinned.columns, columns, strict=True):
        if before != after:
            changed = [
                name
                for name in before.__struct_fields__
                if getattr(before, name) != getattr(after, name)
            ]
            findings.append(
                _changed(
                    before.name,
                    ", ".join("class" if name == "column_class" else name for name in changed),
                )
            )
    classes, labels = pinned.classes, pinned.labels
    if options.positive is not None and labels:
        labels = [positive_last(values, options.positive) for values in labels]
        if labels != pinned.labels:
            findings.append(_changed(", ".join(pinned.targets), "positive"))
    if options.positive is not None and classes and classes[-1] != options.positive:
        classes = positive_last(classes, options.positive)
        findings.append(_changed(pinned.target, "positive"))
    if options.ordinal and classes and classes != options.ordinal:
        classes = in_order(classes, options.ordinal)
        findings.append(_changed(pinned.target, "ordinal"))
    return msgspec.structs.replace(
        pinned, columns=columns, classes=classes, labels=labels
    ), _together(findings)


def _remade(pinned: Schema, table: pa.Table, options: DataTable, findings: list[Finding]) -> Schema:
    """`pinned` with the features that `parts` and `censored` make of columns now, and without those
    that they no longer make.
    """
    made = derived.origins(options, table.column_names)
    known = {column.name for column in pinned.columns}
    kept = [column for column in pinned.columns if not column.made_of or column.name in made]
    new = [name for name in table.column_names if name in made and name not in known]
    for name in [column.name for column in pinned.columns if column not in kept] + new:
        findings.append(_changed(name, "parts"))
    fresh = [infer_column(table[name], name, options, []) for name in new]
    fresh = [
        msgspec.structs.replace(column, made_of=made[column.name][0], part=made[column.name][1])
        for column in fresh
    ]
    return msgspec.structs.replace(pinned, columns=kept + fresh)


def contradictions(schema: Schema, options: DataTable) -> list[tuple[str, str]]:
    """(the name or pattern in `[data.columns]`, what it says in vain) of everything that `schema`
    cannot follow.
    """
    found = []
    for column in schema.columns:
        said, name = options.column(column.name), column.name
        key = (
            name
            if name in options.columns
            else next((key for key in options.columns if fnmatch.fnmatchcase(name, key)), name)
        )
        kind = "an identifier" if column.column_class == "identifier" else column.type
        target = name in options.targets
        for option in ("min", "max", "unit"):
            if getattr(said, option) is not None and (
                kind != "number" or (target and option != "unit")
            ):
                found.append(
                    (key, f"{option} of {name!r}, which is {'a target' if target else kind}")
                )
        if said.categories is not None and (kind != "category"):
            found.append((key, f"categories of {name!r}, which is {kind}"))
        used = column.use or bool(said.parts)
        if said.use and not used:
            why = (
                "a target"
                if target
                else (
                    "the provenance"
                    if name == options.provenance
                    else "the weight"
                    if name == options.weight
                    else kind
                )
            )
            found.append((key, f"use = true of {name!r}, which is {why}"))
        if (
            said.type is not None
            and kind != "an identifier"
            and said.type != column.type
            and not target
        ):
            found.append((key, f'type = "{said.type}" of {name!r}, which is {kind}'))
    return found


def _changed(name: str, what: str) -> Finding:
    text = f"{name!r} is read as casemate.toml says now ({what} changed since the last run); pinned"
    return Finding(
        id="data.schema-changed", severity="low", confidence="high", message=text, location=name
    )


def _together(found: list[Finding], shown: int = 5) -> list[Finding]:
    """Edits that the user made are told in one finding."""
    if len(found) < 2:
        return found
    names = list(dict.fromkeys(one.location for one in found))
    which = listed([*map(repr, names)], shown)
    text = (
        f"{len(names)} columns are read as casemate.toml says now, otherwise than in the last run:"
        f" {which}; pinned"
    )
    return [msgspec.structs.replace(found[0], message=text, location=", ".join(names[:shown]))]


def _applied(pinned: ColumnSchema, values: pa.ChunkedArray, options: DataTable) -> ColumnSchema:
    """One column as casemate.toml says, else as pinned."""
    name, said = pinned.name, options.column(pinned.name)
    identifies = options.identifies(name) or (
        pinned.column_class == "identifier" and said.column_class is None
    )
    column_class = "identifier" if identifies else said.column_class or pinned.column_class
    was = pinned.column_class == "identifier"
    # what it looked like says nothing any more
    if identifies or was or (said.type is not None and said.type != pinned.type):
        fresh = infer_column(values, name, options, [], "identifier" if identifies else None)
        use = fresh.use if identifies or was else fresh.use and (pinned.use or bool(said.use))
        nullable = (
            fresh.nullable
            if said.nullable is not None
            else pinned.nullable or (fresh.nullable and not (identifies and was))
        )
        return msgspec.structs.replace(fresh, column_class=column_class, use=use, nullable=nullable)
    categories = (
        None if said.categories is None or pinned.type != "category" else sorted(said.categories)
    )
    low, high = (
        (pinned.min, pinned.max)
        if pinned.column_class == column_class
        else limits(column_class, pinned.min, pinned.max)
    )
    return msgspec.structs.replace(
        pinned,
        declared=sorted({*pinned.declared, *expectations.declared(said)}),
        column_class=column_class,
        nullable=pinned.nullable if said.nullable is None else said.nullable,
        use=(pinned.use if said.use is None else said.use and pinned.type in ("number", "category"))
        and name not in options.no_features,
        min=low if said.min is None or pinned.type != "number" else said.min,
        max=high if said.max is None or pinned.type != "number" else said.max,
        categories=pinned.categories if categories is None else categories,
    )


def identifiers(pinned: Schema, options: DataTable) -> list[str]:
    """Columns that the pinned schema calls identifiers, unless casemate.toml says another class."""
    return [name for name in pinned.identifiers if options.column(name).column_class is None]


def require_followed(root: Path, schema: Schema, options: DataTable) -> None:
    """ConfigError, with the line, when casemate.toml says something of a column that would be
    ignored.
    """
    vain = contradictions(schema, options)
    if vain:
        key, what = vain[0]
        more = f" (and {len(vain) - 1} more)" if len(vain) > 1 else ""
        hint = "remove it, or say what the column is: type, class, target"
        raise ConfigError(
            f"{line_of(root / FILE_NAME, key)}[data.columns] says {what}{more}", hint=hint
        )
