"""Inside the sandbox: the same as `member` for a network.

The code of a job builds it in a process without a row (`building`). What answers from rows rebuilds
the layers that were left, from a closed list, and runs nothing of the job's: what a site says of
its rows, and how noise covers it, hangs on no code but casemate's.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import torch  # noqa: F401 - warms up whoever forks

from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Schema
from casemate.ml.federated.learners import Learner, NetworkLearner
from casemate.ml.networks import dump_network, load_network
from casemate.stages.train.entry import BadEntry, build, in_words, is_network
from casemate.stages.train.member import BUILT, Task, answered
from casemate.stages.train.sites import chosen

Array = np.ndarray[Any, Any]


def building(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """Build the network of a job, and leave `member.BUILT`.

    Raises:
        BadEntry: the code builds no network, or another one than the job says.
    """
    sys.addaudithook(watch)
    with in_words():
        for name, content in zip(BUILT, built(job), strict=True):
            (Path(job["outputs"]) / name).write_bytes(content)
    return {}


def built(job: dict[str, Any]) -> tuple[bytes, bytes]:
    """Contents of `member.BUILT`; see `building`."""
    schema = msgspec.convert(job["schema"], Schema)
    model = chosen(build(Path(job["inputs"]), job["entry"], job, schema))
    if not is_network(model):
        raise BadEntry("the job says that its code builds a network, and it builds something else")
    learner = _learner(model, schema, job)
    width = len(model.numbers) + sum(map(len, model.categories.values()))
    found = learner.answers(learner.start(0), np.zeros((1, width), dtype=np.float32)).shape[1]
    if found != len(schema.classes):
        raise BadEntry(
            f"the network has {found} outputs, and there are {len(schema.classes)} classes"
        )
    model.network_, model.classes_ = learner.network.eval(), np.arange(found)
    return dump_network(model)


def _learner(model: Any, schema: Schema, job: dict[str, Any]) -> NetworkLearner:
    learner = NetworkLearner(list(model.layers), len(schema.classes), model.frozen)
    if job["layout"] != {
        "names": learner.layout.names,
        "shapes": learner.layout.shapes,
        "dtype": learner.layout.dtype,
    }:
        raise BadEntry("the code builds a network of other arrays than the job says")
    return learner


def main(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """Answer as a network; see `member.Said`."""
    sys.addaudithook(watch)
    with in_words():
        return answered(job, network)


def network(
    job: dict[str, Any], _task: Task, schema: Schema, frame: pd.DataFrame
) -> tuple[Learner, Array]:
    """See `member.Prepare`."""
    description, weights = ((Path(job["inputs"]) / name).read_bytes() for name in BUILT)
    model = load_network(description, weights, schema).estimator
    return _learner(model, schema, job), model.encode(frame)
