"""Runs: start, look, cancel; what the training code said."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.core.errors import AccessDenied, BackendError, ConfigError
from casemate.core.files import alone, clear_drafts, clear_scratch, remove_tree, shared_lock
from casemate.core.imports import uncollected
from casemate.core.steps import STAGES, RunRow
from casemate.core.store import decode
from casemate.core.types import Assessment, Finding, Release, SealedDataset, TrainedModel, Verdict
from casemate.operations.acting import Noun, operation, reading
from casemate.operations.results import export
from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.operations.models import Model
    from casemate.stages.train.told import Words
    from casemate.supply.context import Reporter, RunContext

_KEY = re.compile(r"[A-Za-z0-9._:/-]{1,200}")


@dataclass(frozen=True)
class RunResult:
    """What a run ended with."""

    id: str
    model: "Model"
    release: Release
    assessment: Assessment
    folder: Path
    undelivered: list[str]
    """Receivers that a message of this run has not reached yet; the outbox tries again."""

    @property
    def verdict(self) -> Verdict:
        """What the gates said of the model, each by itself and together."""
        return self.release.verdict

    @property
    def summary(self) -> list[str]:
        """What the run came to, in sentences."""
        from casemate.stages.release import summary

        project = self.model.project
        dataset = project.engine.record(self.id, "data", SealedDataset)
        model = project.engine.record(self.id, "train", TrainedModel)
        return (
            []
            if dataset is None or model is None
            else summary.of(
                project.config,
                dataset,
                model,
                self.assessment,
                self.verdict,
                self.release.model_version,
            )
        )

    @property
    def advice(self) -> list[str]:
        """What to do about gates that do not hold; empty for a signed model."""
        from casemate.stages.release import summary
        from casemate.stages.release.remedies import remedies

        project = self.model.project
        dataset = project.engine.record(self.id, "data", SealedDataset)
        if dataset is None:
            return summary.advice(self.verdict)
        return summary.advice(self.verdict, remedies(self.findings, dataset.schema, project.config))

    @property
    def findings(self) -> list[Finding]:
        """What the stages saw, in their order, and what the release says of attacks that no gate
        looks at.
        """
        project = self.model.project
        dataset = project.engine.record(self.id, "data", SealedDataset)
        model = project.engine.record(self.id, "train", TrainedModel)
        stages = [
            record.findings for record in (dataset, model, self.assessment) if record is not None
        ]
        return [*(finding for found in stages for finding in found), *self.release.findings]

    def __repr__(self) -> str:
        return f"<{self.verdict.outcome}: {self.model.reference}, run {self.id}>"

    def _repr_html_(self) -> str:
        from casemate.core.page import Section, fragment

        gates = [[gate.outcome, gate.gate, gate.value, gate.limit] for gate in self.verdict.gates]
        verdict = Section(
            "Verdict",
            points=[" ".join(text.split()) for text in self.advice],
            heads=["", "gate", "value", "required"],
            rows=gates,
        )
        parts = [Section("Summary", points=self.summary), verdict]
        return fragment(f"{self.model.reference}: {self.verdict.outcome}", parts)


@operation("run:start", also=("model:sign",))
def run(
    project: Wiring,
    *,
    start: str | None = None,
    fresh: bool = False,
    key: str | None = None,
    reporter: "Reporter | None" = None,
) -> RunResult:
    """Run the pipeline, resume the run that a crash interrupted, or say that nothing has changed
    since the last one.

    Args:
        project: whose pipeline.
        start: first stage to do again (`data`, `train`, `assess`, `release`) even if nothing
            changed.
        fresh: do everything again; the same as `start="data"`.
        key: idempotency key: however often and from however many processes it is used, there is one
            run.
        reporter: hears how it goes; default: a line for each stage in a notebook, nothing
            elsewhere.

    Raises:
        BusyError: another living process works on the same run.
        Error: see `casemate.core.errors`; a refused model is a result, not an error.
    """
    first = "data" if fresh else start
    if key is not None and not _KEY.fullmatch(key):
        raise ConfigError(
            "an idempotency key is 1 to 200 letters, digits, '.', '_', ':', '/' or '-'"
        )
    if first is not None and first not in STAGES:
        raise ConfigError(f"no stage called {first!r}", hint="stages: " + ", ".join(STAGES))
    acting = run.ask(project, unrecorded=True)
    if project.erasures.missing():
        _catch_up(project)
    signing = {"stage": project.config.release.stage}
    run.ask(
        project,
        project.config.project.name,
        also="model:sign",
        kind="Model",
        context=signing,
        unrecorded=True,
    )
    return conducted(project, run_context(project, reporter), acting.uid, first, key)


def conducted(
    project: Wiring, context: "RunContext", principal: str, start: str | None, key: str | None
) -> RunResult:
    """A run of whoever policy has let run; see `run`."""
    from casemate.operations.models import Model

    project.require_own()
    # what computes takes a second to import, and most verbs compute nothing
    with uncollected():
        from casemate import pipeline

    with shared_lock(project.state / "lock", lambda: _tidy(project)):
        try:
            identifier, release, assessment = pipeline.run(context, principal, start, key)
        finally:
            # what ended the run counts; the next one tries again
            with contextlib.suppress(BackendError):
                _forget_studies(project)
        sent = project.outbox.send()
        undelivered = [
            f"{message.key.rpartition('/')[2]}: {fault.message}" for message, fault in sent if fault
        ]
    model = Model(project, project.registry.get(f"{release.model}@{release.model_version}"))
    return RunResult(
        identifier, model, release, assessment, project.state / "runs" / identifier, undelivered
    )


def run_context(project: Wiring, reporter: "Reporter | None" = None) -> "RunContext":
    """Everything that the stages work with."""
    from casemate.operations.contexts import context_of
    from casemate.operations.rights.restricted import usable

    return context_of(project, usable(project), reporter)


@reading("run:read")
def listing(project: Wiring) -> list[RunRow]:
    """Every run, newest first; AccessDenied: policy."""
    return project.history.runs()


@reading("run:read")
def show(project: Wiring, run: str) -> RunRow:
    """One run; AccessDenied: policy. ConfigError: there is none of that id."""
    found = next((row for row in project.history.runs() if row.id == run), None)
    if found is None:
        raise ConfigError(f"no run called {run!r}", hint="`casemate runs` lists them")
    return found


@operation("run:cancel")
def cancel(project: Wiring, run: str) -> None:
    """Stop a run; AccessDenied, or ConfigError when there is none that goes on."""
    acting = cancel.ask(project, run=run)
    project.engine.cancel(run, acting.uid)


@operation("dataset:read", "Dataset")
def words(project: Wiring, run: str) -> "Words | None":
    """What the training code of a run said, or of one that failed; None when it said nothing, or no
    version was sealed.

    Raises:
        AccessDenied: it may quote columns or rows that whoever acts may not read.
    """
    from casemate import pipeline
    from casemate.operations.dataset import Dataset
    from casemate.stages.train.told import Words

    dataset, model = (
        project.engine.record(run, "data", SealedDataset),
        project.engine.record(run, "train", TrainedModel),
    )
    digest = "" if model is None else model.said
    if model is None:
        error = next((row.error for row in project.engine.runs() if row.id == run), None) or ""
        named = re.search(re.escape(pipeline.WORDS) + "([0-9a-f]{64})", error)
        digest = named[1] if named else ""
    if dataset is None or not digest:
        return None
    who, resource = project.point.identify().principal.uid, f'Dataset::"{dataset.name}"'
    allowed = Dataset(project, dataset).hears_code()
    outcome = "allowed" if allowed else "denied"
    project.log.record(
        who, "dataset:read", resource, outcome, version=dataset.version, words_of=run
    )
    if not allowed:
        raise AccessDenied(
            f"{who} may not read every column and row that the code of {run} saw, and its words may"
            " quote them",
            hint="the project's owner grants roles and writes policies",
        )
    return decode(project.objects.get(digest), Words)


def _catch_up(project: Wiring) -> None:
    """Carry erasures out again that a catalogue which was put back does not know."""
    from casemate.operations.rights import again

    with alone(project.state / "lock", "erasing people again"):
        again.catch_up(project)


def _tidy(project: Wiring) -> None:
    """Remove what killed processes left; called only when no run of this project goes on in this
    folder.
    """
    clear_scratch(project.state / "tmp")
    for name in ("objects", "datasets", "runs"):  # not the log: a gateway may be writing it
        clear_drafts(project.state / name)
    _forget_studies(project)


def _forget_studies(project: Wiring) -> None:
    """Remove the searches of runs that have ended, however; an interrupted one goes on with its
    own.
    """
    unfinished = {run.id for run in project.engine.runs() if run.ended is None}
    for study in (project.state / "studies").glob("*"):
        if study.name.rpartition(".")[0] not in unfinished:
            remove_tree(study)


class Runs(Noun):
    """The runs of a project, by their verbs."""

    start = run
    list = listing
    show = show
    cancel = cancel
    export = export
    words = words
