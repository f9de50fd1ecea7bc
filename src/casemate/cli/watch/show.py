"""`casemate watch show`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the action."""
    parser.add_argument("--levels", action="store_true", help="every series with its newest point")


def run(arguments: Any) -> int:
    """Say what is known."""
    from casemate.cli.output import emit, printable, table
    from casemate.cli.watch.once import told

    known = open_for(arguments).watch.show()
    if known.time is None:
        emit(arguments, known, "nothing was watched yet: casemate watch once")
        return 0
    standing = [one for one in known.alarms if one.ended is None]
    lines = [f"last look {known.time}"]
    lines += [told(one) for one in standing] or ["no alarm stands"]
    rows = []
    for one in known.judgements:
        drift = one.drift
        said = (
            [printable(one.unmeasured), "", ""]
            if drift is None
            else [f"{len(drift.findings)} findings", drift.quality, printable(drift.because)]
        )
        rows.append([one.model, one.ended, one.rows, *said])
    if rows:
        heads = ["model", "window until", "rows", "inputs and answers", "quality", "because"]
        lines += ["", table(heads, rows)]
    for one_ in known.realised:
        for name, figure in one_.figures.items():
            lines.append(
                f"{one_.model}: {name} of {one_.rows} outcomes {figure.value:.3f}"
                f" ({figure.low:.3f} to {figure.high:.3f})"
            )
    if arguments.levels:
        levels = [[printable(one.series), one.time, f"{one.value:.6g}"] for one in known.levels]
        lines += ["", table(["series", "time", "value"], levels)]
    emit(arguments, known, "\n".join(lines))
    return 0
