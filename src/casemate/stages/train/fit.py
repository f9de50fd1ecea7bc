"""Inside the sandbox: load the user's entry, search, refit (plain, hardened or private), leave a
safe model file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.base import clone

from casemate.config import RobustnessTable, TrainTable
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.sandbox.feed import FED
from casemate.core.sandbox.helpers import ANSWERS, Asked
from casemate.core.types import Schema
from casemate.ml.answers import chained, last_step
from casemate.ml.frame import GROUP, features_of, open_table, target_of, wanted, weights_of
from casemate.ml.labels import together
from casemate.ml.learn.binning import allow_empty_columns
from casemate.ml.learn.calibrate import adjust, adjustable, adjusted
from casemate.ml.learn.weights import fit_params, refusal
from casemate.ml.models import FORMER, NETWORK, PLAIN, SKOPS, WEIGHTS, dump_skops, skops_io
from casemate.ml.own import code as own
from casemate.stages.train.calibrate import Fold, measured
from casemate.stages.train.candidates import Models
from casemate.stages.train.entry import BadEntry, build, is_linear, is_network
from casemate.stages.train.folds import Rows
from casemate.stages.train.look import problem
from casemate.stages.train.metrics import metric_of
from casemate.stages.train.monotone import broken
from casemate.stages.train.search import Memory, Tried, nested, search
from casemate.stages.train.stored import stored, thresholded
from casemate.stages.train.streamed import go_on, require_going_on
from casemate.stages.train.threshold import by_costs, cheapest, out_of_fold
from casemate.stages.train.trials import seeded
from casemate.stages.train.unlearnt import of_fitted, recall

skops_io()  # loaded while the parent works, not when the model is written
allow_empty_columns()
Array = np.ndarray[Any, Any]
REHEARSED = 32
"""Rows a batch of a rehearsal: two batches of made-up rows."""


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Train; returns the names of the files left in the output folder and what was chosen."""
    options = msgspec.convert(job["train"], TrainTable)
    schema = msgspec.convert(job["schema"], Schema)
    models, rows = given(job, watch, options, schema)
    frame, target, groups, _ = rows
    private: dict[str, Any] = {}
    left_out: list[str] = []
    outer: list[float] = []
    plain: Any = None
    rest: dict[str, Any] | None = None
    if options.mode == "private":
        channel.progress("private training", 0, 1)
        left_out = _left_out(models.first)
        model, private = private_fit(models.first, frame, target, groups, job, len(schema.classes))
        params: dict[str, Any] = {}
        history: list[Tried] = []
        # not of the rows, which may lack a class
        metric = metric_of(options, np.arange(len(schema.classes)))
    else:
        memory = Memory()
        ask = Asked(job, channel) if job.get(ANSWERS) else None
        study = Path(job["study"])
        params, history, metric = search(models, rows, options, study, channel, memory, ask)
        outer = nested(models, rows, options, channel, ask) if options.nested > 1 else []
        seeded(options.seed)  # what is trained below depends on no trial
        channel.progress("refitting on all training rows", len(history), len(history))
        chosen = models.made(params)
        if schema.labels:
            model = _a_label_each(models, params, rows, options, job, memory)
        else:
            model = _refit(chosen, rows, schema, options, job, channel)
            if job.get(FED) is not None:
                rest = go_on(model, job, schema, open_table(job["tables"][0]), channel)
        plain = clone(chosen).fit(frame, target) if options.mode == "adversarial" else None

    unlearning = None if schema.labels else of_fitted(model)
    model = model if is_network(model) else stored(model, frame)
    calibration: dict[str, float] = {}
    if options.mode == "plain" and not schema.labels:
        model, calibration = _finished(
            model,
            models.made(params),
            rows,
            options,
            job,
            memory.folds if memory.params == params else [],
        )
    outputs = Path(job["outputs"])
    _write(model, outputs)
    if plain is not None and not is_network(plain):
        (outputs / PLAIN).write_bytes(dump_skops(stored(plain, frame)))
    return {
        "estimator": " ".join(repr(model).split()),
        "params": _plain(params),
        "cv": _plain([msgspec.structs.asdict(candidate) for candidate in history]),
        "metric": metric,
        "nested": outer,
        "privacy": _plain(private),
        "left_out": left_out,
        "calibration": calibration,
        "rest": rest,
        "unlearning": unlearning,
    }


