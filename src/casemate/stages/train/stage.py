"""The train stage, outside: rows go to one confined process, its safe model file to a second one,
and canonical files come back.

Nothing here reads a model file: what training code left is bytes until a process without keys has
read it and written it anew.
"""

import math
import secrets
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from casemate.config import Config
from casemate.controls.keys.objects import ObjectStore
from casemate.core.digest import sha256
from casemate.core.errors import Error, ImportRefused, TrainingError
from casemate.core.files import make_folder, scratch_folder
from casemate.core.findings import attempts
from casemate.core.sandbox import confined, failure
from casemate.core.sandbox import run as sandbox
from casemate.core.types import Finding, Schema, SealedDataset, TrainedModel
from casemate.ml import models
from casemate.ml.own import code as own
from casemate.stages.train import diagram, rehearse, study, told
from casemate.stages.train.answer import Said, answer_of, nonsense, went_on
from casemate.stages.train.diagram import Found
from casemate.stages.train.promise import bounds_of, left_out, promised, spent
from casemate.stages.train.together import owners_of
from casemate.stages.train.tools import TrainTools
from casemate.stages.train.training_code import code_of, digest_of
from casemate.stages.train.unlearning import learnt, offered
from casemate.stages.train.wishes import costs, monotone

SAFE = (models.SKOPS, models.PLAIN, models.NETWORK, models.WEIGHTS)
"""What the training process may leave."""


class _Converted(msgspec.Struct, forbid_unknown_fields=True):
    """What the converting process says; see `convert.Converted`."""

    files: dict[str, str]
    estimator: str
    diagram: Found | None
    order: list[int]
    export_problem: str
    refused: str
    hint: str
    own: bool


def fit(tools: TrainTools, dataset: SealedDataset, rows: pa.Table) -> TrainedModel:
    """Train on `rows` (features, target and group column; hold-out and excluded rows are not among
    them).

    Private training is rehearsed first: the same code, options and conversion on made-up rows, then
    it is paid for, then it runs.

    Raises:
        TrainingError: the code failed, or made something that cannot be stored safely.
        SandboxError: the kernel cannot confine the code and `[sandbox] mode` is "require".
    """
    config = tools.config
    code = code_of(tools.root, config)
    # no user code: what was imported goes straight to the second process
    if config.train.model is not None:
        nobody = Said(estimator="", params={}, cv=[], metric=config.train.metric or "")
        try:
            return _accept(tools, dataset.schema, nobody, sandbox.Outcome({}, code, [], []), code)
        except TrainingError as error:
            raise ImportRefused(
                error.message, hint=error.hint, findings=error.findings, plain=error.plain
            ) from error
    outcome = _trained(tools, dataset, rows, code)
    try:
        said = answer_of(outcome, config.train)
        model = _accept(tools, dataset.schema, said, outcome, code)
        unlearning = learnt(tools, said.unlearning, rows.num_rows)
        beyond = None if tools.rest is None else went_on(tools.rest, said)
        return msgspec.structs.replace(model, unlearning=unlearning, went_on=beyond)
    except TrainingError as error:  # what the code tried stays on record though nothing comes of it
        error.findings = [*outcome.findings, *error.findings]
        raise


def _job(tools: TrainTools, dataset: SealedDataset) -> dict[str, Any]:
    """What the training process is told."""
    config = tools.config
    return {
        "entry": config.train.entry,
        "schema": msgspec.to_builtins(dataset.schema),
        "train": msgspec.to_builtins(config.train),
        "grouped": config.data.subject is not None,
        "study": str(tools.study),
        "robustness": msgspec.to_builtins(config.robustness),
        "limits": bounds_of(dataset.schema, config),
        "privacy": promised(dataset.schema, config) if config.train.mode == "private" else {},
        "rehearsal": False,
        "monotone": monotone(dataset.schema, config),
        "costs": costs(dataset.schema, config),
        "rest": 0 if tools.rest is None else tools.rest.rows,
    }


def _trained(
    tools: TrainTools, dataset: SealedDataset, rows: pa.Table, code: dict[str, bytes]
) -> sandbox.Outcome:
    """What the user's code did and left."""
    config, job = tools.config, _job(tools, dataset)
    if config.train.mode == "private":
        _rehearse(tools, dataset.schema, job, code)
        # Before any row is seen: a kill during training has spent what it may have told.
        tools.payment.pay(config.privacy.epsilon, config.privacy.delta)
    assert tools.worker is not None  # noqa: S101 - there is one unless the model is imported
    return _ran(tools, tools.worker, job, rows, code)


