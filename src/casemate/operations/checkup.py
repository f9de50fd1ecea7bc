"""Parts of the pipeline on their own: measure a registered model again, look at the table, bring a
model in from outside.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import structs

from casemate import pipeline
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError, RefusedError, TrainingError
from casemate.core.files import make_folder, scratch_folder, shared_lock, write_atomic
from casemate.core.sandbox.failure import JobFailed, JobLimits
from casemate.core.sandbox.run import Worker
from casemate.core.types import Assessment, SealedDataset, TrainedModel
from casemate.ml import models
from casemate.ml.own import code
from casemate.operations.acting import operation
from casemate.operations.runs import run_context
from casemate.stages.assess.artifact.scan import Scan
from casemate.stages.data.examined import Examined
from casemate.stages.data.stage import examine
from casemate.stages.release import bundle
from casemate.supply.context import Reporter
from casemate.supply.processes import SandboxPool
from casemate.supply.rows import SealedRows
from casemate.wiring import Wiring

MAX_FILE = 2 * 2**30
IMPORTED = "imported"
ENDINGS = {
    ".pkl",
    ".pickle",
    ".joblib",
    ".skops",
    ".onnx",
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".keras",
    ".h5",
    ".hdf5",
    ".safetensors",
}
"""Of files that are worth naming in a folder (of MLflow, of Hugging Face, …); what a file is says
its content.
"""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@operation("run:start")
def assess(
    project: Wiring,
    reference: str,
    only: list[str] | None = None,
    reporter: Reporter | None = None,
) -> Assessment:
    """Measure a registered model on its hold-out, without a run: nothing is judged, signed or
    registered.

    Args:
        project: its project.
        reference: `NAME` or `NAME@VERSION`.
        only: names of measurements; none: all.
        reporter: hears how it goes.

    Raises:
        AccessDenied: policy does not permit runs. ConfigError: there is no such model or
            measurement.
    """
    from casemate.stages.assess import stage
    from casemate.stages.assess.names import PARTS

    _known(only, PARTS)
    release = project.registry.get(reference).release
    acting = assess.ask(project, unrecorded=True)
    dataset = project.engine.record(release.lineage.run, "data", SealedDataset)
    model = project.engine.record(release.lineage.run, "train", TrainedModel)
    if dataset is None or model is None:
        raise ConfigError(f"the run of {reference} is not in the catalogue", hint="casemate fsck")
    with (
        shared_lock(project.state / "lock", lambda: None),
        Worker(SandboxPool.JOBS["assess"], project.config.train.threads) as worker,
    ):
        context = run_context(project, reporter)
        rows = SealedRows(context, dataset)
        found = stage.measure(
            context.assess_tools(worker, only=only or ()),
            dataset.schema,
            model,
            rows.parts,
            pipeline.further_tables(context, dataset),
        )
    acting.record(
        "model:assess",
        f'Model::"{release.model}"',
        version=release.model_version,
        only=list(only or []),
    )
    return found


@operation("run:start")
def assess_data(
    project: Wiring, only: list[str] | None = None, reporter: Reporter | None = None
) -> Examined:
    """Check and screen the table of `[data] source` as it is now; nothing is sealed.

    Args:
        project: its project.
        only: switches of `[screen]` to turn on, the others off; none: as configured.
        reporter: hears how it goes.

    Raises:
        AccessDenied: policy does not permit runs. DataError, ConfigError: as in a run, and
            ConfigError for an unknown switch.
    """
    from casemate.stages.assess.names import SCREENS

    _known(only, SCREENS)
    assess_data.ask(project, unrecorded=True)
    tools = pipeline.data_tools(run_context(project, reporter))
    if only:
        screen = structs.replace(tools.config.screen, **{name: name in only for name in SCREENS})
        tools = dataclasses.replace(tools, config=structs.replace(tools.config, screen=screen))
    return examine(tools)


def _known(only: list[str] | None, names: tuple[str, ...]) -> None:
    unknown = [name for name in only or [] if name not in names]
    if unknown:
        raise ConfigError(
            f"there is no measurement {unknown[0]!r}", hint="measurements: " + ", ".join(names)
        )


@dataclass(frozen=True)
class Imported:
    """What came of a model file from outside."""

    scan: Scan
    """What the file is."""
    file: Path | None
    """The safe model file, in the project's folder `imported`; None when it was refused or only
    scanned.
    """
    problem: str = ""
    """Why a run would refuse it as `casemate.toml` and the pinned schema stand; empty when it would
    not, or nothing is pinned yet.
    """
    remedy: str = ""
    """What to do about that."""
    code: tuple[Path, ...] = ()
    """Files with code of its own, beside it: what `[train] transformers` has to name."""


@operation("model:import", "Model")
def import_model(
    project: Wiring,
    file: Path,
    name: str | None = None,
    *,
    convert: bool = True,
    own_code: bool = False,
) -> Imported:
    """Scan a model file without executing it, and write it in a safe format when nothing is wrong
    with it.

    Args:
        project: where it goes to.
        file: pickle, joblib, skops, ONNX, torch, Keras, HDF5 or safetensors; or the folder of a
            model that casemate exported.
        name: of the result, without ending; default: the file's.
        convert: off: scan only.
        own_code: take in code that such a folder carries: from the next run on it is executed, in
            sandboxes.

    Raises:
        RefusedError: the scan found something, could not read the file to its end, or the folder
            carries code and `own_code` is off.
        ConfigError: there is no such file, it is another folder or too large, or a model of this
            name was imported before.
    """
    acting = import_model.ask(project, project.config.project.name, file=file.name)
    resource = f'Model::"{project.config.project.name}"'
    shown = file.name
    carried: dict[str, bytes] = {}
    if file.is_dir():
        name = name or file.resolve().name
        file, carried = _exported(file)
        if carried and not own_code:
            listed = ", ".join(carried)
            problem = f"it carries code of its own ({listed})"
            acting.record("model:imported", resource, "denied", file=shown, problems=[problem])
            raise RefusedError(
                f"{shown} is refused: {problem}",
                hint=(
                    "verify it (casemate verify FOLDER) and read that code; --own-code takes it in,"
                    " and it runs in sandboxes only. Or ask for the model as ONNX"
                ),
            )
    if not file.is_file():
        raise ConfigError(f"there is no file {file}", hint="name a model file")
    if file.stat().st_size > MAX_FILE:
        raise ConfigError(f"{file} is larger than 2 GiB", hint="export a smaller model")
    name = name or file.stem
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a model file",
            hint="letters, digits, '.', '_' and '-': --name gives it another one",
        )
    with (
        Worker("casemate.stages.assess.artifact.convert:main", 1) as worker,
        scratch_folder(project.state / "tmp") as scratch,
    ):
        # Nothing of the file is read in this process: a parser's fault is the sandbox's.
        try:
            outcome = worker.run(
                {"convert": convert},
                tables=[],
                inputs={"source": file.read_bytes(), **carried},
                scratch=scratch,
                limits=JobLimits(
                    project.config.assess.timeout, int(project.config.train.memory_gb * 2**30)
                ),
                required=project.config.sandbox.mode == "require" or bool(carried),
                outputs=(models.SKOPS, models.ONNX),
                hidden=[project.keystore.folder, project.root],
            )
            found = msgspec.convert(outcome.result, Scan)
        except msgspec.ValidationError:
            found, outcome = (
                Scan(
                    format="unknown",
                    names=[],
                    problems=["its reader gave no sound answer"],
                    convertible=False,
                ),
                None,
            )
        except JobFailed as error:
            problems = [error.message[:300], *(finding.message for finding in error.findings)]
            found, outcome = (
                Scan(format="unknown", names=[], problems=problems, convertible=False),
                None,
            )
    detail = {
        "file": shown,
        "code": {name: sha256(content) for name, content in carried.items()},
        "format": found.format,
        "problems": [problem[:200] for problem in found.problems][:5],
    }
    # What was refused is on record too, with what was wrong with it.
    acting.record("model:imported", resource, "denied" if found.problems else "done", **detail)
    if found.problems:
        raise RefusedError(
            f"{shown} ({found.format}) is refused: {'; '.join(found.problems[:3])}",
            hint="ask for another format, or train it anew",
        )
    if not convert or outcome is None:
        return Imported(found, None)
    ending, content = next(
        (kind, outcome.files[kind]) for kind in (models.SKOPS, models.ONNX) if kind in outcome.files
    )
    target = project.root / IMPORTED / f"{name}{Path(ending).suffix}"
    if target.exists():
        raise ConfigError(f"{target} exists already", hint="--name gives it another name")
    beside = {target.with_suffix("") / Path(path).name: text for path, text in carried.items()}
    for path, text in {target: content, **beside}.items():
        make_folder(path.parent, 0o755)
        write_atomic(path, text, mode=0o644)
    return Imported(found, target, *_fit(project, target, carried), tuple(beside))


def _exported(folder: Path) -> tuple[Path, dict[str, bytes]]:
    """(the model file in a folder that casemate exported, its code by name); ConfigError where it
    is another folder.
    """
    inner = folder / bundle.MODEL_FOLDER
    found = [inner / name for name in (models.SKOPS, models.ONNX) if (inner / name).is_file()]
    if not found or not (folder / bundle.BUNDLE).is_file():
        raise ConfigError(f"{folder} is a folder; a model is one file", hint=_instead_of(folder))
    paths = sorted((inner / code.FOLDER).iterdir()) if (inner / code.FOLDER).exists() else []
    if len(paths) > code.MOST_FILES or any(path.is_symlink() for path in (inner, *paths)):
        raise ConfigError(f"{folder} is no model that casemate exported", hint="casemate verify it")
    carried = {}
    for path in paths:
        with path.open("rb") as file:
            carried[code.place_of(path.name)] = file.read(code.MAX_FILE + 1)
    return found[0], carried


def _fit(project: Wiring, file: Path, carried: dict[str, bytes]) -> tuple[str, str]:
    """(why a run would refuse this imported model, what to do about it), as far as a schema is
    pinned.
    """
    from casemate.stages.data.schema import load
    from casemate.stages.train import stage, training_code

    schema = load(project.root / project.config.data.schema)
    if schema is None:
        return "", ""
    given = {training_code.IMPORTED[file.suffix]: file.read_bytes(), **carried}
    hidden = [project.keystore.folder, project.root]
    with Worker(SandboxPool.JOBS["convert"], 1) as worker:
        try:
            stage.convert(worker, given, schema, project.config, project.state / "tmp", hidden)
        except TrainingError as error:
            return error.message, error.hint
    return "", ""


def _instead_of(folder: Path) -> str:
    """What to give instead of a folder."""
    found = sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() in ENDINGS and path.is_file()
    )[:5]
    return (
        f"give the file in it: {' or '.join(found)}"
        if found
        else "export the model as ONNX, or save it with joblib or skops"
    )
