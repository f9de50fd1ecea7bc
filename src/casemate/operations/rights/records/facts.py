"""What a project knows of itself, gathered once for every record: nothing is computed anew, and
each fact can say where it is from.
"""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from casemate.config import (
    LABELS,
    OF_CLASSES,
    OF_QUANTITIES,
    WISHES,
    Config,
    ControllerTable,
)
from casemate.core import figures as vocabulary
from casemate.core.entry import Entry
from casemate.core.types import Assessment, Interval, SealedDataset, TrainedModel
from casemate.operations.rights.records.document import Known
from casemate.stages.release import private
from casemate.stages.release.gate import figures
from casemate.stages.release.registry import Registered
from casemate.stages.release.tables import range_text
from casemate.wiring import Wiring

FILE = "casemate.toml"
KEPT = (
    *("model:export", "dataset:read", "request:fulfilled", "consent:exported", "backup:created"),
    *("backup:restored", "access:break-glass", "keys:rotate", "model:promote", "model:approve"),
    *("run:data", "run:train", "run:assess", "run:release", "review:closed"),
)
"""Actions of the log that records speak of."""
OUTCOMES = ("allowed", "done", "passed")
FILES = {stage: f"{stage}.json" for stage in ("data", "train", "assess", "release")}
"""Stage -> the file of its record among the run's evidence."""


@dataclass(frozen=True)
class Facts:
    """A project as records speak of it."""

    project: Wiring
    now: datetime.datetime
    entries: int
    checkpoint: str
    model: Registered | None
    """The newest that passed, else the newest, or the one that was asked for."""
    signed: str
    """What verifying its signatures gave; empty: it is not signed."""
    dataset: SealedDataset | None
    trained: TrainedModel | None
    assessment: Assessment | None
    figures: dict[str, Interval]
    people: int | None
    """How many have rows in the data set version; None: it is not known whose they are."""
    log: dict[str, list[Entry]] = field(default_factory=dict)
    """Entries by action, of those in `KEPT` that were let through, oldest first."""

    @property
    def config(self) -> Config:
        """The project's."""
        return self.project.config

    @property
    def controller(self) -> ControllerTable:
        """What people said."""
        return self.config.controller

    @property
    def about(self) -> str:
        """The model and the data set version that records speak of."""
        parts = [] if self.model is None else [f"model {self.model.reference}"]
        if self.dataset is not None:
            parts.append(f"data set {self.dataset.name}@{self.dataset.version}")
        return ", ".join(parts)

    def said(self, option: str, text: str) -> Known:
        """A statement of casemate.toml."""
        return Known(text=text, source=f"{FILE} {option}")

    def measured(self, stage: str, text: str) -> Known:
        """A statement of the run's records, with digest and entry of the log."""
        return Known(text=text, source=self.evidence(stage))

    def evidence(self, stage: str) -> str:
        """Where a stage's record is kept."""
        if self.model is None:
            found = self.log.get(f"run:{stage}", [])[-1:]
        else:
            own = f'Run::"{self.model.release.lineage.run}"'
            found = [one for one in self.log.get(f"run:{stage}", []) if one.resource == own]
        if not found:
            return "catalogue"
        entry, name = found[-1], FILES[stage]
        digest = entry.detail.get("evidence", {}).get(name, "")
        run = entry.resource.removeprefix('Run::"').removesuffix('"')
        return f"run {run}, {name} SHA-256 {digest or 'not known'}, log entry {entry.index}"

    def counted(self, action: str, what: str) -> list[Known]:
        """How often something is on record, and when last."""
        found = self.log.get(action, [])
        if not found:
            return []
        last = found[-1]
        text = f"{what}: {len(found)} on record, the last on {last.time[:10]}"
        return [Known(text=text, source=f"log entry {last.index}")]

    def figure(self, name: str) -> Known:
        """One measured figure with its interval."""
        value = self.figures[name]
        shown, ends = vocabulary.shown(name, value.value), range_text(value)
        meaning = vocabulary.meaning(name)
        text = f"{name}: {shown}" + (f" (95 % interval {ends})" if value.low != value.high else "")
        stage = "data" if self.dataset and name in self.dataset.figures else "assess"
        if name in ("epsilon", "nested_cv"):
            stage = "train"
        return self.measured(stage, f"{text}; {meaning}" if meaning else text)

    def groups(self, groups: Iterable[vocabulary.Group]) -> tuple[list[Known], list[str]]:
        """(figures of these groups that were measured, names of those that were not)."""
        known: list[Known] = []
        missing: list[str] = []
        found = {one.title: names for one, names in vocabulary.grouped(list(self.figures))}
        for group in groups:
            names = found.get(group.title, [])
            known += [self.figure(name) for name in names]
            there = {vocabulary.plain(name) for name in names}
            missing += [
                self._why(name)
                for name in group.figures
                if name not in there and name not in self._foreign
            ]
        return known, missing

    @property
    def _foreign(self) -> set[str]:
        """Figures that a model of this task cannot have, or that nobody asked for."""
        schema = None if self.dataset is None else self.dataset.schema
        if schema is None:
            return set(WISHES)
        other = OF_CLASSES - {"epsilon"} if schema.regression else OF_QUANTITIES
        return {*other, *WISHES, *(() if schema.labels else LABELS)}

    def _why(self, name: str) -> str:
        reasons = [] if self.assessment is None else self.assessment.inconclusive
        words = name.partition("_")[0]
        return next((f"{name} ({text})" for text in reasons if text.startswith(words)), name)


