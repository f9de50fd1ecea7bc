"""The schema: inferred once, pinned in `schema.toml`, checked strictly ever after.

What `casemate.toml` says of a column goes before what is pinned, at every run: see `declared`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tomlkit

from casemate.config import DataTable
from casemate.controls.privacy.disclosure import limits
from casemate.core.errors import DataError
from casemate.core.types import ColumnClass, ColumnSchema, ColumnType, Finding, Schema
from casemate.stages.data import derived, expectations, notation
from casemate.stages.data.cells import no_time
from casemate.stages.data.odd import rows_text

MAX_CATEGORIES = 1000
"""Different values beyond which a column is read as text. A judgement: most of so many have too few
rows to learn from.
"""
MAX_CLASSES = 100
"""Classes beyond which a table is refused. A judgement: figures, screens and gates look at each
class, and a target with more is mostly a quantity or an identifier.
"""
QUANTITIES = 'casemate init --task regression, which writes [data] task = "regression" and train.py'
"""What to do where classes are none."""
MAX_SHOWN = 5
"""Problems that an error lists; the count is told whole."""


def infer(table: pa.Table, options: DataTable) -> tuple[Schema, list[Finding]]:
    """The schema that `table` shows, with findings for columns that cannot be features.

    Raises:
        DataError: the target is missing in some rows, has one class or value, or looks like a
            quantity where classes are expected.
    """
    findings: list[Finding] = []
    columns = [infer_column(table[name], name, options, findings) for name in table.column_names]
    made = derived.origins(options, table.column_names)
    columns = [
        (
            msgspec.structs.replace(column, made_of=made[column.name][0], part=made[column.name][1])
            if column.name in made
            else column
        )
        for column in columns
    ]
    first, *further = options.targets
    for name in options.targets:
        if table[name].null_count:
            rows = np.flatnonzero(pc.is_null(table[name]).to_numpy())
            raise unlabelled(name, rows_text(rows))
        if options.task == "regression" and pc.count_distinct(table[name]).as_py() < 2:
            raise DataError(
                f"the target {name!r} has one value only", hint="there is nothing to predict"
            )
    found = (
        [_classes(table[name], name, options) for name in options.targets]
        if options.task == "classification"
        else [[]]
    )
    return (
        Schema(
            target=first,
            classes=[] if options.several_labels else found[0],
            labels=found if options.several_labels else [],
            columns=columns,
            further=further,
            rows=table.num_rows,
        ),
        findings,
    )


def unlabelled(name: str, rows: str) -> DataError:
    """That a target is missing in rows, named as `rows 3, 17`."""
    return DataError(
        f"the target {name!r} is missing in {rows}", hint="label these rows or leave them out"
    )


def unused(name: str, kind: str) -> Finding:
    """That a column of this type is no feature."""
    return Finding(
        id="data.unused-column",
        severity="low",
        confidence="high",
        message=f"{name!r} is {kind} and is not used as a feature",
        location=name,
    )


def _classes(target: pa.ChunkedArray, name: str, options: DataTable) -> list[str]:
    classes = sorted(pc.unique(target).to_pylist())
    if not classes:
        raise DataError(
            f"the target {name!r} is missing in every row that was read",
            hint="label rows, or name another column in [data] target",
        )
    if len(classes) < 2:
        raise DataError(
            f"the target {name!r} has one class only: {classes[0]!r}",
            hint="a classifier needs two",
        )
    if options.several_labels and len(classes) > 2:
        raise DataError(
            f"the label {name!r} has {len(classes)} different values, and of several labels each is"
            " yes or no",
            hint=(
                f"make a project for {name!r} alone (casemate init a-folder --table FILE --target"
                f" {name!r}), or a column for each of its values; quantities: [data] task ="
                ' "regression"'
            ),
        )
    if len(classes) > MAX_CLASSES:
        raise _too_many(classes, name)
    if options.ordinal:
        return in_order(classes, options.ordinal)
    return classes if options.positive is None else positive_last(classes, options.positive)


def _too_many(classes: list[str], name: str) -> DataError:
    cells = pa.chunked_array([classes])
    if notation.formats(cells, 1.0):
        return no_time(name)
    text = f"the target {name!r} has {len(classes)} different values"
    numbers = notation.numbers(cells)
    if numbers.null_count == 0:
        return DataError(text, hint=QUANTITIES)
    return DataError(
        f"{text}, more than the {MAX_CLASSES} classes that are told apart",
        hint="join rare ones, or name a column with few classes or with numbers in [data] target",
    )


def in_order(classes: list[str], ordinal: list[str]) -> list[str]:
    """The classes from the least to the greatest; DataError when `ordinal` does not name
    each once.
    """
    if sorted(classes) != sorted(ordinal):
        other = [name for name in classes if name not in ordinal] or [
            name for name in ordinal if name not in classes
        ]
        text = (
            f"[data] ordinal names {len(ordinal)} classes, the target has {len(classes)}; they"
            f" differ in {', '.join(map(repr, other[:5]))}"
        )
        raise DataError(
            text, hint="name each class of the target once, from the least to the greatest"
        )
    return list(ordinal)


def positive_last(classes: list[str], positive: str) -> list[str]:
    """The classes in the order of a model's outputs; DataError when `positive` is not one
    of two.
    """
    if positive not in classes or len(classes) != 2:
        raise DataError(
            f"[data] positive: {positive!r} is not one of two classes {classes}",
            hint="correct positive",
        )
    return [name for name in classes if name != positive] + [positive]


def infer_column(
    values: pa.ChunkedArray,
    name: str,
    options: DataTable,
    findings: list[Finding],
    known: ColumnClass | None = None,
) -> ColumnSchema:
    """What a column looks like; `known` is its class where that is decided already."""
    said = options.column(name)
    column_class = known or (
        "identifier" if name == options.subject else said.column_class or "general"
    )
    # Identifiers are text whatever they look like, and nothing of their values is pinned.
    kind: ColumnType = "text" if column_class == "identifier" else said.type or _kind(values)
    use = said.use is not False and name not in options.no_features and column_class != "identifier"
    categories: list[str] | None = None
    if kind == "category" and name not in options.targets:
        different = pc.unique(values.drop_null()).to_pylist()
        if len(different) > MAX_CATEGORIES:
            kind = "text"
        else:
            categories = sorted(different) if said.categories is None else sorted(said.categories)
    if use and kind in ("text", "time") and said.parts:
        use = False
    elif use and kind in ("text", "time"):
        use = False
        findings.append(unused(name, kind))
    found = (
        pc.min_max(values).as_py()
        if kind == "number" and name not in options.targets
        else {"min": None, "max": None}
    )
    # from here on nobody knows a sensitive column's extremes
    low, high = limits(column_class, found["min"], found["max"])
    return ColumnSchema(
        name=name,
        type=kind,
        column_class=column_class,
        use=use,
        nullable=values.null_count > 0 if said.nullable is None else said.nullable,
        min=low if said.min is None or kind != "number" else said.min,
        max=high if said.max is None or kind != "number" else said.max,
        categories=categories,
        declared=expectations.declared(said),
        once=0 if categories is None else expectations.once(values),
    )


def _kind(values: pa.ChunkedArray) -> ColumnType:
    if pa.types.is_floating(values.type):
        return "number"
    return "time" if pa.types.is_temporal(values.type) else "category"


def load(path: Path) -> Schema | None:
    """The pinned schema, or None when there is none yet; DataError when the file is malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return msgspec.convert(tomlkit.parse(text).unwrap(), Schema)
    except (msgspec.ValidationError, tomlkit.exceptions.TOMLKitError) as error:
        raise DataError(
            f"the pinned schema {path} cannot be read: {error}",
            hint="correct it, or delete it to infer it anew",
        ) from error


