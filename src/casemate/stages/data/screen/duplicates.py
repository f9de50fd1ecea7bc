"""Rows that repeat an earlier row in every feature and the target, and more often than chance makes
(see `coincidence`).
"""

import numpy as np

from casemate.config import ScreenTable
from casemate.core.types import Quarantined
from casemate.stages.data.screen.coincidence import coincidences
from casemate.stages.data.screen.interface import ScreenedRows, Suspicion


class Duplicates:
    """Names the copies of a row, never its first occurrence; equal rows that other people explain
    are counted and not named.
    """

    id = "duplicate"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        target = rows.target if rows.target.ndim == 2 else rows.target[:, None]
        found = coincidences([*(rows.frame[name].to_numpy() for name in rows.frame), *target.T])
        first = np.full(len(found.counts), -1)
        first[found.places[::-1]] = np.arange(len(found.places))[::-1]
        repeats = first[found.places] != np.arange(len(found.places))
        suspects = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=f"equals row {int(first[found.places[row]])}",
                score=1.0,
            )
            for row in np.flatnonzero(repeats & found.beyond[found.places])
        ]
        return Suspicion(
            rows=suspects,
            figures={"duplicates": float(len(suspects)), "equal_rows": float(repeats.sum())},
        )
