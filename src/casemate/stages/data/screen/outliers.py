"""Cells far outside their column: |x - median| in units of the scaled median absolute deviation.

Where more than `MOST_SHARE` of the rows would be flagged, the columns have long tails and none is.
Columns whose MAD is 0 (more than half of the values are equal) are left to other detectors.
Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993); the MAD is SciPy's.
"""

import numpy as np
from scipy.stats import median_abs_deviation

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.screen.interface import ScreenedRows, Suspicion

MOST_SHARE, LEAST = 0.02, 20
"""Share, and number, of rows above which a long tail explains the cells and none is flagged.
Chosen;
how far a cell must lie is `[screen] outlier_deviations`.
"""


class Outliers:
    """Names the worst column of each suspicious row."""

    id = "outlier"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        worst = np.zeros(len(rows.frame))
        column = np.full(len(rows.frame), -1)
        for position, name in enumerate(rows.numbers):
            values = rows.frame[name].to_numpy(dtype=np.float64)
            present = values[~np.isnan(values)]
            spread = median_abs_deviation(present, scale="normal") if len(present) else 0.0
            if not spread > 0:
                continue
            deviations = np.nan_to_num(np.abs(values - np.median(present)) / spread)
            column = np.where(deviations > worst, position, column)
            worst = np.maximum(worst, deviations)
        suspicious = np.flatnonzero(worst > options.outlier_deviations)
        if len(suspicious) > MOST_SHARE * len(worst) and len(suspicious) > LEAST:
            share = len(suspicious) / len(worst)
            text = (
                f"{share:.1%} of the rows hold a cell far outside of its column: these columns have"
                " long tails, so no row is flagged for that"
            )
            finding = Finding(id="data.outliers", severity="low", confidence="high", message=text)
            return Suspicion(findings=[finding], figures={"outliers": float(len(suspicious))})
        found = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=(
                    f"{rows.numbers[column[row]]} lies {worst[row]:.1f} robust deviations from the"
                    " median"
                ),
                score=float(worst[row]),
            )
            for row in suspicious
        ]
        return Suspicion(rows=found, figures={"outliers": float(len(found))})
