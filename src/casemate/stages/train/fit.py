"""Inside the sandbox: load the user's entry, search, refit, export."""

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import skops.io  # noqa: F401 - loaded while the parent works, not when the model is written
from sklearn.base import BaseEstimator, clone, is_classifier

from casemate.config import TrainTable
from casemate.core.frame import GROUP, codes_of, features_of, open_table
from casemate.core.models import ONNX, SKOPS, dump_skops
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Schema
from casemate.stages.train import export
from casemate.stages.train.search import search


class BadEntry(Exception):
    """The entry does not return what it should; the message says what."""

    kind = "BadEntry"


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Train; returns the names of the files left in the output folder and what was chosen."""
    options = msgspec.convert(job["train"], TrainTable)
    schema = msgspec.convert(job["schema"], Schema)
    table = open_table(job["tables"][0])
    frame, codes = features_of(table, schema), codes_of(table, schema)
    groups = table[GROUP].to_numpy() if job["grouped"] else None
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - user code may draw from the global generator

    sys.addaudithook(watch)
    estimator = _build(Path(job["inputs"]), job["entry"])
    params, history, metric = search(estimator, frame, codes, groups, options, Path(job["study"]), channel)
    channel.progress("refitting on all training rows", len(history), len(history))
    model = clone(estimator).set_params(**params).fit(frame, codes)
    model.set_params(**{name: None for name in model.get_params() if name.rpartition("__")[2] == "n_jobs"})

    outputs = Path(job["outputs"])
    channel.progress("exporting", len(history), len(history))
    (outputs / SKOPS).write_bytes(dump_skops(model))
    onnx, problem = export.to_onnx(model, schema)
    if onnx:
        (outputs / ONNX).write_bytes(onnx)
    return {
        "estimator": " ".join(repr(model).split()),
        "params": _plain(params),
        "cv": _plain(history),
        "metric": metric,
        "export_problem": problem,
    }


def _build(folder: Path, entry: str) -> BaseEstimator:
    file, _, name = entry.partition(":")
    path = folder / file
    sys.path[:0] = [str(path.parent), str(folder)]
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader  # noqa: S101 - the file was copied here
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise BadEntry(f"{file} has no function {name!r}")
    estimator = function()
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator) or not is_classifier(estimator):
        raise BadEntry(f"{name}() returned {type(estimator).__name__}, expected an unfitted scikit-learn classifier")
    if not hasattr(estimator, "predict_proba"):
        raise BadEntry(f"{name}() returned {type(estimator).__name__} without predict_proba; wrap it in CalibratedClassifierCV")
    return estimator


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
