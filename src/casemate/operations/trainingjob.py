"""Training as SageMaker starts it: the folders and files of `/opt/ml`.

Hyper-parameters are texts there, channels are folders, and what is written to `output/failure` is
what people see of a job that failed. The project comes in one channel and its key store in another;
it is run in a copy, which goes back whole with the results, its key store does not.
Contract: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import msgspec

from casemate.config import Config, locate
from casemate.core.errors import ConfigError, Error, RefusedError, TrainingError
from casemate.core.files import write_atomic
from casemate.core.home import keystore_folder
from casemate.core.types import Record

FAILURE_CHARACTERS = 1024
"""Of the file `failure`, as far as SageMaker shows it."""
MOST_FILE = 1 << 20
"""Bytes of a file of settings."""
MOST_FILES = 100_000
PROJECT, KEYS = "project", "keys"
"""Channels."""
THEIRS = "sagemaker_"
"""How hyper-parameters begin that SageMaker's own library adds."""
TABLE = "train."
"""The one table that hyper-parameters may set: gates, keys and policies are the project's."""


class _Channel(msgspec.Struct, rename="pascal"):
    training_input_mode: str = "File"


class _Machines(msgspec.Struct):
    hosts: list[str] = []


class _Job(Record, frozen=True, kw_only=True):
    """What a job was given."""

    overrides: list[str]
    channels: list[str]


class Trained(Record, frozen=True, kw_only=True):
    """What came of a job."""

    model: str
    """`NAME@VERSION` of the signed model; empty where there is none."""
    why: str
    """Why there is none, or why it is signed and not given out yet; else empty."""


def train(root: Path) -> Trained:
    """Run the project that lies in the channel.

    Args:
        root: SageMaker's folder, `/opt/ml`.

    Returns:
        what came of it; that gates refused a model, or nobody could judge it, and what is raised
        stand in `output/failure` too.

    Raises:
        Error: nothing was judged.
    """
    output = root / "output"
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "failure").unlink(missing_ok=True)
        made = _run(root)
    except Error as error:
        told = f"{error.code}: {error.sentence}"
        if isinstance(error, TrainingError):  # its words are the training code's
            told = f"{error.code}: {error.plain}; the job's log says more"
        _fail(output, told)
        raise
    except BaseException as error:
        # what a stranger's exception says may quote rows
        _fail(output, f"{type(error).__name__}: a fault of casemate; the job's log says where")
        raise
    if not made.model:
        _fail(output, made.why)
    return made


def _fail(output: Path, text: str) -> None:
    write_atomic(output / "failure", text[:FAILURE_CHARACTERS].encode(), mode=0o644)


def _run(root: Path) -> Trained:
    job = _settings(root / "input" / "config")
    missing = [one for one in (PROJECT, KEYS) if one not in job.channels]
    if missing:
        raise ConfigError(
            f"the job has no channel {missing[0]!r}", hint="render training-job.yaml again"
        )
    data, work = root / "input" / "data", root / "output" / "data" / "project"
    _copy(data / PROJECT, work)
    _, config = locate(str(work), job.overrides)
    _keys(data / KEYS, config)
    return _trained(work, job.overrides, root / "model", root / "output" / "data" / "signed")


def _trained(work: Path, overrides: list[str], model: Path, signed: Path) -> Trained:
    from casemate.operations.project import open_project

    result = open_project(work, overrides).run()
    verdict = result.verdict
    if verdict.outcome != "passed":
        reasons = "; ".join(verdict.reasons) or "no reason was recorded"
        return Trained(model="", why=f"{verdict.outcome}: {reasons}")
    reference = result.model.reference
    try:
        result.model.export(signed)
    except RefusedError as error:
        # signed, and to be approved where the project goes back to
        return Trained(model=reference, why=error.message)
    shutil.copytree(signed, model, dirs_exist_ok=True)
    return Trained(model=reference, why="")


def _settings(folder: Path) -> _Job:
    """What SageMaker says of the job.

    Raises:
        ConfigError: a file is no JSON of its kind, or the job is none that casemate does.
    """
    given: dict[str, str] = _read(folder / "hyperparameters.json", dict[str, str], {})
    channels = _read(folder / "inputdataconfig.json", dict[str, _Channel], {})
    machines = _read(folder / "resourceconfig.json", _Machines, _Machines())
    if len(machines.hosts) > 1:
        raise ConfigError(
            f"{len(machines.hosts)} machines were started, and one trains", hint="InstanceCount: 1"
        )
    for name, channel in channels.items():
        if channel.training_input_mode != "File":
            raise ConfigError(
                f"channel {name[:64]!r} is in mode {channel.training_input_mode[:20]!r}",
                hint="TrainingInputMode: File",
            )
    overrides = []
    for name, value in sorted(given.items()):
        if name.startswith(THEIRS):
            continue
        if not name.startswith(TABLE) or "=" in name:
            raise ConfigError(
                f"the hyper-parameter {name[:100]!r} is no option of [train]",
                hint="gates, keys and policies are set in the project itself",
            )
        overrides.append(f"{name}={value}")
    return _Job(overrides=overrides, channels=sorted(channels))


def _read(path: Path, kind: Any, default: Any) -> Any:
    if not path.is_file():
        return default
    with path.open("rb") as file:
        content = file.read(MOST_FILE + 1)
    if len(content) > MOST_FILE:
        raise ConfigError(f"{path.name} has more than {MOST_FILE} bytes")
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ConfigError(
            f"{path.name} is not what SageMaker writes", hint="hyper-parameters are texts"
        ) from None


def _copy(source: Path, to: Path) -> None:
    """A channel's files, none of them a link; what an earlier try left is taken up again."""
    if not source.is_dir():
        raise ConfigError(f"the channel {source.name!r} is empty", hint="its S3Uri ends with a /")
    count = 0
    for place, folders, names in os.walk(source):
        for name in [*folders, *names]:
            count += 1
            mode = os.lstat(os.path.join(place, name)).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ConfigError(f"{name[:100]!r} in the channel {source.name!r} is no file")
            if count > MOST_FILES:
                raise ConfigError(f"the channel {source.name!r} has more than {MOST_FILES} files")
    if not (to / ".casemate").is_dir():
        shutil.copytree(source, to, dirs_exist_ok=True)


def _keys(source: Path, config: Config) -> None:
    """The key store, where the project looks for it, for nobody else to read."""
    target = keystore_folder(config.project.id)
    if target.exists():
        return
    _copy(source, target)
    for place, _, names in os.walk(target):
        os.chmod(place, 0o700)
        for name in names:
            os.chmod(os.path.join(place, name), 0o600)
