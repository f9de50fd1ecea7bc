"""Floods: many near-copies of one row with one label, as somebody makes them who wants a model to learn one thing.

Numbers are rounded to a fiftieth of their deviation; equal rounded rows form a group. How large groups get by chance is
seen by shuffling each column within its class: a flood is ten times larger, and not small. Exact copies count too.
"""

import warnings

import numpy as np
import pandas as pd

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.screen.interface import Array, Rows, Suspicion

GRAIN = 50.0
LEAST, LEAST_SHARE, TIMES = 10, 0.002, 10
PURE = 0.95


class Floods:
    """Flags all rows of a flood but the first."""

    id = "flood"

    def __call__(self, rows: Rows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        grid = self._grid(rows)
        counts, places = _sizes(grid)
        generator = np.random.default_rng(rows.seed)
        shuffled = grid.copy()
        for code in np.unique(rows.codes):
            members = np.flatnonzero(rows.codes == code)
            for column in range(grid.shape[1]):
                shuffled[members, column] = grid[generator.permutation(members), column]
        chance = int(_sizes(shuffled)[0].max())
        least = max(LEAST, LEAST_SHARE * len(rows.codes), TIMES * chance)
        suspects, findings = [], []
        for group in np.flatnonzero(counts >= least):
            members = np.flatnonzero(places == group)
            labels = np.bincount(rows.codes[members])
            if labels.max() < PURE * len(members):
                continue
            suspects += [
                Quarantined(row=int(row), reason=self.id, detail=f"one of {len(members)} near-copies of row {members[0]}", score=float(len(members)))
                for row in members[1:]
            ]
            text = (
                f"{len(members)} near-copies of row {members[0]} have the class {rows.schema.classes[int(labels.argmax())]!r}; chance makes {chance}"
            )
            findings.append(Finding(id="data.flood", severity="medium", confidence="medium", message=text))
        return Suspicion(rows=suspects, findings=findings[:20], figures={"largest_group": float(counts.max())})

    @staticmethod
    def _grid(rows: Rows) -> Array:
        values = rows.coded.to_numpy()
        places = np.flatnonzero(rows.frame.columns.isin(rows.numbers))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a column without any value has no deviation
            spread = np.nanstd(values, axis=0)
        scale = np.ones(values.shape[1])
        scale[places] = np.where(np.nan_to_num(spread[places]) > 0, spread[places] / GRAIN, 1.0)
        return np.nan_to_num(np.round(values / scale), nan=-1e9)


def _sizes(grid: Array) -> tuple[Array, Array]:
    """(rows per group of equal rows, group of each row)."""
    hashes = pd.util.hash_pandas_object(pd.DataFrame(grid), index=False).to_numpy()
    places, kinds = pd.factorize(hashes)
    return np.bincount(places, minlength=len(kinds)), np.asarray(places)
