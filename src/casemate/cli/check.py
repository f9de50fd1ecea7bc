"""`casemate check`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for
from casemate.core.page import NOTHING
from casemate.stages.assess.names import SCREENS

MOST_COLUMNS = 200
HEADS = ["column", "read as", "used as", "values", "missing"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE.html",
        help="write a page as well, with pictures of the columns",
    )
    parser.add_argument(
        "--only",
        metavar="SCREEN",
        action="append",
        choices=SCREENS,
        help="may be given several times: " + ", ".join(SCREENS),
    )


def run(arguments: Any) -> int:
    """Say what casemate thinks of the table; nothing is sealed."""
    return look(arguments, open_for(arguments))


def look(arguments: Any, project: Any) -> int:
    """Look at the source; exit code 1 when a finding blocks."""
    from casemate.cli.output import emit, table
    from casemate.core import figures
    from casemate.core.findings import ranked
    from casemate.core.progress import Lines
    from casemate.operations.checkup import assess_data
    from casemate.stages.data.screening import per_detector
    from casemate.stages.release.remedies import remedies

    lines = Lines(quiet=arguments.format == "json")
    try:
        found = assess_data(project, arguments.only, lines)
    finally:
        lines.close()
    counts = per_detector(found.suspects)
    findings = ranked(found.findings)
    blocking = [finding for finding in findings if finding.severity == "high"]
    names = [name for _, names in figures.grouped(list(found.figures)) for name in names]
    text = [_lead(found, project), ""]
    text += [table(HEADS, _columns(found)), ""]
    text += [
        f"{finding.severity}: {finding.message}"
        + (f" [{finding.location}]" if finding.location else "")
        for finding in findings
    ]
    text += [
        "under suspicion: "
        + (", ".join(f"{count} {name}" for name, count in counts.items()) or "no row"),
        "",
    ]
    text += [
        table(
            ["figure", "value", "what it means"],
            [
                [name, figures.shown(name, found.figures[name]), figures.meaning(name)]
                for name in names
            ],
        ),
        "",
    ]
    text += [
        _next(len(blocking)),
        *(
            f"Next: {what}".replace("\n", "\n  ")
            for what in remedies(found.findings, found.schema, project.config)
        ),
    ]
    # `assess` looks at the table too, and writes no page
    if getattr(arguments, "output", None) is not None:
        _write(arguments.output, found, project, counts, len(blocking))
        text.append(f"Page: {arguments.output}")
    told = {
        "findings": findings,
        "figures": found.figures,
        "quarantined": counts,
        "rules": found.rules,
    }
    emit(arguments, told, "\n".join(text))
    return 1 if blocking else 0


def _next(blocking: int) -> str:
    if not blocking:
        return "Nothing here refuses a run. Next: casemate run"
    return (
        f"A run would be refused: {blocking} finding{'s' if blocking > 1 else ''} of high severity."
    )


def _write(path: Path, found: Any, project: Any, counts: dict[str, int], blocking: int) -> None:
    """The page, for the owner's eyes: it says more of the table than a card does."""
    from casemate.core.files import write_atomic
    from casemate.stages.data.report import looked_at

    said = [*_lead(found, project).splitlines(), _next(blocking)]
    source, least = str(project.config.data.source), project.config.privacy.min_group
    write_atomic(path, looked_at(source, said, found, HEADS, _columns(found), counts, least))


def _lead(found: Any, project: Any) -> str:
    import numpy as np

    schema, rows = found.schema, found.table.num_rows
    text = (
        f"{project.config.data.source}: {rows} rows, {len(schema.columns)} columns,"
        f" {len(schema.features)} of them features; "
    )
    held = int(np.sum(found.holdout & ~found.excluded))
    text += (
        f"about {held} rows would be held out, {int(found.excluded.sum())} left out.\nPredicts"
        f" {', '.join(schema.targets)}: "
    )
    if schema.regression:
        return text + "a quantity."
    if schema.labels:
        told = [f"{view.target} ({_sizes(found, view)})" for view in schema.views]
        text = text.removesuffix(f"{', '.join(schema.targets)}: ") + "; ".join(told) + "."
        # the label that the fewest held-out rows can tell anything of
        rarest = min(schema.views, key=lambda view: _fewest(found, view))
        return text + _decided(found, held, rarest)
    return f"{text}{_sizes(found, schema)}." + _decided(found, held, schema)


def _sizes(found: Any, schema: Any) -> str:
    """The classes of a target with their rows."""
    counts = found.table[schema.target].value_counts().to_pylist()
    sizes = {str(one["values"]): one["counts"] for one in counts}
    return ", ".join(f"{name} ({sizes.get(name, 0)})" for name in schema.classes)


def _fewest(found: Any, schema: Any) -> int:
    return min(int(one["counts"]) for one in found.table[schema.target].value_counts().to_pylist())


def _decided(found: Any, held: int, schema: Any) -> str:
    """What so many held-out rows can tell: who sets a gate should know before the run."""
    import numpy as np
    import pyarrow.compute as pc

    from casemate.stages.release.rows import auc_half

    if len(schema.classes) != 2:
        return ""
    positive = pc.equal(found.table[schema.target], schema.classes[1]).to_numpy()
    positives = int(np.sum(positive & found.holdout & ~found.excluded))
    if not 0 < positives < held:
        return ""
    of = f" of {schema.target!r}" if found.schema.labels else ""
    half = auc_half(positives, held - positives)
    return (
        f"\n{held} held-out rows tell an AUC near 0.8{of} to about ± {half:.2f}: a gate that is nearer"
        " to what the model reaches stays undecided."
    )


def _columns(found: Any) -> list[list[Any]]:
    """One line a column; of sensitive ones no value is shown."""
    schema = found.schema
    rows = []
    for column in schema.columns[:MOST_COLUMNS]:
        missing = found.table[column.name].null_count
        role = "target" if column.name in schema.targets else "feature" if column.use else NOTHING
        kind = (
            column.type
            if column.column_class == "general"
            else f"{column.type}, {column.column_class}"
        )
        rows.append([column.name, kind, role, _values(column), missing or NOTHING])
    more = len(schema.columns) - MOST_COLUMNS
    return rows + ([[f"and {more} more", "", "", "", ""]] if more > 0 else [])


def _values(column: Any) -> str:
    if column.column_class != "general":
        return "(not shown)"
    if column.categories is not None:
        shown = ", ".join(column.categories[:4])
        return shown + (f", … ({len(column.categories)})" if len(column.categories) > 4 else "")
    return f"{column.min:g} … {column.max:g}" if column.min is not None else NOTHING
