"""`casemate init [DIR]`."""

import argparse
from pathlib import Path
from typing import Any

MOST_SHOWN = 100
"""Columns that are shown; wider tables have their reasons in casemate.toml."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("dir", nargs="?", default=".", help="the project's folder (default: here)")
    parser.add_argument("--example", choices=("clinical",), help="start with a real clinical table")
    parser.add_argument(
        "--table",
        action="append",
        metavar="FILE",
        help="your own table: a file, a folder, or postgresql://…; again for further files of it",
    )
    parser.add_argument(
        "--target",
        action="append",
        help="the column to predict; give it again for several quantities, or several yes/no labels",
    )
    parser.add_argument(
        "--task", choices=("classification", "regression"), help="default: by what the target holds"
    )
    parser.add_argument("--subject", help="the column that identifies a person")
    parser.add_argument(
        "--weight",
        help=(
            "the column that says for how many of the population a row stands, such as a survey"
            " weight"
        ),
    )
    parser.add_argument(
        "--passphrase",
        metavar="REF",
        help="put the keys under a passphrase: env:NAME, file:PATH or prompt",
    )
    parser.add_argument(
        "--header", help="comma-separated names for a CSV file without a header line"
    )
    group = parser.add_argument_group(
        "how the table is read (default: found by its content, shown, and written into"
        " casemate.toml)"
    )
    group.add_argument("--delimiter", help="what is between cells: one character, or tab")
    group.add_argument("--decimal", choices=(".", ","), help="decimal sign")
    group.add_argument("--encoding", help="such as utf-8, utf-16, cp1252, latin-1")
    group.add_argument(
        "--quote",
        help="what is around cells that hold delimiters; '' if quotes are letters like others",
    )
    group.add_argument(
        "--null",
        action="append",
        metavar="TEXT",
        help="a further cell that means missing; may be given again",
    )
    group.add_argument(
        "--date-format", metavar="FORMAT", help="such as %%d.%%m.%%Y, as strptime has it"
    )
    group.add_argument("--skip-lines", type=int, metavar="N", help="lines before the header")
    group.add_argument(
        "--bad-rows",
        choices=("refuse", "quarantine"),
        help="ragged or wrongly quoted rows: refuse the file, or leave them out",
    )
    group.add_argument(
        "--from-table", metavar="NAME", help="table of a database file, or sheet of a workbook"
    )
    group.add_argument("--query", help="what the database is asked, one SELECT")
    group.add_argument(
        "--password", metavar="REF", help="the database's password: env:NAME or file:PATH"
    )


def run(arguments: Any) -> int:
    """Create the project and show what was inferred."""
    from casemate.cli.output import emit
    from casemate.core.errors import ConfigError
    from casemate.core.imports import uncollected

    with uncollected():
        from casemate.operations import scaffold
        from casemate.stages.data import files

    root = Path(arguments.dir)
    if arguments.example:
        plan = scaffold.clinical()
    elif arguments.table and arguments.target:
        header = (
            [name.strip() for name in arguments.header.split(",")] if arguments.header else None
        )
        target = arguments.target[0] if len(arguments.target) == 1 else arguments.target
        tables = [one if files.is_url(one) else Path(one) for one in arguments.table]
        plan = scaffold.from_table(
            root,
            tables[0] if len(tables) == 1 else tables,
            target,
            arguments.subject,
            header,
            arguments.task,
            _reading(arguments),
        )
    else:
        raise ConfigError(
            "say what to start from: --example clinical, or --table FILE --target COLUMN",
            hint="casemate init my-project --table patients.csv --target outcome",
        )
    project = scaffold.create(root, plan, arguments.passphrase)
    lines = _told(plan) if plan.inferred else []
    lines += [f"note: {note}" for note in plan.notes]
    where = "" if root == Path() else f" --config {root}"
    lines += [
        (
            f"Created {root / 'casemate.toml'} and train.py; keys in {project.keystore.folder}"
            f" ({project.keystore.protection}; back them up)."
        ),
        f"Next: casemate check{where}, then casemate run{where}",
    ]
    if project.keystore.recovery:
        lines += [
            "",
            "Recovery key, shown this once and kept nowhere. Print it and lock it away:",
            "",
            project.keystore.recovery,
        ]
    value = {
        "folder": str(root),
        "id": project.config.project.id,
        "columns": plan.inferred,
        "roles": plan.roles,
        "notes": plan.notes,
        "recovery": project.keystore.recovery,
    }
    emit(arguments, value, "\n".join(lines))
    return 0


def _told(plan: Any) -> list[str]:
    """What the table's columns were taken for and why, and what the model will see."""
    from casemate.cli.output import table

    features = [
        column for column in plan.inferred if column.use and column.name not in plan.data.targets
    ]
    made: dict[str, int] = {}
    for column in features:
        made[column.made_of or column.name] = made.get(column.made_of or column.name, 0) + 1
    rows = [
        [role.name, role.role, _use(made.get(role.name, 0), role), role.example, role.reason]
        for role in plan.roles[:MOST_SHOWN]
    ]
    lines = [
        "What the columns were taken for (casemate.toml says it; edit it there):",
        table(["column", "taken for", "use", "example", "why"], rows),
    ]
    if len(plan.roles) > MOST_SHOWN:
        lines.append(f"and {len(plan.roles) - MOST_SHOWN} more columns")
    predicted = f"Predicted: {', '.join(map(repr, plan.data.targets))}"
    lines.append(
        predicted
        + (
            ", labels that a row carries or not, each learnt for itself"
            if plan.data.several_labels
            else f", one of {', '.join(map(repr, plan.classes[:8]))}"
            if plan.classes
            else ", a quantity"
        )
    )
    lines.append(f"The model gets {len(features)} features.")
    return [*lines, ""]


def _use(features: int, role: Any) -> str:
    if role.entry.column_class == "identifier":
        return "no (own key)"
    return "no" if not features else "feature" if features == 1 else f"{features} features"


def _reading(arguments: Any) -> dict[str, Any]:
    """What was said about how the table is read and what rows weigh, as options of `[data]`."""
    from casemate.config import DataTable

    names = {"from_table": "table"} | {
        name: name
        for name in (
            "decimal",
            "encoding",
            "quote",
            "date_format",
            "skip_lines",
            "bad_rows",
            "query",
            "password",
            "weight",
        )
    }
    said = {
        option: value
        for name, option in names.items()
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.delimiter is not None:
        said["delimiter"] = {"tab": "\t", "\\t": "\t"}.get(arguments.delimiter, arguments.delimiter)
    if arguments.null:
        said["null_values"] = [*DataTable(source="", target="").null_values, *arguments.null]
    return said
