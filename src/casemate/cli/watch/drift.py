"""`casemate watch drift`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casemate.watch.drift import Drift


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("reference", help="a table known to be fine, in the order rows came")
    parser.add_argument("current", help="the table to judge: one window")
    parser.add_argument(
        "--features", nargs="+", metavar="COLUMN", help="what to look at (default: all in both)"
    )
    parser.add_argument(
        "--importance",
        metavar="FILE",
        help='how much each feature counts: JSON such as {"age": 0.3} (default: all alike)',
    )
    parser.add_argument(
        "--false-alarms",
        default="1 per 90 days",
        metavar="BUDGET",
        help="over all features and windows together (default: 1 per 90 days)",
    )
    parser.add_argument(
        "--windows-per-day",
        type=float,
        default=1.0,
        metavar="N",
        help="how often a window is judged (default: 1)",
    )
    parser.add_argument("--score", metavar="COLUMN", help="the answers, to be looked at as well")
    parser.add_argument(
        "--target",
        metavar="COLUMN",
        help="outcomes in the reference: with --score, quality is estimated, and only what harms it"
        " is a page",
    )
    parser.add_argument("--prediction", metavar="COLUMN", help="answers as classes")
    parser.add_argument("--positive", metavar="CLASS", help="(default: the later of both)")
    parser.add_argument(
        "--unordered",
        action="store_true",
        help="the order of the reference's rows says nothing, so neighbours are not alike",
    )


def run(arguments: Any) -> int:
    """Compare two tables; 1 if something was found."""
    from casemate.cli.output import emit
    from casemate.stages.data.files import frame
    from casemate.watch.drift import drift

    found = drift(
        frame(Path(arguments.reference)),
        frame(Path(arguments.current)),
        features=arguments.features,
        importance=_importance(arguments.importance),
        false_alarms=arguments.false_alarms,
        windows_per_day=arguments.windows_per_day,
        score=arguments.score,
        target=arguments.target,
        prediction=arguments.prediction,
        positive=arguments.positive,
        is_ordered=not arguments.unordered,
    )
    emit(arguments, found, _text(found))
    return 1 if found.findings else 0


def _text(found: "Drift") -> str:
    from casemate.cli.output import printable, table

    if not found.findings:
        lines = [f"{found.rows} rows are like the reference in all {found.tests} tests"]
    else:
        rows = [
            [
                "page" if one.page else "note",
                one.feature,
                one.kind,
                f"{one.shift:.3f}",
                f"{one.importance:.2f}",
                f"{one.chance:.1e}",
                one.text,
            ]
            for one in found.findings
        ]
        heads = ["", "feature", "kind", "shift", "importance", "chance", "what"]
        lines = [table(heads, rows)]
    lines.append(f"quality: {found.quality} ({printable(found.because)})")
    if found.left_out:
        lines.append(f"in one table only: {printable(', '.join(found.left_out))}")
    return "\n".join(lines)


def _importance(file: str | None) -> dict[str, float] | None:
    import msgspec

    from casemate.core.errors import ConfigError

    if file is None:
        return None
    try:
        return msgspec.json.decode(Path(file).read_bytes(), type=dict[str, float])
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{file} holds no importances: {error}", hint='write JSON such as {"age": 0.3}'
        ) from error