def dump(schema: Schema) -> str:
    """The schema as commented TOML."""
    document = tomlkit.document()
    document.add(
        tomlkit.comment(
            "What casemate accepts as this table. Inferred on the first run and checked since; edit"
            " it when a"
        )
    )
    document.add(
        tomlkit.comment(
            "change is intended: the change becomes part of every later model's lineage. What a"
            " column lists as"
        )
    )
    document.add(
        tomlkit.comment(
            "declared (by casemate.toml) is law; other limits were learnt from `rows` rows, and a"
            " later table may"
        )
    )
    document.add(
        tomlkit.comment("go beyond them as often as chance brings. Types and classes are law.")
    )
    for name, value in _without_none(msgspec.to_builtins(schema)).items():
        if name != "columns":
            document.add(name, value)
    columns = tomlkit.aot()
    for column in msgspec.to_builtins(schema)["columns"]:
        columns.append(tomlkit.item(_without_none(column)))
    document.add("columns", columns)
    return tomlkit.dumps(document)


def _without_none(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not None}


def check(table: pa.Table, schema: Schema, options: DataTable) -> None:
    """Refuse a table that breaks the pinned schema; the DataError names columns, rows and
    limits.
    """
    problems = differences(table, schema, options)
    if not problems:
        for column in schema.columns:
            problems += _check_column(table[column.name], column, schema)
    if problems:
        raise broken(problems, options)


