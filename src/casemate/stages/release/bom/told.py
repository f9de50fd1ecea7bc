"""The bill of a model, from what the stages recorded of it; nothing in it that its card or
`model.json` would not tell.
"""

import datetime
import platform
from collections import Counter
from collections.abc import Mapping

from casemate.config import Config
from casemate.core.types import (
    Assessment,
    Interval,
    Lineage,
    SealedDataset,
    TrainedModel,
    Verdict,
)
from casemate.core.types import Part as Box
from casemate.core.types.scan import ScanStanding
from casemate.ml.own import code
from casemate.stages.release import gate
from casemate.stages.release.bom.installed import packages, platform_parts
from casemate.stages.release.bom.materials import (
    Bill,
    Data,
    Figure,
    Model,
    Part,
    in_order,
)

LINEAGE = "lineage:"
SIGNED = "OpenSSF model signing: model.sig over every file of the model"
MOST_TOLD = 50
"""Sentences of one kind."""
MOST_TEXT = 300
FLOW = (
    "table -> sealed by column -> sandbox without network, which sees training rows -> sandbox that"
    " assesses on rows kept back -> signed files -> gateway or other servers that verify them"
)


def bill(
    name: str,
    version: int,
    lineage: Lineage,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    verdict: Verdict,
    config: Config,
    scan: ScanStanding | None = None,
) -> Bill:
    """Everything that is known when a model is judged.

    Args:
        name: model name.
        version: model version.
        lineage: where it came from.
        dataset: what it learnt from, without what a private model's training rows decide.
        model: how it was trained.
        assessment: what was measured.
        verdict: how it was judged.
        config: what was asked for.
        scan: how the project stood by its last scans.
    """
    made = _time(lineage.run)
    carried = code.among(model.files)
    return Bill(
        name=name,
        version=str(version),
        time=made,
        revision="1",
        producer=config.controller.name,
        tool=_tool(),
        phase="build",
        models=[_model(name, version, made, dataset, model, assessment, config)],
        data=[_data(dataset, model, config)],
        parts=sorted(
            [
                *platform_parts(),
                *packages(),
                *(Part(name=file, kind="file", digest=digest) for file, digest in carried.items()),
            ],
            key=in_order,
        ),
        facts=_facts(lineage, dataset, model, verdict, config, scan),
    )


def _model(
    name: str,
    version: int,
    made: str,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    config: Config,
) -> Model:
    schema = dataset.schema
    kinds = Counter(column.type for column in schema.features)
    found = _figures(gate.figures(dataset, model, assessment))
    limits = [f"not measured: {text}" for text in assessment.inconclusive]
    limits += [finding.message for finding in assessment.findings]
    return Model(
        name=name,
        version=str(version),
        description=f"{_task(dataset)} of {', '.join(schema.targets)}: {model.estimator}"[
            :MOST_TEXT
        ],
        licence=config.release.licence,
        producer=config.controller.name,
        time=made,
        task=_task(dataset),
        family="torch" if "network.json" in model.files else "scikit-learn",
        architecture=model.estimator[:MOST_TEXT],
        training=model.mode,
        files=dict(sorted(model.files.items())),
        parameters=dict(_parameters(model.diagram))
        or {name: str(value)[:MOST_TEXT] for name, value in sorted(model.params.items())},
        figures=found,
        inputs=[
            f"table row: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
        ],
        outputs=_outputs(dataset),
        uses=[config.project.purpose],
        limits=limits[:MOST_TOLD],
        tradeoffs=_tradeoffs(assessment),
        fairness=[
            f"{one.name}: {one.value} ({one.low} to {one.high})"
            for one in found
            if one.name in _OF_GROUPS
        ],
    )


_OF_GROUPS = ("demographic_parity_difference", "equalized_odds_difference")


def _task(dataset: SealedDataset) -> str:
    if dataset.schema.regression:
        return "regression"
    return "multi-label classification" if dataset.schema.labels else "classification"


def _outputs(dataset: SealedDataset) -> list[str]:
    schema = dataset.schema
    if schema.classes:
        return [f"probability of each of {', '.join(schema.classes[:MOST_TOLD])}"]
    what = "probability of" if schema.labels else "quantity:"
    return [f"{what} {', '.join(schema.targets[:MOST_TOLD])}"]


