"""`casemate data`."""

import argparse
from typing import Any

from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="sealed versions", parents=[common(nested=True)])
    actions.add_parser("show", help="schema, screen and quarantine of one", parents=[common(nested=True)]).add_argument(
        "reference", help="NAME or NAME@VERSION"
    )


def run(arguments: Any) -> int:
    """Show sealed data sets; rows' values are never printed."""
    import msgspec

    from casemate.cli.output import emit, table
    from casemate.core.errors import ConfigError
    from casemate.core.types import Quarantined
    from casemate.project import open_project

    project = open_project(arguments.config, arguments.overrides)
    if arguments.action == "list":
        found = [project.datasets[name].record for name in project.datasets]
        rows = [[f"{d.name}@{d.version}", d.rows, len(d.schema.features), d.schema.target, sum(d.quarantined.values()), d.excluded] for d in found]
        emit(arguments, found, table(["data set", "rows", "features", "target", "under suspicion", "excluded"], rows))
        return 0
    if arguments.reference not in {*project.datasets, *(name.partition("@")[0] for name in project.datasets)}:
        raise ConfigError(f"no data set {arguments.reference!r}", hint="`casemate data list`")
    record = project.datasets[arguments.reference].record
    principal = project.authorise("dataset:read", "Dataset", record.name)
    suspects = msgspec.json.decode(project.objects.get(record.quarantine), type=list[Quarantined])
    columns = [[c.name, c.type, c.column_class, "yes" if c.use else "", "yes" if c.nullable else ""] for c in record.schema.columns]
    rows = [[s.row, s.reason, s.detail, f"{s.score:.3g}"] for s in suspects[:50]]
    text = [
        f"{record.name}@{record.version}: {record.rows} rows, read by {principal.uid}",
        "",
        table(["column", "type", "class", "feature", "nullable"], columns),
        "",
    ]
    text += [f"quarantine: {len(suspects)} rows under suspicion, {record.excluded} excluded", table(["row", "detector", "why", "score"], rows)]
    emit(arguments, {"dataset": record, "quarantine": suspects}, "\n".join(text))
    return 0
