#!/usr/bin/env bash
# scikit-learn 1.9.1: partial_fit of scalers keeps NaN for a column for ever where its first batch is empty there.
#
# NaN is documented as missing: "disregarded in fit". Batches of a table that is sorted by time begin without a column that came later, and
# then StandardScaler's mean_ (and soon var_), MinMaxScaler's extremes and MaxAbsScaler's are NaN after any number of full batches, while
# n_samples_seen_ counts the cells; transform gives NaN for the whole column.
# Expected: what fit on all rows gives.
# Exits 0 while this holds and 1 when it changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys

import numpy as np
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

rows = np.array([[np.nan, 1.0], [np.nan, 2.0], [3.0, 3.0], [5.0, 4.0]])
once, batches = StandardScaler().fit(rows), StandardScaler()
ends, widest = MinMaxScaler(), MaxAbsScaler()
for batch in (rows[:2], rows[2:], rows[2:]):
    for one in (batches, ends, widest):
        one.partial_fit(batch)
print(f"StandardScaler: mean {batches.mean_}, variance {batches.var_}, of {batches.n_samples_seen_} (fit: {once.mean_})")
print(f"MinMaxScaler: least {ends.data_min_}; MaxAbsScaler: {widest.max_abs_}")
kept = [batches.mean_[0], batches.var_[0], ends.data_min_[0], widest.max_abs_[0]]
sys.exit(0 if np.isnan(kept).all() and batches.n_samples_seen_[0] == 4 and once.mean_[0] == 4.0 else 1)
PY
