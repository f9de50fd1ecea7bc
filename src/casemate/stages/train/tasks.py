"""Inside a helper's sandbox: trials of another search, on the same rows, by the same code."""

from typing import Any

import msgspec

from casemate.config import TrainTable
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.threads import fitting
from casemate.core.types import Schema
from casemate.stages.train.fit import given
from casemate.stages.train.folds import FEW
from casemate.stages.train.search import bench_of
from casemate.stages.train.trials import answer


def main(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """Do the trials `job["tasks"]`; the rest of the job is what `fit.main` was given."""
    options = msgspec.convert(job["train"], TrainTable)
    schema = msgspec.convert(job["schema"], Schema)
    bench = bench_of(*given(job, watch, options, schema), options)
    with fitting(FEW * bench.rows.frame.size):
        return {"answers": [answer(bench, task) for task in job["tasks"]]}
