"""Inside the sandbox of a coordinator: what the user's entry wants sites to train, without a row;
and, of a network, the graph with the weights that they learnt.
"""

import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from casemate.config import TrainTable
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Record, Schema
from casemate.ml.federated.learners import LinearLearner, NetworkLearner
from casemate.ml.federated.trees import CLASSIFIER, ESTIMATORS, REGRESSOR
from casemate.ml.federated.updates import Layout, raw
from casemate.stages.train.candidates import final_of
from casemate.stages.train.entry import BadEntry, build, in_words, is_network
from casemate.stages.train.sites import chosen, settings_of

START, WEIGHTS, GRAPH = "start", "weights", "imported.onnx"
"""Files: what rounds begin with, what they came to (both float64, little-endian), the graph."""


class Described(Record, frozen=True, kw_only=True):
    """What sites train."""

    estimator: str
    """Class of the model's last step."""
    layout: Layout
    """Of its weights; of a quantity and of boosted trees empty."""
    settings: dict[str, float]
    """`C`, `alpha`, `Growth.settings`; of a network none."""


def main(job: dict[str, Any], _channel: Channel, watch: Watch) -> dict[str, Any]:
    """See `Described`; leaves `START`, or `GRAPH` where there are `WEIGHTS`."""
    options = msgspec.convert(job["train"], TrainTable)
    schema = msgspec.convert(job["schema"], Schema)
    inputs, outputs = Path(job["inputs"]), Path(job["outputs"])
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - user code may draw from the global generator

    sys.addaudithook(watch)
    with in_words():
        model = chosen(build(inputs, job["entry"], job, schema))
        if is_network(model):
            said = _network(model, schema, options.seed, inputs, outputs)
        else:
            said = _by_sums(model, schema, int(job["width"]))
    found: dict[str, Any] = msgspec.to_builtins(said)
    return found


def _by_sums(model: Any, schema: Schema, width: int) -> Described:
    settings, layout = settings_of(model), Layout(names=[], shapes=[], dtype="<f8")
    fits = REGRESSOR if schema.regression else CLASSIFIER
    if final_of(model) in ESTIMATORS:
        if final_of(model) != fits:
            raise BadEntry(f"the charter's target is learnt by a {fits}")
    elif not schema.regression:
        layout = LinearLearner(width, len(schema.classes), settings["C"]).layout
    return Described(estimator=final_of(model), layout=layout, settings=settings)


def _network(model: Any, schema: Schema, seed: int, inputs: Path, outputs: Path) -> Described:
    import torch

    from casemate.ml.networks import to_onnx

    if model.categories:
        raise BadEntry(
            "a network over sites takes numbers: of one with categories no graph is exported yet"
        )
    learner = NetworkLearner(list(model.layers), len(schema.classes), model.frozen)
    if (inputs / WEIGHTS).exists():
        weights = np.frombuffer((inputs / WEIGHTS).read_bytes(), dtype="<f8")
        learner.answers(weights, np.zeros((1, len(model.numbers)), dtype=np.float32))
        model.network_, model.classes_ = learner.network.eval(), np.arange(learner.classes)
        with torch.no_grad():
            (outputs / GRAPH).write_bytes(to_onnx(model, schema))
    else:
        (outputs / START).write_bytes(raw(learner.start(seed)))
    return Described(estimator=final_of(model), layout=learner.layout, settings={})
