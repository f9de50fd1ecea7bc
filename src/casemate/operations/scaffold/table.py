"""A new project for the user's own table: what its columns, target and task are taken for."""

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import structs

from casemate import config as configuration
from casemate.config import ColumnTable, DataTable
from casemate.core.errors import ConfigError, DataError
from casemate.core.types import Finding
from casemate.operations.scaffold.plan import IN_MEMORY, Plan

LABELS, MANY = 2, 100
"""Up to so many different values several targets are labels of a row and no quantities; of words up
to so many.
"""
CLASS_GATES = (
    "roc_auc = { min = 0.70 }\nmembership_auc = { max = 0.65 }\n# robust_accuracy = { min = 0.60,"
    " eps = 0.1 }"
)
LABEL_GATES = (
    "# Each is about the worst label; one label's own: {name} = {{ min = 0.80 }}\n"
    "roc_auc = {{ min = 0.70 }}\nmembership_auc = {{ max = 0.65 }}\n# robust_accuracy = {{ min ="
    " 0.60, eps = 0.1 }}\n# hamming_loss = {{ max = 0.20 }}   # share of single labels that are"
    " wrong"
)
QUANTITY_GATES = (
    "r2 = { min = 0.30 }\nmembership_auc = { max = 0.65 }\n# robust_accuracy = { min = 0.60, eps ="
    " 0.1 }"
)


