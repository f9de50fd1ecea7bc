"""`casemate watch detect`."""

import argparse
from typing import Any

COLUMNS = ("score", "anomaly", "expected", "low", "high", "note")
"""What is added to a table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("series", help="a table with a header, as separated values; - reads input")
    parser.add_argument(
        "--time", default="timestamp", metavar="COLUMN", help="(default: timestamp)"
    )
    parser.add_argument("--value", default="value", metavar="COLUMN", help="(default: value)")
    parser.add_argument(
        "--false-alarms",
        default="1 per 75 points",
        metavar="BUDGET",
        help='such as "1 per 90 days" (default: 1 per 75 points)',
    )
    parser.add_argument(
        "--quiet",
        default="6h",
        metavar="TIME",
        help="how long things must be calm until the next alarm: 90s, 30m, 6h, 2d (default: 6h)",
    )
    parser.add_argument(
        "--counter",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether the value counts up and its rate is judged (default: auto)",
    )


def run(arguments: Any) -> int:
    """Judge row after row; 1 if there was an alarm."""
    import csv
    import sys

    from casemate.watch.anomalies import Detector
    from casemate.watch.series import Reader, opened
    from casemate.watch.spans import seconds

    counter = {"auto": None, "yes": True, "no": False}[arguments.counter]
    detector = Detector(
        false_alarms=arguments.false_alarms, quiet=seconds(arguments.quiet), is_counter=counter
    )
    alarms = 0
    with opened(arguments.series) as lines:
        reader = Reader(lines, arguments.series, arguments.time, arguments.value)
        as_json = arguments.format == "json"
        writer = csv.writer(sys.stdout, delimiter=reader.separator, lineterminator="\n")
        if not as_json:
            added = [name if name not in reader.header else f"casemate_{name}" for name in COLUMNS]
            writer.writerow([*reader.header, *added])
        for row in reader:
            found = detector.update(float("nan") if row.time is None else row.time, row.value)
            alarms += found.anomaly
            if as_json:
                sys.stdout.write(_line(found, row.line))
            else:
                cells = row.cells + [""] * (len(reader.header) - len(row.cells))
                writer.writerow([*cells, *_cells(found)])
            if arguments.series == "-":
                sys.stdout.flush()  # somebody waits for each row
    return 1 if alarms else 0


def _cells(found: Any) -> list[str]:
    numbers = [
        "" if one is None else f"{one:.6g}" for one in (found.expected, found.low, found.high)
    ]
    return [f"{found.score:.3f}", str(found.anomaly).lower(), *numbers, found.note]


def _line(found: Any, line: int) -> str:
    import msgspec

    said = {"line": line} | msgspec.to_builtins(found)
    return msgspec.json.encode(said).decode() + "\n"
