"""What decides the result of each stage."""

import functools
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from casemate.core.digest import sha256, sha256_record
from casemate.core.types import SealedDataset
from casemate.stages.data import files
from casemate.stages.data import schema as schemas
from casemate.stages.data.consented import basis_of
from casemate.stages.data.source import READING
from casemate.stages.train.training_code import code_digest, record_beside, statements_beside
from casemate.supply.context import RunContext

COMPUTING = (
    "casemate",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "optuna",
    "cleanlab",
    "skops",
    "onnx",
    "skl2onnx",
    "onnxruntime",
)


def inputs_of(context: RunContext, where: Any, answer: Any) -> dict[str, str]:
    """Per stage, the digest of what decides its result: with the same ones a run is resumed and
    finished stages are reused.

    Args:
        context: the project's.
        where: the table's place.
        answer: what a database there said, or the objects of a bucket.
    """
    config = context.config
    stamp = [row[2:] for row in files.stamp(where if answer is None else answer)]
    if isinstance(answer, pa.Table):
        stamp = [files.digest(where, files.columns(answer, config.data, (), []))]
    basis = basis_of(config, context.usable.covered)
    split = [config.train.test_share, config.train.seed, config.train.folds, config.train.split]
    scan, record = context.required_scan(), record_beside(context.root, config)
    statements = {
        name: sha256(content) for name, content in statements_beside(context.root, config).items()
    }
    deciding: dict[str, list[Any]] = {
        "data": [
            _software(),
            READING,
            config.project,
            config.data,
            config.screen,
            split,
            stamp,
            _edited_schema(context),
            context.signer.verifier.compromises,
            {
                row: review.decision
                for row, review in context.reviews.of(config.dataset_name).items()
            },
            *(["feedback", context.lessons] if context.lessons else []),
            *(["basis", basis] if basis is not None else []),
            *(["restricted", context.usable.digest] if context.usable.restricted else []),
            *(
                ["erased", context.erased.digest, config.privacy.erased]
                if context.erased is not None
                else []
            ),
            *(["looked at whole"] if config.data.sample is not None else []),
            *(["rest"] if config.train.rows == "all" else []),
            *(["private"] if config.train.mode == "private" else []),  # another schema, other sides
        ],
        "train": [
            config.train,
            config.sandbox,
            code_digest(context.root, config),
            config.robustness if config.train.mode == "adversarial" else None,
            config.privacy if config.train.mode == "private" else None,
            "converted in a sandbox of its own",  # models from before are made again
            *(["learnt by", sha256(record)] if record is not None else []),
            *(["told by sites", statements] if statements else []),
        ],
        "assess": [
            config.assess,
            config.serve.guard,
            config.robustness,
            config.privacy.min_group,
            config.train.seed,
            sorted(gate.eps for gate in config.gates.values() if gate.eps),
            [_stamp(files.beside(context.root, path)) for path in config.assess.tables.values()],
        ],
        "release": [
            config.gates,
            config.release.stage,
            context.signer.verifier.fingerprint,
            context.waivers.in_force(config.project.name),
            *([] if scan is None else [scan]),
        ],
    }
    return {stage: sha256_record(values) for stage, values in deciding.items()}


def _stamp(path: Path | str) -> list[Any]:
    if isinstance(path, str):
        return [row[2:] for row in files.stamp(path)]
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []


@functools.cache  # what a process has imported stays what it is
def _software() -> list[str]:
    """What computes: another version may compute something else."""
    return [f"{name} {metadata.version(name)}" for name in COMPUTING]


def _edited_schema(context: RunContext) -> Any:
    """The pinned schema, if it is no longer the one that the newest sealed data set was checked
    against.
    """
    record = context.engine.newest_step("data", SealedDataset)
    pinned = schemas.load(context.root / context.config.data.schema)
    if record is None or pinned == record.schema:
        return None
    return pinned or "removed"
