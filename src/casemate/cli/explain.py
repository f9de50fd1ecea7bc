"""`casemate explain`."""

import argparse
from pathlib import Path
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "request",
        nargs="?",
        help="request id: x-request-id of the answer (default: list the newest)",
    )
    parser.add_argument("--last", type=int, default=20, help="how many to list (default: 20)")
    parser.add_argument(
        "--body",
        type=Path,
        help="the request as it was sent, where `[serve] inputs` does not keep rows",
    )
    parser.add_argument(
        "--row", type=int, default=0, help="which of its rows to say what counted for (default: 0)"
    )
    parser.add_argument(
        "--features", type=int, default=10, help="how many features to show (default: 10)"
    )


def run(arguments: Any) -> int:
    """Look at a prediction again."""
    import msgspec

    from casemate.cli.output import emit, printable, table
    from casemate.core.errors import ConfigError
    from casemate.serve.explain import explain

    project = open_for(arguments)
    if arguments.request is None:
        return _newest(arguments, project)
    try:
        body = None if arguments.body is None else arguments.body.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{arguments.body} cannot be read: {error.strerror}", hint="the body of the request"
        ) from error
    found = explain(
        project, arguments.request, body=body, row=arguments.row, most=arguments.features
    )
    said = found.prediction
    lines = [
        (
            f"{said.id}, {found.time}: {said.principal} ({said.token}) asked {said.model}"
            f" ({said.part}) about {said.rows} rows, {said.micros / 1000:.2f} ms"
        ),
        f"input  SHA-256 {said.input}" + (f", trace {said.trace}" if said.trace else ""),
    ]
    if said.guards:
        lines.append(
            "guards " + ", ".join(f"{name}: {count} rows" for name, count in said.guards.items())
        )
    if said.refused:
        lines.append(f"answer refused, {said.refused}")
    else:
        shown = [f"{label} ({probability:.4f})" for label, probability in found.answers[:5]] or [
            "withheld: policy closes the target"
        ]
        lines.append(
            "answer "
            + ", ".join(shown)
            + (" …" if len(found.answers) > 5 else "")
            + f"; shown: {said.shown}"
        )
    if found.outcome is not None:
        lines.append(
            "in fact "
            + ", ".join(map(str, found.outcome[:5]))
            + (" …" if len(found.outcome) > 5 else "")
        )
    if found.replayed is None:
        lines.append(
            "replay not possible without the rows: give --body"
            if not said.refused
            else "replay of a refusal is not possible"
        )
    else:
        lines.append(
            "replay the signed model gives the same answer, bit for bit"
            if found.replayed
            else "REPLAY DIFFERS: the signed model gives another answer here"
        )
    lines = [printable(line) for line in lines]
    if found.counted:
        rows = [[one.feature, *_shown(one), f"{one.change:+.4f}"] for one in found.counted]
        lines += [
            "",
            (
                f"what counted for row {arguments.row}: change of the answer, were the feature as"
                " usual"
            ),
            table(["feature", "value", "usual", "change"], rows),
        ]
    emit(arguments, msgspec.to_builtins(found), "\n".join(lines))
    return 0 if found.replayed is not False else 1


def _shown(one: Any) -> list[str]:
    return (
        ["withheld", "withheld"]
        if one.shown == "withheld"
        else [_text(one.value), _text(one.usual)]
    )


def _text(value: float | str | None) -> str:
    return "missing" if value is None else value if isinstance(value, str) else f"{value:.6g}"


def _newest(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table
    from casemate.serve.explain import newest

    found = [
        {
            "request": one.id,
            "time": one.moment.isoformat(timespec="seconds"),
            "principal": one.principal,
            "model": one.model,
            "part": one.part,
            "rows": one.rows,
            "refused": one.refused,
        }
        for one in newest(project, max(arguments.last, 0))
    ]
    rows = [[str(value) for value in one.values()] for one in found]
    emit(
        arguments,
        found,
        table(["request", "time", "who", "model", "part", "rows", "refused"], rows),
    )
    return 0
