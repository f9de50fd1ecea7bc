#!/bin/bash
# flwr 1.41.0 with torch 2.13.0: FedAvg's mean of replies that are all equal is not what they all say, in half precision and for integers.
#
# Expected: each product of a reply and its weight is added in float32 or wider, as torch's own mean of float16 does, and what was an integer is one again; a mean of equal numbers is that number.
# Seen: weights are shares (1/n), and products and sums are rounded to the replies' own type. Of a BatchNorm1d in float16 whose weights are 1, 100 equal replies give .988, 539 give 1.037 and 10 000 give .25 (a share is
# rounded away beside the sum). Its counter num_batches_tracked is int64: seven replies of 100 with equal numbers of rows give a float64 just below 100, and `load_state_dict` makes 99 of it without a word.
# So updates of sites are float64 while they are combined, and an update of another type is refused (casemate.ml.federated).
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 2> /dev/null
env/bin/pip install --quiet --disable-pip-version-check flwr==1.41.0 2> /dev/null
cat > average.py <<'END'
import torch
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords


def mean(state, count):
    """FedAvg's mean of so many replies, each with this state and 116 rows."""
    replies = [
        RecordDict({"arrays": ArrayRecord(state), "metrics": MetricRecord({"rows": 116})})
        for _ in range(count)
    ]
    return aggregate_arrayrecords(replies, "rows").to_torch_state_dict()


layer = torch.nn.BatchNorm1d(4)
for _ in range(100):
    layer(torch.randn(32, 4))
print("counter", int(layer.num_batches_tracked))
loaded = torch.nn.BatchNorm1d(4)
loaded.load_state_dict(mean(layer.state_dict(), 7))
print("counter of 7 equal replies", int(loaded.num_batches_tracked))
half = layer.half().state_dict()
for count in (100, 539, 10_000):
    print(f"weight 1 of {count} equal replies: {mean(half, count)['weight'][0].item():.3f}")
print(f"torch's own mean: {torch.ones(10_000, dtype=torch.float16).mean().item():.3f}")
END
seen=$(env/bin/python -W ignore average.py)
echo "$seen"
[ "$seen" = "counter 100
counter of 7 equal replies 99
weight 1 of 100 equal replies: 0.988
weight 1 of 539 equal replies: 1.037
weight 1 of 10000 equal replies: 0.250
torch's own mean: 1.000" ]
