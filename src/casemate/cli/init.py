"""`casemate init [DIR]`."""

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("dir", nargs="?", default=".", help="the project's folder (default: here)")
    parser.add_argument("--example", choices=("clinical",), help="start with a real clinical table")
    parser.add_argument("--table", type=Path, help="your own CSV or Parquet file")
    parser.add_argument("--target", action="append", help="the column to predict; give it again for several quantities")
    parser.add_argument("--task", choices=("classification", "regression"), help="default: by what the target holds")
    parser.add_argument("--subject", help="the column that identifies a person")
    parser.add_argument("--passphrase", metavar="REF", help="put the keys under a passphrase: env:NAME, file:PATH or prompt")
    parser.add_argument("--header", help="comma-separated names for a CSV file without a header line")


def run(arguments: Any) -> int:
    """Create the project and show what was inferred."""
    from casemate import scaffold
    from casemate.cli.output import emit, table
    from casemate.core.errors import ConfigError

    root = Path(arguments.dir)
    if arguments.example:
        plan = scaffold.clinical()
    elif arguments.table and arguments.target:
        header = [name.strip() for name in arguments.header.split(",")] if arguments.header else None
        target = arguments.target[0] if len(arguments.target) == 1 else arguments.target
        plan = scaffold.from_table(root, arguments.table, target, arguments.subject, header, arguments.task)
    else:
        raise ConfigError(
            "say what to start from: --example clinical, or --table FILE --target COLUMN",
            hint="casemate init my-project --table patients.csv --target outcome",
        )
    project = scaffold.create(root, plan, arguments.passphrase)
    lines = []
    if plan.inferred:
        rows = [
            [c.name, c.type, c.column_class, "target" if c.name in plan.data.targets else "feature" if c.use else "unused", _limits(c)]
            for c in plan.inferred
        ]
        lines += ["Inferred columns (pinned in schema.toml by the first run):", table(["column", "type", "class", "role", "values"], rows), ""]
    lines += [f"note: {note}" for note in plan.notes]
    lines += [
        f"Created {root / 'casemate.toml'} and train.py; keys in {project.keys.folder} ({project.keys.protection}; back them up).",
        "Next: casemate run" + ("" if root == Path() else f" --config {root}"),
    ]
    if project.keys.recovery:
        lines += ["", "Recovery key, shown this once and kept nowhere. Print it and lock it away:", "", project.keys.recovery]
    value = {"folder": str(root), "id": project.config.project.id, "columns": plan.inferred, "notes": plan.notes, "recovery": project.keys.recovery}
    emit(arguments, value, "\n".join(lines))
    return 0


def _limits(column: Any) -> str:
    if column.categories is not None:
        shown = ", ".join(column.categories[:4])
        return shown + (f", … ({len(column.categories)})" if len(column.categories) > 4 else "")
    if column.min is not None:
        return f"{column.min:g} … {column.max:g}" + (", some missing" if column.nullable else "")
    return ""
