#!/bin/bash
# flwr 1.41.0, strategy MultiKrum: ten replies with weights of ordinary size (20 000 of them, standard normal) that differ by little, as in late rounds: nine by noise of .00001, one by ten times as much.
#
# Expected: Krum looks at distances between replies, so what all of them have in common does not matter; the one that is ten times as far away as the others has the greatest score, and is never the one that is chosen.
# Seen: squared distances are computed as |x|^2 + |y|^2 - 2 x.y in the replies' own type. In float32, which is what torch sends, the terms are near 20 000 and their rounding is larger than any distance: squared
# distances are negative, and the far reply is the one chosen in 31 of 100 draws (31, 0 and 0 by numpy 2.4.6 on x86-64). As float64 it is never chosen, nor if what all have in common is subtracted first.
# So distances are taken of differences, in float64 (casemate.ml.federated.robust).
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check flwr==1.41.0 2> /dev/null
cat > choose.py <<'END'
import sys

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp.strategy.multikrum import compute_distances, select_multikrum

common = np.random.default_rng(0).standard_normal(20_000)


def looked(base, kind):
    """(in how many of 100 draws the far reply is chosen, least squared distance of the last)."""
    chance, count = np.random.default_rng(1), 0
    for _ in range(100):
        moved = 1e-5 * chance.standard_normal((10, 20_000))
        moved[9] *= 10
        arrays = [ArrayRecord([(base + one).astype(kind)]) for one in moved]
        records = [RecordDict({"arrays": one}) for one in arrays]
        (best,) = select_multikrum(records, num_malicious_nodes=2, num_nodes_to_select=1)
        count += best is records[9]
    return count, float(compute_distances(arrays).min())


for what, base in (("weights", common), ("differences", 0.0)):
    for kind in (np.float64, np.float32):
        count, least = looked(base, kind)
        print(what, kind.__name__, "never" if not count else "often", "negative" if least < -1e-3 else "")
        print("  chosen", count, "of 100, least squared distance", least, file=sys.stderr)
END
seen=$(env/bin/python -W ignore choose.py 2> said)
grep chosen said
echo "$seen"
[ "$(echo "$seen" | sed 's/ *$//')" = "weights float64 never
weights float32 often negative
differences float64 never
differences float32 never" ]