def from_table(
    root: Path,
    table: Path | list[Path] | str | pa.Table,
    target: str | list[str],
    subject: str | None = None,
    header: list[str] | None = None,
    task: Literal["classification", "regression"] | None = None,
    reading: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Infer columns and classes of the user's own table, which stays where it is.

    Args:
        root: the new project's folder.
        table: a file of any format that is read, a folder or list of files with the same columns, a
            database's URL, or a table in memory, which becomes a Parquet file of the project.
        target: column to predict, or several quantities or labels.
        subject: column that identifies a person.
        header: names for a CSV file without a header line.
        task: default: regression where the target has many different numbers, or there are several
            targets that are not all yes or no.
        reading: options of `[data]` that say how the table is read, such as `delimiter`; what is
            not said is found by its content.

    Raises:
        ConfigError, DataError: the table cannot be read, or has no such target.
    """
    from casemate.stages.data import derived, files, roles, schema, source

    place = _source(root, table)
    several = not isinstance(target, str)
    kind = task or ("regression" if several else "classification")
    options = DataTable(
        source=place, target=target, task=kind, subject=subject, header=header, **reading
    )
    configuration.require_possible(options)
    table = table if isinstance(table, pa.Table) else files.once(table, options)
    found = files.found(table, options)
    options = structs.replace(options, **found)
    notes: list[str] = []
    if new := {name: value for name, value in found.items() if name not in reading}:
        notes.append(
            f"found by content: {', '.join(f'{name} {value!r}' for name, value in new.items())}"
        )
    some, all_rows = source.some(table, options, roles.MOST_ROWS)
    if several and task is None and all(_are_labels(some[name]) for name in options.targets):
        options = structs.replace(options, task="classification")
        configuration.require_possible(options)
    elif several and task is None:
        _require_quantities(some, options.targets)
    amounts = roles.quantities(some, options)
    if (
        isinstance(target, str)
        and task is None
        and roles.is_quantity(target, some[target], amounts.get(target), options)
    ):
        options = structs.replace(options, task="regression")
    if options.task == "classification":
        amounts = {}
    inferred = roles.infer(some, options, datetime.datetime.now(datetime.UTC))
    options = structs.replace(
        options,
        columns=inferred.columns | amounts,
        time=inferred.time,
        subject=options.subject or inferred.subject,
    )
    noticed: list[Finding] = []
    held, content, options = _read(
        table,
        options,
        some,
        inferred,
        noticed,
        all_rows=all_rows,
        settled=several or task is not None,
    )
    notes += [finding.message for finding in noticed]
    if isinstance(target, str) and task is None and options.task == "regression":
        notes.append(
            f"{target!r} has many different numbers, so a regressor is trained (--task"
            " classification: a classifier)"
        )
    notes += roles.targets(held, options)
    known, _ = schema.infer(content, derived.declared(options, held.column_names))
    if not known.features:
        raise DataError(
            "no column is left to learn from: " + roles.why_none(inferred),
            hint="a table needs a column that says something of each row",
        )
    stem = Path((place[0] if isinstance(place, list) else place).partition("?")[0]).stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:48] or "project"
    return Plan(
        name=name,
        purpose="unspecified",
        data=options,
        train=(
            "train_table.txt"
            if options.task == "classification"
            else "train_quantities.txt"
            if several
            else "train_quantity.txt"
        ),
        gates=(
            QUANTITY_GATES
            if options.task == "regression"
            else LABEL_GATES.format(name=json.dumps(f"{options.targets[0]}.roc_auc"))
            if several
            else CLASS_GATES
        ),
        rows=content.num_rows,
        inferred=known.columns,
        classes=known.classes,
        roles=inferred.roles,
        notes=[*notes, *roles.notes(inferred)],
        protected=roles.protected(content, options),
    )


def _read(
    table: Any,
    options: DataTable,
    some: pa.Table,
    inferred: Any,
    noticed: list[Finding],
    *,
    all_rows: bool,
    settled: bool,
) -> tuple[pa.Table, pa.Table, DataTable]:
    """(every row as it is held, as the first run will read it, options under which it can).

    Columns that some rows were taken for, and that all rows do not keep to, are looked at again;
    the task too, unless it is settled.
    """
    from casemate.stages.data import files, odd, roles, source

    whole = some if all_rows else None
    while True:
        try:
            del noticed[:]
            held = source.held(table, options, noticed)
            first = options.targets[0]
            if not settled and roles.is_quantity(
                first, held[first], options.columns.get(first), options
            ) != (options.task == "regression"):
                task: Literal["classification", "regression"] = (
                    "classification" if options.task == "regression" else "regression"
                )
                columns = {name: one for name, one in options.columns.items() if name != first}
                options, settled = structs.replace(options, task=task, columns=columns), True
                continue
            changed = (
                []
                if all_rows
                else [name for name in inferred.thin if not _alike(held[name], some[name])]
            )
            inferred.thin = []
            if not changed:
                typed = source.typed(held, options, [])
                lost = any(typed[name].null_count for name in options.targets)
                options = structs.replace(options, missing_target="drop" if lost else "refuse")
                return held, source.labelled(typed, options)[0], options
        except odd.MixedColumn as error:
            whole = source.written(table, options, []) if whole is None else whole
            if roles.again(whole, error.column, options).entry == options.columns.get(
                error.column, ColumnTable()
            ):
                raise
            changed = [error.column]
        except files.InexactColumn as error:
            if error.column in options.targets and options.task == "regression":
                raise
            options = structs.replace(
                options, columns={**options.columns, error.column: ColumnTable(type="category")}
            )
            continue
        whole = source.written(table, options, []) if whole is None else whole
        for role in [roles.again(whole, name, options) for name in changed]:
            inferred.replace(role)
            entries = {**options.columns, role.name: role.entry}
            options = structs.replace(
                options,
                columns={name: entry for name, entry in entries.items() if entry != ColumnTable()},
            )


def _alike(held: pa.ChunkedArray, some: pa.ChunkedArray) -> bool:
    """Whether a column that shows one value or none in some rows shows no more in all of them."""
    ends = [(len(pc.unique(cells.drop_null())), cells.null_count > 0) for cells in (held, some)]
    return ends[0] == ends[1]


def _source(root: Path, table: Path | list[Path] | str | pa.Table) -> str | list[str]:
    """What `[data] source` says."""
    if isinstance(table, pa.Table):
        return IN_MEMORY
    return (
        [_relative(root, one) for one in table]
        if isinstance(table, list)
        else _relative(root, table)
    )


def _relative(root: Path, table: Path | str) -> str:
    """A file inside of the project by its name there; any other by its whole path; a URL as
    it is.
    """
    if isinstance(table, str):
        return table
    place = table.resolve()
    return str(place.relative_to(root.resolve()) if place.is_relative_to(root.resolve()) else place)


def _require_quantities(written: pa.Table, targets: list[str]) -> None:
    """ConfigError where some of several targets are labels of a row and others are not."""
    labels = [name for name in targets if _are_labels(written[name])]
    if labels:
        raise ConfigError(
            f"the targets {', '.join(map(repr, labels[:5]))} are labels and the others are not, and"
            " a project predicts quantities, or labels, each of them yes or no",
            hint=(
                f"make a project for the labels and one for the others: casemate init {labels[0]}"
                f" --table … --target {labels[0]}; leave the other targets out of the features"
                " ([data.columns] use = false). --task regression takes numbers as quantities all"
                " the same"
            ),
        )


def _are_labels(values: pa.ChunkedArray) -> bool:
    """Whether a column holds a few different marks; one value, or one cell that is no number among
    many, is told where the table is read.
    """
    different = len(pc.unique(values.drop_null()))
    return 1 < different <= LABELS or (
        different > 1 and not _are_numbers(values) and different <= MANY
    )


def _are_numbers(values: pa.ChunkedArray) -> bool:
    try:
        values.drop_null().cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
