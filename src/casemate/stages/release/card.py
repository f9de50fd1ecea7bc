"""The model card: what the model is for, what was measured and how it was judged; written from the
evidence, never by hand.

Source of the form: Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from typing import Any

from casemate.config import Config
from casemate.core import figures, markdown
from casemate.core.page import NOTHING, Section, embedded, page
from casemate.core.types import (
    Assessment,
    Federated,
    GateResult,
    Lineage,
    SealedDataset,
    TrainedModel,
    Unlearning,
    Verdict,
)
from casemate.ml.own import code
from casemate.stages.release import gate, summary
from casemate.stages.release.remedies import remedies
from casemate.stages.release.rows import standing
from casemate.stages.release.tables import first_rows, further_tables, range_text

NAME, PAGE = "model-card.md", "model-card.html"
LEAD = (
    "Figures are measured on rows that the training code never saw, with 95 % intervals; the table"
    " says how many. A gate is passed if the whole interval keeps its limit, refused if none of it"
    " does, else inconclusive."
)
PICTURES = {
    "roc": figures.GOOD,
    "predicted": figures.GOOD,
    "calibration": figures.SURE,
    "robustness": figures.ROBUST,
}
"""Picture of the assessment -> where it is shown."""


def sections(
    config: Config,
    lineage: Lineage,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    verdict: Verdict,
    pictures: dict[str, bytes] | None = None,
    attempt: int = 1,
) -> list[Section]:
    """The card's parts, each only if there is something to say.

    Args:
        config: what was asked for.
        lineage: where the model comes from.
        dataset: what the data stage recorded.
        model: what the train stage recorded.
        assessment: what was measured.
        verdict: how it was judged.
        pictures: name -> PNG.
        attempt: how many models the project has judged, this one included.
    """
    found = gate.figures(dataset, model, assessment)
    parts = [
        Section(
            "Summary", "", summary.sentences(config, dataset, model, assessment, verdict, attempt)
        )
    ]
    told = remedies(
        [*dataset.findings, *model.findings, *assessment.findings], dataset.schema, config
    )
    helps = [" ".join(text.split()) for text in summary.advice(verdict, told)]
    parts.append(
        Section(
            "Verdict",
            verdict.outcome,
            helps,
            ["", "gate", "value", "required", ""],
            [_gate(g) for g in verdict.gates],
        )
    )
    further = further_tables(assessment, dataset.schema.regression)
    for group, names in figures.grouped(list(found)):
        rows = [
            [
                name,
                figures.shown(name, found[name].value),
                range_text(found[name]),
                _standing(name, dataset, assessment),
                figures.meaning(name),
            ]
            for name in names
        ]
        images = [
            (name, embedded(png))
            for name, png in (pictures or {}).items()
            if PICTURES.get(name) is group
        ]
        text = group.lead + (f" {_holdout(dataset, assessment)}" if group is figures.GOOD else "")
        text += _calibrated(model) if group is figures.SURE else ""
        parts.append(
            Section(
                group.title,
                text,
                heads=["figure", "value", "95 % interval", "rows", "what it means"],
                rows=rows,
                images=images,
            )
        )
        parts += further.pop(group.title, [])
    parts += [part for left in further.values() for part in left]
    if model.privacy:
        parts.append(Section("Differential privacy", _promise(model.privacy)))
    seen = [
        *dataset.findings,
        *model.findings,
        *assessment.findings,
        *gate.unwatched(config, found),
    ]
    if seen:
        parts.append(
            Section(
                "Findings",
                heads=["", "what"],
                rows=first_rows([[finding.severity, finding.message] for finding in seen]),
            )
        )
    if assessment.inconclusive:
        parts.append(Section("What nobody measured", "", list(assessment.inconclusive)))
    parts.append(_model(config, lineage, dataset, model, assessment))
    return [*parts, *_own_code(model), _data(dataset, model)]


def _own_code(model: TrainedModel) -> list[Section]:
    carried = code.among(model.files)
    text = (
        "The model computes with code that its authors wrote. It is signed with the model, and runs"
        " in a sandbox wherever the model is used. Who approves the model approves this code: read"
        " it. It is asked as any model is; that it does the same for every row that nobody asked"
        " about, no measurement says."
    )
    rows: list[list[Any]] = [[name, digest] for name, digest in carried.items()]
    return [Section("Code of its own", text, heads=["file", "SHA-256"], rows=rows)] if rows else []


def _model(
    config: Config,
    lineage: Lineage,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
) -> Section:
    rows = [
        ["purpose", config.project.purpose],
        ["estimator", model.estimator[:200]],
        ["training", model.mode],
        [
            "target",
            ", ".join(dataset.schema.targets)
            + (" (labels, each carried or not)" if dataset.schema.labels else "")
            + (": " + ", ".join(dataset.schema.classes[:12]) if dataset.schema.classes else ""),
        ],
        ["served as", assessment.serve_format],
        ["run", lineage.run],
    ]
    if model.federated is not None:
        rows.append(["learnt by", learnt_by(model.federated)])
    if model.went_on is not None:
        rows.append(["went on with", model.went_on.text])
    if model.unlearning is not None:
        rows.append(["can be unlearnt", unlearnt(model.unlearning)])
    return Section("Model", heads=["", ""], rows=rows, diagram=model.diagram)


def learnt_by(found: Federated) -> str:
    """How many owners learnt a model together, and by which record."""
    said = sum(bool(one.statement) for one in found.stated)
    text = (
        f"{len(found.sites)} sites in {found.rounds} rounds, none of whom saw another's rows"
        f" (record {found.record}); {said} of them said what it tells of theirs"
    )
    if not found.epsilon:
        return text
    whom = "each row, or all rows of a subject where its site names subjects,"
    if found.unit == "site":
        whom = "all its rows taken together, whosever they are,"
    return (
        f"{text}; each added noise of its own to what it sent, whoever else is honest: all rounds"
        f" together cost {whom} epsilon {found.epsilon:g} at delta {found.delta:g}"
    )


def unlearnt(found: Unlearning) -> str:
    """That rows can be taken out of a model exactly, and from which model it was made that way."""
    if found.kind == "least-squares":
        return f"exactly: it is of sums over {found.rows} rows, and was solved anew"
    text = f"exactly: each of {found.rows} rows is in {found.each} of {found.trees} trees"
    if not found.former:
        return text
    return (
        f"{text}; {found.kept} were taken over from {found.former} ({found.former_rows} rows of"
        f" {found.former_data}), having held no row that went or came, the others were grown:"
        " the same to the last bit as trained anew without that model"
    )


def _data(dataset: SealedDataset, model: TrainedModel) -> Section:
    about: list[list[Any]] = [
        ["name", f"{dataset.name}@{dataset.version}"],
        ["held out", dataset.holdout],
    ]
    if model.mode != "private":  # how many there are to train on is a fact about them
        about[1:1] = [["rows", dataset.rows]]
        about += [
            ["left out", dataset.excluded],
            ["taken out of the hold-out by decision", dataset.dropped],
        ]
    if dataset.whole is not None:
        about.append(["whole table", dataset.whole.text])
    return Section("Data", heads=["", ""], rows=about)


def _holdout(dataset: SealedDataset, assessment: Assessment) -> str:
    """Which rows the figures of quality stand on."""
    how = "at random"
    if dataset.sides is not None:
        unit = "subject" if dataset.subject else "row"
        how = (
            "as the newest"
            if dataset.sides.rule == "ordered"
            else f"by a keyed hash of each {unit}, before anything looked at outcomes"
        )
    if dataset.sides is not None and dataset.sides.draws > 1:
        how += f" (the {dataset.sides.draws}. hold-out that was drawn here)"
    taken = (
        f"; {assessment.dropped} more were taken out by a person's decision"
        if assessment.dropped
        else "; none was taken out"
    )
    weighed = (
        " Rows are weighted, so quality, calibration, slices and fairness are those of the"
        f" population; {assessment.rows} rows are worth {assessment.worth:.0f} of equal weight."
        " Attacks, leaks, shift and importance count rows alike."
        if assessment.worth
        else ""
    )
    return f"{assessment.rows} hold-out rows, chosen {how}{taken}.{weighed}"


def _calibrated(model: TrainedModel) -> str:
    """What calibration would change on rows of other folds, and whether it was kept."""
    found = model.calibration
    if not found:
        return ""
    change = (
        f"log loss from {found['before']:.4f} to {found['after']:.4f} (standard error"
        f" {found['error']:.4f}) on training rows of other folds"
    )
    if found["kept"]:
        return (
            f" The model's scores were calibrated, by the slope {found['slope']:.3g}: that took"
            f" {change}."
        )
    return f" It was left as it is: calibration would take {change}, no gain beyond chance."


def _standing(name: str, dataset: SealedDataset, assessment: Assessment) -> str:
    count, whose, subjects = standing(name, dataset, assessment)
    return (
        f"{count} {whose}" + (f" of {subjects} subjects" if subjects else "") if count else NOTHING
    )


def _promise(told: dict[str, Any]) -> str:
    """What private training promises, between which tables, and to whom it promises nothing."""
    text = f"epsilon {told['epsilon']:.3f} at delta {told['delta']:g} for each {told['unit']}"
    if "neighbours" in told:
        text += (
            f": with {told['neighbours']}; epsilon {told['replacing']:.3f} with one put in the"
            " place of another"
        )
    return f"{text}; not covered: {told['not_covered']}."


def write(title: str, parts: list[Section]) -> tuple[bytes, bytes]:
    """The card as (Markdown, HTML), both from the same sections."""
    text = markdown.document(title, LEAD, parts, _escaped)
    return text.encode(), page(title, LEAD, parts)


def _gate(result: GateResult) -> list[Any]:
    return [
        result.outcome,
        result.gate,
        NOTHING if result.value is None else figures.shown(result.gate, result.value),
        result.limit,
        result.waiver or ("" if result.outcome == "passed" else result.reason),
    ]


def _escaped(text: str) -> str:
    """Text that no Markdown reader takes for structure or HTML."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
