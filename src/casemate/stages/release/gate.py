"""Gates: limits on measured figures. A gate is passed if the whole 95 % interval keeps its limit
and refused if none of it does.

In between this hold-out cannot decide: that is inconclusive, and the reason says about how many
rows would settle it. What was not measured is inconclusive too, and inconclusive is not passed. A
gate that does not hold may be waived by an approver, for a time and with a reason; the waiver is
part of the verdict.
"""

from collections.abc import Callable, Collection

import msgspec

from casemate.config import AT_EPS, LESS_IS_BETTER, QUALITY, Config, GateTable, worst
from casemate.config.figures import SCAN
from casemate.core.types import (
    Assessment,
    Finding,
    GateResult,
    Interval,
    Outcome,
    SealedDataset,
    TrainedModel,
    Verdict,
    Waived,
    number_text,
)
from casemate.core.types.scan import ScanStanding
from casemate.stages.release import rows, weaknesses

MEMBERSHIP = ("membership_auc", "label_only_auc", "lira_auc")
"""Attacks that answer one question, whether a row was learnt from, and are compared by one
measure.
"""
Standing = Callable[[str], tuple[int, str, int]]
SOURCES = {
    "membership": "membership",
    "label_only": "membership",
    "robust_accuracy": "robustness",
    "certified_accuracy": "certification",
    "lira": "lira",
    "attribute": "attribute inference",
    "inversion": "inversion",
    "memorised": "lira",
    "demographic": "fairness",
    "equalized": "fairness",
    "mean_prediction": "fairness",
    "absolute_error": "fairness",
    "shift": "shift",
    "cv_gap": "shift",
    "behaviour": "behaviour",
}
"""Start of a figure's name -> the measurement that gives it, as `Assessment.inconclusive`
calls it.
"""


def judge(
    config: Config,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    waivers: list[Waived] | None = None,
    scan: ScanStanding | None = None,
) -> Verdict:
    """Every configured gate, then the one that always holds: no finding of high severity.

    Args:
        config: has the gates.
        dataset: what the data stage measured.
        model: what the train stage said and spent.
        assessment: what was measured on the hold-out.
        waivers: those in force now.
        scan: how the project stands by its last scans, for the gate that goes by them.
    """
    found = figures(dataset, model, assessment)

    def standing(name: str) -> tuple[int, str, int]:
        return rows.standing(name, dataset, assessment)

    gates = [
        weaknesses.judged(gate, scan, model.code_digest)
        if name == SCAN
        else _limit(name, gate, found, assessment, standing)
        for name, gate in config.gates.items()
    ]
    if not gates:
        gates.append(
            GateResult(
                gate="gates",
                outcome="inconclusive",
                value=None,
                limit="at least one gate",
                reason="no gate is configured, so nothing was shown; add [gates] to casemate.toml",
            )
        )
    gates.append(_findings([*dataset.findings, *model.findings, *assessment.findings]))
    given = {waiver.gate: waiver for waiver in waivers or []}
    gates = [
        _waived(gate, given[gate.gate]) if gate.gate in given and gate.outcome != "passed" else gate
        for gate in gates
    ]
    outcomes = {gate.outcome for gate in gates if not gate.waiver} | {"passed"}
    outcome: Outcome = (
        "passed"
        if outcomes == {"passed"}
        else "refused"
        if "refused" in outcomes
        else "inconclusive"
    )
    return Verdict(outcome=outcome, gates=gates)


def figures(
    dataset: SealedDataset, model: TrainedModel, assessment: Assessment
) -> dict[str, Interval]:
    """Every figure that was measured, by the name that gates give it; `robust_accuracy@EPS` for
    those at an attack size.
    """
    found = {name: Interval.exact(value) for name, value in dataset.figures.items()}
    found |= _measured(assessment)
    if assessment.labels:
        each = {label: _measured(one) for label, one in assessment.labels.items()}
        for label, own in each.items():
            found |= {
                f"{label}.{name}": figure
                for name, figure in own.items()
                if "." not in name.partition("@")[0]  # on the hold-out, not on a further table
            }
        for name in next(iter(each.values())):
            if all(name in own for own in each.values()):
                found[name] = worst(name, [own[name] for own in each.values()])
    if "epsilon" in model.privacy:
        found["epsilon"] = Interval.exact(model.privacy["epsilon"])
    if len(model.nested) > 1:
        found["nested_cv"] = Interval(
            value=sum(model.nested) / len(model.nested),
            low=min(model.nested),
            high=max(model.nested),
        )
    return found