def gather(project: Wiring, model: str = "") -> Facts:
    """What is known now.

    Args:
        project: whose.
        model: `NAME@VERSION` that records speak of; default: the newest that passed, else the
            newest.

    Raises:
        ConfigError: there is no such model. VerificationError: signed files, records or the log
            were changed.
    """
    chosen = _chosen(project, model)
    dataset, trained, assessment = _records(project, chosen)
    found: dict[str, Interval] = {}
    if trained is not None and trained.mode == "private" and dataset and assessment:
        dataset, assessment = private.told(dataset, assessment)
    if dataset and trained and assessment:
        found = figures(dataset, trained, assessment)
    elif dataset:
        found = {name: Interval.exact(value) for name, value in dataset.figures.items()}
    checked = project.log.check().checkpoint
    return Facts(
        project,
        project.clock.now().astimezone(datetime.UTC),
        checked.size,
        checked.root.hex(),
        chosen,
        _signed(project, chosen),
        dataset,
        trained,
        assessment,
        found,
        None if dataset is None else people_in(project, [(dataset.name, dataset.version)]),
        _log(project),
    )


def people_in(project: Wiring, versions: Sequence[tuple[str, str]]) -> int | None:
    """How many people have rows in any of these versions; None: of one it is not known."""
    rows = project.identifiers.rows
    if not versions or not set(versions) <= rows.known():
        return None
    return rows.people(versions)


def _chosen(project: Wiring, model: str) -> Registered | None:
    if model:
        return project.registry.get(model)
    own = [
        one for one in project.registry.list() if one.release.model == project.config.project.name
    ]
    return next((one for one in own if one.release.bundle), own[0] if own else None)


def _records(
    project: Wiring, chosen: Registered | None
) -> tuple[SealedDataset | None, TrainedModel | None, Assessment | None]:
    if chosen is None:
        return project.engine.newest_step("data", SealedDataset), None, None
    run = chosen.release.lineage.run
    return (
        project.engine.record(run, "data", SealedDataset),
        project.engine.record(run, "train", TrainedModel),
        project.engine.record(run, "assess", Assessment),
    )


def _signed(project: Wiring, chosen: Registered | None) -> str:
    if chosen is None or chosen.release.bundle is None:
        return ""
    found = project.registry.verify(chosen.reference)
    return f"both signatures and every digest hold; model SHA-256 {found.digest}"


def _log(project: Wiring) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in project.log.plain_entries():
        if entry.action in KEPT and entry.outcome in OUTCOMES:
            found.setdefault(entry.action, []).append(entry)
    return found
