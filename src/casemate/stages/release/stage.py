"""The release stage: judge, and sign only what passed."""

from dataclasses import dataclass, field

import msgspec

from casemate.config import Config
from casemate.controls.keys.objects import ObjectStore
from casemate.core.digest import sha256_record
from casemate.core.errors import VerificationError
from casemate.core.sandbox.conversation import Progress
from casemate.core.signatures import Signer
from casemate.core.types import Assessment, Lineage, Release, SealedDataset, TrainedModel, Waived
from casemate.core.types.scan import ScanStanding
from casemate.ml.own import code
from casemate.stages.release import bundle, card, gate, mlbom, private, reading
from casemate.stages.release.bom import files as bills


@dataclass(frozen=True)
class ReleaseTools:
    """What the stage works with."""

    config: Config
    objects: ObjectStore
    signer: Signer
    progress: Progress
    pictures: dict[str, bytes] = field(default_factory=dict)
    """What the assessment drew, by name, as PNG; the card shows it."""


def decide(
    tools: ReleaseTools,
    run: str,
    version: int,
    dataset: SealedDataset,
    model: TrainedModel,
    assessment: Assessment,
    waivers: list[Waived],
    scan: ScanStanding | None = None,
) -> Release:
    """The verdict; for a passed model also its signed bundle. A refused model keeps its files,
    unsigned.

    Args:
        tools: what the stage works with.
        run: run id.
        version: the version that the model gets in the registry.
        dataset: the sealed data set.
        model: the trained model.
        assessment: what was measured.
        waivers: gates that somebody lets it pass without, now.
        scan: how the project stands by its last scans.

    Raises:
        VerificationError: the model's files are not those that were measured.
    """
    config = tools.config
    _require_measured(model, assessment)
    # Before anything is judged or written: what follows cannot tell what it was never given.
    if model.mode == "private":
        dataset, assessment = private.told(dataset, assessment)
    tools.progress("judging", 0, 2)
    verdict = gate.judge(config, dataset, model, assessment, waivers, scan)
    told = gate.unwatched(config, gate.figures(dataset, model, assessment))
    lineage = Lineage(
        run=run,
        dataset=dataset.name,
        dataset_version=dataset.version,
        source_digest=dataset.source_digest,
        code_digest=model.code_digest,
        config_digest=sha256_record(config),
        environment_digest=mlbom.environment_digest(),
        train_digest=sha256_record(model),
        assess_digest=sha256_record(assessment),
        federation=model.federated.record if model.federated else "",
        whole_table="" if dataset.whole is None else dataset.whole.text,
    )
    name = config.project.name
    markdown, page = card.write(
        f"{name}@{version}",
        card.sections(
            config, lineage, dataset, model, assessment, verdict, tools.pictures, version
        ),
    )
    described = bundle.Card(
        name=name,
        model_version=version,
        inputs=dataset.schema,
        serve_format=assessment.serve_format,
        purpose=config.project.purpose,
        lineage=msgspec.to_builtins(lineage),
        metrics={metric: figure.value for metric, figure in assessment.of_quality.items()},
        stage=config.release.stage,
        waived={
            waiver.gate: waiver.until
            for waiver in waivers
            if any(result.waiver and result.gate == waiver.gate for result in verdict.gates)
        },
        labels="own",
        order=model.order,
        code=code.among(model.files),
        reading=reading.of(config.data, dataset.schema),
    )
    stored = dict(model.files)
    documents = {
        bundle.CARD: described.to_json(),
        card.NAME: markdown,
        card.PAGE: page,
        bills.NAME: mlbom.build(
            name, version, lineage, dataset, model, assessment, verdict, config, scan
        ),
    }
    if assessment.profile is not None:
        documents[bundle.PROFILE] = assessment.profile.to_json()
    if assessment.baseline is not None:
        documents[bundle.BASELINE] = assessment.baseline.to_json()
    signature = None
    if verdict.outcome == "passed":
        tools.progress("signing", 1, 2)
        files = {file: tools.objects.get(digest) for file, digest in stored.items()} | documents
        signature = tools.objects.put(bundle.sign(files, tools.signer))
    stored |= {file: tools.objects.put(content) for file, content in documents.items()}
    return Release(
        model=name,
        model_version=version,
        verdict=verdict,
        lineage=lineage,
        files=stored,
        bundle=signature,
        findings=told,
    )


def _require_measured(model: TrainedModel, assessment: Assessment) -> None:
    """What is signed is what was measured, byte for byte; an assessment that failed as a whole
    measured nothing, and its gates block.
    """
    odd = sorted(
        name
        for name in {*model.files, *assessment.measured}
        if model.files.get(name) != assessment.measured.get(name)
    )
    if odd and (assessment.measured or assessment.metrics):
        raise VerificationError(
            f"other model files were measured than are to be signed: {', '.join(odd)}",
            hint="run again with --from assess",
        )
