"""The assess stage, outside: hold-out and members go in, measured figures come back, plots are drawn."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from casemate.config import Config
from casemate.controls.keys.objects import ObjectStore
from casemate.core.files import scratch_folder
from casemate.core.sandbox import run as sandbox
from casemate.core.types import Assessment, Finding, SealedDataset, TrainedModel


@dataclass(frozen=True)
class Tools:
    """What the stage works with."""

    config: Config
    objects: ObjectStore
    scratch: Path
    hidden: list[Path]
    worker: sandbox.Worker
    progress: sandbox.Progress


def measure(tools: Tools, dataset: SealedDataset, model: TrainedModel, holdout: pa.Table, members: pa.Table) -> Assessment:
    """Measure quality, robustness, leakage and parity.

    Args:
        tools: what the stage works with.
        dataset: the sealed data set.
        model: the trained model.
        holdout: rows that were held out (features and target).
        members: rows that were trained on.

    Returns:
        The figures. What crashed or ran out of time is listed as inconclusive, which blocks the gates on it.
    """
    config = tools.config
    job = {
        "schema": msgspec.to_builtins(dataset.schema),
        "assess": msgspec.to_builtins(config.assess),
        "gate_eps": [gate.eps for gate in config.gates.values() if gate.eps],
        "seed": config.train.seed,
    }
    try:
        with scratch_folder(tools.scratch) as scratch:
            outcome = tools.worker.run(
                job,
                tables=[holdout, members],
                inputs={name: tools.objects.get(digest) for name, digest in model.files.items()},
                scratch=scratch,
                limits=sandbox.Limits(config.assess.timeout, int(config.train.memory_gb * 2**30)),
                required=config.sandbox.mode == "require",
                hidden=tools.hidden,
                progress=tools.progress,
            )
        return msgspec.convert(outcome.result, Assessment)
    except sandbox.JobFailed as error:
        return _nothing(holdout.num_rows, error.message)


def _nothing(rows: int, why: str) -> Assessment:
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
        findings=[Finding(id="assess.failed", severity="high", confidence="high", message=f"the assessment failed: {why}"[:500])],
        inconclusive=[f"assessment: {why}"[:500]],
    )
