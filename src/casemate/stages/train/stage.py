"""The train stage, outside: rows go to one confined process, its safe model file to a second one,
and canonical files come back.

Nothing here reads a model file: what training code left is bytes until a process without keys has
read it and written it anew.
"""

import glob
import math
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import pyarrow as pa

from casemate.config import Config, TrainTable, is_pattern
from casemate.controls.keys.objects import ObjectStore
from casemate.core.digest import sha256, sha256_record
from casemate.core.errors import ConfigError, Error, ImportRefused, TrainingError
from casemate.core.files import make_folder, scratch_folder
from casemate.core.sandbox import confined, conversation, failure
from casemate.core.sandbox import run as sandbox
from casemate.core.types import MISSING_CATEGORY, Finding, Schema, SealedDataset, TrainedModel
from casemate.ml import models
from casemate.ml.learn.accountant import Gaussians
from casemate.stages.train import diagram, rehearse, study, told
from casemate.stages.train.diagram import Found

SAFE = (models.SKOPS, models.PLAIN, models.NETWORK, models.WEIGHTS)
"""What the training process may leave."""
MAX_CODE = 16 * 2**20
_NOISE = (1e-3, 1e9)
"""Sigma at least and at most: far wider than what `accountant.sigma_for` gives (0.1 to a
million).
"""
UNCOVERED = (
    "people of the hold-out, whom the figures are about; what casemate.toml declares; that the run"
    " came to an end; what stays inside, such as the data report and the attacks on training rows"
)
"""What epsilon says nothing of; see docs/how-to/private-training.md."""
IMPORTED = {".skops": "imported.skops", ".onnx": "imported.onnx"}


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
    nested: list[float] = []
    privacy: dict[str, Any] = {}
    left_out: list[str] = []
    """Classes of steps that private training does not use."""
    calibration: dict[Literal["slope", "shift", "before", "after", "error", "kept"], float] = {}


class _Converted(msgspec.Struct, forbid_unknown_fields=True):
    """What the converting process says; see `convert.Converted`."""

    files: dict[str, str]
    estimator: str
    diagram: Found | None
    order: list[int]
    export_problem: str
    refused: str
    hint: str


class BudgetPayment(Protocol):
    """Pays for private training."""

    def pay(self, epsilon: float, delta: float) -> None:
        """Take it from the data set's budget; BudgetSpent when there is not enough left."""

    def settle(self, epsilon: float, events: list[Gaussians]) -> None:
        """Say what the training really did."""


@dataclass(frozen=True)
class TrainTools:
    """What the stage works with."""

    root: Path
    config: Config
    objects: ObjectStore
    scratch: Path
    study: Path
    hidden: list[Path]
    worker: sandbox.Worker | None
    """Trains; None for an imported model."""
    converter: sandbox.Worker
    """Reads what it left; see `convert`."""
    progress: conversation.Progress
    payment: BudgetPayment
    rehearsal: tuple[sandbox.Worker, sandbox.Worker] | None = None
    """Of private training: a process that trains on made-up rows, and one that reads what that
    left, before anything is paid.
    """


def code_files(root: Path, config: Config) -> dict[str, bytes]:
    """The training code by relative path.

    Raises:
        ConfigError: a file does not exist, lies outside the project, or all of it is larger than 16
            MiB.
    """
    entry = config.train.entry.partition(":")[0]
    paths = [root / entry]
    for pattern in config.train.files:
        found = [
            Path(name)
            for name in sorted(glob.glob(str(root / pattern), recursive=True))
            if Path(name).is_file()
        ]
        if not found:
            raise ConfigError(
                f"[train] files: nothing matches {pattern!r}",
                hint="the path is relative to the project's folder",
            )
        paths += found
    content: dict[str, bytes] = {}
    for path in paths:
        if not path.is_file():
            raise ConfigError(
                f"[train] entry: no such file {path}",
                hint="the path is relative to the project's folder",
            )
        if not path.resolve().is_relative_to(root.resolve()):
            raise ConfigError(
                f"[train] {path} lies outside the project", hint="copy it into the project's folder"
            )
        content[str(path.relative_to(root))] = path.read_bytes()
    if sum(map(len, content.values())) > MAX_CODE:
        raise ConfigError(
            "the training code is larger than 16 MiB", hint="list code files only in [train] files"
        )
    return content


