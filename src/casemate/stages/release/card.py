"""The model card: what the model is for, what was measured and how it was judged; written from the evidence, never by hand.

Source of the form: Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from typing import Any

from casemate.config import Config
from casemate.core.page import Section, page
from casemate.core.types import Assessment, Interval, Lineage, SealedDataset, TrainedModel, Verdict, number_text
from casemate.stages.release.gate import figures
from casemate.stages.release.rows import standing

MOST_ROWS = 40
NAME, PAGE = "model-card.md", "model-card.html"
LEAD = (
    "Figures are measured on rows that the training code never saw, with 95 % intervals; the last column says how many. "
    "A gate is passed if the whole interval keeps its limit, refused if none of it does, else inconclusive."
)


def sections(
    config: Config, lineage: Lineage, dataset: SealedDataset, model: TrainedModel, assessment: Assessment, verdict: Verdict
) -> list[Section]:
    """The card's parts, each only if there is something to say."""
    found = figures(dataset, model, assessment)
    parts = [
        Section(
            "Model",
            "",
            ["", ""],
            [
                ["purpose", config.project.purpose],
                ["estimator", model.estimator[:200]],
                ["training", model.mode],
                ["target", ", ".join(dataset.schema.targets) + (": " + ", ".join(dataset.schema.classes[:12]) if dataset.schema.classes else "")],
                ["served as", assessment.serve_format],
                ["run", lineage.run],
            ],
        ),
        Section("Verdict", verdict.outcome, ["", "gate", "value", "required", ""], [_gate(result) for result in verdict.gates]),
        Section(
            "Figures",
            _holdout(dataset, assessment),
            ["figure", "value", "95 % interval", "rows"],
            [[name, _number(figure.value), _range(figure), _standing(name, dataset, assessment)] for name, figure in sorted(found.items())],
        ),
    ]
    if assessment.with_dropped:
        text = (
            f"The hold-out as it was chosen, with the {assessment.dropped} rows that a person's decision took out; gates go by the figures without."
        )
        with_, heads = assessment.with_dropped, ["figure", "with these rows", "95 % interval", "without"]
        lines = [[name, _number(w.value), _range(w), _number(found[name].value)] for name, w in sorted(with_.items()) if name in found]
        parts.append(Section("With the rows that were taken out", text, heads, lines))
    if model.privacy:
        parts.append(Section("Differential privacy", _promise(model.privacy)))
    parts += _robustness(assessment)
    if assessment.compared:
        rows = [[name, _number(figure.value), _range(figure)] for name, figure in sorted(assessment.compared.items())]
        counts = assessment.mcnemar
        gained, lost, p = (counts.get(name, default) for name, default in (("gained", 0), ("lost", 0), ("p", 1)))
        text = f"Against {assessment.previous} on the same {assessment.compared_rows} hold-out rows, which neither saw"
        text += f": {gained:g} gained, {lost:g} lost, p {p:.3g}." if counts else "."
        parts.append(Section("Compared with the model before", text, ["figure", "difference", "95 % interval"], rows))
    parts += _parts_of(assessment, dataset.schema.regression)
    seen = [*dataset.findings, *model.findings, *assessment.findings]
    if seen:
        parts.append(Section("Findings", "", ["", "what"], [[finding.severity, finding.message] for finding in seen[:MOST_ROWS]]))
    if assessment.inconclusive:
        parts.append(Section("What could not be told", "", ["measurement"], [[text] for text in assessment.inconclusive]))
    about: list[list[Any]] = [["name", f"{dataset.name}@{dataset.version}"], ["held out", dataset.holdout]]
    if model.mode != "private":  # how many there are to train on is a fact about them
        about[1:1] = [["rows", dataset.rows]]
        about += [["left out", dataset.excluded], ["taken out of the hold-out by decision", dataset.dropped]]
    parts.append(Section("Data", "", ["", ""], about))
    return parts


def _holdout(dataset: SealedDataset, assessment: Assessment) -> str:
    """Which rows the figures of quality stand on."""
    how = "at random"
    if dataset.sides is not None:
        unit = "subject" if dataset.subject else "row"
        how = "as the newest" if dataset.sides.rule == "ordered" else f"by a keyed hash of each {unit}, before anything looked at outcomes"
    taken = f"; {assessment.dropped} more were taken out by a person's decision" if assessment.dropped else "; none was taken out"
    return f"{assessment.rows} hold-out rows, chosen {how}{taken}."


def _standing(name: str, dataset: SealedDataset, assessment: Assessment) -> str:
    count, whose = standing(name, dataset, assessment)
    return f"{count} {whose}" if count else ""