def _measured(assessment: Assessment) -> dict[str, Interval]:
    """What was measured of one target."""
    found = assessment.metrics | assessment.figures
    if "auc" in assessment.membership:
        found["membership_auc"] = _interval(assessment.membership["auc"])
    if "inconclusive" not in assessment.robustness:
        for name in sorted(AT_EPS):
            for point in assessment.robustness.get("curve", []):
                if name in point:
                    value = point[name]
                    found[f"{name}@{point['eps']:g}"] = _interval(
                        point.get(f"{name}_interval", {"value": value, "low": value, "high": value})
                    )
    return found


def unwatched(config: Config, found: dict[str, Interval]) -> list[Finding]:
    """Membership attacks that no gate looks at and that exceed the limit which a gate sets for a
    weaker one.

    The verdict stays what the gates say; whoever set a limit for an attacker should know that a
    stronger one was measured.
    """
    limits = {
        name: gate.max
        for name in MEMBERSHIP
        if (gate := config.gates.get(name)) is not None and gate.max is not None
    }
    told = []
    for name in [
        name for name in MEMBERSHIP if limits and name in found and name not in config.gates
    ]:
        watched, limit = max(limits.items(), key=lambda one: one[1])
        if found[name].value > limit:
            text = (
                f"{name} is {_text(found[name])}, beyond the limit of {limit:g} that the gate sets"
                f" for {watched}: a stronger attack than the gate "
            )
            text += f"looks at; [gates] {name} = {{ max = {limit:g} }} has it judged"
            told.append(
                Finding(
                    id="privacy.unwatched",
                    severity="medium",
                    confidence="high",
                    message=text,
                    location=name,
                )
            )
    return told


def _interval(value: dict[str, float]) -> Interval:
    return Interval(
        value=value["value"],
        low=value.get("low", value["value"]),
        high=value.get("high", value["value"]),
    )


def _limit(
    name: str,
    gate: GateTable,
    found: dict[str, Interval],
    assessment: Assessment,
    standing: Standing,
) -> GateResult:
    words = [f">= {gate.min:g}"] if gate.min is not None else []
    words += [f"<= {gate.max:g}"] if gate.max is not None else []
    words += (
        [f"no worse than {assessment.previous or 'the model before'} by more than {gate.margin:g}"]
        if gate.no_worse_than
        else []
    )
    limit = " and ".join(words) + (f" at eps {gate.eps:g}" if gate.eps else "")
    key = f"{name}@{gate.eps:g}" if gate.eps else name
    figure = found.get(key)
    if figure is None or not _finite(figure):
        why = next(
            (
                text
                for text in assessment.inconclusive
                if text.startswith((_source(name, assessment.labels), "assessment"))
            ),
            "not measured",
        )
        return GateResult(
            gate=name,
            outcome="inconclusive",
            value=None,
            limit=limit,
            reason=f"{name} is inconclusive: {why}",
        )
    whose = next((one for one in assessment.labels if found.get(f"{one}.{key}") == figure), "")
    of = f" (label {whose!r}, the worst)" if whose and len(assessment.labels) > 1 else ""
    parts = [
        _against(figure, gate.min, 1, standing(key)),
        _against(figure, gate.max, -1, standing(key)),
    ]
    parts = [
        (outcome, f"{name} is {_text(figure)}{of}, required {limit}{more}")
        for outcome, more in parts
    ]
    parts += _with_dropped(name, gate, assessment, limit)
    if gate.no_worse_than and assessment.previous:
        parts.insert(0, _compared(name, gate, assessment, limit))
    # The worst of all decides; of two that are alike the first is told.
    outcome, reason = max(
        parts, key=lambda part: ("passed", "inconclusive", "refused").index(part[0])
    )
    low, high = (None, None) if figure.low == figure.high else (figure.low, figure.high)
    return GateResult(
        gate=name,
        outcome=outcome,
        value=figure.value,
        limit=limit,
        reason=reason,
        low=low,
        high=high,
    )