def _imported(root: Path, name: str) -> dict[str, bytes]:
    """The imported model by the name that the confined process knows it by."""
    path = root / name
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"[train] model: no such file {path}", hint="casemate model import FILE writes it"
        )
    if path.suffix not in IMPORTED:
        raise ConfigError(
            f"[train] model: {path.name} is no .skops or .onnx file",
            hint="casemate model import FILE converts models of scikit-learn",
        )
    return {IMPORTED[path.suffix]: path.read_bytes()}


def code_digest(root: Path, config: Config) -> str:
    """SHA-256 over the names and contents of the training code, or of the imported model."""
    return _digest_of(_code(root, config))


def _code(root: Path, config: Config) -> dict[str, bytes]:
    """What the confined process gets: the training code, or the imported model in its place."""
    return (
        code_files(root, config)
        if config.train.model is None
        else _imported(root, config.train.model)
    )


def _digest_of(code: dict[str, bytes]) -> str:
    return sha256_record({name: sha256(content) for name, content in code.items()})


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
    code = _code(tools.root, config)
    # no user code: what was imported goes straight to the second process
    if config.train.model is not None:
        nobody = _Said(estimator="", params={}, cv=[], metric=config.train.metric or "")
        try:
            return _accept(tools, dataset.schema, nobody, sandbox.Outcome({}, code, [], []), code)
        except TrainingError as error:
            raise ImportRefused(
                error.message, hint=error.hint, findings=error.findings, plain=error.plain
            ) from error
    outcome = _trained(tools, dataset, rows, code)
    try:
        return _accept(tools, dataset.schema, _said(outcome, config.train), outcome, code)
    except TrainingError as error:  # what the code tried stays on record though nothing comes of it
        error.findings = [*outcome.findings, *error.findings]
        raise


def _said(outcome: sandbox.Outcome, options: TrainTable) -> _Said:
    """What the training process says, once it is seen to be possible."""
    if not {models.SKOPS, models.NETWORK} & set(outcome.files):
        text = "the training code left no model"
        raise TrainingError(text, hint="do not end the process in train.py", plain=text)
    try:
        return _checked(msgspec.convert(outcome.result, _Said), options)
    except msgspec.ValidationError as error:
        raise _nonsense(error) from error


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
        "limits": _limits(dataset.schema, config),
        "privacy": promised(dataset.schema, config) if config.train.mode == "private" else {},
        "rehearsal": False,
        "monotone": monotone(dataset.schema, config),
        "costs": config.train.costs_of(dataset.schema.classes),
    }


def monotone(schema: Schema, config: Config) -> dict[str, int]:
    """Feature -> 1 or -1, as `[data.columns]` declares it.

    Raises:
        ConfigError: it is declared of what is no number among the features, or the target has
            several classes.
    """
    found = {}
    for column in schema.features:
        said = config.data.column(column.name).monotone
        if said is None:
            continue
        if column.type != "number":
            raise ConfigError(
                f"[data.columns] {column.name}: monotone, and it is {column.type}",
                hint="only a number rises and falls",
            )
        found[column.name] = 1 if said == "increasing" else -1
    named = [
        name
        for name, column in config.data.columns.items()
        if column.monotone is not None and not is_pattern(name)
    ]
    lost = next((name for name in named if name not in found), None)
    if lost is not None:
        raise ConfigError(
            f"[data.columns] {lost}: monotone, and it is no feature of the model",
            hint="declare it of a feature, see schema.toml",
        )
    if found and not schema.regression and len(schema.classes) != 2:
        raise ConfigError(
            f"[data.columns] {next(iter(found))}: monotone, and the target has"
            f" {len(schema.classes)} classes",
            hint=(
                "of several classes no probability can rise alone: predict one class against the"
                " others"
            ),
        )
    return found


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
    _said(outcome, tools.config.train)
    _, converted = convert(
        converter, outcome.files, schema, tools.config, tools.scratch, tools.hidden
    )
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
                inputs=code,
                scratch=scratch,
                limits=failure.JobLimits(config.train.timeout, int(config.train.memory_gb * 2**30)),
                required=config.sandbox.mode == "require",
                outputs=SAFE,
                hidden=tools.hidden,
                writable=[tools.study],
                progress=tools.progress,
            )
    except failure.JobFailed as error:
        raise _explain(error, config, code) from error
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
                limits=failure.JobLimits(config.train.timeout, int(config.train.memory_gb * 2**30)),
                required=config.sandbox.mode == "require",
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
        raise _nonsense(error) from error
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


