"""Histogram gradient boosting on columns without any value.

scikit-learn 1.9.1 raises "window shape cannot be larger than input array shape" where it looks for
thresholds in a column whose every cell is missing; a rare column of a sound table is such a one in
some fold. There is no threshold in it, so the column never splits, as with a constant one.
"""

from typing import Any

import numpy as np
from sklearn.ensemble._hist_gradient_boosting import binning


def allow_empty_columns() -> None:
    """Mend it in this process; twice is once."""
    find: Any = binning._find_binning_thresholds  # noqa: SLF001 - the fault lies there
    if getattr(find, "mended", False):
        return

    def thresholds(col_data: Any, max_bins: int, sample_weight: Any = None) -> Any:
        if np.isnan(np.asarray(col_data, dtype=np.float64)).all():
            return np.empty(0)
        return find(col_data, max_bins, sample_weight=sample_weight)

    thresholds.mended = True  # type: ignore[attr-defined] # marks ours
    binning._find_binning_thresholds = thresholds  # noqa: SLF001 - same
