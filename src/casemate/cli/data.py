"""`casemate data`."""

import argparse
from typing import Any

from casemate.cli import check
from casemate.cli.commands import open_for
from casemate.cli.options import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="sealed versions", parents=[common(nested=True)])
    show = actions.add_parser(
        "show",
        help="schema, screen and quarantine of one; what you may read of it",
        parents=[common(nested=True)],
    )
    show.add_argument("reference", help="NAME or NAME@VERSION")
    show.add_argument(
        "--purpose", help="what you may read of it for this purpose (default: the project's)"
    )
    diff = actions.add_parser(
        "diff",
        help="what differs between two sealed versions, without a value",
        parents=[common(nested=True)],
    )
    diff.add_argument("old", help="NAME@VERSION")
    diff.add_argument("new", nargs="?", help="NAME@VERSION (default: the newest of that name)")
    looked = actions.add_parser(
        "check",
        help="check and screen the source as it is now; nothing is sealed",
        parents=[common(nested=True)],
    )
    check.add_arguments(looked)
    noisy = actions.add_parser(
        "statistics",
        help="a private histogram (and mean) of one column, paid from the privacy budget",
        parents=[common(nested=True)],
    )
    noisy.add_argument("reference", help="NAME or NAME@VERSION")
    noisy.add_argument("column", help="its limits or categories must be declared in [data.columns]")
    noisy.add_argument("--epsilon", type=float, required=True, help="what it may cost")
    review = actions.add_parser(
        "quarantine", help="rows under suspicion, and what becomes of them"
    ).add_subparsers(dest="what", metavar="ACTION", required=True)
    listed = review.add_parser(
        "list", help="the rows, why, and what was decided", parents=[common(nested=True)]
    )
    listed.add_argument(
        "reference", nargs="?", help="NAME or NAME@VERSION (default: the project's)"
    )
    listed.add_argument("--detector", help="of one detector only, such as trigger")
    for name, text in (
        ("release", "these rows are fine: train on them"),
        ("drop", "these rows stay out of training"),
    ):
        parser_ = review.add_parser(
            name, help=text + "; from the next run on", parents=[common(nested=True)]
        )
        parser_.add_argument("reference", help="NAME or NAME@VERSION")
        parser_.add_argument("rows", nargs="*", type=int, help="row numbers, as `list` shows them")
        parser_.add_argument("--detector", help="all rows of one detector, such as label-noise")
        parser_.add_argument("--reason", required=True, help="why, for the record")


def run(arguments: Any) -> int:
    """Show and compare sealed data sets; rows' values are never printed."""
    from casemate.cli.output import emit, table

    project = open_for(arguments)
    if arguments.action == "list":
        found = project.datasets.records()
        rows = [
            [
                f"{d.name}@{d.version}",
                d.rows,
                len(d.schema.features),
                ", ".join(d.schema.targets),
                sum(d.quarantined.values()),
                d.excluded,
            ]
            for d in found
        ]
        emit(
            arguments,
            found,
            table(["data set", "rows", "features", "target", "under suspicion", "excluded"], rows),
        )
        return 0
    if arguments.action == "diff":
        return _diff(arguments, project)
    if arguments.action == "check":
        from casemate.cli.check import look

        return look(arguments, project)
    if arguments.action == "quarantine":
        return _quarantine(arguments, project)
    if arguments.action == "statistics":
        return _statistics(arguments, project)
    dataset = project.datasets.find(arguments.reference)
    if arguments.purpose:
        dataset = dataset.for_purpose(arguments.purpose)
    shown = dataset.show()
    record, access, suspects = shown.record, shown.access, shown.suspects
    columns = [
        [
            c.name,
            c.type,
            c.column_class,
            "yes" if c.use else "",
            "yes" if c.nullable else "",
            access.masked.get(c.name) or ", ".join(access.withheld.get(c.name, ())),
        ]
        for c in record.schema.columns
    ]
    rows = [[s.row, s.reason, s.detail, f"{s.score:.3g}"] for s in suspects[:50]]
    text = [
        f"{record.name}@{record.version}: {record.rows} rows, read by {shown.reader}",
        "",
        table(["column", "type", "class", "feature", "nullable", "mask, or withheld by"], columns),
        "",
    ]
    how = (
        "at random"
        if record.sides is None
        else {"hash": "by keyed hash", "ordered": "the newest"}[record.sides.rule]
    )
    text += [f"held out: {record.holdout} rows, {how}; {record.dropped} more taken out by decision"]
    text += [] if record.whole is None else [f"whole table: {record.whole.text}"]
    text += [
        f"quarantine: {len(suspects)} rows under suspicion, {record.excluded} excluded",
        table(["row", "detector", "why", "score"], rows),
    ]
    emit(
        arguments,
        {
            "dataset": record,
            "quarantine": suspects,
            "withheld": access.withheld,
            "masked": access.masked,
        },
        "\n".join(text),
    )
    return 0


