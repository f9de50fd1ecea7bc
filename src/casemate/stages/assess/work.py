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
from casemate.core.sandbox.child import Channel
from casemate.core.types import Finding, Interval, Schema
from casemate.ml import models
from casemate.ml.frame import UNSEEN, features_of, groups_of, open_table, target_of, weights_of
from casemate.stages.assess.sample import Sample
from casemate.stages.assess.wishes import Wishes

PREVIOUS = "previous"
"""Folder of the model that passed last, among the inputs."""


@dataclass
class Work:
    """One assessment: what is measured, and what was found so far."""

    job: dict[str, Any]
    channel: Channel
    found: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Interval] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    inconclusive: list[str] = field(default_factory=list)

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
        return models.load_trained(self.files, self.schema, self.job["order"])

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
    """A model's files in a folder, by name."""
    return {name: (folder / name).read_bytes() for name in models.FILES if (folder / name).exists()}


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