def differences(table: pa.Table, schema: Schema, options: DataTable) -> list[str]:
    """Columns that are missing or new, and what else than the pinned schema `options` say is to be
    predicted.
    """
    problems: list[str] = []
    known = [column.name for column in schema.columns]
    problems += [f"column {name!r} is missing" for name in known if name not in table.column_names]
    problems += [f"column {name!r} is new" for name in table.column_names if name not in known]
    if schema.targets != options.targets:
        problems.append(
            f"the pinned target is {', '.join(schema.targets)}, [data] target is"
            f" {', '.join(options.targets)}"
        )
    if schema.regression != (options.task == "regression"):
        problems.append(
            f"the schema is pinned for {'regression' if schema.regression else 'classification'},"
            f" [data] task is {options.task}"
        )
    return problems


def broken(problems: list[str], options: DataTable) -> DataError:
    """That a table breaks its pinned schema, and how."""
    more = f"; and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
    return DataError(
        "the table breaks its pinned schema: " + "; ".join(problems[:MAX_SHOWN]) + more,
        hint=f"correct the data; if the change is intended, edit {options.schema}",
    )


class Breach(NamedTuple):
    """What is wrong with some cells of a column."""

    text: str
    limit: str
    """Which limit of the column they break: one that may widen, or `class`."""
    rows: Any
    """Their rows, int64 [k] from 0."""


def _check_column(values: pa.ChunkedArray, column: ColumnSchema, schema: Schema) -> list[str]:
    found = mistaken(values, column, schema)
    if found:
        return [found]
    return [
        f"{breach.text} in {rows_text(breach.rows)}" for breach in breaches(values, column, schema)
    ]


def is_class(column: ColumnSchema, schema: Schema) -> bool:
    """Whether a column says what is to be predicted, as a class."""
    return column.name in schema.targets and not schema.regression


def allowed(column: ColumnSchema, schema: Schema) -> list[str] | None:
    """Categories or classes that a column may have; None: it is bound to none."""
    if not is_class(column, schema):
        return column.categories
    return schema.one(column.name).classes if schema.labels else schema.classes


def mistaken(values: pa.ChunkedArray, column: ColumnSchema, schema: Schema) -> str:
    """That a column is of another type than it is pinned as; empty: it is not."""
    if is_class(column, schema):
        return ""
    found = _kind(values)
    if found != column.type and not (column.type in ("category", "text") and found == "category"):
        return f"column {column.name!r} is {found}, pinned as {column.type}"
    return ""


def breaches(values: pa.ChunkedArray, column: ColumnSchema, schema: Schema) -> list[Breach]:
    """What of a column's cells lies beyond the limits that are pinned."""
    name, known = column.name, allowed(column, schema)
    if is_class(column, schema):
        return _outside(values, known or [], name, "class")
    problems = []
    if values.null_count and not column.nullable:
        problems.append(_missing(values, name))
    if column.type == "number":
        for key, limit, compare, word in (
            ("min", column.min, pc.less, "below"),
            ("max", column.max, pc.greater, "above"),
        ):
            wrong = None if limit is None else pc.fill_null(compare(values, limit), False)
            if wrong is not None and pc.any(wrong).as_py():
                rows = np.flatnonzero(wrong.to_numpy())
                problems.append(Breach(f"column {name!r} is {word} {limit:g}", key, rows))
    if known is not None:
        problems += _outside(values, known, name, "category")
    return problems


def _missing(values: pa.ChunkedArray, name: str) -> Breach:
    rows = np.flatnonzero(pc.is_null(values).to_numpy())
    return Breach(f"column {name!r} is missing", "nullable", rows)


def _outside(values: pa.ChunkedArray, allowed: list[str], name: str, word: str) -> list[Breach]:
    wrong = pc.and_not(pc.is_valid(values), pc.is_in(values, pa.array(allowed, pa.string())))
    rows = np.flatnonzero(wrong.to_numpy())
    limit = "class" if word == "class" else "categories"
    problems = [Breach(f"column {name!r} has an unknown {word}", limit, rows)] if len(rows) else []
    if word == "class" and values.null_count:
        problems.append(_missing(values, name))
    return problems
