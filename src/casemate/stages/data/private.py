"""The data stage of private training: what may be known of a table before the noise is what
casemate.toml declares.

Epsilon speaks of two tables of which one has a person more. Whatever is learnt from the rows before
noise is added (limits, categories, classes, types, who is left out, where the split runs) differs
between the two without costing anything, and the guarantee is gone. So the schema here is a
function of column names and declarations alone, each row's side depends on that row and on a key,
no row is left out for what others look like, and what the checks find informs a steward and blocks
nothing.
"""

import hmac
import json
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from casemate.config import ColumnTable, Config, DataTable
from casemate.controls.keys.subjects import Root
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import ColumnSchema, Finding, Schema
from casemate.stages.data import derived, files, sides
from casemate.stages.data import schema as schemas
from casemate.stages.data.screen.interface import ScreenedRows

Array = np.ndarray[Any, Any]
MOST_NAMED = 8
"""Columns that one message names, and lines to add that its hint shows."""
INFORMS = (
    " (informs only: a private model is neither refused nor changed by what training rows look"
    " like)"
)


def declared(where: files.Place, config: Config) -> Config:
    """The configuration with the type of every column that the table names, as its declarations
    say.

    Raises:
        ConfigError: features without limits or categories, or a target without classes; with the
            lines to add.
    """
    options = config.data
    names = files.names(where, options)
    if not names:
        return config  # `source.read` says why
    options, names = derived.declared(options, names), [*names, *derived.names(options, names)]
    lines = [line for name in names if (line := _missing(name, options))]
    if lines:
        named = [line.partition(" = ")[0].strip('"') for line in lines]
        more = "" if len(named) <= MOST_NAMED else " and more"
        raise ConfigError(
            f"private training needs declared limits of {len(lines)} columns:"
            f" {', '.join(named[:MOST_NAMED])}{more}",
            hint="add to [data.columns] what you know, not what the rows show, or use = false: "
            + "; ".join(lines[:MOST_NAMED]),
        )
    classes = _classes(options)
    if len(classes) < 2:
        raise ConfigError(
            f"[data.columns] {options.targets[0]}: a classifier needs two declared classes",
            hint="categories lists them all",
        )
    if not any(_feature(name, options) for name in names):
        raise ConfigError(
            "no column is left to learn from",
            hint="see [data.columns]: identifiers, text and what has use = false are no features",
        )
    columns = {name: _typed(name, options) for name in names} | {
        name: table for name, table in options.columns.items() if name not in names
    }
    return msgspec.structs.replace(config, data=msgspec.structs.replace(options, columns=columns))


def _missing(name: str, options: DataTable) -> str:
    """The line of `[data.columns]` that a column lacks."""
    said, shown = options.column(name), json.dumps(name, ensure_ascii=False)
    if name in options.targets:
        return "" if said.categories else f"{shown} = {{ categories = [ALL CLASSES] }}"
    if name == options.time and said.type is None and not _bounded(said):
        return f'{shown} = {{ type = "time" }}'
    unused = (
        options.identifies(name)
        or said.use is False
        or name in (options.time, options.provenance)
        or said.type in ("time", "text")
    )
    if unused or said.categories or _bounded(said):
        return ""
    if said.type == "category":
        return f"{shown} = {{ categories = [ALL VALUES] }}"
    number = said.type == "number" or said.min is not None or said.max is not None
    return f"{shown} = {{ min = LEAST, max = GREATEST }}" + (
        "" if number else " or { categories = [ALL VALUES] }"
    )


def _feature(name: str, options: DataTable) -> bool:
    """Whether a column is declared to be learnt from."""
    said = options.column(name)
    if said.use is False or name in options.no_features or options.identifies(name):
        return False
    return bool(said.categories) or _bounded(said)


def _bounded(said: ColumnTable) -> bool:
    return said.min is not None and said.max is not None


def _typed(name: str, options: DataTable) -> ColumnTable:
    """What is known about a column, with its type: it is never guessed from cells."""
    said = options.column(name)
    if said.type is not None or name in options.targets:
        return said
    return msgspec.structs.replace(
        said, type="category" if said.categories else "number" if _bounded(said) else "text"
    )


