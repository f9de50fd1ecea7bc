#!/bin/bash
# scikit-learn 1.9.1: HistGradientBoosting cannot be fitted when a column has no value at all.
#
# Expected: missing values are supported ("this estimator has native support for missing values"), so a column whose every
# cell is missing never splits, as a constant one does not; a column that is rare in the table is such a one in some fold
# of a cross-validation.
# Seen: ValueError "window shape cannot be larger than input array shape" from the search for bin thresholds. A column with
# one value and gaps is fine.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 2>/dev/null
"$folder/env/bin/python" - <<'PY'
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

print("scikit-learn", sklearn.__version__)
rng = np.random.default_rng(0)
x, y = rng.normal(size=300), rng.integers(2, size=300)
for kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
    kind(max_iter=2).fit(np.c_[x, np.where(y > 0, np.nan, 1.0)], y)  # one value and gaps
    try:
        kind(max_iter=2).fit(np.c_[x, np.full(300, np.nan)], y)
    except ValueError as error:
        assert "window shape cannot be larger than input array shape" in str(error), error
        print(kind.__name__, "with an empty column:", error)
    else:
        raise SystemExit(f"{kind.__name__} takes an empty column now")
PY
