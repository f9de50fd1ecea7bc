"""`casemate watch forecast`."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casemate.watch.forecasts import Forecast


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("series", help="a table with a header, as separated values; - reads input")
    parser.add_argument("--horizon", required=True, metavar="TIME", help="such as 90m, 24h or 14d")
    parser.add_argument(
        "--time", default="timestamp", metavar="COLUMN", help="(default: timestamp)"
    )
    parser.add_argument("--value", default="value", metavar="COLUMN", help="(default: value)")
    parser.add_argument(
        "--level",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of points that the intervals shall hold (default: 0.9)",
    )
    parser.add_argument(
        "--limit", type=float, metavar="NUMBER", help="say when it is met at the present rate"
    )


def run(arguments: Any) -> int:
    """Continue the series; 1 if it may meet the limit within the horizon."""
    from casemate.cli.output import emit
    from casemate.watch.forecasts import forecast
    from casemate.watch.series import Reader, opened
    from casemate.watch.spans import seconds

    with opened(arguments.series) as lines:
        rows = [
            (float("nan") if row.time is None else row.time, row.value)
            for row in Reader(lines, arguments.series, arguments.time, arguments.value)
        ]
    found = forecast(
        [time for time, _ in rows],
        [value for _, value in rows],
        horizon=seconds(arguments.horizon),
        level=arguments.level,
        limit=arguments.limit,
    )
    emit(arguments, found, _text(found))
    met = found.exhaustion
    soon = met is not None and met.at is not None and met.at <= found.steps[-1].time
    return 1 if soon else 0


def _text(found: "Forecast") -> str:
    from datetime import UTC, datetime

    from casemate.cli.output import table

    rows = [
        [
            datetime.fromtimestamp(one.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            *(f"{number:.6g}" for number in (one.expected, one.low, one.high)),
        ]
        for one in found.steps
    ]
    lines = [table(["timestamp", "expected", "low", "high"], rows)]
    lines.append(f"from {found.points} points; intervals hold {found.level:.0%} of points")
    if found.filled or found.left_out:
        lines.append(f"{found.filled} missing points filled, {found.left_out} rows left out")
    if found.exhaustion is not None:
        lines.append(found.exhaustion.text)
    return "\n".join(lines)
