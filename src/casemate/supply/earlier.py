"""What earlier runs left: versions and models to compare with, and how a run ended."""

from typing import Any

from casemate.core.errors import CompromisedSigner, ConfigError, VerificationError
from casemate.core.run import Run
from casemate.core.types import Assessment, Release, SealedDataset, TrainedModel
from casemate.ml.models import SKOPS
from casemate.stages.data import expectations
from casemate.stages.data import schema as schemas
from casemate.stages.train.tools import Former
from casemate.supply.context import RunContext
from casemate.supply.rows import SealedRows


def reference(context: RunContext) -> SealedDataset | None:
    """The version that statistics are compared with: `[data] reference`, else the first one under
    the pinned schema.
    """
    wanted, name = context.config.data.reference, context.config.dataset_name
    if wanted is not None:
        found = context.engine.find(
            "data", SealedDataset, lambda one: one.name == name and one.version == wanted
        )
        if found is None:
            raise ConfigError(
                f"[data] reference: there is no version {wanted!r} of {name}",
                hint="`casemate data list`",
            )
        return found
    pinned = schemas.load(context.root / context.config.data.schema)
    if pinned is None:
        return None
    law = expectations.law(pinned)
    return context.engine.find(
        "data",
        SealedDataset,
        lambda one: one.name == name and expectations.law(one.schema) == law and bool(one.profile),
    )


def previous(context: RunContext, assess: Any, rows: "SealedRows") -> Any:
    """The newest model that passed and is still trusted, or the incumbent, verified, to compare
    with.
    """
    for model in context.registry.list():
        if context.incumbent not in ("", model.reference):
            continue
        if model.release.model == context.config.project.name and model.release.bundle:
            try:
                verified = context.registry.verify(model.reference)
            except CompromisedSigner:  # a run is how the project gets trusted models again
                continue
            card = verified.card
            unseen = rows.unseen_by(
                context.engine.record(model.release.lineage.run, "data", SealedDataset)
            )
            return assess.Previous(
                model.reference,
                card.inputs,
                verified.files,
                card.order,
                card.labels == "own",
                unseen,
            )
    return None


def former(context: RunContext) -> Former | None:
    """The newest model of the project, where it can be unlearnt exactly: training is offered its
    trees, and takes over those that are of the same rows.
    """
    name = context.config.project.name
    newest = next((one for one in context.registry.list() if one.release.model == name), None)
    if newest is None:
        return None
    lineage = newest.release.lineage
    model = context.engine.record(lineage.run, "train", TrainedModel)
    if model is None or model.unlearning is None or SKOPS not in model.files:
        return None
    return Former(
        newest.reference,
        context.objects.get(model.files[SKOPS]),
        model.unlearning.rows,
        f"{lineage.dataset}@{lineage.dataset_version}",
    )


def outcome(context: RunContext, work: Run) -> tuple[str, Release, Assessment]:
    """What the run that is done already ended with."""
    release = context.engine.record(work.id, "release", Release)
    assessment = context.engine.record(work.id, "assess", Assessment)
    if release is None or assessment is None:
        raise VerificationError(
            f"run {work.id} has ended, but its records are gone",
            hint="`casemate fsck` says what is damaged",
        )
    # What was said then is said again, so it must still verify.
    if release.bundle:
        context.registry.verify(f"{release.model}@{release.model_version}")
    return work.id, release, assessment
