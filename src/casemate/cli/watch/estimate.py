"""`casemate watch estimate`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casemate.core.types import Interval
    from casemate.watch.estimate import Estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("reference", help="a table with outcomes that the model did not learn from")
    parser.add_argument("current", help="the table to judge; with outcomes, they stand beside")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="outcomes")
    parser.add_argument(
        "--score",
        required=True,
        metavar="COLUMN",
        help="the positive class's score in 0 to 1, or the foretold quantity",
    )
    parser.add_argument(
        "--prediction", metavar="COLUMN", help="answers as classes (default: score from 0.5)"
    )
    parser.add_argument("--positive", metavar="CLASS", help="(default: the later of both)")
    parser.add_argument(
        "--features",
        nargs="+",
        metavar="COLUMN",
        help="by which populations are compared (default: all in both)",
    )
    parser.add_argument("--chunk", type=int, metavar="N", help="rows at a time (default: all)")


def run(arguments: Any) -> int:
    """Estimate; 1 if outcomes contradict the estimate."""
    from casemate.cli.output import emit
    from casemate.stages.data.files import frame
    from casemate.watch.estimate import estimate

    found = estimate(
        frame(Path(arguments.reference)),
        frame(Path(arguments.current)),
        target=arguments.target,
        score=arguments.score,
        features=arguments.features,
        prediction=arguments.prediction,
        positive=arguments.positive,
        chunk=arguments.chunk,
    )
    emit(arguments, found, _text(found))
    return 1 if found.changed else 0


def _text(found: "Estimate") -> str:
    from casemate.cli.output import table

    rows = [
        [
            f"{chunk.first}-{chunk.first + chunk.rows - 1}",
            figure.name,
            f"{figure.reference:.4f}",
            _interval(figure.estimated),
            "" if figure.moved is None else _interval(figure.moved),
            "" if figure.realised is None else f"{figure.realised:.4f}",
        ]
        for chunk in found.chunks
        for figure in chunk.figures
    ]
    lines = [
        table(["rows", "figure", "reference", "estimated", "population moved", "realised"], rows)
    ]
    lines += [
        f"rows {chunk.first}-{chunk.first + chunk.rows - 1}: {chunk.text}"
        for chunk in found.chunks
        if chunk.text
    ]
    if found.left_out:
        lines.append(f"left out: {found.left_out} rows without a score")
    return "\n".join(lines)


def _interval(one: "Interval") -> str:
    return f"{one.value:.4f} ({one.low:.4f}-{one.high:.4f})"
