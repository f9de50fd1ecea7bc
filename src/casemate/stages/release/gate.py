"""Gates: limits on measured figures. What was not measured is inconclusive, and inconclusive is not passed."""

from casemate.config import Config, GateTable
from casemate.core.types import Assessment, Finding, GateResult, Outcome, SealedDataset, TrainedModel, Verdict


def judge(config: Config, dataset: SealedDataset, model: TrainedModel, assessment: Assessment) -> Verdict:
    """Every configured gate, then the one that always holds: no finding of high severity."""
    gates = [_limit(name, gate, assessment) for name, gate in config.gates.items()]
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
    outcomes = {gate.outcome for gate in gates}
    outcome: Outcome = "passed" if outcomes == {"passed"} else "refused" if "refused" in outcomes else "inconclusive"
    return Verdict(outcome=outcome, gates=gates)


def measured(name: str, gate: GateTable, assessment: Assessment) -> float | None:
    """The figure that a gate looks at, or None when it was not measured."""
    if name == "membership_auc":
        auc: float | None = assessment.membership.get("auc", {}).get("value")
        return auc
    if name == "robust_accuracy":
        if "inconclusive" in assessment.robustness:
            return None
        points: dict[float | None, float] = {point["eps"]: point["robust_accuracy"] for point in assessment.robustness.get("curve", [])}
        return points.get(gate.eps)
    metric = assessment.metrics.get(name)
    return None if metric is None else metric.value


def _limit(name: str, gate: GateTable, assessment: Assessment) -> GateResult:
    words = [f">= {gate.min:g}"] if gate.min is not None else []
    words += [f"<= {gate.max:g}"] if gate.max is not None else []
    limit = " and ".join(words) + (f" at eps {gate.eps:g}" if gate.eps else "")
    value = measured(name, gate, assessment)
    if value is None or value != value:  # noqa: PLR0124 - NaN is not equal to itself
        why = next((text for text in assessment.inconclusive if text.startswith((_source(name), "assessment"))), "not measured")
        return GateResult(gate=name, outcome="inconclusive", value=None, limit=limit, reason=f"{name} is inconclusive: {why}")
    passed = (gate.min is None or value >= gate.min) and (gate.max is None or value <= gate.max)
    reason = f"{name} is {value:.4f}, required {limit}"
    return GateResult(gate=name, outcome="passed" if passed else "refused", value=value, limit=limit, reason=reason)


def _source(name: str) -> str:
    return {"membership_auc": "membership", "robust_accuracy": "robustness"}.get(name, "quality")


def _findings(findings: list[Finding]) -> GateResult:
    high = [finding for finding in findings if finding.severity == "high"]
    reason = "; ".join(f"{finding.id}: {finding.message}" for finding in high[:5]) or "no finding of high severity"
    return GateResult(
        gate="findings",
        outcome="refused" if high else "passed",
        value=float(len(high)),
        limit="no finding of high severity",
        reason=reason,
    )
