"""Floods: many near-copies of one row with one label, as somebody makes them who wants a model to
learn one thing.

Numbers are rounded to a fiftieth of their deviation; equal rounded rows form a group. A flood is
`TIMES` larger than chance makes groups like it (see `coincidence`; and than groups of this table
mostly outgrow that: answers can hang together more closely), and not small. Exact copies count too.

What it cannot see: floods in many small parts, each different beyond rounding; floods with mixed
labels; a flood of an answer that very many give anyway. What it takes for one: many equal rows with
one label for a reason of their own, such as a device that sends the same row again and again.
"""

import warnings

import numpy as np

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined, Severity
from casemate.stages.data.screen.coincidence import coincidences
from casemate.stages.data.screen.interface import Array, ScreenedRows, Suspicion

GRAIN = 50.0
"""Parts of a number's standard deviation that it is rounded to: near-copies within .02 of a
deviation are one. Chosen.
"""
LEAST, LEAST_SHARE, TIMES = 10, 0.002, 5.0
"""Rows, and share of the rows, that a flood has at least, and times that it must outgrow what
chance makes. Chosen; on the page of simulations all floods were found, and fewer than 2 % of clean
tables were refused (docs/explanation/assurance.md, Labels).
"""
USUAL = 0.95
"""Nearly every group of a table outgrows its expectation at most by what this share of them
does.
"""
PURE = 0.95
"""Share of a flood with one label: who copies a row for a model to learn copies its label. Chosen;
mixed floods are not seen.
"""
GRAVE, GRAVE_SHARE = 100, 0.02
"""Copies, or their share of the rows, from which on a flood blocks a release."""


class Floods:
    """Flags all rows of a flood but the first."""

    id = "flood"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        found = coincidences(list(self._grid(rows).T))
        counts, places = found.counts, found.places
        outgrown = counts / (found.expected + 1)
        least = np.maximum(LEAST, LEAST_SHARE * len(rows.codes))
        large = (counts >= least) & (
            outgrown >= TIMES * max(1.0, float(np.quantile(outgrown, USUAL)))
        )
        suspects, findings = [], []
        for group in np.flatnonzero(large):
            members = np.flatnonzero(places == group)
            labels = np.bincount(rows.codes[members])
            if labels.max() < PURE * len(members):
                continue
            suspects += [
                Quarantined(
                    row=int(row),
                    reason=self.id,
                    detail=f"one of {len(members)} near-copies of row {members[0]}",
                    score=float(len(members)),
                )
                for row in members[1:]
            ]
            label = rows.schema.classes[int(labels.argmax())]
            text = (
                f"{len(members)} near-copies of row {members[0]} have the class {label!r}; chance"
                f" makes {found.expected[group]:.0f}"
            )
            severity: Severity = (
                "high" if len(members) > min(GRAVE, GRAVE_SHARE * len(rows.codes)) else "medium"
            )
            findings.append(
                Finding(id="data.flood", severity=severity, confidence="medium", message=text)
            )
        return Suspicion(
            rows=suspects, findings=findings[:20], figures={"largest_group": float(counts.max())}
        )

    @staticmethod
    def _grid(rows: ScreenedRows) -> Array:
        values = rows.coded.to_numpy()
        places = np.flatnonzero(rows.frame.columns.isin(rows.numbers))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a column without any value has no deviation
            spread = np.nanstd(values, axis=0)
        scale = np.ones(values.shape[1])
        scale[places] = np.where(np.nan_to_num(spread[places]) > 0, spread[places] / GRAIN, 1.0)
        return np.nan_to_num(np.round(values / scale), nan=-1e9)
