"""One assessment at work: its rows, its model, and what was found so far."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from casemate.config import AssessTable
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.sandbox.helpers import ANSWERS, Asked
from casemate.core.types import Finding, Interval, Schema
from casemate.ml import models
from casemate.ml.frame import UNSEEN, features_of, groups_of, open_table, target_of, weights_of
from casemate.ml.own import code
from casemate.ml.own.asked import AskedModel
from casemate.ml.own.line import Line
from casemate.ml.own.process import apart
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.wishes import Wishes

PREVIOUS = "previous"
"""Folder of the model that passed last, among the inputs."""
MODEL, SHADOWS = "model", "shadows"
"""Two uses of a model's own code: what is measured never sees a label, what trains anew does."""


@dataclass
class Work:
    """One assessment: what is measured, and what was found so far."""

    job: dict[str, Any]
    channel: Channel
    found: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Interval] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    inconclusive: list[str] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    """To the processes that hold the code of models which carry some."""

    def set_apart(self, watch: Watch) -> None:
        """Start a process for each use of a model's own code; before any row is read, so that none
        of them has one.
        """
        if code.among(self.files):
            self.lines = {use: apart(watch) for use in (MODEL, SHADOWS, models.PLAIN)}
        if code.among(files_in(Path(self.job["inputs"]) / PREVIOUS)):
            self.lines[PREVIOUS] = apart(watch)

    def asked(
        self, use: str, files: dict[str, bytes], schema: Schema, order: list[int], own: bool
    ) -> AskedModel:
        """The model in the process that was set apart for this use."""

        def heard(finding: dict[str, str]) -> None:
            self.channel.send(finding=finding)

        return AskedModel(self.lines[use], files, schema, order, own=own, heard=heard)

    @cached_property
    def ask(self) -> Asked | None:
        """Whom shadow models can be left to; None: nobody. Of several labels each is attacked here:
        helpers get the whole table's job.
        """
        alone = self.job.get(ANSWERS) is None or bool(self.schema.labels)
        return None if alone else Asked(self.job, self.channel)

    @cached_property
    def schema(self) -> Schema:
        """The schema that was pinned with the data set."""
        return msgspec.convert(self.job["schema"], Schema)

    @cached_property
    def options(self) -> AssessTable:
        """The `[assess]` table of the configuration."""
        return msgspec.convert(self.job["assess"], AssessTable)

    @property
    def seed(self) -> int:
        """The seed of everything that is random in the assessment."""
        return int(self.job["seed"])

    @property
    def least(self) -> int:
        """Fewest rows that a told figure may be about."""
        return int(self.job["least"])

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The files of the model by name, as they were converted."""
        return files_in(Path(self.job["inputs"]))

    @cached_property
    def model(self) -> models.Scored:
        """The model that is measured, read from its safe file."""
        if MODEL in self.lines:
            return self.asked(MODEL, self.files, self.schema, self.job["order"], own=True)
        return models.load_trained(self.files, self.schema, self.job["order"])

    @cached_property
    def learner(self) -> Any:
        """What can be trained anew like the model; None where nothing can."""
        if SHADOWS in self.lines:
            return self.asked(SHADOWS, self.files, self.schema, self.job["order"], own=True)
        return getattr(self.model, "estimator", None)

    @cached_property
    def plain(self) -> models.Scored | None:
        """The same model without hardening, where it was hardened."""
        path = Path(self.job["inputs"]) / models.PLAIN
        if not path.exists():
            return None
        if models.PLAIN in self.lines:
            files = self.files | {models.SKOPS: path.read_bytes()}
            return self.asked(models.PLAIN, files, self.schema, [], own=True)
        return models.load_skops(path.read_bytes())

    @cached_property
    def previous(self) -> models.Scored:
        """The model that passed last."""
        before = self.job["previous"]
        schema = msgspec.convert(before["schema"], Schema)
        files = files_in(Path(self.job["inputs"]) / PREVIOUS)
        if PREVIOUS in self.lines:
            return self.asked(PREVIOUS, files, schema, before["order"], own=before["own"])
        return models.load_trained(files, schema, before["order"], own=before["own"])

    @cached_property
    def tables(self) -> list[pa.Table]:
        """Hold-out, members, dropped hold-out rows and the further tables."""
        return [open_table(descriptor) for descriptor in self.job["tables"]]

    @cached_property
    def samples(self) -> list[Sample]:
        """The same as samples."""
        return [
            Sample(
                features_of(table, self.schema),
                target_of(table, self.schema),
                groups_of(table),
                weights_of(table),
            )
            for table in self.tables
        ]

    @property
    def unseen(self) -> np.ndarray[Any, Any] | None:
        """Hold-out rows that the model before was not trained on, bool [h]; None: every one."""
        return self.tables[0][UNSEEN].to_numpy() if UNSEEN in self.tables[0].column_names else None

    @cached_property
    def wishes(self) -> Wishes:
        """What besides the usual figures says how good an answer is."""
        return msgspec.convert(self.job["wishes"], Wishes)

    @property
    def known(self) -> Sample:
        """Rows that say how wide features spread: training rows, but for a private model, whose
        figures may not depend on them.
        """
        return self.holdout if self.job.get("promised") else self.members

    @property
    def holdout(self) -> Sample:
        """Rows that training never saw."""
        return self.samples[0]

    @property
    def members(self) -> Sample:
        """Rows that it saw."""
        return self.samples[1]

    @property
    def dropped(self) -> Sample:
        """Rows that training never saw and that a person took out of the hold-out."""
        return self.samples[2]


def files_in(folder: Path) -> dict[str, bytes]:
    """A model's files in a folder, by name, its own code among them."""
    own = sorted(path.name for path in (folder / code.FOLDER).glob("*.py"))
    names = [*models.FILES, *map(code.place_of, own)]
    return {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}


def finite(
    work: Work, what: str, metrics: dict[str, dict[str, float]], where: str
) -> dict[str, dict[str, float]]:
    """The figures that are numbers; the others become inconclusive."""
    kept = {}
    for name, figure in metrics.items():
        if all(map(math.isfinite, figure.values())):
            kept[name] = figure
        else:
            work.inconclusive.append(f"{what}: {name} is not defined on {where}")
    return kept