def _nonsense(error: msgspec.ValidationError) -> TrainingError:
    plain = "the training process answered nonsense"
    return TrainingError(f"{plain}: {error}", hint="do not write to its output", plain=plain)


def _accept(
    tools: TrainTools, schema: Schema, said: _Said, outcome: sandbox.Outcome, code: dict[str, bytes]
) -> TrainedModel:
    """Believe nothing that came back but its bytes: have them read and written anew elsewhere,
    store that, keep the findings.
    """
    own, converted = convert(
        tools.converter, outcome.files, schema, tools.config, tools.scratch, tools.hidden
    )
    isolation = [name for name in own.isolation if name in (outcome.isolation or own.isolation)]
    estimator = converted.estimator or said.estimator
    heard = [*outcome.findings, *own.findings]
    words = keep(
        tools.objects,
        estimator=estimator,
        findings=[finding.message for finding in heard],
        export_problem=converted.export_problem,
    )
    try:
        return TrainedModel(
            estimator=told.outline(estimator),
            files={
                name: tools.objects.put(own.files[name])
                for name in models.FILES
                if name in own.files
            },
            params=said.params,
            cv=[msgspec.to_builtins(candidate) for candidate in said.cv],
            metric=said.metric,
            code_digest=_digest_of(code),
            findings=[
                *told.findings(heard),
                *_findings(isolation, converted.export_problem),
                *_left_out(said.left_out),
            ],
            isolation=isolation,
            mode=tools.config.train.mode,
            nested=said.nested,
            privacy=_spent(tools, said.privacy) if tools.config.train.mode == "private" else {},
            baseline=(
                tools.objects.put(own.files[models.PLAIN]) if models.PLAIN in own.files else ""
            ),
            order=converted.order,
            diagram=(
                None
                if converted.diagram is None
                else diagram.told(converted.diagram, told.known(), said.params)
            ),
            said=words,
            calibration={
                str(name): told.figure(value)
                for name, value in said.calibration.items()
                if math.isfinite(value)
            },
        )
    except msgspec.ValidationError as error:
        raise _nonsense(error) from error


def keep(objects: ObjectStore, **words: Any) -> str:
    """Seal what the training code said; returns the object's digest."""
    return objects.put(told.Words(salt=secrets.token_hex(16), **words).to_json())


def _checked(said: _Said, options: TrainTable) -> _Said:
    """What the process says without texts of its own; ValidationError when it chose what
    casemate.toml does not offer.
    """
    params = told.parameters(said.params, options)
    tried = [told.parameters(candidate.params, options) for candidate in said.cv]
    if params is None or None in tried or said.metric not in {options.metric, *told.METRICS}:
        raise msgspec.ValidationError("a parameter or scorer that [train] does not name")
    if len(said.cv) > _most(options) or len(said.nested) > options.nested:
        raise msgspec.ValidationError("more candidates than [train] asks for")
    if any(len(candidate.scores) > options.folds * options.repeats for candidate in said.cv):
        raise msgspec.ValidationError("more scores than [train] asks for")
    cv = [_told(candidate, params or {}) for candidate, params in zip(said.cv, tried, strict=True)]
    return msgspec.structs.replace(
        said, params=params, cv=cv, nested=[told.figure(value) for value in said.nested]
    )