def _rehearse(
    tools: TrainTools, schema: Schema, job: dict[str, Any], code: dict[str, bytes]
) -> None:
    """Everything that can fail without the rows, on rows that nobody owns: a typo must not cost
    epsilon, which never comes back.

    Raises:
        TrainingError: as the training itself would.
    """
    assert tools.rehearsal is not None  # noqa: S101 - the spine gives it where the mode is private
    worker, converter = tools.rehearsal
    made_up = rehearse.rows(schema, grouped=bool(job["grouped"]))
    outcome = _ran(tools, worker, job | {"rehearsal": True}, made_up, code)
    answer_of(outcome, tools.config.train)
    given = outcome.files | own.among(code)
    _, converted = convert(converter, given, schema, tools.config, tools.scratch, tools.hidden)
    # a network is served as ONNX or not at all
    if models.NETWORK in outcome.files and converted.export_problem:
        plain = "the network cannot be exported"
        raise TrainingError(
            f"{plain}: {converted.export_problem}", hint="nothing was spent", plain=plain
        )


def _ran(
    tools: TrainTools,
    worker: sandbox.Worker,
    job: dict[str, Any],
    rows: pa.Table,
    code: dict[str, bytes],
) -> sandbox.Outcome:
    """What the user's code did and left, given these rows."""
    config = tools.config
    make_folder(tools.study)
    study.clean(tools.study)  # after a killed process, a full disk, a power loss
    try:
        with scratch_folder(tools.scratch) as scratch:
            return worker.run(
                job,
                tables=[rows],
                inputs=code | offered(tools),
                scratch=scratch,
                limits=limits_of(config),
                required=must_be_confined(config, code),
                outputs=SAFE,
                hidden=tools.hidden,
                writable=[tools.study],
                progress=tools.progress,
                rows=None if tools.rest is None else tools.rest.pieces,
            )
    except failure.JobFailed as error:
        raise explained(error, config, code) from error
    finally:
        study.clean(tools.study)


def convert(
    worker: sandbox.Worker,
    given: dict[str, bytes],
    schema: Schema,
    config: Config,
    scratch: Path,
    hidden: list[Path],
) -> tuple[sandbox.Outcome, _Converted]:
    """Canonical files of what a training process left, or somebody imported, and what the process
    says that read it.

    Args:
        worker: a process that waits for `convert.main`.
        given: the bytes by file name; nobody here looks into them.
        schema: the pinned schema.
        config: for `[train]` timeout, memory and classes.
        scratch: where an empty folder can be made.
        hidden: what the process may not be able to read.

    Raises:
        TrainingError: the files were refused, or ended the process that read them.
    """
    job = {
        "schema": msgspec.to_builtins(schema),
        "classes": config.train.classes,
        "seconds": config.train.timeout,
    }
    try:
        with scratch_folder(scratch) as folder:
            outcome = worker.run(
                job,
                tables=[],
                inputs=given,
                scratch=folder,
                limits=limits_of(config),
                required=must_be_confined(config, given),
                outputs=(*models.FILES, models.PLAIN),
                hidden=hidden,
            )
        said = msgspec.convert(outcome.result, _Converted)
    except failure.JobFailed as error:
        text = f"the model file could not be read in the sandbox: {error.message}"
        hint = (
            "use a smaller model, or raise [train] memory_gb or timeout; if neither helps, treat"
            " the file as hostile"
        )
        plain = "the model file could not be read in the sandbox"
        raise TrainingError(text, hint=hint, findings=error.findings, plain=plain) from error
    except msgspec.ValidationError as error:
        raise nonsense(error) from error
    if said.refused:
        usual = (
            "do not write model files in train.py"
            if config.train.model is None
            else "export it again, or import another model"
        )
        raise TrainingError(
            said.refused, hint=said.hint or usual, plain="the model file was refused"
        )
    # The process that read a foreign file may have been taken over by it: what it says and what it
    # left must agree.
    if (
        not outcome.files
        or {name: sha256(content) for name, content in outcome.files.items()} != said.files
    ):
        text = "the model files are not what was said of them"
        raise TrainingError(text, hint="treat the model as hostile", plain=text)
    return outcome, said


