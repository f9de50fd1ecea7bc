"""Inside the sandbox: the same as `member` for a network, which the code of a job builds.

torch is imported before a process forks for a round, and not in each of them.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch  # noqa: F401 - warms up whoever forks

from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Schema
from casemate.ml.federated.learners import Learner, NetworkLearner
from casemate.stages.train.entry import BadEntry, build, in_words, is_network
from casemate.stages.train.member import Task, answered
from casemate.stages.train.sites import chosen

Array = np.ndarray[Any, Any]


def main(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """Answer as a network; see `member.Said`."""
    sys.addaudithook(watch)
    with in_words():
        return answered(job, network)


def network(
    job: dict[str, Any], _task: Task, schema: Schema, frame: pd.DataFrame
) -> tuple[Learner, Array]:
    """See `member.Prepare`.

    Raises:
        BadEntry: the code builds no network, or another one than the job says.
    """
    model = chosen(build(Path(job["inputs"]), job["entry"], job, schema))
    if not is_network(model):
        raise BadEntry("the job says that its code builds a network, and it builds something else")
    learner = NetworkLearner(list(model.layers), len(schema.classes), model.frozen)
    if job["layout"] != {
        "names": learner.layout.names,
        "shapes": learner.layout.shapes,
        "dtype": learner.layout.dtype,
    }:
        raise BadEntry("the code builds a network of other arrays than the job says")
    return learner, model.encode(frame)
