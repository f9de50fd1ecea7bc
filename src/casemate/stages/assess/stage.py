"""The assess stage, outside: hold-out and members go in, measured figures come back, plots are
drawn.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import structs

from casemate.config import Config
from casemate.controls.keys.objects import ObjectStore
from casemate.core.files import scratch_folder
from casemate.core.findings import attempts
from casemate.core.sandbox import conversation, failure
from casemate.core.sandbox import run as sandbox
from casemate.core.types import Assessment, Finding, Schema, TrainedModel
from casemate.ml import models
from casemate.ml.frame import UNSEEN
from casemate.ml.own import code
from casemate.stages.assess.elsewhere import of_sites


@dataclass(frozen=True)
class Previous:
    """A registered model beside the one that is assessed."""

    reference: str
    inputs: Schema
    files: dict[str, bytes]
    """Its verified files by name."""
    order: list[int]
    """See `TrainedModel.order`."""
    own: bool
    """Whether its labels are its own `predict`'s; see `release.bundle.Card.labels`."""
    unseen: np.ndarray[Any, Any] | None = None
    """Of the hold-out rows, which ones it was not trained on, bool [h]; None: every one."""


@dataclass(frozen=True)
class Parts:
    """The rows that figures are about (features and target)."""

    holdout: pa.Table
    """Held out from training."""
    members: pa.Table
    """Trained on."""
    dropped: pa.Table
    """Held out, and taken out of the hold-out by a person's decision."""


@dataclass(frozen=True)
class AssessTools:
    """What the stage works with."""

    config: Config
    objects: ObjectStore
    scratch: Path
    hidden: list[Path]
    worker: sandbox.Worker
    progress: conversation.Progress
    previous: Previous | None = None
    """The model that passed last, to compare with."""
    only: tuple[str, ...] = ()
    """Measurements to run (see `worker.PARTS`, and `tables`); none: all."""


def measure(
    tools: AssessTools,
    schema: Schema,
    model: TrainedModel,
    parts: Parts,
    further: dict[str, pa.Table],
) -> Assessment:
    """Measure what `worker.PARTS` lists.

    Args:
        tools: what the stage works with.
        schema: the sealed data set's.
        model: the trained model.
        parts: the rows.
        further: the tables of `[assess] tables` by name.

    Returns:
        The figures. What crashed or ran out of time is listed as inconclusive, which blocks the
        gates on it. What a model of several owners tells of their rows is what they say, see
        `elsewhere`.
    """
    config = tools.config
    job = {
        "schema": msgspec.to_builtins(schema),
        "assess": msgspec.to_builtins(config.assess),
        "robustness": msgspec.to_builtins(config.robustness),
        "gate_eps": [gate.eps for gate in config.gates.values() if gate.eps],
        "seed": config.train.seed,
        "least": config.privacy.min_group,
        "protected": [
            column.name for column in schema.columns if config.data.column(column.name).protected
        ],
        "cv": _chosen(model),
        "promised": (
            {"epsilon": model.privacy["epsilon"], "delta": model.privacy["delta"]}
            if model.privacy
            else None
        ),
        "order": model.order,
        "wishes": {
            "costs": config.train.costs_of((schema.views or [schema])[0].classes),
            "ordinal": bool(config.data.ordinal),
            "quantile": config.train.quantile,
        },
        "monotone": {
            column.name: said
            for column in schema.features
            if (said := config.data.column(column.name).monotone)
        },
        "guard": {name: getattr(config.serve.guard, name) for name in ("outside", "unknown")},
        "previous": _described(tools.previous),
        "further": list(further),
        "only": list(tools.only),
    }
    holdout = parts.holdout
    if tools.previous and tools.previous.unseen is not None:
        holdout = holdout.append_column(UNSEEN, pa.array(tools.previous.unseen))
    inputs = {name: tools.objects.get(digest) for name, digest in model.files.items()}
    if model.baseline:
        inputs[models.PLAIN] = tools.objects.get(model.baseline)
    carried = code.among({**model.files, **(tools.previous.files if tools.previous else {})})
    if tools.previous:
        inputs |= {
            f"previous/{name}": content
            for name, content in tools.previous.files.items()
            if name in models.FILES or name in carried
        }
    try:
        with scratch_folder(tools.scratch) as scratch:
            outcome = tools.worker.run(
                job,
                tables=[holdout, parts.members, parts.dropped, *further.values()],
                inputs=inputs,
                scratch=scratch,
                limits=failure.JobLimits(
                    config.assess.timeout, int(config.train.memory_gb * 2**30)
                ),
                required=config.sandbox.mode == "require" or bool(carried),
                hidden=tools.hidden,
                progress=tools.progress,
            )
        found = msgspec.convert(outcome.result, Assessment)
        # what a model's own code tried while it was asked
        tried = attempts(outcome.findings)
        found = structs.replace(found, findings=[*found.findings, *tried])
        learnt = model.federated
        return found if learnt is None else of_sites(found, learnt, regression=schema.regression)
    except failure.JobFailed as error:
        why = error.plain if error.from_outside else f"its process ended with {error.kind}"
        return _nothing(holdout.num_rows, why, error.findings)


def _described(previous: Previous | None) -> dict[str, Any] | None:
    """What the measuring process needs to know of the model that passed last."""
    if previous is None:
        return None
    return {
        "reference": previous.reference,
        "schema": msgspec.to_builtins(previous.inputs),
        "order": previous.order,
        "own": previous.own,
    }


def _chosen(model: TrainedModel) -> dict[str, Any]:
    """Cross-validation scores of the candidate that was refitted, and the scorer."""
    best = max(model.cv, key=lambda candidate: candidate["mean"], default=None)
    return {"scores": best["scores"] if best else [], "metric": model.metric}


def _nothing(rows: int, why: str, found: list[Finding]) -> Assessment:
    return Assessment(
        rows=rows,
        metrics={},
        calibration={},
        roc={},
        slices=[],
        robustness={},
        membership={},
        parity={},
        serve_format="skops",
        findings=[
            Finding(
                id="assess.failed",
                severity="high",
                confidence="high",
                message=f"the assessment failed: {why}"[:500],
            ),
            *found,
        ],
        inconclusive=[f"assessment: {why}"[:500]],
    )