def _robustness(assessment: Assessment) -> list[Section]:
    curve = assessment.robustness.get("curve", [])
    if not curve:
        return []
    rows = [[point["eps"], point["robust_accuracy"], point.get("certified_accuracy", ""), point["noise_accuracy"]] for point in curve]
    text = f"Attacks: {', '.join(assessment.robustness['attacks'])}; eps in {assessment.robustness['unit']}; {assessment.robustness['rows']} rows."
    if "strongest" in assessment.robustness:
        spent = assessment.robustness["budget"][assessment.robustness["strongest"]]
        text += f" The strongest, {assessment.robustness['strongest']}, broke {spent['broke']} rows with {spent['queries']} questions."
    if "second_opinion" in assessment.robustness:
        broke = sum(assessment.robustness["second_opinion"]["broke"].values())
        text += f" A second opinion ({assessment.robustness['second_opinion']['by']}) broke {broke} rows by itself; the worse figure counts."
    if "tolerance" in assessment.robustness:
        text += f" Right is what lies within {assessment.robustness['tolerance']:g} deviations of the target."
    if assessment.tradeoff:
        plain = {point["eps"]: point["robust_accuracy"] for point in assessment.tradeoff["plain_curve"]}
        text += f" Without hardening: accuracy {assessment.tradeoff['plain_accuracy']:.3f}, robust accuracy "
        text += ", ".join(f"{value:.3f} at {eps:g}" for eps, value in plain.items()) + "."
    return [Section("Robustness", text, ["eps", "robust accuracy", "certified", "under noise"], rows)]


def _parts_of(assessment: Assessment, regression: bool) -> list[Section]:
    """By group, feature, test and slice."""
    parts = []
    if assessment.fairness:
        keys = list(assessment.fairness[0])
        heads = ["attribute", "group", *(key.replace("_", " ") for key in keys[2:])]
        text = "In deviations of the target." if regression else ""
        parts.append(
            Section("Groups", text, heads, [[group[key] if group[key] is not None else "" for key in keys] for group in assessment.fairness])
        )
    if assessment.importance:
        rows = [[row["feature"], row["mean"], row["std"]] for row in assessment.importance[:MOST_ROWS]]
        loss = "Rise of the squared error, in variances of the target," if regression else "Loss of log-likelihood"
        parts.append(Section("What matters", f"{loss} when a feature is shuffled.", ["feature", "mean", "deviation"], rows))
    if assessment.behaviour:
        rows = [
            [test["name"], test["expect"], test["rows"], test["broken"], "passed" if test["passed"] else "refused"] for test in assessment.behaviour
        ]
        parts.append(Section("Behaviour", "", ["test", "expects", "rows", "broken", ""], rows))
    if assessment.slices:
        figure, sign = ("mae", -1) if regression else ("accuracy", 1)
        worst = sorted(assessment.slices, key=lambda part: sign * part[figure])[:MOST_ROWS]
        parts.append(Section("Slices", "", ["column", "value", "rows", figure], [[s["column"], s["value"], s["rows"], s[figure]] for s in worst]))
    return parts


def _promise(told: dict[str, Any]) -> str:
    """What private training promises, between which tables, and to whom it promises nothing."""
    text = f"epsilon {told['epsilon']:.3f} at delta {told['delta']:g} for each {told['unit']}"
    if "neighbours" in told:
        text += f": with {told['neighbours']}; epsilon {told['replacing']:.3f} with one put in the place of another"
    return f"{text}; not covered: {told['not_covered']}."


def write(title: str, parts: list[Section]) -> tuple[bytes, bytes]:
    """(Markdown, HTML)."""
    lines = [f"# {title}", "", LEAD, ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        if part.text:
            lines += [_escaped(part.text), ""]
        if part.rows:
            lines += [f"| {' | '.join(part.heads)} |", "|" + "---|" * len(part.heads)]
            lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in part.rows]
            lines.append("")
    return "\n".join(lines).encode(), page(title, LEAD, parts)


def _gate(result: Any) -> list[Any]:
    return [result.outcome, result.gate, "" if result.value is None else _number(result.value), result.limit, result.waiver]


def _number(value: float) -> str:
    return number_text(value)


def _range(figure: Interval) -> str:
    return "" if figure.low == figure.high else f"{_number(figure.low)} to {_number(figure.high)}"


def _cell(value: Any) -> str:
    return _escaped(f"{value:.4g}" if isinstance(value, float) else str(value))


def _escaped(text: str) -> str:
    """Text that no Markdown reader takes for structure or HTML."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
