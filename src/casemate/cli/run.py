"""`casemate run`."""

import argparse
import os
import sys
from typing import Any

from casemate.cli.commands import open_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "--fresh", action="store_true", help="do everything again, even what has not changed"
    )
    parser.add_argument("--key", help="idempotency key: however often it is used, there is one run")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="STAGE",
        help="do again from this stage: data, train, assess, release",
    )


def run(arguments: Any) -> int:
    """Run or resume; exit code 1 when the model was refused."""
    if sys.stderr.isatty() or arguments.format == "text":
        print("casemate: opening the project", file=sys.stderr, flush=True)
    from casemate.cli.output import emit, table
    from casemate.core.errors import ConfigError
    from casemate.core.threads import WAITING

    os.environ.update(WAITING | os.environ)  # what somebody has set stays

    if arguments.fresh and arguments.start:
        raise ConfigError(
            "--fresh does everything again, --from only a part", hint="give one of them"
        )
    project = open_for(arguments)
    from casemate.cli.foretold import Foreteller  # what it imports is there by now
    from casemate.core.findings import ranked

    lines = Foreteller(project, quiet=arguments.format == "json")
    try:
        result = project.run(
            start=arguments.start, fresh=arguments.fresh, key=arguments.key, reporter=lines
        )
    finally:
        lines.close()
    verdict = result.verdict
    findings = ranked(result.findings)
    text = [*result.summary, ""]
    text += [
        table(
            ["", "gate", "value", "95 % interval", "required"],
            [_gate(gate) for gate in verdict.gates],
        ),
        "",
    ]
    text += [
        *(
            f"{_mark(gate.outcome)}: {_reason(gate)}"
            for gate in verdict.gates
            if gate.outcome != "passed"
        ),
        "",
    ]
    text += [
        f"finding {finding.severity}: {finding.message}"
        + (f" [{finding.location}]" if finding.location else "")
        for finding in findings
    ]
    text += _details(project, result)
    if verdict.outcome == "passed":
        text += [
            f"PASSED: {result.model.reference} is signed. Evidence: {result.folder}",
            "Next: casemate serve, or casemate model export NAME DIR",
        ]
    else:
        text += [
            (
                f"{verdict.outcome.upper()}: {result.model.reference} is kept unsigned and cannot be"
                f" served. Evidence: {result.folder}"
            )
        ]
        text += [f"Next: {what}".replace("\n", "\n  ") for what in result.advice]
    text += [
        f"not delivered yet, the outbox tries again: {receiver}" for receiver in result.undelivered
    ]
    emit(
        arguments,
        {
            "run": result.id,
            "model": result.model.reference,
            "verdict": verdict,
            "metrics": result.assessment.metrics,
            "findings": findings,
        },
        "\n".join(text),
    )
    return 0 if verdict.outcome == "passed" else 1


def _gate(gate: Any) -> list[str]:
    from casemate.core.figures import shown
    from casemate.core.page import NOTHING
    from casemate.core.types import number_text

    value = NOTHING if gate.value is None else shown(gate.gate, gate.value)
    return [
        _mark(gate.outcome),
        gate.gate,
        value,
        "" if gate.low is None else f"{number_text(gate.low)} to {number_text(gate.high)}",
        gate.limit,
    ]


def _reason(gate: Any) -> str:
    """What a finding saw stands in the finding, once."""
    if gate.gate != "findings":
        return str(gate.reason)
    return (
        "1 finding of high severity"
        if gate.value == 1
        else f"{gate.value:.0f} findings of high severity"
    )


def _mark(outcome: str) -> str:
    return {"passed": "ok", "refused": "REFUSED", "inconclusive": "INCONCLUSIVE"}[outcome]


def _details(project: Any, result: Any) -> list[str]:
    """What lies behind findings about the training code, for whoever may hear its words."""
    from casemate.cli.output import printable
    from casemate.core.errors import AccessDenied
    from casemate.core.types import TrainedModel

    if not project.engine.record(result.id, "train", TrainedModel).findings:
        return []
    try:
        words = project.runs.words(result.id)
    except AccessDenied:
        return []
    said = [] if words is None else [*words.findings, *filter(None, [words.export_problem])]
    return [f"  in detail: {printable(line)[:300]}" for line in said]