def _accept(
    tools: TrainTools, schema: Schema, said: Said, outcome: sandbox.Outcome, code: dict[str, bytes]
) -> TrainedModel:
    """Believe nothing that came back but its bytes: have them read and written anew elsewhere,
    store that, keep the findings.
    """
    given = outcome.files | own.among(code)
    ours, converted = convert(
        tools.converter, given, schema, tools.config, tools.scratch, tools.hidden
    )
    carried = own.among(code) if converted.own else {}
    isolation = [name for name in ours.isolation if name in (outcome.isolation or ours.isolation)]
    estimator = converted.estimator or said.estimator
    heard = [*outcome.findings, *ours.findings]
    try:
        return TrainedModel(
            federated=owners_of(tools, code),
            estimator=told.outline(estimator, own.plain_names(carried)),
            # the code as training had it, whatever lies in the project by now
            files={
                name: tools.objects.put(content)
                for name, content in [*ours.files.items(), *carried.items()]
                if name != models.PLAIN
            },
            params=said.params,
            cv=[msgspec.to_builtins(candidate) for candidate in said.cv],
            metric=said.metric,
            code_digest=digest_of(code),
            findings=[
                *attempts(heard),
                *_findings(isolation, "" if carried else converted.export_problem),
                *told.of_own_code(own.among(code), carried),
                *left_out(said.left_out),
            ],
            isolation=isolation,
            mode=tools.config.train.mode,
            nested=said.nested,
            privacy=spent(tools, said.privacy) if tools.config.train.mode == "private" else {},
            baseline=(
                tools.objects.put(ours.files[models.PLAIN]) if models.PLAIN in ours.files else ""
            ),
            order=converted.order,
            diagram=(
                None
                if converted.diagram is None
                else diagram.told(converted.diagram, told.known(), said.params)
            ),
            said=keep(
                tools.objects,
                estimator=estimator,
                findings=[finding.message for finding in heard],
                export_problem=converted.export_problem,
            ),
            calibration={
                str(name): told.figure(value)
                for name, value in said.calibration.items()
                if math.isfinite(value)
            },
        )
    except msgspec.ValidationError as error:
        raise nonsense(error) from error


def keep(objects: ObjectStore, **words: Any) -> str:
    """Seal what the training code said; returns the object's digest."""
    return objects.put(told.Words(salt=secrets.token_hex(16), **words).to_json())


def _findings(isolation: list[str], export_problem: str) -> list[Finding]:
    findings = []
    if not confined(isolation):
        findings.append(
            Finding(
                id="sandbox.weak",
                severity="medium",
                confidence="high",
                message=f"the training code was confined by {', '.join(isolation)} only",
            )
        )
    if export_problem:
        findings.append(
            Finding(
                id="model.no-onnx",
                severity="low",
                confidence="high",
                message="no ONNX export, scikit-learn will serve; `casemate runs show` says why",
            )
        )
    return findings


def limits_of(config: Config) -> failure.JobLimits:
    """What a process may use that trains, or reads what was trained."""
    return failure.JobLimits(config.train.timeout, int(config.train.memory_gb * 2**30))


def must_be_confined(config: Config, code: dict[str, bytes]) -> bool:
    """Whether a process with this code or model runs confined, or not at all."""
    return config.sandbox.mode == "require" or bool(own.among(code))


def explained(error: failure.JobFailed, config: Config, code: dict[str, bytes]) -> Error:
    """What to tell of a job that ran the user's code and failed."""
    refused = [finding.message for finding in error.findings if finding.severity == "high"]
    text = f"{config.train.entry}: {error.message}"
    if refused:
        text += " — refused by the sandbox: " + "; ".join(refused[:3])
    hint = error.hint.replace("the timeout", "[train] timeout")
    # it says all; where in casemate it was found helps nobody
    if error.kind in ("BadEntry", "BadSearch"):
        hint = f"change {config.train.entry.partition(':')[0]}, or [train] in casemate.toml"
    return TrainingError(
        text,
        hint=hint,
        findings=error.findings,
        plain=told.failure(error, code, config.train.entry),
    )