def _classes(options: DataTable) -> list[str]:
    return sorted(set(options.column(options.targets[0]).categories or []))


def schema(
    names: list[str], options: DataTable, pinned: Schema | None
) -> tuple[Schema, list[Finding]]:
    """The schema that `options` (see `declared`) say, and a finding when it is not what is pinned.

    Args:
        names: the table's columns.
        options: the `[data]` table.
        pinned: the schema before; only the class of a column counts, which nobody learns from rows.

    Raises:
        DataError: `positive` names no class.
    """
    known = {} if pinned is None else {column.name: column for column in pinned.columns}
    columns = [_column(name, options, known.get(name)) for name in names]
    classes = (
        _classes(options)
        if options.positive is None
        else schemas.positive_last(_classes(options), options.positive)
    )
    found = Schema(target=options.targets[0], classes=classes, columns=columns)
    if pinned is None or found == pinned:
        return found, []
    text = (
        "casemate.toml declares another schema than the pinned one: sealed and pinned as declared,"
        " because private training learns none"
    )
    return found, [
        Finding(id="data.schema-changed", severity="low", confidence="high", message=text)
    ]


def _column(name: str, options: DataTable, pinned: ColumnSchema | None) -> ColumnSchema:
    said = options.column(name)
    target = name in options.targets
    was = pinned is not None and pinned.column_class == "identifier" and said.column_class is None
    identifies = options.identifies(name) or was
    kind = "category" if target else "text" if identifies else said.type or "text"
    return ColumnSchema(
        name=name,
        type=kind,
        column_class=(
            "identifier"
            if identifies
            else said.column_class or (pinned.column_class if pinned else "general")
        ),
        use=_feature(name, options) and not identifies and kind in ("number", "category"),
        nullable=not target and said.nullable is not False,
        min=said.min if kind == "number" else None,
        max=said.max if kind == "number" else None,
        categories=(
            sorted(set(said.categories))
            if said.categories and kind == "category" and not target
            else None
        ),
    )


def held_out(
    root: Root, rows: ScreenedRows, subjects: pa.ChunkedArray | None, share: float
) -> Array:
    """Hold-out rows, bool [n]: by each row's own place, see `sides`; nobody else and no count has a
    say.

    Args:
        root: what the key of the sides hangs on.
        rows: the whole table.
        subjects: the subject of each row; None: rows stand for themselves.
        share: of the rows (or subjects) to hold out, about.
    """
    return sides.held(sides.places(sides.key_of(root), rows.frame, subjects, rows.target), share)


def require_untouched(decided: dict[int, str], holdout: Array) -> None:
    """DataError when a person dropped training rows: who looked at the table before deciding told
    of the others by it.
    """
    dropped = [
        row for row, decision in decided.items() if decision == "dropped" and not holdout[row]
    ]
    if dropped:
        raise DataError(
            f"{len(dropped)} training rows were dropped by a person who had seen the table; private"
            " training leaves no row out for that",
            hint=(
                "release them (`casemate data quarantine release`); who goes for a reason of their"
                " own (consent withdrawn) leaves the source"
            ),
        )


def informing(findings: list[Finding]) -> list[Finding]:
    """The same findings for the steward, none of which blocks a release."""
    return [
        (
            msgspec.structs.replace(finding, severity="medium", message=finding.message + INFORMS)
            if finding.severity == "high"
            else finding
        )
        for finding in findings
    ]


def digest(root: Root, plain: str) -> str:
    """A digest of the rows that says nothing to who does not hold the key, 64 hexadecimal digits.

    The plain one leaves with the model as its lineage, and whoever knows all rows but one could try
    that one's values against it.
    """
    key = HKDF(hashes.SHA256(), 32, salt=None, info=b"casemate lineage of private models").derive(
        root.pseudonyms
    )
    return hmac.digest(key, plain.encode(), "sha256").hex()