def given(
    job: dict[str, Any], watch: Watch, options: TrainTable, schema: Schema
) -> tuple[Models, Rows]:
    """The estimators of the entry, looked at, and the training rows; from here on user code runs
    and is watched.
    """
    table = open_table(job["tables"][0])
    frame, target = features_of(table, schema), target_of(table, schema)
    recall(Path(job["inputs"]) / FORMER)
    groups, weights = table[GROUP].to_numpy() if job["grouped"] else None, weights_of(table)
    rows = Rows(frame, target, groups, weights)
    seeded(options.seed)

    sys.addaudithook(watch)
    models = build(Path(job["inputs"]), job["entry"], job, schema).for_mode(
        options.mode, options.search
    )
    if options.rows == "all":
        require_going_on(models, schema, weighted=weights is not None)
    if options.mode != "private":
        _look(models, rows, job.get("costs"), _own(Path(job["inputs"])))
    return models, rows


def _a_label_each(
    models: Models,
    params: dict[str, Any],
    rows: Rows,
    options: TrainTable,
    job: dict[str, Any],
    memory: Memory,
) -> Any:
    """One model a label, each refitted and finished as a model of one target is, in one estimator
    of scikit-learn.
    """
    parts = []
    for place, view in enumerate(rows.views):
        chosen = models.made(params)
        fitted = chosen.fit(view.frame, view.target, **fit_params(chosen, view.weights))
        folds = [
            Fold(fold.rows, fold.scores[:, place])
            for fold in (memory.folds if memory.params == params else [])
        ]
        part = stored(fitted, view.frame)
        parts.append(_finished(part, models.made(params), view, options, job, folds)[0])
    return together(parts)


def _finished(
    model: Any,
    estimator: Any,
    rows: Rows,
    options: TrainTable,
    job: dict[str, Any],
    folds: list[Fold],
) -> tuple[Any, dict[str, float]]:
    """(the stored model with what casemate.toml asks for besides, what out-of-fold rows said of its
    calibration).
    """
    calibration: dict[str, float] = {}
    if options.calibrate and rows.target.ndim == 1 and adjustable(model) and adjustable(estimator):
        # a search that went on after a break remembers no answers
        folds = folds or out_of_fold(estimator, rows, options)
        found = measured(rows.target, folds, rows.weights, rows.groups)
        if found is not None:
            calibration = {
                **{name: float(value) for name, value in found._asdict().items()},
                "kept": float(found.helps),
            }
        if found is not None and found.helps:
            adjust(model, found.slope, found.shift)
    wrong = broken(model, rows.frame, job.get("monotone", {}))
    if wrong:
        raise BadEntry(
            f"[data.columns] {wrong}: monotone, and the trained model's answers go both ways; give"
            " it to every estimator in train.py"
        )
    if job.get("costs"):
        costs = tuple(job["costs"])
        if adjusted(model) is not None:
            return thresholded(model, by_costs(costs), 1), calibration
        folds = folds or out_of_fold(estimator, rows, options)
        model = thresholded(model, _threshold(folds, rows, costs), 1)
    return model, calibration


def _threshold(folds: list[Fold], rows: Rows, costs: tuple[float, float]) -> float:
    at = np.concatenate([fold.rows for fold in folds])
    weights = None if rows.weights is None else rows.weights[at]
    return cheapest(
        rows.target[at], np.concatenate([fold.scores for fold in folds]), costs, weights
    )


def _left_out(estimator: Any) -> list[str]:
    """Classes of a pipeline's steps that private training does not use: it scales, bins and encodes
    by declared limits itself.
    """
    steps = estimator.steps if chained(estimator) else []
    return [type(step).__name__ for _, step in steps[:-1]]


def _own(inputs: Path) -> list[str]:
    """Names that the files of `[train] transformers` define."""
    found = sorted((inputs / own.FOLDER).glob("*.py"))
    return own.names_in({own.place_of(path.name): path.read_bytes() for path in found})


def _look(models: Models, rows: Rows, costs: Any, names: Sequence[str] = ()) -> None:
    """Refuse before the search what could not be stored after it, cannot weigh rows, or has no
    threshold that costs could move.
    """
    for name, estimator in models.by_name.items():
        if costs and is_network(estimator):
            raise BadEntry(
                "[train] costs: a network's labels are its likeliest classes; weigh its answers"
                " where they are used"
            )
        said = "" if rows.weights is None else refusal(estimator)
        said = (
            f"[data] weight: {said}"
            if said
            else problem(estimator, rows.frame, wanted(rows.views[0].target), rows.weights, names)
        )
        if said:
            raise BadEntry(f"{name}: {said}" if name else said)


