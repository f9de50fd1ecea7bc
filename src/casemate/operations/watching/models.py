"""What is known of the models that answers are of: classes, and the baseline that was signed with
each.
"""

from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np

from casemate.core.errors import Error
from casemate.core.types import Assessment, Baseline, Bin, Interval, Schema
from casemate.stages.release.bundle import BASELINE
from casemate.watch.tables import Array
from casemate.wiring import Wiring

SCORES = 200
"""Steps of 0 to 1 in which probabilities are counted: an area under the curve is then off by less
than .002, and no row's own score is kept."""


@dataclass(frozen=True)
class Watched:
    """One model version, as far as watching it needs."""

    reference: str
    """`NAME@VERSION`."""
    schema: Schema
    baseline: Baseline | None
    """None: it was signed without one."""
    importance: dict[str, float] | None
    """Per feature how much the main figure falls without it; None: not measured."""
    metrics: dict[str, Interval]
    """Figures of its hold-out."""

    @cached_property
    def edges(self) -> Array:
        """Upper ends of the steps in which answers are counted, all but the last, ascending."""
        if not self.schema.regression:
            return np.asarray(np.arange(1, SCORES) / SCORES)
        bins: list[Bin] = [] if self.baseline is None else self.baseline.answers.bins
        return np.asarray(np.unique([one.high for one in bins][:-1]), float)

    @cached_property
    def middles(self) -> Array:
        """What stands for an answer of each step."""
        if not self.schema.regression:
            return np.asarray((np.arange(SCORES) + 0.5) / SCORES)
        edges = self.edges
        if not len(edges):
            return np.zeros(1)
        return np.asarray(np.r_[edges[0], (edges[1:] + edges[:-1]) / 2, edges[-1]])

    def scores(self, codes: Array, outputs: Array) -> Array | None:
        """What is counted of answered classes: of two the probability of the second one, of more
        that of the class that was said; None for several labels a row, which have no one.

        Args:
            codes: classes, int [n].
            outputs: probabilities, [n, classes].
        """
        if self.schema.labels:
            return None
        if len(self.schema.classes) == 2:
            return np.asarray(outputs[:, 1], float)
        return np.asarray(outputs[np.arange(len(codes)), codes], float)

    def is_positive(self, answer: str, outcome: str) -> bool:
        """Whether an outcome is what the score is the probability of."""
        return outcome == (self.schema.classes[1] if len(self.schema.classes) == 2 else answer)


class Catalogue:
    """Looks model versions up, each once."""

    def __init__(self, project: Wiring) -> None:
        self._project = project
        self._found: dict[str, Watched | None] = {}
        self.faults: dict[str, str] = {}
        """Per model version why nothing is known of it."""

    def __call__(self, reference: str) -> Watched | None:
        """A model version, verified; None when it cannot be read, or is not signed any more."""
        if reference not in self._found:
            try:
                self._found[reference] = self._read(reference)
            except Error as error:
                self._found[reference] = None
                self.faults[reference] = error.message
        return self._found[reference]

    def _read(self, reference: str) -> Watched:
        verified = self._project.registry.verify(reference)
        baseline = None
        if BASELINE in verified.files:
            baseline = msgspec.json.decode(verified.files[BASELINE], type=Baseline)
        run = verified.card.lineage["run"]
        assessment = self._project.engine.record(run, "assess", Assessment)
        return Watched(
            reference,
            verified.card.inputs,
            baseline,
            _importance(assessment),
            {} if assessment is None else assessment.metrics,
        )


def _importance(assessment: Assessment | None) -> dict[str, float] | None:
    if assessment is None or not assessment.importance:
        return None
    found = {one.feature: max(one.mean, 0.0) for one in assessment.importance}
    return found if any(found.values()) else None