def _statistics(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.datasets.find(arguments.reference).noisy(arguments.column, arguments.epsilon)
    rows = [[label, count] for label, count in zip(found.labels, found.counts, strict=True)]
    mean = "" if found.mean is None else f"; mean {found.mean:.6g}"
    text = (
        f"{found.column}: epsilon {found.epsilon:g} spent, every count is off by {found.scale:.3g}"
        f" on average{mean}"
    )
    emit(arguments, found, "\n".join([text, "", table(["value", "noisy rows"], rows)]))
    return 0


def _quarantine(arguments: Any, project: Any) -> int:
    import contextlib

    from casemate.cli.output import emit, table
    from casemate.core.errors import AccessDenied, ConfigError

    reference = arguments.reference or project.config.dataset_name
    dataset = project.datasets.find(reference)
    if arguments.what != "list":
        rows = list(arguments.rows)
        if arguments.detector:
            rows += [
                suspect.row
                for suspect in dataset.suspects()
                if suspect.reason == arguments.detector
            ]
        if not rows:
            raise ConfigError("no row is named", hint="give row numbers, or --detector NAME")
        decision = {"release": "released", "drop": "dropped"}[arguments.what]
        dataset.review(rows, decision, arguments.reason)
        lost = []
        if decision == "dropped":
            # whoever may decide need not be allowed to read
            with contextlib.suppress(AccessDenied):
                lost = dataset.losses(rows)
        text = "\n\n".join(
            [
                f"{len(set(rows))} rows are {decision}; the next `casemate run` goes by that",
                *_losses(lost),
            ]
        )
        emit(arguments, {decision: sorted(set(rows)), **({"losses": lost} if lost else {})}, text)
        return 0
    decided = dataset.reviewed()
    suspects = [
        suspect for suspect in dataset.suspects() if arguments.detector in (None, suspect.reason)
    ]
    hidden = {*dataset.access().withheld, *dataset.access().masked} & {
        column.name for column in dataset.record.schema.features
    }
    lines = [
        [
            s.row,
            s.reason,
            "" if hidden else s.detail,
            f"{s.score:.3g}",
            decided[s.row].decision if s.row in decided else "open",
        ]
        for s in suspects
    ]
    told = [
        {"row": line[0], "detector": line[1], "why": line[2], "decision": line[4]} for line in lines
    ]
    more = [f"and {len(lines) - 200} more (--format json shows all)"] if len(lines) > 200 else []
    undecided = sorted({s.row for s in suspects if s.row not in decided})
    drop = _losses(dataset.losses(undecided)) if undecided else []
    listed = "\n".join([table(["row", "detector", "why", "score", "decision"], lines[:200]), *more])
    emit(arguments, told, "\n\n".join([listed, *drop]))
    return 0


def _losses(lost: list[Any]) -> list[str]:
    """What a drop takes from each group, as one text; none where nothing may be told."""
    from casemate.cli.output import table

    if not lost:
        return []
    rows = [
        [
            f"{one.column} = {one.group}" if one.column else "the table",
            one.label or "(all)",
            *("few" if n < 0 else n for n in (one.rows, one.lost)),
        ]
        for one in lost
    ]
    return [
        "what a drop of these rows takes from each group:\n"
        + table(["group", "class", "rows", "lost"], rows)
    ]


def _diff(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    new = arguments.new or arguments.old.partition("@")[0]
    old, newer = project.datasets.find(arguments.old), project.datasets.find(new)
    found = old.diff(newer)
    withheld = sorted({*old.access().withheld, *newer.access().withheld})
    text = (
        [f"not compared, because policy withholds them: {', '.join(withheld)}"] if withheld else []
    )
    text += [
        (
            f"rows: {found.rows[0]} before, {found.rows[1]} after; {found.added_rows} added,"
            f" {found.removed_rows} removed (a changed row is both)"
        )
    ]
    for what, names in (
        ("added", found.added_columns),
        ("removed", found.removed_columns),
        ("of another type", found.retyped_columns),
    ):
        text += [f"columns {what}: {', '.join(names)}"] if names else []
    moved = [
        [m.column, *m.missing, *m.distinct, *(f"{v:.6g}" for v in m.mean or ())]
        for m in found.moved
    ]
    heads = [
        "column",
        "missing before",
        "after",
        "distinct before",
        "after",
        "mean before",
        "after",
    ]
    text.append(table(heads, [[*row, "", ""][:7] for row in moved]) if moved else "no column moved")
    emit(arguments, {"difference": found, "withheld": withheld}, "\n".join(text))
    return 0