def _refit(
    estimator: Any,
    rows: Rows,
    schema: Schema,
    options: TrainTable,
    job: dict[str, Any],
    channel: Channel,
) -> Any:
    frame, target = rows.frame, wanted(rows.target)
    if options.mode != "adversarial":
        return estimator.fit(frame, target, **fit_params(estimator, rows.weights))
    limits = msgspec.convert(job["robustness"], RobustnessTable)
    settings = options.adversarial
    if is_network(estimator):
        size = _sizes(estimator, frame, limits, settings.eps)
        return estimator.set_params(mode="adversarial", eps=size, attack_steps=settings.steps).fit(
            frame, target
        )
    from casemate.ml.harden import harden

    return harden(
        estimator,
        (frame, target),
        schema,
        limits,
        (settings.eps, settings.steps, settings.rounds),
        options.seed,
        channel.progress,
    )


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
    estimator: Any,
    frame: pd.DataFrame,
    codes: Array,
    groups: Array | None,
    job: dict[str, Any],
    classes: int,
) -> tuple[Any, dict[str, Any]]:
    """(fitted model, what it spent).

    Args:
        estimator: of the entry.
        frame: training rows.
        codes: class numbers [n].
        groups: subject per row, or None; a subject with many rows weighs as much as one with a
            single row.
        job: `privacy` as `promise.promised` gives it; with `rehearsal` the work is short and the
            rows are nobody's.
        classes: how many are declared.
    """
    from casemate.ml.learn.linear import PrivateClassifier

    told = job["privacy"]
    if is_network(estimator):
        if groups is not None:  # the guarantee is for a row, so a subject keeps one
            keep = np.unique(groups, return_index=True)[1]
            frame, codes = frame.iloc[keep].reset_index(drop=True), codes[keep]
        model = _private_network(estimator, told, job["rehearsal"], classes).fit(frame, codes)
        spent = model.spent()
    else:
        final = last_step(estimator)
        if not is_linear(estimator):
            raise BadEntry(
                f"{type(final).__name__} has no private form: return LogisticRegression (trained as"
                " private additive model) or a torch.nn.Sequential"
            )
        bounds = {name: tuple(limits) for name, limits in told["numbers"].items()}
        given = final.get_params() if isinstance(final, PrivateClassifier) else {}
        promised = {name: told[name] for name in ("categories", "epsilon", "delta", "units")}
        model = PrivateClassifier(
            **{
                **given,
                **promised,
                "bounds": bounds,
                "classes": list(range(classes)),
                "sigma": None,
            }
        )
        if told["clip"]:
            model.set_params(clip=told["clip"])
        fitted = model.fit(frame, codes, groups)
        model, spent = fitted.model_, fitted.spent_
    return model, {
        "events": [msgspec.to_builtins(spent)],
        "unit": "row" if groups is None else "subject",
    }


def _private_network(estimator: Any, told: dict[str, Any], rehearsal: bool, classes: int) -> Any:
    """The network with the noise that its plan needs; for a rehearsal it is planned in full and
    trained for an epoch.
    """
    from casemate.ml.learn import network
    from casemate.ml.learn.layers import build

    width = len(told["numbers"]) + sum(map(len, told["categories"].values()))
    found = network.outputs(build(list(estimator.layers)), width)
    if found != classes:
        raise BadEntry(f"the network has {found} outputs, and {classes} classes are declared")
    plan = network.planned(
        estimator.layers, estimator.frozen, told["units"], estimator.epochs, estimator.batch
    )
    sigma = network.noise_for(plan, told["epsilon"], told["delta"])
    estimator.set_params(mode="private", sigma=sigma, clip=told["clip"] or 1.0, units=told["units"])
    if rehearsal:
        estimator.set_params(epochs=1, batch=min(estimator.batch, REHEARSED), units=2 * REHEARSED)
    return estimator


def _write(model: Any, outputs: Path) -> None:
    """Leave the model's safe file, or the two of a network; every other form is made of it
    elsewhere.
    """
    if not is_network(model):
        (outputs / SKOPS).write_bytes(dump_skops(_alone(model)))
        return
    from casemate.ml.networks import dump_network

    description, weights = dump_network(model)
    (outputs / NETWORK).write_bytes(description)
    (outputs / WEIGHTS).write_bytes(weights)


def _alone(model: Any) -> Any:
    """The model without processes of its own; where no code of the user's is in it, the conversion
    does that too.
    """
    named = [name for name in model.get_params() if name.rpartition("__")[2] == "n_jobs"]
    return model.set_params(**dict.fromkeys(named))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
