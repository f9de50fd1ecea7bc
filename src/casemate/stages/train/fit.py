"""Inside the sandbox: load the user's entry, search, refit (plain, hardened or private), leave a safe model file."""

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor

from casemate.config import RobustnessTable, TrainTable
from casemate.core.frame import GROUP, features_of, open_table, target_of, wanted
from casemate.core.models import NETWORK, PLAIN, SKOPS, WEIGHTS, dump_skops, skops_io
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Schema
from casemate.stages.train.search import metric_of, nested, search

skops_io()  # loaded while the parent works, not when the model is written
LINEAR = ("LogisticRegression", "PrivateClassifier", "SGDClassifier", "LogisticRegressionCV", "LinearSVC", "RidgeClassifier")
Array = np.ndarray[Any, Any]
REHEARSED = 32
"""Rows a batch of a rehearsal: two batches of made-up rows."""


class BadEntry(Exception):
    """The entry does not return what it should; the message says what."""

    kind = "BadEntry"


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Train; returns the names of the files left in the output folder and what was chosen."""
    options = msgspec.convert(job["train"], TrainTable)
    schema = msgspec.convert(job["schema"], Schema)
    table = open_table(job["tables"][0])
    frame, target = features_of(table, schema), target_of(table, schema)
    groups = table[GROUP].to_numpy() if job["grouped"] else None
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - user code may draw from the global generator

    sys.addaudithook(watch)
    estimator = _build(Path(job["inputs"]), job["entry"], job, schema)
    private: dict[str, Any] = {}
    outer: list[float] = []
    plain: Any = None
    if options.mode == "private":
        channel.progress("private training", 0, 1)
        model, private = private_fit(estimator, frame, target, groups, job, len(schema.classes))
        params: dict[str, Any] = {}
        history: list[dict[str, Any]] = []
        metric = metric_of(options, np.arange(len(schema.classes)))  # not of the rows, which may lack a class
    else:
        params, history, metric = search(estimator, frame, target, groups, options, Path(job["study"]), channel)
        outer = nested(estimator, frame, target, groups, options, channel) if options.nested > 1 else []
        channel.progress("refitting on all training rows", len(history), len(history))
        chosen = clone(estimator).set_params(**params)
        model = _refit(chosen, frame, wanted(target), schema, options, job, channel)
        plain = clone(chosen).fit(frame, target) if options.mode == "adversarial" else None

    outputs = Path(job["outputs"])
    _write(model, outputs)
    if plain is not None and not _is_network(plain):
        (outputs / PLAIN).write_bytes(dump_skops(plain))
    return {
        "estimator": " ".join(repr(model).split()),
        "params": _plain(params),
        "cv": _plain(history),
        "metric": metric,
        "nested": outer,
        "privacy": _plain(private),
    }


def _refit(estimator: Any, frame: pd.DataFrame, target: Array, schema: Schema, options: TrainTable, job: dict[str, Any], channel: Channel) -> Any:
    if options.mode != "adversarial":
        return estimator.fit(frame, target)
    limits = msgspec.convert(job["robustness"], RobustnessTable)
    settings = options.adversarial
    if _is_network(estimator):
        size = _sizes(estimator, frame, limits, settings.eps)
        return estimator.set_params(mode="adversarial", eps=size, attack_steps=settings.steps).fit(frame, target)
    from casemate.core.learn.harden import harden

    return harden(estimator, (frame, target), schema, limits, (settings.eps, settings.steps, settings.rounds), options.seed, channel.progress)


def _sizes(estimator: Any, frame: pd.DataFrame, limits: RobustnessTable, eps: float) -> Array:
    """Attack size per encoded feature: what `[robustness]` lets an attacker change, float32 [d]."""
    found = []
    for name, (low, high) in (estimator.numbers or {}).items():
        span = (high - low) or 1.0
        unit = 1.0 if limits.unit == "range" else float(frame[name].std(ddof=0)) / span
        budget = limits.feature(name).budget
        size = eps * unit if budget is None else min(eps * unit, budget / span)
        found.append(0.0 if limits.feature(name).change == "none" else size)
    found += [0.0] * sum(len(kinds) for kinds in (estimator.categories or {}).values())
    return np.array(found, dtype=np.float32)


def private_fit(
    estimator: Any, frame: pd.DataFrame, codes: Array, groups: Array | None, job: dict[str, Any], classes: int
) -> tuple[Any, dict[str, Any]]:
    """(fitted model, what it spent).

    Args:
        estimator: of the entry.
        frame: training rows.
        codes: class numbers [n].
        groups: subject per row, or None; a subject with many rows weighs as much as one with a single row.
        job: `privacy` as `stage.promised` gives it; with `rehearsal` the work is short and the rows are nobody's.
        classes: how many are declared.
    """
    from casemate.core.learn.linear import PrivateClassifier

    told = job["privacy"]
    if _is_network(estimator):
        if groups is not None:  # the guarantee is for a row, so a subject keeps one
            keep = np.unique(groups, return_index=True)[1]
            frame, codes = frame.iloc[keep].reset_index(drop=True), codes[keep]
        model = _private_network(estimator, told, job["rehearsal"], classes).fit(frame, codes)
        spent = model.spent()
    else:
        final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        if type(final).__name__ not in LINEAR:
            raise BadEntry(
                f"{type(final).__name__} has no private form: return LogisticRegression (trained as private additive model) or a torch.nn.Sequential"
            )
        bounds = {name: tuple(limits) for name, limits in told["numbers"].items()}
        given = final.get_params() if isinstance(final, PrivateClassifier) else {}
        promised = {name: told[name] for name in ("categories", "epsilon", "delta", "units")}
        model = PrivateClassifier(**{**given, **promised, "bounds": bounds, "classes": list(range(classes)), "sigma": None})
        if told["clip"]:
            model.set_params(clip=told["clip"])
        fitted = model.fit(frame, codes, groups)
        model, spent = fitted.model_, fitted.spent_
    return model, {"events": [msgspec.to_builtins(spent)], "unit": "row" if groups is None else "subject"}


def _private_network(estimator: Any, told: dict[str, Any], rehearsal: bool, classes: int) -> Any:
    """The network with the noise that its plan needs; for a rehearsal it is planned in full and trained for an epoch."""
    from casemate.core.learn import network
    from casemate.core.learn.layers import build

    width = len(told["numbers"]) + sum(map(len, told["categories"].values()))
    found = network.outputs(build(list(estimator.layers)), width)
    if found != classes:
        raise BadEntry(f"the network has {found} outputs, and {classes} classes are declared")
    plan = network.planned(estimator.layers, estimator.frozen, told["units"], estimator.epochs, estimator.batch)
    sigma = network.noise_for(plan, told["epsilon"], told["delta"])
    estimator.set_params(mode="private", sigma=sigma, clip=told["clip"] or 1.0, units=told["units"])
    if rehearsal:
        estimator.set_params(epochs=1, batch=min(estimator.batch, REHEARSED), units=2 * REHEARSED)
    return estimator


def _write(model: Any, outputs: Path) -> None:
    """Leave the model's safe file, or the two of a network; every other form is made of it elsewhere."""
    if not _is_network(model):
        (outputs / SKOPS).write_bytes(dump_skops(model))
        return
    from casemate.core.network import dump_network

    description, weights = dump_network(model)
    (outputs / NETWORK).write_bytes(description)
    (outputs / WEIGHTS).write_bytes(weights)


