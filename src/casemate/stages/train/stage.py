"""The train stage, outside: hand the training rows to the confined process, take back model files only."""

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from casemate.config import Config
from casemate.controls.keys.objects import ObjectStore
from casemate.core import models
from casemate.core.digest import sha256, sha256_record
from casemate.core.errors import ConfigError, Error, TrainingError, VerificationError
from casemate.core.files import make_folder, scratch_folder
from casemate.core.sandbox import run as sandbox
from casemate.core.types import Finding, SealedDataset, TrainedModel

MAX_CODE = 16 * 2**20


class _Candidate(msgspec.Struct, forbid_unknown_fields=True):
    params: dict[str, Any]
    scores: list[float]
    mean: float
    std: float


class _Said(msgspec.Struct):
    """What the training process says of its work; checked, not believed."""

    estimator: str
    params: dict[str, Any]
    cv: list[_Candidate]
    metric: str
    export_problem: str = ""


@dataclass(frozen=True)
class Tools:
    """What the stage works with."""

    root: Path
    config: Config
    objects: ObjectStore
    scratch: Path
    study: Path
    hidden: list[Path]
    worker: sandbox.Worker
    progress: sandbox.Progress


def code_files(root: Path, config: Config) -> dict[str, bytes]:
    """The training code by relative path.

    Raises:
        ConfigError: a file does not exist, lies outside the project, or all of it is larger than 16 MiB.
    """
    entry = config.train.entry.partition(":")[0]
    paths = [root / entry]
    for pattern in config.train.files:
        found = [Path(name) for name in sorted(glob.glob(str(root / pattern), recursive=True)) if Path(name).is_file()]
        if not found:
            raise ConfigError(f"[train] files: nothing matches {pattern!r}", hint="the path is relative to the project's folder")
        paths += found
    content: dict[str, bytes] = {}
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"[train] entry: no such file {path}", hint="the path is relative to the project's folder")
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"[train] {path} lies outside the project", hint="copy it into the project's folder")
        content[str(path.relative_to(root))] = path.read_bytes()
    if sum(map(len, content.values())) > MAX_CODE:
        raise ConfigError("the training code is larger than 16 MiB", hint="list code files only in [train] files")
    return content


def code_digest(root: Path, config: Config) -> str:
    """SHA-256 over the names and contents of the training code."""
    return _digest_of(code_files(root, config))


def _digest_of(code: dict[str, bytes]) -> str:
    return sha256_record({name: sha256(content) for name, content in code.items()})


def fit(tools: Tools, dataset: SealedDataset, rows: pa.Table) -> TrainedModel:
    """Train on `rows` (features, target and group column; hold-out and excluded rows are not among them).

    Raises:
        TrainingError: the code failed, or made something that cannot be stored safely.
        SandboxError: the kernel cannot confine the code and `[sandbox] mode` is "require".
    """
    config = tools.config
    code = code_files(tools.root, config)
    make_folder(tools.study)
    for lock in tools.study.glob("*.lock"):  # a killed process leaves it; this process holds the project's lock
        lock.unlink()
    job = {
        "entry": config.train.entry,
        "schema": msgspec.to_builtins(dataset.schema),
        "train": msgspec.to_builtins(config.train),
        "grouped": config.data.subject is not None,
        "study": str(tools.study),
    }
    try:
        with scratch_folder(tools.scratch) as scratch:
            outcome = tools.worker.run(
                job,
                tables=[rows],
                inputs=code,
                scratch=scratch,
                limits=sandbox.Limits(config.train.timeout, int(config.train.memory_gb * 2**30)),
                required=config.sandbox.mode == "require",
                outputs=(models.SKOPS, models.ONNX),
                hidden=tools.hidden,
                writable=[tools.study],
                progress=tools.progress,
            )
    except sandbox.JobFailed as error:
        raise _explain(error, config) from error
    return _accept(tools, outcome, code)


def _accept(tools: Tools, outcome: sandbox.Outcome, code: dict[str, bytes]) -> TrainedModel:
    """Believe nothing that came back but its bytes: audit the model file, store it, keep the findings."""
    result, files = outcome.result, outcome.files
    if models.SKOPS not in files:
        raise TrainingError("the training code left no model", hint="do not end the process in train.py")
    try:
        unknown = models.untrusted_types(files[models.SKOPS])
    except VerificationError as error:
        raise TrainingError(error.message, hint="do not write model.skops in train.py") from error
    if unknown:
        raise TrainingError(
            f"the model holds types that cannot be stored safely: {', '.join(unknown[:5])}",
            hint="use scikit-learn's own estimators and transformers; functions and classes of train.py are refused",
        )
    try:
        said = msgspec.convert(result, _Said)
        findings = [*outcome.findings, *_findings(outcome, said.export_problem)]
        return TrainedModel(
            estimator=said.estimator[:500],
            files={name: tools.objects.put(files[name]) for name in (models.SKOPS, models.ONNX) if name in files},
            params=said.params,
            cv=[msgspec.to_builtins(candidate) for candidate in said.cv],
            metric=said.metric[:100],
            code_digest=_digest_of(code),
            findings=findings,
            isolation=outcome.isolation,
        )
    except msgspec.ValidationError as error:
        raise TrainingError(f"the training process answered nonsense: {error}", hint="do not write to its output") from error


def _findings(outcome: sandbox.Outcome, export_problem: str) -> list[Finding]:
    findings = []
    if not {"landlock", "seccomp"} <= set(outcome.isolation):
        findings.append(
            Finding(
                id="sandbox.weak",
                severity="medium",
                confidence="high",
                message=f"the training code was confined by {', '.join(outcome.isolation)} only",
            )
        )
    if export_problem:
        findings.append(
            Finding(
                id="model.no-onnx",
                severity="low",
                confidence="high",
                message=f"no ONNX export, scikit-learn will serve: {export_problem[:300]}",
            )
        )
    return findings


def _explain(error: sandbox.JobFailed, config: Config) -> Error:
    refused = [finding.message for finding in error.findings if finding.severity == "high"]
    text = f"{config.train.entry}: {error.message}"
    if refused:
        text += " — refused by the sandbox: " + "; ".join(refused[:3])
    hint = error.hint.replace("the timeout", "[train] timeout")
    return TrainingError(text, hint=hint)