def _parameters(box: Box | None, place: str = "") -> Mapping[str, str]:
    """What the search chose, by the path of its part; texts of the training code are not in it."""
    if box is None:
        return {}
    path = f"{place}.{box.name}" if place else box.name
    found = {f"{path}.{name}": str(value)[:MOST_TEXT] for name, value in box.params.items()}
    for inner in box.parts:
        found |= _parameters(inner, path)
    return found


def _figures(found: dict[str, Interval]) -> list[Figure]:
    return [_figure(name, one) for name, one in sorted(found.items())]


def _figure(name: str, one: Interval) -> Figure:
    value, low, high = (f"{number:.6f}" for number in (one.value, one.low, one.high))
    return Figure(name=name, value=value, low=low, high=high)


def _tradeoffs(assessment: Assessment) -> list[str]:
    return [
        f"without hardening, {name} is {value:.6f}"
        for name, value in sorted(assessment.tradeoff.items())
        if isinstance(value, float)
    ]


def _data(dataset: SealedDataset, model: TrainedModel, config: Config) -> Data:
    schema = dataset.schema
    private = model.mode == "private"  # how many there are to train on is a fact about them
    columns = [column.name for column in schema.columns if column.column_class != "general"]
    told = [f"{dataset.holdout} rows held out"]
    if not private:
        told += [f"{dataset.rows} rows", f"{dataset.excluded} rows left out"]
        told += [f"{dataset.rest} rows beside the sample"] if dataset.rest else []
    kinds = Counter(column.type for column in schema.columns)
    return Data(
        name=dataset.name,
        version=dataset.version,
        description=(
            f"a table of {len(schema.columns)} columns, to predict {', '.join(schema.targets)}"
        ),
        licence=config.controller.licence,
        digest=dataset.source_digest,
        rows=None if private else dataset.rows,
        types=[f"{count} {kind}" for kind, count in sorted(kinds.items())],
        sensitive="yes" if columns else "",
        columns=columns[:MOST_TOLD],
        origin=config.controller.origin,
        statistics=told,
    )


def _facts(
    lineage: Lineage,
    dataset: SealedDataset,
    model: TrainedModel,
    verdict: Verdict,
    config: Config,
    scan: ScanStanding | None,
) -> dict[str, str]:
    found = {
        LINEAGE + name: value
        for name in lineage.__struct_fields__
        if (value := getattr(lineage, name))
    }
    found |= {
        f"own-code:{name}": f"SHA-256 {digest}" for name, digest in code.among(model.files).items()
    }
    parts = platform_parts()
    basis = "" if dataset.basis is None else f"; legal basis: {dataset.basis.legal}"
    found |= {
        "stage": config.release.stage,
        "verdict": verdict.outcome,
        "data-flow": FLOW,
        "data-usage": f"trained on and measured by rows of {dataset.name}@{dataset.version}{basis}",
        "software": ", ".join(
            [
                *(f"{part.name} {part.version}".strip() for part in parts),
                f"{len(packages())} packages",
            ]
        ),
        "hardware": f"{platform.machine()}; accelerators: not known",
        "security-controls": "training code confined by " + ", ".join(model.isolation)
        if model.isolation
        else "",
        "vulnerabilities": _scanned(scan),
        "model-card": "model-card.md",
        "signature": SIGNED if verdict.outcome == "passed" else "",
    }
    waived = {f"waived:{one.gate}": one.waiver for one in verdict.gates if one.waiver}
    return {name: said for name, said in (found | waived).items() if said}


def _scanned(scan: ScanStanding | None) -> str:
    if scan is None:
        return ""
    counts = ", ".join(f"{count} {grade}" for grade, count in scan.open.items() if count)
    unknown = f"; not known: {'; '.join(scan.unknown)}" if scan.unknown else ""
    return f"open findings of casemate scan: {counts or 'none'}{unknown}"[:MOST_TEXT]


def _tool() -> str:
    """What writes the bill."""
    return next((f"{one.name} {one.version}" for one in packages() if one.name == "casemate"), "")


def _time(run: str) -> str:
    """When a run began, which its id says; empty: the id is another one."""
    try:
        began = datetime.datetime.strptime(run[:15], "%Y%m%d-%H%M%S")  # noqa: DTZ007 - set below
    except ValueError:
        return ""
    return began.replace(tzinfo=datetime.UTC).isoformat().replace("+00:00", "Z")