def _is_network(estimator: Any) -> bool:
    return type(estimator).__name__ == "NetworkClassifier"


def _build(folder: Path, entry: str, job: dict[str, Any], schema: Schema) -> Any:
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
    if "torch" in sys.modules and isinstance(estimator, sys.modules["torch"].nn.Module):
        if schema.regression:
            raise BadEntry(f"{name}() returned a torch network, which is trained as a classifier only: return a scikit-learn regressor")
        return _network(estimator, job)
    if schema.regression:
        if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator) or not is_regressor(estimator):
            raise BadEntry(f"{name}() returned {type(estimator).__name__}, expected an unfitted scikit-learn regressor ([data] task is regression)")
        return estimator
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator) or not is_classifier(estimator):
        raise BadEntry(f"{name}() returned {type(estimator).__name__}, expected an unfitted scikit-learn classifier or a torch.nn.Sequential")
    if not hasattr(estimator, "predict_proba") and job["train"]["mode"] != "private":
        raise BadEntry(f"{name}() returned {type(estimator).__name__} without predict_proba; wrap it in CalibratedClassifierCV")
    return estimator


def _network(module: Any, job: dict[str, Any]) -> Any:
    from casemate.core.learn.layers import describe
    from casemate.core.learn.network import NetworkClassifier

    layers = describe(module)
    leaves = [part for part in module.modules() if not list(part.children())]
    frozen = {
        f"{place}.{name}": parameter.detach().numpy().copy()
        for place, leaf in enumerate(leaves)
        for name, parameter in leaf.named_parameters()
        if not parameter.requires_grad
    }
    settings = job["train"]["network"]
    return NetworkClassifier(
        layers=[list(layer) for layer in layers],
        frozen=frozen,
        numbers={name: tuple(limits) for name, limits in job["limits"]["numbers"].items()},
        categories=job["limits"]["categories"],
        epochs=settings["epochs"],
        batch=settings["batch"],
        rate=settings["rate"],
        momentum=settings["momentum"],
        seed=job["train"]["seed"],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
