"""`casemate assess`."""

import argparse
from typing import Any

from casemate.cli.commands import open_for
from casemate.stages.assess.names import PARTS, SCREENS

HELP = (
    f"may be given several times; of a model: {', '.join(PARTS)}; of the table:"
    f" {', '.join(SCREENS)}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "reference",
        nargs="?",
        help="NAME or NAME@VERSION (default: the newest model that passed), or `data`: the table",
    )
    parser.add_argument(
        "--explain",
        metavar="FIGURE",
        help="say what a figure stands on and cannot see, instead of measuring; needs no project",
    )
    parser.add_argument(
        "--only", metavar="PART", action="append", choices=[*PARTS, *SCREENS], help=HELP
    )


def run(arguments: Any) -> int:
    """Measure; exit code 1 when something could not be measured or a finding is of high
    severity.
    """
    from casemate.cli.output import emit, table
    from casemate.core.progress import Lines
    from casemate.core.types import number_text
    from casemate.operations.checkup import assess

    if arguments.explain is not None:
        return _explained(arguments)
    project = open_for(arguments)
    if arguments.reference == "data":
        from casemate.cli.check import look

        return look(arguments, project)
    lines = Lines(quiet=arguments.format == "json")
    try:
        found = assess(
            project, arguments.reference or project.config.project.name, arguments.only, lines
        )
    finally:
        lines.close()
    figures = {**found.of_quality, **found.figures}
    if "auc" in found.membership:
        figures["membership_auc"] = found.membership["auc"]
    rows = [
        [
            name,
            number_text(_end(figure, "value")),
            f"{number_text(_end(figure, 'low'))} to {number_text(_end(figure, 'high'))}",
        ]
        for name, figure in sorted(figures.items())
    ]
    text = [table(["figure", "value", "95 %"], rows)]
    if found.robustness.get("curve"):
        curve = [
            [
                f"{point['eps']:g}",
                f"{point['robust_accuracy']:.3f}",
                _certified(point),
                f"{point['noise_accuracy']:.3f}",
            ]
            for point in found.robustness["curve"]
        ]
        told = found.robustness
        text += ["", f"attacks: {', '.join(told['attacks'])}; eps in {told['unit']}"]
        text += [
            f"{name}: {spent['broke']} rows broken, {spent['queries']} questions"
            for name, spent in told.get("budget", {}).items()
        ]
        text += [table(["eps", "robust accuracy", "certified", "under noise"], curve)]
    text += [f"inconclusive: {reason}" for reason in found.inconclusive]
    text += [f"finding {finding.severity}: {finding.message}" for finding in found.findings]
    emit(arguments, found, "\n".join(text))
    return 1 if any(finding.severity == "high" for finding in found.findings) else 0


def _explained(arguments: Any) -> int:
    from casemate.cli.output import emit
    from casemate.stages.assess.explain import TITLES, explain

    found = explain(arguments.explain)
    lines = [f"{title + ':':<18}{getattr(found, name) or '-'}" for name, title in TITLES.items()]
    emit(arguments, found, "\n".join(lines))
    return 0


def _end(figure: Any, name: str) -> float:
    return float(figure[name] if isinstance(figure, dict) else getattr(figure, name))


def _certified(point: dict[str, Any]) -> str:
    return f"{point['certified_accuracy']:.3f}" if "certified_accuracy" in point else ""
