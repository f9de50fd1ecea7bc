"""What a run came to, as files for a build server."""

import shutil
from pathlib import Path

from casemate.core.errors import ConfigError, RefusedError
from casemate.core.files import whole_folder, write_atomic
from casemate.core.steps import RunRow
from casemate.core.types import (
    Assessment,
    Finding,
    Outcome,
    Record,
    Release,
    SealedDataset,
    TrainedModel,
)
from casemate.operations.acting import reading
from casemate.wiring import Wiring

EVIDENCE, JUNIT, SARIF, MODEL = "evidence", "junit.xml", "casemate.sarif", "model"
CARD = "model-card.md"


class Exported(Record, frozen=True, kw_only=True):
    """What was written."""

    run: str
    folder: str
    outcome: Outcome | None
    """None: the run ended, or goes on, without a verdict."""
    model: str
    """`NAME@VERSION` of a model that is signed, else empty."""
    reasons: list[str]
    """Why it is not signed."""


@reading("run:read")
def export(
    project: Wiring, folder: Path, run: str | None = None, key: str | None = None
) -> Exported:
    """Write the evidence of a run, its gates as JUnit XML and SARIF, and the model card to a new
    folder; `model` there names the signed model, if there is one.

    Args:
        project: whose run.
        folder: a new one.
        run: its id.
        key: the idempotency key that it was started with, instead.

    Raises:
        AccessDenied: policy.
        ConfigError: there is no such run, or the folder holds something.
        RefusedError: no run began with that key: its table was refused before.
    """
    from casemate.stages.release import results

    row = _row(project, run, key)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already", hint="name a new folder")
    release = project.engine.record(row.id, "release", Release)
    verdict = None if release is None else release.verdict
    fault = row.error or f"the run is {row.state}, and no gate has said anything"
    reasons = [fault] if verdict is None else verdict.reasons
    is_signed = release is not None and release.verdict.outcome == "passed"
    model = f"{release.model}@{release.model_version}" if release and is_signed else ""
    with whole_folder(folder, 0o755) as draft:
        kept = project.state / "runs" / row.id
        if kept.is_dir():
            shutil.copytree(kept, draft / EVIDENCE)
        card = draft / EVIDENCE / "4-release" / CARD
        if card.is_file():
            shutil.copyfile(card, draft / CARD)
        write_atomic(draft / JUNIT, results.junit(row.id, verdict, fault), 0o644)
        found = _findings(project, row.id, release)
        write_atomic(draft / SARIF, results.sarif(verdict, found, fault), 0o644)
        if model:
            write_atomic(draft / MODEL, f"{model}\n".encode(), 0o644)
    return Exported(
        run=row.id,
        folder=str(folder),
        outcome=None if verdict is None else verdict.outcome,
        model=model,
        reasons=[] if model else reasons,
    )


def _row(project: Wiring, run: str | None, key: str | None) -> RunRow:
    if (run is None) == (key is None):
        raise ConfigError("a run is named by its id or by its key", hint="give one of them")
    for row in project.engine.runs():
        if row.id == run if key is None else row.key == key:
            return row
    if key is None:
        raise ConfigError(f"no run called {run!r}", hint="`casemate runs` lists them")
    raise RefusedError(
        f"no run began with the key {key!r}: what it should have learnt from was refused before",
        hint="what `casemate run` with this key printed says why",
    )


def _findings(project: Wiring, run: str, release: Release | None) -> list[Finding]:
    stages = (
        project.engine.record(run, "data", SealedDataset),
        project.engine.record(run, "train", TrainedModel),
        project.engine.record(run, "assess", Assessment),
        release,
    )
    return [finding for record in stages if record is not None for finding in record.findings]