def _most(options: TrainTable) -> int:
    """Candidates of the search at most."""
    spaces = options.search.values()
    return (
        options.trials
        if any(isinstance(space, dict) for space in spaces)
        else math.prod(map(len, spaces))
    )


def _told(candidate: _Candidate, params: dict[str, Any]) -> _Candidate:
    scores = [told.figure(value) for value in candidate.scores]
    return _Candidate(
        params=params,
        scores=scores,
        mean=told.figure(candidate.mean),
        std=told.figure(candidate.std),
    )


def _limits(schema: Schema, config: Config) -> dict[str, Any]:
    """What bounds the features of a network: declared limits where there are some, else the pinned
    ones.
    """
    numbers: dict[str, tuple[float, float]] = {}
    categories: dict[str, list[str]] = {}
    for column in schema.features:
        said = config.data.column(column.name)
        if column.type == "category":
            categories[column.name] = [
                *(said.categories or column.categories or []),
                MISSING_CATEGORY,
            ]
        else:
            low = said.min if said.min is not None else column.min
            high = said.max if said.max is not None else column.max
            numbers[column.name] = (
                low if low is not None else 0.0,
                high if high is not None else 1.0,
            )
    return {"numbers": numbers, "categories": categories}


def promised(schema: Schema, config: Config) -> dict[str, Any]:
    """What private training is bounded by; the data stage made the schema of declarations alone."""
    table = config.privacy
    # [privacy] rows is about the whole table; a rehearsal and a training count on the same number.
    units = (
        None if table.rows is None else max(1, round(table.rows * (1 - config.train.test_share)))
    )
    return {
        **_limits(schema, config),
        "epsilon": table.epsilon,
        "delta": table.delta,
        "clip": table.clip,
        "units": units,
    }


def _spent(tools: TrainTools, reported: dict[str, Any]) -> dict[str, Any]:
    """What the training process says of its noise, recounted here; TrainingError when it is more
    than was paid.
    """
    from casemate.ml.learn.accountant import MOST_STEPS, epsilon, replacing, second_opinion

    table = tools.config.privacy
    events = msgspec.convert(reported.get("events", []), list[Gaussians])
    possible = all(
        _NOISE[0] <= one.sigma <= _NOISE[1] and 1 <= one.steps <= MOST_STEPS and 0 < one.rate <= 1
        for one in events
    )
    if len(events) > 1 or not possible:  # what is reckoned here must be quick and finite
        raise msgspec.ValidationError("noise that no training of ours makes")
    if not events:
        text = "the private training did not say what it spent"
        raise TrainingError(text, hint="do not write to its output", plain=text)
    found, other = epsilon(events, table.delta), second_opinion(events, table.delta)
    if found > table.epsilon * 1.001:
        text = f"the training spent epsilon {found:.4f}, {table.epsilon:g} was paid"
        raise TrainingError(text, hint="do not change casemate's code in train.py", plain=text)
    tools.payment.settle(found, events)
    unit = "row" if tools.config.data.subject is None else "subject"
    return {
        "epsilon": found,
        "delta": table.delta,
        "unit": unit,
        "neighbours": f"one {unit} added or removed",
        "replacing": replacing(events, table.delta),
        "events": msgspec.to_builtins(events),
        "accountants": {"pld": found, "rdp": other},
        "not_covered": UNCOVERED,
    }


def _left_out(steps: list[str]) -> list[Finding]:
    """What private training made of a pipeline: of its last step the kind only."""
    if not steps:
        return []
    named = ", ".join(
        dict.fromkeys(name if name in told.known() else diagram.UNNAMED for name in steps)
    )
    text = (
        f"private training uses none of the pipeline's steps before the last ({named}): it scales,"
        " bins and encodes by the declared limits itself"
    )
    return [
        Finding(
            id="train.steps-unused",
            severity="medium",
            confidence="high",
            message=text,
            location="train.py",
        )
    ]


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


def _explain(error: failure.JobFailed, config: Config, code: dict[str, bytes]) -> Error:
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
