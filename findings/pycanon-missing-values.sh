#!/bin/bash
# pycanon 1.3.6: the k of a table leaves out everybody whose quasi-identifier is missing, if there is only one of these; anjana
# 1.2.3, which asks it, releases such people alone, and its intervals fail on a missing value.
#
# Expected: a missing value is a value that an attacker can see, so one person without an age among 50 of equal age is alone: k = 1.
# With two quasi-identifiers pycanon says so.
# Seen: with one, k = 50 (and l, t of the 50 alone): pandas leaves missing keys out of `groupby(["age"]).groups`, and keeps
# them with several keys. anjana's k_anonymity with k = 5 returns the table with a group of one. generate_intervals raises IndexError.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for package in pycanon==1.3.6 anjana==1.2.3; do # they pin numpy 2.0.2, pandas 2.3.3 and, the latter, pycanon 1.3.5
  python3 -m venv "$folder/${package%%=*}"
  "$folder/${package%%=*}/bin/pip" install --quiet --disable-pip-version-check "$package" 2>/dev/null
done
"$folder/pycanon/bin/python" - <<'PY'
import numpy as np
import pandas as pd
from pycanon import anonymity

table = pd.DataFrame({"age": [20.0] * 50 + [np.nan], "sex": ["f"] * 51, "ill": ["a", "b"] * 25 + ["a"]})
alone, both = (anonymity.k_anonymity(table, quasi) for quasi in (["age"], ["age", "sex"]))
print("pycanon: k of age", alone, "and of age and sex", both, "l", anonymity.l_diversity(table, ["age"], ["ill"]))
assert (alone, both) == (50, 1), "it counts missing values now"
PY
"$folder/anjana/bin/python" - <<'PY'
import numpy as np
import pandas as pd
from anjana.anonymity import k_anonymity
from anjana.anonymity.utils import utils

table = pd.DataFrame({"age": [20.0] * 50 + [np.nan], "ill": ["a"] * 51})
steps = {"age": {0: table["age"].values, 1: np.array(["*"] * 51)}}
released = k_anonymity(table, [], ["age"], 5, 0, steps)
sizes = released.groupby("age", dropna=False).size().tolist()
print("anjana: groups of", sizes, "for k = 5")
assert min(sizes) == 1, "it keeps its promise now"
try:
    utils.generate_intervals(np.array([21.0, np.nan, 44.0]), 0, 100, 10)
except IndexError as error:
    print("anjana: intervals with a missing value:", error)
else:
    raise SystemExit("generate_intervals takes a missing value now")
PY