def _with_dropped(
    name: str, gate: GateTable, assessment: Assessment, limit: str
) -> list[tuple[Outcome, str]]:
    """The same limit on the hold-out as it was chosen: rows that people take out are those that
    models get wrong.
    """
    label, plain = rows.of_label(name, assessment)
    figure = (assessment.labels[label] if label else assessment).with_dropped.get(plain)
    if figure is None:
        return []
    standing = (assessment.rows + assessment.dropped, rows.HOLDOUT, 0)
    parts = [_against(figure, gate.min, 1, standing), _against(figure, gate.max, -1, standing)]
    told = (
        f"{name} is {_text(figure)} with the {assessment.dropped} rows that were taken out of the"
        f" hold-out by decision, required {limit}"
    )
    return [(outcome, told + more) for outcome, more in parts]


def _against(
    figure: Interval, limit: float | None, sign: int, standing: tuple[int, str, int]
) -> tuple[Outcome, str]:
    """(what the figure says about one limit, what would settle it); `sign` is 1 for a least value
    and -1 for a greatest one.
    """
    if limit is None:
        return "passed", ""
    bad, good = (figure.low, figure.high) if sign > 0 else (figure.high, figure.low)
    if sign * bad >= sign * limit:
        return "passed", ""
    side = "below" if sign > 0 else "above"
    if sign * good < sign * limit:
        return "refused", (
            "" if figure.low == figure.high else f": the whole interval lies {side} the limit"
        )
    text = (
        f": the {'lower' if sign > 0 else 'upper'} end counts, and {number_text(bad)} lies {side}"
        " the limit"
    )
    count, whose, subjects = standing
    wanted = rows.settling(figure, limit, count)
    if wanted is None:
        return "inconclusive", f"{text}; more rows would hardly tell"
    whose += f" of {subjects} subjects" if subjects else ""
    enough = rows.wanted_rows(wanted, count, subjects)
    return (
        "inconclusive",
        f"{text}; {count} {whose} cannot tell which side the figure is on, about {enough} would",
    )


def _compared(
    name: str, gate: GateTable, assessment: Assessment, limit: str
) -> tuple[Outcome, str]:
    """What the difference to the model before says about the margin, and what this hold-out can say
    at all.
    """
    difference = assessment.compared.get(name)
    if difference is None or not _finite(difference):
        why = next(
            (text for text in assessment.inconclusive if text.startswith("comparison")),
            "not measured",
        )
        return "inconclusive", f"{name} could not be compared with {assessment.previous}: {why}"
    less = name in LESS_IS_BETTER
    gain = (
        Interval(value=-difference.value, low=-difference.high, high=-difference.low)
        if less
        else difference
    )
    outcome, _ = _against(gain, -gate.margin, 1, (0, "", 0))
    count, half = (
        assessment.compared_rows or assessment.rows,
        (difference.high - difference.low) / 2,
    )
    reason = (
        f"{name} differs from {assessment.previous} by {_text(difference)} on the same rows,"
        f" required {limit}"
    )
    if half <= 0:
        return outcome, reason
    reason += f"; {count} rows tell differences from {number_text(rows.decidable(half))} on"
    wanted = rows.needed(half, gate.margin, count)
    if outcome == "inconclusive" and wanted is not None:
        reason += (
            ", this margin needs about"
            f" {rows.wanted_rows(max(wanted, count + 1), assessment.rows, assessment.subjects)}"
        )
    return outcome, reason


def _finite(figure: Interval) -> bool:
    return all(
        value == value and abs(value) != float("inf")  # noqa: PLR0124
        for value in (figure.value, figure.low, figure.high)
    )


def _text(figure: Interval) -> str:
    if figure.low == figure.high:
        return number_text(figure.value)
    return f"{number_text(figure.value)} ({number_text(figure.low)} to {number_text(figure.high)})"


def _source(name: str, labels: Collection[str]) -> str:
    table, dot, figure = name.rpartition(".")
    if table in labels:
        return _source(figure, ())
    if dot:
        return f"table {table}"
    if name in QUALITY:
        return "quality"
    return next((source for start, source in SOURCES.items() if name.startswith(start)), name)


def _waived(gate: GateResult, waiver: Waived) -> GateResult:
    text = f"waived by {waiver.by} until {waiver.until[:10]}: {waiver.reason}"
    return msgspec.structs.replace(gate, waiver=text)


def _findings(findings: list[Finding]) -> GateResult:
    high = [finding for finding in findings if finding.severity == "high"]
    reason = (
        "; ".join(f"{finding.id}: {finding.message}" for finding in high[:5])
        or "no finding of high severity"
    )
    return GateResult(
        gate="findings",
        outcome="refused" if high else "passed",
        value=float(len(high)),
        limit="no finding of high severity",
        reason=reason,
    )
