"""Rows that repeat an earlier row in every feature and the target."""

import numpy as np
import pandas as pd

from casemate.config import ScreenTable
from casemate.core.frame import row_hashes
from casemate.core.types import Quarantined
from casemate.stages.data.screen.interface import Rows, Suspicion


class Duplicates:
    """Compares 64-bit row hashes; the first occurrence is never flagged."""

    id = "duplicate"

    def __call__(self, rows: Rows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        mixed = row_hashes(rows.frame, rows.target)
        series = pd.Series(mixed)
        repeated = np.flatnonzero(series.duplicated().to_numpy())
        if not len(repeated):
            return Suspicion(figures={"duplicates": 0.0})
        first = series.drop_duplicates()
        origin = pd.Series(first.index.to_numpy(), index=first.to_numpy())
        found = [Quarantined(row=int(row), reason=self.id, detail=f"equals row {int(origin[mixed[row]])}", score=1.0) for row in repeated]
        return Suspicion(rows=found, figures={"duplicates": float(len(found))})
