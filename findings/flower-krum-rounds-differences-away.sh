#!/bin/bash
# flwr 1.41.0, strategy MultiKrum: ten replies with weights of ordinary size (100 000 of them, standard normal, float32) that differ by little, as in late rounds: nine by noise of .0001, one by ten times as much.
#
# Expected: Krum looks at distances between replies, so what all of them have in common does not matter; the one that is ten times as far away as the others has the greatest score and is never chosen.
# Seen: distances are |x|^2 + |y|^2 - 2 x.y in the replies' own type. In float32 the three terms are near 100 000 and their rounding is larger than the distances: many are negative, "itself" is not the
# nearest, and the far one is chosen first in some orders and last in others. The same ten replies with what they have in common subtracted, or as float64, are told apart each time.
# In half precision |x|^2 is infinite already from 65 504 on: every distance is NaN, and whoever is first in the list is chosen.
# So ours computes distances of differences, in float64.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check flwr==1.41.0
cat > choose.py <<'END'
import numpy as np
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp.strategy.multikrum import select_multikrum

chance = np.random.default_rng(0)
common = chance.standard_normal(100_000)
moved = 1e-4 * chance.standard_normal((10, 100_000))
moved[9] *= 10


def chosen_far(replies, kind):
    """In how many of 200 orders the far reply is the one that Krum takes."""
    count = 0
    for _ in range(200):
        order = chance.permutation(10)
        records = [RecordDict({"arrays": ArrayRecord([replies[one].astype(kind)])}) for one in order]
        (best,) = select_multikrum(records, num_malicious_nodes=2, num_nodes_to_select=1)
        count += next(i for i, one in zip(order, records) if one is best) == 9
    return count


for what, replies in (("weights", common + moved), ("differences", moved)):
    for kind in (np.float64, np.float32, np.float16):
        with np.errstate(all="ignore"):
            print(what, kind.__name__, chosen_far(replies, kind))
END
seen=$(env/bin/python -W ignore choose.py 2> /dev/null)
echo "$seen"
